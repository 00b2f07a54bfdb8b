"""What is asked of a file's reader."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Asked(NamedTuple):
    """Which array of a file is meant, and what its reader is told that the file does not say.

    `key` is the name of the array, `axes` what its axes are (stimuli, repeats, units), and `missing` what stands for a
    missing label in text; None leaves each to the file.
    """

    key: str | None = None
    axes: tuple[str, ...] | None = None
    missing: Collection[str] | None = None
