"""HDF5: datasets that lie in one piece are mapped, those in chunks read whole, or unpacked where they are large."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.asked import Asked
from superpose.recordings.assemblies import Variable, picked
from superpose.recordings.completeness import check_stored
from superpose.recordings.conventions import ATTRIBUTES, Convert, conversion, default_fill, holds, meanings
from superpose.recordings.heaps import check_heaps, check_lengths
from superpose.recordings.packages import package
from superpose.recordings.unpacking import kept, on_disk, unpacked

NUMBERS = "iufb"
BARE = b"This is a netCDF dimension but not a netCDF variable"
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def read_hdf5(file: Path, asked: Asked) -> dict[str, Any]:
    """Read one dataset of a file, and the labels in its group, or along its axes where those have names."""
    with opened(file) as source:
        found = datasets(source)
        _refuse_pandas(file, asked.key, found)
        return picked(file, asked, {name: variable(file, dataset) for name, dataset in found.items()})


def _refuse_pandas(file: Path, key: str | None, found: Mapping[str, Any]) -> None:
    # Its names of rows and columns lie in arrays of their own, and some are pickled.
    prefix = "" if key is None else key.partition("/")[0] + "/"
    if any("pandas_type" in found[name].parent.attrs for name in found if name.startswith(prefix)):
        raise DataError(f"{file} was written by pandas' to_hdf; expected plain arrays. Write it with to_parquet.")


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """Yield an HDF5 file, open for reading."""
    with package("h5py", file).File(file, "r") as source:
        yield source


def datasets(group: Any) -> dict[str, Any]:
    """Return the datasets of a group and the groups in it by name.

    Those that links lead to are left out, and those that stand for an axis of netCDF alone.
    """
    from h5py import Dataset

    found: dict[str, Any] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, Dataset) and node.shape is not None and not _is_bare(node):
            found[name] = node

    group.visititems(visit)
    return found


def own(group: Any) -> dict[str, Any]:
    """Return what lies in a group itself, without what links lead to; nothing of what is no group."""
    from h5py import Group, HardLink

    names = group if isinstance(group, Group) else ()
    return {name: group[name] for name in names if isinstance(group.get(name, getlink=True), HardLink)}


def _is_bare(dataset: Any) -> bool:
    # Text of any length, which no library writes here, would lie in a heap.
    named = "NAME" in dataset.attrs and dataset.attrs.get_id("NAME").dtype.kind == "S"
    return named and bool(np.bytes_(dataset.attrs["NAME"]).startswith(BARE))


def variable(file: Path, dataset: Any) -> Variable:
    """Return a dataset with the names of its axes, none where the file gives none."""
    axes, shape = axes_of(dataset), dataset.shape
    if dataset.dtype == "S1" and (axes or dataset.ndim > 1):
        # The last axis is that of the letters.
        axes, shape = axes[:-1], shape[:-1]
    return Variable(axes, shape, lambda order: values(file, dataset, order), lambda: labels(file, dataset))


def axes_of(dataset: Any) -> tuple[str, ...]:
    """Return the names of a dataset's axes: its own labels, or those of the scales that it refers to; () if none.

    Beside one with a name, others are called by their number.
    """
    given = [name for name in ("DIMENSION_LABELS", "DIMENSION_LIST", "CLASS") if name in dataset.attrs]
    if not given or not dataset.ndim:
        return ()
    check_heaps(Path(dataset.file.filename))
    names = [""] * dataset.ndim
    if given[0] == "DIMENSION_LABELS":
        names = [_text(label) for label in dataset.attrs["DIMENSION_LABELS"]]
    elif given[0] == "DIMENSION_LIST":
        scales = [list(references) for references in dataset.attrs["DIMENSION_LIST"]]
        names = [_leaf(dataset.file[references[0]]) if references else "" for references in scales]
    elif dataset.ndim == 1 and dataset.is_scale:
        names = [_leaf(dataset)]
    if not any(names) or len(names) != dataset.ndim:
        return ()
    return tuple(name or f"axis {axis}" for axis, name in enumerate(names))


def _leaf(dataset: Any) -> str:
    return str(dataset.name).rpartition("/")[2]


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value or "")


def attributes(dataset: Any) -> dict[str, Any]:
    """Return what a dataset says of its numbers."""
    from h5py import Empty

    given = [name for name in ATTRIBUTES if name in dataset.attrs]
    if any(dataset.attrs.get_id(name).dtype.kind == "O" for name in given):
        check_heaps(Path(dataset.file.filename))
    said = {name: dataset.attrs[name] for name in given}
    return {name: value for name, value in said.items() if not isinstance(value, Empty) and np.size(value)}


def _fill(dataset: Any) -> Any:
    """Return what netCDF would have written where nothing was, if this is such a file."""
    netcdf = dataset.file.filename.lower().endswith(".nc") or "_NCProperties" in dataset.file.attrs
    return default_fill(dataset.dtype) if netcdf else None


def values(file: Path, dataset: Any, axes: Sequence[int] | None = None) -> NDArray[Any]:
    """Return the numbers of a dataset with its axes in some order, mapped where they lie in one piece.

    What is mapped is as read-only as the file. Other numbers have the type that responses are kept in, and are NaN
    where the file says that they are missing.
    """
    _check_numbers(file, dataset)
    said, fill = attributes(dataset), _fill(dataset)
    convert = conversion(file, dataset.dtype, said, fill)
    check_complete(file, dataset, convert)
    if in_one_piece(dataset):
        mapped = np.memmap(file, dataset.dtype, "r", dataset.id.get_offset(), dataset.shape)
        if convert is np.asarray or (conversion(file, dataset.dtype, said) is np.asarray and not holds(mapped, fill)):
            return mapped.transpose(axes or range(dataset.ndim))
    dtype = kept(convert(np.empty(0, dataset.dtype)).dtype)
    return unpacked(file, dataset.name, dataset, _chunks(dataset), dtype, axes, convert)


def is_plain(file: Path, dataset: Any) -> bool:
    """Return whether the file says nothing of a dataset's numbers and axes, so that its header tells all."""
    return not axes_of(dataset) and conversion(file, dataset.dtype, attributes(dataset), _fill(dataset)) is np.asarray


