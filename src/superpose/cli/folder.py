"""A folder with one table: its files, its picture, and the record of how it was made."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superpose.files import whole
from superpose.running.folders import RECORD

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def write_table(
    folder: Path,
    name: str,
    table: pd.DataFrame,
    picture: Figure,
    record: Mapping[str, Any],
    page: Mapping[str, Any],
) -> None:
    """Write NAME.parquet, .csv, .png, .svg and report.html, and last run.json, each whole or not at all; say where.

    `page` are the parts of `superpose.report.page` beside its warnings and settings.
    """
    write_tables(folder, {name: table}, picture, record, page)
    print(f"Written to {folder}: {name}.csv, .parquet, .png, .svg, report.html and run.json", file=sys.stderr)


def write_tables(
    folder: Path,
    tables: Mapping[str, pd.DataFrame],
    picture: Figure,
    record: Mapping[str, Any],
    page: Mapping[str, Any] | None = None,
) -> None:
    """Write each table as NAME.parquet and .csv, the picture under the name of the first, a page, and last run.json."""
    from superpose.report import write
    from superpose.report.plots import save
    from superpose.running.provenance import threads, versions

    folder.mkdir(parents=True, exist_ok=True)
    # An older run's record is removed first, so that none is ever beside another table.
    (folder / RECORD).unlink(missing_ok=True)
    for name, table in tables.items():
        with whole(folder / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
        with whole(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    save(picture, folder / next(iter(tables)))
    content = {**record, "versions": versions(), "threads": threads()}
    if page is not None:
        beside = {name: [f"{name}.csv", f"{name}.parquet"] for name in tables}
        settings = {name: value for name, value in content.items() if name not in ("sentences", "notes", "warnings")}
        settings = {**settings.pop("settings"), **settings}
        write(folder / "report.html", warnings=record["warnings"], settings=settings, beside=beside, **page)
    with whole(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
