"""Options that several commands take: the type and the help of each, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

# As in `superpose.comparison`, which a command line reads no sooner than it compares.
INTERVALS = 5_000

Flag = Annotated[bool, Parameter(negative="")]
Out = Annotated[Path | None, Parameter(help="Output directory; it must not hold another run.")]
Groups = Annotated[
    Path | None,
    Parameter(
        help="File with one label per row: the group of each row (sentence, trial, photograph), as for superpose "
        "compare."
    ),
]
Folds = Annotated[int, Parameter(help="Folds of the cross-validation of regressions, drawn at random in whole groups.")]
Samples = Annotated[
    int | Literal["all"],
    Parameter(
        help="Number of test samples used for interval widths, drawn at random, or all: 5,000 estimate the standard "
        "error to 1–2 %."
    ),
]
Memory = Annotated[str | None, Parameter(help="Memory limit for the sums behind scores, such as 512MB.")]
Json = Annotated[bool, Parameter(negative="", help="Print tables and sentences as JSON.")]
Overwrite = Annotated[bool, Parameter(negative="", help="Replace the run that the output directory holds.")]


def samples_of(asked: int | Literal["all"]) -> int | None:
    """Return how many samples, or None for all."""
    return None if asked == "all" else asked
