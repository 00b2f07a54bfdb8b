"""Trials of recordings that are missing: NaN in every unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from superpose.arrays import chunks
from superpose.files import DataError
from superpose.recordings.recording import Recording


def missing_trials(recording: Recording) -> NDArray[np.bool_]:
    """Return which rows of a recording with repeats are missing trials, (samples,).

    Raises
    ------
    DataError
        For a trial of which only some units are NaN, or a stimulus without any trial.
    """
    if recording.repeats is None:
        return np.zeros(len(recording.stimuli), dtype=bool)
    absent = np.empty(len(recording.stimuli), dtype=bool)
    for start, rows in chunks(recording.responses):
        empty = np.isnan(rows)
        own = absent[start : start + len(rows)] = empty.all(axis=1)
        if (partly := np.flatnonzero(empty.any(axis=1) & ~own)).size:
            raise DataError(
                f"{recording.name}: {len(partly)} trial(s) are NaN in some units only, the first at row "
                f"{start + partly[0]}, stimulus {recording.stimuli[start + partly[0]]}; a missing trial is NaN in "
                "every unit. Drop such trials or units, or impute them."
            )
    bare = np.setdiff1d(recording.stimuli[absent], recording.stimuli[~absent])
    if bare.size:
        raise DataError(f"{recording.name}: {len(bare)} stimuli have no trial, the first {bare[0]}; drop their rows.")
    return absent
