"""Folders of results: where a run may be written, and the record that makes a folder one."""

from __future__ import annotations

import os
from pathlib import Path

from superpose.files import DataError

RECORD = "run.json"


def check_free(folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Return the folder, which may not exist yet, or raise a DataError if it holds another run or cannot be written."""
    path = Path(folder)
    nearest = next(place for place in (path, *path.absolute().parents) if os.path.exists(place))
    if not nearest.is_dir():
        raise DataError(f"{nearest} is a file; expected a directory for the results.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise DataError(f"{nearest} cannot be written to; choose another directory for the results.")
    if (path / RECORD).exists() and not overwrite:
        raise DataError(
            f"{path} already holds a run ({RECORD}); choose another --out, or pass --overwrite to replace it."
        )
    return path
