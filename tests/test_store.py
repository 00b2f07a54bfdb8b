import errno
import json
from typing import ClassVar

import numpy as np
import pytest

from superpose import store
from superpose.files import DataError
from superpose.store import build, read

SETTINGS = {"model": "m", "seed": 3}
ROWS = (4, 1, 7, 3)


def chunk(i):
    rng = np.random.default_rng(i)
    return {
        "layer": rng.normal(size=(ROWS[i], 5)).astype(np.float16),
        "odd/name:x": rng.normal(size=(ROWS[i], 2)).astype(np.float32),
        "labels": np.arange(ROWS[i]),
    }


EXPECTED = {name: np.concatenate([chunk(i)[name] for i in range(4)]) for name in chunk(0)}


class Stop(Exception):
    pass


def stop_at(last, calls):
    def interrupted(i):
        if i == last:
            raise Stop
        calls.append(i)
        return chunk(i)

    return interrupted


def check(arrays):
    assert list(arrays) == list(EXPECTED)
    for name, array in arrays.items():
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
        assert array.dtype == EXPECTED[name].dtype
        np.testing.assert_array_equal(array, EXPECTED[name])


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_build_then_read(tmp_path):
    check(build(tmp_path / "new" / "store", SETTINGS, 4, chunk))
    check(read(tmp_path / "new" / "store"))


def test_a_finished_store_is_not_built_again(tmp_path):
    build(tmp_path, SETTINGS, 4, chunk)
    before, calls = files(tmp_path), []
    check(build(tmp_path, dict(reversed(SETTINGS.items())), 4, stop_at(-1, calls)))
    assert calls == []
    assert files(tmp_path) == before


@pytest.mark.parametrize("last", range(4))
def test_an_interrupted_build_goes_on_and_ends_alike(tmp_path, last):
    build(tmp_path / "whole", SETTINGS, 4, chunk)
    calls = []
    with pytest.raises(Stop):
        build(tmp_path / "torn", SETTINGS, 4, stop_at(last, calls))
    if last:
        with pytest.raises(DataError, match=rf"holds {last} of 4 chunks; build it to the end"):
            read(tmp_path / "torn")
    seen = []
    check(build(tmp_path / "torn", SETTINGS, 4, stop_at(-1, calls), progress=lambda *at: seen.append(at)))
    assert calls == [0, 1, 2, 3]
    assert seen == [(i, 4) for i in range(last, 5)]
    assert files(tmp_path / "torn") == files(tmp_path / "whole")


@pytest.mark.parametrize("failing", range(1, 6))
def test_a_disk_that_is_full_when_the_manifest_is_written_costs_one_chunk_at_most(tmp_path, monkeypatch, failing):
    """The first manifest is written before any chunk, the last when all are joined."""
    save, times = store._save, []

    def full(folder, manifest):
        times.append(manifest)
        if len(times) > failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(folder, manifest)

    monkeypatch.setattr(store, "_save", full)
    with pytest.raises(OSError, match="No space left"):
        build(tmp_path / "a", SETTINGS, 4, chunk)
    monkeypatch.undo()
    calls = []
    check(build(tmp_path / "a", SETTINGS, 4, stop_at(None, calls)))
    assert calls == list(range(failing - 1, 4))


def test_a_damaged_or_lost_shard_is_made_again(tmp_path):
    calls = []
    with pytest.raises(Stop):
        build(tmp_path, SETTINGS, 4, stop_at(3, calls))
    shards = sorted((tmp_path / "shards").iterdir())
    assert len(shards) == 9
    data = bytearray(shards[0].read_bytes())
    data[-1] ^= 1
    shards[0].write_bytes(data)
    shards[-1].unlink()
    with pytest.warns(UserWarning, match="that is made again") as named:
        check(build(tmp_path, SETTINGS, 4, stop_at(-1, calls)))
    said = [str(one.message) for one in named]
    for file, i, message in zip((shards[0], shards[-1]), (0, 2), said, strict=True):
        assert message == f"{file} is missing or is not what was written (SHA-256): chunk {i}; only that is made again."
    assert calls == [0, 1, 2, 0, 2, 3]


def offsets(file, array):
    """Return where each chunk begins in an array's file."""
    row = array.itemsize * array.shape[1] if array.ndim == 2 else array.itemsize
    return file.stat().st_size - array.nbytes + row * np.cumsum((0, *ROWS[:3]))


def flip(file, at):
    data = bytearray(file.read_bytes())
    data[at] ^= 16
    file.write_bytes(data)


