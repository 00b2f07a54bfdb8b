"""How many threads the mathematics libraries of a process take."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

Cell = TypeVar("Cell")
Result = TypeVar("Result")

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

# The limit is the process's own: a second thread that leaves it would lift it for the first.
_one_at_a_time = threading.RLock()


def environment(threads: int) -> dict[str, str]:
    """Return the variables that give the libraries of a new process that many threads."""
    return dict.fromkeys(VARIABLES, str(threads))


def limited(threads: int, function: Callable[[Cell], Result], cells: Iterable[Cell]) -> Generator[Result, None, None]:
    """Yield the result of each cell, computed in this process on that many threads."""
    from threadpoolctl import threadpool_limits

    if any(os.environ.get(name, str(threads)) != str(threads) for name in VARIABLES) or VARIABLES[0] not in os.environ:
        # A library that is loaded inside a cell would escape the limit, so those that compute are loaded before it.
        import scipy.linalg  # noqa: F401
        import torch  # noqa: F401

    # The limit is set around each cell and not around the loop: the caller's own code never runs under it.
    for cell in cells:
        with _one_at_a_time, threadpool_limits(threads):
            result = function(cell)
        yield result
