"""What files say of their numbers, axes and labels, written as users write them, by the libraries of each format."""

import datetime
import io
import struct
import sys

import anndata
import h5py
import numcodecs
import numpy as np
import pandas as pd
import pynwb
import pytest
import xarray
import zarr
from scipy import sparse
from scipy.io import netcdf_file, savemat

from superpose.comparison import compare
from superpose.files import DataError
from superpose.recordings import Recording, match, read
from superpose.recordings.headers import header

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(6, 4)).round(3)
IDS = ["cat", "dog", "fox", "gnu", "hen", "owl"]
# xarray writes each of these; a file of HDF5 is read alike under any of its suffixes.
STORES = {
    "netCDF 3": (".nc", lambda data, path, **how: data.to_netcdf(path, engine="scipy", **how)),
    "netCDF 4": (".nc", lambda data, path, **how: data.to_netcdf(path, engine="h5netcdf", **how)),
    "HDF5": (".h5", lambda data, path, **how: data.to_netcdf(path, engine="h5netcdf", **how)),
    "zarr 2": (".zarr", lambda data, path, **how: data.to_zarr(path, zarr_format=2, **how)),
    "zarr 3": (".zarr", lambda data, path, **how: data.to_zarr(path, zarr_format=3, **how)),
}
every_store = pytest.mark.parametrize("store", STORES)


def dataset(values=VALUES, labels=IDS, axes=("presentation", "neuroid"), **coordinates):
    coordinates = {name: ("presentation", column) for name, column in coordinates.items()}
    labels = {} if labels is None else {"stimulus_id": ("presentation", labels)}
    return xarray.Dataset({"responses": (axes, values)}, labels | coordinates)


def stored(data, folder, store, name="m", **how):
    suffix, write = STORES[store]
    path = folder / f"{name}{suffix}"
    with zarr.config.set({"array.write_empty_chunks": True}):
        write(data, path, **how)
    return path


def lacking(values):
    """Return values of which two are missing."""
    holes = values.copy()
    holes[2, 1] = holes[4, 0] = np.nan
    return holes


def responses(path):
    """Return what is read, once its header has told as much."""
    told, found = header(path), read(path)
    array = found.responses if isinstance(found, Recording) else found
    assert (told.shape, told.dtype) == (array.shape, array.dtype.name)
    return array


PACKINGS = {
    "16 bits": {"dtype": "i2", "scale_factor": 0.001, "_FillValue": -32768},
    "8 bits without sign": {"dtype": "u1", "scale_factor": 0.1, "add_offset": -10.0, "_FillValue": 255},
    "an offset alone": {"dtype": "f4", "add_offset": 5.0, "_FillValue": -999.0},
    "a fill alone": {"dtype": "f8", "_FillValue": -999.0},
    "a missing value": {"dtype": "f4", "missing_value": 1e20, "_FillValue": 1e20},
    "single precision": {"dtype": "i2", "scale_factor": np.float32(0.001), "_FillValue": -1},
}


@every_store
@pytest.mark.parametrize("packing", PACKINGS)
def test_packed_numbers(tmp_path, store, packing):
    values = lacking(VALUES)
    if store == "netCDF 3" and PACKINGS[packing]["dtype"] == "u1":
        pytest.skip("netCDF 3 has no unsigned numbers")
    path = stored(dataset(values), tmp_path, store, encoding={"responses": PACKINGS[packing]})
    step = PACKINGS[packing].get("scale_factor", 1e-6)
    np.testing.assert_allclose(responses(path), values, atol=step / 2 + 1e-6, equal_nan=True)
    with pytest.raises(DataError, match="2 NaN or infinite"):
        compare({"a": read(path).responses, "b": RNG.normal(size=(6, 3))})


@pytest.mark.parametrize("store", ["netCDF 3", "netCDF 4", "zarr 2", "zarr 3"])
def test_unsigned_numbers_in_signed_ones(tmp_path, store):
    """Old writers mark them, and keep the fill signed."""
    counts = np.array([[0, 127], [128, 254], [255, 3]])
    data = xarray.Dataset({"responses": (("presentation", "neuroid"), counts.astype("u1").view("i1"))})
    data.responses.attrs = {"_Unsigned": "true", "_FillValue": np.int8(-1)}
    path = stored(data, tmp_path, store)
    np.testing.assert_array_equal(responses(path), np.where(counts == 255, np.nan, counts))


def classic(path, values, fill=None, **attributes):
    with netcdf_file(path, "w") as file:
        file.createDimension("presentation", len(values))
        file.createDimension("neuroid", values.shape[1])
        made = file.createVariable("responses", values.dtype, ("presentation", "neuroid"))
        made[:] = values
        for name, value in attributes.items():
            setattr(made, name, value)


def modern(path, values, fill=None, chunks=None, **attributes):
    """Write as the netCDF library does: with its fill in the dataset's own properties, too."""
    with h5py.File(path, "w") as file:
        file.attrs["_NCProperties"] = np.bytes_("version=2,netcdf=4.9.2,hdf5=1.14.3")
        made = file.create_dataset("responses", data=values, chunks=chunks, fillvalue=fill)
        for axis, (name, size) in enumerate(zip(("presentation", "neuroid"), values.shape, strict=True)):
            bare = f"This is a netCDF dimension but not a netCDF variable. {size:9d}"
            file[name] = np.zeros(size, ">f4")
            file[name].make_scale(bare)
            made.dims[axis].attach_scale(file[name])
        for name, value in attributes.items():
            made.attrs[name] = value


