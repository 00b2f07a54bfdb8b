"""netCDF: assemblies with named axes, of samples (presentations, or stimuli × repetitions) and of units."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.choice import chosen, listed
from superpose.recordings.hdf5 import SIGNATURE, check_complete, opened, values
from superpose.recordings.labels import KINDS, LABELS, plain
from superpose.recordings.packages import package
from superpose.recordings.room import check_room

Array = NDArray[Any]

# With or without an s.
UNITS = ("neuroid", "unit", "neuron", "cell", "channel", "voxel")
# How values are packed into others; those of an array that has none of these are what they are.
PACKED = ("scale_factor", "add_offset", "missing_value", "_Unsigned")


def read_netcdf(file: Path, key: str | None) -> dict[str, Any]:
    """Read one variable of a file as (samples, units), and the coordinates of its samples."""
    xarray = package("xarray", file)
    with open(file, "rb") as source:
        hdf5 = source.read(len(SIGNATURE)) == SIGNATURE
    if hdf5:
        package("h5netcdf", file)
    engine = "h5netcdf" if hdf5 else "scipy"
    with xarray.open_dataset(file, engine=engine, decode_times=False, cache=False) as dataset:
        variables = {str(name): variable for name, variable in dataset.data_vars.items()}
        name = chosen(file, key, {name: variable.ndim for name, variable in variables.items()})
        variable = variables[name].variable
        units, samples = _axes(file, name, variable)
        array = _mapped(file, name, variable) if hdf5 else variable.values
        order = [variable.dims.index(axis) for axis in (*samples, units)]
        # What is left out has length 1.
        rest = [i for i in range(variable.ndim) if i not in order]
        ordered = array.transpose(*order, *rest).reshape([variable.sizes[axis] for axis in (*samples, units)])
        responses = ordered.reshape(-1, ordered.shape[-1])
        return {"responses": responses, **_labels(xarray, dataset, variable, samples)}


def _axes(file: Path, name: str, variable: Any) -> tuple[Hashable, list[Hashable]]:
    """Return the axis of units, and those of samples: presentations, or stimuli and repetitions."""
    named = [axis for axis in variable.dims if str(axis).lower().removesuffix("s") in UNITS]
    if len(named) > 1 or variable.ndim < 2:
        raise DataError(f"{file}: {name} has the axes {_sizes(variable)}; expected samples and units, once each.")
    units = named[0] if named else variable.dims[-1]
    samples = [axis for axis in variable.dims if axis != units and variable.sizes[axis] > 1]
    samples = samples or [next(axis for axis in variable.dims if axis != units)]
    repeats = [axis for axis in samples if _stands_for(axis) == "repeats"]
    if len(samples) > 2 or (len(samples) == 2 and len(repeats) != 1):
        raise DataError(
            f"{file}: {name} has the axes {_sizes(variable)}; expected presentations, or stimuli and repetitions, and "
            f"units (one of {', '.join(UNITS)}). Select one time bin, or average over it, and write that."
        )
    return units, samples


def _sizes(variable: Any) -> str:
    return " × ".join(f"{listed([str(axis)])} ({size})" for axis, size in variable.sizes.items())


def _mapped(file: Path, name: str, variable: Any) -> Array:
    """Return a variable's numbers, from the disk itself unless they have to be unpacked."""
    fill = variable.encoding.get("_FillValue", np.nan)
    with opened(file) as source:
        if variable.dtype.kind == "f" and np.isnan(fill) and not any(key in variable.encoding for key in PACKED):
            return values(file, source[name])
        check_complete(file, source[name])
        check_room(file, name, variable.shape, variable.dtype.itemsize)
    return np.asarray(variable.values)


def _labels(xarray: Any, dataset: Any, variable: Any, samples: Sequence[Hashable]) -> dict[str, Array]:
    """Return the labels of every sample: coordinates along one or all axes of samples."""
    named = {str(name).lower(): found for name, found in dataset.variables.items() if set(found.dims) <= set(samples)}
    shape = {axis: variable.sizes[axis] for axis in samples}
    found = {}
    for kind, spellings in LABELS.items():
        coordinate = next((named[name] for name in spellings if name in named and named[name].ndim), None)
        if coordinate is None:
            axis = next((axis for axis in samples if len(samples) == 2 and _stands_for(axis) == kind), None)
            coordinate = None if axis is None else xarray.Variable(axis, np.arange(shape[axis]))
        if coordinate is not None:
            found[kind] = plain(coordinate.set_dims(shape).values.reshape(-1))
    return found


def _stands_for(axis: Hashable) -> str:
    """Return what tells the samples apart along one of two axes."""
    return "repeats" if KINDS.get(str(axis).lower()) == "repeats" else "stimuli"
