"""The options `--axes` and `--missing`, and what every command says of the files that it read."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from superpose.recordings.matching import Notes

Axes = Annotated[str | None, Parameter(group="Files")]
Missing = Annotated[list[str] | None, Parameter(group="Files", consume_multiple=True, negative="")]


def told(axes: str | None, missing: list[str] | None) -> dict[str, Any]:
    """Return what `superpose.read` is told of files."""
    return {"axes": None if axes is None else axes.split(","), "missing": missing}


def show_notes(notes: Notes) -> None:
    """Say on standard error what labels were read from, what was averaged, and what was left out."""
    for note in itertools.chain(*notes):
        print(note, file=sys.stderr)
