"""The rows of a table of scores: each with its interval and its null."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.comparison.columns import COLUMNS, calibrated
from superpose.comparison.design import Design
from superpose.comparison.nulls import null_columns, null_distributions
from superpose.comparison.pairs import Block, Directions, Pair, null_mean_of, outcome_of
from superpose.statistics import FEWEST

Array = NDArray[Any]

EXACT_NULL = "null: exact mean over all re-pairings of samples, folds and groups aside"


def pair_scores(
    directions: Directions,
    originals: tuple[Array, Array],
    blocks: Sequence[Block],
    *,
    metrics: Sequence[Any],
    design: Design,
) -> list[tuple[dict[str, Any], Array | None]]:
    """Return a row for each metric and direction, and the scores of its re-pairings."""
    nulls = null_distributions(directions, originals, metrics, design, blocks)
    scored = []
    for metric in metrics:
        for number, ordered in enumerate(directions if metric.directed else directions[:1]):
            null = nulls.get((metric.name, number))
            given = originals[::-1] if number else originals
            scored.append((_row(ordered, metric, null, given, design), null))
    return scored


def _row(
    pair: Pair,
    metric: Any,
    null: Array | None,
    originals: tuple[Array, Array],
    design: Design,
) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan)
    row |= {
        "system_a": pair.names[0],
        "system_b": pair.names[1],
        "metric": metric.name,
        "directed": metric.directed,
        "samples": design.count,
        "units_a": pair.units[0],
        "units_b": pair.units[1],
    }
    score, influence, reason = outcome_of(pair, metric, originals, design)
    row["score"], why = score, [reason] if reason else []
    if influence is not None:
        sure = design.drawn.uncertainty(score, influence, metric.bounds)
        row |= sure.columns
        if sure.groups < 2:
            why.append("no interval: all that is scored is of one group")
    if np.isfinite(score) and not design.permutations and getattr(metric, "null_mean", None) is not None:
        row["null"] = null_mean_of(pair, metric)
        why.append(EXACT_NULL)
    if null is not None and np.isfinite(row["score"]):
        row |= null_columns(row["score"], null, closer_sign(metric), design, why)
    if np.isfinite(row["null"]):
        row["calibrated"] = float(calibrated(row["score"], row["null"], 1.0 if closer_sign(metric) > 0 else 0.0))
    if design.permutations and not design.repairings.enough(design.plan.held_out):
        why.append(f"no null: fewer than {FEWEST} distinct re-pairings of what is scored")
    return row | {"why": "; ".join(why)}


def closer_sign(metric: Any) -> float:
    """Return 1 for a score that is higher for closer systems, and -1 for a distance."""
    return 1.0 if getattr(metric, "higher_is_closer", True) else -1.0
