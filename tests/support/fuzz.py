"""Sound inputs of every kind that is read, and ways to damage them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import torch
import xarray
import zarr
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from scipy.io import savemat
from scipy.sparse import csr_array

from superpose import formats, recordings, store
from superpose.analysis.inputs import read_groups
from superpose.dictionaries import checkpoints
from superpose.dictionaries.sae import SparseAutoencoder, load, save
from superpose.dictionaries.sparsity import TopK
from superpose.files import DataError
from superpose.recordings.headers import header
from superpose.studies import results

ROWS, UNITS, LATENTS, K = 40, 5, 12, 3
VALUES = np.random.default_rng(0).normal(size=(ROWS, UNITS)).round(4)
SETTINGS = {"seed": "0", "steps": "10"}


@dataclass(frozen=True)
class Kind:
    """A kind of input: `write(folder)` gives the path to read, `read(path)` all that it holds."""

    write: Callable[[Path], Path]
    read: Callable[[Path], Any]
    checked: bool = False  # what we write carries its own digests
    share: int = 1  # one in so many mutations is tried, where each starts a process


def flip(data, rng):
    at = rng.integers(len(data), size=rng.integers(1, 9))
    data[at] ^= rng.integers(1, 256, size=len(at), dtype=np.uint8)
    return data


def flip_the_head(data, rng):
    at = rng.integers(min(160, len(data)), size=rng.integers(1, 4))
    data[at] ^= rng.integers(1, 256, size=len(at), dtype=np.uint8)
    return data


def flip_the_tail(data, rng):
    at = len(data) - 1 - rng.integers(min(600, len(data)), size=rng.integers(1, 4))
    data[at] ^= rng.integers(1, 256, size=len(at), dtype=np.uint8)
    return data


def cut(data, rng):
    return data[: rng.integers(len(data))]


def insert(data, rng):
    at = rng.integers(len(data) + 1)
    return np.insert(data, at, rng.integers(256, size=rng.integers(1, 65), dtype=np.uint8))


def repeat(data, rng):
    start, end = np.sort(rng.integers(len(data), size=2))
    return np.concatenate([data[:end], data[start:]])


def zero(data, rng):
    start, end = np.sort(rng.integers(len(data) + 1, size=2))
    data[start:end] = 0
    return data


def edit_the_header(data, rng):
    """Put other digits or letters in the place of some among the first kilobyte: sizes, types, names."""
    for bytes_of in (b"0123456789", b"abcdefghijklmnopqrstuvwxyz"):
        places = np.flatnonzero(np.isin(data[:1024], np.frombuffer(bytes_of, dtype=np.uint8)))
        if len(places):
            at = rng.choice(places, size=min(len(places), int(rng.integers(1, 4))), replace=False)
            data[at] = rng.choice(np.frombuffer(bytes_of, dtype=np.uint8), size=len(at))
    return data


MUTATIONS = (flip, flip_the_head, flip_the_tail, cut, insert, repeat, zero, edit_the_header)


def mutated(data: bytes, rng: np.random.Generator, number: int) -> bytes:
    """Return other bytes than these, damaged in the way that the number names, or the next where that does nothing."""
    while True:
        made = MUTATIONS[number % len(MUTATIONS)](np.frombuffer(data, dtype=np.uint8).copy(), rng).tobytes()
        if made != data:
            return made
        number += 1


def damaged(folder: Path, sound: Path, number: int) -> str:
    """Fill a folder with a sound input of which one file is mutated, and return that file's name."""
    rng = np.random.default_rng([number, sum(sound.name.encode())])
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.stat().st_size)
    file = files[number // len(MUTATIONS) % len(files)]
    file.write_bytes(mutated(file.read_bytes(), rng, number))
    return file.name


def outcome(kind: Kind, path: Path) -> tuple[str | None, Any]:
    """Return the words of a refusal, or what was read."""
    try:
        return None, kind.read(path)
    except DataError as error:
        return str(error), None


def equal(a: Any, b: Any) -> bool:
    """Return whether two readings hold the same to the last bit."""
    return a.keys() == b.keys() and all(
        a[name] == b[name] if isinstance(a[name], str) else _bits(a[name]) == _bits(b[name]) for name in a
    )


def _bits(array: Any) -> tuple[str, tuple[int, ...], bytes]:
    array = np.asarray(array)
    return array.dtype.str, array.shape, array.tobytes()


def _file(name: str, write: Callable[[Path], object]) -> Callable[[Path], Path]:
    def written(folder: Path) -> Path:
        write(folder / name)
        return folder / name

    return written


def _responses(path: Path) -> dict[str, Any]:
    refused, told = None, None
    try:
        told = header(path)
    except DataError as error:
        refused = error
    found = recordings.read(path)
    responses = found.responses if isinstance(found, recordings.Recording) else found
    # What can be read has a header that tells its size.
    assert told is not None, refused
    assert (told.shape, told.dtype) == (responses.shape, responses.dtype.name)
    if isinstance(found, recordings.Recording):
        groups = {} if found.groups is None else {"groups": found.groups}
        return {"responses": found.responses, "stimuli": found.stimuli, **groups}
    return {"responses": found}


def _hdf5(**datasets: Any) -> Callable[[Path], object]:
    """Return what writes datasets, and attributes under "name@attribute"."""

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name, value in datasets.items():
                where, at, attribute = name.partition("@")
                if at:
                    file.require_group(where).attrs[attribute] = value
                else:
                    file.create_dataset(where, data=value)

    return write


def _chunked(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=VALUES, chunks=(16, UNITS), compression="gzip", shuffle=True, fletcher32=True)


def _zarr(version: int) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        group = zarr.open_group(folder / "m.zarr", mode="w", zarr_format=version)
        group.create_array("responses", data=VALUES, chunks=(16, UNITS))
        group.create_array("stimuli", data=np.arange(1, ROWS + 1))
        return folder / "m.zarr"

    return write


PACKED = {"x": {"dtype": "i2", "scale_factor": 1e-4, "_FillValue": -32768}}


def _packed(write: Callable[[Any, Path], object]) -> Callable[[Path], object]:
    """Return what writes packed numbers with units in front, dates as labels and flags as groups, as xarray does."""

    def written(path: Path) -> None:
        days = ("presentation", pd.date_range("2026-01-01", periods=ROWS))
        flags = {"flag_values": [1, 2], "flag_meanings": "face house"}
        groups = ("presentation", np.arange(ROWS) % 2 + 1, flags)
        array = xarray.DataArray(VALUES.T, dims=("neuroid", "presentation"), name="x")
        write(array.assign_coords(stimulus=days, group=groups).to_dataset(), path)

    return written


def _anndata(path: Path) -> None:
    names = pd.Index([f"cell {i}" for i in range(ROWS)], dtype=object)
    kinds = pd.CategoricalDtype(pd.Index(["a", "b"], dtype=object))
    obs = pd.DataFrame({"session": pd.Categorical.from_codes(np.arange(ROWS) % 2, dtype=kinds)}, index=names)
    var = pd.DataFrame(index=pd.Index(list("vwxyz"), dtype=object))
    anndata.AnnData(csr_array(np.where(VALUES > 0, VALUES, 0)), obs=obs, var=var).write_zarr(path)


def _mat_73(path: Path) -> None:
    """Write a struct with a cell array of labels, as MATLAB's save -v7.3 does."""
    with h5py.File(path, "w", userblock_size=512) as file:
        made = np.empty((1, ROWS), h5py.ref_dtype)
        for i in range(ROWS):
            text = file.create_dataset(f"#refs#/{i}", data=np.array([[ord(c)] for c in f"cell {i}"], np.uint16))
            text.attrs["MATLAB_class"], made[0, i] = np.bytes_("char"), text.ref
        file.create_dataset("data/stimulus", data=made, dtype=h5py.ref_dtype)
        file.create_dataset("data/responses", data=VALUES.T)
        for name, kind in (("data", "struct"), ("data/stimulus", "cell"), ("data/responses", "double")):
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def _assembly(path: Path, engine: str) -> None:
    ids = ("presentation", [f"image {i}" for i in range(ROWS)])
    array = xarray.DataArray(VALUES, dims=("presentation", "neuroid"), coords={"stimulus_id": ids}, name="x")
    array.to_netcdf(path, engine=engine)


def _nwb(path: Path) -> None:
    rng = np.random.default_rng(0)
    spikes = {
        "units/spike_times": rng.uniform(0, ROWS, 60 * UNITS),
        "units/spike_times_index": np.arange(1, UNITS + 1) * 60,
    }
    trials = {
        "start_time": np.arange(ROWS) + 0.0,
        "stop_time": np.arange(ROWS) + 0.5,
        "stimulus_id": np.arange(ROWS) % 20,
    }
    _hdf5(**spikes, **{f"intervals/trials/{name}": column for name, column in trials.items()})(path)


def _sparse_h5ad(path: Path) -> None:
    rows = csr_array(np.where(VALUES > 0, VALUES, 0))
    parts = {f"X/{name}": getattr(rows, name) for name in ("data", "indices", "indptr")}
    marks = {
        "X@encoding-type": "csr_matrix",
        "X@shape": rows.shape,
        "obs@encoding-type": "dataframe",
        "obs@_index": "i",
    }
    _hdf5(**parts, **{"obs/i": [f"cell {i}" for i in range(ROWS)]}, **marks)(path)


def _parameters(sae: SparseAutoencoder) -> dict[str, Any]:
    state = {name: tensor.numpy() for name, tensor in sae.state_dict().items()}
    return state | {"sparsity": repr(sae.sparsity), "shape": str((sae.repeats, sae.latents, sae.units))}


def _sae() -> SparseAutoencoder:
    return SparseAutoencoder(UNITS, LATENTS, TopK(K), generator=torch.Generator().manual_seed(0))


def _matrices() -> dict[str, torch.Tensor]:
    sae = _sae().state_dict()
    return {
        "W_enc": sae["encoder"].T.contiguous(),
        "b_enc": sae["encoder_bias"],
        "W_dec": sae["dictionary"],
        "b_dec": sae["decoder_bias"],
    }


def _saelens(folder: Path) -> Path:
    formats.write_saelens(_sae(), folder)
    return folder


def _sparsify(folder: Path) -> Path:
    w = _matrices()
    names = {"encoder.weight": w["W_enc"].T.contiguous(), "encoder.bias": w["b_enc"]}
    save_file(names | {"W_dec": w["W_dec"], "b_dec": w["b_dec"]}, folder / "sae.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"d_in": UNITS, "k": K, "num_latents": LATENTS}))
    return folder


def _dictionary_learning(folder: Path) -> Path:
    w = _matrices()
    state = {"encoder.weight": w["W_enc"].T, "encoder.bias": w["b_enc"], "decoder.weight": w["W_dec"].T}
    torch.save(state | {"b_dec": w["b_dec"]}, folder / "ae.pt")
    trainer = {"dict_class": "AutoEncoderTopK", "activation_dim": UNITS, "dict_size": LATENTS, "k": K}
    (folder / "config.json").write_text(json.dumps({"trainer": trainer}))
    return folder


def _prisma(folder: Path) -> Path:
    torch.save(_matrices(), folder / "n_images_12.pt")
    cfg = {"architecture": "standard", "normalize_activations": "none", "d_in": UNITS, "is_transcoder": False}
    cfg |= {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}
    (folder / "config.json").write_text(json.dumps(cfg))
    return folder


def _chunk(i: int) -> dict[str, Any]:
    rng = np.random.default_rng(i)
    return {"layer": rng.normal(size=(4, UNITS)).astype(np.float16), "labels": rng.integers(9, size=4)}


def _store(folder: Path) -> Path:
    store.build(folder, {"seed": 3}, 3, _chunk)
    return folder


def _results(folder: Path) -> Path:
    with results.writer(folder) as put:
        for i in range(30):
            put({f"key{i}": json.dumps({"score": i / 7})})
    for lock in folder.glob("*.lock"):
        lock.unlink()
    return folder


FRAME = pd.DataFrame(VALUES, columns=list("abcde"))
STATE = {"weight": torch.arange(12.0).reshape(3, 4), "moment": torch.ones(5, dtype=torch.float64)}
KINDS = {
    "npy": Kind(_file("m.npy", lambda path: np.save(path, VALUES)), _responses),
    "npz": Kind(_file("m.npz", lambda path: np.savez(path, responses=VALUES, stimuli=np.arange(ROWS))), _responses),
    "csv": Kind(_file("m.csv", lambda path: FRAME.to_csv(path, index_label="stimulus")), _responses),
    "tsv": Kind(_file("m.tsv", lambda path: FRAME.to_csv(path, index=False, sep="\t")), _responses),
    "parquet": Kind(_file("m.parquet", lambda path: FRAME.to_parquet(path)), _responses),
    "safetensors": Kind(_file("m.safetensors", lambda path: save_arrays({"x": VALUES}, path)), _responses),
    "hdf5": Kind(_file("m.h5", _hdf5(responses=VALUES, stimuli=np.arange(ROWS))), _responses),
    "hdf5 in chunks": Kind(_file("m.h5", _chunked), _responses),
    "zarr 2": Kind(_zarr(2), _responses),
    "zarr 3": Kind(_zarr(3), _responses),
    "netcdf 4": Kind(_file("m.nc", lambda path: _assembly(path, "h5netcdf")), _responses),
    "netcdf 3": Kind(_file("m.nc", lambda path: _assembly(path, "scipy")), _responses),
    "netcdf 4, packed": Kind(
        _file("m.nc", _packed(lambda data, path: data.to_netcdf(path, engine="h5netcdf", encoding=PACKED))), _responses
    ),
    "netcdf 3, packed": Kind(
        _file("m.nc", _packed(lambda data, path: data.to_netcdf(path, engine="scipy", encoding=PACKED))), _responses
    ),
    "hdf5, packed": Kind(
        _file("m.h5", _packed(lambda data, path: data.to_netcdf(path, engine="h5netcdf", encoding=PACKED))), _responses
    ),
    "zarr, packed": Kind(
        _file("m.zarr", _packed(lambda data, path: data.to_zarr(path, mode="w", encoding=PACKED))), _responses
    ),
    "zarr of AnnData": Kind(_file("m.zarr", _anndata), _responses),
    "mat 7.3": Kind(_file("m.mat", _mat_73), _responses),
    "nwb": Kind(_file("m.nwb", _nwb), _responses),
    "h5ad": Kind(_file("m.h5ad", _sparse_h5ad), _responses),
    "mat": Kind(
        _file("m.mat", lambda path: savemat(path, {"responses": VALUES, "id": np.arange(ROWS)})), _responses, share=8
    ),
    "SAELens": Kind(_saelens, lambda path: _parameters(formats.read(path))),
    "sparsify": Kind(_sparsify, lambda path: _parameters(formats.read(path))),
    "dictionary_learning": Kind(_dictionary_learning, lambda path: _parameters(formats.read(path))),
    "Prisma": Kind(_prisma, lambda path: _parameters(formats.read(path))),
    "labels": Kind(
        _file("m.npy", lambda path: np.save(path, np.repeat(np.arange(8), 5))),
        lambda path: {"groups": read_groups(path)},
    ),
    "dictionary": Kind(
        _file("m.safetensors", lambda path: save(_sae(), path)), lambda path: _parameters(load(path)), checked=True
    ),
    "checkpoint": Kind(
        _file("m.safetensors", lambda path: checkpoints.write(path, STATE, SETTINGS)),
        lambda path: {name: tensor.numpy() for name, tensor in checkpoints.read(path, SETTINGS).items()},
        checked=True,
    ),
    "activation store": Kind(_store, store.read, checked=True),
    "results": Kind(_results, results.read, checked=True),
}
