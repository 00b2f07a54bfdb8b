"""Whether what has to be read whole fits in memory, asked before it is read."""

from __future__ import annotations

import math
import os
from pathlib import Path

from superpose.files import DataError


def check_room(file: Path, name: str, shape: tuple[int, ...], itemsize: int) -> None:
    """Raise a DataError that says the size of an array, if the machine's memory is smaller."""
    size, memory = math.prod(shape) * itemsize, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise DataError(
            f"{file}: {name}, shape {shape}, takes {size / 1e9:.1f} GB, and this machine has {memory / 1e9:.1f}; an "
            "array in chunks, packed or sparse is read whole. Keep it as a contiguous HDF5 dataset or a .npy."
        )


def check_stored(file: Path, name: str, stored: int, expected: int, fill: object) -> None:
    """Raise a DataError if chunks are not there that would be read as numbers; one of NaN is told as such later."""
    if stored < expected and fill == fill:
        raise DataError(
            f"{file}: {expected - stored} of {expected} chunks of {name} are not stored, and would be read as {fill}; "
            "they are lost, or hold nothing else and were left out. Copy the file again, or write it with every chunk "
            "(zarr: write_empty_chunks=True)."
        )
