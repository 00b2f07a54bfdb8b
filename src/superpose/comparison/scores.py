"""The rows of a table of scores: each with its interval and its null."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.comparison.columns import COLUMNS, calibrated
from superpose.comparison.design import Design
from superpose.comparison.nulls import null_columns, null_distributions
from superpose.comparison.pairs import Block, Directions, Pair, drawn_influence, influence_of, sums_of
from superpose.metrics import MomentMetric
from superpose.metrics.metric import NO_INTERVAL
from superpose.statistics import FEWEST, interval

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
    scored = design.count
    row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan)
    row |= {
        "system_a": pair.names[0],
        "system_b": pair.names[1],
        "metric": metric.name,
        "directed": metric.directed,
        "samples": scored,
        "units_a": pair.units[0],
        "units_b": pair.units[1],
    }
    why: list[str] = []
    if scored < metric.minimum_samples:
        why.append(f"{scored} samples are too few (at least {metric.minimum_samples})")
    elif isinstance(metric, MomentMetric):
        row |= _moment_scores(pair, metric, design, why)
    else:
        row |= _called_scores(metric, (originals[0][design.scored], originals[1][design.scored]), design, why)
    if null is not None and np.isfinite(row["score"]):
        row |= null_columns(row["score"], null, closer_sign(metric), design, why)
    if np.isfinite(row["null"]):
        row["calibrated"] = float(calibrated(row["score"], row["null"], 1.0 if closer_sign(metric) > 0 else 0.0))
    if design.permutations and not design.repairings.enough(design.plan.held_out):
        why.append(f"no null: fewer than {FEWEST} distinct re-pairings of what is scored")
    return row | {"why": "; ".join(why)}


def _moment_scores(pair: Pair, metric: MomentMetric, design: Design, why: list[str]) -> dict[str, float]:
    sums = sums_of(pair, metric)
    score = float(metric.score(sums))
    if not np.isfinite(score):
        why.append(metric.why(sums))
        return {}
    result = {"score": score} | _interval(score, influence_of(pair, metric), metric, design, why)
    if not design.permutations and metric.null_mean is not None:
        result["null"] = float(metric.null_mean(sums))
        why.append(EXACT_NULL)
    return result


def _called_scores(metric: Any, scored: tuple[Array, Array], design: Design, why: list[str]) -> dict[str, float]:
    score = float(metric(*scored))
    if not np.isfinite(score):
        why.append(getattr(metric, "why", "this metric gave no score"))
        return {"score": score}
    return {"score": score} | _interval(score, drawn_influence(metric, scored, design), metric, design, why)


def _interval(score: float, influence: Array | None, metric: Any, design: Design, why: list[str]) -> dict[str, float]:
    if influence is None or not np.isfinite(influence).all():
        why.append(getattr(metric, "no_interval", NO_INTERVAL))
        return {}
    error, count = design.drawn.error(influence)
    if count < 2:
        why.append("no interval: all that is scored is of one group")
    low, high = interval(score, error, count, metric.bounds)
    return {"error": error, "low": low, "high": high}


def closer_sign(metric: Any) -> float:
    """Return 1 for a score that is higher for closer systems, and -1 for a distance."""
    return 1.0 if getattr(metric, "higher_is_closer", True) else -1.0
