"""MATLAB's files up to version 7, read by SciPy in a process of its own: its reader crashes on some damaged ones."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.labels import KINDS

CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from superpose.recordings.oldmatlab import convert; convert(sys.argv[1])"
)


def variables(file: Path) -> dict[str, NDArray[Any]]:
    """Return the variables of a file that hold numbers or text, text and cell arrays as vectors."""
    done = subprocess.run([sys.executable, "-c", CHILD, os.fspath(file), json.dumps(sys.path)], capture_output=True)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][-200:] or "SciPy crashed on it"
        raise DataError(f"{file} cannot be read ({said}); expected an undamaged .mat file. Save it again, or as v7.3.")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def convert(file: str) -> None:
    """Write the variables of a file to the standard output, as a .npz."""
    from scipy.io import loadmat

    found = {name: _plain(name, value) for name, value in loadmat(file).items() if not name.startswith("__")}
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **{name: value for name, value in found.items() if value is not None})
    sys.stdout.buffer.write(stream.getvalue())


def _plain(name: str, value: Any) -> NDArray[Any] | None:
    array = value.toarray() if hasattr(value, "toarray") else value
    if array.dtype.kind in "biufc":
        return array
    if array.dtype.kind == "U":
        return np.char.rstrip(array.reshape(-1))
    cells = [cell.item() if getattr(cell, "size", 0) == 1 else None for cell in array.flat]
    for kind in (str, int | float):
        if array.dtype.kind == "O" and all(isinstance(cell, kind) for cell in cells):
            return np.array(cells)
    if name.lower() in KINDS:
        sys.exit(f"{name} has cells that hold neither one text nor one number; write it with cellstr")
    return None
