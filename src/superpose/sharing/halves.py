"""Two independent measurements of one system, where its stimuli were repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import as_responses
from superpose.ceilings import Trials, as_trials, halves
from superpose.ceilings.halves import at_repeated_stimuli, incomplete, repeated_stimuli
from superpose.files import DataError

Array = NDArray[Any]
Index = NDArray[np.int64]

# Fewer repeated stimuli than these, for training and for testing, leave a regression across halves nothing to learn.
FEWEST_TRAINING, FEWEST_TEST = 100, 10


@dataclass(frozen=True, eq=False)
class Halves:
    """Two measurements of one system at the stimuli that were repeated.

    Attributes
    ----------
    first, second : ndarray, (repeated stimuli, units)
        Means over two halves of the trials, or two repeats.
    rows : ndarray of int, (repeated stimuli,)
        These stimuli, in order, among all samples.
    """

    first: Array
    second: Array
    rows: Index

    def at(self, rows: Index) -> Halves:
        """Return the measurements at some of the repeated stimuli."""
        chosen = np.searchsorted(self.rows, rows)
        return Halves(self.first[chosen], self.second[chosen], rows)


def halves_of(
    repeats: Mapping[str, ArrayLike | Trials], arrays: Mapping[str, Array], *, seed: int = 0
) -> tuple[dict[str, Halves], list[str]]:
    """Return two measurements of each system that was repeated, and why others have none.

    Parameters
    ----------
    repeats : mapping of str to array-like (samples, units) or (repeats, samples, units), or Trials
        A second repeat, beside which the system's array is the first; or all trials, of which it is the mean: these are
        split in two halves at random, passes over the stimuli kept whole, and averaged. Stimuli with a single trial are
        left out.
    arrays : mapping of str to array, (samples, units)
        The systems.
    seed : int
        Seed of the split.

    Raises
    ------
    DataError
        For a name that is not among the systems, or responses of other samples or units.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.sharing.halves import halves_of
    >>> trials = np.arange(24.0).reshape(4, 3, 2)
    >>> found, _ = halves_of({"V4": trials}, {"V4": trials.mean(axis=0)})
    >>> bool(np.allclose((found["V4"].first + found["V4"].second) / 2, trials.mean(axis=0)))
    True
    """
    split: dict[str, Halves] = {}
    why = []
    for name, given in repeats.items():
        if name not in arrays:
            raise DataError(f"repeats names {name!r}; expected some of {', '.join(map(repr, arrays))}.")
        known = given if isinstance(given, Trials) else _given(given, name)
        shape = known.values.shape[1:] if isinstance(known, Trials) else known.shape
        if shape != arrays[name].shape:
            raise DataError(f"repeats of {name} have shape {shape}; expected {arrays[name].shape}, that of the system.")
        if not isinstance(known, Trials):
            split[name] = Halves(arrays[name], known, np.arange(len(known)))
        elif known.repeated and not (reason := incomplete(known)):
            kind = arrays[name].dtype if arrays[name].dtype.kind == "f" else float
            repeated = at_repeated_stimuli(known)
            ((first, second),) = halves(repeated, 1, seed)
            means = [repeated.mean(half).astype(kind) for half in (first, second)]
            split[name] = Halves(means[0], means[1], repeated_stimuli(known))
        elif known.repeated:
            why.append(f"Ceilings of features do not use repeats: {reason}.")
    return split, why


def repeated_by_both(
    split: Mapping[str, Halves], pair: tuple[str, str], held_out: NDArray[np.bool_]
) -> tuple[Index | None, str]:
    """Return the stimuli at which codes of a pair are predicted across halves, and a note where these are not all.

    None where a system has no halves, or where the stimuli that both repeat are too few.
    """
    a, b = pair
    if not (a in split and b in split):
        return None, ""
    rows, samples = np.intersect1d(split[a].rows, split[b].rows), len(held_out)
    if len(rows) == samples:
        return rows, ""
    both = f"{a} and {b}: both repeat {len(rows):,} of {samples:,} stimuli"
    test = int(held_out[rows].sum())
    if len(rows) - test < FEWEST_TRAINING or test < FEWEST_TEST:
        return None, (
            f"{both}, {len(rows) - test} of them for training and {test} for testing; halves of the trials need "
            f"{FEWEST_TRAINING} and {FEWEST_TEST}. Codes are predicted from means over trials instead, in which noise "
            "makes shared features look private."
        )
    return (
        rows,
        f"{both}. Codes are predicted across halves of the trials at these; features and raw scores are of all.",
    )


def _given(x: ArrayLike, name: str) -> Array | Trials:
    values = as_responses(x, f"repeats of {name}")
    return values if values.ndim == 2 else as_trials(values, name)