@pytest.mark.parametrize("i", range(4))
@pytest.mark.parametrize("name", EXPECTED)
def test_of_a_damaged_array_only_the_lost_chunk_is_made_again(tmp_path, name, i):
    arrays = build(tmp_path, SETTINGS, 4, chunk)
    before = files(tmp_path)
    file = tmp_path / {"odd/name:x": "odd_name_x.npy"}.get(name, f"{name}.npy")
    flip(file, offsets(file, arrays[name])[i])
    with pytest.raises(DataError, match=rf"{file.name} is missing or is not .*: chunk {i}; build it again: only what"):
        read(tmp_path)
    calls, seen = [], []
    with pytest.warns(UserWarning, match=rf"{file.name} is missing or is not .*: chunk {i}; only that is made again"):
        check(build(tmp_path, SETTINGS, 4, stop_at(-1, calls), progress=lambda *at: seen.append(at)))
    assert calls == [i]
    assert seen == [(3, 4), (4, 4)]
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("harm", "made"),
    [
        (lambda file: file.unlink(), [0, 1, 2, 3]),
        (lambda file: file.write_bytes(b""), [0, 1, 2, 3]),
        (lambda file: flip(file, 20), []),
        (lambda file: file.write_bytes(file.read_bytes() + b"more"), []),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), [3]),
    ],
)
def test_lost_cut_and_grown_files_are_mended(tmp_path, harm, made):
    build(tmp_path, SETTINGS, 4, chunk)
    before, calls = files(tmp_path), []
    harm(tmp_path / "layer.npy")
    with pytest.warns(UserWarning, match="layer.npy is missing or is not what was written"):
        check(build(tmp_path, SETTINGS, 4, stop_at(-1, calls)))
    assert calls == made
    assert files(tmp_path) == before


def test_chunks_that_come_out_otherwise_are_refused(tmp_path):
    build(tmp_path, SETTINGS, 4, chunk)
    flip(tmp_path / "layer.npy", -1)
    before = files(tmp_path)
    with (
        pytest.warns(UserWarning, match=r"layer\.npy"),
        pytest.raises(DataError, match=r"layer\.npy: chunks made again are not what they were, so versions"),
    ):
        build(tmp_path, SETTINGS, 4, lambda i: {name: array + 1 for name, array in chunk(i).items()})
    assert files(tmp_path) == before


def test_a_shard_damaged_while_joining_is_named(tmp_path, monkeypatch):
    genuine = store._file_names

    def harm(names):
        flip(tmp_path / "shards" / "00002-001.npy", -1)
        return genuine(names)

    monkeypatch.setattr(store, "_file_names", harm)
    with pytest.raises(DataError, match=r"00002-001\.npy is missing or is not .*: chunk 2; build it again"):
        build(tmp_path, SETTINGS, 4, chunk)
    monkeypatch.undo()
    calls = []
    with pytest.warns(UserWarning, match=r"00002-001\.npy"):
        check(build(tmp_path, SETTINGS, 4, stop_at(-1, calls)))
    assert calls == [2]


def test_arrays_lie_in_files_of_their_names(tmp_path):
    names = ["a.b", "A.b", "", "manifest", "../up", ".hidden", "a/b:c", "é", "x" * 300]
    found = build(tmp_path, {}, 1, lambda i: {name: np.full((2, 1), place) for place, name in enumerate(names)})
    assert [int(found[name][0, 0]) for name in names] == list(range(9))
    written = {path.name for path in tmp_path.iterdir()}
    assert {"a.b.npy", "001-A.b.npy", "002.npy", "003-manifest.npy", "a_b_c.npy", "hidden.npy"} < written
    assert all(len(name) <= 104 for name in written)


def test_a_folder_of_other_files_is_not_built_in(tmp_path):
    (tmp_path / "layer.npy").write_text("mine")
    with pytest.raises(DataError, match=r"holds other files, such as layer\.npy; expected an empty folder, or a store"):
        build(tmp_path, SETTINGS, 4, chunk)
    assert [path.name for path in tmp_path.iterdir()] == ["layer.npy"]


def test_a_crash_after_joining_leaves_no_shards_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("superpose.store.shutil.rmtree", lambda *a, **k: None)
    build(tmp_path, SETTINGS, 4, chunk)
    assert (tmp_path / "shards").exists()
    monkeypatch.undo()
    check(build(tmp_path, SETTINGS, 4, chunk))
    assert not (tmp_path / "shards").exists()


def test_other_settings_are_refused(tmp_path):
    build(tmp_path, SETTINGS, 4, chunk)
    for settings, count in (({**SETTINGS, "seed": 4}, 4), (SETTINGS, 3)):
        with pytest.raises(DataError, match="holds a store made with other settings; expected the same"):
            build(tmp_path, settings, count, chunk)


def test_every_flipped_byte_is_noticed(tmp_path):
    build(tmp_path, SETTINGS, 4, chunk)
    rng = np.random.default_rng(0)
    for path in sorted(tmp_path.iterdir()):
        sound = path.read_bytes()
        places = range(len(sound)) if path.suffix == ".json" else rng.integers(len(sound), size=40)
        for at in places:
            data = bytearray(sound)
            data[at] ^= 1 << rng.integers(8)
            path.write_bytes(data)
            # White space in the manifest carries nothing.
            if path.suffix == ".json" and sound[at : at + 1].isspace() and _same_json(data, sound):
                continue
            with pytest.raises(DataError, match=path.name):
                read(tmp_path)
        path.write_bytes(sound)
    check(read(tmp_path))


