"""A folder of results: the tables, the figure, the report, and the record of how they were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superpose.analysis.found import Analysis
from superpose.files import whole
from superpose.running.folders import RECORD
from superpose.running.provenance import threads, versions

if TYPE_CHECKING:
    from superpose.report import Passage

# What the page calls the tables whose files are called otherwise.
SHOWN_AS = {"alignment": "scores"}


def write(
    analysis: Analysis,
    folder: Path,
    record: Mapping[str, Any],
    *,
    title: str = "Alignment",
    stimuli: Mapping[str, Path | Passage] | None = None,
) -> None:
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
    stimuli : mapping of str to path or Passage, optional
        What samples are, by their names, for the report.
    """
    from superpose.report import write as write_page
    from superpose.report.plots import save

    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    provenance = {**record, "versions": versions(), "threads": threads()}
    tables = {"alignment": analysis.table}
    pictures = {"alignment": analysis.plot()}
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
    parts = replace(analysis, settings={**analysis.settings, **provenance}).reported
    files = {SHOWN_AS.get(name, name): [f"{name}.csv", f"{name}.parquet"] for name in tables}
    write_page(folder / "report.html", title=title, beside=files, stimuli=stimuli or {}, **parts)
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
