"""Every layer's score with the target: its interval, its null, each sample's influence on it, and each unit's score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.comparison import Design, Outcome, Responses, outcome_of, over_pairs, planned_for
from superpose.comparison.nulls import Null, null_distributions
from superpose.comparison.pairs import Way, sums_of
from superpose.comparison.room import check_room
from superpose.comparison.scores import joined, score_rows
from superpose.comparison.table import nulls_apart
from superpose.metrics import Metric, PredictiveMetric
from superpose.metrics.prediction import FINISH
from superpose.moments.wide import is_wide

Array = NDArray[Any]
Couple = tuple[str, str]

# What the twin of a metric is called that keeps the axes of a target of more units than samples.
BY_UNIT = " by unit"


@dataclass(frozen=True)
class Scored:
    """One layer's score with the target under one metric.

    `row` is that of `superpose.compare`; `units` holds the score of each of the target's units, of a regression.
    """

    row: dict[str, Any]
    outcome: Outcome
    null: Null | None
    units: Array | None


def scored(
    arrays: dict[str, Array], couples: Sequence[Couple], metrics: Sequence[Metric], design: Design
) -> dict[Couple, dict[str, Scored]]:
    """Return what is found of each layer and target, by metric, from one reading of each layer."""
    wide = any(is_wide(arrays[target]) for _, target in couples)
    of_units = {m.name: _of_units(m, wide) for m in metrics if isinstance(m, PredictiveMetric)}
    twins = [twin for name, twin in of_units.items() if twin.name != name]
    planned, own = planned_for([*metrics, *twins], design), {metric.name for metric in metrics}
    parts: dict[Couple, dict[str, tuple[dict[str, Any], Outcome]]] = {couple: {} for couple in couples}
    units: dict[Couple, dict[str, Array]] = {couple: {} for couple in couples}
    nulls: dict[Couple, dict[Way, Null]] = {couple: {} for couple in couples}
    apart = bool(design.permutations) and design.exchange.partial
    by_name = {twin.name: (name, twin) for name, twin in of_units.items()}
    check_room(len(design.folds), {name: x.shape[-1] for name, x in arrays.items()}, couples, planned, design)
    responses = Responses(arrays)
    for part in over_pairs(responses, couples, planned, design):
        for metric, _ in part.metrics:
            if metric.name in by_name:
                name, twin = by_name[metric.name]
                units[part.pair][name] = FINISH[twin.kind[0], None](sums_of(part.directions[0], metric))
        part = part._replace(metrics=[(metric, ways) for metric, ways in part.metrics if metric.name in own])
        if not part.metrics:
            continue
        rows = score_rows(part, design)
        for metric, _ in part.metrics:
            outcome = outcome_of(part.directions[0], metric, part.originals, design)
            parts[part.pair][metric.name] = rows[metric.name, 0], outcome
        if not apart:
            nulls[part.pair] |= null_distributions(part, design)
    for pair, some in nulls_apart(responses, couples, metrics, design) if apart else ():
        nulls[pair] |= some
    found: dict[Couple, dict[str, Scored]] = {couple: {} for couple in couples}
    for couple in couples:
        for metric in planned:
            if metric.name in own:
                row, outcome = parts[couple][metric.name]
                one = joined(metric, row, nulls[couple].get((metric.name, 0)), design)
                found[couple][metric.name] = Scored(one.row, outcome, one.null, units[couple].get(metric.name))
    return found


def _of_units(metric: PredictiveMetric, wide: bool) -> PredictiveMetric:
    """Return the metric whose sums are of the target's own units: pooled scores see only as many as there are samples.

    Sums of a target that is not wide are those of its units, whatever the score.
    """
    if not wide or metric.kind[1] == "units":
        return metric
    return replace(metric, name=metric.name + BY_UNIT, kind=(metric.kind[0], "units"))


def errors_between(outcomes: Sequence[Outcome], design: Design) -> Array:
    """Return the standard errors of the differences of scores, (scores, scores); NaN for those without an interval."""
    found = np.full((len(outcomes), len(outcomes)), np.nan)
    for i, one in enumerate(outcomes):
        for j, other in enumerate(outcomes[:i]):
            if one.influence is not None and other.influence is not None:
                found[i, j] = found[j, i] = design.drawn.error(one.influence - other.influence)[0]
    return found
