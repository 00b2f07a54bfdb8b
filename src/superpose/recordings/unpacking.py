"""Large arrays that files keep in chunks or packed, unpacked once onto the disk and mapped from there."""

from __future__ import annotations

import errno
import itertools
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError, StorageError

Array = NDArray[Any]
Progress = Callable[[str, int, int], None]
Fill = Callable[[Array], None]
# Of what it is called in messages, its shape, its type and what fills it.
Place = Callable[[str, tuple[int, ...], np.dtype[Any], Fill], Array]

# Bytes of an array that is held in memory. No share of the machine's: several files are read, containers have less, and
# writing pages that the system may keep costs little beside unpacking them.
HELD = 2**28
# Bytes that are unpacked at once, where a chunk has no more.
TILE = 2**25
MB = 10**6
REMEDY = "set TMPDIR to a folder with more room, or keep it as a contiguous HDF5 dataset or a .npy."


def _silent(what: str, done: int, total: int) -> None: ...


_told: ContextVar[Progress] = ContextVar("told", default=_silent)


@contextmanager
def told(progress: Progress | None) -> Iterator[None]:
    """Have a function told (what, done, total) of what is unpacked meanwhile."""
    before = _told.set(progress or _silent)
    try:
        yield
    finally:
        _told.reset(before)


