"""Pairing of recordings by stimulus id."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.messages.notebook import counted, html
from superpose.messages.wording import percent
from superpose.recordings.columns import counts
from superpose.recordings.labels import LABELS
from superpose.recordings.likeness import alike, look_alikes
from superpose.recordings.recording import Recording
from superpose.recordings.trials import check_answered, missing_trials, units_missing
from superpose.recordings.unpacking import filled, tiles


class Matched(NamedTuple):
    """Systems whose rows are the same stimuli in the same order; every call that takes systems takes it."""

    systems: dict[str, NDArray[Any]]
    stimuli: NDArray[Any]
    groups: NDArray[Any] | None

    def __repr__(self) -> str:
        """Return the sizes, in words."""
        grouped = "" if self.groups is None else f" in {counted(len(np.unique(self.groups)), 'group')}"
        units = ", ".join(f"{name} ({counted(x.shape[-1], 'unit')})" for name, x in self.systems.items())
        return f"{len(self.stimuli):,} stimuli{grouped} of {units}\n.systems .stimuli .groups"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the sizes."""
        return html(repr(self).split("\n")[0], ())


def match(recordings: Iterable[Recording]) -> Matched:
    """Pair recordings by stimulus id: the stimuli that all of them share, in the order of the first.

    Where a recording has repeats, the trials of each stimulus are averaged before pairing. A trial that is NaN in every
    unit is missing and ignored; a unit that is NaN in some trials is averaged over the others. Recordings without
    labels (`Recording.numbered`) are paired with each other by position. Rows that follow one another in the recording
    as in the result are a view of it, and stay mapped if they were. Warnings report where labels were read from, how
    many trials were averaged, and how many stimuli each recording lost.

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
        groups, two recordings group the shared stimuli differently, a unit has no trial of some stimulus, or
        recordings with labels stand beside ones that only number their rows.

    Examples
    --------
    >>> from superpose.recordings import Recording, match
    >>> eye = Recording("eye", [[1.0], [2.0], [3.0]], ["a", "b", "c"])
    >>> ear = Recording("ear", [[30.0], [10.0], [20.0]], ["c", "a", "a"], repeats=[0, 0, 1])
    >>> matched = match([eye, ear])
    >>> matched.stimuli.tolist(), matched.systems["ear"].tolist()
    (['a', 'c'], [[15.0], [30.0]])
    """
    matched, notes = joined(list(recordings))
    for note in itertools.chain(*notes):
        warnings.warn(note, stacklevel=2)
    return matched


class Notes(NamedTuple):
    """Sentences on what labels were read from, what was averaged, and what was lost, or may have been."""

    labels: list[str]
    averaged: list[str]
    lost: list[str]


def joined(recordings: Sequence[Recording]) -> tuple[Matched, Notes]:
    """Return what `match` does, and what to say of it."""
    names = [recording.name for recording in recordings]
    if not names or len(set(names)) < len(names):
        raise DataError(f"match was given recordings named {names}; expected at least one, each name once.")
    _check_labels(recordings)
    labels = [note for recording in recordings for note in named_labels(recording)]
    averaged = []
    lost = [note for recording in recordings for note in look_alikes(recording.name, recording.stimuli)]
    means = []
    for recording in recordings:
        missing = missing_trials(recording)
        if missing.any():
            lost.append(f"{recording.name}: {int(missing.sum())} trials are NaN in every unit, and missing.")
        recording = present_trials(recording, missing)
        if recording.repeats is not None and (partly := units_missing(recording))[0]:
            lost.append(
                f"{recording.name}: {partly[0]} of {recording.responses.shape[1]} units miss some trials "
                f"({percent(partly[1], 1)} of responses are NaN); each unit is averaged over those that it has."
            )
        mean, said = _mean_of_trials(recording)
        means.append(mean)
        averaged += said
    shared = set(means[0].stimuli.tolist()).intersection(*(mean.stimuli.tolist() for mean in means[1:]))
    if not shared:
        examples = "; ".join(f"{mean.name}: {', '.join(mean.stimuli[:3])} …" for mean in means)
        why = alike(means[0].stimuli, [(mean.name, mean.stimuli) for mean in means[1:]])
        raise DataError(
            f"no stimulus id is shared by all of {', '.join(names)} ({examples}{why}); use the same ids in each."
        )
    lost += [note for mean in means for note in _on_losses(mean, means, shared)]
    stimuli = np.array([stimulus for stimulus in means[0].stimuli.tolist() if stimulus in shared])
    rows = [_rows(mean.stimuli, stimuli) for mean in means]
    systems = {mean.name: _taken(mean.name, mean.responses, row) for mean, row in zip(means, rows, strict=True)}
    grouped = [(mean.name, mean.groups[row]) for mean, row in zip(means, rows, strict=True) if mean.groups is not None]
    return Matched(systems, stimuli, _one_grouping(grouped)), Notes(labels, averaged, lost)


