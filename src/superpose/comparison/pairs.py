"""One pair of systems, with the sums that metrics share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.comparison.design import Design
from superpose.metrics import MomentMetric, PairwiseMetric
from superpose.metrics.metric import NO_INTERVAL, STILL, is_constant
from superpose.moments import (
    Moments,
    RowReader,
)

Array = NDArray[Any]

LONE = "no interval: a held-out fold is of one group; use fewer folds"

# A fold, and the rows of one chunk of it.
Block = tuple[int, slice | NDArray[np.int64]]


@dataclass
class Pair:
    """One ordered pair: its names, moments, readers of rows about their means, and the sums that metrics share.

    `over` are the moments of all folds and of those that are scored; without them, all sums that will be asked for are
    there, and nothing is read. `blocks` are all rows, as its readers take them.
    """

    names: tuple[str, str]
    units: tuple[int, int]
    over: tuple[Moments, Moments] | None
    read: tuple[RowReader, ...] = ()
    blocks: Sequence[Block] = ()
    sums: dict[Any, Any] = field(default_factory=dict)
    row_sums: dict[Any, Any] = field(default_factory=dict)

    def swapped(self) -> Pair:
        """Return the pair in the other direction."""
        over = None if self.over is None else (self.moments.swapped(), self.scored.swapped())
        return Pair(self.names[::-1], self.units[::-1], over, self.read[::-1], self.blocks)

    @property
    def moments(self) -> Moments:
        """The moments of all folds."""
        assert self.over is not None
        return self.over[0]

    @property
    def scored(self) -> Moments:
        """The moments of the folds that are scored."""
        assert self.over is not None
        return self.over[1]


Directions = tuple[Pair, Pair]


# A metric's name, and the direction of a pair.
Way = tuple[str, int]


class Part(NamedTuple):
    """Some metrics of a pair, each with the directions it is scored in, the sums that they take, and its responses.

    `permuted` are their scores over permutations, where these take more than the sums.
    """

    pair: tuple[str, str]
    directions: Directions
    originals: tuple[Array, Array]
    metrics: Sequence[tuple[Any, Sequence[int]]]
    permuted: Callable[[Sequence[Any]], dict[Way, Array]] | None = None


def sums_of(pair: Pair, metric: MomentMetric) -> Any:
    """Return the sums that a metric is made of, taken once for all that share them."""
    if metric.family not in pair.sums:
        pair.sums[metric.family] = metric.family.sums(terms(pair, metric))
    return pair.sums[metric.family]


def rows_key(metric: MomentMetric) -> tuple[Any, ...]:
    """Return all that each row's part in a metric's sums depends on: the sums themselves as well."""
    return metric.family, metric.influence and metric.influence.rows


def influence_of(pair: Pair, metric: MomentMetric) -> Array | None:
    """Return each drawn row's influence on a score that exists, or None for a metric that has no such values."""
    if metric.influence is None:
        return None
    return metric.influence.values(sums_of(pair, metric), pair.row_sums[rows_key(metric)])


def null_mean_of(pair: Pair, metric: Any) -> float:
    """Return the exact mean over all permutations of a score of which it is known."""
    known = metric.null_mean
    return float(known(sums_of(pair, metric)) if callable(known) else known)


class Outcome(NamedTuple):
    """A score with each drawn sample's influence on it; NaN or None, and the reason, for what there is not."""

    score: float
    influence: Array | None
    why: str


def score_of(pair: Pair, metric: Any, originals: tuple[Array, Array], design: Design) -> tuple[float, str]:
    """Return a score, from sums or from the responses themselves, or NaN and the reason."""
    if design.count < metric.minimum_samples:
        return np.nan, f"needs ≥ {metric.minimum_samples} samples; have {design.count}"
    if isinstance(metric, MomentMetric):
        sums = sums_of(pair, metric)
        score = float(metric.score(sums))
        return (score, "") if np.isfinite(score) else (np.nan, metric.why(sums))
    scored = (originals[0][design.scored], originals[1][design.scored])
    if stands_still(metric, scored):
        return np.nan, STILL
    score = float(metric(*scored))
    return (score, "") if np.isfinite(score) else (np.nan, getattr(metric, "why", "this metric gave no score"))


def outcome_of(pair: Pair, metric: Any, originals: tuple[Array, Array], design: Design) -> Outcome:
    """Return a score, and each drawn sample's influence on it."""
    score, why = score_of(pair, metric, originals, design)
    if why:
        return Outcome(score, None, why)
    influence: Array | None = None
    if isinstance(metric, MomentMetric):
        needed = metric.influence.fewest_groups if metric.influence else None
        have, fewest = design.drawn.count, needed(sums_of(pair, metric)) if needed else 0
        if have < fewest:
            why = f"no interval: this takes {fewest} independent samples or groups; have {have}"
            return Outcome(score, None, why)
        influence = influence_of(pair, metric)
        if influence is not None and metric.family.split:
            influence = design.drawn.within_folds(influence)
            if not np.isfinite(influence).all():
                return Outcome(score, None, LONE)
    elif isinstance(metric, PairwiseMetric):
        influence = metric.influences(*(x[design.scored] for x in originals))
        influence = None if influence is None else influence[np.searchsorted(design.tested, design.drawn.index)]
    if influence is None or not np.isfinite(influence).all():
        return Outcome(score, None, getattr(metric, "no_interval", NO_INTERVAL))
    return Outcome(score, influence, "")


def stands_still(metric: Any, rows: tuple[Array, Array]) -> bool:
    """Say whether a metric of pairs of samples has no score of these rows, since a system does not vary over them."""
    return isinstance(metric, PairwiseMetric) and any(is_constant(x) for x in rows)


def terms(pair: Pair, metric: MomentMetric) -> Moments:
    """Return the sums of all folds where the metric fits on some and scores on others, else of those scored."""
    return pair.moments if metric.family.split else pair.scored
