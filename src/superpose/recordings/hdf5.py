"""HDF5: datasets that lie in one piece are mapped, those in chunks read whole, or unpacked where they are large."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.axes import two_dimensional
from superpose.recordings.choice import choose
from superpose.recordings.completeness import check_stored
from superpose.recordings.heaps import check_heaps, check_lengths
from superpose.recordings.packages import package
from superpose.recordings.unpacking import kept, on_disk, unpacked

NUMBERS = "iufb"
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


def values(file: Path, dataset: Any, axes: Sequence[int] | None = None) -> NDArray[Any]:
    """Return the numbers of a dataset with its axes in some order, mapped where they lie in one piece.

    What is mapped is as read-only as the file. Other numbers have the type that responses are kept in.
    """
    if axes is None and dataset.ndim > 2:
        two_dimensional(dataset, str(file))
    if not in_one_piece(dataset):
        return converted(file, dataset, axes)
    check_complete(file, dataset)
    mapped = np.memmap(file, dataset.dtype, "r", dataset.id.get_offset(), dataset.shape)
    return mapped.transpose(axes or range(dataset.ndim))


def in_one_piece(dataset: Any) -> bool:
    """Return whether the numbers of a dataset lie in the file as NumPy would have them."""
    from h5py import h5d, h5t

    if dataset.dtype.kind not in NUMBERS or _layout(dataset) != h5d.CONTIGUOUS or dataset.id.get_offset() is None:
        return False
    # Some types of HDF5 have no like in NumPy and are converted as they are read.
    return bool(h5t.py_create(dataset.dtype, logical=True).equal(dataset.id.get_type()))


def converted(
    file: Path, dataset: Any, axes: Sequence[int] | None, convert: Callable[[Any], NDArray[Any]] = np.asarray
) -> NDArray[Any]:
    """Return what a function, from value to value, makes of the numbers of a dataset."""
    _check_numbers(file, dataset)
    check_complete(file, dataset)
    dtype = kept(convert(np.empty(0, dataset.dtype)).dtype)
    return unpacked(file, dataset.name, dataset, _chunks(dataset), dtype, axes, convert)


def labels(file: Path, dataset: Any) -> NDArray[Any]:
    """Return a dataset of labels: numbers, or text."""
    from h5py import check_string_dtype

    text = check_string_dtype(dataset.dtype)
    if text is None:
        return whole(file, dataset)
    check_complete(file, dataset)
    check_heaps(file)
    if text.length is None:
        check_lengths(file, dataset)
    return np.asarray(dataset.asstr()[()], dtype=object)


def whole(file: Path, dataset: Any) -> NDArray[Any]:
    """Return the numbers of a dataset as they are, in memory unless they are many."""
    _check_numbers(file, dataset)
    check_complete(file, dataset)
    # Other arrays are made of these, so that their values count where those of responses do not.
    return unpacked(file, dataset.name, dataset, _chunks(dataset), dataset.dtype.newbyteorder("="), place=on_disk)


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


def _chunks(dataset: Any) -> tuple[int, ...]:
    return dataset.chunks or (1,) * dataset.ndim


def _layout(dataset: Any) -> Any:
    return dataset.id.get_create_plist().get_layout()


def _check_numbers(file: Path, dataset: Any) -> None:
    # Objects, of which Python's own kind would be pickled, and references to other parts of a file.
    if dataset.dtype.kind not in NUMBERS:
        raise DataError(f"{file}: {dataset.name} holds values of type {dataset.dtype}; expected real numbers.")
