"""Intervals from influence values, re-pairings that respect folds and groups, and permutation p-values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import lgamma, log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from superpose.files import DataError
from superpose.moments import row_blocks

Array = NDArray[Any]

# With fewer distinct re-pairings no p can fall to .05, and a "shuffled" pairing may be the true one.
FEWEST = 20


def standard_error(influence: Array, groups: NDArray[np.int64] | None = None) -> float:
    """Return a score's standard error from each sample's influence on it, whole groups resampled together.

    Parameters
    ----------
    influence : ndarray, (samples,)
        The derivative of the score to each sample's weight, times the number of samples.
    groups : ndarray of int, (samples,), optional
        Samples of one group are not independent: their influences are summed before they are squared.

    Returns
    -------
    float
        √(G/(G − 1) Σ_g (Σ_{i∈g} ψ_i)²)/samples over the G groups (the infinitesimal jackknife, Efron 1982).

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.statistics import standard_error
    >>> x = np.array([1.0, 2.0, 3.0, 6.0])
    >>> bool(np.isclose(standard_error(x - x.mean()), x.std(ddof=1) / 2))
    True
    """
    parts = influence if groups is None else np.bincount(groups, weights=influence)
    # Groups that hold no scored sample are not part of the sample.
    count = len(parts) if groups is None else len(np.unique(groups))
    if count < 2:
        return float("nan")
    return float(np.sqrt(count / (count - 1) * np.square(parts).sum()) / len(influence))


def interval(
    score: float, error: float, count: int, bounds: tuple[float, float], level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a score with Student's quantile over `count` groups, cut to the score's range."""
    if not np.isfinite(error) or count < 2:
        return float("nan"), float("nan")
    half = float(student.ppf((1 + level) / 2, count - 1)) * error
    return max(score - half, bounds[0]), min(score + half, bounds[1])


@dataclass(frozen=True)
class Drawn:
    """The samples that intervals are estimated from: all that are scored, or some of them, in order.

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

    def interval(self, score: float, influence: Array, bounds: tuple[float, float]) -> tuple[float, float]:
        """Return the interval of a score of all scored samples from the influence of the drawn ones."""
        count = len(self.index) if self.groups is None else len(np.unique(self.groups))
        # The drawn stand for all: sums of squares grow with groups, and the mean is over samples.
        share = len(self.index) / self.samples * np.sqrt(self.count / count)
        return interval(score, share * standard_error(influence, self.groups), count, bounds)


def draw(
    scored: slice, folds: NDArray[np.int64], groups: NDArray[np.int64] | None, most: int | None, seed: int
) -> Drawn:
    """Draw samples for intervals at random, whole groups of them until there are so many; None takes all."""
    index = np.arange(scored.start, scored.stop)
    samples = len(index)
    labels = index if groups is None else groups[scored]
    count = samples if groups is None else len(np.unique(labels))
    if most is not None and most < samples:
        names, sizes = np.unique(labels, return_counts=True)
        order = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0]).permutation(len(names))
        enough = int(np.searchsorted(np.cumsum(sizes[order]), most)) + 1
        index = index[np.isin(labels, names[order[: max(enough, 2)]])]
    return Drawn(index, folds[index], None if groups is None else groups[index], samples, count)


def p_value(score: float, null: Array) -> float:
    """Return (1 + b)/(1 + B), with b of the B null scores at least as high (Phipson & Smyth 2010)."""
    return float((1 + np.sum(null >= score)) / (1 + len(null)))


@dataclass(frozen=True)
class Block:
    """The groups of one fold: their samples end to end, and each group's size."""

    members: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def shuffled(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return the members with the order of their groups shuffled."""
        order = generator.permutation(len(self.sizes))
        sizes = self.sizes[order]
        starts = (np.cumsum(self.sizes) - self.sizes)[order]
        within = np.arange(len(self.members)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self.members[np.repeat(starts, sizes) + within]


@dataclass(frozen=True)
class Repairings:
    """Random re-pairings of samples that move whole groups, inside each fold.

    Without groups, samples are shuffled inside each fold. With groups, the order of the fold's groups is
    shuffled and the samples follow, to be paired in that order: approximate where groups differ in size, since
    parts of two groups may then meet.
    """

    blocks: tuple[Block, ...]
    samples: int

    def enough(self, folds: Iterable[int]) -> bool:
        """Whether samples of the given folds, in the order of their labels, have `FEWEST` re-pairings or more."""
        return sum(lgamma(len(self.blocks[fold].sizes) + 1) for fold in folds) >= log(FEWEST)

    def draw(self, count: int, seed: int) -> Iterator[NDArray[np.int64]]:
        """Yield `count` index arrays, (samples,): row i is paired anew with row index[i]."""
        for number in range(count):
            generator = np.random.default_rng((seed, number))
            index = np.empty(self.samples, dtype=np.int64)
            for block in self.blocks:
                index[block.members] = block.shuffled(generator)
            yield index


def repairings(
    samples: int, folds: NDArray[np.int64] | None = None, groups: NDArray[np.int64] | None = None
) -> Repairings:
    """Return the re-pairings of samples inside folds, with groups kept whole.

    Raises
    ------
    DataError
        If a group lies in two folds.
    """
    fold_of = np.zeros(samples, dtype=np.int64) if folds is None else folds
    group_of = np.arange(samples) if groups is None else groups
    blocks = []
    for fold in np.unique(fold_of):
        rows = np.flatnonzero(fold_of == fold)
        members = rows[np.argsort(group_of[rows], kind="stable")]
        blocks.append(Block(members, np.unique(group_of[rows], return_counts=True)[1]))
    if sum(len(block.sizes) for block in blocks) > len(np.unique(group_of)):
        raise DataError("a group has samples in more than one fold; make the folds with superpose.arrays.group_folds.")
    return Repairings(tuple(blocks), samples)
