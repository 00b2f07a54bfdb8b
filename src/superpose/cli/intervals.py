"""The option `--interval-samples`: of how many samples the width of intervals is taken."""

from __future__ import annotations

from typing import Literal

Samples = int | Literal["all"]

# As in `superpose.comparison`, which a command line reads no sooner than it compares.
INTERVALS = 5_000


def samples_of(asked: Samples) -> int | None:
    """Return how many samples, or None for all."""
    return None if asked == "all" else asked
