"""NumPy's files: .npy, mapped, and .npz, whose arrays are read whole, or unpacked where they are large."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError, lines
from superpose.recordings.asked import Asked
from superpose.recordings.choice import choose
from superpose.recordings.labels import written
from superpose.recordings.unpacking import is_large, kept, report, spread, tiles
from superpose.store import MANIFEST

# The stimulus of each row of the .npy files beside it. In a store, which has a manifest, a line is a sample, which may
# have several rows: `superpose.analysis.extracted` reads those.
STIMULI = "stimuli.txt"


def read_npy(file: Path, asked: Asked) -> dict[str, Any]:
    """Read a .npy, mapped, and the stimuli of its rows from a stimuli.txt beside it."""
    array = np.lib.format.open_memmap(file, mode="r")
    announced, size = array.offset + array.nbytes, file.stat().st_size
    if announced != size:
        raise DataError(f"{file} has {size} bytes where its header announces {announced}; write it again.")
    beside = file.with_name(STIMULI)
    if not beside.is_file() or file.with_name(MANIFEST).exists():
        return {"responses": array}
    stimuli = written(lines(beside), asked.missing, str(beside))
    if len(stimuli) not in array.shape:
        raise DataError(
            f"{beside} has {len(stimuli)} line(s) and {file} has shape {array.shape}; expected one stimulus a row. "
            f"Rename {STIMULI} if it is not about this file."
        )
    return {"responses": array, "stimuli": stimuli}


def read_npz(file: Path, asked: Asked) -> dict[str, Any]:
    """Read one array of a .npz, and the labels beside it."""
    # Opened here, because numpy leaves the file of a broken archive open.
    with open(file, "rb") as source:
        if source.read(2) != b"PK":
            raise DataError(f"{file} is not a zip archive, as a .npz file is; write it with numpy.savez.")
        source.seek(0)
        with np.load(source, allow_pickle=False) as archive:
            return choose(file, asked, dict.fromkeys(archive.files), partial(_member, file, archive))


def array_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape of a .npy, whether its first axis is the fastest, and its type."""
    version = np.lib.format.read_magic(stream)
    of_version = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return of_version(stream)


def _member(file: Path, archive: Any, name: str) -> NDArray[Any]:
    stored = archive.zip.NameToInfo.get(f"{name}.npy")
    if stored is None or not is_large((stored.file_size,), np.dtype(np.uint8)):
        return _held(file, archive, name)
    with archive.zip.open(stored) as stream:
        shape, fortran, dtype = array_header(stream)
        announced = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "fiub" or announced > stored.file_size:
            return _held(file, archive, name)
        laid = shape[::-1] if fortran else shape
        array = spread(f"{file}: {name}", laid, kept(dtype), partial(_fill, file, stream, dtype))
        return array.T if fortran else array


def _held(file: Path, archive: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(archive[name])
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        raise DataError(
            f"{file}: {name} holds Python objects, which are never unpickled; save labels as text (dtype=str), and "
            "numbers as float64."
        ) from None


def _fill(file: Path, stream: Any, dtype: np.dtype[Any], out: NDArray[Any]) -> None:
    flat = out.reshape(-1)
    for (at,) in tiles(flat.shape, (1,), max(dtype.itemsize, out.itemsize)):
        part = flat[at]
        content = stream.read(part.size * dtype.itemsize)
        if len(content) < part.size * dtype.itemsize:
            raise DataError(f"{file} ends before its array does; write it again.")
        part[:] = np.frombuffer(content, dtype)
        report(file, at.stop * out.itemsize, out.nbytes)
    # The checksum is looked at where a member ends.
    stream.read(1)
