"""Files of the field's own formats, written by their own libraries: numbers, labels, what is mapped, and refused."""

import asyncio
import gc
import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import anndata
import h5py
import numpy as np
import pandas as pd
import pynwb
import pytest
import xarray
import zarr
from scipy import sparse
from scipy.io import savemat
from zarr.core.sync import sync

from superpose.analysis.inputs import read_systems
from superpose.cli import main
from superpose.files import DataError, sha256_of_folder
from superpose.recordings import Recording, match, read

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(6, 4))
IDS = ["cat", "dog", "fox", "gnu", "hen", "owl"]
SPARSE = np.where(VALUES > 0, VALUES, 0)


def hdf5(path, values):
    with h5py.File(path, "w") as file:
        file["layer"] = values


def hdf5_in_chunks(path, values):
    with h5py.File(path, "w") as file:
        file.create_dataset("layer", data=values, chunks=(4, 2), compression="gzip")


def hdf5_compact(path, values):
    with h5py.File(path, "w") as file:
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(values.shape)
        made = h5py.h5d.create(file.id, b"layer", h5py.h5t.py_create(values.dtype), space, creation)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, values)


def zarr_of(version, **options):
    def write(path, values):
        zarr.create_array(path, data=values, zarr_format=version, **options)

    return write


def netcdf(engine, **encoding):
    def write(path, values):
        array = xarray.DataArray(values, dims=("presentation", "neuroid"), name="x")
        array.to_netcdf(path, engine=engine, encoding={"x": encoding})

    return write


def nwb_series(path, values):
    file = nwb_file()
    file.add_acquisition(pynwb.TimeSeries(name="fluorescence", data=values, unit="a.u.", rate=30.0))
    with pynwb.NWBHDF5IO(path, "w") as out:
        out.write(file)


def nwb_file():
    return pynwb.NWBFile("a session", "one", datetime(2026, 1, 1, tzinfo=UTC))


def h5ad(make=np.asarray):
    def write(path, values):
        observed(make(values)).write_h5ad(path)

    return write


def observed(x, **columns):
    index = pd.Index([f"cell {i}" for i in range(x.shape[0])], dtype=object)
    names = pd.Index([f"gene {i}" for i in range(x.shape[1])], dtype=object)
    return anndata.AnnData(x, obs=pd.DataFrame(columns, index=index), var=pd.DataFrame(index=names))


def categorical(values):
    kinds = pd.Index(sorted(set(values) - {None}), dtype=object)
    return pd.Categorical(values, dtype=pd.CategoricalDtype(kinds))


def matlab(version):
    return lambda path, values: savemat(path, {"layer": values}, format=version)


