"""What a reader of tables of layers must know: units without signal, scores above ceilings, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from superpose.report.plots import metric_name

# So many are named, the others counted.
NAMED = 12


def warnings_of(table: pd.DataFrame, units: pd.DataFrame) -> tuple[str, ...]:
    """Return one sentence for each thing that a reader must know."""
    return (*_of_order(table), *_of_layers(table), *_of_units(units))


def _of_order(table: pd.DataFrame) -> Iterator[str]:
    names = list(dict.fromkeys(map(str, table.layer)))
    if names == sorted(names) != sorted(names, key=_natural):
        wrong = next(b for a, b in zip(names, sorted(names, key=_natural), strict=True) if a != b)
        yield (
            f"Layers stand in alphabetical order, in which {wrong} does not follow by its number; give them in the "
            "order of depth."
        )


def _natural(name: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _of_layers(table: pd.DataFrame) -> Iterator[str]:
    for metric, rows in table.groupby("metric", sort=False):
        for why, some in rows[(rows.why != "") & rows.why.notna()].groupby("why", sort=False):
            yield f"{metric_name(str(metric))}, {_listed(dict.fromkeys(some.layer))}: {why}."


def _of_units(units: pd.DataFrame) -> Iterator[str]:
    if units.empty:
        return
    timed = "time" in units
    for target, rows in units.groupby("target", sort=False):
        once = rows.drop_duplicates(["unit", "time"] if timed else "unit")
        count = f"{len(once)} units, times counted," if timed else f"{len(once)} units"
        weak = once[once.reliable == False]  # noqa: E712 - NaN where there are no trials
        if len(weak):
            yield (
                f"{target}: {len(weak)} of {count} show no reliable signal (F test of their trials, p > .05): "
                f"{_numbers(weak.unit)}; they have no score over ceiling, and do not count in its median."
            )
        for metric, some in rows[rows.ratio > 1].groupby("metric", sort=False):
            yield (
                f"{target}, {metric_name(str(metric))}: {len(some)} scores of units are above their ceiling, up to "
                f"{some.ratio.max():.2f} times it, from "
                f"{_listed(dict.fromkeys(some.layer))}: units {_numbers(some.unit)}; both are estimates."
            )
        still = once[once.score.isna()]
        if len(still):
            yield f"{target}: {len(still)} of {count} have no score: {_numbers(still.unit)}."


def _numbers(units: Iterable[int]) -> str:
    """Return numbers as runs, such as 1–3, 7."""
    numbers = sorted(map(int, np.unique(list(units))))
    runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    words = [str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs]
    return ", ".join(words[:NAMED]) + (" …" if len(words) > NAMED else "")


def _listed(names: Iterable[Any]) -> str:
    words = list(map(str, names))
    return ", ".join(words[:NAMED]) + (f" and {len(words) - NAMED} more" if len(words) > NAMED else "")
