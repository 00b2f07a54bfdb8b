"""Which folds are held out, and which train for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import group_folds, shuffled_folds
from superpose.arrays.tensors import as_array
from superpose.files import DataError, argument, in_python
from superpose.statistics.permutations import check_whole

# Folds of the training samples of one fixed split, on which penalties are chosen.
INNER = 5

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """For each held-out fold, the folds that its weights are fitted on; whether samples come in groups."""

    rounds: tuple[tuple[int, tuple[int, ...]], ...]
    grouped: bool = False

    @property
    def held_out(self) -> tuple[int, ...]:
        """The folds that are scored."""
        return tuple(fold for fold, _ in self.rounds)

    @property
    def in_turn(self) -> bool:
        """Whether what is scored in one round trains in another."""
        return any(set(training) & set(self.held_out) for _, training in self.rounds)


@dataclass(frozen=True)
class Split:
    """The fold of each sample, which folds train for which, and in words how samples are split."""

    folds: Labels
    plan: Plan
    name: str

    @property
    def training(self) -> int:
        """How many samples weights are fitted on, in the round that has the fewest."""
        return min(int(np.isin(self.folds, training).sum()) for _, training in self.plan.rounds)


def split_of(
    samples: int,
    *,
    cv: int | ArrayLike | None = 5,
    test: float | ArrayLike | None = None,
    groups: Labels | None = None,
    labels: Labels | None = None,
    seed: int = 0,
) -> Split:
    """Return how samples are split, groups never across folds.

    Parameters
    ----------
    samples : int
    cv : int, integer array (samples,) or None
        That many folds, drawn at random; the fold of each sample; or None for one fold that is fitted and scored.
    test : boolean array, (samples,), or float, optional
        One fixed split in place of `cv`: fitted where False, scored where True; or the share of samples, drawn at
        random, that is scored. The training samples lie in folds of their own, for what is chosen inside them.
    groups, labels : ndarray of int, (samples,), optional
        Which samples belong together, and what they show: see `superpose.arrays.group_folds`.
    seed : int
        Of whatever is drawn.

    Raises
    ------
    DataError
        For folds or a test that do not fit the samples, or a group in two folds.

    Examples
    --------
    >>> from superpose.metrics.splits import split_of
    >>> split_of(100, cv=4).plan.rounds[0], split_of(100, test=0.2).plan.rounds
    ((0, (1, 2, 3)), ((5, (0, 1, 2, 3, 4)),))
    """
    # Groups of one are samples.
    grouped = groups is not None and int(np.bincount(groups).max()) > 1
    if test is not None:
        return _fixed(samples, marked(samples, test, groups, seed), groups, labels, seed, grouped)
    if cv is None:
        return Split(np.zeros(samples, dtype=np.int64), Plan(((0, (0,)),), grouped), "in-sample")
    if isinstance(cv, int | np.integer):
        folds = _drawn(samples, int(cv), groups, labels, seed)
    else:
        folds = _given(samples, cv)
        if groups is not None:
            check_whole(groups, folds)
    everything = range(int(folds.max()) + 1)
    plan = Plan(tuple((f, tuple(g for g in everything if g != f)) for f in everything), grouped)
    return Split(folds, plan, f"cv={len(everything)}")


def _drawn(samples: int, folds: int, groups: Labels | None, labels: Labels | None, seed: int) -> Labels:
    if groups is None:
        return shuffled_folds(samples, folds, labels=labels, seed=seed)
    return group_folds(groups, folds, labels=labels, seed=seed)


def _given(samples: int, cv: Any) -> Labels:
    folds = as_array(cv, "cv")
    if folds.shape != (samples,) or folds.dtype.kind not in "iu":
        raise DataError(
            f"{argument('cv')} has shape {folds.shape} and type {folds.dtype}; expected an integer, or the fold of "
            f"each sample as integers, ({samples},)."
        )
    folds = np.unique(folds, return_inverse=True)[1]
    if folds.max() < 1:
        raise DataError(
            f"{argument('cv')} puts every sample in one fold; expected at least two"
            f"{in_python(', or None to score in-sample')}."
        )
    return folds


def marked(samples: int, test: float | ArrayLike, groups: Labels | None, seed: int) -> NDArray[np.bool_]:
    """Return which samples one fixed split scores, from a mask or the share of them."""
    if isinstance(test, float | np.floating):
        if not 0 < test < 1:
            otherwise = in_python(", or a boolean for each sample")
            raise DataError(f"{argument('test')} is {test!r}; expected a share between 0 and 1{otherwise}.")
        of = np.arange(samples) if groups is None else groups
        order = np.random.default_rng((seed, 1)).permutation(int(of.max()) + 1)
        filled = np.cumsum(np.bincount(of)[order])
        chosen = order[: max(1, int(np.abs(filled - test * samples).argmin()) + 1)]
        mask = np.isin(of, chosen)
    else:
        mask = as_array(test, "test")
        if mask.shape != (samples,) or mask.dtype != bool:
            raise DataError(
                f"test has shape {mask.shape} and type {mask.dtype}; expected booleans, ({samples},), or a share."
            )
    if mask.all() or not mask.any():
        raise DataError(f"test marks {int(mask.sum())} of {samples} samples; expected some to score and some to fit.")
    return mask


def _fixed(
    samples: int,
    mask: NDArray[np.bool_],
    groups: Labels | None,
    labels: Labels | None,
    seed: int,
    grouped: bool,
) -> Split:
    if groups is not None:
        check_whole(groups, mask.astype(np.int64))
    training = np.flatnonzero(~mask)
    kept = None if groups is None else np.unique(groups[training], return_inverse=True)[1]
    if kept is not None and not kept.any():
        # Of one group there is nothing to keep apart.
        kept = None
    count = min(INNER, len(training) // 2 if kept is None else int(kept.max()) + 1)
    folds = np.zeros(samples, dtype=np.int64)
    if count > 1:
        folds[training] = _drawn(len(training), count, kept, None if labels is None else labels[training], seed)
    held_out = int(folds.max()) + 1
    folds[mask] = held_out
    return Split(folds, Plan(((held_out, tuple(range(held_out))),), grouped), "test")
