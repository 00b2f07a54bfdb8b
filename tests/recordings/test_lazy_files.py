"""Large arrays in chunks or packed: unpacked onto the disk to the same bits, and gone afterwards."""

import errno
import gc
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray
import zarr
from child import told
from disks import disk
from scipy import sparse
from test_field_files import array_of, lose, matlab_73, nwb_series, observed
from test_fuzz import fuzzed

from superpose.arrays import is_mapped
from superpose.cli import main
from superpose.files import DataError, StorageError
from superpose.recordings import Recording, match, read, unpacking
from superpose.recordings.headers import header
from superpose.running.engines import engine

ROWS, UNITS = 60, 14
RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(ROWS, UNITS))
COUNTS = RNG.poisson(3, size=(ROWS, UNITS))
MIB = 2**20


@pytest.fixture
def lazily(monkeypatch, tmp_path):
    """Hold nothing in memory, unpack by a few hundred bytes, and yield the folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(unpacking, "HELD", 0)
    monkeypatch.setattr(unpacking, "TILE", 500)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def chunked(chunks, dtype="f8", **options):
    def write(path):
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=VALUES.astype(dtype), chunks=chunks, **options)

    return write


def stored_zarr(version, dtype="f8", **options):
    def write(path):
        zarr.create_array(path, data=VALUES.astype(dtype), zarr_format=version, **options)

    return write


def npz(values, save=np.savez_compressed):
    return lambda path: save(path, x=values)


def assembly(axes, **encoding):
    def write(path):
        cube = xarray.DataArray(VALUES.reshape(15, 4, UNITS), dims=("stimulus", "repetition", "neuroid"), name="x")
        encoded = {"x": {"zlib": True, "chunksizes": (4,) * 3, **encoding}}
        cube.transpose(*axes).to_netcdf(path, engine="h5netcdf", encoding=encoded)

    return write


def compressed_matlab(path):
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("layer", data=VALUES.T, chunks=(5, 9), compression="gzip")
        file["layer"].attrs["MATLAB_class"] = np.bytes_("double")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def table(path):
    columns = {f"u{i}": column for i, column in enumerate(VALUES.astype(np.float32).T)}
    frame = pd.DataFrame(columns).assign(u3=COUNTS[:, 3], u5=None, trial=np.arange(ROWS), stimulus=list("abcdef") * 10)
    frame.to_parquet(path, index=False, row_group_size=25)


def h5ad(make, **options):
    return lambda path: observed(make(COUNTS.astype(np.float32))).write_h5ad(path, **options)


ORDERS = {
    "in order": ("stimulus", "repetition", "neuroid"),
    "units first": ("neuroid", "repetition", "stimulus"),
    "units between": ("repetition", "neuroid", "stimulus"),
}
PACKED = {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -999}
# The file of each, what writes it, and the array in it that is asked for.
FILES = {
    **{f"HDF5, {dtype}": ("m.h5", chunked((7, 5), dtype, compression="gzip", shuffle=True), None) for dtype in
       ("<f2", "<f4", "<f8", ">f2", ">f4", ">f8", "i1", ">u2", "i8", "?")},
    "HDF5, rows": ("m.h5", chunked((1, UNITS), fletcher32=True), None),
    "HDF5, columns": ("m.h5", chunked((ROWS, 1), compression="gzip"), None),
    "HDF5, one chunk": ("m.h5", chunked((ROWS, UNITS), compression="lzf"), None),
    "HDF5 in one piece, of another byte order": ("m.h5", chunked(None, ">f4"), None),
    **{f"zarr {version}, {dtype}": ("m.zarr", stored_zarr(version, dtype, chunks=(7, 5)), None) for version in (2, 3)
       for dtype in ("<f2", "<f4", "<f8", ">f4", ">f8", "<i4", "?")},
    "zarr 3 in shards": ("m.zarr", stored_zarr(3, chunks=(5, 7), shards=(20, 14)), None),
    **{f"npz, {dtype}": ("m.npz", npz(VALUES.astype(dtype)), None) for dtype in ("<f2", "<f4", "<f8", ">f4", "<i2")},
    "npz, columns": ("m.npz", npz(np.asfortranarray(VALUES)), None),
    "npz, stored": ("m.npz", npz(VALUES, np.savez), None),
    "npy of integers": ("m.npy", lambda path: np.save(path, COUNTS), None),
    "npy of another byte order": ("m.npy", lambda path: np.save(path, VALUES.astype(">f4")), None),
    **{f"netCDF 4, {name}": ("m.nc", assembly(axes), None) for name, axes in ORDERS.items()},
    "netCDF 4, packed": ("m.nc", assembly(ORDERS["units first"], **PACKED), None),
    "netCDF 4, packed, one piece": ("m.nc", assembly(ORDERS["in order"], **PACKED, zlib=False, chunksizes=None), None),
    "parquet": ("m.parquet", table, None),
    "NWB": ("m.nwb", lambda path: nwb_series(path, COUNTS.astype(np.int16)), "acquisition/fluorescence"),
    "AnnData": ("m.h5ad", h5ad(np.asarray, compression="gzip"), None),
    "AnnData, rows": ("m.h5ad", h5ad(sparse.csr_matrix, compression="gzip"), None),
    "AnnData, columns": ("m.h5ad", h5ad(sparse.csc_matrix), None),
    "MATLAB 7.3": ("m.mat", compressed_matlab, None),
    "MATLAB 7.3, sparse": ("m.mat", lambda path: matlab_73(path, sparse.csc_array(VALUES)), None),
}  # fmt: skip


def written(folder, name):
    """Write a file, and return the path that reads it."""
    file, write, key = FILES[name]
    write(folder / file)
    return folder / file if key is None else f"{folder / file}:{key}"


@pytest.mark.parametrize("name", FILES)
def test_unpacked_to_the_same_bits(tmp_path, monkeypatch, name):
    path = written(tmp_path, name)
    held = read(path)
    monkeypatch.setattr(unpacking, "HELD", 0)
    for tile in (1, 500, 2**25):
        monkeypatch.setattr(unpacking, "TILE", tile)
        found = read(path)
        responses = array_of(found)
        assert responses.dtype == array_of(held).dtype
        assert responses.dtype.isnative
        assert responses.tobytes() == array_of(held).tobytes()
        assert is_mapped(responses)
        assert not responses.flags.writeable
        if isinstance(held, Recording):
            assert (found.stimuli == held.stimuli).all()
            assert found.repeats is None or (found.repeats == held.repeats).all()


@pytest.mark.parametrize("name", [name for name in FILES if "columns" not in name])
def test_rows_lie_together(tmp_path, lazily, name):
    assert array_of(read(written(tmp_path, name))).flags.c_contiguous


@pytest.mark.parametrize("name", FILES)
def test_headers_say_what_is_mapped(tmp_path, lazily, monkeypatch, name):
    path = written(tmp_path, name)
    responses = array_of(read(path))
    if not name.endswith(("AnnData, rows", "AnnData, columns", "sparse")):
        monkeypatch.setattr(unpacking, "reserve", None)
    assert header(path) == (responses.shape, responses.dtype.name, True)


def test_text_tables_are_read_for_their_headers(tmp_path, lazily):
    frame = pd.DataFrame(VALUES[:, :3], columns=list("uvw")).assign(stimulus=np.arange(ROWS))
    frame.to_csv(tmp_path / "m.csv", index=False)
    assert header(tmp_path / "m.csv") == ((ROWS, 3), "float64", True)


def test_what_is_small_stays_in_memory(tmp_path):
    assert not is_mapped(read(written(tmp_path, "HDF5, rows")))
    assert not is_mapped(read(written(tmp_path, "npz, <f8")))


def test_tiles_cover_an_array_once():
    for shape, chunks in (((10, 7), (3, 2)), ((5, 4, 6), (5, 1, 4)), ((8,), (3,)), ((3, 3), (9, 9))):
        for size in (8, 100, 10**6):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(unpacking, "TILE", size)
                counts = np.zeros(shape, dtype=int)
                for tile in unpacking.tiles(shape, chunks, 8):
                    counts[tile] += 1
                    assert counts[tile].nbytes <= max(size, 8 * np.prod(chunks))
                    # No chunk is unpacked twice.
                    assert all(part.start % chunk == 0 for part, chunk in zip(tile, chunks, strict=True))
            assert (counts == 1).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_means_and_other_orders_are_the_same_on_the_disk(lazily, monkeypatch, dtype):
    stimuli = RNG.permutation(np.repeat(np.arange(15), 4))
    trials = Recording("a", VALUES.astype(dtype), stimuli, np.arange(ROWS))
    single = Recording("b", VALUES[:20].astype(dtype), RNG.permutation(20))
    found = match([trials, single])
    monkeypatch.setattr(unpacking, "HELD", 2**30)
    held = match([trials, single])
    assert (found.stimuli == held.stimuli).all()
    for name, array in found.systems.items():
        assert is_mapped(array)
        assert not is_mapped(held.systems[name])
        assert array.tobytes() == held.systems[name].tobytes()
    brute = [VALUES.astype(dtype)[stimuli == int(i)].sum(axis=0, dtype=float) / 4 for i in found.stimuli]
    np.testing.assert_allclose(found.systems["a"], brute, rtol=2e-3 if dtype == np.float16 else 1e-6, atol=1e-3)


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 255
    path.write_bytes(content)


def test_damage_in_a_chunk(tmp_path, lazily):
    path = tmp_path / "m.h5"
    chunked((7, 5), compression="gzip", fletcher32=True)(path)
    with h5py.File(path) as file:
        flip(path, file["x"].id.get_chunk_info(9).byte_offset + 3)
    with pytest.raises(DataError, match=rf"^{path} cannot be read"):
        read(path)
    store = tmp_path / "m.zarr"
    stored_zarr(3, chunks=(7, 5))(store)
    flip(sorted(path for path in (store / "c").rglob("*") if path.is_file())[3], 2)
    with pytest.raises(DataError, match=rf"^{store} cannot be read"):
        read(store)
    lose(store)
    with pytest.raises(DataError, match="1 of 27 chunks of m are not stored"):
        read(store)
    archive = tmp_path / "m.npz"
    npz(VALUES, np.savez)(archive)
    flip(archive, archive.stat().st_size // 2)
    with pytest.raises(DataError, match=rf"^{archive} cannot be read .Bad CRC-32"):
        read(archive)
    assert list(lazily.iterdir()) == []


@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_archives_that_end_early(tmp_path, lazily, kept):
    stream = tmp_path / "x.npy"
    np.save(stream, VALUES)
    content = stream.read_bytes()
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "m.npz", "w", method) as archive:
            archive.writestr("x.npy", content[: int(kept * len(content))])
        with pytest.raises(DataError, match=r"m\.npz"):
            read(tmp_path / "m.npz")


LAZY = ("npy", "npz", "parquet", "hdf5", "hdf5 in chunks", "zarr 2", "zarr 3", "netcdf 4", "nwb", "h5ad")


@pytest.mark.parametrize("name", LAZY)
def test_mutated_files(tmp_path, lazily, capfd, name):
    assert fuzzed(name, tmp_path, 64)["refused"] > 8
    gc.collect()
    assert list(lazily.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_rows_that_a_parquet_lacks(tmp_path, monkeypatch, lazily):
    table(tmp_path / "m.parquet")
    batches = pq.ParquetFile.iter_batches
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *args, **options: list(batches(*args, **options))[:-1])
    with pytest.raises(DataError, match=r"m\.parquet announces 60 rows and has \d+; write it again"):
        read(tmp_path / "m.parquet")


@pytest.mark.parametrize("name", ["HDF5, rows", "zarr 3, <f8", "npz, <f8"])
def test_nothing_is_left(tmp_path, lazily, name):
    path = written(tmp_path, name)
    array_of(read(path))
    gc.collect()
    before = os.listdir("/proc/self/fd")
    found = read(path)
    assert list(lazily.iterdir()) == []
    total = found.sum()
    assert total == pytest.approx(VALUES.sum())
    del found
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == len(before)
    with open("/proc/self/maps") as maps:
        assert str(lazily) not in maps.read()


@pytest.mark.parametrize("where", ["before", "midway", "without a call"])
def test_full_disks(tmp_path, lazily, monkeypatch, where):
    path = written(tmp_path, "HDF5, rows")
    with disk(lazily, 4):
        if where != "before":
            room = unpacking.shutil.disk_usage(tmp_path)
            monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda folder: room)
        else:
            room = unpacking.shutil.disk_usage(tmp_path)._replace(free=4096)
            monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda folder: room)
        if where == "without a call":
            monkeypatch.delattr(os, "posix_fallocate")
        told = "has 0.0 GB free" if where == "before" else "is full"
        expected = rf"^{path}: /x, shape \(60, 14\), takes 6720 bytes .* {re.escape(str(lazily))} {told}; set TMPDIR to"
        with pytest.raises(StorageError, match=expected):
            read(path)
        assert list(lazily.iterdir()) == []
        gc.collect()
        assert unpacking.os.statvfs(lazily).f_bavail > 0


def test_a_full_disk_is_status_3(tmp_path, lazily, monkeypatch, capsys):
    def full(descriptor, start, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    paths = [written(tmp_path, "HDF5, rows"), written(tmp_path, "npz, <f8")]
    files = [str(path.rename(path.with_stem(f"{number}"))) for number, path in enumerate(paths)]
    assert main(["compare", *files, "--raw", "--out", str(tmp_path / "out")]) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"superpose: {files[0]}: /x, shape (60, 14), takes 6720 bytes")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_room_that_no_call_reserves(tmp_path, monkeypatch, lazily):
    monkeypatch.delattr(os, "posix_fallocate")
    np.testing.assert_array_equal(read(written(tmp_path, "HDF5, rows")), VALUES)


def test_more_than_the_disk_can_hold_is_no_fault_of_the_disk(tmp_path, lazily, capsys):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", shape=(10**12, 4), dtype="f8", chunks=(100, 4), fillvalue=np.nan)
    with pytest.raises(DataError, match=f"and the disk of {lazily} has ") as caught:
        read(path)
    assert type(caught.value) is DataError


def test_what_has_too_many_axes_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, lazily):
    cube = np.ones((2, 3, 4))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("x", data=cube, chunks=cube.shape)
    zarr.create_array(tmp_path / "m.zarr", data=cube)
    nwb_series(tmp_path / "m.nwb", cube)
    matlab_73(tmp_path / "m.mat", cube)
    monkeypatch.setattr(unpacking, "spread", None)
    for file in ("m.h5", "m.zarr", "m.nwb:acquisition/fluorescence", "m.mat:layer"):
        with pytest.raises(DataError, match=r"has 3 dimensions, shape \(.*\); expected two"):
            read(f"{tmp_path}/{file}")


def test_progress(tmp_path, lazily, monkeypatch, capsys):
    monkeypatch.setattr(unpacking, "MB", 1000)
    calls = []
    for name, file in (("HDF5, rows", "m.h5"), ("npz, <f8", "m.npz")):
        read(written(tmp_path, name), progress=lambda *call: calls.append(call))
        assert {(what, total) for what, _, total in calls} == {(f"{file}: MB unpacked", 6)}
        done = [done for _, done, _ in calls]
        assert done == sorted(done)
        assert done[-1] == 6
        assert len(done) >= 14
        calls.clear()
    read(tmp_path / "m.h5")
    assert calls == []
    assert capsys.readouterr() == ("", "")


def test_interrupted(tmp_path, lazily):
    def interrupt(what, done, total):
        raise KeyboardInterrupt

    path = written(tmp_path, "HDF5, rows")
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt):
        read(path, progress=interrupt)
    gc.collect()
    assert list(lazily.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before


UNPACKING = """
import sys, time
from superpose.recordings import read, unpacking
unpacking.HELD, unpacking.TILE = 0, 500
def told(what, done, total):
    print("unpacking", flush=True)
    time.sleep(60)
