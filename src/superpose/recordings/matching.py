"""Pairing of recordings by stimulus id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.recording import Recording
from superpose.recordings.unpacking import filled, tiles


class Matched(NamedTuple):
    """Systems whose rows are the same stimuli in the same order."""

    systems: dict[str, NDArray[Any]]
    stimuli: NDArray[Any]
    groups: NDArray[Any] | None


def match(recordings: Iterable[Recording]) -> Matched:
    """Pair recordings by stimulus id: the stimuli that all of them share, in the order of the first.

    Where a recording has repeats, its trials are averaged for each stimulus before pairing. Rows that follow one
    another in the recording as in the result are a view of it, and stay mapped if they were.

    Parameters
    ----------
    recordings : iterable of Recording
        At least one, with different names.

    Returns
    -------
    Matched
        `systems` {name: (shared stimuli, units)}; `stimuli` (shared stimuli,), text; `groups` (shared
        stimuli,), or None where no recording has any. Recordings that have groups must group the shared
        stimuli alike.

    Raises
    ------
    DataError
        If there is nothing to pair, two recordings have one name, the trials of one stimulus lie in different
        groups, or two recordings group the shared stimuli differently.

    Examples
    --------
    >>> from superpose.recordings import Recording, match
    >>> eye = Recording("eye", [[1.0], [2.0], [3.0]], ["a", "b", "c"])
    >>> ear = Recording("ear", [[30.0], [10.0], [20.0]], ["c", "a", "a"], repeats=[0, 0, 1])
    >>> matched = match([eye, ear])
    >>> matched.stimuli.tolist(), matched.systems["ear"].tolist()
    (['a', 'c'], [[15.0], [30.0]])
    """
    recordings = list(recordings)
    names = [recording.name for recording in recordings]
    if not names or len(set(names)) < len(names):
        raise DataError(f"match was given recordings named {names}; expected at least one, each name once.")
    means = [_mean_of_trials(recording) for recording in recordings]
    shared = set(means[0].stimuli.tolist()).intersection(*(mean.stimuli.tolist() for mean in means[1:]))
    if not shared:
        examples = "; ".join(f"{mean.name}: {', '.join(mean.stimuli[:3])} …" for mean in means)
        raise DataError(
            f"no stimulus id is shared by all of {', '.join(names)} ({examples}); use the same ids in each."
        )
    stimuli = np.array([stimulus for stimulus in means[0].stimuli.tolist() if stimulus in shared])
    rows = [_rows(mean.stimuli, stimuli) for mean in means]
    systems = {mean.name: _taken(mean.name, mean.responses, row) for mean, row in zip(means, rows, strict=True)}
    grouped = [(mean.name, mean.groups[row]) for mean, row in zip(means, rows, strict=True) if mean.groups is not None]
    return Matched(systems, stimuli, _one_grouping(grouped))


def _rows(have: NDArray[Any], want: NDArray[Any]) -> NDArray[np.int64]:
    place = {stimulus: row for row, stimulus in enumerate(have.tolist())}
    return np.array([place[stimulus] for stimulus in want.tolist()], dtype=np.int64)


def _taken(name: str, responses: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return rows; without a copy where they follow one another, so that a mapped file stays on the disk."""
    run = slice(rows[0], rows[0] + len(rows))
    if np.array_equal(rows, np.arange(run.start, run.stop)):
        return responses[run]

    def fill(out: NDArray[Any]) -> None:
        for part, _ in tiles(out.shape, (1, out.shape[1]), out.itemsize):
            out[part] = responses[rows[part]]

    return filled(name, (len(rows), responses.shape[1]), responses.dtype, fill)


def _mean_of_trials(recording: Recording) -> Recording:
    if recording.repeats is None:
        return recording
    stimuli, first, which, trials = np.unique(
        recording.stimuli, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(first)
    # The rows of the stimuli one after another, those of each in their order.
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    rows, ends = np.argsort(place[which], kind="stable"), np.cumsum(trials[order])

    def fill(out: NDArray[Any]) -> None:
        for part, _ in tiles(out.shape, (1, out.shape[1]), 8 * -(-len(rows) // len(out))):
            own = rows[ends[part.start] - trials[order[part.start]] : ends[part.stop - 1]]
            total = np.zeros(out[part].shape)
            np.add.at(total, place[which[own]] - part.start, recording.responses[own])
            out[part] = total / trials[order[part], None]

    shape = (len(stimuli), recording.responses.shape[1])
    mean = filled(recording.name, shape, recording.responses.dtype, fill)
    groups = recording.groups
    if groups is not None:
        split = groups != groups[first][which]
        if split.any():
            raise DataError(
                f"{recording.name}: the trials of stimulus {recording.stimuli[split][0]} lie in different groups; "
                "expected one group a stimulus, because trials are averaged."
            )
        groups = groups[first][order]
    return Recording(recording.name, mean, stimuli[order], groups=groups)


def _one_grouping(grouped: list[tuple[str, NDArray[Any]]]) -> NDArray[Any] | None:
    if not grouped:
        return None
    (first, groups), *others = grouped
    for name, other in others:
        pairs = len(set(zip(groups.tolist(), other.tolist(), strict=True)))
        if not len(set(groups.tolist())) == pairs == len(set(other.tolist())):
            raise DataError(
                f"{first} and {name} group the shared stimuli differently; keep the groups that folds must not split "
                "in one recording, and leave them out of the others."
            )
    return groups
