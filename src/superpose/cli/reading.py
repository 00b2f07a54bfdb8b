"""The options `--axes` and `--missing`, the files that a command reads, and what it says and records of them."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from superpose.files import DataError, argument, sha256
from superpose.running.progress import Progress

if TYPE_CHECKING:
    from superpose.analysis.inputs import Systems
    from superpose.recordings.matching import Notes

# Their help, once for every command that reads files.
AXES = (
    "Order of the axes of .npy, .npz, HDF5, zarr and MATLAB arrays, if the files do not name them: "
    "stimuli,repeats,units. Trials that are NaN in every unit are missing."
)
MISSING = (
    "Text that marks a missing label in text files (which is refused), instead of NaN, NA, n/a and similar; "
    "'' means blanks only."
)
Axes = Annotated[str | None, Parameter(group="Files", help=AXES)]
Missing = Annotated[list[str] | None, Parameter(group="Files", help=MISSING, consume_multiple=True, negative="")]


def told(axes: str | None, missing: list[str] | None) -> dict[str, Any]:
    """Return what `superpose.read` is told of files."""
    return {"axes": None if axes is None else axes.split(","), "missing": missing}


def read_paired(
    files: Sequence[Path], how: Mapping[str, Any], *, groups: Path | None = None, timed: str | None = None
) -> Systems:
    """Return paired files, their groups those of a file of groups where there is one, and say what was read of them."""
    from superpose.analysis.inputs import read_groups, read_systems

    with Progress() as reading:
        read = read_systems(files, reading, timed=timed, **how)
    show_notes(read.notes)
    return read if groups is None else read._replace(groups=read_groups(groups, missing=how["missing"]))


def record_of(read: Systems, started: float, **beside: Path | None) -> dict[str, Any]:
    """Return what run.json says of paired files and of the files of labels beside them, and how long it took."""
    return {
        "inputs": read.inputs,
        "notes": [*read.notes.labels, *read.notes.averaged],
        "seconds": round(time.perf_counter() - started, 1),
        **digests_of(**beside),
    }


def digests_of(**files: Path | None) -> dict[str, Any]:
    """Return the path and digest of each file that was given."""
    return {name: {"path": str(path), "sha256": sha256(path)} for name, path in files.items() if path is not None}


def named_target(target: str | None) -> str:
    """Return the target that a command needs.

    Raises
    ------
    DataError
        If none was named.
    """
    if target is None:
        raise DataError(f"{argument('target')} is missing; expected the name of one of the files, without its ending.")
    return target


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