read(sys.argv[1], progress=told)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_killed(tmp_path, number):
    path, folder = written(tmp_path, "HDF5, rows"), tmp_path / "temporary"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", UNPACKING, str(path)],
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout.readline() == b"unpacking\n"
    assert list(folder.iterdir()) == []
    process.send_signal(number)
    assert process.wait(30) != 0
    process.stdout.close()
    assert list(folder.iterdir()) == []


def test_other_processes(tmp_path, lazily):
    found = read(written(tmp_path, "HDF5, rows"))
    assert pickle.loads(pickle.dumps(found)).tobytes() == found.tobytes()
    sums = {len(total): total for total in engine("local:2", threads=1)(found.sum, [0, 1])}
    for axis, length in ((0, UNITS), (1, ROWS)):
        np.testing.assert_array_equal(sums[length], found.sum(axis))
    joblib = pytest.importorskip("joblib")
    large = joblib.Parallel(n_jobs=2, max_nbytes=1)
    assert large(joblib.delayed(np.sum)(found) for _ in range(2)) == [found.sum()] * 2
    child = multiprocessing.get_context("fork").Process(target=lambda: os._exit(found.sum() == VALUES.sum()))
    child.start()
    child.join(30)
    assert child.exitcode == 1


CHILD = """
import json, sys, time
import superpose as sp
from machine import memory_watched
from superpose.recordings import read, unpacking
import h5py, zarr  # what reading imports is no part of what it holds

held, tile, do, *paths = sys.argv[1:]
unpacking.HELD, unpacking.TILE = int(held), int(tile)
with memory_watched() as memory:
    began = time.perf_counter()
    systems = {path: read(path) for path in paths}
    seconds = time.perf_counter() - began
    # Penalties that are chosen take float64 sums and spectra beside these.
    known = ("cka", "cka_debiased", "rsa", "ols_r", "ols_r2")
    asked = {"metrics": known, "memory": "256MB", "permutations": 0}
    scores = sp.compare(systems, **asked).score.tolist() if do == "compare" else None
print(json.dumps({"peak": memory.peak, "before": memory.before, "read": seconds, "scores": scores}))
"""


