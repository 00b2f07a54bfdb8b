"""`superpose contrast` and `partition`: which file is closer to another, and what each adds to the rest."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from superpose.cli.folder import write_table
from superpose.cli.intervals import INTERVALS, Samples, samples_of
from superpose.cli.reading import Axes, Missing, check_files, show_notes, told
from superpose.cli.show import show_table
from superpose.files import DataError, argument, sha256
from superpose.running.folders import check_free
from superpose.running.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

Flag = Annotated[bool, Parameter(negative="")]
# Options of one version ago.
Old = Annotated[str | None, Parameter(show=False)]


def contrast(
    *files: Path,
    target: str | None = None,
    out: Path | None = None,
    metrics: str = "cka_debiased,rsa,ridge_r,ridge_r2",
    groups: Path | None = None,
    axes: Axes = None,
    missing: Missing = None,
    cv: int = 5,
    seed: int = 0,
    interval_samples: Samples = INTERVALS,
    memory: str | None = None,
    json: Flag = False,
    overwrite: Flag = False,
    to: Old = None,
) -> None:
    """Say which of several recordings is closer to one of them, for every two of the others.

    Prints one sentence per pair with both scores, then one row per pair and metric: the difference of the scores, its
    95 % interval and its two-sided p-value, corrected over the rows of the metric (Holm). Regressions predict the
    target from the others. With --out, writes contrast.parquet, .csv, .png and .svg, report.html and run.json
    (settings, versions, digests of the files).

    Parameters
    ----------
    files
        Three or more files of (samples, units), as superpose compare takes them.
    target
        Name of the file that the others are compared with, without its ending; required.
    out
        Directory of the results; it must not hold another run.
    metrics
        What to score by, separated by commas: names as in tables.
    groups
        File of one label a row: what belongs together (sentence, trial, photograph), as for superpose compare.
    cv
        Folds of held-out regressions, drawn at random in whole groups.
    seed
        Seed of the folds, and of the rows that intervals are estimated from.
    interval_samples
        Number of test samples used for interval widths, drawn at random, or all: 5,000 estimate the standard error to
        1–2 %.
    memory
        How much memory the sums behind scores may take, such as 512MB.
    json
        Print the rows and sentences as JSON.
    overwrite
        Replace the run that the output directory holds.
    """
    check_files(files, fewest=2)

    from superpose.cli.terminal import differences
    from superpose.comparison.contrasts import contrast as contrasted
    from superpose.report.differences import contrast_picture, contrast_sentences

    if to is not None:
        print("superpose: --to is called --target now.", file=sys.stderr)
    settings = {"target": target or to, "metrics": metrics.split(","), "cv": cv, "seed": seed, "memory": memory}
    settings["interval_samples"] = samples_of(interval_samples)
    folder = None if out is None else check_free(out, overwrite=overwrite)
    table, record = _measured(contrasted, files, groups, told(axes, missing), settings)
    sentences = contrast_sentences(table)
    if folder is not None:
        page = {"title": f"Which is closer to {settings['target']}?", "sentences": sentences, "contrasts": table}
        write_table(folder, "contrast", table, contrast_picture(table), {**record, "sentences": sentences}, page)
    show_table(table, differences(table), sentences, as_json=json)


def partition(
    *files: Path,
    target: str | None = None,
    out: Path | None = None,
    metrics: str = "ridge_r2",
    groups: Path | None = None,
    axes: Axes = None,
    missing: Missing = None,
    cv: int = 5,
    seed: int = 0,
    interval_samples: Samples = INTERVALS,
    memory: str | None = None,
    json: Flag = False,
    overwrite: Flag = False,
) -> None:
    """Say what each of several recordings explains of another that the rest do not.

    Held-out ridge regressions on each file alone, on all, and on all but one. Prints a row a part of the variance of
    the target: R², its 95 % interval and standard error, and the one-sided p-value that the part is no more than 0;
    then what they mean. With --out, writes partition.parquet, .csv, .png and .svg, report.html and run.json
    (settings, versions, digests of the files).

    Parameters
    ----------
    files
        Three or more files of (samples, units), as superpose compare takes them.
    target
        The name of the file that the others predict, without its ending; needed.
    out
        Directory of the results; it must not hold another run.
    metrics
        Regressions to score by, separated by commas: names as in tables. Parts of r do not add up. banded_r2 gives each
        file a penalty of its own.
    groups
        File of one label a row: what belongs together (sentence, trial, photograph), as for superpose compare.
    cv
        Folds of held-out regressions, drawn at random in whole groups.
    seed
        Seed of the folds, and of the rows that intervals are estimated from.
    interval_samples
        Number of test samples used for interval widths, drawn at random, or all: 5,000 estimate the standard error to
        1–2 %.
    memory
        How much memory the sums behind scores may take, such as 512MB.
    json
        Print the rows and sentences as JSON.
    overwrite
        Replace the run that the output directory holds.
    """
    check_files(files, fewest=2)

    from superpose.cli.terminal import parts
    from superpose.comparison.partitions import partition as partitioned
    from superpose.report.differences import partition_picture, partition_sentences

    settings = {"target": target, "metrics": metrics.split(","), "cv": cv, "seed": seed, "memory": memory}
    settings["interval_samples"] = samples_of(interval_samples)
    folder = None if out is None else check_free(out, overwrite=overwrite)
    table, record = _measured(partitioned, files, groups, told(axes, missing), settings)
    sentences = partition_sentences(table)
    if folder is not None:
        page = {"title": f"What explains {settings['target']}?", "sentences": sentences, "partition": table}
        write_table(folder, "partition", table, partition_picture(table), {**record, "sentences": sentences}, page)
    show_table(table, parts(table), sentences, as_json=json)


def _measured(
    measure: Callable[..., pd.DataFrame],
    files: tuple[Path, ...],
    groups: Path | None,
    how: dict[str, Any],
    settings: dict[str, Any],
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the table of files, and the record of how it was made."""
    from superpose.analysis.inputs import read_groups, read_systems

    if settings["target"] is None:
        raise DataError(f"{argument('target')} is missing; expected the name of one of the files, without its ending.")
    started = time.perf_counter()
    with Progress() as reading:
        found = read_systems(files, reading, **how)
    show_notes(found.notes)
    belonging = found.groups if groups is None else read_groups(groups, missing=how["missing"])
    with Progress() as progress:
        table = measure(found.arrays, groups=belonging, progress=progress, **settings)
    record = {
        "settings": settings,
        "inputs": found.inputs,
        "notes": [*found.notes.labels, *found.notes.averaged],
        "warnings": found.notes.lost,
        "seconds": round(time.perf_counter() - started, 1),
    }
    if groups is not None:
        record["groups"] = {"path": str(groups), "sha256": sha256(groups)}
    return table, record
