"""The options `--axes` and `--missing`, and what every command says of the files that it read."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

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


def show_notes(notes: Notes) -> None:
    """Say on standard error what labels were read from, what was averaged, and what was left out."""
    for note in itertools.chain(*notes):
        print(note, file=sys.stderr)
