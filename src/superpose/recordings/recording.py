"""A recording: responses with the stimuli that caused them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.arrays import as_responses
from superpose.files import DataError
from superpose.messages.notebook import counted, html
from superpose.recordings.axes import two_dimensional
from superpose.recordings.columns import counts
from superpose.recordings.labels import labelled


@dataclass(frozen=True, eq=False)
class Recording:
    """Responses of one system, with the stimulus behind every row.

    Parameters
    ----------
    name : str
        The system's name in tables.
    responses : array-like, (samples, units)
        Real numbers; one row per stimulus, or one row per trial when `repeats` is given.
    stimuli : array-like, (samples,)
        The stimulus id of every row: numbers, text or dates. They are kept as text, so that 7, 7.0 and "7" are one id;
        where any number is fractional, 22 and 22.5 are "22.0" and "22.5".
    repeats : array-like, (samples,), optional
        The trial of every row: numbers or text. (stimulus, repeat) must be unique. Without them, the trials of a
        stimulus are numbered in their order.
    groups : array-like, (samples,), optional
        Groups of dependent rows (sentence, photograph, session), which folds, intervals and nulls never split.

    sources : mapping of str to str, optional
        The name of the column or array that each of "stimuli", "repeats" and "groups" was read from. An empty name for
        stimuli means the unnamed index of a table; an index that only numbers the rows is not a label.

    Raises
    ------
    DataError
        If the responses are not a real (samples, units) array, if a label is missing or is not one a row, or
        if repeats do not tell the trials of a stimulus apart.

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
    sources: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return the sizes, in words."""
        samples, units = self.responses.shape
        stimuli = len(np.unique(self.stimuli))
        parts = [f"{stimuli:,} stimul{'us' if stimuli == 1 else 'i'}"]
        for kind, labels in (("repeat", self.repeats), ("group", self.groups)):
            if labels is not None:
                parts.append(counted(len(np.unique(labels)), kind))
        return f"Recording {self.name}: {counted(samples, 'row')} of {counted(units, 'unit')}; {', '.join(parts)}"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the sizes."""
        return html(repr(self), ())

    @property
    def numbered(self) -> bool:
        """Whether the stimuli are no more than the numbers of the rows, which nobody chose as labels."""
        if self.sources.get("stimuli") != "":
            return False
        return counts(self.stimuli if self.repeats is None else _in_order(self.stimuli))

    def __post_init__(self) -> None:
        responses = two_dimensional(as_responses(self.responses, self.name), self.name)
        samples = len(responses)
        columns = {"responses": responses, "stimuli": labelled(self.stimuli, samples, f"{self.name}: stimuli")}
        for what in ("repeats", "groups"):
            if (given := getattr(self, what)) is not None:
                columns[what] = labelled(given, samples, f"{self.name}: {what}")
        if "repeats" in columns:
            _check_unique(self.name, columns["stimuli"], columns["repeats"])
        elif (numbers := _numbered(columns["stimuli"])) is not None:
            columns["repeats"] = numbers
        for what, column in columns.items():
            object.__setattr__(self, what, column)


def _check_unique(name: str, stimuli: NDArray[np.str_], repeats: NDArray[np.str_]) -> None:
    values, counts = np.unique(np.stack([stimuli, repeats], axis=1), axis=0, return_counts=True)
    if counts.max() > 1:
        stimulus, repeat = values[counts.argmax()]
        raise DataError(
            f"{name} has {counts.max()} rows of stimulus {stimulus}, repeat {repeat}; expected one. Label the trials "
            "of a stimulus with repeats= (a number or text that differs between them), or leave repeats out: trials "
            "are then numbered in their order."
        )


def _numbered(stimuli: NDArray[np.str_]) -> NDArray[np.str_] | None:
    """Return the number of every trial among those of its stimulus, or None where every stimulus has one."""
    from pandas import Series

    labels = Series(stimuli)
    return labels.groupby(labels, sort=False).cumcount().to_numpy().astype(str) if labels.duplicated().any() else None


def _in_order(stimuli: NDArray[np.str_]) -> NDArray[np.str_]:
    _, first = np.unique(stimuli, return_index=True)
    return stimuli[np.sort(first)]
