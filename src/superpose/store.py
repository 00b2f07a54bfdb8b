"""The activation store: arrays too slow to make twice, built chunk by chunk and checked on reading.

A finished store is a folder with one plain .npy file an array and `manifest.json`, so that every array is an
ordinary `numpy.memmap` for whatever reads it, and any other program can open it. While it is built, each
chunk is a shard: one file for each array, written whole, then entered in the manifest with its SHA-256. The
manifest is rewritten whole, and only what it lists exists: a machine that stops loses at most the chunk at
work. When all shards are there, each array is joined into its one file (itself written whole), and the shards
go; until then the disk holds both.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError, sha256, whole

FORMAT = "superpose activation store 1"
Progress = Callable[[int, int], object]


def build(
    folder: str | os.PathLike[str],
    settings: Mapping[str, Any],
    count: int,
    chunk: Callable[[int], Mapping[str, NDArray[Any]]],
    *,
    progress: Progress = lambda done, total: None,
) -> dict[str, NDArray[Any]]:
    """Build a store of `count` chunks, or go on where it stopped, and read it.

    Parameters
    ----------
    folder : path-like
        The store's own folder, made if it is missing.
    settings : mapping
        All that determines the contents, as plain JSON. A folder built with other settings is refused.
    count : int
        The number of chunks.
    chunk : callable
        `chunk(i)` returns {name: array} for chunk i: the same names, dtypes and trailing shape for every i,
        any number of rows. It is called only for chunks that the folder lacks.
    progress : callable, optional
        Called with (chunks done, count), before every chunk and at the end.

    Returns
    -------
    dict of str to numpy.memmap
        {name: (rows of all chunks, …)}, read-only.

    Raises
    ------
    DataError
        If the folder holds another store or a damaged one, or the chunks do not fit together.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from superpose.store import build
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     arrays = build(folder, {"seed": 0}, 3, lambda i: {"layer": np.full((2, 4), i)})
    ...     arrays["layer"][:, 0].tolist()
    [0, 0, 1, 1, 2, 2]
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    asked = _digest(settings)
    fresh: dict[str, Any] = {
        "format": FORMAT,
        "settings": dict(settings),
        "count": count,
        "shards": {},
        "arrays": {},
    }
    manifest = _load(folder) if (folder / "manifest.json").exists() else fresh
    if (_digest(manifest["settings"]), manifest["count"]) != (asked, count):
        raise DataError(
            f"{folder} holds a store made with other settings; expected the same ones to go on. Choose another "
            "folder, or delete this one."
        )
    if not manifest["arrays"]:
        _complete(folder, manifest, chunk, progress)
    shutil.rmtree(folder / "shards", ignore_errors=True)
    progress(count, count)
    return read(folder)


def read(folder: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a finished store, memory-mapped, after checking every byte against its SHA-256.

    Raises
    ------
    DataError
        If there is no finished store, or a file is missing or differs from what was written; its name is given.
    """
    folder = Path(folder)
    manifest = _load(folder)
    if not manifest["arrays"] or manifest["shards"]:
        raise DataError(f"{folder} holds {len(manifest['shards'])} of {manifest['count']} chunks; build it to the end.")
    return {name: _open(folder / entry["file"], entry["sha256"]) for name, entry in manifest["arrays"].items()}


def _complete(
    folder: Path,
    manifest: dict[str, Any],
    chunk: Callable[[int], Mapping[str, NDArray[Any]]],
    progress: Progress,
) -> None:
    """Write the missing shards, then one file an array."""
    count, shards = manifest["count"], manifest["shards"]
    missing = [i for i in range(count) if not _stands(folder, shards.get(str(i), {}))]
    for done, i in enumerate(missing, start=count - len(missing)):
        progress(done, count)
        shards[str(i)] = _write_shard(folder, i, chunk(i))
        if set(shards[str(i)]) != set(next(iter(shards.values()))):
            raise DataError(f"chunk {i} has arrays {sorted(shards[str(i)])}; expected the same in every chunk.")
        _save(folder, manifest)
    arrays = {name: _join(folder, name, [shards[str(i)][name] for i in range(count)]) for name in shards["0"]}
    manifest |= {"arrays": arrays, "shards": {}}
    _save(folder, manifest)


def _open(file: Path, digest: str) -> NDArray[Any]:
    if not file.is_file() or sha256(file) != digest:
        raise DataError(
            f"{file} is missing or is not what was written (SHA-256); delete its folder and build it again."
        )
    array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return array


def _stands(folder: Path, shard: Mapping[str, Mapping[str, str]]) -> bool:
    files = [(folder / entry["file"], entry["sha256"]) for entry in shard.values()]
    return bool(files) and all(file.is_file() and sha256(file) == digest for file, digest in files)


def _write_shard(folder: Path, i: int, arrays: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, str]]:
    (folder / "shards").mkdir(exist_ok=True)
    shard = {}
    for place, (name, array) in enumerate(arrays.items()):
        if array.dtype.kind not in "iuf" or array.ndim == 0:
            raise DataError(f"chunk {i}: {name} is {array.dtype}, shape {array.shape}; expected rows of real numbers.")
        file = folder / "shards" / f"{i:05d}-{place:03d}.npy"
        with whole(file) as temporary:
            np.save(temporary, np.ascontiguousarray(array), allow_pickle=False)
        shard[name] = {"file": f"shards/{file.name}", "sha256": sha256(file)}
    return shard


def _join(folder: Path, name: str, entries: list[dict[str, str]]) -> dict[str, str]:
    shards = [_open(folder / entry["file"], entry["sha256"]) for entry in entries]
    kinds = {(shard.dtype.str, shard.shape[1:]) for shard in shards}
    if len(kinds) > 1:
        raise DataError(f"the chunks of {name} have different types or widths, {sorted(kinds)}; expected one.")
    dtype, trailing = kinds.pop()
    file = folder / (Path(entries[0]["file"]).stem.partition("-")[2] + ".npy")
    with whole(file) as temporary, open(temporary, "wb") as out:
        shape = (sum(map(len, shards)), *trailing)
        np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
        for shard in shards:
            out.write(shard.data)
    return {"file": file.name, "sha256": sha256(file)}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _save(folder: Path, manifest: dict[str, Any]) -> None:
    with whole(folder / "manifest.json") as temporary:
        temporary.write_text(json.dumps({"sha256": _digest(manifest), "manifest": manifest}, indent=1))


def _load(folder: Path) -> dict[str, Any]:
    file = folder / "manifest.json"
    try:
        stored = json.loads(file.read_bytes())
        manifest: dict[str, Any] = stored["manifest"]
        intact = stored["sha256"] == _digest(manifest) and manifest["format"] == FORMAT
    except FileNotFoundError:
        raise DataError(f"{folder} holds no activation store (no manifest.json); build one there first.") from None
    except (ValueError, KeyError, TypeError, RecursionError, OSError):
        intact = False
    if not intact:
        raise DataError(f"{file} is damaged or of another format; delete its folder and build it again.")
    return manifest
