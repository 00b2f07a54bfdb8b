"""Processor time of a function, as costs are predicted from it."""

from __future__ import annotations

import time
from collections.abc import Callable


def timed(function: Callable[[], object], rounds: int = 1) -> float:
    """Return the processor seconds of one call, the least of some rounds after one that warms up.

    A busy machine slows rounds by chance, and never speeds one up.

    Examples
    --------
    >>> from superpose.running.timing import timed
    >>> timed(lambda: sum(range(1000))) < 1
    True
    """
    function()
    return min(_once(function) for _ in range(rounds))


def _once(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started