def matlab_73(path, values, **labels):
    """Write what MATLAB's save -v7.3 does: HDF5 behind a page of text, every array transposed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        if sparse.issparse(values):
            group = file.create_group("layer")
            group.attrs["MATLAB_sparse"] = np.uint64(values.shape[0])
            group.attrs["MATLAB_class"] = np.bytes_("double")
            for name, part in (("data", values.data), ("ir", values.indices), ("jc", values.indptr)):
                group[name] = part
        else:
            matlab_number(file, "layer", values)
        for name, label in labels.items():
            if isinstance(label, list):
                cells = [matlab_text(file, f"#refs#/{name}{i}", text).ref for i, text in enumerate(label)]
                file[name] = np.array(cells, dtype=h5py.ref_dtype)[None]
                file[name].attrs["MATLAB_class"] = np.bytes_("cell")
            elif isinstance(label, str):
                matlab_text(file, name, label)
            else:
                matlab_number(file, name, label)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def matlab_number(file, name, values):
    file[name] = values.T
    file[name].attrs["MATLAB_class"] = np.bytes_("single" if values.dtype == np.float32 else "double")


def matlab_text(file, name, text):
    file[name] = np.array([[ord(c) for c in row] for row in text.split("\n")], dtype=np.uint16).T
    file[name].attrs["MATLAB_class"] = np.bytes_("char")
    return file[name]


# What writes a format, the key that picks the array, and whether it stays on the disk.
FORMATS = {
    "HDF5": ("m.h5", hdf5, None, True),
    "HDF5 in chunks": ("m.hdf5", hdf5_in_chunks, "layer", False),
    "HDF5, compact": ("m.h5", hdf5_compact, None, False),
    "zarr 2": ("m.zarr", zarr_of(2, chunks=(4, 2)), None, False),
    "zarr 3": ("m.zarr", zarr_of(3, chunks=(4, 3)), None, False),
    "zarr 3 in shards": ("m.zarr", zarr_of(3, chunks=(2, 2), shards=(4, 4)), None, False),
    "netCDF 4": ("m.nc", netcdf("h5netcdf"), None, True),
    "netCDF 4 in chunks": ("m.nc", netcdf("h5netcdf", zlib=True), None, False),
    "netCDF 3": ("m.nc", netcdf("scipy"), None, False),
    "NWB": ("m.nwb", nwb_series, "acquisition/fluorescence", True),
    "AnnData": ("m.h5ad", h5ad(), None, True),
    "AnnData, rows": ("m.h5ad", h5ad(sparse.csr_matrix), None, False),
    "AnnData, columns": ("m.h5ad", h5ad(sparse.csc_matrix), "X", False),
    "MATLAB 4": ("m.mat", matlab("4"), None, False),
    "MATLAB 5": ("m.mat", matlab("5"), "layer", False),
    "MATLAB 5, sparse": ("m.mat", lambda path, values: matlab("5")(path, sparse.csc_array(values)), None, False),
    "MATLAB 7.3": ("m.mat", matlab_73, None, True),
    "MATLAB 7.3, sparse": ("m.mat", lambda path, values: matlab_73(path, sparse.csc_array(values)), None, False),
}
every_format = pytest.mark.parametrize("name", FORMATS)


def array_of(found):
    return found.responses if isinstance(found, Recording) else found


def mapped(array):
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


@every_format
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_format_gives_the_numbers_back(tmp_path, name, dtype):
    file, write, key, stays = FORMATS[name]
    values = SPARSE.astype(dtype)
    write(tmp_path / file, values)
    array = array_of(read(tmp_path / file if key is None else f"{tmp_path / file}:{key}"))
    np.testing.assert_array_equal(array, values)
    assert array.dtype == dtype
    assert mapped(array) == stays
    assert not (stays and array.flags.writeable)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f2", "<i2", "?"])
def test_hdf5_of_other_types(tmp_path, dtype):
    values = (10 * VALUES).astype(dtype)
    hdf5(tmp_path / "m.h5", values)
    np.testing.assert_array_equal(read(tmp_path / "m.h5"), values.astype(float))


def test_hdf5_types_that_numpy_lacks_are_converted(tmp_path):
    """A bfloat16 takes two bytes, as float16 does, and must not be mapped as such."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        made = h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple((2, 2)))
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([[1.5, -2.0], [0.25, 3.0]], dtype=np.float32))
    found = read(tmp_path / "m.h5")
    np.testing.assert_array_equal(found, [[1.5, -2.0], [0.25, 3.0]])
    assert not mapped(found)


