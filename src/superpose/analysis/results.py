"""A folder of results: the tables, the figure, the report, and the record of how they were made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from superpose.analysis.found import Analysis
from superpose.files import DataError, whole
from superpose.provenance import threads, versions

RECORD = "run.json"
# Metrics that the picture shows, and how many where others were asked for.
MAIN, MOST = ("cka_debiased", "ridge_r"), 3


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


def write(analysis: Analysis, folder: Path, record: Mapping[str, Any], *, title: str = "Alignment") -> None:
    """Write the tables, the pictures, report.html, and last run.json, each whole or not at all.

    Of scores, alignment.parquet, .csv, .png and .svg; of content, where it was found, content.parquet, .csv, .png and
    .svg, and features.parquet and .csv.

    Parameters
    ----------
    analysis : Analysis
        What was found.
    folder : pathlib.Path
        Where; made if missing. An older run's record is removed first, so that none is ever beside other tables.
    record : mapping
        What run.json holds beside the settings, versions, threads, sentences and warnings.
    title : str
        Heading of the report.
    """
    from superpose.plots import alignment, save

    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    provenance = {**record, "versions": versions(), "threads": threads()}
    tables = {"alignment": analysis.table}
    shown = [name for name in MAIN if name in set(analysis.table.metric)] or list(dict.fromkeys(analysis.table.metric))
    pictures = {"alignment": alignment(analysis.table, metrics=shown[:MOST])}
    if analysis.content is not None:
        tables |= {"content": analysis.content.table, "features": analysis.content.features}
        pictures |= {"content": analysis.content.plot()}
    for name, table in tables.items():
        with whole(folder / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
        with whole(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    for name, figure in pictures.items():
        save(figure, folder / name)
    replace(analysis, settings={**analysis.settings, **provenance}).report(folder / "report.html", title=title)
    of_content = {} if analysis.content is None else {"content": analysis.content.settings}
    content = {
        "settings": analysis.settings,
        **of_content,
        **provenance,
        "sentences": analysis.sentences,
        "warnings": list(analysis.warnings),
    }
    with whole(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
