"""Files that would run code if anything in them were unpickled: nothing is, wherever they are handed in."""

import ast
import contextlib
import gzip
import json
import os
import pickle
import time
import zipfile
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from proof import proved
from test_formats import HOSTILE, NEW, SPARSIFY, hostile, installed, unharmed

import superpose
from superpose import formats, recordings, store
from superpose.analysis.inputs import read_groups
from superpose.cli import main
from superpose.dictionaries import checkpoints
from superpose.dictionaries.sae import load
from superpose.files import DataError
from superpose.recordings.conventions import ATTRIBUTES
from superpose.studies import results

SOURCE = Path(superpose.__file__).parent


def archive(content, path):
    torch.save(content, path)


def legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def bare(content, path, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol=protocol))


def object_array(content, path):
    values = np.empty((3, 2), dtype=object)
    values[:] = content
    with open(path, "wb") as file:
        np.save(file, values, allow_pickle=True)


def object_archive(content, path):
    values = np.empty((3, 2), dtype=object)
    values[:] = content
    with open(path, "wb") as file:
        np.savez(file, responses=np.ones((3, 2)), stimuli=values[:, 0])


def pickled_member(content, path):
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("responses.npy", pickle.dumps(content))


def compressed(content, path):
    path.write_bytes(gzip.compress(pickle.dumps(content)))


def yaml(content, path):
    path.write_text("!!python/object/apply:os.mkdir [canary]\nresponses: !!python/name:os.system\n")


def hdf5(content, path):
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + pickle.dumps(content))


def hdf5_opaque(content, path):
    with h5py.File(path, "w", userblock_size=512 if path.suffix == ".mat" else 0) as file:
        for name in ("responses", "X", "obs/stimuli", "intervals/trials/start_time", "units/spike_times"):
            file[name] = np.full((3, 2), np.void(pickle.dumps(content)))
            file[name].attrs["MATLAB_class"] = file[name].attrs["pickle"] = np.void(pickle.dumps(content))
        file["obs"].attrs["encoding-type"] = "dataframe"


def zarr_filter(content, path):
    path.mkdir()
    array = {"zarr_format": 2, "shape": [3, 2], "chunks": [3, 2], "dtype": "<f8", "order": "C", "fill_value": 0}
    array |= {"compressor": None, "filters": [{"id": "pickle", "protocol": 5}]}
    (path / ".zarray").write_text(json.dumps(array))
    (path / "0.0").write_bytes(pickle.dumps(content))


def hdf5_attributes(content, path):
    """Hide it where a file says what its numbers, axes and labels are."""
    with h5py.File(path, "w", userblock_size=512 if path.suffix == ".mat" else 0) as file:
        for name in ("responses", "X", "obs/stimulus", "stimulus", "intervals/trials/start_time"):
            file[name] = np.ones((3, 2))
            for attribute in (*ATTRIBUTES, "DIMENSION_LABELS", "encoding-type", "neurodata_type", "MATLAB_class"):
                file[name].attrs[attribute] = np.void(pickle.dumps(content))
        file["obs"].attrs["encoding-type"], file["obs"].attrs["_index"] = "dataframe", "stimulus"


def zarr_anndata(content, path):
    """Hide it in the chunks of an object of AnnData, under names of codecs and types that unpickle."""
    parts = {"": {"encoding-type": "anndata"}, "obs": {"encoding-type": "dataframe", "_index": "i"}}
    for name, attributes in parts.items():
        (path / name).mkdir()
        (path / name / ".zgroup").write_text('{"zarr_format": 2}')
        (path / name / ".zattrs").write_text(json.dumps(attributes))
    array = {"zarr_format": 2, "order": "C", "fill_value": 0, "compressor": None}
    for name, shape, dtype in (("X", [3, 2], "<f8"), ("obs/i", [3], "|O")):
        (path / name).mkdir()
        packing = {"shape": shape, "chunks": shape, "dtype": dtype, "filters": [{"id": "pickle", "protocol": 5}]}
        (path / name / ".zarray").write_text(json.dumps(array | packing))
        (path / name / ".zattrs").write_text(json.dumps({"encoding-type": "array"}))
        (path / name / ".".join("0" for _ in shape)).write_bytes(pickle.dumps(content))


WRITERS = {
    ".pt": (archive, legacy, bare, partial(bare, protocol=0)),
    ".npy": (object_array, bare),
    ".npz": (object_archive, pickled_member, bare),
    ".csv": (bare, yaml),
    ".tsv": (bare,),
    ".parquet": (bare,),
    ".safetensors": (archive, bare),
    ".pkl.gz": (compressed,),
    ".pkl": (bare,),
    ".yaml": (yaml,),
    ".h5": (hdf5_opaque, hdf5, hdf5_attributes),
    ".hdf5": (hdf5_opaque,),
    ".nc": (hdf5_opaque, bare, hdf5_attributes),
    ".nwb": (hdf5_opaque, bare, hdf5_attributes),
    ".h5ad": (hdf5_opaque, hdf5, hdf5_attributes),
    ".mat": (hdf5_opaque, bare, hdf5_attributes),
    ".zarr": (zarr_filter, zarr_anndata),
    ".json": (bare, yaml),
    ".sqlite": (bare,),
}


