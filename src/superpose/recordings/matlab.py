"""MATLAB's files: up to version 7 through SciPy, 7.3 as the transposed HDF5 that it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.asked import Asked
from superpose.recordings.axes import two_dimensional
from superpose.recordings.choice import choose
from superpose.recordings.h5ad import compressed
from superpose.recordings.hdf5 import SIGNATURE, labels, opened, own, values
from superpose.recordings.oldmatlab import variables

Array = NDArray[Any]

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
NUMBERS = ("double", "single", "logical", "sparse", *INTEGERS)
# MATLAB 7.3 writes HDF5 behind a page of text.
PAGE = 512
# What to save in place of what only MATLAB reads.
REMEDIES = {
    **dict.fromkeys(("string", "categorical", "datetime", "duration", "calendarDuration"), "cellstr({name})"),
    "table": "its columns as variables, or writetable({name}, 'responses.csv')",
    "timetable": "its columns as variables, or writetimetable({name}, 'responses.csv')",
    "struct array": "a field of all elements as one array, such as cat(1, {name}.field)",
    "cell": "cell2mat({name}), or labels as a cell array of one text or one number each (cellstr)",
}


def read_matlab(file: Path, asked: Asked) -> dict[str, Any]:
    """Read one variable of a file, (samples, units), and the labels beside it."""
    with open(file, "rb") as source:
        head = source.read(PAGE + len(SIGNATURE))
    # MATLAB writes a field of a struct as struct.field.
    asked = asked if asked.key is None else asked._replace(key=asked.key.replace(".", "/"))
    return (_read_new if SIGNATURE in (head[PAGE:], head[: len(SIGNATURE)]) else _read_old)(file, asked)


def _read_old(file: Path, asked: Asked) -> dict[str, Any]:
    found, others = variables(file)
    axes = {name: _axes(array.shape, "cell" if array.dtype.kind == "U" else "double") for name, array in found.items()}

    def get(name: str) -> Array:
        if name in others:
            raise _unread(file, name, others[name])
        return found[name]

    return choose(file, asked, axes | dict.fromkeys(others, 1), get, lambda name: _flat(get(name)))


def _axes(shape: tuple[int, ...], kind: str) -> int:
    """Return how many axes a variable has: MATLAB gives two to every number and vector, and to what is empty."""
    if kind == "char":
        return int(shape[0] > 1)
    if 0 in shape:
        return 1
    axes = sum(size > 1 for size in shape)
    return axes if kind in NUMBERS else min(axes, 1)


def _unread(file: Path, name: str, kind: str) -> DataError:
    leaf = name.rpartition("/")[2]
    what = f"a {kind}" if kind in ("cell", "struct array") else f"a MATLAB {kind[:40]} object"
    remedy = REMEDIES.get(kind, "what it holds as numbers or text").format(name=name.strip("/").replace("/", "."))
    why = "" if kind in ("cell", "struct array") else ", which only MATLAB reads"
    return DataError(f"{file}: {leaf} is {what}{why}; expected numbers, or text for labels. Save {remedy}.")


def _flat(array: Array) -> Array:
    return array.reshape(-1) if array.size == max(array.shape, default=1) else array


def _read_new(file: Path, asked: Asked) -> dict[str, Any]:
    with opened(file) as source:
        nodes = dict(_nodes(source))
        axes = {name: _axes(_shape(node), _kind(node)) for name, node in nodes.items()}
        return choose(
            file,
            asked,
            axes,
            lambda name: _matrix(file, nodes[name], asked.axes),
            lambda name: _label(file, source, nodes[name]),
        )


def _nodes(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the variables of a file or, of structs, their fields as "name/field"."""
    for name, node in own(group).items():
        if name.startswith("#"):
            continue
        if _kind(node) == "struct" and not hasattr(node, "shape"):
            yield from _nodes(node, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", node


def _kind(node: Any) -> str:
    if "MATLAB_sparse" in node.attrs:
        return "sparse"
    kind = node.attrs.get("MATLAB_class", "double" if _is_numeric(node) else "struct array")
    return kind.decode() if isinstance(kind, bytes) else str(kind)


def _is_numeric(node: Any) -> bool:
    return getattr(node, "dtype", np.dtype("O")).kind != "O"


def _is_empty(node: Any) -> bool:
    # What is stored of it are its lengths.
    return bool(node.attrs.get("MATLAB_empty", 0))


def _shape(node: Any) -> tuple[int, ...]:
    if "MATLAB_sparse" in node.attrs:
        return int(node.attrs["MATLAB_sparse"]), len(node["jc"]) - 1
    if _is_empty(node):
        return tuple(int(size) for size in np.ravel(node[()])[:32])
    return tuple(getattr(node, "shape", (1,)))[::-1]


def _matrix(file: Path, node: Any, axes: Sequence[str] | None) -> Array:
    kind = _kind(node)
    if kind == "sparse":
        rows, columns = _shape(node)
        return compressed(file, node, (rows, columns), ("data", "ir", "jc"), "csc")
    if _is_empty(node):
        raise DataError(f"{file}: {node.name[1:]} is empty, {' × '.join(map(str, _shape(node)))}; expected responses.")
    if kind not in NUMBERS:
        raise _unread(file, node.name, kind)
    if node.ndim > 2:
        two_dimensional(node, str(file), axes)
    return values(file, node, range(node.ndim)[::-1])


def _label(file: Path, source: Any, node: Any) -> Array:
    kind = _kind(node)
    if _is_empty(node):
        return np.empty(0)
    if kind == "char":
        # Rows of text are filled up with blanks.
        return np.array([_text(row).rstrip() for row in labels(file, node).T])
    if kind == "cell":
        cells = [_cell(file, source[reference]) for reference in np.ravel(node[()])]
        if not all(cell is None or isinstance(cell, str | int | float) for cell in cells):
            raise _unread(file, node.name, kind)
        return np.array(cells, dtype=object)
    if kind not in NUMBERS:
        raise _unread(file, node.name, kind)
    return _flat(_numbers(file, node))


def _numbers(file: Path, node: Any) -> Array:
    """Return labels of numbers, or of truth, which is stored as whole numbers."""
    return labels(file, node).astype(bool) if _kind(node) == "logical" else labels(file, node)


def _text(codes: Array) -> str:
    return codes.astype("<u2").tobytes().decode("utf-16-le")


def _cell(file: Path, cell: Any) -> Any:
    """Return the one text or number of a cell, None of an empty one, and a list of anything else."""
    if _kind(cell) not in ("char", *NUMBERS) or not hasattr(cell, "shape"):
        return []
    if _is_empty(cell):
        return None
    content = _numbers(file, cell)
    if _kind(cell) == "char":
        return _text(content.reshape(-1)) if 1 in cell.shape else []
    return content.item() if content.size == 1 else []
