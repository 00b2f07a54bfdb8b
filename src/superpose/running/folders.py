"""Folders of results: where a run may be written, its tables, and the record that makes a folder one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superpose.files import DataError, whole

if TYPE_CHECKING:
    import pandas as pd

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


def renew(folder: Path) -> None:
    """Make a folder, without the record of an older run, so that none is ever beside another table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write each table as NAME.parquet and NAME.csv, each whole or not at all."""
    for name, table in tables.items():
        with whole(folder / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
        with whole(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a run, after all else."""
    with whole(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")
