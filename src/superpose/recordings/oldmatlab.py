"""MATLAB's files up to version 7, read by SciPy in a process of its own: its reader crashes on some damaged ones."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError

CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from superpose.recordings.oldmatlab import convert; convert(sys.argv[1])"
)
# What the process calls its list of what it cannot give as arrays; no variable of MATLAB has such a name.
OTHERS = "#others"


def variables(file: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the variables of a file that are numbers or text, with those in structs, and what the others are.

    Text and cell arrays are vectors; in cell arrays, NaN or "" stand for empty cells.
    """
    done = subprocess.run([sys.executable, "-c", CHILD, os.fspath(file), json.dumps(sys.path)], capture_output=True)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][-200:] or "SciPy crashed on it"
        raise DataError(f"{file} cannot be read ({said}); expected an undamaged .mat file. Save it again, or as v7.3.")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files if name != OTHERS}
        return arrays, json.loads(str(archive[OTHERS]))


def convert(file: str) -> None:
    """Write the variables of a file to the standard output, as a .npz."""
    arrays: dict[str, Any] = {}
    others: dict[str, str] = {}
    for name, value in _loaded(file):
        for path, inner in _parts(name, value):
            made = _plain(inner)
            if isinstance(made, str):
                others[path] = made
            else:
                arrays[path] = made
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays, **{OTHERS: np.array(json.dumps(others))})
    sys.stdout.buffer.write(stream.getvalue())


def _loaded(file: str) -> Iterator[tuple[str, Any]]:
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatlabOpaque, varmats_from_mat

    found = loadmat(file)
    if not any(isinstance(value, MatlabOpaque) for value in found.values()):
        # Of logical values SciPy makes whole numbers, as which they are stored.
        logical = {name for name, _, kind in whosmat(file) if kind == "logical"}
        for name, value in found.items():
            if not name.startswith("__"):
                yield name, value.astype(bool) if name in logical else value
        return
    # SciPy gives one name to all objects, of which the last would stay.
    with open(file, "rb") as stream:
        for _, part in varmats_from_mat(stream):
            for name, value in loadmat(part).items():
                if not name.startswith("__"):
                    yield (value["s0"].item().decode() if isinstance(value, MatlabOpaque) else name), value


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield a variable or, of a struct, its fields as "name/field"."""
    from scipy.io.matlab import MatlabFunction, MatlabObject, MatlabOpaque

    fields = getattr(value, "dtype", np.dtype("O")).names or ()
    if not fields or value.size != 1 or isinstance(value, MatlabFunction | MatlabObject | MatlabOpaque):
        yield name, value
        return
    for field in fields:
        yield from _parts(f"{name}/{field}", value.reshape(-1)[0][field])


def _plain(value: Any) -> NDArray[Any] | str:
    """Return numbers and text as an array, or what else it is."""
    from scipy.io.matlab import MatlabFunction, MatlabObject, MatlabOpaque

    if isinstance(value, MatlabOpaque):
        return str(value["s2"].reshape(-1)[0].decode())
    if isinstance(value, MatlabObject):
        return str(value.classname)
    if isinstance(value, MatlabFunction):
        return "function_handle"
    array = value.toarray() if hasattr(value, "toarray") else value
    if array.dtype.names:
        return "struct array"
    if array.dtype.kind in "biufc":
        return array
    if array.dtype.kind == "U":
        # Rows of text are filled up with blanks.
        rows = array.reshape(-1)
        return np.char.rstrip(rows) if rows.size > 1 else rows
    cells = [_cell(cell) for cell in array.flat]
    if all(cell is None or isinstance(cell, str) for cell in cells):
        return np.array(["" if cell is None else cell for cell in cells], "U")
    if all(cell is None or isinstance(cell, int | float) for cell in cells):
        return np.array([np.nan if cell is None else cell for cell in cells])
    return "cell"


def _cell(cell: Any) -> Any:
    """Return the one text or number of a cell, None of an empty one, and a list of anything else."""
    plain = isinstance(cell, np.ndarray) and not cell.dtype.names and cell.dtype.kind in "biufU"
    if not plain:
        return []
    return cell.item() if cell.size == 1 else [] if cell.size else None
