"""Chunks packed by Blosc: its reader (1.21) believes what a chunk says of its own length, and reads beyond its end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from superpose.files import DataError

HEADER = 16
CHECKSUM = 4
# What a shard says of a chunk that is not stored.
ABSENT = 2**64 - 1
Codecs = Sequence[Mapping[str, Any]]


def check_blosc(name: str, files: Iterable[Path], codecs: Codecs, chunks: int) -> None:
    """Raise a DataError if a chunk is not as long as it says.

    Parameters
    ----------
    name : str
        Of the array, for messages.
    files : iterable of Path
        Its chunks, or shards.
    codecs : sequence of mapping
        Names and settings in the order in which they pack, as zarr 3 lists them.
    chunks : int
        How many there are in a file: more than one in shards.
    """
    shards = codecs[-1]["name"] == "sharding_indexed" if codecs else False
    settings = codecs[-1].get("configuration", {}) if shards else {}
    inner = settings.get("codecs", []) if shards else codecs
    names = [str(codec["name"]).removeprefix("numcodecs.") for codec in inner]
    if "blosc" not in str(codecs):
        return
    index = [codec["name"] for codec in settings.get("index_codecs", [])]
    if names[-1] != "blosc" or (shards and index not in (["bytes"], ["bytes", "crc32c"])):
        raise DataError(f"{name} is packed by Blosc and again by {names[-1]!r}; expected Blosc last. Write it again.")
    for path in files:
        with open(path, "rb") as stream:
            size = path.stat().st_size
            for start, length in _pieces(stream, size, chunks, settings, len(index)) if shards else [(0, size)]:
                stream.seek(start)
                if length < HEADER or int.from_bytes(stream.read(HEADER)[12:], "little") != length:
                    raise DataError(f"{name} has a damaged chunk, {path.name}; copy it again.")


def _pieces(stream: Any, size: int, chunks: int, settings: Mapping[str, Any], codecs: int) -> Iterator[tuple[int, int]]:
    """Yield where the chunks of a shard lie and how long they are."""
    length = chunks * 16
    stream.seek(0 if settings.get("index_location") == "start" else max(0, size - length - CHECKSUM * (codecs - 1)))
    content = stream.read(length)
    if len(content) < length:
        yield 0, 0
        return
    for start, count in np.frombuffer(content, "<u8").reshape(-1, 2).tolist():
        if start != ABSENT:
            yield start, count if start + count <= size else 0


def chunks_of(shard: Sequence[int] | None, chunk: Sequence[int]) -> int:
    """Return how many chunks a file has."""
    return 1 if shard is None else math.prod(whole // part for whole, part in zip(shard, chunk, strict=True))
