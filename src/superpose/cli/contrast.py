"""`superpose contrast` and `partition`: which file is closer to another, and what each adds to the rest."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from superpose.cli.arguments import INTERVALS, Folds, Groups, Json, Memory, Out, Overwrite, Samples, samples_of
from superpose.cli.folder import write_table
from superpose.cli.reading import Axes, Missing, check_files, named_target, read_paired, record_of, told
from superpose.cli.show import show_table
from superpose.running.folders import check_free
from superpose.running.progress import Progress

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Options of one version ago.
Old = Annotated[str | None, Parameter(show=False)]


class Question(NamedTuple):
    """What is asked of files beside a target: how it is measured, drawn, said and printed, and its place on a page."""

    name: str
    title: str
    section: str
    measure: Callable[..., pd.DataFrame]
    sentences: Callable[[pd.DataFrame], list[str]]
    picture: Callable[[pd.DataFrame], Figure]
    printed: Callable[[pd.DataFrame], pd.DataFrame]


def contrast(
    *files: Path,
    target: str | None = None,
    out: Out = None,
    metrics: str = "cka_debiased,rsa,ridge_r,ridge_r2",
    groups: Groups = None,
    axes: Axes = None,
    missing: Missing = None,
    cv: Folds = 5,
    seed: int = 0,
    interval_samples: Samples = INTERVALS,
    memory: Memory = None,
    json: Json = False,
    overwrite: Overwrite = False,
    to: Old = None,
) -> None:
    """Test which of two recordings is closer to a target, for every pair of several.

    Prints one sentence per pair with both scores, then one row per pair and metric: the difference of the scores, its
    95 % interval and its two-sided p-value, corrected over the rows of the metric (Holm). Regressions predict the
    target from the others. With --out, writes contrast.parquet, .csv, .png and .svg, report.html and run.json
    (settings, versions, digests of the files).

    Parameters
    ----------
    files
        Three or more files of (samples, units), as superpose compare takes them.
    target
        Name of the file that the others are compared with, without extension; required.
    metrics
        Metrics, separated by commas, named as in tables.
    seed
        Seed of the folds, and of the rows used to estimate intervals.
    """
    if to is not None:
        print("superpose: --to is now --target.", file=sys.stderr)
    settings = {"target": target or to, "metrics": metrics.split(","), "cv": cv, "seed": seed, "memory": memory}
    settings["interval_samples"] = samples_of(interval_samples)
    _answer(_closer, files, settings, told(axes, missing), groups, out=out, as_json=json, overwrite=overwrite)


def partition(
    *files: Path,
    target: str | None = None,
    out: Out = None,
    metrics: str = "ridge_r2",
    groups: Groups = None,
    axes: Axes = None,
    missing: Missing = None,
    cv: Folds = 5,
    seed: int = 0,
    interval_samples: Samples = INTERVALS,
    memory: Memory = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Estimate what each of several recordings explains of another beyond the rest.

    Held-out ridge regressions use each file alone, all files, and all but one. Prints one row per part of the target's
    variance: R², its 95 % interval and standard error, and the one-sided p-value that the part does not exceed 0; then
    an interpretation. With --out, writes partition.parquet, .csv, .png and .svg, report.html and run.json (settings,
    versions, digests of the files).

    Parameters
    ----------
    files
        Three or more files of (samples, units), as superpose compare takes them.
    target
        Name of the file that the others predict, without extension; required.
    metrics
        Regressions, separated by commas, named as in tables. Parts of r are not additive. banded_r2 gives each file its
        own penalty.
    seed
        Seed of the folds, and of the rows used to estimate intervals.
    """
    settings = {"target": target, "metrics": metrics.split(","), "cv": cv, "seed": seed, "memory": memory}
    settings["interval_samples"] = samples_of(interval_samples)
    _answer(_explains, files, settings, told(axes, missing), groups, out=out, as_json=json, overwrite=overwrite)


def _closer() -> Question:
    from superpose.cli.terminal import differences
    from superpose.comparison.contrasts import contrast as measure
    from superpose.report.differences import contrast_picture, contrast_sentences

    title = "Which is closer to {}?"
    return Question("contrast", title, "contrasts", measure, contrast_sentences, contrast_picture, differences)


def _explains() -> Question:
    from superpose.cli.terminal import parts
    from superpose.comparison.partitions import partition as measure
    from superpose.report.differences import partition_picture, partition_sentences

    title = "What explains {}?"
    return Question("partition", title, "partition", measure, partition_sentences, partition_picture, parts)


def _answer(
    question: Callable[[], Question],
    files: Sequence[Path],
    settings: dict[str, Any],
    how: dict[str, Any],
    groups: Path | None,
    *,
    out: Path | None,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Measure files beside their target, write the table where a folder is given, and print it."""
    check_files(files, fewest=2)
    asked = question()
    folder = None if out is None else check_free(out, overwrite=overwrite)
    target = named_target(settings["target"])
    started = time.perf_counter()
    read = read_paired(files, how, groups=groups)
    with Progress() as progress:
        table = asked.measure(read.arrays, groups=read.groups, progress=progress, **settings)
    sentences = asked.sentences(table)
    if folder is not None:
        record = {"settings": settings, "warnings": read.notes.lost, **record_of(read, started, groups=groups)}
        page = {"title": asked.title.format(target), "sentences": sentences, asked.section: table}
        write_table(folder, asked.name, table, asked.picture(table), {**record, "sentences": sentences}, page)
    show_table(table, asked.printed(table), sentences, as_json=as_json)
