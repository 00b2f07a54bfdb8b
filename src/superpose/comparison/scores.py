"""The rows of a table of scores, each with its interval and its null, and their columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.comparison.design import Design
from superpose.comparison.nulls import Null, null_columns
from superpose.comparison.pairs import Pair, Part, Way, null_mean_of, outcome_of
from superpose.statistics.permutations import FEWEST

Array = NDArray[Any]

IDENTITY = ("system_a", "system_b", "metric", "directed")
OF_NULL = ("null", "null_low", "null_high", "p", "p_adjusted", "calibrated")
SCORES = ("score", "low", "high", "error", *OF_NULL)
SIZES = ("samples", "units_a", "units_b")
COLUMNS = (*IDENTITY, *SCORES, "split", "null_kind", *SIZES, "why")


def calibrated(score: Any, null: Any, best: float = 1.0) -> Any:
    """Return where scores lie between their null, 0, and that of identical systems, 1 (Hubert & Arabie 1985)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(null == best, np.nan, np.subtract(score, null) / np.subtract(best, null))


EXACT_NULL = "exact mean over all permutations of samples, folds and groups aside"


def score_rows(part: Part, design: Design) -> dict[Way, dict[str, Any]]:
    """Return the row of each metric and direction, without its null over permutations."""
    return {
        (metric.name, way): _row(part.directions[way], metric, part.originals[::-1] if way else part.originals, design)
        for metric, ways in part.metrics
        for way in ways
    }


def unscored(
    names: tuple[str, str], units: tuple[int, int], metrics: Sequence[Any], design: Design, why: str
) -> list[dict[str, Any]]:
    """Return the rows of a pair of which there is no score, for the same reason by every metric."""
    return [
        _blank(names[::step], units[::step], metric, design) | {"why": why}
        for metric in metrics
        for step in (1, -1)[: len(design.ways(metric))]
    ]


def _blank(names: tuple[str, ...], units: tuple[int, ...], metric: Any, design: Design) -> dict[str, Any]:
    return dict.fromkeys(COLUMNS, np.nan) | {
        "system_a": names[0],
        "system_b": names[1],
        "metric": metric.name,
        "directed": metric.directed,
        "split": design.split,
        "null_kind": "",
        "samples": design.count,
        "units_a": units[0],
        "units_b": units[1],
    }


def _row(pair: Pair, metric: Any, originals: tuple[Array, Array], design: Design) -> dict[str, Any]:
    row = _blank(pair.names, pair.units, metric, design)
    score, influence, reason = outcome_of(pair, metric, originals, design)
    row["score"], why = score, [reason] if reason else []
    if influence is not None:
        sure = design.drawn.uncertainty(score, influence, metric.bounds)
        row |= sure.columns
        if sure.groups < 2:
            why.append("no interval: all that is scored is of one group")
    if np.isfinite(score) and not design.permutations and getattr(metric, "null_mean", None) is not None:
        null = null_mean_of(pair, metric)
        row |= {"null": null, "calibrated": _calibrated(score, null, metric), "null_kind": EXACT_NULL}
    return row | {"why": "; ".join(why)}


@dataclass(frozen=True)
class Scored:
    """A row of the table, and the null behind it, if there is one."""

    row: dict[str, Any]
    null: Null | None = None


def joined(metric: Any, row: dict[str, Any], null: Null | None, design: Design) -> Scored:
    """Return a metric's row with what permutations say of its score, where there were any."""
    return Scored(_with_null(row, null, metric, design), null) if design.permutations else Scored(row)


def _with_null(row: dict[str, Any], null: Null | None, metric: Any, design: Design) -> dict[str, Any]:
    why = [row["why"]] if row["why"] else []
    found: dict[str, Any] = {}
    if null is not None and np.isfinite(row["score"]):
        found = null_columns(null, closer_sign(metric), design)
        if found:
            found["calibrated"] = _calibrated(null.score, found["null"], metric)
        else:
            why.append("no null: no score over permutations exists")
    if not design.exchange.enough(design.plan.held_out):
        why.append(f"no null: fewer than {FEWEST} distinct permutations of what is scored")
    return row | found | {"why": "; ".join(why)}


def _calibrated(score: float, null: float, metric: Any) -> float:
    return float(calibrated(score, null, 1.0 if closer_sign(metric) > 0 else 0.0))


def closer_sign(metric: Any) -> float:
    """Return 1 for a score that is higher for closer systems, and -1 for a distance."""
    return 1.0 if getattr(metric, "higher_is_closer", True) else -1.0
