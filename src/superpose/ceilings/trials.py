"""Trials: what one system answered to the same stimuli again and again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import as_responses, check_moderate
from superpose.files import DataError
from superpose.recordings import Recording
from superpose.recordings.labels import plain
from superpose.recordings.matching import present_trials
from superpose.recordings.scaling import standard
from superpose.recordings.systems import by_name, recorded
from superpose.recordings.trials import check_answered, missing_trials

Array = NDArray[Any]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Trials:
    """Responses of one system to the same stimuli in every repeat; one that is missing is 0 in `values`.

    Attributes
    ----------
    name : str
        The system's name in messages.
    values : ndarray, (repeats, samples, units)
        Its responses.
    present : ndarray of bool, (repeats, samples)
        Which trials there are: at least one a sample.
    lacking : ndarray of bool, (repeats, samples, units), optional
        Where a unit has no response though others have; None where every unit has every trial that there is.
    """

    name: str
    values: Array
    present: Mask
    lacking: Mask | None = None

    @property
    def samples(self) -> int:
        """How many stimuli there are."""
        return self.present.shape[1]

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many trials each stimulus has, (samples,)."""
        return self.present.sum(axis=0)

    @property
    def unit_counts(self) -> NDArray[np.int64]:
        """How many trials a unit has of each stimulus, (samples, units), or (samples, 1) if all have the same."""
        return self._counted(self.present)

    @property
    def complete(self) -> bool:
        """Whether no trial is missing."""
        return bool(self.present.all()) and self.lacking is None

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
        return total / self._counted(which)

    def squares(self, mean: Array) -> Array:
        """Return the squares of trials about a mean, summed over those that there are, (samples, units)."""
        total = np.zeros(mean.shape)
        for repeat, (responses, here) in enumerate(zip(self.values, self.present, strict=True)):
            there = here[:, None] if self.lacking is None else here[:, None] & ~self.lacking[repeat]
            total += np.where(there, np.square(responses - mean), 0.0)
        return total

    def _counted(self, which: Mask) -> NDArray[np.int64]:
        if self.lacking is None:
            return which.sum(axis=0)[:, None]
        counts = np.zeros(self.values.shape[1:], dtype=np.int64)
        for here, gone in zip(which, self.lacking, strict=True):
            counts += here[:, None] & ~gone
        return counts

    def standardised(self) -> Trials:
        """Return the trials with units whose means over trials have mean 0 and standard deviation 1 over samples."""
        centre, spread = standard(self.mean())
        there = self.present[..., None] if self.lacking is None else self.present[..., None] & ~self.lacking
        values = np.where(there, (self.values - centre) / spread, 0.0)
        return replace(self, values=values.astype(self.values.dtype))

    def of(self, rows: Any) -> Trials:
        """Return the trials of some stimuli."""
        lacking = None if self.lacking is None else self.lacking[:, rows]
        return Trials(self.name, self.values[:, rows], self.present[:, rows], lacking)

    def of_units(self, kept: Mask) -> Trials:
        """Return the trials of some units."""
        if kept.all():
            return self
        lacking = None if self.lacking is None else self.lacking[..., kept]
        return Trials(self.name, self.values[..., kept], self.present, lacking)


