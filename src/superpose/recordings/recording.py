"""A recording: responses with the stimuli that caused them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import as_responses, to_numpy
from superpose.files import DataError


@dataclass(frozen=True, eq=False)
class Recording:
    """Responses of one system, with the stimulus behind every row.

    Parameters
    ----------
    name : str
        The system's name, as it will stand in tables.
    responses : array-like, (samples, units)
        Real numbers; one row a stimulus, or one row a trial when `repeats` is given.
    stimuli : array-like, (samples,)
        The stimulus id of every row: integers or text. They are kept as text, so that 7 and "7" are one id.
    repeats : array-like, (samples,), optional
        The trial of every row: integers or text. (stimulus, repeat) must be unique.
    groups : array-like, (samples,), optional
        What makes rows dependent (sentence, photograph, session), kept whole by folds, intervals and nulls.

    Raises
    ------
    DataError
        If the responses are not a real (samples, units) array, if a label is missing or is not one a row, or
        if a stimulus occurs twice without repeats that tell its trials apart.

    Examples
    --------
    >>> from superpose.recordings import Recording
    >>> Recording("V1", [[1.0, 2.0], [3.0, 4.0]], stimuli=["cat", "dog"]).responses.shape
    (2, 2)
    """

    name: str
    responses: NDArray[Any]
    stimuli: NDArray[Any]
    repeats: NDArray[Any] | None = None
    groups: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        responses = two_dimensional(as_responses(self.responses, self.name), self.name)
        samples = len(responses)
        columns = {"responses": responses, "stimuli": _labels(self.stimuli, samples, f"{self.name}: stimuli")}
        for what in ("repeats", "groups"):
            if (given := getattr(self, what)) is not None:
                columns[what] = _labels(given, samples, f"{self.name}: {what}")
        for what, column in columns.items():
            object.__setattr__(self, what, column)
        self._refuse_duplicates()

    def _refuse_duplicates(self) -> None:
        trials = self.stimuli if self.repeats is None else np.stack([self.stimuli, self.repeats], axis=1)
        values, counts = np.unique(trials, axis=0, return_counts=True)
        if counts.max() == 1:
            return
        first = values[counts.argmax()]
        what = f"{first}" if self.repeats is None else f"{first[0]}, repeat {first[1]}"
        raise DataError(
            f"{self.name} has {counts.max()} rows of stimulus {what}; expected one. Label the trials of a stimulus "
            "with repeats= (a number or text that differs between them)."
        )


def _labels(values: ArrayLike, samples: int, what: str) -> NDArray[Any]:
    labels = np.asarray(to_numpy(values))
    if labels.shape != (samples,):
        raise DataError(f"{what} have shape {labels.shape}; expected one label a row, ({samples},).")
    if labels.dtype.kind not in "iubUO":
        raise DataError(f"{what} are of type {labels.dtype}; expected integers or text. Convert them with astype(int).")
    if labels.dtype.kind == "O":
        missing = [row for row, value in enumerate(labels) if value is None or value != value]
        if missing:
            raise DataError(f"{what}: {len(missing)} missing, the first at row {missing[0]}; label every row.")
    return labels.astype(str)


def two_dimensional(array: Any, what: str) -> Any:
    """Return an array, or what has its shape, or raise a DataError if it has not two axes."""
    if array.ndim != 2:
        raise DataError(
            f"{what} has {array.ndim} dimensions, shape {array.shape}; expected two, (samples, units). Keep each "
            "repeat in a file or recording of its own."
        )
    return array
