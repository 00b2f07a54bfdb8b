"""Where independent cells of work run: here one by one, or in local processes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

from superpose.files import DataError, PartError

Cell = TypeVar("Cell")
Result = TypeVar("Result")
Engine = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


def serial(function: Callable[[Cell], Result], cells: Iterable[Cell]) -> Iterator[Result]:
    """Yield the result of each cell, computed in this process when it is asked for."""
    return map(function, cells)


def local(
    workers: int, threads: int | None, function: Callable[[Cell], Result], cells: Iterable[Cell]
) -> Iterator[Result]:
    """Yield the results of that many processes as they are finished; large arrays are mapped, not sent.

    In the order of the cells, a long one would hold back what others have finished, and a kill would lose it.
    """
    from concurrent.futures.process import BrokenProcessPool

    from joblib import Parallel, delayed, parallel_config

    with parallel_config("loky", inner_max_num_threads=threads or max(1, (os.cpu_count() or 1) // workers)):
        parallel = Parallel(n_jobs=workers, return_as="generator_unordered")
    try:
        yield from parallel(delayed(function)(cell) for cell in cells)
    except BrokenProcessPool as error:
        raise PartError(
            "a worker process died, most likely for lack of memory; what was finished is kept: run it again, with "
            "fewer workers."
        ) from error


def engine(name: str, threads: int | None = None) -> Engine:
    """Return the engine of a name: "serial", or "local:N" for N processes on this machine.

    Parameters
    ----------
    name : str
    threads : int, optional
        Threads of the mathematics libraries while a cell runs. None: "serial" leaves them as they are, and
        processes share the cores.

    Returns
    -------
    callable
        (function, cells) → the results as they are finished; "serial" takes the cells in their order.

    Raises
    ------
    DataError
        For any other name.
    PartError
        From a local engine, if one of its processes dies.

    Examples
    --------
    >>> from superpose.engines import engine
    >>> list(engine("serial")(abs, [-1, 2]))
    [1, 2]
    """
    if name == "serial":
        return serial if threads is None else partial(_limited_serial, threads)
    if found := re.fullmatch(r"local:([1-9][0-9]*)", str(name)):
        return partial(local, int(found[1]), threads)
    raise DataError(f"engine is {name!r}; expected 'serial', or 'local:N' for N processes.")


def _limited_serial(threads: int, function: Callable[[Cell], Result], cells: Iterable[Cell]) -> Iterator[Result]:
    # A library that is loaded inside a cell would escape the limit, so those that compute are loaded before it.
    import scipy.linalg  # noqa: F401
    import torch  # noqa: F401
    from threadpoolctl import threadpool_limits

    # The limit is set around each cell and not around the loop: the caller's own code never runs under it.
    for cell in cells:
        with threadpool_limits(threads):
            result = function(cell)
        yield result
