"""A folder with one table: its files, its picture, and the record of how it was made."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superpose.running import folders

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

    folders.renew(folder)
    folders.write_tables(folder, tables)
    save(picture, folder / next(iter(tables)))
    content = {**record, "versions": versions(), "threads": threads()}
    if page is not None:
        beside = {name: [f"{name}.csv", f"{name}.parquet"] for name in tables}
        settings = {name: value for name, value in content.items() if name not in ("sentences", "notes", "warnings")}
        settings = {**settings.pop("settings"), **settings}
        write(folder / "report.html", warnings=record["warnings"], settings=settings, beside=beside, **page)
    folders.write_record(folder, content)
