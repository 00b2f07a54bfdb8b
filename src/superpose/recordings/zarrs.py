"""Zarr stores: folders of chunks, version 2 or 3, read whole, or unpacked where they are large.

Whatever reads them, xarray's and AnnData's among them, first has the codecs and chunks of an array checked here.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.asked import Asked
from superpose.recordings.assemblies import Variable, picked
from superpose.recordings.blosc import check_blosc, chunks_of
from superpose.recordings.completeness import check_stored
from superpose.recordings.conventions import ATTRIBUTES, FLOATING, Convert, conversion, meanings
from superpose.recordings.h5ad import Storage, is_anndata, read_anndata
from superpose.recordings.packages import package
from superpose.recordings.unpacking import kept, on_disk, unpacked

# Others are refused: a codec may run what it decodes, as that of pickles does.
CODECS = {
    *("bytes", "transpose", "sharding_indexed", "vlen-utf8", "vlen-bytes", "fixed_length_utf32"),
    *("blosc", "gzip", "zlib", "zstd", "lz4", "lzma", "bz2"),
    *("crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3"),
    *("shuffle", "delta", "fixedscaleoffset", "quantize", "bitround", "packbits", "astype"),
}
METADATA = {"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"}


def read_zarr(file: Path, asked: Asked) -> dict[str, Any]:
    """Read one array of a store, and the labels in its group, or along its axes where those have names."""
    node = _root(file)
    if is_anndata(node):
        return read_anndata(file, node, asked.key, Storage(_children, _matrix, _whole, _labels))
    return picked(file, asked, {name: _variable(file, array) for name, array in _arrays(file, node).items()})


def arrays_of(file: Path) -> dict[str, Any]:
    """Return the arrays of a store by name, of which there are none where AnnData keeps its own."""
    node = _root(file)
    return {} if is_anndata(node) else _arrays(file, node)


def is_plain(file: Path, array: Any) -> bool:
    """Return whether a store says nothing of an array's numbers and axes, so that its header tells all."""
    return not axes_of(array) and conversion(file, array.dtype, _attributes(array), _fill(array)) is np.asarray


def _root(file: Path) -> Any:
    zarr = package("zarr", file)
    _keep_errors_single()
    return zarr.open(store=str(file), mode="r")


def _arrays(file: Path, node: Any) -> dict[str, Any]:
    from zarr import Array

    if isinstance(node, Array):
        return {file.stem: node}
    return {name: inner for name, inner in sorted(node.members(max_depth=None)) if isinstance(inner, Array)}


def _children(group: Any) -> dict[str, Any]:
    from zarr import Group

    return dict(group.members()) if isinstance(group, Group) else {}


def axes_of(array: Any) -> tuple[str, ...]:
    """Return the names of an array's axes; () if it has none, and numbers for the others if it has some."""
    given = array.attrs.get("_ARRAY_DIMENSIONS") or getattr(array.metadata, "dimension_names", None) or ()
    if not any(given) or len(given) != array.ndim:
        return ()
    return tuple(str(name or f"axis {axis}") for axis, name in enumerate(given))


def _attributes(array: Any) -> dict[str, Any]:
    """Return what a store says of an array's numbers, as xarray writes it."""
    said = {name: array.attrs[name] for name in ATTRIBUTES if array.attrs.get(name) is not None}
    if array.metadata.zarr_format == 2 and axes_of(array) and array.fill_value is not None:
        said["_FillValue"] = array.fill_value
    elif isinstance(said.get("_FillValue"), str) and array.dtype.kind == "f":
        said["_FillValue"] = np.frombuffer(base64.standard_b64decode(said["_FillValue"]), "<f8")[0]
    return said


def _fill(array: Any) -> Any:
    """Return netCDF's default fill where an array may come of such a file; whole numbers may well be the like."""
    return FLOATING if axes_of(array) and array.dtype.kind == "f" and array.dtype.itemsize > 2 else None


def _variable(file: Path, array: Any) -> Variable:
    axes, shape = axes_of(array), array.shape
    if array.dtype == "S1" and (axes or array.ndim > 1):
        # The last axis is that of the letters.
        axes, shape = axes[:-1], shape[:-1]
    return Variable(axes, shape, lambda order: _matrix(file, array, order), lambda: _labels(file, array))


def _keep_errors_single() -> None:
    """Let zarr's own loop forget what it had begun when it met an error: it would print a traceback after our line."""
    from zarr.core.sync import sync

    async def forget() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)

    sync(forget())


def _matrix(file: Path, array: Any, axes: Sequence[int] | None = None) -> NDArray[Any]:
    convert = conversion(file, array.dtype, _attributes(array), _fill(array))
    name = _checked(file, array, "iufb", convert)
    dtype = kept(convert(np.empty(0, array.dtype)).dtype)
    return unpacked(file, name, array, array.chunks, dtype, axes, convert)


def _whole(file: Path, array: Any) -> NDArray[Any]:
    name = _checked(file, array, "iufb")
    return unpacked(file, name, array, array.chunks, array.dtype.newbyteorder("="), place=on_disk)


def _labels(file: Path, array: Any) -> NDArray[Any]:
    _checked(file, array, "iufbmMUSTO")
    return meanings(file, array[...], _attributes(array), _fill(array))


def _checked(file: Path, array: Any, kinds: str, convert: Convert = np.asarray) -> str:
    """Return the name of an array of which all can be read."""
    name: str = array.path or file.stem
    unknown = sorted(
        {codec for codec in _codecs(array.metadata.to_dict()) if codec.removeprefix("numcodecs.") not in CODECS}
    )
    if unknown:
        raise DataError(
            f"{file}: {name} is packed by {unknown[0][:40]!r}; expected one of {', '.join(sorted(CODECS))}."
        )
    if array.dtype.kind not in kinds:
        raise DataError(f"{file}: {name} holds values of type {array.dtype}; expected real numbers.")
    _check_complete(file, name, array, convert)
    return name


def _packing(array: Any) -> list[dict[str, Any]]:
    """Return the codecs of an array in the order in which they pack."""
    metadata = array.metadata.to_dict()
    if array.metadata.zarr_format == 3:
        return list(metadata["codecs"])
    codecs = [*(metadata.get("filters") or ()), metadata.get("compressor")]
    return [{"name": codec["id"]} for codec in codecs if codec is not None]


def _codecs(metadata: Any) -> Iterator[str]:
    """Yield the names of all codecs of an array, those inside others included."""
    parts = [metadata.get(part) for part in ("codecs", "filters", "compressor", "storage_transformers", "index_codecs")]
    for codec in itertools.chain.from_iterable(part if isinstance(part, list | tuple) else [part] for part in parts):
        if codec is not None:
            yield str(codec.get("id") or codec.get("name"))
            yield from _codecs(codec.get("configuration") or {})


def _check_complete(file: Path, name: str, array: Any, convert: Convert) -> None:
    folder = file / array.path
    grid = [range(-(-size // chunk)) for size, chunk in zip(array.shape, array.shards or array.chunks, strict=True)]
    expected = math.prod(map(len, grid))
    # Files are few; the chunks that a damaged shape announces would take for ever to ask for.
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in METADATA]
    stored = len(files)
    check_blosc(f"{file}: {name}", files, _packing(array), chunks_of(array.shards, array.chunks))
    if stored >= expected:
        stored = sum((folder / array.metadata.encode_chunk_key(at)).is_file() for at in itertools.product(*grid))
    if stored < expected:
        fill = array.fill_value
        if array.dtype.kind in "iuf" and fill is not None:
            fill = convert(np.array([fill], array.dtype))[0]
        check_stored(file, name, stored, expected, fill)