def measured(do, paths, held=unpacking.HELD, tile=unpacking.TILE):
    """Return how much memory a process held at most over what it began with, its seconds and its scores."""
    return told(CHILD, held, tile, do, *paths)


def write_rows(path, samples, units, seed):
    """Write float32 responses by blocks of rows, as a compressed HDF5 dataset or zarr array."""
    rng, block = np.random.default_rng(seed), 2000
    mixing = np.random.default_rng(seed).normal(size=(16, units)).astype(np.float32)
    if path.suffix == ".h5":
        file = h5py.File(path, "w")
        array = file.create_dataset(
            "x", (samples, units), "f4", chunks=(500, units), compression="gzip", compression_opts=1
        )
    else:
        array = zarr.create_array(path, shape=(samples, units), dtype="f4", chunks=(500, units))
    for start in range(0, samples, block):
        z = np.random.default_rng([99, start]).normal(size=(min(block, samples - start), 16)).astype(np.float32)
        # Sixteen levels, so that there is something to compress.
        array[start : start + block] = np.round(2 * (z @ mixing + rng.standard_normal((len(z), units)))) / 2
    if path.suffix == ".h5":
        file.close()
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="RssAnon is read from /proc")
class TestMemory:
    @pytest.mark.parametrize("suffix", [".h5", ".zarr"])
    def test_little_is_held_while_unpacking(self, tmp_path, suffix):
        path = write_rows(tmp_path / f"a{suffix}", 32_000, 512, 0)
        found = measured("read", [path], held=4 * MIB, tile=4 * MIB)
        # The array takes 62 MiB: a few tiles, chunks on their way, and what allocators keep.
        assert found["peak"] < 40 * MIB
        whole = measured("read", [path])
        assert whole["peak"] > 60 * MIB

    @pytest.mark.slow
    def test_comparing_compressed_files(self, tmp_path):
        paths = [write_rows(tmp_path / f"{name}", 200_000, 768, seed) for seed, name in enumerate(("a.h5", "b.zarr"))]
        started = time.perf_counter()
        lazily = measured("compare", paths)
        whole = measured("compare", paths, held=2**40)
        print(f"unpacked {lazily}, whole {whole}, {time.perf_counter() - started:.0f} s")
        # Beside what is unpacked, 256 MB of sums and numbers for each of the rows.
        assert lazily["before"] + lazily["peak"] < 512 * MIB
        assert whole["peak"] > 1024 * MIB
        assert lazily["read"] < 2 * whole["read"]
        assert lazily["scores"] == whole["scores"]