def in_one_piece(dataset: Any) -> bool:
    """Return whether the numbers of a dataset lie in the file as NumPy would have them."""
    from h5py import h5d, h5t

    if dataset.dtype.kind not in NUMBERS or _layout(dataset) != h5d.CONTIGUOUS or dataset.id.get_offset() is None:
        return False
    # Some types of HDF5 have no like in NumPy and are converted as they are read.
    return bool(h5t.py_create(dataset.dtype, logical=True).equal(dataset.id.get_type()))


def labels(file: Path, dataset: Any) -> NDArray[Any]:
    """Return a dataset of labels: numbers, or text; None where the file says that one is missing."""
    from h5py import check_enum_dtype, check_string_dtype

    said = attributes(dataset)
    text = check_string_dtype(dataset.dtype)
    if text is None:
        names = {code: name for name, code in (check_enum_dtype(dataset.dtype) or {}).items()}
        return meanings(file, whole(file, dataset), said, _fill(dataset), names)
    check_complete(file, dataset)
    check_heaps(file)
    if text.length is None:
        check_lengths(file, dataset)
    if dataset.dtype == "S1" and dataset.ndim > 1:
        return meanings(file, dataset[()], said)
    return meanings(file, np.asarray(dataset.asstr()[()], dtype=object), said)


def whole(file: Path, dataset: Any) -> NDArray[Any]:
    """Return the numbers of a dataset as they are, in memory unless they are many."""
    _check_numbers(file, dataset)
    check_complete(file, dataset)
    # Other arrays are made of these, so that their values count where those of responses do not.
    return unpacked(file, dataset.name, dataset, _chunks(dataset), dataset.dtype.newbyteorder("="), place=on_disk)


def check_complete(file: Path, dataset: Any, convert: Convert = np.asarray) -> None:
    """Raise a DataError if parts of a dataset lie in other files, were never written or got lost."""
    from h5py import h5d

    # What an external link leads to is part of another file.
    if dataset.is_virtual or dataset.external or dataset.file.filename != str(file):
        raise DataError(f"{file}: {dataset.name} keeps its values in other files; copy them into one dataset.")
    stored = expected = 1
    if _layout(dataset) == h5d.CHUNKED:
        expected = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
        stored = dataset.id.get_num_chunks()
    elif _layout(dataset) == h5d.CONTIGUOUS and dataset.size and dataset.id.get_offset() is None:
        stored = 0
    if stored < expected:
        fill = dataset.fillvalue
        if dataset.dtype.kind in NUMBERS:
            fill = convert(np.array([fill], dataset.dtype))[0]
        check_stored(file, dataset.name, stored, expected, fill)


def _chunks(dataset: Any) -> tuple[int, ...]:
    return dataset.chunks or (1,) * dataset.ndim


def _layout(dataset: Any) -> Any:
    return dataset.id.get_create_plist().get_layout()


def _check_numbers(file: Path, dataset: Any) -> None:
    # Objects, of which Python's own kind would be pickled, and references to other parts of a file.
    if dataset.dtype.kind not in NUMBERS:
        # MATLAB's complex numbers are pairs to NumPy.
        shown = "complex" if dataset.dtype.names == ("real", "imag") else str(dataset.dtype)[:80]
        raise DataError(f"{file}: {dataset.name} holds values of type {shown}; expected real numbers.")
