"""Arrays with named axes, of samples (presentations, or stimuli × repetitions) and of units, and what labels them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.arrays.labels import UNITS
from superpose.files import DataError, argument
from superpose.recordings.asked import Asked
from superpose.recordings.axes import STARTS, TIMES, axis_of_units, role, two_dimensional
from superpose.recordings.choice import choose, chosen, listed, scopes
from superpose.recordings.labels import KINDS, LABELS, plain

Array = NDArray[Any]


class Variable(NamedTuple):
    """A variable of a file: the names of its axes, if it has any, their lengths, and what reads it.

    Numbers are read in an order of axes.
    """

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    numbers: Callable[[Sequence[int]], Array]
    labels: Callable[[], Array]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def sizes(self) -> dict[str, int]:
        return dict(zip(self.axes, self.shape, strict=True))


class Times(NamedTuple):
    """The times of responses whose last axis they are, and what is said where one time is expected."""

    labels: list[Any]
    refusal: str


def picked(file: Path, asked: Asked, variables: Mapping[str, Variable]) -> dict[str, Any]:
    """Return the variable that a key or its being the only one picks, as (samples, units), and its labels.

    Where a file names its axes, those tell samples from units, and labels are the coordinates of samples; else, and
    where the reader was told what the axes are, labels are what lies beside it.

    Parameters
    ----------
    file : Path
        For messages.
    asked : Asked
        With the name of a variable, or of a group of variables, as a user gave it.
    variables : mapping of Variable
        All that a file has by name, "group/variable".
    """
    sizes = {name: found.ndim for name, found in variables.items()}
    name = chosen(file, asked.key, sizes)
    if variables[name].axes and asked.axes is None:
        return _assembly(file, name, variables)

    def numbers(name: str) -> Array:
        variable = variables[name]
        if variable.ndim > 2:
            two_dimensional(variable, str(file), asked.axes)
        return variable.numbers(range(variable.ndim))

    return choose(file, asked, sizes, numbers, lambda name: variables[name].labels())


def _assembly(file: Path, name: str, variables: Mapping[str, Variable]) -> dict[str, Any]:
    variable = variables[name]
    times = next((axis for axis in variable.axes if axis.lower() in TIMES and variable.sizes[axis] > 1), None)
    units, samples = _axes(file, name, variable, times)
    last = (units,) if times is None else (units, times)
    order = [variable.axes.index(axis) for axis in (*samples, *last)]
    # What is left out has length 1.
    rest = [i for i in range(len(variable.axes)) if i not in order]
    responses = variable.numbers([*order, *rest]).reshape(-1, *(variable.sizes[axis] for axis in last))
    sizes = {axis: variable.sizes[axis] for axis in samples}
    beside = _around(file, name, variables, sizes)
    coordinates = {leaf: found for leaf, found in beside.items() if set(found.axes) <= set(samples)}
    found = {"responses": responses, **_labels(coordinates, sizes)}
    if times is None:
        return found
    named = next((beside[leaf] for leaf in (STARTS, times.lower()) if leaf in beside), None)
    labels = np.arange(variable.sizes[times]) if named is None else named.labels()
    if labels.shape != (variable.sizes[times],):
        raise DataError(f"{file}: {times} has labels of shape {labels.shape}; expected ({variable.sizes[times]},).")
    return {**found, "times": Times([_number(one) for one in plain(labels)], _refusal(file, name, variable))}


def _around(
    file: Path, name: str, variables: Mapping[str, Variable], samples: Mapping[str, int]
) -> dict[str, Variable]:
    """Return what may label a variable, by its last name: what lies in its group, and in those around it what fits."""
    own, *above = scopes(name, variables)
    found = {leaf: _along(file, other, variables[other], samples) for leaf, other in own.items()}
    for group in above:
        for leaf, other in group.items():
            outer, whole = variables[other], tuple(samples.values())
            if not outer.axes and outer.shape == whole:
                outer = outer._replace(axes=tuple(samples))
            if outer.axes and all(samples.get(axis, size) == size for axis, size in outer.sizes.items()):
                found.setdefault(leaf, outer)
    return found


def _along(file: Path, name: str, variable: Variable, samples: Mapping[str, int]) -> Variable:
    """Return labels whose axis has no name as those of the samples, where there are as many."""
    if variable.axes or not variable.shape or name.rpartition("/")[2].lower() not in KINDS:
        return variable
    if variable.shape != tuple(samples.values()):
        shown = " × ".join(f"{listed([axis])} ({size})" for axis, size in samples.items())
        raise DataError(
            f"{file}: {name} has shape {variable.shape} and no names of axes; expected one label for each of {shown}. "
            "Name its axes."
        )
    return variable._replace(axes=tuple(samples))


def _number(label: Any) -> Any:
    """Return a time that is written as a number as this number."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(label)
    return str(label)


