"""Trials: what one system answered to the same stimuli again and again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import as_responses, check_moderate
from superpose.files import DataError
from superpose.recordings import Recording
from superpose.recordings.matching import present_trials
from superpose.recordings.scaling import standard
from superpose.recordings.trials import missing_trials
from superpose.tensors import as_array

Array = NDArray[Any]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Trials:
    """Responses of one system to the same stimuli in every repeat; a trial that is missing is 0 in `values`.

    Attributes
    ----------
    name : str
        The system's name in messages.
    values : ndarray, (repeats, samples, units)
        Its responses.
    present : ndarray of bool, (repeats, samples)
        Which trials there are: at least one a sample.
    """

    name: str
    values: Array
    present: Mask

    @property
    def samples(self) -> int:
        """How many stimuli there are."""
        return self.present.shape[1]

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many trials each stimulus has, (samples,)."""
        return self.present.sum(axis=0)

    @property
    def complete(self) -> bool:
        """Whether no trial is missing."""
        return bool(self.present.all())

    @property
    def repeated(self) -> bool:
        """Whether any stimulus has a second trial."""
        return bool((self.counts > 1).any())

    def mean(self, chosen: Mask | None = None) -> Array:
        """Return the mean of the chosen trials of each stimulus, or of all, (samples, units) in float64."""
        which = self.present if chosen is None else chosen
        total = np.zeros(self.values.shape[1:])
        for responses, here in zip(self.values, which, strict=True):
            np.add(total, responses, out=total, where=here[:, None])
        return total / which.sum(axis=0)[:, None]

    def standardised(self) -> Trials:
        """Return the trials with units whose means over trials have mean 0 and standard deviation 1 over samples."""
        centre, spread = standard(self.mean())
        values = np.where(self.present[..., None], (self.values - centre) / spread, 0.0)
        return Trials(self.name, values.astype(self.values.dtype), self.present)

    def of(self, rows: Any) -> Trials:
        """Return the trials of some stimuli."""
        return Trials(self.name, self.values[:, rows], self.present[:, rows])

    def of_units(self, kept: Mask) -> Trials:
        """Return the trials of some units."""
        return self if kept.all() else Trials(self.name, self.values[..., kept], self.present)


def as_trials(x: ArrayLike | Trials, name: str = "x") -> Trials:
    """Return responses with repeats as `Trials`.

    Parameters
    ----------
    x : array-like, (repeats, samples, units), or (samples, units) of a system without repeats
        Repeat r of every sample. Where samples have unequal numbers of trials, a trial that is missing is NaN in
        every unit.
    name : str
        The system's name in messages.

    Raises
    ------
    DataError
        For another shape, values that are not finite numbers, a trial of which only some units are NaN, or a
        sample without any trial.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.ceilings import as_trials
    >>> x = np.ones((3, 5, 2))
    >>> x[2, 4] = np.nan
    >>> as_trials(x).counts.tolist()
    [3, 3, 3, 3, 2]
    """
    if isinstance(x, Trials):
        return x
    values = as_responses(x, name)
    if values.ndim > 3:
        raise DataError(
            f"{name} has {values.ndim} dimensions, shape {values.shape}; expected (repeats, samples, units)."
        )
    values = values[None] if values.ndim == 2 else values
    missing = np.isnan(values)
    absent = missing.all(axis=-1)
    partly = missing.any(axis=-1) & ~absent
    if partly.any():
        repeat, sample = np.argwhere(partly)[0]
        raise DataError(
            f"{name}: {int(partly.sum())} trial(s) are NaN in some units only, the first at repeat {repeat}, sample "
            f"{sample}; a missing trial is NaN in every unit. Drop such trials or units, or impute them."
        )
    if absent.all(axis=0).any():
        bare = np.flatnonzero(absent.all(axis=0))
        raise DataError(f"{name}: {len(bare)} sample(s) have no trial, the first at row {bare[0]}; drop them.")
    if absent.any():
        values = np.where(absent[..., None], values.dtype.type(0), values)
    check_moderate(values, name)
    return Trials(name, values, ~absent)


def trials_of(recordings: Iterable[Recording], stimuli: ArrayLike) -> dict[str, Trials]:
    """Return the trials of recordings, stimulus by stimulus.

    Parameters
    ----------
    recordings : iterable of Recording
        Those without repeats have one trial a stimulus.
    stimuli : array-like, (samples,)
        The order of the stimuli, as `superpose.match` returns it. Every recording holds all of them.

    Returns
    -------
    dict of str to Trials
        Trials that are NaN in every unit are missing. Repeat r holds the r-th trial of each stimulus, by the order in
        which the recording's repeat labels first appear: what was recorded in one pass over the stimuli stays together
        wherever no trial is missing.

    Raises
    ------
    DataError
        For a stimulus that a recording does not hold, or a trial that is NaN in some units only.

    Examples
    --------
    >>> from superpose.ceilings import trials_of
    >>> from superpose.recordings import Recording
    >>> ear = Recording("ear", [[30.0], [10.0], [20.0]], ["c", "a", "a"], repeats=[0, 0, 1])
    >>> trials_of([ear], ["a", "c"])["ear"].counts.tolist()
    [2, 1]
    """
    order = as_array(stimuli, "stimuli").astype(str)
    return {recording.name: _of_recording(recording, order) for recording in recordings}


def _of_recording(recording: Recording, order: NDArray[np.str_]) -> Trials:
    recording = present_trials(recording, missing_trials(recording))
    place = {stimulus: number for number, stimulus in enumerate(order.tolist())}
    where = np.array([place.get(stimulus, -1) for stimulus in recording.stimuli.tolist()])
    rows = np.flatnonzero(where >= 0)
    held = np.bincount(where[rows], minlength=len(order))
    if not held.all():
        raise DataError(f"{recording.name} has no row of stimulus {order[held == 0][0]}; expected one of each.")
    passes = _passes(recording.repeats, rows)
    # Rows by stimulus, and within it by the pass that its trial belongs to.
    rows = rows[np.lexsort((passes, where[rows]))]
    sample = where[rows]
    repeat = np.arange(len(rows)) - np.repeat(np.cumsum(held) - held, held)
    shape = (int(held.max()), len(order))
    present = np.zeros(shape, dtype=bool)
    present[repeat, sample] = True
    values = np.zeros((*shape, recording.responses.shape[1]), dtype=recording.responses.dtype)
    values[repeat, sample] = recording.responses[rows]
    check_moderate(values, recording.name)
    return Trials(recording.name, values, present)


def _passes(labels: NDArray[Any] | None, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    if labels is None:
        return np.zeros(len(rows), dtype=np.int64)
    _, first, inverse = np.unique(labels[rows], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
