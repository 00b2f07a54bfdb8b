"""Permutations of samples, or of whole groups among groups of equal size, inside folds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import lgamma, log

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError

Index = NDArray[np.int64]

# With fewer distinct permutations no p can fall to .05, and a "shuffled" pairing may be the true one.
FEWEST = 20
# Groups that exchange places, where a fold has as many: among fewer, too many stay in their own place.
STRATUM = 4


@dataclass(frozen=True)
class Stratum:
    """Groups of one fold that exchange places: the positions of their samples, (groups, samples of a group)."""

    fold: int
    members: Index


@dataclass(frozen=True)
class Permutations:
    """Random permutations that are valid under independence of two systems, whatever the sizes of the groups.

    Without groups, samples are permuted inside each fold. With groups, whole groups exchange places with others of the
    same fold and of as many samples, position by position. Where too few groups of a fold are equal in size, groups of
    similar size form a stratum of at least four, and each takes part with as many samples as the smallest has, its
    first ones: `kept` are the samples that take part. The score that a p-value belongs to is of the same samples.

    Attributes
    ----------
    kept : ndarray of int, ascending
        The samples that take part.
    strata : tuple of Stratum
        What exchanges places, as positions in `kept`.
    samples : int
        How many samples there are.

    References
    ----------
    Winkler, Webster, Vidaurre, Nichols & Smith, Multi-level block permutation, NeuroImage 123, 2015.
    """

    kept: Index
    strata: tuple[Stratum, ...]
    samples: int

    @property
    def partial(self) -> bool:
        """Whether some samples take no part."""
        return len(self.kept) < self.samples

    def enough(self, folds: Iterable[int]) -> bool:
        """Whether the samples of the given folds have `FEWEST` permutations or more."""
        chosen = set(folds)
        return sum(lgamma(len(s.members) + 1) for s in self.strata if s.fold in chosen) >= log(FEWEST)

    def draw(self, count: int, seed: int) -> Iterator[Index]:
        """Yield `count` index arrays, (kept,): kept sample i is paired with kept sample index[i]."""
        for number in range(count):
            generator = np.random.default_rng((seed, number))
            index = np.empty(len(self.kept), dtype=np.int64)
            for stratum in self.strata:
                index[stratum.members] = stratum.members[generator.permutation(len(stratum.members))]
            yield index

    def scramble(self, seed: int) -> Index:
        """Return one permutation that also orders the samples inside each group at random.

        Nothing is then paired as it was, not even by its place in a group (the first word of every sentence). For a
        control: where neighbours in a group are alike, the scores that it gives vary less than under independence.
        """
        generator = np.random.default_rng((seed, 0))
        index = np.empty(len(self.kept), dtype=np.int64)
        for stratum in self.strata:
            groups = stratum.members[generator.permutation(len(stratum.members))]
            index[stratum.members] = generator.permuted(groups, axis=1)
        return index


def check_whole(groups: Index, folds: Index) -> None:
    """Raise a DataError if a group lies in two folds."""
    first = np.zeros(int(groups.max()) + 1, dtype=np.int64)
    first[groups] = folds
    if (first[groups] != folds).any():
        raise DataError("a group has samples in more than one fold; make the folds with superpose.arrays.group_folds.")


def permutations(samples: int, folds: Index | None = None, groups: Index | None = None) -> Permutations:
    """Return the permutations of samples inside folds, with groups kept whole.

    Parameters
    ----------
    samples : int
    folds : ndarray of int, (samples,), optional
        The fold of each sample, from 0; None is one fold.
    groups : ndarray of int, (samples,), optional
        The group of each sample; None permutes samples.

    Raises
    ------
    DataError
        If a group lies in two folds.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.statistics.permutations import permutations
    >>> groups = np.repeat(np.arange(8), [3, 3, 3, 3, 5, 5, 5, 6])
    >>> found = permutations(33, None, groups)
    >>> len(found.kept), [stratum.members.shape for stratum in found.strata]
    (32, [(4, 3), (4, 5)])
    """
    fold_of = np.zeros(samples, dtype=np.int64) if folds is None else folds
    group_of = np.arange(samples) if groups is None else groups
    if groups is not None:
        check_whole(group_of, fold_of)
    parts = [
        (int(fold), members)
        for fold in np.unique(fold_of)
        for members in _strata(np.flatnonzero(fold_of == fold), group_of)
    ]
    kept = np.sort(np.concatenate([members.ravel() for _, members in parts]))
    strata = tuple(Stratum(fold, np.searchsorted(kept, members)) for fold, members in parts)
    return Permutations(kept, strata, samples)


def _strata(rows: Index, group_of: Index) -> list[Index]:
    """Return the rows of one fold as strata of groups of equal size, (groups, size) each."""
    rows = rows[np.argsort(group_of[rows], kind="stable")]
    sizes = np.unique(group_of[rows], return_counts=True)[1]
    starts = np.cumsum(sizes) - sizes
    ascending = np.argsort(sizes, kind="stable")
    found = []
    for run in _runs(sizes[ascending]):
        groups = np.sort(ascending[run])
        found.append(rows[starts[groups][:, None] + np.arange(sizes[groups].min())])
    return found


def _runs(sizes: Index) -> list[slice]:
    """Cut ascending sizes into runs of `STRATUM` groups or more that keep the most samples, in the fewest runs."""
    # A run ends where sizes grow, or takes the few groups of the next size that it lacks.
    grow = np.flatnonzero(np.diff(sizes)) + 1
    inside = np.unique((grow[:, None] + np.arange(STRATUM)).ravel())
    ends = [0, *inside[inside < len(sizes)].tolist(), len(sizes)]
    # Up to each end: the samples kept, less a little for each run; and where the last run begins.
    best: list[tuple[float, int]] = [(0.0, 0)]
    for last, end in enumerate(ends[1:], start=1):
        options = [(0.0 if end == len(sizes) or end >= STRATUM else -np.inf, 0)]
        options += [(best[first][0], first) for first in range(1, last) if end - ends[first] >= STRATUM]
        values = [(kept + int(sizes[ends[at]]) * (end - ends[at]) - 1e-6, at) for kept, at in options]
        best.append(max(values))
    runs = []
    last = len(ends) - 1
    while last:
        first = best[last][1]
        runs.append(slice(ends[first], ends[last]))
        last = first
    return runs[::-1]
