"""The samples that intervals are estimated from: all, or whole groups drawn at random."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superpose.moments import row_blocks
from superpose.statistics.intervals import (
    Array,
    Uncertainty,
    effective,
    independent,
    interval,
    standard_error,
    within_folds,
)

# From fewer groups the width of an interval is known to no better than 2 %.
GROUPS = 1_000


@dataclass(frozen=True)
class Drawn:
    """The samples that intervals are estimated from: all that are scored, or some of them, fold by fold in order.

    `folds` and `groups` are those of the drawn; `samples` and `count` tell how many samples, and groups, are scored.
    """

    index: NDArray[np.int64]
    folds: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    samples: int
    count: int

    def blocks(self, rows: int) -> Iterator[tuple[int, slice | NDArray[np.int64]]]:
        """Yield (fold, at most so many drawn samples of it), as slices where they lie end to end."""
        for fold, part in row_blocks(len(self.index), rows, self.folds):
            index = self.index[part]
            whole = index[-1] - index[0] + 1 == len(index)
            yield fold, slice(int(index[0]), int(index[-1]) + 1) if whole else index

    def within_folds(self, influence: Array) -> Array:
        """Return influence on a mean of scores of folds, as `within_folds` does."""
        return within_folds(influence, self.folds, self.groups)

    def error(self, influence: Array) -> tuple[float, int]:
        """Return the standard error of a score of all scored samples, from so many groups of drawn ones."""
        count = independent(len(self.index), self.groups)
        # The drawn stand for all: sums of squares grow with groups, and the mean is over samples.
        share = len(self.index) / self.samples * np.sqrt(self.count / count)
        return float(share * standard_error(influence, self.groups)), count

    def uncertainty(self, score: float, influence: Array, bounds: tuple[float, float]) -> Uncertainty:
        """Return how sure a score of all scored samples is, from the influence of the drawn ones."""
        error, _ = self.error(influence)
        count = effective(influence, self.groups)
        return Uncertainty(*interval(score, error, count, bounds), error, count)


def draw(
    scored: NDArray[np.int64],
    folds: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    most: int | None,
    seed: int,
) -> Drawn:
    """Draw samples for intervals at random, whole groups until there are so many and `GROUPS`; None takes all."""
    index, samples = scored, len(scored)
    labels = index if groups is None else groups[index]
    count = independent(samples, None if groups is None else labels)
    if most is not None and most < samples:
        names, sizes = np.unique(labels, return_counts=True)
        order = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0]).permutation(len(names))
        enough = int(np.searchsorted(np.cumsum(sizes[order]), most)) + 1
        index = index[np.isin(labels, names[order[: max(enough, GROUPS)]])]
    index = index[np.argsort(folds[index], kind="stable")]
    return Drawn(index, folds[index], None if groups is None else groups[index], samples, count)
