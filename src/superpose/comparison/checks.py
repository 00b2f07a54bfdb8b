"""What a comparison is given, checked: systems, pairs, seeds, samples of intervals, memory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.arrays import (
    as_responses,
    check_moderate,
)
from superpose.files import DataError, argument, in_python, on_command_line
from superpose.metrics.metric import is_constant

Array = NDArray[Any]

Systems = Mapping[str, Any]


def checked_systems(systems: Systems) -> dict[str, Array]:
    """Return at least two systems as real, finite arrays that vary, or raise a DataError that names the culprit."""
    if not isinstance(systems, Mapping) or len(systems) < 2:
        raise DataError("expected at least two systems, as {name: array}.")
    arrays = {str(name): as_responses(x, str(name)) for name, x in systems.items()}
    for name, x in arrays.items():
        check_moderate(x, name)
        if is_constant(x):
            raise DataError(
                f"{name} does not vary: every unit is constant over the samples, so there is nothing to compare."
            )
    return arrays


def bytes_of(memory: int | str | None) -> int:
    """Return a limit in bytes: a number, text such as 512MB, or a quarter of this machine's memory for None.

    Raises
    ------
    DataError
        For anything else.

    Examples
    --------
    >>> from superpose.comparison import bytes_of
    >>> bytes_of("512MB"), bytes_of("2 GiB")
    (512000000, 2147483648)
    """
    if memory is None:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(B|[KMGT]i?B)?", str(memory))
    if not found or not float(found[1]):
        raise DataError(f"{argument('memory')} is {memory!r}; expected a number of bytes, or text such as 512MB.")
    unit = found[2] or "B"
    return int(float(found[1]) * (1024 if "i" in unit else 1000) ** "BKMGT".index(unit[0]))


def checked_seed(seed: int) -> None:
    """Raise a DataError unless the seed is an integer of at least 0."""
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise DataError(f"{argument('seed')} is {seed!r}; expected an integer of at least 0.")


def checked_draw(samples: int | None) -> None:
    """Raise a DataError unless intervals come from all samples (None) or at least two."""
    if samples is not None and (not isinstance(samples, int | np.integer) or samples < 2):
        raise DataError(f"{argument('interval_samples')} is {samples!r}; expected an integer of at least 2, or "
            f"{in_python('None for all')}{on_command_line('all')}.")


def checked_pairs(systems: Mapping[str, Any], pairs: Sequence[tuple[str, str]] | None) -> list[tuple[str, str]]:
    """Return the chosen pairs of systems, or all, or raise a DataError that names an unknown one."""
    if pairs is None:
        return list(combinations(systems, 2))
    if not pairs or len(set(map(frozenset, pairs))) < len(pairs):
        raise DataError(f"pairs is {pairs!r}; expected at least one pair of systems, each once.")
    for pair in pairs:
        if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= set(systems):
            raise DataError(f"{pair!r} is no pair of two systems; expected two of {', '.join(systems)}.")
    return [(a, b) for a, b in pairs]