def readers(path):
    """Return everything that could be asked to read a file."""
    return (
        lambda: recordings.read(path),
        lambda: formats.read(path),
        lambda: formats.read(path.parent),
        lambda: load(path),
        lambda: checkpoints.read(path, {}),
        lambda: results.read(path.parent),
        lambda: store.read(path.parent),
        lambda: read_groups(path),
    )


def names(suffix):
    """Return the names under which a file of this suffix would be taken for one of ours or of another package."""
    special = {
        ".pt": ("ae.pt", "n_images_1.pt"),
        ".safetensors": ("sae.safetensors", "sae_weights.safetensors"),
        ".json": ("manifest.json", "cfg.json", "config.json", "activation_scaler.json"),
        ".pkl.gz": ("n_images_1.pkl.gz",),
    }
    return ("hostile" + suffix, *special.get(suffix, ()))


def attacks(folder, payloads):
    """Hand every payload, in every container, under every name, to every reader; return how many files and readings."""
    canary = folder / "canary"
    files = readings = refused = 0
    for payload in payloads:
        content = hostile(str(canary))[payload]
        for suffix, writers in WRITERS.items():
            for write in writers:
                for name in names(suffix):
                    here = folder / str(files)
                    here.mkdir()
                    for beside in {"cfg.json", "config.json"} - {name}:
                        (here / beside).write_text(json.dumps(SPARSIFY | NEW))
                    with installed():
                        write(content, here / name)
                    files += 1
                    for read in readers(here / name):
                        readings += 1
                        with contextlib.suppress(DataError):
                            read()
                            continue
                        refused += 1
                    assert unharmed(canary), f"{payload}, {name}"
    return {"files": files, "readings": readings, "refused": refused}


def test_nothing_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    counts = attacks(tmp_path, ("os.mkdir", "build"))
    assert counts["files"] > 50
    # Text is read as labels, and a folder without results has none.
    assert counts["refused"] > counts["readings"] / 2


@pytest.mark.slow
@pytest.mark.prove
def test_p4_code_execution(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = time.perf_counter()
    counts = attacks(tmp_path, HOSTILE)
    proved("P4", time.perf_counter() - start, payloads=len(HOSTILE), **counts, canaries=0)


@pytest.mark.parametrize("suffix", WRITERS)
def test_as_whole_commands(tmp_path, monkeypatch, capsys, suffix):
    monkeypatch.chdir(tmp_path)
    canary = tmp_path / "canary"
    for name in names(suffix):
        with installed():
            WRITERS[suffix][0](hostile(str(canary))["os.mkdir"], tmp_path / name)
        np.save("x.npy", np.ones((5, 2)))
        for arguments in (["compare", name, "x.npy", "--out", "o"], ["encode", name, "x.npy", "--out", "o.npy"]):
            assert main(arguments) == 2
            said = capsys.readouterr().err
            assert said.count("\n") == 1
            assert Path(name).stem.removesuffix(".pkl") in said
    assert unharmed(canary)


# Files whose SHA-256 the package itself pins.
GUARDED = {"dictionaries/formats/parts.py", "examples/encoders.py"}
RUNS_CODE = {"eval", "exec", "compile", "__import__", "joblib.load", "pd.read_pickle", "pandas.read_pickle"}
# Between a process and those it has started itself, over a socket that nobody else holds.
TRANSPORT = {"running/workers.py"}
UNPICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "yaml"}


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def test_nothing_in_the_source_unpickles_or_evaluates():
    loads = set()
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            unpickles = UNPICKLES & {module.split(".")[0] for module in modules}
            assert not unpickles or name in TRANSPORT, f"{name} imports {modules}"
        for call, function in calls(tree):
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert options.get("allow_pickle", "False") == "False", f"{name}:{call.lineno}"
            assert function not in RUNS_CODE | {"joblib.load", "pd.read_pickle", "pandas.read_pickle"}, (
                f"{name}: {function}"
            )
            if function == "np.load":
                assert options.get("allow_pickle") == "False", f"{name}:{call.lineno}"
            if function == "torch.load":
                assert options.get("weights_only") == "True", f"{name}:{call.lineno}"
                loads.add(name)
    assert loads == GUARDED


def test_the_static_test_sees_what_it_looks_for():
    found = {function for _, function in calls(ast.parse("import os\nx = torch.load(y)\nz = eval('1')"))}
    assert found == {"torch.load", "eval"}
    assert os.path.isfile(SOURCE / "dictionaries/formats/parts.py")
