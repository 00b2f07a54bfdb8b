"""What leaving out one sample makes of scores over neighbours: the next nearest takes its place in every list."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.metrics.neighbour_lists import Listed, lists
from superpose.metrics.pairwise import influence_of_left_out

Array = NDArray[Any]


def shared_influence(x: Array, y: Array, k: int) -> Array:
    """Return each sample's influence on the share of neighbours that two systems agree on, (samples,).

    Exactly the scores without the sample, each list that held it filled by its next nearest.
    """
    samples = len(x)
    lost, whole = np.zeros(samples), 0.0
    for of_x, of_y in lists(x, y, k):
        ones = np.ones(of_x.near.shape)
        change, total = _change(of_x, of_y, (ones, ones), samples)
        lost += change
        whole += total
    return influence_of_left_out((whole - lost) / (k * (samples - 1)))


def aligned_influence(x: Array, y: Array, k: int) -> Array:
    """Return each sample's influence on the kernel alignment over shared neighbours, (samples,).

    The scores without the sample; what the mean of the others takes from the inner products enters to first order.
    """
    samples = len(x)
    # Sums over shared pairs of K L, over x's of K K and over y's of L L; what each loses with a sample; and their
    # derivatives to what is added to a row or a column of K and of L.
    whole, lost = np.zeros(3), np.zeros((3, samples))
    slopes = np.zeros((4, samples))
    for of_x, of_y in lists(x, y, k):
        rows, last = of_x.rows, np.arange(k + 1) == k
        for number, (change, total) in enumerate(
            (
                _change(of_x, of_y, (of_x.own * of_x.other, of_y.own * of_y.other), samples),
                _own_change(of_x, samples),
                _own_change(of_y, samples),
            )
        ):
            lost[number] += change
            whole[number] += total
        both = of_x.shared & ~last
        for slope, weights, near in zip(
            slopes,
            (of_x.other * both, of_x.own * both, 2 * of_x.own * ~last, 2 * of_y.own * ~last),
            (of_x.near, of_x.near, of_x.near, of_y.near),
            strict=True,
        ):
            slope[rows] += weights.sum(axis=1)
            slope += np.bincount(near.ravel(), weights.ravel(), samples)
    by_k, by_l, by_kk, by_ll = (_centred_anew(z, slope) for z, slope in zip((x, y, x, y), slopes, strict=True))
    both, own_x, own_y = whole[:, None] - lost + np.stack([by_k + by_l, by_kk, by_ll])
    known = (own_x > 0) & (own_y > 0)
    scores = np.where(known, both / np.sqrt(np.where(known, own_x * own_y, 1.0)), np.nan)
    return influence_of_left_out(scores)


def _centred_anew(x: Array, slope: Array) -> Array:
    """Return what a sum over pairs gains without each sample, (samples,), as the mean of the others is subtracted.

    Without sample d each other K_ij gains (K_id + K_jd)/(samples − 1) + K_dd/(samples − 1)².
    """
    norms, others = np.einsum("ij,ij->i", x, x), len(x) - 1
    gained: Array = (x @ (x.T @ slope) + norms * (slope.sum() / (2 * others) - slope)) / others
    return gained


def _change(of_x: Listed, of_y: Listed, values: tuple[Array, Array], samples: int) -> tuple[Array, float]:
    """Return what a sum over shared neighbours loses without each sample, (samples,), and the sum itself.

    `values` are those of the pairs in the lists of x, and in the lists of y.
    """
    k = of_x.near.shape[1] - 1
    in_both = of_x.shared[:, :k] * values[0][:, :k]
    lost = np.bincount(of_x.near[:, :k].ravel(), in_both.ravel(), samples)
    lost[of_x.rows] += in_both.sum(axis=1)
    for listed, own in ((of_x, values[0]), (of_y, values[1])):
        # The next nearest takes the sample's place, and counts where the other system has it near as well.
        gained = listed.shared[:, k] * own[:, k]
        lost -= np.bincount(listed.near[:, :k].ravel(), np.repeat(gained, k), samples)
    # Or where it takes the sample's place in both.
    meets = (of_x.near[:, k] == of_y.near[:, k]) * values[0][:, k]
    lost -= np.bincount(of_x.near[:, :k].ravel(), (of_x.shared[:, :k] * meets[:, None]).ravel(), samples)
    return lost, float(in_both.sum())


def _own_change(listed: Listed, samples: int) -> tuple[Array, float]:
    """Return what a system's sum of squared products with its neighbours loses without each sample, and the sum."""
    squares = listed.own**2
    k = squares.shape[1] - 1
    lost = np.bincount(listed.near[:, :k].ravel(), (squares[:, :k] - squares[:, k:]).ravel(), samples)
    lost[listed.rows] += squares[:, :k].sum(axis=1)
    return lost, float(squares[:, :k].sum())
