"""netCDF: version 3 through SciPy, and version 4, which is HDF5, through h5py; xarray knows what the numbers mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from superpose.recordings.asked import Asked
from superpose.recordings.assemblies import Variable, picked
from superpose.recordings.conventions import ATTRIBUTES, conversion, default_fill, meanings
from superpose.recordings.hdf5 import SIGNATURE, datasets, opened, variable
from superpose.recordings.heaps import check_heaps

Array = NDArray[Any]


def read_netcdf(file: Path, asked: Asked) -> dict[str, Any]:
    """Read one variable of a file as (samples, units), and the coordinates of its samples."""
    with open(file, "rb") as stream:
        if stream.read(len(SIGNATURE)) != SIGNATURE:
            from scipy.io import netcdf_file

            stream.seek(0)
            with netcdf_file(stream, mmap=False) as source:
                return picked(file, asked, {name: _variable(file, found) for name, found in source.variables.items()})
    check_heaps(file)
    with opened(file) as source:
        found = datasets(source)
        return picked(file, asked, {name: _named(name, variable(file, dataset)) for name, dataset in found.items()})


def _named(name: str, found: Variable) -> Variable:
    # Without scales, an axis is not shared with other variables.
    own = name.rpartition("/")[2]
    alone = (own,) if len(found.shape) == 1 else tuple(f"{own} axis {i}" for i in range(len(found.shape)))
    return found if found.axes else found._replace(axes=alone)


def _variable(file: Path, found: Any) -> Variable:
    """Return a variable of version 3."""
    attributes = {name: getattr(found, name) for name in ATTRIBUTES if hasattr(found, name)}
    stored = found.data.copy()
    fill = default_fill(stored.dtype)

    def numbers(order: Sequence[int]) -> Array:
        return conversion(file, stored.dtype, attributes, fill)(stored).transpose(order)

    letters = int(stored.dtype == "S1" and stored.ndim > 0)
    axes = tuple(found.dimensions)[: stored.ndim - letters]
    return Variable(axes, stored.shape[: len(axes)], numbers, lambda: meanings(file, stored, attributes, fill))
