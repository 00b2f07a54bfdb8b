"""A folder of results: the tables, the figure, the report, and the record of how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superpose.analysis.found import Analysis
from superpose.running.folders import renew, write_record, write_tables
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

    renew(folder)
    provenance = {**record, "versions": versions(), "threads": threads()}
    tables = {"alignment": analysis.table}
    pictures = {"alignment": analysis.plot()}
    if analysis.content is not None:
        tables |= {"content": analysis.content.table, "features": analysis.content.features}
        pictures |= {"content": analysis.content.plot()}
    write_tables(folder, tables)
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
    write_record(folder, content)
