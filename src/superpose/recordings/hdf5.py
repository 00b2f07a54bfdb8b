"""HDF5: datasets that lie in one piece are mapped, those in chunks read whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.choice import choose
from superpose.recordings.heaps import check_heaps
from superpose.recordings.packages import package
from superpose.recordings.room import check_room, check_stored

SIGNATURE = b"\x89HDF\r\n\x1a\n"


def read_hdf5(file: Path, key: str | None) -> dict[str, Any]:
    """Read one dataset of a file, and the labels in its group."""
    with opened(file) as source:
        found = datasets(source)
        axes = {name: dataset.ndim for name, dataset in found.items()}
        return choose(file, key, axes, lambda name: values(file, found[name]), lambda name: labels(file, found[name]))


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """Yield an HDF5 file, open for reading."""
    with package("h5py", file).File(file, "r") as source:
        yield source


def datasets(group: Any) -> dict[str, Any]:
    """Return the datasets of a group and the groups in it by name, without those that links lead to."""
    from h5py import Dataset

    found: dict[str, Any] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, Dataset) and node.shape is not None:
            found[name] = node

    group.visititems(visit)
    return found


def values(file: Path, dataset: Any) -> NDArray[Any]:
    """Return the numbers of a dataset, mapped where they lie in one piece, as read-only as the file."""
    from h5py import h5d, h5t

    _check_numbers(file, dataset)
    offset = dataset.id.get_offset() if _layout(dataset) == h5d.CONTIGUOUS else None
    # Some types of HDF5 have no like in NumPy and are converted as they are read.
    if offset is None or not h5t.py_create(dataset.dtype, logical=True).equal(dataset.id.get_type()):
        return whole(file, dataset)
    check_complete(file, dataset)
    return np.memmap(file, dataset.dtype, "r", offset, dataset.shape)


def labels(file: Path, dataset: Any) -> NDArray[Any]:
    """Return a dataset of labels: numbers, or text."""
    from h5py import check_string_dtype

    if check_string_dtype(dataset.dtype) is None:
        return whole(file, dataset)
    check_complete(file, dataset)
    check_heaps(file)
    return np.asarray(dataset.asstr()[()], dtype=object)


def whole(file: Path, dataset: Any) -> NDArray[Any]:
    """Return the numbers of a dataset, in memory."""
    _check_numbers(file, dataset)
    check_room(file, dataset.name, dataset.shape, dataset.dtype.itemsize)
    check_complete(file, dataset)
    return np.asarray(dataset[()])


def check_complete(file: Path, dataset: Any) -> None:
    """Raise a DataError if parts of a dataset lie in other files, were never written or got lost."""
    from h5py import h5d

    # What an external link leads to is part of another file.
    if dataset.is_virtual or dataset.external or dataset.file.filename != str(file):
        raise DataError(f"{file}: {dataset.name} keeps its values in other files; copy them into one dataset.")
    if _layout(dataset) == h5d.CHUNKED:
        expected = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
        check_stored(file, dataset.name, dataset.id.get_num_chunks(), expected, dataset.fillvalue)
    if _layout(dataset) == h5d.CONTIGUOUS and dataset.size and dataset.id.get_offset() is None:
        check_stored(file, dataset.name, 0, 1, dataset.fillvalue)


def _layout(dataset: Any) -> Any:
    return dataset.id.get_create_plist().get_layout()


def _check_numbers(file: Path, dataset: Any) -> None:
    # Objects, of which Python's own kind would be pickled, and references to other parts of a file.
    if dataset.dtype.kind not in "iufb":
        raise DataError(f"{file}: {dataset.name} holds values of type {dataset.dtype}; expected real numbers.")
