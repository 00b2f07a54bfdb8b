"""Heaps of HDF5, where text of any length lies: the library (2.0) reads some damaged ones for ever, or for long."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from superpose.files import DataError

# With its version, 1, and the three zeros behind it.
SIGNATURE = b"GCOL\x01\x00\x00\x00"
HEADER = 16
# How a dataset refers to a text: its length, and where it lies.
REFERENCE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("index", "<u4")])


def check_heaps(file: Path) -> None:
    """Raise a DataError if an object of a heap has no size, as in a block of zeros; the whole file is searched."""
    with open(file, "rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(SIGNATURE)
        while start >= 0:
            if not _ends(data, start):
                raise DataError(f"{file} has a damaged block of text at byte {start}; copy the file again.")
            start = data.find(SIGNATURE, start + len(SIGNATURE))


def check_lengths(file: Path, dataset: Any) -> None:
    """Raise a DataError if a text is longer than its file: gigabytes would be made ready before it is looked for."""
    size = file.stat().st_size
    for start, count in _pieces(dataset):
        # What was cut off is told by who reads it.
        count = min(count, (size - start) // REFERENCE.itemsize)
        if count > 0 and np.memmap(file, REFERENCE, "r", start, (count,))["length"].max() > size:
            raise DataError(f"{file}: {dataset.name} has a text longer than the file, and is damaged; copy it again.")


def _pieces(dataset: Any) -> Iterator[tuple[int, int]]:
    """Yield where references lie and how many, unless they are packed: where they do, packing has sums of its own."""
    from h5py import h5d

    if dataset.id.get_create_plist().get_layout() == h5d.CONTIGUOUS:
        yield dataset.id.get_offset() or 0, dataset.size
    elif dataset.chunks and not dataset.id.get_create_plist().get_nfilters():
        for number in range(dataset.id.get_num_chunks()):
            chunk = dataset.id.get_chunk_info(number)
            yield chunk.byte_offset, chunk.size // REFERENCE.itemsize


def _ends(data: mmap.mmap, start: int) -> bool:
    """Return whether one comes to the end of a heap by stepping from object to object."""
    end = min(start + _number(data, start + 8, 8), len(data))
    at = start + HEADER
    while at + HEADER <= end:
        index, size = _number(data, at, 2), _number(data, at + 8, 8)
        # What is free has the number 0, and its size takes in the header.
        step = HEADER + -(-size // 8) * 8 if index else size
        if not step:
            return False
        at += step
    return True


def _number(data: mmap.mmap, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