def test_hdf5_groups_and_the_labels_in_them(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["V1/responses"], file["V1/image_id"], file["V1/session"] = VALUES, IDS, np.repeat([1.0, 2.0], 3)
        file["V1/gain"] = np.ones(3)
        file["IT/layer"], file["IT/stimulus"], file["IT/trial"] = (
            VALUES[:4],
            np.array([b"a", b"a", b"b", b"b"]),
            [0, 1, 0, 1],
        )
    with pytest.raises(DataError, match=r"holds 2 arrays \(IT/layer, V1/responses\); say which, as m.h5:name"):
        read(path)
    for key in ("V1", "V1/responses"):
        found = read(f"{path}:{key}")
        assert found.stimuli.tolist() == IDS
        assert found.groups.tolist() == list("111222")
        assert mapped(found.responses)
    found = read(f"{path}:IT")
    assert (found.stimuli.tolist(), found.repeats.tolist()) == (list("aabb"), list("0101"))
    with pytest.raises(DataError, match=r"has no array 'V4'; it has IT/layer, IT/stimulus, IT/trial"):
        read(f"{path}:V4")


def test_a_named_array_leaves_labels_of_another_length(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a"], file["b"], file["stimuli"] = VALUES, VALUES[:2], IDS
    assert read(f"{tmp_path}/m.h5:a").stimuli.tolist() == IDS
    assert isinstance(read(f"{tmp_path}/m.h5:b"), np.ndarray)


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_groups_and_the_labels_in_them(tmp_path, version):
    group = zarr.open_group(tmp_path / "m.zarr", mode="w", zarr_format=version)
    group.create_array("V1/responses", data=VALUES)
    group.create_array("V1/stimulus_id", shape=(6,), dtype=str)[:] = np.array(IDS, dtype=object)
    group.create_array("IT/x", data=VALUES)
    found = read(f"{tmp_path}/m.zarr:V1")
    assert found.stimuli.tolist() == IDS
    np.testing.assert_array_equal(found.responses, VALUES)
    assert isinstance(read(f"{tmp_path}/m.zarr:IT/x"), np.ndarray)
    with pytest.raises(DataError, match=r"holds 2 arrays \(IT/x, V1/responses\)"):
        read(tmp_path / "m.zarr")


@pytest.mark.parametrize("engine", ["h5netcdf", "scipy"])
def test_assemblies_as_brainio_keeps_them(tmp_path, engine):
    """Presentations × neuroids × one time bin, with the levels of each index as coordinates."""
    order = RNG.permutation(6)
    coords = {
        "image_id": ("presentation", np.array(IDS)[order % 3]),
        "stimulus_id": ("presentation", np.array(IDS)[order % 3]),
        "repetition": ("presentation", order // 3),
        "neuroid_id": ("neuroid", list("abcd")),
        "time_bin_start": ("time_bin", [70]),
    }
    array = xarray.DataArray(VALUES[..., None], dims=("presentation", "neuroid", "time_bin"), coords=coords)
    array.name = "dicarlo.MajajHong2015.public"
    for name, axes in (("a", ("presentation", "neuroid", "time_bin")), ("b", ("neuroid", "time_bin", "presentation"))):
        array.transpose(*axes).to_netcdf(tmp_path / f"{name}.nc", engine=engine)
        found = read(tmp_path / f"{name}.nc")
        np.testing.assert_array_equal(found.responses, VALUES)
        assert found.stimuli.tolist() == [IDS[i % 3] for i in order]
        assert found.repeats.tolist() == [str(i // 3) for i in order]
        assert mapped(found.responses) == (engine == "h5netcdf")


@pytest.mark.parametrize("axes", list(itertools.permutations(("stimulus", "repetition", "neuroid"))))
def test_assemblies_of_stimuli_and_repetitions(tmp_path, axes):
    cube = xarray.DataArray(VALUES.reshape(3, 2, 4), dims=("stimulus", "repetition", "neuroid"))
    cube.coords["stimulus_id"], cube.coords["repetition"] = ("stimulus", IDS[:3]), [5, 7]
    cube.transpose(*axes).to_netcdf(tmp_path / "m.nc", engine="h5netcdf")
    found = match([read(tmp_path / "m.nc")])
    assert found.stimuli.tolist() == list(dict.fromkeys(found.stimuli.tolist()))
    for stimulus, row in zip(found.stimuli, found.systems["m"], strict=True):
        np.testing.assert_allclose(row, VALUES.reshape(3, 2, 4)[IDS.index(stimulus)].mean(axis=0), rtol=1e-12)


def test_assemblies_without_coordinates_number_their_axes(tmp_path):
    array = xarray.DataArray(VALUES.reshape(3, 2, 4), dims=("image", "trial", "unit"))
    array.to_netcdf(tmp_path / "m.nc", engine="h5netcdf")
    found = read(tmp_path / "m.nc")
    assert (found.stimuli.tolist(), found.repeats.tolist()) == (list("001122"), list("010101"))
    np.testing.assert_array_equal(found.responses, VALUES)


def test_assemblies_that_are_packed_are_unpacked(tmp_path):
    array = xarray.DataArray(VALUES.round(2), dims=("presentation", "neuroid"), name="x")
    packing = {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -999}
    array.to_netcdf(tmp_path / "m.nc", engine="h5netcdf", encoding={"x": packing})
    np.testing.assert_allclose(read(tmp_path / "m.nc"), VALUES.round(2), atol=1e-12)


def test_assemblies_with_too_many_axes(tmp_path):
    xarray.DataArray(VALUES.reshape(3, 2, 4), dims=("presentation", "time_bin", "neuroid")).to_netcdf(tmp_path / "m.nc")
    with pytest.raises(
        DataError, match=r"axes presentation \(3\) × time_bin \(2\) × neuroid \(4\); expected pres.*one time bin"
    ):
        read(tmp_path / "m.nc")
    xarray.DataArray(VALUES, dims=("unit", "neuroid")).to_netcdf(tmp_path / "n.nc")
    with pytest.raises(DataError, match=r"axes unit \(6\) × neuroid \(4\); expected samples and units, once each"):
        read(tmp_path / "n.nc")
    rows = xarray.DataArray(VALUES, dims=("time", "neuroid"))
    rows.to_netcdf(tmp_path / "rows.nc")
    with pytest.raises(
        DataError, match=r"axes time \(\d+\) × neuroid \(\d+\).*Say what they are: axes=? ?stimuli,units"
    ):
        read(tmp_path / "rows.nc")
    np.testing.assert_array_equal(array_of(read(tmp_path / "rows.nc", axes="stimuli,units")), VALUES)


def nwb_session(path, *, name="trials", sessions=False):
    """Write units with spikes and intervals of stimuli; return the counts, taken one spike at a time."""
    rng = np.random.default_rng(1)
    file = nwb_file()
    starts = np.arange(8) * 1.5
    stops = starts + rng.uniform(0.5, 2.0, size=8)  # some overlap the next
    spikes = [np.sort(rng.uniform(0, 14, size=n)) for n in (40, 0, 25)]
    spikes[0][3] = starts[2]  # a spike at the start is in
    spikes[2][5] = stops[4]  # a spike at the stop is out
    for times in spikes:
        file.add_unit(spike_times=np.sort(times))
    table = pynwb.epoch.TimeIntervals(name=name, description="what was shown")
    table.add_column("picture", "its name")
    table.add_column("tags", "several a row", index=True)
    for i, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        table.add_row(start_time=start, stop_time=stop, picture=IDS[i % 4], tags=["x"] * (i % 3))
    if name == "trials":
        file.trials = table
    else:
        file.add_time_intervals(table)
    file.create_processing_module("ophys", "traces").add(pynwb.TimeSeries(name="dff", data=VALUES, unit="1", rate=1.0))
    with pynwb.NWBHDF5IO(path, "w") as out:
        out.write(file)
    return np.array(
        [[sum(start <= t < stop for t in times) for times in spikes] for start, stop in zip(starts, stops, strict=True)]
    )


@pytest.mark.parametrize("name", ["trials", "pictures"])
def test_nwb_spikes_are_counted_in_intervals(tmp_path, name):
    path = tmp_path / "m.nwb"
    counts = nwb_session(path, name=name)
    for key in (f"{name}/picture", f"intervals/{name}/picture"):
        found = read(f"{path}:{key}")
        np.testing.assert_array_equal(found.responses, counts)
        assert found.stimuli.tolist() == [IDS[i % 4] for i in range(8)]
        assert found.repeats.tolist() == [str(i) for i in range(8)]
    with pytest.raises(
        DataError, match=rf"{name} has no column 'tags' of stimulus ids; say which.*m.nwb:{name}/COLUMN \(id, p"
    ):
        read(f"{path}:{name}/tags")
    with pytest.raises(DataError, match=f"{name} has no column 'stimulus_id'"):
        read(f"{path}:{name}")
    other = {"trials": "pictures", "pictures": "trials"}[name]
    with pytest.raises(
        DataError, match=rf"no array '{other}'; expected a table of intervals.* \({name}\), or a dataset \(.*dff/data"
    ):
        read(f"{path}:{other}")
    np.testing.assert_array_equal(read(f"{path}:processing/ophys/dff"), VALUES)


def test_nwb_that_does_not_hold_together(tmp_path):
    nwb_session(tmp_path / "m.nwb")
    with h5py.File(tmp_path / "m.nwb", "r+") as file:
        file["units/spike_times_index"][-1] += 1
    with pytest.raises(DataError, match="spike_times_index does not part the 65 spike times"):
        read(f"{tmp_path}/m.nwb:trials/picture")
    with h5py.File(tmp_path / "m.nwb", "r+") as file:
        file["intervals/trials/stop_time"][3] = np.nan
    with pytest.raises(DataError, match="trials has intervals that do not stop after they start"):
        read(f"{tmp_path}/m.nwb:trials/picture")
    with h5py.File(tmp_path / "m.nwb", "r+") as file:
        del file["intervals/trials/stop_time"]
    with pytest.raises(DataError, match="has no intervals/trials/stop_time, which the schema asks for"):
        read(f"{tmp_path}/m.nwb:trials/picture")


def test_h5ad_labels_and_layers(tmp_path):
    made = observed(SPARSE, session=categorical(list("ppqqrr")), repetition=np.arange(6))
    made.layers["counts"], made.obsm["X_pca"] = sparse.csr_matrix(2 * SPARSE), VALUES[:, :2].copy()
    made.write_h5ad(tmp_path / "m.h5ad")
    found = read(tmp_path / "m.h5ad")
    assert found.stimuli.tolist() == [f"cell {i}" for i in range(6)]
    assert (found.groups.tolist(), found.repeats.tolist()) == (list("ppqqrr"), list("012345"))
    for key, values in {"counts": 2 * SPARSE, "layers/counts": 2 * SPARSE, "X_pca": VALUES[:, :2]}.items():
        np.testing.assert_array_equal(read(f"{tmp_path}/m.h5ad:{key}").responses, values)
    with pytest.raises(DataError, match="has no matrix 'tpm'; it has X, layers/counts, obsm/X_pca"):
        read(f"{tmp_path}/m.h5ad:tpm")


def test_h5ad_columns_of_stimuli_come_before_the_index(tmp_path):
    observed(VALUES, stimulus_id=pd.array([1, 2, 3, 4, 5, 6], dtype="Int64")).write_h5ad(tmp_path / "m.h5ad")
    assert read(tmp_path / "m.h5ad").stimuli.tolist() == list("123456")


@pytest.mark.parametrize(
    ("column", "cause"),
    [
        (categorical(["a", None, "b", "b", "c", "c"]), "/obs/session has rows without a category"),
        (pd.array([1, 2, None, 3, 4, 5], dtype="Int64"), "/obs/session has rows without a value"),
    ],
)
def test_h5ad_with_missing_labels(tmp_path, column, cause):
    observed(VALUES, session=column).write_h5ad(tmp_path / "m.h5ad")
    with pytest.raises(DataError, match=cause):
        read(tmp_path / "m.h5ad")


def test_h5ad_of_other_kinds(tmp_path):
    observed(sparse.csr_matrix(SPARSE)).write_h5ad(tmp_path / "m.h5ad")
    with h5py.File(tmp_path / "m.h5ad", "r+") as file:
        file["X/indices"][0] = 9
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "m.h5ad")
    with h5py.File(tmp_path / "m.h5ad", "r+") as file:
        file["X"].attrs["encoding-type"] = "awkward-array"
    with pytest.raises(DataError, match="X is stored as 'awkward-array'; expected one of array"):
        read(tmp_path / "m.h5ad")
    with h5py.File(tmp_path / "m.h5ad", "r+") as file:
        del file["obs"].attrs["encoding-type"]
    with pytest.raises(DataError, match=r"has no obs as anndata 0\.7 and later write it"):
        read(tmp_path / "m.h5ad")
    h5ad()(tmp_path / "n.h5ad", VALUES)
    with h5py.File(tmp_path / "n.h5ad", "r+") as file:
        file["obs/session"] = np.zeros(6, dtype="i1")
        file["obs/session"].attrs["categories"] = 1
    with pytest.raises(DataError, match=r"session is stored as anndata 0\.7 did"):
        read(tmp_path / "n.h5ad")


CELLS = np.array(IDS, dtype=object)
MATLAB_LABELS = {
    "column": np.arange(6.0)[:, None],
    "row": np.arange(6)[None],
    "cells": CELLS,
    "rows of text": np.array(IDS),
}


@pytest.mark.parametrize("name", MATLAB_LABELS)
def test_labels_of_matlab(tmp_path, name):
    labels = MATLAB_LABELS[name]
    savemat(tmp_path / "m.mat", {"rates": VALUES, "stimuli": labels, "session": "monday", "note": {"a": 1}})
    found = read(tmp_path / "m.mat")
    assert found.stimuli.tolist() == [
        str(int(i)) if labels.dtype.kind != "U" and labels.ndim == 2 else i for i in np.ravel(labels)
    ]
    assert found.groups is None
    np.testing.assert_array_equal(found.responses, VALUES)


@pytest.mark.parametrize("labels", [np.arange(6.0)[:, None], IDS, "\n".join(IDS)])
def test_labels_of_matlab_73(tmp_path, labels):
    matlab_73(tmp_path / "m.mat", VALUES, stimuli=labels, session="monday")
    found = read(tmp_path / "m.mat")
    assert found.stimuli.tolist() == (list("012345") if isinstance(labels, np.ndarray) else IDS)
    assert found.groups is None
    assert mapped(found.responses)


def test_cells_of_matlab_that_are_no_labels(tmp_path):
    cells = np.array([np.ones(2), *IDS[1:]], dtype=object)
    savemat(tmp_path / "m.mat", {"rates": VALUES, "stimuli": cells})
    with pytest.raises(DataError, match=r"stimuli is a cell; expected numbers, or text for labels\. Save cell2mat"):
        read(tmp_path / "m.mat")


def lose(folder):
    """Delete the last chunk of an array."""
    chunks = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(("z", ".z")))
    chunks[-1].unlink()


@pytest.mark.parametrize("options", [{"zarr_format": 2}, {"zarr_format": 3}, {"zarr_format": 3, "shards": (4, 4)}])
def test_a_lost_chunk_of_zarr_is_not_zeros(tmp_path, options):
    zarr.create_array(tmp_path / "m.zarr", data=VALUES, chunks=(2, 4), **options)
    lose(tmp_path / "m.zarr")
    chunks = 2 if "shards" in options else 3
    with pytest.raises(
        DataError, match=f"1 of {chunks} chunks of m are not stored, and would be read as 0.0; they are lost"
    ):
        read(tmp_path / "m.zarr")


def test_an_error_of_zarr_is_told_once(tmp_path, caplog):
    """What its loop still had to do is abandoned, and would be logged with a traceback when it is collected."""
    zarr.create_array(tmp_path / "m.zarr", data=VALUES)
    read(tmp_path / "m.zarr")

    async def abandon():
        asyncio.get_running_loop().create_future().set_exception(OSError("no such file"))

    sync(abandon())
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_zarr_chunks_that_were_left_out(tmp_path):
    empty = VALUES.copy()
    empty[2:4] = 0
    zarr.create_array(tmp_path / "a.zarr", data=empty, chunks=(2, 4))
    with pytest.raises(DataError, match=r"write it with every chunk \(zarr: write_empty_chunks=True"):
        read(tmp_path / "a.zarr")
    zarr.create_array(tmp_path / "b.zarr", data=empty, chunks=(2, 4), config={"write_empty_chunks": True})
    np.testing.assert_array_equal(read(tmp_path / "b.zarr"), empty)
    zarr.create_array(tmp_path / "c.zarr", data=VALUES, chunks=(2, 4), fill_value=np.nan)
    lose(tmp_path / "c.zarr")
    assert np.isnan(read(tmp_path / "c.zarr")[4:]).all()


def test_absurd_shapes_of_zarr(tmp_path):
    zarr.create_array(tmp_path / "m.zarr", data=VALUES, chunks=(2, 4))
    head = tmp_path / "m.zarr/zarr.json"
    metadata = json.loads(head.read_text())
    for shape, cause in (
        ([10**12, 4], "499999999997 of 500000000000 chunks"),
        ([10**7, 4], "4999997 of 5000000 chunks"),
    ):
        head.write_text(json.dumps(metadata | {"shape": shape}))
        with pytest.raises(DataError, match=cause):
            read(tmp_path / "m.zarr")


def test_hdf5_chunks_that_were_never_written(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("x", shape=(6, 4), dtype="f4", chunks=(2, 4))[:4] = VALUES[:4]
        file.create_dataset("nan", shape=(6, 4), dtype="f4", chunks=(2, 4), fillvalue=np.nan)
        file.create_dataset("late", shape=(6, 4), dtype="f8")
        file.create_dataset("huge", shape=(10**12, 4), dtype="f4", chunks=(1000, 4), fillvalue=np.nan)
    with pytest.raises(DataError, match=r"1 of 3 chunks of /x are not stored, and would be read as 0\.0"):
        read(f"{tmp_path}/m.h5:x")
    assert np.isnan(read(f"{tmp_path}/m.h5:nan")).all()
    with pytest.raises(DataError, match="1 of 1 chunks of /late are not stored"):
        read(f"{tmp_path}/m.h5:late")
    with pytest.raises(
        DataError,
        match=r"/huge, shape \(1000000000000, 4\), takes 16000000000000 bytes \(16000\.0 GB\) unpacked, and the disk "
        r"of .*; set TMPDIR to a folder with more room, or keep it as a contiguous HDF5 dataset or a \.npy",
    ):
        read(f"{tmp_path}/m.h5:huge")


def test_hdf5_that_keeps_its_values_elsewhere(tmp_path):
    secret = tmp_path / "secret.h5"
    hdf5(secret, VALUES)
    raw = tmp_path / "raw"
    raw.write_bytes(VALUES.tobytes())
    layout = h5py.VirtualLayout(shape=(6, 4), dtype="f8")
    layout[:] = h5py.VirtualSource(secret, "layer", shape=(6, 4))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["link"] = h5py.ExternalLink(secret, "layer")
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("external", shape=(6, 4), dtype="f8", external=[(os.fspath(raw), 0, 192)])
    for key in ("virtual", "external"):
        with pytest.raises(DataError, match=f"/{key} keeps its values in other files; copy them into one dataset"):
            read(f"{tmp_path}/m.h5:{key}")
    with pytest.raises(DataError, match="has no array 'link'"):
        read(f"{tmp_path}/m.h5:link")
    shutil.copy(tmp_path / "m.h5", tmp_path / "m.mat")
    with pytest.raises(DataError, match="has no array 'link'"):
        read(f"{tmp_path}/m.mat:link")


def test_hdf5_of_objects(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["opaque"] = np.full((2, 2), np.void(pickle.dumps([1])))
        file.create_dataset("ragged", (2, 2), dtype=h5py.vlen_dtype(np.uint8))
        file["text"] = [["a", "b"]]
        file["group/x"] = VALUES[:2]
        file.create_dataset("group/stimuli", (2,), dtype=h5py.ref_dtype)
        file["group"].attrs["pickle"] = np.void(pickle.dumps([1]))
        file.create_group("empty")
    for key in ("opaque", "ragged", "text", "group"):
        with pytest.raises(DataError, match=r"holds values of type .*; expected real numbers"):
            read(f"{tmp_path}/m.h5:{key}")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(DataError, match="has no arrays of numbers"):
        read(tmp_path / "empty.h5")


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("place", ["filters", "compressor"])
@pytest.mark.parametrize("name", ["pickle", "base64"])
def test_zarr_codecs_that_are_not_known_to_be_harmless(tmp_path, place, name):
    zarr.create_array(tmp_path / "m.zarr", data=VALUES, chunks=(6, 4), zarr_format=2, compressors=None)
    head = tmp_path / "m.zarr/.zarray"
    codec = {"id": name}
    head.write_text(json.dumps(json.loads(head.read_text()) | {place: [codec] if place == "filters" else codec}))
    (tmp_path / "m.zarr/0.0").write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    with pytest.raises(
        DataError, match=r"cannot be read .No Zarr data type.*pickle|m is packed by 'base64'; expected one of a"
    ):
        read(tmp_path / "m.zarr")
    assert not (tmp_path / "canary").exists()


def test_zarr_codecs_inside_others(tmp_path):
    zarr.create_array(tmp_path / "m.zarr", data=VALUES, chunks=(2, 4), shards=(6, 4))
    head = tmp_path / "m.zarr/zarr.json"
    head.write_text(head.read_text().replace('"zstd"', '"numcodecs.pcodec"').replace('"checksum": false', '"mode": 1'))
    with pytest.raises(DataError, match=r"cannot be read|is packed by 'numcodecs\.pcodec'"):
        read(tmp_path / "m.zarr")


def test_zarr_of_objects(tmp_path):
    group = zarr.open_group(tmp_path / "m.zarr", mode="w")
    group.create_array("x", shape=(2, 2), dtype=str)[:] = "a"
    with pytest.raises(DataError, match=r"x holds values of type .*; expected real numbers"):
        read(f"{tmp_path}/m.zarr:x")


@pytest.mark.parametrize(
    ("package", "suffix"),
    [("h5py", ".h5"), ("zarr", ".zarr"), ("h5py", ".nc"), ("h5py", ".nwb"), ("h5py", ".h5ad")],
)
def test_packages_that_are_missing(tmp_path, monkeypatch, package, suffix):
    name = next(name for name, (file, *_) in FORMATS.items() if file.endswith(suffix))
    FORMATS[name][1](tmp_path / f"m{suffix}", VALUES)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=rf'read with the package {package}, .*; pip install "superpose\[recordings\]"'):
        read(tmp_path / f"m{suffix}")


def test_a_store_is_a_folder(tmp_path):
    (tmp_path / "m.zarr").write_bytes(b"x")
    with pytest.raises(DataError, match=r"m\.zarr is a file; expected a folder of chunks"):
        read(tmp_path / "m.zarr")
    (tmp_path / "n.zarr").mkdir()
    with pytest.raises(DataError, match=r"n\.zarr"):
        read(tmp_path / "n.zarr")


def test_labelled_recordings_stay_on_disk_when_matched(tmp_path):
    for name, rows in (("a", slice(None)), ("b", slice(1, 5))):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["responses"], file["stimuli"] = VALUES[rows], IDS[rows]
    systems = read_systems([tmp_path / "a.h5", tmp_path / "b.h5"]).arrays
    for array in systems.values():
        np.testing.assert_array_equal(array, VALUES[1:5])
        assert mapped(array)


def test_compare_takes_them_together(tmp_path, capsys):
    rng = np.random.default_rng(2)
    z, ids = rng.normal(size=(60, 5)), np.arange(60)
    zarr.open_group(tmp_path / "model.zarr", mode="w").create_array("x", data=z @ rng.normal(size=(5, 8)))
    zarr.open_group(tmp_path / "model.zarr").create_array("id", data=ids)
    observed(z @ rng.normal(size=(5, 7)), stimulus_id=ids).write_h5ad(tmp_path / "area.h5ad")
    files = [str(tmp_path / name) for name in ("model.zarr:x", "area.h5ad")]
    assert main(["compare", *files, "--raw", "--permutations", "9", "--out", str(tmp_path / "out")]) == 0
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["inputs"]["model"]["sha256"] == sha256_of_folder(tmp_path / "model.zarr")
    assert "model" in capsys.readouterr().out
    copy = shutil.copytree(tmp_path / "model.zarr", tmp_path / "copy")
    assert sha256_of_folder(copy) == record["inputs"]["model"]["sha256"]
    lose(copy)
    assert sha256_of_folder(copy) != record["inputs"]["model"]["sha256"]


@pytest.mark.parametrize("suffix", [".h5", ".nc", ".h5ad"])
def test_heaps_of_text_that_have_no_end(tmp_path, suffix):
    """In a subprocess: HDF5 itself would not come back, nor let go of the interpreter."""
    path = tmp_path / f"m{suffix}"
    if suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["responses"], file["stimuli"] = VALUES, IDS
    else:
        next(write for file, write, *_ in FORMATS.values() if file == path.name)(path, VALUES)
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 64] = bytes(48)
    path.write_bytes(content)
    code = f"from superpose.recordings import read; read({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert f"{path} has a damaged block of text at byte {heap}; copy the file again" in done.stderr


@pytest.mark.parametrize("chunks", [None, (4,)])
def test_texts_that_are_longer_than_their_file(tmp_path, chunks):
    """HDF5 would make as many bytes ready as are announced, gigabytes, before it finds that they are not there."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["responses"] = VALUES
        made = file.create_dataset("stimuli", data=IDS, dtype=h5py.string_dtype(), chunks=chunks).id
        at = made.get_chunk_info(1).byte_offset if chunks else made.get_offset()
    assert read(path).stimuli.tolist() == IDS
    content = bytearray(path.read_bytes())
    content[at + 3] = 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path}: /stimuli has a text longer than the file, and is damaged; copy it"):
        read(path)
