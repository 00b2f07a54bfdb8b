"""Systems as Python calls take them: arrays by position; recordings, data frames and xarray's by their labels."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays.labels import as_frame, is_frame, title_of_column
from superpose.files import DataError, argument
from superpose.messages.cautions import warn
from superpose.recordings.axes import axis_of_units, role, samples_by_units
from superpose.recordings.columns import Level, check_no_counter, columns_of, counts, index_stimuli, title_of
from superpose.recordings.labels import LABELS, plain
from superpose.recordings.matching import Matched, joined
from superpose.recordings.recording import Recording

Array = NDArray[Any]


def named(systems: Any, others: Sequence[Any] = ()) -> Any:
    """Return systems under names: as they are in a mapping; else by their own, or by x, y, z or system 1, 2, …

    Parameters
    ----------
    systems : mapping, sequence of systems, or one system
    others : sequence of systems
        Those that follow one system.

    Examples
    --------
    >>> from superpose.recordings.systems import named
    >>> list(named([[1.0]], [[[2.0]]])), list(named([[[1.0]], [[2.0]], [[3.0]], [[4.0]]]))
    (['x', 'y'], ['system 1', 'system 2', 'system 3', 'system 4'])
    """
    if isinstance(systems, Mapping | Matched):
        if others:
            raise DataError("expected systems as one mapping {name: array}, or one after the other; not both.")
        return systems
    if others:
        every = [systems, *others]
    elif isinstance(systems, Sequence) and not isinstance(systems, str):
        every = list(systems)
    else:
        return systems
    if len(every) < 2:
        return systems
    letters = ["x", "y", "z"] if len(every) <= 3 else [f"system {i + 1}" for i in range(len(every))]
    names = [x.name if isinstance(x, Recording) else letter for x, letter in zip(every, letters, strict=False)]
    if len(set(names)) < len(names):
        raise DataError(f"two systems have one name, among {', '.join(names)}; pass a mapping {{name: array}}.")
    return dict(zip(names, every, strict=True))


def by_name(systems: Any) -> Any:
    """Return what `superpose.match` gave as recordings by name, and everything else as it is.

    Examples
    --------
    >>> from superpose.recordings import Recording, match
    >>> from superpose.recordings.systems import by_name
    >>> by_name(match([Recording("V1", [[1.0], [2.0]], ["cat", "dog"])]))
    {'V1': Recording V1: 2 rows of 1 unit; 2 stimuli}
    """
    if not isinstance(systems, Matched):
        return systems
    stimuli, groups = systems.stimuli, systems.groups
    return {name: Recording(name, x, stimuli, groups=groups) for name, x in systems.systems.items()}


def paired(systems: Mapping[str, Any], groups: ArrayLike | None = None, **of_rows: Any) -> tuple[Any, ...]:
    """Return systems as arrays whose rows are paired, the groups of these rows, and what else is said of them.

    Recordings, data frames and xarray's arrays are paired by the labels of their rows, in the order of the first, and
    the trials of a stimulus are averaged, with a warning; an index 0, 1, 2, … is no label. Everything else passes
    unchanged, and is paired by position.

    Parameters
    ----------
    systems : mapping of str to array, tensor, Recording, pandas.DataFrame or xarray.DataArray; or what `match` returns
        Labels of a frame are its index and its columns of the names of `superpose.recordings.LABELS`; those of an
        xarray array are its coordinates.
    groups : array-like, optional
        As a caller gives them, in the order of the paired rows, or a pandas.Series with the labels of rows as its
        index, or a one-dimensional xarray.DataArray with coordinates; None takes those that systems carry.
    **of_rows
        What else a call takes of each row (labels, a test mask, folds), by its name: a Series is matched as groups are,
        everything else passes unchanged.

    Raises
    ------
    DataError
        If systems label different stimuli, or only some of them label any, or groups label others.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from superpose.recordings.systems import paired
    >>> frame = pd.DataFrame(np.eye(3), index=["cat", "dog", "owl"])
    >>> bool((paired({"a": frame, "b": frame[::-1]})[0]["b"] == np.eye(3)).all())
    True
    """
    return paired_with_stimuli(systems, groups, **of_rows)[1:]


def paired_with_stimuli(systems: Mapping[str, Any], groups: ArrayLike | None = None, **of_rows: Any) -> tuple[Any, ...]:
    """Return the stimuli of the paired rows, or None where these are paired by position, and what `paired` does."""
    systems = by_name(systems)
    if not isinstance(systems, Mapping):
        # Refused by what takes them, in its own words.
        return None, systems, groups, *of_rows.values()
    contents = {str(name): recorded(x, str(name)) for name, x in systems.items()}
    recordings = [x for x in contents.values() if isinstance(x, Recording)]
    labelled = [recording for recording in recordings if not recording.numbered]
    bare = [name for name, x in contents.items() if not isinstance(x, Recording)]
    if labelled and bare:
        raise DataError(
            f"{labelled[0].name} labels its rows ({', '.join(labelled[0].stimuli[:3])} …) and {bare[0]} does not; "
            "label both, as superpose.Recording(name, array, stimuli) does, or pass both as arrays (.to_numpy()) of "
            "the same stimuli in the same order."
        )
    if not labelled and all(recording.repeats is None and recording.groups is None for recording in recordings):
        arrays = {name: x.responses if isinstance(x, Recording) else x for name, x in contents.items()}
        if recordings:
            numbers = recordings[0].stimuli
            said = {"groups": groups, **of_rows}
            groups, *rest = (_in_order(name, values, numbers, numbered=True) for name, values in said.items())
            return None, arrays, groups, *rest
        return None, arrays, groups, *of_rows.values()
    matched, notes = joined(recordings)
    for recording in recordings:
        own = set(recording.stimuli.tolist())
        if len(own) > len(matched.stimuli):
            left = sorted(own.difference(matched.stimuli.tolist()))
            raise DataError(
                f"{recording.name} has {len(left)} stimuli that not every other system has ({', '.join(left[:3])} …); "
                "superpose.match keeps those of recordings that all have."
            )
    for note in (*notes.averaged, *notes.lost):
        warn(note)
    arrays = {name: matched.systems.get(name, x) for name, x in contents.items()}
    numbered = all(r.sources.get("stimuli") == "" and all(map(str.isdecimal, r.stimuli)) for r in recordings)
    said = {"groups": groups, **of_rows}
    given, *rest = (_in_order(name, values, matched.stimuli, numbered=numbered) for name, values in said.items())
    return matched.stimuli, arrays, matched.groups if groups is None else given, *rest


def stimuli_of(systems: Any, samples: int) -> list[str] | None:
    """Return the names of so many paired rows: the stimuli of the first of some systems, if it labels them.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from superpose.recordings.systems import stimuli_of
    >>> frame = pd.DataFrame(np.eye(3), index=["cat", "dog", "owl"])
    >>> stimuli_of({"a": frame, "b": frame[::-1]}, 3), stimuli_of({"a": np.eye(3)}, 3)
    (['cat', 'dog', 'owl'], None)
    """
    systems = by_name(systems)
    if not isinstance(systems, Mapping) or not systems:
        return None
    name, first = next(iter(systems.items()))
    recording = recorded(first, str(name))
    if not isinstance(recording, Recording) or recording.numbered:
        return None
    names = list(dict.fromkeys(recording.stimuli.tolist()))
    # A stimulus whose trials are all missing has no row.
    return names if len(names) == samples else None


def _in_order(name: str, values: Any, stimuli: Array, *, numbered: bool) -> Any:
    """Return what is said of stimuli in their order, where it names them; as it is else.

    An index 0, 1, 2, … names stimuli only where these are numbers that nobody chose either (`numbered`).
    """
    labels = _labels_of(name, values)
    if labels is None or (counts(labels) and not (numbered and set(stimuli.tolist()) <= set(labels.tolist()))):
        return values
    from pandas import Series

    by_label = Series(np.asarray(values), index=labels)
    if not by_label.index.is_unique or not set(stimuli.tolist()) <= set(by_label.index):
        raise DataError(
            f"{argument(name)} names the rows {', '.join(map(str, by_label.index[:3]))} …, and systems name them "
            f"{', '.join(stimuli[:3])} …; expected one value of each row, under the same name, or an array "
            "(.to_numpy()) in the order of the rows."
        )
    return by_label.loc[stimuli.tolist()].to_numpy()


def _labels_of(name: str, values: Any) -> Array | None:
    """Return how a Series, or an array of xarray, names what it says, or None for what does not."""
    pandas, xarray = sys.modules.get("pandas"), sys.modules.get("xarray")
    if pandas is not None and isinstance(values, pandas.Series):
        return plain(values.index, f"{name}: index")
    if xarray is None or not isinstance(values, xarray.DataArray) or values.ndim != 1:
        return None
    beside = {str(of).lower(): column for of, column in values.coords.items() if column.dims == values.dims}
    found = next((beside[spelling] for spelling in LABELS["stimuli"] if spelling in beside), None)
    if found is None:
        found = values.indexes.get(values.dims[0])
    return None if found is None or getattr(found, "nlevels", 1) > 1 else plain(np.asarray(found), f"{name}: index")


def recorded(x: Any, name: str) -> Any:
    """Return what labels its rows as a Recording, and everything else as it is."""
    if isinstance(x, Recording):
        return replace(x, name=name)
    x = as_frame(x)
    if is_frame(x):
        return _of_frame(x, name)
    xarray = sys.modules.get("xarray")
    if xarray is not None and isinstance(x, xarray.DataArray):
        return _of_named_axes(x, name)
    return x


def _of_frame(frame: Any, name: str) -> Recording:
    titles = [title_of_column(title) for title in frame.columns]
    of = columns_of(name, titles, len(titles))
    if not of.units or not len(frame):
        raise DataError(f"{name} has {len(frame)} rows of {len(of.units)} units; expected at least one of each.")

    def label(i: int) -> Array:
        return plain(frame.iloc[:, i], f"{name}: labels in column {titles[i][:40]!r}")

    labels = {kind: label(i) for kind, i in of.labels.items()}
    sources = {kind: titles[i] for kind, i in of.labels.items()}
    levels = [Level(title_of(titles[i]), label(i)) for i in of.levels]
    for level in _levels(frame.index, name):
        kind = next((kind for kind, spellings in LABELS.items() if level.name.lower() in spellings), None)
        if kind is None:
            levels.append(level)
        elif kind in labels:
            raise DataError(f"{name} has {kind} in its index {level.name!r} and in a column; leave one of them out.")
        else:
            labels[kind], sources[kind] = level.labels, level.name
    values = _numbers(frame.iloc[:, of.units], name)
    stimuli = index_stimuli(name, levels, labels)
    if stimuli is not None:
        labels["stimuli"], sources["stimuli"] = stimuli.labels, stimuli.name
        if len(levels) == 1 and not stimuli.name and len(of.units) > 1:
            check_no_counter(name, titles[of.units[0]], values[:, 0])
    return Recording(name, values, sources=sources, **labels)


def _levels(index: Any, name: str) -> list[Level]:
    titles = ["" if title is None else str(title) for title in index.names]
    return [Level(title, plain(index.get_level_values(i), f"{name}: index")) for i, title in enumerate(titles)]


def _numbers(frame: Any, name: str) -> Array:
    from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype

    for title, dtype in zip(frame.columns, frame.dtypes, strict=True):
        if is_complex_dtype(dtype) or not (is_numeric_dtype(dtype) or is_bool_dtype(dtype)):
            raise DataError(
                f"{name}: column {str(title)[:40]!r} holds {dtype}; expected numbers. Columns of labels are named "
                f"{', '.join(spellings[0] for spellings in LABELS.values())}."
            )
    values = frame.to_numpy()
    if values.dtype.kind not in "fiub":
        values = frame.to_numpy(dtype=np.float64, na_value=np.nan)
    # Frames keep columns together, and sums of rows that are apart differ in their last digits.
    return np.ascontiguousarray(values)


def _of_named_axes(x: Any, name: str) -> Any:
    axes = {str(axis): role(str(axis)) for axis in x.dims}
    if len(axes) < 2:
        return np.asarray(x)
    units = axis_of_units([*axes])
    others = [axis for axis in axes if axis != units]
    repeats = [axis for axis in others if axes[axis] == "repeats"]
    samples = [axis for axis in others if axis not in repeats]
    beside = {str(of).lower(): column for of, column in x.coords.items()}
    coordinates = {of: column for of, column in beside.items() if column.dims and units not in column.dims}
    if len(samples) != 1 or len(repeats) > 1:
        ordered = [axes[axis] for axis in [*axes][:-2]]
        if not coordinates and not {"stimuli", "units"} & set(ordered):
            return np.asarray(x)
        raise DataError(
            f"{name} has the axes {', '.join(axes)}; expected one of samples, perhaps one of repeats, and one of units."
        )
    labels: dict[str, Any] = {}
    sources: dict[str, str] = {}
    order = [*samples, *repeats]
    for kind, spellings in LABELS.items():
        found = next((spelling for spelling in spellings if spelling in coordinates), None)
        if found is not None:
            column = coordinates[found]
            labels[kind] = plain(column.transpose(*(a for a in order if a in column.dims)).values, f"{name}: {found}")
            sources[kind] = found
    if "stimuli" not in labels and samples[0] in x.indexes:
        levels = [
            level._replace(name=level.name or samples[0])
            for level in _levels(x.indexes[samples[0]], name)
            if level.name.lower() not in sources.values()
        ]
        stimuli = index_stimuli(name, levels, labels)
        if stimuli is not None:
            labels["stimuli"], sources["stimuli"] = stimuli.labels, stimuli.name
    values = x.transpose(*order, units).values
    if not labels and not repeats:
        return values
    columns = {"responses": values, **labels, "sources": sources}
    if "stimuli" not in labels:
        columns |= {"stimuli": np.arange(len(values)), "sources": {**sources, "stimuli": ""}}
    columns = samples_by_units(Path(name), columns, ("stimuli", *("repeats" for _ in repeats), "units"))
    return Recording(name, columns.pop("responses"), **columns)
