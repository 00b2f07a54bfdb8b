"""Zarr stores: folders of chunks, version 2 or 3, read whole."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.choice import choose
from superpose.recordings.packages import package
from superpose.recordings.room import check_room, check_stored

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
    zarr = package("zarr", file)
    node = zarr.open(store=str(file), mode="r")
    arrays = {file.stem: node} if isinstance(node, zarr.Array) else _members(node, zarr.Array)
    return choose(
        file,
        key,
        {name: array.ndim for name, array in arrays.items()},
        lambda name: _values(file, arrays[name], "iufb"),
        lambda name: _values(file, arrays[name], "iufbUSTO"),
    )


def _members(group: Any, kind: type) -> dict[str, Any]:
    return {name: node for name, node in sorted(group.members(max_depth=None)) if isinstance(node, kind)}


def _values(file: Path, array: Any, kinds: str) -> NDArray[Any]:
    name = array.path or file.stem
    unknown = sorted(
        {codec for codec in _codecs(array.metadata.to_dict()) if codec.removeprefix("numcodecs.") not in CODECS}
    )
    if unknown:
        raise DataError(
            f"{file}: {name} is packed by {unknown[0][:40]!r}; expected one of {', '.join(sorted(CODECS))}."
        )
    if array.dtype.kind not in kinds:
        raise DataError(f"{file}: {name} holds values of type {array.dtype}; expected real numbers.")
    check_room(file, name, array.shape, array.dtype.itemsize)
    _check_complete(file, name, array)
    return np.asarray(array[...])


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
