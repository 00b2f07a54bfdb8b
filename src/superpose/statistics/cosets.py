"""Many permutations at the price of few: each random one is followed by shifts inside short cycles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superpose.statistics.p_values import TIED
from superpose.statistics.permutations import Permutations

Array = NDArray[np.float32]
Index = NDArray[np.int64]

# Groups of a cycle, at most; and random permutations that shifts follow, at least.
LENGTH, FRESH = 16, 16
# Columns of a few thousand samples that a processor holds at hand.
AT_HAND = 64


@dataclass(frozen=True)
class Cycles:
    """Cycles of at most `LENGTH` groups that exchange places; each is shifted by itself.

    Attributes
    ----------
    lengths : ndarray of int, (cycles,)
        The groups of each.
    rows : ndarray of int, (longest, kept)
        The samples, cycle by cycle, in row k after a shift of every cycle by k groups.
    starts : ndarray of int, (cycles,)
        Where in a row each cycle begins.
    """

    lengths: Index
    rows: Index
    starts: Index


def cycles_of(exchange: Permutations) -> Cycles:
    """Return the cycles that the strata of some permutations are cut into."""
    parts = [
        part
        for stratum in exchange.strata
        for part in np.array_split(stratum.members, -(-len(stratum.members) // LENGTH))
    ]
    lengths = np.array([len(part) for part in parts])
    rows = [np.concatenate([np.roll(part, -shift, axis=0).ravel() for part in parts]) for shift in range(lengths.max())]
    sizes = np.array([part.size for part in parts])
    return Cycles(lengths, np.stack(rows), np.cumsum(sizes) - sizes)


def column_p(first: Array, second: Array, exchange: Permutations, count: int, seed: int) -> NDArray[np.float64]:
    """Return the permutation p-value of each column's inner product, against `count` permutations of `second` or more.

    The permutations are random ones g₀ = 1, g₁, g₂, …, each followed by random elements of the group H of shifts
    inside cycles. Over cycles an inner product is a sum of tabulated parts, so that those of one g cost as much as 16
    permutations. For g drawn uniformly the observed order is exchangeable with all others, and the p-value exact,
    though elements of one coset gH resemble each other.

    Parameters
    ----------
    first, second : ndarray of float32, (kept, columns)
        The samples of `exchange` that take part.
    exchange : Permutations
        What exchanges places.
    count : int
        Permutations, at least.
    seed : int
        Draws them.

    Returns
    -------
    ndarray, (columns,)
        The share of all permutations, the observed order among them, that reach its inner product.

    References
    ----------
    Hemerik, J. & Goeman, J. (2018). Exact testing with random permutations. TEST 27.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.statistics.cosets import column_p
    >>> from superpose.statistics.permutations import permutations
    >>> x, noise = np.random.default_rng(2).normal(size=(2, 200, 2)).astype(np.float32)
    >>> column_p(x, noise + x * [1, 0], permutations(200), 999, 0).round(3)
    array([0.001, 0.697])
    """
    cycles = cycles_of(exchange)
    each = min(-(-(count + 1) // FRESH), sum(len(stratum.members) for stratum in exchange.strata))
    cosets = -(-(count + 1) // each)
    norms = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
    draw = np.random.default_rng((seed, cosets))
    reached = np.zeros(first.shape[1])
    least = None
    for order in _orders(exchange, cosets - 1, seed):
        shifts = np.floor(draw.random((each, len(cycles.lengths))) * cycles.lengths).astype(np.int64)
        if least is None:
            # The observed order is the first.
            shifts[0] = 0
        scores = _shifted(first, second, cycles, order, shifts)
        least = scores[0] - TIED * norms if least is None else least
        reached += (scores >= least).sum(axis=0)
    return reached / (each * cosets)


def _orders(exchange: Permutations, count: int, seed: int) -> Iterator[Index]:
    yield np.arange(len(exchange.kept))
    yield from exchange.draw(count, seed)


def _shifted(first: Array, second: Array, cycles: Cycles, order: Index, shifts: Index) -> Array:
    """Return the inner products of a permutation's shifts, (shifts, columns)."""
    # Parts of each inner product, (longest, cycles, columns): a short cycle's own shifts come first.
    parts = np.empty((*cycles.rows.shape[:1], len(cycles.starts), first.shape[1]), dtype=np.float32)
    for start in range(0, first.shape[1], AT_HAND):
        some = np.s_[start : start + AT_HAND]
        one, other = first[cycles.rows[0], some], second[order, some]
        for part, rows in zip(parts, cycles.rows, strict=True):
            np.add.reduceat(one * other[rows], cycles.starts, axis=0, out=part[:, some])
    chosen = np.zeros((len(shifts), *parts.shape[:2]), dtype=np.float32)
    chosen[np.arange(len(shifts))[:, None], shifts, np.arange(len(cycles.lengths))] = 1
    scores: Array = chosen.reshape(len(shifts), -1) @ parts.reshape(-1, parts.shape[-1])
    return scores
