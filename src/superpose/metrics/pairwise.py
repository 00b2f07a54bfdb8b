"""Metrics of pairs of samples: what they share, in tiles of rows by all samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import like_input
from superpose.metrics.about import About
from superpose.metrics.metric import NO_INTERVAL, paired
from superpose.metrics.ties import ROUNDING
from superpose.moments.wide import compact

Array = NDArray[Any]

# Values of one tile: 16 MiB of float64.
TILE = 2**21


def about_mean(x: Array) -> Array:
    """Return responses less each unit's mean."""
    return x - x.mean(axis=-2, keepdims=True)


@dataclass(frozen=True)
class PairwiseMetric:
    """A metric that needs the pairs of samples themselves: a function of two arrays (samples, units) in float64.

    Attributes
    ----------
    name, directed, invariances, minimum_samples, higher_is_closer
        As in `Metric`.
    score : callable
        (x, y), rows of two systems → a number; NaN where there is none.
    why : str
        The reason for a NaN.
    rows : callable
        Responses → rows that may be rotated; by default about the mean.
    influence : callable or None
        (x, y), rows of two systems → each sample's influence on the score, (samples,): their squared sum over samples²
        is the score's variance.
    no_interval : str
        Why there is no interval where a sample's influence does not exist.
    null_mean : float or None
        The score's exact mean over all permutations, where it is known.
    bounds : tuple of float
        The range of the score.
    about : About or None
        Its name and source in words.
    """

    name: str
    invariances: frozenset[str]
    minimum_samples: int
    score: Callable[[Array, Array], float]
    why: str
    rows: Callable[[Array], Array] = about_mean
    directed: bool = False
    higher_is_closer: bool = True
    influence: Callable[[Array, Array], Array] | None = None
    no_interval: str = NO_INTERVAL
    null_mean: float | None = None
    bounds: tuple[float, float] = (-1.0, 1.0)
    about: About | None = field(default=None, compare=False, kw_only=True)

    def __call__(self, x: ArrayLike, y: ArrayLike) -> Any:
        """Score paired responses, (…, samples, units_x) and (…, samples, units_y), to (…)."""
        return like_input(self._evaluate)(x, y)

    def influences(self, x: ArrayLike, y: ArrayLike) -> Array | None:
        """Return each sample's influence on the score of paired responses, (samples, units_x) and (samples, units_y).

        None for a metric that has no such values; NaN where they do not exist.
        """
        return None if self.influence is None else self.influence(*self._paired_rows(x, y))

    def _paired_rows(self, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        first, second = (compact(self.rows(a.astype(np.float64))) for a in paired(x, y, self.minimum_samples))
        return first, second

    def _evaluate(self, x: ArrayLike, y: ArrayLike) -> Array:
        first, second = self._paired_rows(x, y)
        repeats = np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
        first, second = (np.broadcast_to(a, repeats + a.shape[-2:]) for a in (first, second))
        scores = np.empty(repeats)
        for index in np.ndindex(repeats):
            scores[index] = self.score(first[index], second[index])
        return scores[()]


def tiles(samples: int) -> Iterator[NDArray[np.int64]]:
    """Yield the samples in runs, such that run × samples makes one tile."""
    rows = max(1, TILE // samples)
    for start in range(0, samples, rows):
        yield np.arange(start, min(start + rows, samples))


def squared_distances(x: Array, rows: NDArray[np.int64]) -> Array:
    """Return the squared distances of some samples of centred responses to all, (rows, samples).

    Those that are rounding beside the norms are 0: equal samples lie at no distance.
    """
    norms = np.einsum("ij,ij->i", x, x)
    sums = norms[rows, None] + norms
    distances = sums - 2 * x[rows] @ x.T
    distances[distances <= ROUNDING * sums] = 0.0
    return distances


def influence_of_left_out(scores: Array) -> Array:
    """Return each sample's influence from the scores without it, (samples,): jackknife pseudo-values about their mean.

    Their squared sum over samples², times samples/(samples − 1), is the variance of the delete-one jackknife
    (Efron 1982).
    """
    influence: Array = (len(scores) - 1) * (scores.mean() - scores)
    return influence
