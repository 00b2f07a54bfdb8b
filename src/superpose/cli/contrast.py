"""`superpose contrast` and `partition`: which file is closer to another, and what each adds to the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from superpose.cli.intervals import INTERVALS, Samples, samples_of
from superpose.cli.reading import Axes, Missing, show_notes, told
from superpose.cli.show import show_table
from superpose.progress import Progress

# What fits on a terminal.
CONTRAST = ("system_a", "system_b", "metric", "difference", "low", "high", "p_adjusted")
PARTITION = ("part", "score", "low", "high", "p")

Json = Annotated[bool, Parameter(negative="")]


def contrast(
    *files: Path,
    to: str,
    groups: Path | None = None,
    axes: Axes = None,
    missing: Missing = None,
    cv: int = 5,
    seed: int = 0,
    interval_samples: Samples = INTERVALS,
    memory: str | None = None,
    json: Json = False,
) -> None:
    """Say which of several recordings is closer to one of them, for every two of the others.

    Prints a row a pair and metric: both scores, their difference with its 95 % interval and standard error, the
    two-sided p-value of no difference, and that p-value for all rows of the metric at once. Regressions predict the
    recording TO from the others.

    Parameters
    ----------
    files
        Three or more files of (samples, units), as superpose compare takes them.
    to
        The name of the file that the others are held against, without its ending.
    groups
        File of one label a row: what belongs together (sentence, trial, photograph), as for superpose compare.
    cv
        Folds of held-out regressions, drawn at random in whole groups.
    seed
        Seed of the folds, and of the rows that intervals are estimated from.
    interval_samples
        From how many rows, drawn at random, the width of intervals is estimated where there are more, or all: from
        5,000 it is known to one or two per cent.
    memory
        How much memory the sums behind scores may take, such as 512MB.
    json
        Print the rows as JSON.
    """
    from superpose.contrasts import contrast as contrasted

    systems, belonging = _read(files, groups, axes, missing)
    with Progress() as progress:
        table = contrasted(
            systems,
            to=to,
            cv=cv,
            seed=seed,
            groups=belonging,
            interval_samples=samples_of(interval_samples),
            memory=memory,
            progress=progress,
        )
    show_table(table, CONTRAST, as_json=json)


def partition(
    *files: Path,
    target: str,
    groups: Path | None = None,
    axes: Axes = None,
    missing: Missing = None,
    cv: int = 5,
    seed: int = 0,
    interval_samples: Samples = INTERVALS,
    memory: str | None = None,
    json: Json = False,
) -> None:
    """Say what each of several recordings explains of another that the rest do not.

    Held-out ridge regressions on each file alone, on all, and on all but one. Prints a row a part of the variance of
    TARGET: R², its 95 % interval and standard error, and the one-sided p-value that the part is no more than 0.

    Parameters
    ----------
    files
        Three or more files of (samples, units), as superpose compare takes them.
    target
        The name of the file that the others predict, without its ending.
    groups
        File of one label a row: what belongs together (sentence, trial, photograph), as for superpose compare.
    cv
        Folds of held-out regressions, drawn at random in whole groups.
    seed
        Seed of the folds, and of the rows that intervals are estimated from.
    interval_samples
        From how many rows, drawn at random, the width of intervals is estimated where there are more, or all: from
        5,000 it is known to one or two per cent.
    memory
        How much memory the sums behind scores may take, such as 512MB.
    json
        Print the rows as JSON.
    """
    from superpose.contrasts import partition as partitioned

    systems, belonging = _read(files, groups, axes, missing)
    with Progress() as progress:
        table = partitioned(
            systems,
            target=target,
            cv=cv,
            seed=seed,
            groups=belonging,
            interval_samples=samples_of(interval_samples),
            memory=memory,
            progress=progress,
        )
    show_table(table, PARTITION, as_json=json)


def _read(
    files: tuple[Path, ...], groups: Path | None, axes: str | None, missing: list[str] | None
) -> tuple[dict[str, Any], Any]:
    from superpose.analysis.inputs import read_groups, read_systems

    with Progress() as reading:
        found = read_systems(files, reading, **told(axes, missing))
    show_notes(found.notes)
    return found.arrays, found.groups if groups is None else read_groups(groups, missing=missing)
