"""Where independent cells of work run: here one by one, in local processes, or on a Dask cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from superpose.files import DataError, PartError, argument
from superpose.running.clusters import at, local_cluster, remote, require, slurm_cluster
from superpose.running.threads import limited
from superpose.running.workers import pool

Cell = TypeVar("Cell")
Result = TypeVar("Result")
Engine = Callable[[Callable[[Any], Any], Iterable[Any]], Generator[Any, None, None]]
# What an engine does once: the results, and in the list, the cells whose process died.
Attempt = Callable[[Callable[[Any], Any], Iterable[Any], list[Any]], Iterator[Any]]

TRIES = 3


class LostError(PartError):
    """Some cells ended the process they ran in at each try, the last ones alone; the results of the others came.

    `cells` holds them.
    """

    def __init__(self, cells: list[Any]) -> None:
        super().__init__(
            f"a worker process died, most likely for lack of memory, at each of {TRIES} tries of {len(cells)} of the "
            "cells; the others are done: run it again, with fewer workers."
        )
        self.cells = cells


def serial(function: Callable[[Cell], Result], cells: Iterable[Cell]) -> Generator[Result, None, None]:
    """Yield the result of each cell, computed in this process when it is asked for."""
    yield from map(function, cells)


def persistent(
    attempt: Attempt, function: Callable[[Cell], Result], cells: Iterable[Cell]
) -> Generator[Result, None, None]:
    """Yield the results of an attempt, and try cells that were lost again at its end, one at a time.

    A cell that is alone has all the memory, and its death is nobody else's fault.

    Raises
    ------
    LostError
        If cells were lost each time.
    """
    lost: list[Cell] = []
    yield from attempt(function, cells, lost)
    for _ in range(TRIES - 1):
        again, lost = lost, []
        for cell in again:
            yield from attempt(function, [cell], lost)
    if lost:
        raise LostError(lost)


def local(
    workers: int, threads: int | None, function: Callable[[Cell], Result], cells: Iterable[Cell]
) -> Generator[Result, None, None]:
    """Yield the results of that many processes as they are finished; large arrays are mapped, not sent.

    In the order of the cells, a long one would hold back what others have finished, and a kill would lose it.
    """
    attempt = partial(pool, workers, threads or max(1, (os.cpu_count() or 1) // workers))
    return persistent(attempt, function, cells)


def dask(
    workers: int, threads: int | None, function: Callable[[Cell], Result], cells: Iterable[Cell]
) -> Generator[Result, None, None]:
    """Yield the results of that many Dask workers on this machine as they are finished."""
    with local_cluster(workers, threads) as connected:
        yield from persistent(partial(remote, connected, threads), function, cells)


def scheduler(
    address: str, threads: int | None, function: Callable[[Cell], Result], cells: Iterable[Cell]
) -> Generator[Result, None, None]:
    """Yield the results of the workers of a Dask scheduler that runs already."""
    return persistent(partial(remote, at(address), threads), function, cells)


def slurm(
    site: str, threads: int | None, function: Callable[[Cell], Result], cells: Iterable[Cell]
) -> Generator[Result, None, None]:
    """Yield the results of Dask workers that are jobs of SLURM."""
    with slurm_cluster(Path(site)) as connected:
        yield from persistent(partial(remote, connected, threads), function, cells)


_NAMES: dict[str, Callable[[str], Callable[..., Any]]] = {
    r"local:([1-9][0-9]*)": lambda workers: partial(local, int(workers)),
    r"dask:([1-9][0-9]*)": lambda workers: _of_cluster(dask, int(workers)),
    r"dask://([^/\s]+:[0-9]+)": lambda place: _of_cluster(scheduler, f"tcp://{place}"),
    r"(tls://[^/\s]+:[0-9]+)": lambda address: _of_cluster(scheduler, address),
    r"slurm:(.+\.toml)": lambda site: _of_cluster(slurm, site),
}


def processes(name: str) -> int:
    """Return how many processes of this machine an engine is.

    Raises
    ------
    DataError
        For an engine of other machines, or none.

    Examples
    --------
    >>> from superpose.running.engines import processes
    >>> processes("serial"), processes("local:4")
    (1, 4)
    """
    found = re.fullmatch(r"serial|local:([1-9][0-9]*)", str(name))
    if not found:
        raise DataError(f"{argument('engine')} is {name!r}; expected 'serial', or 'local:N' for N processes.")
    return int(found[1] or 1)


def _of_cluster(run: Callable[..., Any], where: int | str) -> Callable[..., Any]:
    require()
    return partial(run, where)


def engine(name: str, threads: int | None = None) -> Engine:
    """Return the engine of a name.

    Parameters
    ----------
    name : str
        "serial"; "local:N" for N processes on this machine; with the packages of the extra `cluster`, "dask:N" for N
        Dask workers on this machine, "dask://host:port" or "tls://host:port" for a Dask scheduler that runs already,
        or "slurm:site.toml" for Dask workers that are jobs of SLURM. Dask's workers must be able to import what a
        cell needs. A script that uses "dask:N" keeps its own work under `if __name__ == "__main__":`.
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
        For any other name, or a package that is missing.
    LostError
        From an engine of several processes, if cells end the process they run in at each of three tries: after the
        others have finished.
    PartError
        If processes cannot start, or no scheduler answers.

    Examples
    --------
    >>> from superpose.running.engines import engine
    >>> list(engine("serial")(abs, [-1, 2]))
    [1, 2]
    """
    if name == "serial":
        return serial if threads is None else partial(limited, threads)
    for form, make in _NAMES.items():
        if found := re.fullmatch(form, str(name)):
            return partial(make(found[1]), threads)
    raise DataError(
        f"{argument('engine')} is {name!r}; expected 'serial', or 'local:N' for N processes, or of Dask 'dask:N', "
        "'dask://host:port', 'tls://host:port' or 'slurm:site.toml'."
    )