WRITERS = {"netCDF 3": (".nc", classic), "netCDF 4": (".nc", modern), "HDF5": (".h5", modern)}
every_writer = pytest.mark.parametrize("writer", WRITERS)
FILLS = {"f4": 9.969209968386869e36, "f8": 9.969209968386869e36, "i2": -32767, "i4": -2147483647}


@every_writer
@pytest.mark.parametrize("dtype", FILLS)
def test_default_fills_are_missing(tmp_path, writer, dtype):
    suffix, write = WRITERS[writer]
    values = (100 * VALUES).astype(dtype)
    write(tmp_path / f"sound{suffix}", values)
    np.testing.assert_array_equal(responses(tmp_path / f"sound{suffix}"), values)
    values[5, 1] = FILLS[dtype]
    write(tmp_path / f"m{suffix}", values)
    expected = values.astype(float)
    expected[5, 1] = np.nan
    np.testing.assert_array_equal(responses(tmp_path / f"m{suffix}"), expected)
    with pytest.raises(DataError, match="1 NaN or infinite"):
        compare({"a": read(tmp_path / f"m{suffix}"), "b": RNG.normal(size=(6, 3))})


def test_default_fills_of_unsigned_numbers(tmp_path):
    for dtype, fill in {"u2": 65535, "u4": 2**32 - 1, "u8": 2**64 - 2, "i8": -(2**63) + 2}.items():
        modern(tmp_path / f"{dtype}.nc", np.array([[1, 2], [fill, 4]], dtype))
        np.testing.assert_array_equal(read(tmp_path / f"{dtype}.nc"), [[1, 2], [np.nan, 4]])


@every_store
def test_default_fills_that_xarray_has_copied(tmp_path, store):
    """It takes them for numbers where a netCDF file does not name its fill, and writes NaN as the fill of the copy."""
    values = VALUES.copy()
    values[3, 2] = FILLS["f8"]
    assert np.argwhere(np.isnan(responses(stored(dataset(values), tmp_path, store)))).tolist() == [[3, 2]]


def test_whole_numbers_of_zarr_are_not_fills(tmp_path):
    counts = np.full((6, 4), FILLS["i2"], "i2")
    np.testing.assert_array_equal(responses(stored(dataset(counts), tmp_path, "zarr 3", "n")), counts)


