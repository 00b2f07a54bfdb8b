import json

import numpy as np
import pytest

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
    check(build(tmp_path, SETTINGS, 4, stop_at(-1, calls)))
    assert calls == [0, 1, 2, 0, 2, 3]


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
    (tmp_path / "001.npy").unlink()
    with pytest.raises(DataError, match=r"001\.npy is missing or is not what was written"):
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
