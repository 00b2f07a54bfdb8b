"""The options `--axes` and `--missing`, and what every command says of the files that it read."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from superpose.files import DataError

if TYPE_CHECKING:
    from superpose.recordings.matching import Notes

# Their help, once for every command that reads files.
AXES = (
    "What the axes of .npy, .npz, HDF5, zarr and MATLAB arrays are, in their order, where the files do not say: "
    "stimuli,repeats,units. Trials that are NaN in every unit are missing."
)
MISSING = (
    "What stands for a missing label in files of text (which is refused), instead of NaN, NA, n/a and their like; "
    "'' is nothing else than a blank."
)
Axes = Annotated[str | None, Parameter(group="Files", help=AXES)]
Missing = Annotated[list[str] | None, Parameter(group="Files", help=MISSING, consume_multiple=True, negative="")]


def told(axes: str | None, missing: list[str] | None) -> dict[str, Any]:
    """Return what `superpose.read` is told of files."""
    return {"axes": None if axes is None else axes.split(","), "missing": missing}


def check_files(files: Sequence[Path], *, fewest: int) -> None:
    """Refuse files by what their names tell, before anything is imported that takes seconds.

    Raises
    ------
    DataError
        For too few files, or one that is not there. What is in them, and beside layers, is left to what reads them.
    """
    from superpose.recordings.reading import existing

    for path in files:
        if not path.exists():
            existing(path)
    if len(files) < fewest and not any(path.is_dir() for path in files):
        raise DataError(f"{len(files)} file(s) given; expected at least two to compare.")


def check_names(given: Mapping[str, tuple[str | None, Sequence[str]]]) -> None:
    """Refuse options {argument: (value, what it may be)} whose value is none of these."""
    from superpose.arrays import choose

    for name, (value, known) in given.items():
        if value is not None:
            choose(dict.fromkeys(known), name, value)


def show_notes(notes: Notes) -> None:
    """Say on standard error what labels were read from, what was averaged, and what was left out."""
    for note in itertools.chain(*notes):
        print(note, file=sys.stderr)
