"""`superpose sweep`: folders of results that studies keep, on one machine or on many."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

import superpose.studies.sweeps as sweeps
from superpose.cli.show import show_rows
from superpose.files import PartError

app = App(
    name="sweep",
    help="Inspect, verify and merge result folders.",
    help_format="markdown",
    help_epilogue="Example: superpose sweep status figures/cells",
    result_action="return_none",
)

Json = Annotated[bool, Parameter(negative="")]


def status(folder: Path, /, *, json: Json = False) -> None:
    """Show how many results a folder holds: of each study, from each host, in each file.

    Parameters
    ----------
    folder
        Results folder of a study; for a figure, OUT/cells.
    json
        Print the rows as JSON.
    """
    show_rows(sweeps.status(folder), as_json=json)


def collect(out: Path, /, *folders: Path) -> None:
    """Merge the results of several folders into one; if two folders differ in a result, name it and write nothing.

    Parameters
    ----------
    out
        Folder to merge into; created if missing.
    folders
        Folders of results.
    """
    new = sweeps.collect(out, folders)
    print(f"{new} results are new in {out}", file=sys.stderr)


def verify(folder: Path, /, *, json: Json = False) -> None:
    """Verify every checksum of a folder; if files are damaged, name them and exit with status 1.

    Parameters
    ----------
    folder
        Results folder of a study; for a figure, OUT/cells.
    json
        Print the rows as JSON.
    """
    rows = sweeps.verify(folder)
    show_rows(rows, as_json=json)
    if wrong := [row["file"] for row in rows if row["why"]]:
        raise PartError(f"{len(wrong)} of {len(rows)} files in {folder} are not as they should be: {', '.join(wrong)}.")


app.command(status, help_epilogue="Example: superpose sweep status figures/cells")
app.command(collect, help_epilogue="Example: superpose sweep collect figures/cells node1/cells node2/cells")
app.command(verify, help_epilogue="Example: superpose sweep verify figures/cells")
