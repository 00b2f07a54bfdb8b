"""Heaps of HDF5, where text of any length lies: the library (2.0) reads some damaged ones for ever."""

from __future__ import annotations

import mmap
from pathlib import Path

from superpose.files import DataError

# With its version, 1, and the three zeros behind it.
SIGNATURE = b"GCOL\x01\x00\x00\x00"
HEADER = 16


def check_heaps(file: Path) -> None:
    """Raise a DataError if an object of a heap has no size, as in a block of zeros; the whole file is searched."""
    with open(file, "rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(SIGNATURE)
        while start >= 0:
            if not _ends(data, start):
                raise DataError(f"{file} has a damaged block of text at byte {start}; copy the file again.")
            start = data.find(SIGNATURE, start + len(SIGNATURE))


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
