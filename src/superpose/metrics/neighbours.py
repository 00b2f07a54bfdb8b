"""Alignment by neighbours: shared ones, and the kernel alignment of those alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.files import DataError
from superpose.metrics.neighbour_influence import aligned_influence, shared_influence
from superpose.metrics.neighbour_lists import among
from superpose.metrics.pairwise import PairwiseMetric, squared_distances, tiles

Array = NDArray[Any]


def mutual_knn(x: ArrayLike, y: ArrayLike, *, k: int = 10) -> Any:
    """Share of each sample's k nearest neighbours that both systems agree on, averaged over samples.

    Neighbours by Euclidean distance, a sample not its own; where distances tie, which of them counts is arbitrary.
    Unrelated systems score k / (samples − 1). The authors first divide each sample's responses by their norm, which
    makes neighbours those of the largest cosine: do so to follow them to the letter.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Responses of one system.
    y : array or tensor, (…, samples, units_y)
        Responses of the other to the same samples; at least k + 2, as with k + 1 all are neighbours.
    k : int
        How many neighbours.

    Returns
    -------
    array or tensor, (…)
        In [0, 1].

    Raises
    ------
    DataError
        For unusable responses, too few samples, or k that is no positive integer.

    References
    ----------
    Huh et al., The Platonic Representation Hypothesis, ICML 2024.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x, y = np.random.default_rng(0).normal(size=(2, 101, 5))
    >>> float(sp.metrics.mutual_knn(x, 2 * x)), round(float(sp.metrics.mutual_knn(x, y)), 1)
    (1.0, 0.1)
    """
    return _with(MUTUAL_KNN, _shared, k)(x, y)


def cknna(x: ArrayLike, y: ArrayLike, *, k: int = 10) -> Any:
    """Linear kernel alignment over the pairs (i, j) in which j is among the k nearest of i in both systems (CKNNA).

    Σ K_ij L_ij over those pairs, divided by the root of the same sums of K with K and of L with L; K and L are inner
    products of centred responses. With k = samples − 1 it is the cosine of the two matrices off their diagonals.
    Neighbours as in `mutual_knn`.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Responses of one system.
    y : array or tensor, (…, samples, units_y)
        Responses of the other to the same samples; at least k + 2.
    k : int
        How many neighbours.

    Returns
    -------
    array or tensor, (…)
        In [-1, 1]; 0 where no pair is shared.

    Raises
    ------
    DataError
        For unusable responses, too few samples, or k that is no positive integer.

    References
    ----------
    Huh et al., The Platonic Representation Hypothesis, ICML 2024, appendix; linear kernel, centred.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(100, 5))
    >>> round(float(sp.metrics.cknna(x, 1 - 2 * x[:, ::-1])), 6)
    1.0
    """
    return _with(CKNNA, _aligned, k)(x, y)


def _with(metric: PairwiseMetric, score: Any, k: int) -> PairwiseMetric:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise DataError(f"k is {k!r}; expected how many neighbours, an integer of at least 1.")
    return replace(metric, minimum_samples=int(k) + 2, score=partial(score, k=int(k)))


def nearest(x: Array, rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Return the k nearest other samples of some samples, (rows, k), in no particular order."""
    distances = squared_distances(x, rows)
    distances[np.arange(len(rows)), rows] = np.inf
    return np.argpartition(distances, k - 1, axis=1)[:, :k]


def _shared(x: Array, y: Array, k: int) -> float:
    count = 0
    for rows in tiles(len(x)):
        count += int(among(nearest(x, rows, k), nearest(y, rows, k), len(x)).sum())
    return count / (k * len(x))


def _aligned(x: Array, y: Array, k: int) -> float:
    both = own_x = own_y = 0.0
    for rows in tiles(len(x)):
        near_x, near_y = nearest(x, rows, k), nearest(y, rows, k)
        kernel_x, kernel_y = _products(x, rows, near_x), _products(y, rows, near_x)
        both += float((kernel_x * kernel_y)[among(near_x, near_y, len(x))].sum())
        own_x += float((kernel_x**2).sum())
        own_y += float((_products(y, rows, near_y) ** 2).sum())
    return both / np.sqrt(own_x * own_y) if own_x > 0 and own_y > 0 else np.nan


def _products(x: Array, rows: NDArray[np.int64], others: NDArray[np.int64]) -> Array:
    """Return the inner products of each of some samples with its own others, (rows, k)."""
    return np.take_along_axis(x[rows] @ x.T, others, axis=1)


MUTUAL_KNN = PairwiseMetric(
    name="mutual_knn",
    invariances=frozenset({"rotation", "scale", "permutation", "translation"}),
    minimum_samples=12,
    score=partial(_shared, k=10),
    why="no neighbours",
    influence=partial(shared_influence, k=10),
    bounds=(0.0, 1.0),
)
CKNNA = PairwiseMetric(
    name="cknna",
    invariances=MUTUAL_KNN.invariances,
    minimum_samples=12,
    score=partial(_aligned, k=10),
    why="a system's neighbours have no inner products",
    influence=partial(aligned_influence, k=10),
    no_interval="no interval: without one of the samples a system's neighbours have no inner products",
)
