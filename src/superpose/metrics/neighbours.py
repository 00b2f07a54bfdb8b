"""Alignment by neighbours: shared ones, and the kernel alignment of those alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.files import DataError
from superpose.metrics.about import About
from superpose.metrics.neighbour_influence import aligned_influence, shared_influence
from superpose.metrics.neighbour_lists import candidates, undecided
from superpose.metrics.pairwise import PairwiseMetric

Array = NDArray[Any]
UNDECIDED = "all samples of a system lie at the same distance from one another: none is nearest"


def mutual_knn(x: ArrayLike, y: ArrayLike, *, k: int = 10) -> Any:
    """Share of each sample's k nearest neighbours that both systems agree on, averaged over samples.

    Neighbours by Euclidean distance, a sample not its own. Where distances tie for the last places of the k (equal
    samples, counts, categories), the score is its mean over all ways to fill these places, in either system
    independently: of t samples that tie for r places each counts r/t. It then depends on no order of the samples, and
    unrelated systems score k / (samples − 1), their exact mean over all permutations, with ties or without. Where
    places are shared a system scores below 1 with itself, as it does not say who its neighbours are. The authors first
    divide each sample's responses by their norm, which makes neighbours those of the largest cosine: do so to follow
    them to the letter.

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
        In [0, 1]; NaN where all samples of a system lie at one distance from one another, so that none is nearest.

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
    Neighbours as in `mutual_knn`; where they tie, each of the three sums is its mean over all ways to fill the places.

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
        In [-1, 1]; 0 where no pair is shared, NaN as in `mutual_knn`.

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


def _shared(x: Array, y: Array, k: int) -> float:
    total, idle = 0.0, np.array([True, True])
    for found in candidates(x, y, k):
        of_x, of_y = found.weights
        total += float(of_x @ of_y)
        idle &= undecided(found, len(x))
    return np.nan if idle.any() else total / (k * len(x))


def _aligned(x: Array, y: Array, k: int) -> float:
    sums, idle = np.zeros(3), np.array([True, True])
    for found in candidates(x, y, k):
        of_x, of_y = found.weights
        kernel_x, kernel_y = found.products
        sums += [(of_x * kernel_x) @ (of_y * kernel_y), of_x @ kernel_x**2, of_y @ kernel_y**2]
        idle &= undecided(found, len(x))
    both, own_x, own_y = (float(value) for value in sums)
    return both / np.sqrt(own_x * own_y) if own_x > 0 and own_y > 0 and not idle.any() else np.nan


MUTUAL_KNN = PairwiseMetric(
    name="mutual_knn",
    about=About("mutual $k$NN", "the 10 nearest neighbours of each sample", "N² (p + q), in tiles", "Huh et al. 2024"),
    invariances=frozenset({"rotation", "scale", "permutation", "translation"}),
    minimum_samples=12,
    score=partial(_shared, k=10),
    why=UNDECIDED,
    influence=partial(shared_influence, k=10),
    bounds=(0.0, 1.0),
)
CKNNA = PairwiseMetric(
    name="cknna",
    about=About(
        "CKNNA", "centred Gram matrices, among mutual nearest neighbours", "N² (p + q), in tiles", "Huh et al. 2024"
    ),
    invariances=MUTUAL_KNN.invariances,
    minimum_samples=12,
    score=partial(_aligned, k=10),
    why=UNDECIDED,
    influence=partial(aligned_influence, k=10),
    no_interval="no interval: without one of the samples a system's neighbours have no inner products",
)
