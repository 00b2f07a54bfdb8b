"""Arrays of stimuli, repeats and units in any order, whose axes a file names or its reader is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.arrays.labels import SAMPLES, UNITS
from superpose.files import DataError, argument, in_python, on_command_line
from superpose.recordings.labels import LABELS, plain
from superpose.recordings.unpacking import unpacked

AXES = ("stimuli", "repeats", "units")
# What an axis of times is called in arrays of xarray, and where each bin starts in BrainIO's assemblies.
TIMES = ("time", "times", "time_bin", "time_bins", "time_bin_id", "latency")
STARTS = "time_bin_start"
REMEDY = (
    "If one axis is of repeats, say what each is, in their order: "
    + in_python("axes=('stimuli', 'repeats', 'units').")
    + on_command_line("--axes stimuli,repeats,units.")
)


def roles(axes: Sequence[str]) -> tuple[str, ...]:
    """Return what axes are, of stimuli, repeats and units, by their names.

    Raises
    ------
    DataError
        For another name, or one kind of axis twice, or none of stimuli or of units.

    Examples
    --------
    >>> from superpose.recordings.axes import roles
    >>> roles(["image_id", "trial", "neuroid"])
    ('stimuli', 'repeats', 'units')
    """
    axes = axes.split(",") if isinstance(axes, str) else axes
    found = tuple(filter(None, map(role, axes)))
    if len(found) < len(axes) or len(set(found)) < len(found) or not {"stimuli", "units"} <= set(found):
        raise DataError(
            f"{argument('axes')} is {','.join(map(str, axes))!r}; expected stimuli and units, and repeats if there "
            "are any, in the order of the array, as stimuli,repeats,units."
        )
    return found


def role(axis: str) -> str | None:
    """Return what an axis of a name is, or None for another name."""
    name = str(axis).strip().lower()
    if name.removesuffix("s") in UNITS:
        return "units"
    if name in LABELS["repeats"]:
        return "repeats"
    return "stimuli" if name in LABELS["stimuli"] or name.removesuffix("s") in SAMPLES else None


def axis_of_units(axes: Sequence[str]) -> str:
    """Return which of some axes holds the units: one named so, else the last whose name is not one of samples.

    Examples
    --------
    >>> from superpose.recordings.axes import axis_of_units
    >>> axis_of_units(["neuroid", "x"]), axis_of_units(["electrode", "stimulus"]), axis_of_units(["x", "y"])
    ('neuroid', 'electrode', 'y')
    """
    others = [axis for axis in axes if role(axis) is None]
    return next((axis for axis in axes if role(axis) == "units"), [*axes, *others][-1])


def two_dimensional(array: Any, what: str, axes: Sequence[str] | None = None) -> Any:
    """Return an array, or what has its shape, or raise a DataError if it has not two axes, nor names for more."""
    if array.ndim == 2 or (array.ndim > 2 and axes):
        return array
    raise DataError(
        f"{what} has {array.ndim} dimensions, shape {array.shape}; expected two, (samples, units). {REMEDY}"
    )


def may_label(array: Any, column: Any, axes: Sequence[str] | None) -> bool:
    """Return whether a column can be labels of an array, by its length."""
    return len(column) in (array.shape[:1] if axes is None and array.ndim == 2 else array.shape)


def samples_of(shape: Sequence[int], axes: Sequence[str] | None) -> tuple[int, ...]:
    """Return how many stimuli and units an array has, by the names of its axes."""
    of = _of(shape, axes, "the array")
    return tuple(shape) if of is None else (shape[of.index("stimuli")], shape[of.index("units")])


def samples_by_units(file: Path, columns: Mapping[str, Any], axes: Sequence[str] | None = None) -> dict[str, Any]:
    """Return responses as (samples, units), one row per trial, with the labels of every row.

    Parameters
    ----------
    file : Path
        For messages.
    columns : mapping
        `responses` (an array), labels along its axes of stimuli, repeats or both, and `sources`.
    axes : sequence of str, optional
        What its axes are called, where anybody says.
    """
    array = columns["responses"]
    of = _of(array.shape, axes, str(file))
    if of is None or of == ("stimuli", "units"):
        return dict(columns)
    order = [of.index(axis) for axis in AXES if axis in of]
    kept = {axis: array.shape[of.index(axis)] for axis in AXES[:-1] if axis in of}
    if order != sorted(order):
        array = unpacked(file, "responses", array, (1,) * array.ndim, array.dtype, order)
    out = {**columns, "responses": array.reshape(-1, array.shape[-1])}
    sources = dict(columns.get("sources", {}))
    given = {kind: columns[kind] for kind in LABELS if kind in columns}
    if "stimuli" not in given and (given or "repeats" in kept):
        given["stimuli"], sources["stimuli"] = np.arange(kept["stimuli"]), ""
    if "repeats" in kept and "repeats" not in given:
        given["repeats"] = np.arange(kept["repeats"])
    swapped = "repeats" in of and of.index("repeats") < of.index("stimuli")
    for kind, column in given.items():
        out[kind] = _spread(file, kind, plain(column), kept, swapped=swapped)
    return {**out, "sources": sources}


def _of(shape: Sequence[int], axes: Sequence[str] | None, what: str) -> tuple[str, ...] | None:
    """Return what the axes of an array are, or None where nobody says and it has two."""
    if axes is None:
        return None
    of = roles(axes)
    if len(shape) == len(of) - 1:
        # What has no repeats, beside what has.
        of = tuple(axis for axis in of if axis != "repeats")
    if len(shape) != len(of):
        raise DataError(f"{what} has {len(shape)} dimensions, shape {tuple(shape)}; expected axes of {', '.join(of)}.")
    return of


def _spread(file: Path, kind: str, labels: NDArray[Any], sizes: Mapping[str, int], *, swapped: bool) -> NDArray[Any]:
    """Return labels along one axis of samples, or both, for every trial."""
    own = "repeats" if kind == "repeats" else "stimuli"
    full = tuple(sizes.values())
    if labels.shape == (full[::-1] if swapped else full) and len(full) == 2:
        return (labels.T if swapped else labels).reshape(-1)
    if labels.shape != (sizes.get(own),):
        raise DataError(
            f"{file}: {kind} have shape {labels.shape}; expected ({sizes.get(own, 'samples')},), one along the axis of "
            f"{own}."
        )
    return np.broadcast_to(labels if own == "repeats" or len(full) == 1 else labels[:, None], full).reshape(-1)
