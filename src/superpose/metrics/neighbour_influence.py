"""What leaving out one sample makes of scores over neighbours: those that come next take its place in every list."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.metrics.neighbour_lists import Candidates, Membership, candidates, undecided
from superpose.metrics.pairwise import influence_of_left_out

Array = NDArray[Any]


def shared_influence(x: Array, y: Array, k: int) -> Array:
    """Return each sample's influence on the share of neighbours that two systems agree on, (samples,).

    Exactly the scores without the sample; NaN where no sample of a system has a nearest other.
    """
    samples = len(x)
    lost, whole, idle = np.zeros(samples), 0.0, np.array([True, True])
    for found in candidates(x, y, k):
        change, total = _change(found, *found.members, np.ones(len(found.first)), samples)
        lost += change
        whole += total
        idle &= undecided(found, samples)
    if idle.any():
        return np.full(samples, np.nan)
    return influence_of_left_out((whole - lost) / (k * (samples - 1)))


def aligned_influence(x: Array, y: Array, k: int) -> Array:
    """Return each sample's influence on the kernel alignment over shared neighbours, (samples,).

    The scores without the sample; what the mean of the others takes from the inner products enters to first order.
    """
    samples = len(x)
    # Sums over shared pairs of K L, over x's of K K and over y's of L L; what each loses with a sample; and their
    # derivatives to what is added to a row or a column of K and of L.
    whole, lost = np.zeros(3), np.zeros((3, samples))
    slopes, idle = np.zeros((4, samples)), np.array([True, True])
    for found in candidates(x, y, k):
        one, other = found.members
        kernel, kernel_y = found.products
        of_x, of_y = found.weights
        everyone = _everyone(found)
        for number, (side, against, values) in enumerate(
            ((one, other, kernel * kernel_y), (one, everyone, kernel**2), (other, everyone, kernel_y**2))
        ):
            change, total = _change(found, side, against, values, samples)
            lost[number] += change
            whole[number] += total
        for slope, weights in zip(
            slopes,
            (of_x * of_y * kernel_y, of_x * of_y * kernel, 2 * of_x * kernel, 2 * of_y * kernel_y),
            strict=True,
        ):
            slope[found.rows] += np.bincount(found.first, weights, len(found.rows))
            slope += np.bincount(found.second, weights, samples)
        idle &= undecided(found, samples)
    if idle.any():
        return np.full(samples, np.nan)
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


def _everyone(found: Candidates) -> Membership:
    """Return the membership of all pairs, so that a sum over pairs that are near in both is one over one system's."""
    pairs, rows = len(found.first), len(found.rows)
    return Membership(np.ones(pairs, bool), np.zeros(pairs, bool), np.zeros(rows), np.ones(rows, np.int64))


def _change(
    found: Candidates, one: Membership, other: Membership, values: Array, samples: int
) -> tuple[Array, float]:
    """Return what a sum over shared neighbours loses without each sample, (samples,), and the sum itself.

    With u, v the shares of those that tie in either system, a sample's sum is S = S_ss + v S_st + u S_ts + u v S_tt, by
    who is sure and who ties in the first and in the second. Without one of its pairs the sums lose that pair, and u
    grows to what is then left of k for those that tie.
    """
    first, rows = found.first, len(found.rows)
    kinds = [(one.sure, other.sure), (one.sure, other.tied), (one.tied, other.sure), (one.tied, other.tied)]
    parts = [values * (a & b) for a, b in kinds]
    sums = [np.bincount(first, part, rows) for part in parts]
    whole = _shared_sum(sums, one.share, other.share)
    rest = [total[first] - part for total, part in zip(sums, parts, strict=True)]
    without = _shared_sum(rest, *(_share_without(of, first) for of in (one, other)))
    lost = np.bincount(found.second, whole[first] - without, samples)
    lost[found.rows] += whole
    return lost, float(whole.sum())


def _shared_sum(sums: list[Array], share: Array, other: Array) -> Array:
    total: Array = sums[0] + other * sums[1] + share * sums[2] + share * other * sums[3]
    return total


def _share_without(of: Membership, first: NDArray[np.int64]) -> Array:
    """Return the share of those that tie for the first of each pair when its second is left out, (pairs,).

    One place more where that was sure, one candidate less where it tied itself.
    """
    share, ties = of.share[first], of.ties[first]
    found: Array = share + of.sure / ties + of.tied * share / np.maximum(ties - 1, 1)
    return found
