"""Trials of recordings that are missing: NaN in every unit; units may miss further ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.arrays import chunks
from superpose.files import DataError
from superpose.recordings.recording import Recording


def missing_trials(recording: Recording) -> NDArray[np.bool_]:
    """Return which rows of a recording with repeats are missing trials, (samples,): NaN in every unit.

    Raises
    ------
    DataError
        For a stimulus without any trial.
    """
    if recording.repeats is None:
        return np.zeros(len(recording.stimuli), dtype=bool)
    absent = np.empty(len(recording.stimuli), dtype=bool)
    for start, rows in chunks(recording.responses):
        absent[start : start + len(rows)] = np.isnan(rows).all(axis=1)
    bare = np.setdiff1d(recording.stimuli[absent], recording.stimuli[~absent])
    if bare.size:
        raise DataError(f"{recording.name}: {len(bare)} stimuli have no trial, the first {bare[0]}; drop their rows.")
    return absent


def units_missing(recording: Recording) -> tuple[int, float]:
    """Return how many units of a recording miss some trials, and which share of all responses that is."""
    lacking, total = np.zeros(recording.responses.shape[1], dtype=np.int64), 0
    for _, rows in chunks(recording.responses):
        empty = np.isnan(rows)
        lacking += empty.sum(axis=0)
        total += empty.size
    return int((lacking > 0).sum()), float(lacking.sum() / total)


def check_answered(name: str, answered: NDArray[np.bool_], stimuli: Sequence[object] | NDArray[Any]) -> None:
    """Raise a DataError unless every unit has some trial of every stimulus: `answered` is (stimuli, units)."""
    if answered.all():
        return
    stimulus, unit = np.argwhere(~answered)[0]
    units, pairs = int((~answered).any(axis=0).sum()), int((~answered).sum())
    raise DataError(
        f"{name}: {units} units have no trial of some stimulus ({pairs} pairs, the first unit {unit}, stimulus "
        f"{stimuli[stimulus]}); drop these units, or these stimuli."
    )