def test_numbers_of_hdf5_that_is_no_netcdf_are_not_fills(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["x"] = np.full((3, 2), -32767, "i2")
    assert (read(tmp_path / "m.h5") == -32767).all()


@every_writer
def test_a_fill_of_another_type(tmp_path, writer):
    """Attributes of double precision, or text, are about single precision and whole numbers."""
    suffix, write = WRITERS[writer]
    for number, (values, mark) in enumerate(
        [
            (np.array([[1, 1e20], [0.1, 3]], "f4"), np.float64(1e20)),
            (np.array([[1, 0.1], [2, 3]], "f4"), np.float64(0.1)),
            (np.array([[1, -999], [2, 3]], "i2"), np.float64(-999)),
            (np.array([[1, -999], [2, 3]], "f8"), "-999"),
        ]
    ):
        write(tmp_path / f"{number}{suffix}", values, missing_value=mark)
        expected = values.astype(float)
        expected[0, 1] = np.nan
        np.testing.assert_array_equal(responses(tmp_path / f"{number}{suffix}"), expected)


@every_writer
def test_several_missing_values(tmp_path, writer):
    suffix, write = WRITERS[writer]
    write(
        tmp_path / f"m{suffix}",
        np.array([[-1.0, -2.0, 3.0], [4.0, -3.0, 6.0]]),
        _FillValue=-1.0,
        missing_value=np.array([-2.0, -3.0]),
    )
    np.testing.assert_array_equal(responses(tmp_path / f"m{suffix}"), [[np.nan, np.nan, 3], [4, np.nan, 6]])


@every_writer
@pytest.mark.parametrize(
    ("dtype", "attributes"),
    [
        ("f4", {"valid_min": 0.1, "valid_max": 5.0}),
        ("f4", {"valid_range": np.array([0.1, 5.0])}),
        ("i2", {"valid_range": np.array([1, 50], "i2"), "scale_factor": 0.1}),
        ("i2", {"valid_min": np.int16(1), "valid_max": np.float64(50.0), "scale_factor": 0.1}),
    ],
)
def test_numbers_beyond_the_valid_range_are_missing(tmp_path, writer, dtype, attributes):
    suffix, write = WRITERS[writer]
    values = np.array([[0.1, 5.0, 0.0], [5.1, 1.0, 2.0]])
    write(tmp_path / f"m{suffix}", (values * (10 if dtype == "i2" else 1)).round(1).astype(dtype), **attributes)
    np.testing.assert_allclose(responses(tmp_path / f"m{suffix}"), [[0.1, 5, np.nan], [np.nan, 1, 2]], rtol=1e-6)


@every_writer
def test_a_scale_of_several_numbers(tmp_path, writer):
    suffix, write = WRITERS[writer]
    write(tmp_path / f"m{suffix}", VALUES, scale_factor=np.array([1.0, 2.0]))
    with pytest.raises(DataError, match="scale_factor has 2 numbers; expected one"):
        read(tmp_path / f"m{suffix}")


def test_what_says_nothing_stays_on_the_disk(tmp_path):
    """A fill of NaN and a scale of 1 change nothing; a search for netCDF's fill leaves the rows where they are."""
    modern(tmp_path / "a.nc", VALUES)
    modern(tmp_path / "b.h5", VALUES, _FillValue=np.nan, scale_factor=1.0, add_offset=0.0)
    for name in ("a.nc", "b.h5"):
        found = read(tmp_path / name)
        np.testing.assert_array_equal(found, VALUES)
        assert not found.flags.writeable
        assert header(tmp_path / name).mapped


def test_packed_chunks_beyond_what_is_held(tmp_path, monkeypatch):
    """They are unpacked by tiles, each as the whole would be."""
    values = lacking(RNG.normal(size=(50, 40)).round(2))
    encoding = {"responses": PACKINGS["16 bits"] | {"chunksizes": (7, 9)}}
    path = stored(dataset(values, None, ("neuroid", "presentation")), tmp_path, "netCDF 4", encoding=encoding)
    whole = read(path)
    monkeypatch.setattr("superpose.recordings.unpacking.HELD", 1000)
    monkeypatch.setattr("superpose.recordings.unpacking.TILE", 4000)
    np.testing.assert_array_equal(read(path), whole)
    np.testing.assert_allclose(whole, values.T, atol=1e-6)


@every_store
@pytest.mark.parametrize("units", ["neuroid", "electrode"])
def test_names_of_axes_decide(tmp_path, store, units):
    square = RNG.normal(size=(6, 6))
    path = stored(dataset(square, axes=(units, "presentation")), tmp_path, store)
    found = read(path)
    np.testing.assert_array_equal(responses(path), square.T)
    assert found.stimuli.tolist() == IDS
    np.testing.assert_array_equal(read(stored(dataset(square), tmp_path, store, "n")).responses, square)


@every_store
@pytest.mark.parametrize("axes", [("stimulus", "repetition", "neuroid"), ("neuroid", "repetition", "stimulus")])
def test_stimuli_by_repetitions(tmp_path, store, axes):
    cube = RNG.normal(size=(3, 2, 4))
    array = xarray.DataArray(cube, dims=("stimulus", "repetition", "neuroid"), name="x").transpose(*axes)
    array.coords["stimulus_id"] = ("stimulus", IDS[:3])
    found = match([read(stored(array.to_dataset(), tmp_path, store))])
    for stimulus, row in zip(found.stimuli, found.systems["m"], strict=True):
        np.testing.assert_allclose(row, cube[IDS.index(stimulus)].mean(axis=0), rtol=1e-12)


def test_axes_that_h5py_has_labelled(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["responses"], file["stimulus"] = VALUES.T, IDS
        for axis, name in enumerate(("neuroid", "presentation")):
            file["responses"].dims[axis].label = name
        file["other"] = VALUES
        file["other"].dims[0].label = "presentation"
        file["clash"] = VALUES
        file["clash"].dims[0].label, file["clash"].dims[1].label = "presentation", "neuroid"
    found = read(tmp_path / "m.h5")
    np.testing.assert_array_equal(found.responses, VALUES)
    assert found.stimuli.tolist() == IDS
    np.testing.assert_array_equal(read(f"{tmp_path}/m.h5:other").responses, VALUES)


TREES = {
    "netCDF 4": (".nc", lambda tree, path: tree.to_netcdf(path, engine="h5netcdf")),
    "HDF5": (".h5", lambda tree, path: tree.to_netcdf(path, engine="h5netcdf")),
    "zarr 2": (".zarr", lambda tree, path: tree.to_zarr(path, zarr_format=2)),
    "zarr 3": (".zarr", lambda tree, path: tree.to_zarr(path, zarr_format=3)),
}


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("name", ["presentation", "image_id"])
def test_labels_of_a_group_around_the_responses(tmp_path, tree, name):
    """A group has the coordinates of the groups around it, nearest first, as netCDF and xarray's trees have them."""
    suffix, write = TREES[tree]
    systems = {area: xarray.Dataset({"responses": (("presentation", "neuroid"), VALUES)}) for area in ("V1", "V4")}
    systems["V4"]["stimulus"] = ("presentation", IDS[::-1])
    around = xarray.Dataset({"groups": ("presentation", list("xxyyzz"))}, {"stimulus": ("presentation", IDS)})
    if name == "image_id":
        around = around.assign_coords(presentation=range(6), id=("other", range(3)))
    write(xarray.DataTree.from_dict({"/": around, **systems}), tmp_path / f"m{suffix}")
    for area, expected in (("V1", IDS), ("V4", IDS[::-1])):
        found = read(f"{tmp_path}/m{suffix}:{area}")
        assert (found.stimuli.tolist(), found.groups.tolist()) == (expected, list("xxyyzz"))
        np.testing.assert_array_equal(found.responses, VALUES)


def test_labels_of_a_group_around_responses_whose_axes_have_no_names(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["stimuli"], file["V1/responses"], file["V1/session"] = IDS, VALUES, list("xxyyzz")
        file["V4/responses"] = VALUES[:5]
    group = zarr.open_group(tmp_path / "m.zarr", mode="w")
    for name, values in (
        ("stimuli", np.array(IDS)),
        ("V1/responses", VALUES),
        ("V1/session", np.array(list("xxyyzz"))),
    ):
        group.create_array(name, data=values)
    for suffix in (".h5", ".zarr"):
        found = read(f"{tmp_path}/m{suffix}:V1")
        assert (found.stimuli.tolist(), found.groups.tolist()) == (IDS, list("xxyyzz"))
    assert not isinstance(read(f"{tmp_path}/m.h5:V4"), Recording)


@pytest.mark.parametrize("version", [2, 3])
def test_dates_as_numpy_keeps_them_in_zarr(tmp_path, version):
    group = zarr.open_group(tmp_path / "m.zarr", mode="w", zarr_format=version)
    group.create_array("responses", data=VALUES)
    group.create_array("stimuli", data=np.arange("2026-01-01", "2026-01-07", dtype="M8[D]").astype("M8[ns]"))
    assert read(tmp_path / "m.zarr").stimuli.tolist() == [f"2026-01-0{i}" for i in range(1, 7)]


@pytest.mark.parametrize(("axis", "name"), [(0, "neuroid"), (1, "presentation")])
def test_one_axis_with_a_name_decides(tmp_path, axis, name):
    square = RNG.normal(size=(6, 6))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["responses"], file["stimulus"] = square, IDS
        file["responses"].dims[axis].label = name
    group = zarr.open_group(tmp_path / "m.zarr", mode="w")
    group.create_array("responses", data=square, dimension_names=[name if i == axis else None for i in range(2)])
    group.create_array("stimulus", data=np.array(IDS))
    for suffix in (".h5", ".zarr"):
        np.testing.assert_array_equal(responses(tmp_path / f"m{suffix}"), square.T)
        assert read(tmp_path / f"m{suffix}").stimuli.tolist() == IDS


def test_labels_whose_axis_has_no_name(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["responses"], file["stimulus"] = VALUES, IDS[:5]
        for axis, name in enumerate(("presentation", "neuroid")):
            file["responses"].dims[axis].label = name
    with pytest.raises(DataError, match=r"stimulus has shape \(5,\) and no names of axes; expected one label for each"):
        read(tmp_path / "m.h5")


LABELS = {
    "text": (IDS, IDS),
    "text of other alphabets": (["äff", "犬", "кот", "λ", "ñu", "🐄"], ["äff", "犬", "кот", "λ", "ñu", "🐄"]),
    "bytes": (np.array(IDS).astype("S"), IDS),
    "whole numbers": (np.arange(6), list("012345")),
    "fractions": (np.array([0, 22, 22.5, 45, 67.5, 90]), ["0.0", "22.0", "22.5", "45.0", "67.5", "90.0"]),
    "truth": (np.array([True, False] * 3), ["True", "False"] * 3),
    "dates": (pd.date_range("2026-01-01", periods=6), [f"2026-01-0{i}" for i in range(1, 7)]),
}


@every_store
@pytest.mark.parametrize("kind", LABELS)
def test_labels_come_back(tmp_path, store, kind):
    column, expected = LABELS[kind]
    path = stored(dataset(labels=column, repetition=np.arange(6)), tmp_path, store)
    assert read(path).stimuli.tolist() == expected


@every_store
def test_dates_of_two_files_are_the_same_days(tmp_path, store):
    """Each file counts its days from its own first one."""
    days = pd.date_range("2026-01-01", periods=6)
    files = [(days, VALUES), (days[::-1], VALUES[::-1])]
    paths = [stored(dataset(v, d), tmp_path, store, f"m{i}") for i, (d, v) in enumerate(files)]
    matched = match([read(path) for path in paths])
    np.testing.assert_array_equal(matched.systems["m0"], matched.systems["m1"])


@every_store
@pytest.mark.parametrize("labels", [np.array([3, 5, 7, -1, 11, 13]), 2**60 + np.array([1, 2, 3, 0, 5, 6])])
def test_labels_that_are_fills_are_missing(tmp_path, store, labels):
    """Beside a missing one, the others keep all their digits."""
    if store == "netCDF 3" and labels[0] > 2**31:
        pytest.skip("netCDF 3 has no numbers of 64 bits")
    data = dataset(labels=labels)
    data.stimulus_id.attrs["_FillValue"] = labels[3]
    with pytest.raises(DataError, match="stimuli: 1 missing, the first at row 3"):
        read(stored(data, tmp_path, store))
    data.stimulus_id.attrs["_FillValue"] = labels[3] + 1000
    assert read(stored(data, tmp_path, store, "n")).stimuli.tolist() == [str(label) for label in labels]


@every_store
def test_dates_that_are_missing(tmp_path, store):
    days = pd.date_range("2026-01-01", periods=6).to_series().reset_index(drop=True)
    days[2] = pd.NaT
    with pytest.raises(DataError, match="stimuli: 1 missing, the first at row 2"):
        read(stored(dataset(labels=days.to_numpy()), tmp_path, store))


@every_store
def test_flags_are_the_categories_that_they_name(tmp_path, store):
    data = dataset(labels=np.array([1, 2, 1, 2, 3, 3], "i1"), repetition=np.arange(6))
    data.stimulus_id.attrs = {"flag_values": np.array([1, 2, 3], "i1").tolist(), "flag_meanings": "face house body"}
    expected = ["face", "house", "face", "house", "body", "body"]
    assert read(stored(data, tmp_path, store)).stimuli.tolist() == expected
    data.stimulus_id.attrs["flag_values"], data.stimulus_id.attrs["flag_meanings"] = [1, 2], "face house"
    with pytest.raises(DataError, match="stimuli: 2 missing, the first at row 4"):
        read(stored(data, tmp_path, store, "n"))


def test_enumerations_are_the_categories_that_they_name(tmp_path):
    kind = h5py.enum_dtype({"face": 1, "house": 2}, "u1")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["responses"], file["trial"] = VALUES[:3], np.arange(3)
        file.create_dataset("stimulus", data=np.array([2, 1, 2], "u1"), dtype=kind)
    assert read(tmp_path / "m.h5").stimuli.tolist() == ["house", "face", "house"]


def test_letters_in_a_row_are_a_label(tmp_path):
    letters = np.array([list("cat"), list("dog"), list("ox\0")], "S1")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["responses"], file["stimulus"] = VALUES[:3], letters
    zarr.open_group(tmp_path / "m.zarr", mode="w").create_array("responses", data=VALUES[:3])
    zarr.open_group(tmp_path / "m.zarr").create_array("stimulus", data=letters)
    for name in ("m.h5", "m.zarr"):
        assert read(tmp_path / name).stimuli.tolist() == ["cat", "dog", "ox"]


def test_a_chunk_that_is_lost_is_missing_only_where_the_fill_is(tmp_path):
    packing = PACKINGS["16 bits"] | {"chunks": (2, 4)}
    for version, fill in ((2, None), (3, 0), (3, -32768)):
        path = tmp_path / f"m{version}{fill}.zarr"
        encoding = {"responses": packing | ({} if fill is None else {"fill_value": fill})}
        dataset(labels=None).to_zarr(path, zarr_format=version, encoding=encoding)
        (path / ("responses/0.0" if version == 2 else "responses/c/0/0")).unlink()
        if fill == 0:
            with pytest.raises(DataError, match=r"1 of 3 chunks of responses are not stored, and would be read as 0\."):
                read(path)
        else:
            assert np.isnan(read(path)[:2]).all()


def test_files_of_pandas_own_hdf5(tmp_path):
    """As `to_hdf` lays them out, by PyTables: names of rows and columns are arrays of their own."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        group = file.create_group("df")
        group.attrs["pandas_type"] = np.bytes_("frame")
        group["axis0"], group["axis1"], group["block0_values"] = np.array(list("abcd"), "S"), np.arange(6), VALUES
    with pytest.raises(DataError, match=r"m\.h5 was written by pandas' to_hdf; .*to_parquet"):
        read(tmp_path / "m.h5")


def observed(x, **columns):
    # pandas' newer text is not written by anndata without being allowed to.
    index = pd.Index([f"cell {i}" for i in range(len(x))], dtype=object)
    genes = pd.Index([f"gene {i}" for i in range(x.shape[1])], dtype=object)
    return anndata.AnnData(x, obs=pd.DataFrame(columns, index=index), var=pd.DataFrame(index=genes))


ANNDATA = {"HDF5": ".h5ad", "zarr 2": ".zarr", "zarr 3": ".zarr"}
every_anndata = pytest.mark.parametrize("form", ANNDATA)


def written(made, folder, form):
    path = folder / f"m{ANNDATA[form]}"
    if form == "HDF5":
        made.write_h5ad(path)
        return path
    every_chunk = zarr.config.set({"array.write_empty_chunks": True})
    with anndata.settings.override(zarr_write_format=int(form[-1])), every_chunk:
        made.write_zarr(path)
    return path


def categorical(values):
    return pd.Categorical(values, dtype=pd.CategoricalDtype(pd.Index(sorted(set(values) - {None}), dtype=object)))


@every_anndata
def test_anndata_is_the_same_in_every_store(tmp_path, form):
    made = observed(VALUES, session=categorical(list("ppqqrr")), repetition=pd.array([0, 1, 2, 3, 4, 5], dtype="Int64"))
    made.layers["counts"] = sparse.csr_matrix(np.abs(VALUES))
    made.layers["columns"] = sparse.csc_matrix(np.abs(VALUES))
    made.raw = observed(2 * VALUES)
    made.obsm["X_pca"] = VALUES[:, :2].copy()
    path = written(made, tmp_path, form)
    found = read(path)
    assert found.stimuli.tolist() == [f"cell {i}" for i in range(6)]
    assert (found.groups.tolist(), found.repeats.tolist()) == (list("ppqqrr"), list("012345"))
    keys = {"X": VALUES, "counts": np.abs(VALUES), "columns": np.abs(VALUES), "raw": 2 * VALUES, "raw/X": 2 * VALUES}
    for key, values in (keys | {"obsm/X_pca": VALUES[:, :2]}).items():
        found = read(f"{path}:{key}")
        np.testing.assert_array_equal(found.responses, values)
        assert len(found.stimuli) == 6
    assert header(path).shape == (6, 4)
    with pytest.raises(DataError, match="has no matrix 'tpm'; it has X, layers/co"):
        read(f"{path}:tpm")


@every_anndata
@pytest.mark.parametrize(
    ("column", "cause"),
    [
        (categorical(["a", None, "b", "b", "c", "c"]), "stimulus has rows without a category"),
        (pd.array([1, 2, None, 3, 4, 5], dtype="Int64"), "stimulus has rows without a value"),
        (np.array([1, 2, np.nan, 3, 4, 5]), "stimuli: 1 missing, the first at row 2"),
    ],
)
def test_anndata_with_missing_labels(tmp_path, form, column, cause):
    path = written(observed(VALUES, stimulus=column), tmp_path, form)
    with pytest.raises(DataError, match=cause):
        read(path)


@every_anndata
def test_anndata_with_nullable_text(tmp_path, form):
    with anndata.settings.override(allow_write_nullable_strings=True):
        path = written(observed(VALUES, stimulus=pd.array(IDS, dtype=pd.StringDtype("python"))), tmp_path, form)
    assert read(path).stimuli.tolist() == IDS


def test_a_lost_chunk_of_anndata(tmp_path):
    path = written(observed(VALUES), tmp_path, "zarr 3")
    (path / "X/c/0/0").unlink()
    with pytest.raises(DataError, match=r"1 of 1 chunks of X are not stored.*array\.write_empty_chunks"):
        read(path)


def test_codecs_of_anndata_are_checked(tmp_path):
    path = written(observed(VALUES), tmp_path, "zarr 2")
    head = path / "X/.zarray"
    head.write_text(head.read_text().replace('"filters": null', '"filters": [{"id": "base64"}]'))
    (path / ".zmetadata").unlink()
    with pytest.raises(DataError, match=r"X is packed by 'base64'; expected one of"):
        read(path)


def nwb(path, build):
    file = pynwb.NWBFile("a session", "one", datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    build(file)
    with pynwb.NWBHDF5IO(path, "w") as out:
        out.write(file)


def test_nwb_series_in_their_units(tmp_path):
    counts = RNG.integers(-100, 100, size=(6, 2)).astype("i2")

    def build(file):
        for name, how in {"even": {"rate": 30.0}, "uneven": {"timestamps": np.arange(6) ** 2.0}}.items():
            file.add_acquisition(pynwb.TimeSeries(name=name, data=counts, unit="V", conversion=0.5, offset=3.0, **how))
        probe = file.create_electrode_group("probe", "a", "V4", file.create_device("device"))
        for _ in range(2):
            file.add_electrode(group=probe, location="V4")
        both = file.create_electrode_table_region([0, 1], "both")
        how = {"rate": 1.0, "conversion": 0.5, "channel_conversion": [1.0, 10.0]}
        file.add_acquisition(pynwb.ecephys.ElectricalSeries(name="volts", data=counts, electrodes=both, **how))

    nwb(tmp_path / "m.nwb", build)
    for name in ("even", "uneven"):
        np.testing.assert_array_equal(responses(f"{tmp_path}/m.nwb:acquisition/{name}"), counts * 0.5 + 3)
    np.testing.assert_array_equal(responses(f"{tmp_path}/m.nwb:acquisition/volts"), counts * [0.5, 5.0])
    with h5py.File(tmp_path / "m.nwb", "r+") as file:
        del file["acquisition/volts/channel_conversion"]
        file["acquisition/volts/channel_conversion"] = np.ones(3)
    with pytest.raises(DataError, match=r"channel_conversion has shape \(3,\); expected one number for each channel"):
        read(f"{tmp_path}/m.nwb:acquisition/volts")


def session(file, spans=None, enum=False):
    if enum:
        file.add_trial_column("stimulus", "its category", enum=True)
    file.add_trial_column("stimulus_id", "its name")
    for i, name in enumerate("abab"):
        shown = {"stimulus": ("face", "house")[i % 2]} if enum else {}
        file.add_trial(start_time=float(i), stop_time=i + 0.5, stimulus_id=name, **shown)
    for times in ([0.1, 0.2, 3.1], [2.1, 3.2]):
        file.add_unit(spike_times=times, **({} if spans is None else {"obs_intervals": spans.pop(0)}))


def test_nwb_units_that_were_not_observed(tmp_path):
    """A unit that was not recorded in a trial has no count there, not a count of 0."""
    spans = [[[1.0, 1.6], [0.0, 1.0]], [[2.0, 2.5], [3.0, 3.4]]]
    nwb(tmp_path / "m.nwb", lambda file: session(file, spans))
    nan = np.nan
    np.testing.assert_array_equal(read(tmp_path / "m.nwb").responses, [[2, nan], [0, nan], [nan, 1], [nan, nan]])
    with h5py.File(tmp_path / "m.nwb", "r+") as file:
        file["units/obs_intervals_index"][-1] += 1
    with pytest.raises(DataError, match="obs_intervals_index does not part the 4 obs intervals"):
        read(tmp_path / "m.nwb")
    with h5py.File(tmp_path / "m.nwb", "r+") as file:
        del file["units/obs_intervals"]
        file["units/obs_intervals"] = np.ones(4)
    with pytest.raises(DataError, match=r"obs_intervals has shape \(4,\); expected starts and stops of each unit"):
        read(tmp_path / "m.nwb")


def test_nwb_categories(tmp_path):
    nwb(tmp_path / "m.nwb", lambda file: session(file, enum=True))
    assert read(tmp_path / "m.nwb").stimuli.tolist() == ["face", "house"] * 2
    with h5py.File(tmp_path / "m.nwb", "r+") as file:
        file["intervals/trials/stimulus"].attrs["neurodata_type"] = "DynamicTableRegion"
    with pytest.raises(DataError, match=r"trials/stimulus refers to rows of another table; expected labels"):
        read(tmp_path / "m.nwb")


def matlab_73(path, fill):
    """Write what MATLAB's save -v7.3 does: HDF5 behind a page of text, every array transposed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        fill(file)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def put(group, name, value, kind, **attributes):
    made = group.create_dataset(name, data=value)
    made.attrs["MATLAB_class"] = np.bytes_(kind)
    for attribute, given in attributes.items():
        made.attrs[attribute] = given
    return made


def put_text(group, name, text):
    if not text:
        return put(group, name, np.zeros(2, "u8"), "char", MATLAB_empty=np.uint8(1), MATLAB_int_decode=np.int32(2))
    codes = np.frombuffer(text.encode("utf-16-le"), "u2")
    return put(group, name, codes[:, None], "char", MATLAB_int_decode=np.int32(2))


def put_cells(file, group, name, cells):
    heap = file.require_group("#refs#")
    made = np.empty((1, len(cells)), h5py.ref_dtype)
    for i, cell in enumerate(cells):
        inner = f"{name}{i}"
        if isinstance(cell, str):
            made[0, i] = put_text(heap, inner, cell).ref
        else:
            made[0, i] = put(heap, inner, np.atleast_2d(cell).astype(float), "double").ref
    group.create_dataset(name, data=made, dtype=h5py.ref_dtype).attrs["MATLAB_class"] = np.bytes_("cell")


def new_matlab(path, name="responses", labels=None):
    def fill(file):
        group = file
        for part in name.split("/")[:-1]:
            group = group.create_group(part)
            group.attrs["MATLAB_class"] = np.bytes_("struct")
        put(group, name.rpartition("/")[2], VALUES.T, "double")
        if labels is not None:
            put_cells(file, group, "stimulus", labels)

    matlab_73(path, fill)


def old_matlab(path, name="responses", labels=None):
    *structs, leaf = name.split("/")
    content = {leaf: VALUES} | ({} if labels is None else {"stimulus": np.array([*labels, None], object)[:-1]})
    for struct_name in reversed(structs):
        content = {struct_name: content}
    savemat(path, content)


both_versions = pytest.mark.parametrize("write", [old_matlab, new_matlab])


@both_versions
def test_fields_of_structs_of_matlab(tmp_path, write):
    write(tmp_path / "m.mat", "data/V4/responses", IDS)
    for key in ("", ":data.V4.responses", ":data/V4/responses", ":data", ":data.V4"):
        found = read(f"{tmp_path}/m.mat{key}")
        np.testing.assert_array_equal(found.responses, VALUES)
        assert found.stimuli.tolist() == IDS
    with pytest.raises(DataError, match="has no array 'data/IT'; it has data/V4/responses"):
        read(f"{tmp_path}/m.mat:data.IT")


@both_versions
@pytest.mark.parametrize(
    ("cells", "cause"),
    [
        (["a", "", "c", "", "e", "f"], "stimuli: 2 missing, the first at row 1"),
        (["a", "b", 3.0, "d", "e", [1.0, 2.0]], r"stimulus is a cell; .*Save cell2mat\(stimulus\), or labels as"),
    ],
)
def test_cells_of_matlab_that_hold_no_label(tmp_path, write, cells, cause):
    write(tmp_path / "m.mat", labels=cells)
    with pytest.raises(DataError, match=cause):
        read(tmp_path / "m.mat")


@both_versions
def test_text_of_matlab_stays_as_written(tmp_path, write):
    texts = ["a ", " a", "007", "äö", "🐄", "1.10"]
    write(tmp_path / "m.mat", labels=texts)
    assert read(tmp_path / "m.mat").stimuli.tolist() == texts


def test_logical_labels_of_matlab(tmp_path):
    truth = np.array([True, False, True, True, False, True])
    savemat(tmp_path / "old.mat", {"responses": VALUES, "stimulus": truth})

    def fill(file):
        put(file, "responses", VALUES.T, "double")
        put(file, "stimulus", truth[:, None].astype("u1"), "logical")

    matlab_73(tmp_path / "new.mat", fill)
    for name in ("old", "new"):
        assert read(tmp_path / f"{name}.mat").stimuli.tolist() == truth.astype(str).tolist()


def test_empty_variables_of_matlab(tmp_path):
    empty = {"MATLAB_empty": np.uint8(1)}
    for kind in ("cell", "double"):

        def fill(file, kind=kind):
            put(file, "responses", VALUES.T, "double")
            put(file, "stimulus", np.zeros(2, "u8"), kind, **empty)

        matlab_73(tmp_path / f"{kind}.mat", fill)
        with pytest.raises(DataError, match=r"stimuli have shape \(0,\); expected one label per row"):
            read(tmp_path / f"{kind}.mat")
    savemat(tmp_path / "old.mat", {"responses": VALUES, "stimulus": np.empty((0, 0))})
    with pytest.raises(DataError, match=r"stimuli have shape \(0,"):
        read(tmp_path / "old.mat")
    matlab_73(tmp_path / "x.mat", lambda file: put(file, "x", np.array([0, 3], "u8"), "double", **empty))
    with pytest.raises(DataError, match="x is empty, 0 × 3; expected responses"):
        read(tmp_path / "x.mat")


KINDS = ("string", "categorical", "datetime", "table", "timetable", "mine")


@pytest.mark.parametrize("kind", KINDS)
def test_objects_of_matlab(tmp_path, kind):
    """What a file holds of them are numbers that only MATLAB reads."""
    meta = np.array([[0xDD000000], [2], [1], [1], [1], [1]], np.uint32)

    def fill(file, name):
        put(file, "responses", VALUES.T, "double")
        put(file, name, meta.T, kind, MATLAB_object_decode=np.int32(3))

    matlab_73(tmp_path / "new.mat", lambda file: fill(file, "stimulus"))
    savemat(tmp_path / "old.mat", {"responses": VALUES})
    with open(tmp_path / "old.mat", "ab") as file:
        # Two, of which SciPy would give but the last.
        file.write(opaque("stimulus", kind, meta) + opaque("note", "string", meta))
    for name in ("new.mat", "old.mat"):
        with pytest.raises(DataError, match=rf"stimulus is a MATLAB {kind} object, which only MATLAB reads.*Save "):
            read(tmp_path / name)
    matlab_73(tmp_path / "only.mat", lambda file: put(file, "T", meta.T, kind, MATLAB_object_decode=np.int32(3)))
    with pytest.raises(DataError, match=f"T is a MATLAB {kind} object"):
        read(tmp_path / "only.mat")
    matlab_73(tmp_path / "beside.mat", lambda file: fill(file, "note"))
    np.testing.assert_array_equal(read(tmp_path / "beside.mat"), VALUES)


def opaque(name, kind, meta):
    """Return the bytes of an object, as MATLAB writes them up to version 7 (SciPy reads but does not write them)."""

    def element(number, content):
        return struct.pack("<II", number, len(content)) + content + bytes(-len(content) % 8)

    stream = io.BytesIO()
    savemat(stream, {"x": meta})
    parts = [element(1, text.encode()) for text in (name, "MCOS", kind)]
    return element(14, element(6, struct.pack("<II", 17, 0)) + b"".join(parts) + stream.getvalue()[128:])


def test_arrays_of_structs_of_matlab(tmp_path):
    savemat(tmp_path / "old.mat", {"data": np.array([(VALUES,), (VALUES,)], dtype=[("responses", object)])})

    def fill(file):
        group = file.create_group("data")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        inner = [put(file.require_group("#refs#"), f"r{i}", VALUES.T, "double").ref for i in range(2)]
        group.create_dataset("responses", data=np.array(inner, h5py.ref_dtype)[:, None], dtype=h5py.ref_dtype)

    matlab_73(tmp_path / "new.mat", fill)
    for name, what in (("old.mat", "data"), ("new.mat", "responses")):
        with pytest.raises(DataError, match=rf"{what} is a struct array; .*Save a field of all elements as one array"):
            read(tmp_path / name)


def test_other_numbers_of_matlab(tmp_path):
    ids = 2**60 + np.arange(6)
    savemat(tmp_path / "old.mat", {"responses": VALUES > 0, "id": ids})

    def fill(file):
        put(file, "responses", (VALUES > 0).T.astype("u1"), "logical", MATLAB_int_decode=np.int32(1))
        put(file, "id", ids[None], "int64")

    matlab_73(tmp_path / "new.mat", fill)
    for name in ("old.mat", "new.mat"):
        found = read(tmp_path / name)
        np.testing.assert_array_equal(found.responses, VALUES > 0)
        assert found.stimuli.tolist() == [str(i) for i in ids]
    savemat(tmp_path / "a.mat", {"responses": VALUES * 1j})
    complex_type = [("real", "f8"), ("imag", "f8")]
    matlab_73(tmp_path / "b.mat", lambda file: put(file, "responses", np.zeros((4, 6), complex_type), "double"))
    for name in ("a.mat", "b.mat"):
        with pytest.raises(DataError, match="complex"):
            read(tmp_path / name)


def test_what_knows_the_conventions_is_missing(tmp_path, monkeypatch):
    path = stored(dataset(lacking(VALUES)), tmp_path, "HDF5", encoding={"responses": PACKINGS["16 bits"]})
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(DataError, match=r'read with the package xarray, .*; pip install "superpose\[recordings\]"'):
        read(path)


BLOSC = zarr.codecs.BloscCodec(cname="lz4", shuffle="shuffle")
STORED_BY_BLOSC = {
    "version 2": {"zarr_format": 2, "compressors": numcodecs.Blosc("lz4"), "chunks": (3, 4)},
    "version 3": {"compressors": BLOSC, "chunks": (3, 4)},
    "shards": {"compressors": BLOSC, "chunks": (3, 2), "shards": (6, 4)},
}


@pytest.mark.parametrize("form", STORED_BY_BLOSC)
def test_chunks_of_blosc_that_are_not_as_long_as_they_say(tmp_path, form):
    """Its reader would take what lies behind them in memory, or end the process."""
    path = tmp_path / "m.zarr"
    zarr.create_array(path, data=np.round(VALUES), **STORED_BY_BLOSC[form])
    np.testing.assert_array_equal(read(path), np.round(VALUES))
    chunk = next(file for file in path.rglob("*") if file.is_file() and not file.name.startswith((".z", "z")))
    content = bytearray(chunk.read_bytes())
    for damaged in (content[:12] + bytes([content[12] ^ 64]) + content[13:], content[:15] + content[16:], content[:9]):
        chunk.write_bytes(damaged)
        with pytest.raises(DataError, match=f"m has a damaged chunk, {chunk.name}; copy it again"):
            read(path)


def test_chunks_that_are_packed_again_behind_blosc(tmp_path):
    path = tmp_path / "m.zarr"
    zarr.create_array(path, data=VALUES, compressors=[BLOSC, zarr.codecs.GzipCodec()])
    with pytest.raises(DataError, match="m is packed by Blosc and again by 'gzip'; expected Blosc last"):
        read(path)
