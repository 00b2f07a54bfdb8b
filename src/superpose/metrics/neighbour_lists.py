"""Which samples are among the k nearest of others, where the last places are shared among those that tie for them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.metrics import pairwise
from superpose.metrics.pairwise import squared_distances, tiles
from superpose.metrics.ties import ROUNDING, TIED

Array = NDArray[Any]


class Membership(NamedTuple):
    """How far the second of each pair is one of the first's k nearest in one system.

    `sure`, (pairs,), marks the pairs nearer than the first's (k + 1)-th nearest, and `tied` those as far as that:
    `ties`, (rows,), of a sample, which are equally likely to fill the places that are left of k. `share`, (rows,), is
    that probability; where nothing ties it is 0, as k are nearer and one is the (k + 1)-th.
    """

    sure: NDArray[np.bool_]
    tied: NDArray[np.bool_]
    share: Array
    ties: NDArray[np.int64]


class Candidates(NamedTuple):
    """All pairs of some samples with others that are near, or tie for it, in either of two systems.

    `first` is a place in `rows`, `second` a sample; `products` are the inner products of the pairs in either system.
    """

    rows: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    members: tuple[Membership, Membership]
    products: tuple[Array, Array]

    @property
    def weights(self) -> tuple[Array, Array]:
        """The probability of each pair to be near in either system where ties are broken at random, (pairs,)."""
        one, other = (of.sure + of.share[self.first] * of.tied for of in self.members)
        return one, other


def candidates(x: Array, y: Array, k: int) -> Iterator[Candidates]:
    """Yield the pairs of all samples, a few samples at a time."""
    norms = [np.einsum("ij,ij->i", z, z) for z in (x, y)]
    for rows in tiles(len(x)):
        distances = [squared_distances(z, rows) for z in (x, y)]
        near = [_near(d, own, rows, k) for d, own in zip(distances, norms, strict=True)]
        either = near[0][0] | near[0][1] | near[1][0] | near[1][1]
        for some in _pieces(either.sum(axis=1)):
            first, second = np.nonzero(either[some])
            members = [
                Membership(sure[some][first, second], tied[some][first, second], share[some], ties[some])
                for sure, tied, share, ties in near
            ]
            products = [
                (own[rows[some]][first] + own[second] - d[some][first, second]) / 2
                for own, d in zip(norms, distances, strict=True)
            ]
            yield Candidates(rows[some], first, second, (members[0], members[1]), (products[0], products[1]))


def _near(distances: Array, norms: Array, rows: NDArray[np.int64], k: int) -> tuple[Array, Array, Array, Array]:
    """Return who is nearer than the (k + 1)-th nearest and who as far, (rows, samples), their share and number."""
    own = np.arange(len(rows)), rows
    kept = distances[own]
    distances[own] = np.inf
    last = np.partition(distances, k, axis=1)[:, k]
    # What the distances of such a pair are known to: the norm of the other is at most 2 (norm + distance).
    margin = 3 * ROUNDING * norms[rows] + TIED * last
    sure = distances < (last - margin)[:, None]
    tied = (distances <= (last + margin)[:, None]) & ~sure
    distances[own] = kept
    ties = tied.sum(axis=1)
    return sure, tied, (k - sure.sum(axis=1)) / ties, ties


def _pieces(counts: NDArray[np.int64]) -> Iterator[slice]:
    """Yield runs of rows of few pairs each: where many tie, pairs are as many as samples."""
    ends = np.cumsum(counts) // max(1, pairwise.TILE // 8)
    edges = [0, *(np.flatnonzero(np.diff(ends)) + 1).tolist(), len(counts)]
    for start, stop in itertools.pairwise(edges):
        yield slice(start, stop)


def undecided(found: Candidates, samples: int) -> NDArray[np.bool_]:
    """Return for either system whether all others tie for every one of the samples, so that none is nearest, (2,)."""
    return np.array([bool((of.ties == samples - 1).all()) for of in found.members])
