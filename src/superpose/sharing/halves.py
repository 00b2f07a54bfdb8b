"""Two independent measurements of one system, where its stimuli were repeated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike, NDArray

from superpose.arrays import as_responses
from superpose.ceilings import Trials, as_trials, halves, unsplittable
from superpose.files import DataError

Array = NDArray[Any]
Halves = dict[str, tuple[Array, Array]]


def halves_of(
    repeats: Mapping[str, ArrayLike | Trials], arrays: Mapping[str, Array], *, seed: int = 0
) -> tuple[Halves, list[str]]:
    """Return two measurements of each system, (samples, units) each, and why others have none.

    Parameters
    ----------
    repeats : mapping of str to array-like (samples, units) or (repeats, samples, units), or Trials
        A second repeat, beside which the system's array is the first; or all trials, of which it is the mean: these are
        split in two halves at random, passes over the stimuli kept whole, and averaged.
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
    >>> (first, second), = halves_of({"V4": trials}, {"V4": trials.mean(axis=0)})[0].values()
    >>> bool(np.allclose((first + second) / 2, trials.mean(axis=0)))
    True
    """
    found: Halves = {}
    why = []
    for name, given in repeats.items():
        if name not in arrays:
            raise DataError(f"repeats names {name!r}; expected some of {', '.join(map(repr, arrays))}.")
        known = given if isinstance(given, Trials) else _given(given, name)
        shape = known.values.shape[1:] if isinstance(known, Trials) else known.shape
        if shape != arrays[name].shape:
            raise DataError(f"repeats of {name} have shape {shape}; expected {arrays[name].shape}, that of the system.")
        if not isinstance(known, Trials):
            found[name] = (arrays[name], known)
        elif known.repeated and not (reason := unsplittable(known)):
            ((first, second),) = halves(known, 1, seed)
            kind = arrays[name].dtype if arrays[name].dtype.kind == "f" else float
            found[name] = (known.mean(first).astype(kind), known.mean(second).astype(kind))
        elif known.repeated:
            why.append(f"Ceilings of features do not use repeats: {reason}.")
    return found, why


def _given(x: ArrayLike, name: str) -> Array | Trials:
    values = as_responses(x, f"repeats of {name}")
    return values if values.ndim == 2 else as_trials(values, name)
