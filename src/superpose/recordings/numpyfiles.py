"""NumPy's files: .npy, mapped, and .npz."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from superpose.files import DataError
from superpose.recordings.choice import choose


def read_npy(file: Path, key: str | None) -> dict[str, Any]:
    """Read a .npy, mapped."""
    array = np.lib.format.open_memmap(file, mode="r")
    announced, size = array.offset + array.nbytes, file.stat().st_size
    if announced != size:
        raise DataError(f"{file} has {size} bytes where its header announces {announced}; write it again.")
    return {"responses": array}


def read_npz(file: Path, key: str | None) -> dict[str, Any]:
    """Read one array of a .npz, and the labels beside it."""
    # Opened here, because numpy leaves the file of a broken archive open.
    with open(file, "rb") as source:
        if source.read(2) != b"PK":
            raise DataError(f"{file} is not a zip archive, as a .npz file is; write it with numpy.savez.")
        source.seek(0)
        with np.load(source, allow_pickle=False) as archive:
            return choose(file, key, dict.fromkeys(archive.files), archive.__getitem__)
