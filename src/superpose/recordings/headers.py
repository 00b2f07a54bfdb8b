"""How large the responses in a file are, from its header alone."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from superpose.arrays import is_mapped
from superpose.files import DataError
from superpose.recordings import hdf5, zarrs
from superpose.recordings.asked import Asked
from superpose.recordings.axes import roles, samples_of
from superpose.recordings.choice import chosen
from superpose.recordings.columns import columns_of
from superpose.recordings.numpyfiles import array_header
from superpose.recordings.reading import existing, read, readable
from superpose.recordings.recording import Recording
from superpose.recordings.tables import pandas_index, titles_of
from superpose.recordings.unpacking import is_large, kept, unfilled

# As safetensors names them.
SAFE_TYPES = {"F16": "float16", "BF16": "float32", "F32": "float32"}


class Header(NamedTuple):
    """Samples and units, the type that responses have once they are read, and whether rows stay on the disk."""

    shape: tuple[int, ...]
    dtype: str
    mapped: bool


def header(
    path: str | os.PathLike[str], *, axes: Sequence[str] | None = None, missing: Collection[str] | None = None
) -> Header:
    """Read how large the responses of a file are, as `superpose.read` would give them.

    Only a text table, which has no header that counts its rows, is read to its end, and what netCDF, NWB, AnnData and
    MATLAB files hold of labels and small arrays.

    Parameters
    ----------
    path, axes, missing
        As `superpose.read` takes them. Of an array with an axis of repeats, the samples are its stimuli.

    Returns
    -------
    Header

    Raises
    ------
    DataError
        One line that names the file and the cause, whatever is wrong with it.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from superpose.recordings.headers import header
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/layer.npy", np.zeros((5, 3), dtype=np.float16))
    ...     header(f"{folder}/layer.npy")
    Header(shape=(5, 3), dtype='float16', mapped=True)
    """
    file, key = existing(path)
    asked = Asked(key, None if axes is None else roles(axes), missing)
    with readable(file):
        found = HEADERS.get(file.suffix.lower(), _read_whole)(file, asked)
        if len(found.shape) != 2 or 0 in found.shape:
            raise DataError(f"{file} has shape {found.shape}; expected (samples, units), at least one of each.")
        return found


def _read_whole(file: Path, asked: Asked) -> Header:
    path = file if asked.key is None else f"{file}:{asked.key}"
    content = read(path, axes=asked.axes, missing=asked.missing)
    responses = content.responses if isinstance(content, Recording) else content
    # Without strides, zeros stand for what would be unpacked.
    return Header(responses.shape, str(responses.dtype), is_mapped(responses) or not any(responses.strides))


def _read_but_large(file: Path, asked: Asked) -> Header:
    with unfilled():
        return _read_whole(file, asked)


def _of_npy(file: Path, asked: Asked) -> Header:
    with open(file, "rb") as stream:
        shape, _, dtype = array_header(stream)
        announced = stream.tell() + math.prod(shape) * dtype.itemsize
    there = os.path.getsize(file)
    if there < announced:
        raise DataError(f"{file} has {there} bytes and announces {announced}; it was cut off: write it again.")
    return _header(shape, dtype, asked, mapped=True)


def _of_npz(file: Path, asked: Asked) -> Header:
    with zipfile.ZipFile(file) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        with archive.open(f"{chosen(file, asked.key, dict.fromkeys(names))}.npy") as stream:
            shape, _, dtype = array_header(stream)
        return _header(shape, dtype, asked, mapped=False)


def _of_hdf5(file: Path, asked: Asked) -> Header:
    with hdf5.opened(file) as source:
        found = hdf5.datasets(source)
        dataset = found[chosen(file, asked.key, {name: dataset.ndim for name, dataset in found.items()})]
        if hdf5.is_plain(file, dataset):
            return _header(dataset.shape, dataset.dtype, asked, mapped=hdf5.in_one_piece(dataset))
    return _read_but_large(file, asked)


def _of_zarr(file: Path, asked: Asked) -> Header:
    arrays = zarrs.arrays_of(file)
    if arrays:
        array = arrays[chosen(file, asked.key, {name: array.ndim for name, array in arrays.items()})]
        if zarrs.is_plain(file, array):
            return _header(array.shape, array.dtype, asked, mapped=False)
    return _read_but_large(file, asked)


def _of_safetensors(file: Path, asked: Asked) -> Header:
    from safetensors import safe_open

    with safe_open(file, framework="np") as tensors:
        part = tensors.get_slice(chosen(file, asked.key, dict.fromkeys(tensors.keys())))
        return Header(samples_of(part.get_shape(), asked.axes), SAFE_TYPES.get(part.get_dtype(), "float64"), False)


def _of_parquet(file: Path, asked: Asked) -> Header:
    from pyarrow import parquet

    with parquet.ParquetFile(file) as source:
        schema, rows = source.schema_arrow, source.metadata.num_rows
        titles = titles_of(schema.metadata, schema.names)
        index, _ = pandas_index(schema.metadata, titles, rows)
        of = columns_of(str(file), titles, len(titles), index.values())
        return _header((rows, len(of.units)), np.dtype(np.float64), asked, mapped=False)


def _header(shape: tuple[int, ...], dtype: np.dtype[Any], asked: Asked, *, mapped: bool) -> Header:
    """Return the header of numbers that lie in a file as they are, or do not."""
    if dtype.kind not in "fiub":
        raise DataError(f"the responses are of type {dtype}; expected real numbers.")
    # What is converted as it is read is held, unless it is large.
    stays = (mapped and dtype == kept(dtype)) or is_large(shape, kept(dtype))
    return Header(samples_of(shape, asked.axes), kept(dtype).name, stays)


HEADERS: Mapping[str, Callable[[Path, Asked], Header]] = {
    ".npy": _of_npy,
    ".npz": _of_npz,
    ".parquet": _of_parquet,
    ".safetensors": _of_safetensors,
    ".h5": _of_hdf5,
    ".hdf5": _of_hdf5,
    ".zarr": _of_zarr,
    **dict.fromkeys((".nc", ".nwb", ".h5ad", ".mat"), _read_but_large),
}
