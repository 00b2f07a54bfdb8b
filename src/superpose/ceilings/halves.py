"""Halves: the trials of every stimulus parted in two at random, whole repeats together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from superpose.ceilings.trials import Mask, Trials
from superpose.comparison import checked_seed
from superpose.files import DataError

Halves = tuple[Mask, Mask]


def halves(trials: Trials, splits: int, seed: int) -> Iterator[Halves]:
    """Yield which trials are in the one half and which in the other, (repeats, samples) each, no parting twice.

    A repeat falls into one half for all stimuli that have all trials, so that noise which lasts for a pass over the
    stimuli is not taken for signal. Where a number of trials is odd, either half may be the larger one.

    Raises
    ------
    DataError
        If a stimulus has a single trial, `splits` is not a positive integer, or `seed` is negative.
    """
    checked_seed(seed)
    if not isinstance(splits, int | np.integer) or splits < 1:
        raise DataError(f"splits is {splits!r}; expected an integer of at least 1.")
    if reason := unsplittable(trials):
        raise DataError(reason)
    seen: set[bytes] = set()
    for number in range(splits):
        first = _half(trials, np.random.default_rng((seed, number)))
        second = trials.present & ~first
        name = min(first.tobytes(), second.tobytes())
        if name not in seen:
            seen.add(name)
            yield first, second


def repeated_stimuli(trials: Trials) -> NDArray[np.int64]:
    """Return the rows of the stimuli with two trials or more, of which halves can be taken."""
    return np.flatnonzero(trials.counts > 1)


def at_repeated_stimuli(trials: Trials) -> Trials:
    """Return the trials of these stimuli alone."""
    rows = repeated_stimuli(trials)
    return trials if len(rows) == trials.samples else trials.of(rows)


def incomplete(trials: Trials) -> str:
    """Return why no half is of the same trials in all units, or nothing."""
    if trials.lacking is None:
        return ""
    units = int(trials.lacking.any(axis=(0, 1)).sum())
    return (
        f"{trials.name}: {units} units miss trials that others have, so that no half is of the same trials in all; "
        "leave out these units, or these trials"
    )


def unsplittable(trials: Trials) -> str:
    """Return why the trials of every stimulus cannot be split in two halves, or nothing."""
    if reason := incomplete(trials):
        return reason
    single = int((trials.counts < 2).sum())
    if not single:
        return ""
    return (
        f"{trials.name}: {single} of {trials.samples} stimuli have a single trial, which has no second half; keep the "
        "stimuli with two trials or more"
    )


def _half(trials: Trials, generator: np.random.Generator) -> Mask:
    order = generator.permutation(len(trials.present))
    shuffled = trials.present[order]
    size = (trials.counts + generator.integers(2)) // 2
    chosen = np.empty_like(shuffled)
    chosen[order] = shuffled & (np.cumsum(shuffled, axis=0) <= size)
    return chosen
