"""A figure reproduced into a folder: its table, its picture, its claims with their verdicts, and how it was made."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

import superpose.paper as paper
from superpose.arrays import choose
from superpose.files import whole
from superpose.paper.claims import judge
from superpose.paper.figure import Figure
from superpose.report.plots import save
from superpose.running.provenance import threads, versions
from superpose.studies.study import Progress


def figure(name: str) -> Figure:
    """Return what belongs to a figure, one of `superpose.paper.FIGURES`."""
    record: Figure = getattr(
        paper, choose(dict(zip(paper.FIGURES, paper.FIGURES, strict=True)), "a figure", name)
    ).FIGURE
    return record


def predicted(name: str, *, scale: str = "laptop", options: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Return how many cells a figure has, and what they cost where the figure can say so before it starts.

    Parameters
    ----------
    name, scale, options
        As in `reproduce`.

    Returns
    -------
    pandas.DataFrame
        One row a kind of work: work and cells; of figures that say more also flops, hours (of one core of this
        machine) and hours_gpu.

    Examples
    --------
    >>> from superpose.paper.reproduction import predicted
    >>> predicted("figure2", scale="smoke").columns.tolist()
    ['work', 'cells']
    """
    record = figure(name)
    study = record.at(scale, **(options or {}))
    if record.costs is not None:
        return record.costs(study)
    return pd.DataFrame({"work": [name], "cells": [len(study.cells)]})


def reproduce(
    name: str,
    folder: str | os.PathLike[str],
    *,
    scale: str = "laptop",
    options: Mapping[str, Any] | None = None,
    drawing: Mapping[str, Any] | None = None,
    engine: str = "serial",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Compute a figure, write everything that belongs to it, and return its claims with their verdicts.

    Writes NAME.parquet, NAME.csv, NAME.png, NAME.svg, NAME-claims.csv and NAME.json (settings, versions, threads,
    seconds); of figures with a summary also NAME-summary.csv. Finished cells are kept in `cells`: after an
    interruption, or at another scale, only those that are missing are computed.

    Parameters
    ----------
    name : str
        One of `superpose.paper.FIGURES`.
    folder : path-like
        Made if missing; several figures may share it.
    scale : {"smoke", "laptop", "paper"}
        Seconds, a minute, or the paper's number of draws.
    options : mapping, optional
        Options of the figure's `study`, over those of the scale.
    drawing : mapping, optional
        Options of the figure's `draw`.
    engine, progress
        As in `superpose.studies.study.Study.run`.

    Returns
    -------
    pandas.DataFrame
        As `superpose.paper.claims.judge` gives it.

    Raises
    ------
    DataError
        For an unknown figure or scale, or settings that cannot be.
    CellError
        If cells failed, after the others have finished.

    Examples
    --------
    >>> import tempfile
    >>> from superpose.paper.reproduction import reproduce
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     claims = reproduce("figure2", folder, scale="smoke")
    ...     files = sorted(path.name for path in Path(folder).glob("figure2*"))
    >>> files[:3], claims.verdict[6]
    (['figure2-claims.csv', 'figure2.csv', 'figure2.json'], 'holds')
    """
    started = time.perf_counter()
    chosen, place = figure(name), Path(folder)
    settings = chosen.settings(scale, **(options or {}))
    study = chosen.study(**settings)
    table = study.run(_cells(place), engine=engine, progress=progress)
    claims = judge(chosen.claims, table)
    with whole(place / f"{name}.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    written = {"": table, "-claims": claims}
    if chosen.summary is not None:
        written["-summary"] = chosen.summary(table)
    for suffix, rows in written.items():
        with whole(place / f"{name}{suffix}.csv") as temporary:
            rows.to_csv(temporary, index=False)
    save(chosen.draw(table, **(drawing or {})), place / name)
    record = {
        "figure": name,
        "scale": scale,
        "options": settings,
        "drawing": dict(drawing or {}),
        "engine": engine,
        "study": {key: value for key, value in asdict(study).items() if key not in ("measure", "cells")},
        "cells": len(study.cells),
        "claims": json.loads(claims.to_json(orient="records")),
        "seconds": round(time.perf_counter() - started, 1),
        "versions": versions(),
        "threads": threads(),
    }
    with whole(place / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")
    return claims


def share(
    name: str,
    folder: str | os.PathLike[str],
    shard: str,
    *,
    scale: str = "laptop",
    options: Mapping[str, Any] | None = None,
    engine: str = "serial",
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Compute a share of a figure's cells, and return how many of all cells are kept, and how many there are.

    Parameters
    ----------
    name, folder, scale, options, engine, progress
        As in `reproduce`.
    shard : str
        "i/N", as in `superpose.studies.study.Study.run`.

    Examples
    --------
    >>> import tempfile
    >>> from superpose.paper.reproduction import share
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     share("figure2", folder, "1/2", scale="smoke")
    (15, 30)
    """
    study = figure(name).at(scale, **(options or {}))
    cells = _cells(Path(folder))
    study.run(cells, engine=engine, shard=shard, progress=progress)
    return study.kept(cells), len(study.cells)


def _cells(folder: Path) -> Path:
    """Return where a figure's finished cells are kept."""
    return folder / "cells"
