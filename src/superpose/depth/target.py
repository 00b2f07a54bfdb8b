"""The system that layers predict: its responses at one time or at several, with the trials behind them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import as_responses, meant
from superpose.ceilings import Trials, as_trials, trials_of
from superpose.comparison import Systems
from superpose.files import DataError, argument
from superpose.recordings import Recording
from superpose.recordings.axes import STARTS, TIMES
from superpose.recordings.systems import by_name, paired_with_stimuli, recorded

Array = NDArray[Any]


class Paired(NamedTuple):
    """Layers and a target, row by row: means over trials as arrays, and what is said of each row.

    `goals` holds the target's name in `arrays` for each time, None for a target of one time; `trials` those of targets
    that have any.
    """

    arrays: dict[str, Array]
    layers: list[str]
    target: str
    goals: dict[Any, str]
    trials: dict[str, Trials]
    groups: Any
    labels: Any
    test: Any
    cv: Any


def paired_with_target(
    systems: Systems, target: Any, times: Sequence[Any] | None, groups: ArrayLike | None, **of_rows: Any
) -> Paired:
    """Return layers and the target, paired as `superpose.compare` pairs systems.

    Raises
    ------
    DataError
        For a target that is not there, fewer than two layers, layers with repeats, or times that do not fit.
    """
    layers, name, responses = _parted(by_name(systems), target)
    at = _at_times(responses, times, name)
    goals = {time: name if time is None else f"{name} at {time}" for time in at}
    if taken := [goal for goal in goals.values() if goal in layers]:
        raise DataError(f"{taken[0]} is the name of a layer as well; rename it.")
    given = {**layers, **{goals[time]: x for time, x in at.items()}}
    stimuli, arrays, groups, labels, test, cv = paired_with_stimuli(
        {key: recorded(x, key) for key, x in given.items()}, groups, **of_rows
    )
    arrays, trials = dict(arrays), {}
    for time, goal in goals.items():
        own = _trials(recorded(at[time], goal), goal, stimuli)
        if own is not None:
            trials[goal] = own
            if not isinstance(recorded(at[time], goal), Recording):
                arrays[goal] = own.mean().astype(own.values.dtype, copy=False)
    for key in layers:
        if np.ndim(arrays[key]) > 2:
            raise DataError(f"{key} has shape {np.shape(arrays[key])}; expected a layer as (samples, units).")
    return Paired(arrays, list(layers), name, goals, trials, groups, labels, test, cv)


def _parted(systems: Systems, target: Any) -> tuple[dict[str, Any], str, Any]:
    """Return the layers, and the target with its name: one of the systems, or one of its own."""
    if not isinstance(systems, Mapping):
        raise DataError("expected layers as {name: array}, in the order of depth.")
    named = {str(name): x for name, x in systems.items()}
    if isinstance(target, str):
        if target not in named:
            raise DataError(
                f"{argument('target')} is {target!r}; expected one of {', '.join(named)}.{meant(target, named)}"
            )
        name, responses = target, named.pop(target)
    else:
        name, responses = str(getattr(target, "name", None) or "target"), target
    if len(named) < 2:
        raise DataError(f"{len(named)} layer(s) beside {name}; expected at least two to choose among.")
    return named, name, responses


def _at_times(x: Any, times: Sequence[Any] | None, name: str) -> dict[Any, Any]:
    """Return responses by time, under None where they have none."""
    if isinstance(x, Mapping):
        if times is not None or not x:
            raise DataError(f"{name} is a mapping of {len(x)} times; expected at least one, and no times= beside it.")
        return dict(x)
    xarray: Any = sys.modules.get("xarray")
    if xarray is not None and isinstance(x, xarray.DataArray):
        axis = next((str(dim) for dim in x.dims if str(dim).lower() in TIMES), None)
        if axis is not None:
            return dict(zip(_bins(x, axis, times, name), _along(x, axis), strict=True))
    if times is None:
        return {None: x}
    values = as_responses(x, name)
    if values.ndim not in (3, 4) or values.shape[-1] != len(times):
        raise DataError(
            f"{name} has shape {values.shape} for {len(times)} {argument('times')}; expected (samples, units, times), "
            "with repeats in front where there are trials."
        )
    return {time: values[..., place] for place, time in enumerate(_distinct(times))}


def _bins(x: Any, axis: str, times: Sequence[Any] | None, name: str) -> list[Any]:
    if times is None:
        times = x.coords[STARTS].values if STARTS in x.coords else x[axis].values
    if len(times) != x.sizes[axis]:
        raise DataError(f"{name} has {x.sizes[axis]} times and {argument('times')} has {len(times)}; expected as many.")
    return _distinct(times)


def _along(x: Any, axis: str) -> list[Any]:
    return [x.isel({axis: place}, drop=True) for place in range(x.sizes[axis])]


def _distinct(times: Sequence[Any]) -> list[Any]:
    found = [time.item() if isinstance(time, np.generic) else time for time in times]
    if len(set(found)) < len(found):
        raise DataError(f"{argument('times')} names a time twice; expected each once.")
    return found


def _trials(x: Any, name: str, stimuli: Array | None) -> Trials | None:
    """Return the trials of a target in the order of the paired rows, None where every sample has one."""
    if isinstance(x, Recording):
        if stimuli is None or x.repeats is None:
            return None
        return trials_of([x], stimuli)[name]
    if isinstance(x, Trials):
        return x
    return as_trials(x, name) if np.ndim(x) > 2 else None
