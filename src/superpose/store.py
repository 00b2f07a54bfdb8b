"""The activation store: arrays too slow to make twice, built chunk by chunk and checked on reading.

A finished store is a folder with one plain .npy file an array, named after it, and `manifest.json`, so that every
array is an ordinary `numpy.memmap` for whatever reads it, and any other program can open it. While it is built, each
chunk is a shard: one file for each array, written whole, then entered in the manifest with its SHA-256. The
manifest is rewritten whole, and only what it lists exists: a machine that stops loses at most the chunk at
work. When all shards are there, each array is joined into its one file (itself written whole), and the shards
go; until then the disk holds both. The manifest keeps the SHA-256 of every chunk of every array, so that of a file
that was damaged later only the damaged chunks are made again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError, sha256, whole

MANIFEST = "manifest.json"
FORMAT = "superpose activation store 2"
Progress = Callable[[int, int], object]


def build(
    folder: str | os.PathLike[str],
    settings: Mapping[str, Any],
    count: int,
    chunk: Callable[[int], Mapping[str, NDArray[Any]]],
    *,
    progress: Progress = lambda done, total: None,
) -> dict[str, NDArray[Any]]:
    """Build a store of `count` chunks, or resume where it stopped, and read it.

    Files of the store that are missing or damaged are named in a warning, and only their chunks are made again. Where
    a chunk fails, what was made before is kept for the same settings; under other ones it gives way, in a warning. A
    store of which nothing was made leaves no folder.

    Parameters
    ----------
    folder : path-like
        The store's own folder, made if it is missing; a new store needs an empty one.
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
        If the folder holds another store, other files or a damaged manifest, the chunks do not fit together, or a
        chunk of a finished store that is made again comes out otherwise than before.

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
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    asked = _digest(settings)
    fresh: dict[str, Any] = {
        "format": FORMAT,
        "settings": dict(settings),
        "count": count,
        "shards": {},
        "arrays": {},
    }
    if not (folder / MANIFEST).exists():
        if others := sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")):
            raise DataError(f"{folder} holds other files, such as {others[0]}; expected an empty folder, or a store.")
        _save(folder, fresh)
    manifest = _load(folder)
    if (_digest(manifest["settings"]), manifest["count"]) != (asked, count):
        if manifest["arrays"] or (manifest["shards"] and not manifest.get("failed")):
            raise DataError(
                f"{folder} holds a store made with other settings; expected the same ones to go on. Choose another "
                "folder, or delete this one."
            )
        _discard(folder, manifest)
        manifest = fresh
        _save(folder, manifest)
    if not manifest["arrays"]:
        try:
            _complete(folder, manifest, chunk, progress)
        except BaseException as error:
            _after(error, folder, manifest, made)
            raise
    elif damaged := _damaged(folder, manifest):
        _mend(folder, manifest, damaged, chunk, progress)
    shutil.rmtree(folder / "shards", ignore_errors=True)
    progress(count, count)
    return _map(folder, manifest)


def _after(error: BaseException, folder: Path, manifest: dict[str, Any], made: list[Path]) -> None:
    """Leave of a store that came to an end whatever the same settings can resume from, and nothing else.

    What was interrupted goes on under the same settings alone; what failed gives way to others.
    """
    with suppress(OSError):
        if manifest["shards"]:
            manifest["failed"] = isinstance(error, Exception)
            return _save(folder, manifest)
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder / "shards", ignore_errors=True)
        for place in made:
            place.rmdir()


def _discard(folder: Path, manifest: dict[str, Any]) -> None:
    """Remove what a run of other settings left when it failed, and say so where that was work."""
    if shards := manifest["shards"]:
        warnings.warn(
            f"{folder} holds {len(shards)} of {manifest['count']} chunks of a run with other settings that failed; "
            "they are made anew.",
            stacklevel=3,
        )
        for name in _file_names(next(iter(shards.values()))).values():
            (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "shards", ignore_errors=True)