def report(file: Path, done: int, total: int) -> None:
    """Tell how many bytes of how many are unpacked."""
    _told.get()(f"{file.name}: MB unpacked", done // MB, total // MB)


def kept(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type that responses are kept in: float16, float32 or float64 of this machine's byte order.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.recordings.unpacking import kept
    >>> kept(np.dtype(">f4")), kept(np.dtype(bool))
    (dtype('float32'), dtype('float64'))
    """
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return dtype.newbyteorder("=")
    return np.dtype(np.float64) if dtype.kind in "fiub" else dtype


def is_large(shape: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Return whether an array of numbers is kept on the disk."""
    return dtype.kind in "fiub" and math.prod(shape) * dtype.itemsize > HELD


def unpacked(
    file: Path,
    name: str,
    source: Any,
    chunks: Sequence[int],
    dtype: np.dtype[Any],
    axes: Sequence[int] | None = None,
    convert: Callable[[Any], Array] = np.asarray,
    place: Place | None = None,
) -> Array:
    """Return an array of a file in memory or, where it is large, in a temporary file that goes with its last user.

    Parameters
    ----------
    file, name : Path, str
        For messages.
    source : array-like
        What has a shape, and gives a part for a tuple of slices: a dataset of HDF5, an array of zarr or NumPy.
    chunks : sequence of int
        The size of what is unpacked at once at least, along every axis.
    dtype : numpy.dtype
        Of the result, in this machine's byte order.
    axes : sequence of int, optional
        The order of the source's axes in the result; None leaves them. A large result lies in that order on the disk.
    convert : callable
        Makes numbers of a part, value by value.
    place : callable, optional
        Where a large one goes; None is `spread`.

    Returns
    -------
    numpy.ndarray
        A large one is read-only.

    Raises
    ------
    StorageError
        If the disk of temporary files has no room for a large one.
    DataError
        If it is larger than that disk.
    """
    order = tuple(range(len(source.shape))) if axes is None else tuple(axes)
    if not is_large(source.shape, dtype):
        return convert(source[...]).astype(dtype, copy=False).transpose(order)

    def fill(out: Array) -> None:
        view, done = out.transpose(np.argsort(order)), 0
        for tile in tiles(source.shape, chunks, dtype.itemsize):
            view[tile] = convert(source[tile])
            done += view[tile].nbytes
            report(file, done, out.nbytes)

    return (place or spread)(f"{file}: {name}", tuple(source.shape[axis] for axis in order), dtype, fill)


def filled(what: str, shape: tuple[int, ...], dtype: np.dtype[Any], fill: Fill) -> Array:
    """Return an array that a function fills, in memory or, where it is large, as `spread` does."""
    if is_large(shape, dtype):
        return spread(what, shape, dtype, fill)
    out = np.empty(shape, dtype)
    fill(out)
    return out


def spread(what: str, shape: tuple[int, ...], dtype: np.dtype[Any], fill: Fill) -> Array:
    """Return a large array that a function fills, mapped from a temporary file, or one that stands for it."""
    return _place.get()(what, shape, dtype, fill)


def on_disk(what: str, shape: tuple[int, ...], dtype: np.dtype[Any], fill: Fill) -> Array:
    """Return an array that a function fills, mapped from a temporary file: no end of this process leaves it behind.

    It is an ordinary array over the mapping: a `numpy.memmap` whose file has no name cannot be sent by joblib.
    """
    size, folder = math.prod(shape) * dtype.itemsize, tempfile.gettempdir()
    needs = f"{what}, shape {shape}, takes {size} bytes ({size / 1e9:.1f} GB) unpacked"
    _check_room(needs, size, folder)
    try:
        with tempfile.TemporaryFile(dir=folder) as place:
            reserve(place.fileno(), size)
            fill(np.ndarray(shape, dtype, buffer=mmap.mmap(place.fileno(), size)))
            return np.ndarray(shape, dtype, buffer=mmap.mmap(place.fileno(), size, access=mmap.ACCESS_READ))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(f"{needs}, and {folder} is full; {REMEDY}") from None
        raise


def _unfilled(what: str, shape: tuple[int, ...], dtype: np.dtype[Any], fill: Fill) -> Array:
    return np.broadcast_to(np.zeros((), dtype), shape)


_place: ContextVar[Place] = ContextVar("place", default=on_disk)


@contextmanager
def unfilled() -> Iterator[None]:
    """Have zeros, of which one is stored, stand for large arrays meanwhile, where only sizes are asked for."""
    before = _place.set(_unfilled)
    try:
        yield
    finally:
        _place.reset(before)


def reserve(descriptor: int, size: int) -> None:
    """Reserve room for a file, since writing to a mapped page that the disk has no room for ends the process."""
    getattr(os, "posix_fallocate", _written)(descriptor, 0, size)


def _written(descriptor: int, start: int, size: int) -> None:
    """Write zeros, where the system has no call for it."""
    zeros = memoryview(bytes(2**20))
    os.lseek(descriptor, start, os.SEEK_SET)
    while size:
        size -= os.write(descriptor, zeros[:size])


def _check_room(needs: str, size: int, folder: str) -> None:
    disk = shutil.disk_usage(folder)
    # A damaged header may announce anything, which is no fault of the disk.
    if size > disk.total:
        raise DataError(f"{needs}, and the disk of {folder} has {disk.total / 1e9:.1f} GB; {REMEDY}")
    if size > disk.free:
        raise StorageError(f"{needs}, and {folder} has {disk.free / 1e9:.1f} GB free; {REMEDY}")


def at_once(size: int) -> int:
    """Return how many of some bytes are unpacked at once: at least one."""
    return max(1, TILE // size)


def tiles(shape: Sequence[int], chunks: Sequence[int], itemsize: int) -> Iterator[tuple[slice, ...]]:
    """Yield the parts of an array that are made of whole chunks, as many as `TILE` bytes hold, the last axis first.

    Examples
    --------
    >>> from superpose.recordings.unpacking import tiles
    >>> list(tiles((3, 3), (2, 3), 2**23))
    [(slice(0, 2, None), slice(0, 3, None)), (slice(2, 3, None), slice(0, 3, None))]
    """
    step = [max(1, min(chunk, size)) for chunk, size in zip(chunks, shape, strict=True)]
    for axis in reversed(range(len(shape))):
        step[axis] = min(shape[axis], at_once(math.prod(step) * itemsize) * step[axis])
    for starts in itertools.product(*(range(0, size, by) for size, by in zip(shape, step, strict=True))):
        yield tuple(slice(start, min(start + by, size)) for start, by, size in zip(starts, step, shape, strict=True))