def _check_labels(recordings: Sequence[Recording]) -> None:
    """Raise a DataError if rows that are only numbered would be paired with labels, or with another number of rows."""
    numbered = [recording for recording in recordings if recording.numbered]
    others = [recording for recording in recordings if not recording.numbered]
    if not numbered:
        return
    first, rows = numbered[0], len(np.unique(numbered[0].stimuli))
    for other in numbered[1:]:
        count = len(np.unique(other.stimuli))
        if count != rows:
            raise DataError(
                f"{first.name} has {rows} rows and {other.name} has {count}, and neither labels them; expected "
                "the same stimuli in the same order, or a column of stimuli in each."
            )
    for other in others:
        # An unnamed index that lacks rows, or has them in another order, is of the same numbers.
        same = other.sources.get("stimuli") == "" and all(map(str.isdecimal, other.stimuli.tolist()))
        if not same or (len(other.stimuli) == rows and counts(other.stimuli, 1)):
            raise DataError(
                f"{first.name} only numbers its rows, and {other.name} labels them ({', '.join(other.stimuli[:3])} …); "
                "give all of them a column of stimuli, or none."
            )


def named_labels(recording: Recording) -> list[str]:
    """Say what the labels of a recording were read from, where that is another name than their own."""
    index = {"stimuli": "the unnamed index"}
    sources = {kind: name or index.get(kind, kind) for kind, name in recording.sources.items()}
    others = [f"{kind} are {name}" for kind, name in sources.items() if name.lower() not in LABELS[kind][:2]]
    return [f"{recording.name}: {', '.join(others)}."] if others and not recording.numbered else []


def _on_losses(mean: Recording, means: Sequence[Recording], shared: set[str]) -> list[str]:
    left = np.array([stimulus for stimulus in mean.stimuli.tolist() if stimulus not in shared])
    if not len(left):
        return []
    why = alike(left, [(other.name, other.stimuli) for other in means if other is not mean])
    return [
        f"{mean.name}: {len(left)} of {len(mean.stimuli)} stimuli are not in every other system and are left out "
        f"({', '.join(left[:3])}{' …' if len(left) > 3 else ''}{why})."
    ]


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


def _mean_of_trials(recording: Recording) -> tuple[Recording, list[str]]:
    """Return the mean over trials, and what to say of them."""
    if recording.repeats is None:
        return recording, []
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
            total, counts = np.zeros(out[part].shape), trials[order[part], None]
            responses, at = recording.responses[own], place[which[own]] - part.start
            lacking = np.isnan(responses)
            if lacking.any():
                responses, counts = np.where(lacking, 0, responses), np.zeros(total.shape, dtype=np.int64)
                np.add.at(counts, at, ~lacking)
                check_answered(recording.name, counts > 0, stimuli[order[part]])
            np.add.at(total, at, responses)
            out[part] = total / counts

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
    least, most = trials.min(), trials.max()
    each = f"{least}" if least == most else f"{least} to {most}"
    said = [f"{recording.name}: {len(rows)} trials of {len(stimuli)} stimuli are averaged, {each} of each."]
    averaged = replace(recording, responses=mean, stimuli=stimuli[order], groups=groups, repeats=None)
    return averaged, said if most > 1 else []


def present_trials(recording: Recording, missing: NDArray[np.bool_]) -> Recording:
    """Return a recording without its missing trials."""
    if not missing.any():
        return recording
    rows = np.flatnonzero(~missing)
    repeats, groups = (None if part is None else part[rows] for part in (recording.repeats, recording.groups))
    responses = _taken(recording.name, recording.responses, rows)
    return replace(recording, responses=responses, stimuli=recording.stimuli[rows], repeats=repeats, groups=groups)


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