def read(folder: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a finished store, memory-mapped, after checking every byte against its SHA-256.

    Raises
    ------
    DataError
        If there is no finished store, or a file is missing or differs from what was written; it is named, with the
        chunks of it that are lost.
    """
    folder = Path(folder)
    manifest = _load(folder)
    if not manifest["arrays"] or manifest["shards"]:
        raise DataError(f"{folder} holds {len(manifest['shards'])} of {manifest['count']} chunks; build it to the end.")
    for file, lost in _damaged(folder, manifest).values():
        raise DataError(f"{_harm(file, lost)}; build it again: only what is damaged is made anew.")
    return _map(folder, manifest)


def paths(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the file of every array of a finished store, by the array's name."""
    return {name: Path(folder) / entry["file"] for name, entry in _load(Path(folder))["arrays"].items()}


def trailing(folder: str | os.PathLike[str]) -> dict[str, tuple[int, ...]]:
    """Return the shape of one row of every array of a finished store, by the array's name."""
    return {name: tuple(entry["trailing"]) for name, entry in _load(Path(folder))["arrays"].items()}


def digest(folder: str | os.PathLike[str]) -> str:
    """Return one SHA-256 digest of the names and contents of a finished store's arrays, in hexadecimal."""
    return _digest({name: entry["sha256"] for name, entry in _load(Path(folder))["arrays"].items()})


def _complete(
    folder: Path,
    manifest: dict[str, Any],
    chunk: Callable[[int], Mapping[str, NDArray[Any]]],
    progress: Progress,
) -> None:
    """Write the missing shards, then one file an array."""
    count, shards = manifest["count"], manifest["shards"]
    for i, shard in shards.items():
        for file in _fallen(folder, shard):
            _warn(file, [int(i)])
    missing = [i for i in range(count) if str(i) not in shards or _fallen(folder, shards[str(i)])]
    for done, i in enumerate(missing, start=count - len(missing)):
        progress(done, count)
        shards[str(i)] = _write_shard(folder, i, chunk(i))
        if set(shards[str(i)]) != set(next(iter(shards.values()))):
            raise DataError(f"chunk {i} has arrays {sorted(shards[str(i)])}; expected the same in every chunk.")
        _save(folder, manifest)
    files = _file_names(shards["0"])
    arrays = {name: _join(folder / files[name], name, [shards[str(i)][name] for i in range(count)]) for name in files}
    finished = {**manifest, "arrays": arrays, "shards": {}}
    finished.pop("failed", None)
    # Until that is kept, the chunks are what there is.
    _save(folder, finished)
    manifest |= finished


def _fallen(folder: Path, shard: Mapping[str, Mapping[str, str]]) -> list[Path]:
    """Return the files of a shard that are missing or not what was written."""
    files = [(folder / entry["file"], entry["sha256"]) for entry in shard.values()]
    return [file for file, digest in files if not _stands(file, digest)]


def _damaged(folder: Path, manifest: Mapping[str, Any]) -> dict[str, tuple[Path, list[int]]]:
    """Return the arrays whose file is missing or not what was written, with the numbers of their lost chunks."""
    files = {name: folder / entry["file"] for name, entry in manifest["arrays"].items()}
    return {
        name: (file, [i for i, data in enumerate(_kept(file, manifest["arrays"][name])) if data is None])
        for name, file in files.items()
        if not _stands(file, manifest["arrays"][name]["sha256"])
    }


def _kept(file: Path, entry: Mapping[str, Any]) -> Iterator[bytes | None]:
    """Yield the bytes of every chunk of an array's file, or None where they are not what was written."""
    row = np.dtype(entry["dtype"]).itemsize * math.prod(entry["trailing"])
    at = len(_header(entry))
    with open(file if file.is_file() else os.devnull, "rb") as source:
        for rows, digest in entry["chunks"]:
            source.seek(at)
            data = source.read(rows * row)
            at += rows * row
            yield data if hashlib.sha256(data).hexdigest() == digest else None


def _mend(
    folder: Path,
    manifest: dict[str, Any],
    damaged: Mapping[str, tuple[Path, list[int]]],
    chunk: Callable[[int], Mapping[str, NDArray[Any]]],
    progress: Progress,
) -> None:
    """Make the lost chunks again, and write the damaged files anew."""
    for file, lost in damaged.values():
        _warn(file, lost)
    count, made = manifest["count"], {}
    again = sorted({i for _, lost in damaged.values() for i in lost})
    for done, i in enumerate(again, start=count - len(again)):
        progress(done, count)
        made[i] = {name: np.ascontiguousarray(array).tobytes() for name, array in chunk(i).items() if name in damaged}
    for name, (file, _) in damaged.items():
        entry = manifest["arrays"][name]
        with whole(file) as temporary:
            with open(temporary, "wb") as out:
                out.write(_header(entry))
                for i, data in enumerate(_kept(file, entry)):
                    out.write(made[i][name] if data is None else data)
            if not _stands(temporary, entry["sha256"]):
                raise DataError(
                    f"{file}: chunks made again are not what they were, so versions, hardware or threads differ from "
                    f"then. Delete {folder} and build it again."
                )


def _map(folder: Path, manifest: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    arrays = manifest["arrays"].items()
    return {name: np.load(folder / entry["file"], mmap_mode="r", allow_pickle=False) for name, entry in arrays}


def _warn(file: Path, lost: list[int]) -> None:
    warnings.warn(f"{_harm(file, lost)}; only that is made again.", stacklevel=5)


def _harm(file: Path, lost: list[int]) -> str:
    where = f": chunk {', '.join(map(str, lost[:8]))}{' …' if len(lost) > 8 else ''}" if lost else ""
    return f"{file} is missing or is not what was written (SHA-256){where}"


def _stands(file: Path, digest: str) -> bool:
    return file.is_file() and sha256(file) == digest


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


def _file_names(names: Iterable[str]) -> dict[str, str]:
    """Return a file name for every array: its own name where that can be one."""
    found: dict[str, str] = {}
    taken = {"", "manifest", "shards"}
    for place, name in enumerate(names):
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".-")[:100]
        stem = f"{place:03d}-{plain}".rstrip("-") if plain.lower() in taken else plain
        taken.add(stem.lower())
        found[name] = f"{stem}.npy"
    return found


def _join(file: Path, name: str, entries: list[dict[str, str]]) -> dict[str, Any]:
    folder = file.parent
    for i, entry in enumerate(entries):
        if not _stands(folder / entry["file"], entry["sha256"]):
            raise DataError(f"{_harm(folder / entry['file'], [i])}; build it again: only that is made anew.")
    shards = [np.load(folder / entry["file"], mmap_mode="r", allow_pickle=False) for entry in entries]
    kinds = {(shard.dtype.str, shard.shape[1:]) for shard in shards}
    if len(kinds) > 1:
        raise DataError(f"the chunks of {name} have different types or widths, {sorted(kinds)}; expected one.")
    dtype, trailing = kinds.pop()
    chunks = [[len(shard), hashlib.sha256(shard.data).hexdigest()] for shard in shards]
    made: dict[str, Any] = {"file": file.name, "dtype": dtype, "trailing": list(trailing), "chunks": chunks}
    with whole(file) as temporary, open(temporary, "wb") as out:
        out.write(_header(made))
        for shard in shards:
            out.write(shard.data)
    return {**made, "sha256": sha256(file)}


def _header(entry: Mapping[str, Any]) -> bytes:
    out = BytesIO()
    shape = (sum(rows for rows, _ in entry["chunks"]), *entry["trailing"])
    np.lib.format.write_array_header_1_0(out, {"descr": entry["dtype"], "fortran_order": False, "shape": shape})
    return out.getvalue()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _save(folder: Path, manifest: dict[str, Any]) -> None:
    with whole(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps({"sha256": _digest(manifest), "manifest": manifest}, indent=1))


def _load(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
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
