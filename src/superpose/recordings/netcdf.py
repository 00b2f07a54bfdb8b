"""netCDF: assemblies with named axes, of samples (presentations, or stimuli × repetitions) and of units.

Version 3 is read through SciPy, and version 4, which is HDF5, through h5py by its conventions, of which three suffice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.choice import chosen, listed
from superpose.recordings.hdf5 import SIGNATURE, converted, datasets, labels, opened, values
from superpose.recordings.heaps import check_heaps
from superpose.recordings.labels import KINDS, LABELS, plain

Array = NDArray[Any]

# With or without an s.
UNITS = ("neuroid", "unit", "neuron", "cell", "channel", "voxel")
BARE = b"This is a netCDF dimension but not a netCDF variable"


class Variable(NamedTuple):
    """A variable of a file: the names of its axes, their lengths, and what reads it, as numbers in an order of axes."""

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    numbers: Callable[[Sequence[int]], Array]
    labels: Callable[[], Array]

    @property
    def sizes(self) -> dict[str, int]:
        return dict(zip(self.axes, self.shape, strict=True))


def read_netcdf(file: Path, key: str | None) -> dict[str, Any]:
    """Read one variable of a file as (samples, units), and the coordinates of its samples."""
    with open(file, "rb") as stream:
        if stream.read(len(SIGNATURE)) != SIGNATURE:
            from scipy.io import netcdf_file

            stream.seek(0)
            with netcdf_file(stream, mmap=False) as source:
                return _assembly(file, key, {name: _old(found) for name, found in source.variables.items()})
    check_heaps(file)
    with opened(file) as source:
        found = {name: node for name, node in datasets(source).items() if not _is_bare(node)}
        return _assembly(file, key, {name: _new(file, source, node) for name, node in found.items()})


def _assembly(file: Path, key: str | None, variables: Mapping[str, Variable]) -> dict[str, Any]:
    name = chosen(file, key, {name: len(variable.axes) for name, variable in variables.items()})
    variable = variables[name]
    units, samples = _axes(file, name, variable)
    order = [variable.axes.index(axis) for axis in (*samples, units)]
    # What is left out has length 1.
    rest = [i for i in range(len(variable.axes)) if i not in order]
    responses = variable.numbers([*order, *rest]).reshape(-1, variable.sizes[units])
    group = name.rpartition("/")[0]
    beside = {other.lower(): found for other, found in variables.items() if other.rpartition("/")[0] == group}
    coordinates = {name.rpartition("/")[2]: found for name, found in beside.items() if set(found.axes) <= set(samples)}
    return {"responses": responses, **_labels(coordinates, {axis: variable.sizes[axis] for axis in samples})}


def _axes(file: Path, name: str, variable: Variable) -> tuple[str, Sequence[str]]:
    """Return the axis of units, and those of samples: presentations, or stimuli and repetitions."""
    sizes = variable.sizes
    shown = " × ".join(f"{listed([axis])} ({size})" for axis, size in zip(variable.axes, variable.shape, strict=True))
    named = [axis for axis in sizes if axis.lower().removesuffix("s") in UNITS]
    if len(named) > 1 or len(sizes) < 2 or len(sizes) < len(variable.axes):
        raise DataError(f"{file}: {name} has the axes {shown}; expected samples and units, once each.")
    units = named[0] if named else variable.axes[-1]
    others = [axis for axis in sizes if axis != units]
    samples = [axis for axis in others if sizes[axis] > 1] or others[:1]
    repeats = [axis for axis in samples if _stands_for(axis) == "repeats"]
    if len(samples) > 2 or (len(samples) == 2 and len(repeats) != 1):
        raise DataError(
            f"{file}: {name} has the axes {shown}; expected presentations, or stimuli and repetitions, and units (one "
            f"of {', '.join(UNITS)}). Select one time bin, or average over it, and write that."
        )
    return units, samples


def _labels(coordinates: Mapping[str, Variable], samples: Mapping[str, int]) -> dict[str, Array]:
    """Return the labels of every sample, of coordinates along one or all axes of samples."""
    found: dict[str, Array] = {}
    for kind, spellings in LABELS.items():
        axes, column = next(
            ((coordinates[name].axes, coordinates[name].labels) for name in spellings if name in coordinates),
            ((), None),
        )
        if column is None and len(samples) == 2:
            axes = tuple(axis for axis in samples if _stands_for(axis) == kind)
            column = _numbers(samples[axes[0]]) if axes else None
        if column is not None and axes:
            found[kind] = plain(_spread(column(), axes, samples).reshape(-1))
    return found


def _numbers(count: int) -> Callable[[], Array]:
    return lambda: np.arange(count)


def _spread(column: Array, axes: Sequence[str], samples: Mapping[str, int]) -> Array:
    """Return a coordinate with all axes of samples, in their order."""
    ordered = column.transpose([axes.index(axis) for axis in samples if axis in axes])
    lengths = [size if axis in axes else 1 for axis, size in samples.items()]
    return np.broadcast_to(ordered.reshape(lengths), tuple(samples.values()))


def _stands_for(axis: str) -> str:
    """Return what tells the samples apart along one of two axes."""
    return "repeats" if KINDS.get(axis.lower()) == "repeats" else "stimuli"


def _old(variable: Any) -> Variable:
    attributes = {name: getattr(variable, name) for name in PACKING if hasattr(variable, name)}

    def numbers(order: Sequence[int]) -> Array:
        return _conversion(attributes)(variable.data.copy()).transpose(order)

    return _variable(variable.dimensions, variable.data.dtype, variable.shape, numbers, lambda: variable.data.copy())


def _new(file: Path, source: Any, dataset: Any) -> Variable:
    attributes = {name: dataset.attrs[name] for name in PACKING if name in dataset.attrs}

    def numbers(order: Sequence[int]) -> Array:
        convert = _conversion(attributes)
        return values(file, dataset, order) if convert is np.asarray else converted(file, dataset, order, convert)

    axes = _scales(source, dataset)
    return _variable(axes, dataset.dtype, dataset.shape, numbers, lambda: labels(file, dataset))


def _variable(
    axes: tuple[str, ...],
    dtype: np.dtype,
    shape: tuple[int, ...],
    numbers: Callable[[Sequence[int]], Array],
    words: Callable[[], Array],
) -> Variable:
    if dtype == "S1" and axes:
        # Text of equal lengths, whose last axis is that of the letters.
        return Variable(axes[:-1], shape[:-1], numbers, lambda: _joined(words()))
    return Variable(axes, shape, numbers, words)


def _joined(letters: Array) -> Array:
    return np.ascontiguousarray(letters.astype("S1")).view(f"S{letters.shape[-1]}")[..., 0]


PACKING = ("_FillValue", "missing_value", "scale_factor", "add_offset")


def _conversion(attributes: Mapping[str, Any]) -> Callable[[Any], Array]:
    """Return what makes numbers as they were before they were packed, NaN for missing ones (netCDF's conventions)."""
    given = {name: float(np.ravel(value)[0]) for name, value in attributes.items()}
    missing = [given[name] for name in PACKING[:2] if name in given and not np.isnan(given[name])]
    if not missing and not given.keys() & set(PACKING[2:]):
        return np.asarray

    def convert(packed: Any) -> Array:
        array = np.asarray(packed).astype(np.float64)
        array[np.isin(array, missing)] = np.nan
        return array * given.get("scale_factor", 1.0) + given.get("add_offset", 0.0)

    return convert


def _is_bare(dataset: Any) -> bool:
    """Return whether a dataset stands for an axis alone."""
    name = dataset.attrs.get("NAME", b"")
    return bool((name if isinstance(name, bytes) else str(name).encode()).startswith(BARE))


def _scales(source: Any, dataset: Any) -> tuple[str, ...]:
    """Return the names of a dataset's axes: those of the scales that it refers to, or its own if it is one."""
    if "DIMENSION_LIST" in dataset.attrs:
        scales = [references[0] for references in dataset.attrs["DIMENSION_LIST"]]
        return tuple(source[reference].name.rpartition("/")[2] for reference in scales)
    own = dataset.name.rpartition("/")[2]
    return (own,) if dataset.ndim == 1 else tuple(f"{own} axis {i}" for i in range(dataset.ndim))