def as_trials(x: ArrayLike | Trials | Recording, name: str = "x") -> Trials:
    """Return responses with repeats as `Trials`.

    Parameters
    ----------
    x : array-like, (repeats, samples, units), or (samples, units) of a system without repeats; or Recording
        Repeat r of every sample. Where samples have unequal numbers of trials, a trial that is missing is NaN in every
        unit; a unit that misses further ones is NaN there. Of a Recording, repeat r holds the r-th trial of each
        stimulus, in the order in which stimuli first appear.
    name : str
        The system's name in messages.

    Raises
    ------
    DataError
        For another shape, values that are not finite numbers, or a sample or unit without any trial.

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
    if isinstance(x, Recording):
        _, first = np.unique(x.stimuli, return_index=True)
        return _of_recording(replace(x, name=name), x.stimuli[np.sort(first)])
    values = as_responses(x, name)
    if values.ndim > 3:
        raise DataError(
            f"{name} has {values.ndim} dimensions, shape {values.shape}; expected (repeats, samples, units)."
        )
    values = values[None] if values.ndim == 2 else values
    missing: Mask = np.asarray(np.isnan(values))
    return _with_missing(name, values, missing, range(values.shape[1]))


def _with_missing(name: str, values: Array, missing: Mask, stimuli: Sequence[Any] | Array) -> Trials:
    """Return responses, (repeats, samples, units), of which some are missing."""
    absent, answered = np.asarray(missing.all(axis=-1)), np.asarray(~missing.all(axis=0))
    if absent.all(axis=0).any():
        bare = np.flatnonzero(absent.all(axis=0))
        raise DataError(f"{name}: {len(bare)} sample(s) have no trial, the first at row {bare[0]}; drop them.")
    lacking = missing & ~absent[..., None]
    if lacking.any():
        check_answered(name, answered, stimuli)
    if missing.any():
        values = np.where(missing, values.dtype.type(0), values)
    check_moderate(values, name)
    return Trials(name, values, ~absent, lacking if lacking.any() else None)


def lone(x: Array, name: str) -> Trials:
    """Return responses of one trial each, (samples, units), which are known to be finite, without a copy."""
    return Trials(name, x[None], np.ones((1, len(x)), dtype=bool))


def trials_of(recordings: Iterable[Recording], stimuli: ArrayLike) -> dict[str, Trials]:
    """Return the trials of recordings, stimulus by stimulus.

    Parameters
    ----------
    recordings : iterable of Recording
        Those without repeats have one trial per stimulus.
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
        For a stimulus that a recording does not hold, or of which a unit has no trial.

    Examples
    --------
    >>> from superpose.ceilings import trials_of
    >>> from superpose.recordings import Recording
    >>> ear = Recording("ear", [[30.0], [10.0], [20.0]], ["c", "a", "a"], repeats=[0, 0, 1])
    >>> trials_of([ear], ["a", "c"])["ear"].counts.tolist()
    [2, 1]
    """
    order = plain(stimuli, "stimuli").astype(str)
    return {recording.name: _of_recording(recording, order) for recording in recordings}


def repeated_trials(
    recordings: Iterable[Recording], stimuli: ArrayLike, arrays: Mapping[str, Array]
) -> dict[str, Trials] | None:
    """Return the trials of all systems, given their means, or None where none of them has a stimulus twice."""
    recorded_trials = trials_of([recording for recording in recordings if recording.repeats is not None], stimuli)
    if not any(own.repeated for own in recorded_trials.values()):
        return None
    return {name: recorded_trials.get(name) or lone(np.asarray(x), name) for name, x in arrays.items()}


def trials_in(systems: Any, stimuli: ArrayLike | None, arrays: Mapping[str, Array]) -> dict[str, Trials] | None:
    """Return the trials that systems carry, as Python calls take these, or None where none of them repeats.

    Parameters
    ----------
    systems : mapping of str to array, Recording, pandas.DataFrame or xarray.DataArray
    stimuli : array-like, (samples,), optional
        The paired rows, as `superpose.recordings.systems.paired_with_stimuli` returns them.
    arrays : mapping of str to array, (samples, units)
        Their means over trials.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.ceilings.trials import trials_in
    >>> from superpose.recordings import Recording
    >>> ear = Recording("ear", [[30.0], [10.0], [20.0]], ["c", "a", "a"], repeats=[0, 0, 1])
    >>> trials_in({"ear": ear}, ["a", "c"], {"ear": np.array([[15.0], [30.0]])})["ear"].counts.tolist()
    [2, 1]
    """
    if stimuli is None:
        return None
    known = (recorded(x, str(name)) for name, x in by_name(systems).items())
    return repeated_trials([x for x in known if isinstance(x, Recording)], stimuli, arrays)


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
    missing = np.ones((*shape, recording.responses.shape[1]), dtype=bool)
    values = np.zeros(missing.shape, dtype=recording.responses.dtype)
    values[repeat, sample] = recording.responses[rows]
    missing[repeat, sample] = np.isnan(recording.responses[rows])
    return _with_missing(recording.name, values, missing, order)


def _passes(labels: NDArray[Any] | None, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    if labels is None:
        return np.zeros(len(rows), dtype=np.int64)
    _, first, inverse = np.unique(labels[rows], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