def _shown(variable: Variable) -> str:
    return " × ".join(f"{listed([axis])} ({size})" for axis, size in zip(variable.axes, variable.shape, strict=True))


def _refusal(file: Path, name: str, variable: Variable) -> str:
    remedy = (
        f"Say what they are: {argument('axes')} stimuli,units."
        if len(variable.axes) == 2
        else "Select one time bin, or average over it, and write that; superpose layers takes all times of its target."
    )
    return (
        f"{file}: {name} has the axes {_shown(variable)}; expected presentations, or stimuli and "
        f"repetitions, and units (one of {', '.join(UNITS)}). {remedy}"
    )


def _axes(file: Path, name: str, variable: Variable, times: str | None) -> tuple[str, Sequence[str]]:
    """Return the axis of units, and those of samples: presentations, or stimuli and repetitions."""
    sizes = variable.sizes
    shown = _shown(variable)
    named = [axis for axis in sizes if role(axis) == "units"]
    if len(named) > 1 or len(sizes) < 2 or len(sizes) < len(variable.axes):
        raise DataError(f"{file}: {name} has the axes {shown}; expected samples and units, once each.")
    units = axis_of_units([axis for axis in variable.axes if axis != times])
    others = [axis for axis in sizes if axis not in (units, times)]
    samples = [axis for axis in others if sizes[axis] > 1] or others[:1]
    repeats = [axis for axis in samples if _stands_for(axis) == "repeats"]
    if len(samples) > 2 or (len(samples) == 2 and len(repeats) != 1):
        raise DataError(_refusal(file, name, variable))
    return units, samples


def _labels(coordinates: Mapping[str, Variable], samples: Mapping[str, int]) -> dict[str, Any]:
    """Return the labels of every sample, of coordinates along one or all axes of samples."""
    found: dict[str, Any] = {"sources": {}}
    for kind, spellings in LABELS.items():
        name = next((name for name in spellings if name in coordinates), "")
        if name:
            axes, column = coordinates[name].axes, coordinates[name].labels()
        else:
            # Of two axes of samples, what has no coordinate is numbered.
            axes = tuple(axis for axis in samples if _stands_for(axis) == kind and len(samples) == 2)
            column = np.arange(samples[axes[0]]) if axes else np.empty(0)
        if axes:
            found[kind] = plain(_spread(column, axes, samples).reshape(-1))
            found["sources"][kind] = name
    return found


def _spread(column: Array, axes: Sequence[str], samples: Mapping[str, int]) -> Array:
    """Return a coordinate with all axes of samples, in their order."""
    ordered = column.transpose([axes.index(axis) for axis in samples if axis in axes])
    lengths = [size if axis in axes else 1 for axis, size in samples.items()]
    return np.broadcast_to(ordered.reshape(lengths), tuple(samples.values()))


def _stands_for(axis: str) -> str:
    """Return what tells the samples apart along one of two axes."""
    return "repeats" if role(axis) == "repeats" else "stimuli"
