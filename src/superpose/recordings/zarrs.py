"""Zarr stores: folders of chunks, version 2 or 3, read whole, or unpacked where they are large."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.axes import two_dimensional
from superpose.recordings.choice import choose
from superpose.recordings.completeness import check_stored
from superpose.recordings.packages import package
from superpose.recordings.unpacking import kept, unpacked

# Others are refused: a codec may run what it decodes, as that of pickles does.
CODECS = {
    *("bytes", "transpose", "sharding_indexed", "vlen-utf8", "vlen-bytes", "fixed_length_utf32"),
    *("blosc", "gzip", "zlib", "zstd", "lz4", "lzma", "bz2"),
    *("crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3"),
    *("shuffle", "delta", "fixedscaleoffset", "quantize", "bitround", "packbits", "astype"),
}
METADATA = {"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"}


def read_zarr(file: Path, key: str | None) -> dict[str, Any]:
    """Read one array of a store, and the labels in its group."""
    arrays = arrays_of(file)
    return choose(
        file,
        key,
        {name: array.ndim for name, array in arrays.items()},
        lambda name: _values(file, arrays[name]),
        lambda name: _labels(file, arrays[name]),
    )


def arrays_of(file: Path) -> dict[str, Any]:
    """Return the arrays of a store by name."""
    zarr = package("zarr", file)
    _keep_errors_single()
    node = zarr.open(store=str(file), mode="r")
    if isinstance(node, zarr.Array):
        return {file.stem: node}
    return {name: inner for name, inner in sorted(node.members(max_depth=None)) if isinstance(inner, zarr.Array)}


def _keep_errors_single() -> None:
    """Let zarr's own loop forget what it had begun when it met an error: it would print a traceback after our line."""
    from zarr.core.sync import sync

    async def forget() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)

    sync(forget())


def _values(file: Path, array: Any) -> NDArray[Any]:
    name = _checked(file, array, "iufb")
    if array.ndim > 2:
        two_dimensional(array, str(file))
    return unpacked(file, name, array, array.chunks, kept(array.dtype))


def _labels(file: Path, array: Any) -> NDArray[Any]:
    _checked(file, array, "iufbUSTO")
    return np.asarray(array[...])


def _checked(file: Path, array: Any, kinds: str) -> str:
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
    _check_complete(file, name, array)
    return name


def _codecs(metadata: Any) -> Iterator[str]:
    """Yield the names of all codecs of an array, those inside others included."""
    parts = [metadata.get(part) for part in ("codecs", "filters", "compressor", "storage_transformers", "index_codecs")]
    for codec in itertools.chain.from_iterable(part if isinstance(part, list | tuple) else [part] for part in parts):
        if codec is not None:
            yield str(codec.get("id") or codec.get("name"))
            yield from _codecs(codec.get("configuration") or {})


def _check_complete(file: Path, name: str, array: Any) -> None:
    folder = file / array.path
    grid = [range(-(-size // chunk)) for size, chunk in zip(array.shape, array.shards or array.chunks, strict=True)]
    expected = math.prod(map(len, grid))
    # Files are few; the chunks that a damaged shape announces would take for ever to ask for.
    stored = sum(path.is_file() and path.name not in METADATA for path in folder.rglob("*"))
    if stored >= expected:
        stored = sum((folder / array.metadata.encode_chunk_key(at)).is_file() for at in itertools.product(*grid))
    check_stored(file, name, stored, expected, array.fill_value)