def _same_json(data, sound):
    try:
        return json.loads(bytes(data)) == json.loads(sound)
    except ValueError:
        return False


def test_lost_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"holds no activation store \(no manifest.json\)"):
        read(tmp_path)
    build(tmp_path, SETTINGS, 4, chunk)
    (tmp_path / "odd_name_x.npy").unlink()
    with pytest.raises(DataError, match=r"odd_name_x\.npy is missing or is not what was written"):
        read(tmp_path)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"sha256": 1, "manifest": []}', b"\xff\xfe", b"[" * 100_000])
def test_a_foreign_manifest_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_bytes(text)
    for attempt in (lambda: read(tmp_path), lambda: build(tmp_path, SETTINGS, 4, chunk)):
        with pytest.raises(DataError, match=r"manifest\.json is damaged or of another format"):
            attempt()


@pytest.mark.parametrize(
    ("second", "cause"),
    [
        ({"x": np.ones((2, 4))}, "different types or widths"),
        ({"x": np.ones((2, 3), dtype=np.float32)}, "different types or widths"),
        ({"y": np.ones((2, 3))}, r"chunk 1 has arrays \['y'\]; expected the same in every chunk"),
        ({"x": np.array([["a"]])}, "chunk 1: x is <U1, .*; expected rows of real numbers"),
        ({"x": np.array([None])}, "expected rows of real numbers"),
        ({"x": np.float64(1)}, r"shape \(\); expected rows"),
    ],
)
def test_chunks_that_do_not_fit_together(tmp_path, second, cause):
    with pytest.raises(DataError, match=cause):
        build(tmp_path, {}, 2, [{"x": np.ones((2, 3))}, second].__getitem__)


class TestFailures:
    """What failed leaves nothing that stands in the way of the corrected call."""

    OTHER: ClassVar = {"model": "other", "seed": 3}

    @pytest.mark.parametrize("error", [Stop, KeyboardInterrupt, OSError, MemoryError])
    def test_nothing_made_leaves_no_folder(self, tmp_path, error):
        def fails(i):
            raise error

        with pytest.raises(error):
            build(tmp_path / "new" / "store", SETTINGS, 4, fails)
        assert list(tmp_path.iterdir()) == []
        check(build(tmp_path / "new" / "store", self.OTHER, 4, chunk))

    def test_a_folder_that_was_there_stays(self, tmp_path):
        with pytest.raises(Stop):
            build(tmp_path, SETTINGS, 4, stop_at(0, []))
        assert tmp_path.is_dir()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("error", [Stop, OSError, MemoryError])
    def test_other_settings_replace_what_failed(self, tmp_path, error):
        def fails(i):
            if i == 2:
                raise error
            return chunk(i)

        with pytest.raises(error):
            build(tmp_path, SETTINGS, 4, fails)
        with pytest.warns(UserWarning, match="holds 2 of 4 chunks of a run with other settings that failed; they are"):
            check(build(tmp_path, self.OTHER, 4, chunk))
        check(read(tmp_path))

    def test_the_same_settings_go_on(self, tmp_path):
        for last in (2, 3):
            with pytest.raises(Stop):
                build(tmp_path, SETTINGS, 4, stop_at(last, []))
        calls = []
        check(build(tmp_path, SETTINGS, 4, stop_at(None, calls)))
        assert calls == [3]
        with pytest.raises(DataError, match="holds a store made with other settings; expected the same"):
            build(tmp_path, self.OTHER, 4, chunk)

    def test_what_was_interrupted_is_kept_from_other_settings(self, tmp_path):
        def interrupted(i):
            if i == 2:
                raise KeyboardInterrupt
            return chunk(i)

        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, SETTINGS, 4, interrupted)
        with pytest.raises(DataError, match="holds a store made with other settings; expected the same"):
            build(tmp_path, self.OTHER, 4, chunk)
        check(build(tmp_path, SETTINGS, 4, chunk))

    def test_chunks_that_do_not_fit_together(self, tmp_path):
        def odd(i):
            return {"layer": np.zeros((2, 3 + (i == 3))), "fine": np.zeros(2)}

        with pytest.raises(DataError, match="have different types or widths"):
            build(tmp_path, SETTINGS, 4, odd)
        with pytest.warns(UserWarning, match="run with other settings that failed"):
            check(build(tmp_path, self.OTHER, 4, chunk))
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*files_of_store(tmp_path), "manifest.json"])


def files_of_store(folder):
    return [path.name for path in store.paths(folder).values()]
