"""Disks of every size that fill up: said with status 3, what is there is whole, and going on ends alike."""

import errno
import time
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from disks import disk
from PIL import Image
from proof import proved
from safetensors.numpy import save_file

from superpose import store
from superpose.cli import main
from superpose.files import whole
from superpose.studies import results

CONTENTS = {f"key{i}": f"content {i} " * 60 for i in range(300)}
CHUNKS = 6




@contextmanager
def full_disks():
    """Take the one error that a full disk may raise, and yield a list that it leaves an entry in."""
    full = []
    try:
        yield full
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        full.append(error.filename)


def keep_results(folder):
    """Keep results until the disk is full; return whether it was, and check that what was acknowledged is there."""
    kept = results.read(folder)
    with full_disks() as full, results.writer(folder) as put:
        for key, content in CONTENTS.items():
            put({key: content})
            kept[key] = content
    assert results.read(folder) == kept
    return bool(full)


def chunk(i):
    rng = np.random.default_rng(i)
    return {"layer": rng.normal(size=(64, 64)).astype(np.float32), "labels": rng.integers(9, size=64)}


def build_store(folder):
    """Build a store until the disk is full; return whether it was, and check that what it lists is whole."""
    with full_disks() as full:
        store.build(folder / "store", {"seed": 0}, CHUNKS, chunk)
    if full and (folder / "store/manifest.json").exists():
        manifest = store._load(folder / "store")
        assert manifest["arrays"] == {}
        assert not any(store._fallen(folder / "store", shard) for shard in manifest["shards"].values())
    return bool(full)


def built(folder):
    return {name: array.tobytes() for name, array in store.read(folder / "store").items()}


def compare(folder, sources):
    files = [str(sources / name) for name in ("a.npy", "b.npy")]
    return main(["compare", *files, "--raw", "--permutations", "9", "--out", str(folder / "out")])


def results_at(folder, kilobytes):
    with disk(folder, kilobytes) as resize:
        full = keep_results(folder)
        resize(4096)
        assert not keep_results(folder)
        assert results.read(folder) == CONTENTS
    return full


def store_at(folder, kilobytes):
    reference = folder.with_name("reference")
    if not reference.exists():
        reference.mkdir()
        build_store(reference)
    with disk(folder, kilobytes) as resize:
        full = build_store(folder)
        resize(4096)
        assert not build_store(folder)
        assert built(folder) == built(reference)
    return full


def compare_at(folder, kilobytes):
    sources = folder.with_name("sources")
    if not sources.exists():
        sources.mkdir()
        for seed, name in enumerate("ab"):
            np.save(sources / f"{name}.npy", np.random.default_rng(seed).normal(size=(60, 4)))
        assert compare(sources, sources) == 0
    reference = {
        file.name: file.read_bytes() for file in (sources / "out").iterdir() if file.suffix in (".csv", ".parquet")
    }
    with disk(folder, kilobytes) as resize:
        status = compare(folder, sources)
        assert status in (0, 3)
        if status == 3:
            there = {file.name: file.read_bytes() for file in (folder / "out").glob("[!.]*")}
            assert "run.json" not in there
            assert all(content for content in there.values())
            assert all(there[name] == content for name, content in reference.items() if name in there)
            assert not list((folder / "out").glob(".*"))
            resize(16384)
            assert compare(folder, sources) == 0
        after = {file.name: file.read_bytes() for file in (folder / "out").iterdir()}
        assert all(after[name] == content for name, content in reference.items())
        assert "run.json" in after
    return status == 3


# What is written, and kilobytes that it fits in easily.
OUTPUTS = {"results": (results_at, 700), "activation store": (store_at, 400), "compare": (compare_at, 3000)}


def sizes(count, most):
    """Return sizes in whole pages, from one page on."""
    return [4 * round(size / 4) for size in np.geomspace(4, most, count)]


ARRAY = np.arange(2**16, dtype=np.float64)
WRITERS = {
    "npy": lambda path: np.save(path, ARRAY),
    "npz": lambda path: np.savez(path, ARRAY),
    "safetensors": lambda path: save_file({"x": ARRAY}, path),
    "parquet": lambda path: pd.DataFrame({"x": ARRAY}).to_parquet(path),
    "csv": lambda path: pd.DataFrame({"x": ARRAY}).to_csv(path),
    "text": lambda path: path.write_text("x" * 2**19),
    "picture": lambda path: Image.fromarray(ARRAY.view(np.uint8).reshape(1024, -1)).save(path, "png", compress_level=0),
}


@pytest.mark.parametrize("kilobytes", [4, 8, 100])
@pytest.mark.parametrize("writer", WRITERS)
def test_whatever_a_library_says_the_error_is_that_of_a_full_disk(writer, kilobytes, tmp_path):
    with disk(tmp_path / "disk", kilobytes):
        path = tmp_path / f"disk/file.{writer}"
        with pytest.raises(OSError, match="No space left on device") as caught, whole(path) as temporary:
            WRITERS[writer](temporary)
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == str(path)
        assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("output", ["results", "activation store"])
def test_full_disks(output, tmp_path):
    fill, most = OUTPUTS[output]
    full = [fill(tmp_path / "disk", size) for size in sizes(6, most)]
    assert full[0]
    assert not full[-1]


@pytest.mark.slow
def test_a_full_disk_under_compare(tmp_path, capsys):
    assert compare_at(tmp_path / "disk", 100)
    said = capsys.readouterr().err
    assert "superpose: no space left on the device" in said
    assert "nothing was half-written" in said


@pytest.mark.slow
@pytest.mark.prove
def test_p8_full_disks(tmp_path):
    start, full, tried = time.perf_counter(), {}, 50
    for output, (fill, most) in OUTPUTS.items():
        (tmp_path / output).mkdir()
        full[output.replace(" ", "_")] = sum(fill(tmp_path / output / "disk", size) for size in sizes(tried, most))
    assert all(0 < count < tried for count in full.values())
    names = {f"full_under_{name}": count for name, count in full.items()}
    proved("P8", time.perf_counter() - start, sizes=tried, outputs=len(full), **names, resumed_otherwise=0)
