"""MATLAB's files: up to version 7 through SciPy, 7.3 as the transposed HDF5 that it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.axes import two_dimensional
from superpose.recordings.choice import choose
from superpose.recordings.h5ad import compressed
from superpose.recordings.hdf5 import SIGNATURE, labels, opened, values
from superpose.recordings.oldmatlab import variables

Array = NDArray[Any]

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
NUMBERS = ("double", "single", "logical", "sparse", *INTEGERS)
# MATLAB 7.3 writes HDF5 behind a page of text.
PAGE = 512


def read_matlab(file: Path, key: str | None) -> dict[str, Any]:
    """Read one variable of a file, (samples, units), and the labels beside it."""
    with open(file, "rb") as source:
        head = source.read(PAGE + len(SIGNATURE))
    return (_read_new if SIGNATURE in (head[PAGE:], head[: len(SIGNATURE)]) else _read_old)(file, key)


def _read_old(file: Path, key: str | None) -> dict[str, Any]:
    found = variables(file)
    axes = {name: _axes(array.shape, "cell" if array.dtype.kind == "U" else "double") for name, array in found.items()}
    return choose(file, key, axes, found.__getitem__, lambda name: _flat(found[name]))


def _axes(shape: tuple[int, ...], kind: str) -> int:
    """Return how many axes a variable has: MATLAB gives two to every number and vector."""
    if kind == "char":
        return int(shape[0] > 1)
    axes = sum(size > 1 for size in shape)
    return axes if kind in NUMBERS else min(axes, 1)


def _cells(file: Path, name: str, cells: list[Any]) -> Array:
    if not all(isinstance(cell, str | int | float) for cell in cells):
        raise DataError(f"{file}: {name} has cells that hold neither one text nor one number; write it with cellstr.")
    return np.array(cells, dtype=object if any(isinstance(cell, str) for cell in cells) else None)


def _flat(array: Array) -> Array:
    return array.reshape(-1) if array.size == max(array.shape, default=1) else array


def _read_new(file: Path, key: str | None) -> dict[str, Any]:
    with opened(file) as source:
        nodes = {name: source[name] for name in source if not name.startswith("#")}
        axes = {name: _axes(_shape(node), _kind(node)) for name, node in nodes.items()}
        return choose(
            file, key, axes, lambda name: _matrix(file, nodes[name]), lambda name: _label(file, source, nodes[name])
        )


def _kind(node: Any) -> str:
    if "MATLAB_sparse" in node.attrs:
        return "sparse"
    kind = node.attrs.get("MATLAB_class", "double")
    return kind.decode() if isinstance(kind, bytes) else str(kind)


def _shape(node: Any) -> tuple[int, ...]:
    if "MATLAB_sparse" in node.attrs:
        return int(node.attrs["MATLAB_sparse"]), len(node["jc"]) - 1
    return tuple(getattr(node, "shape", (1,)))[::-1]


def _matrix(file: Path, node: Any) -> Array:
    if _kind(node) == "sparse":
        rows, columns = _shape(node)
        return compressed(file, node, (rows, columns), ("data", "ir", "jc"), "csc")
    if node.ndim > 2:
        two_dimensional(node, str(file))
    return values(file, node, range(node.ndim)[::-1])


def _label(file: Path, source: Any, node: Any) -> Array:
    if _kind(node) == "char":
        return np.array([_text(row) for row in labels(file, node).T])
    if _kind(node) == "cell":
        cells = [source[reference] for reference in np.ravel(node[()])]
        return _cells(file, node.name, [_cell(file, cell) for cell in cells])
    return _flat(labels(file, node))


def _text(codes: Array) -> str:
    return "".join(map(chr, codes.tolist())).rstrip()


def _cell(file: Path, cell: Any) -> Any:
    content = labels(file, cell)
    if _kind(cell) == "char":
        return _text(content.reshape(-1))
    return content.item() if content.size == 1 else None
