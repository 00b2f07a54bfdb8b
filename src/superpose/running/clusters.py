"""Cells on the workers of a Dask scheduler, several to a task where they are short."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superpose.files import DataError, PartError
from superpose.running.threads import environment, limited

if TYPE_CHECKING:
    from distributed import Client

TASK = 0.5  # seconds of work that a task should take at least
WAITING = 32  # tasks that are submitted at least: an elastic cluster grows with them
PATIENCE = 300.0  # seconds that a scheduler which went away may take to come back
SILENCE = 60.0  # seconds without any result after which it is said that there are no workers
FIRST = 30.0  # seconds for the first answer of a scheduler
INSTALL = 'pip install "superpose[cluster]"'

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from superpose.running.clusters import serve; "
    "serve(int(sys.argv[1]), json.loads(sys.argv[3]))"
)


class Chunks:
    """The cells that are still to be submitted, in chunks of about the seconds of a task."""

    def __init__(self, cells: Iterable[Any]) -> None:
        self.source = iter(cells)
        self.again: list[list[Any]] = []
        self.size = 1

    def take(self) -> list[Any]:
        """Return the next chunk, empty when there is none."""
        return self.again.pop() if self.again else list(islice(self.source, self.size))

    def learn(self, seconds: float, cells: int) -> None:
        """Adapt the chunks to come to what a chunk took."""
        fitting = int(-(-TASK * cells // max(seconds, 1e-9)))
        self.size = max(1, min(fitting, 4 * self.size, 10_000))


class Gone(Exception):
    """The scheduler no longer answers, or no longer knows what was submitted."""


def remote(
    connected: Callable[[float], Client],
    threads: int | None,
    function: Callable[[Any], Any],
    cells: Iterable[Any],
    lost: list[Any],
) -> Iterator[Any]:
    """Yield the results of a cluster's workers as they are finished.

    Dask itself runs again what was lost with a worker. A task that ends its worker again and again is split into its
    cells, and a cell that does so is added to `lost`. When the scheduler goes away, what is not finished is submitted
    to the next one at its place.

    Parameters
    ----------
    connected : callable
        (seconds to wait) → a client.
    threads : int or None
        Threads of the mathematics libraries in a cell; None leaves them as they are. A worker process measures one
        cell at a time.

    Raises
    ------
    PartError
        If no scheduler comes back.
    """
    chunks, wait = Chunks(cells), FIRST
    while True:
        client = connected(wait)
        try:
            yield from _worked(client, threads, function, chunks, lost)
            return
        except Gone:
            print("the Dask scheduler went away; waiting for it", file=sys.stderr, flush=True)
        finally:
            with suppress(Exception):  # nothing is left to be saved on a connection that broke
                client.close(timeout=2)
        wait = PATIENCE


def _worked(
    client: Client, threads: int | None, function: Callable[[Any], Any], chunks: Chunks, lost: list[Any]
) -> Iterator[Any]:
    from distributed.scheduler import KilledWorker

    waiting: dict[Any, list[Any]] = {}
    try:
        while True:
            while len(waiting) < max(WAITING, 2 * _slots(client)) and (chunk := chunks.take()):
                waiting[client.submit(_measured, threads, function, chunk, pure=False)] = chunk
            if not waiting:
                return
            ended = _ended(client, list(waiting))
            for future in ended:
                if future.status == "error":
                    error = future.exception()
                    chunk = waiting.pop(future)
                    if not isinstance(error, KilledWorker):
                        raise error
                    if len(chunk) == 1:
                        lost += chunk
                    else:
                        chunks.again += [[cell] for cell in chunk]
                elif (answer := _answer(future)) is not None:
                    seconds, results = answer
                    chunks.learn(seconds, len(waiting.pop(future)))
                    yield from results
    finally:
        chunks.again += waiting.values()


def _ended(client: Client, futures: list[Any]) -> list[Any]:
    """Return the tasks that ended, once there are any; say so when they wait long for a worker."""
    told = time.monotonic()
    while True:
        if client.status != "running" or any(future.status in ("cancelled", "lost") for future in futures):
            raise Gone
        if ended := [future for future in futures if future.status in ("finished", "error")]:
            return ended
        if time.monotonic() - told > SILENCE:
            told = time.monotonic()
            if not _slots(client):
                print(f"{len(futures)} tasks wait for a worker of the Dask scheduler", file=sys.stderr, flush=True)
        time.sleep(0.005)


def _answer(future: Any) -> tuple[float, list[Any]] | None:
    """Return what a task gave; None where its worker died with it, and it is computed again."""
    from distributed import CancelledError

    try:
        return future.result(timeout=5)
    except TimeoutError:
        return None
    except (CancelledError, OSError) as error:
        raise Gone from error


def _slots(client: Client) -> int:
    try:
        return len(client.scheduler_info()["workers"])
    # A client that lost its scheduler a moment ago knows of no workers, not even of none.
    except (OSError, TimeoutError, ValueError, KeyError) as error:
        raise Gone from error


def _measured(threads: int | None, function: Callable[[Any], Any], cells: list[Any]) -> tuple[float, list[Any]]:
    def all_of(cells: list[Any]) -> list[Any]:
        return list(map(function, cells))

    started = time.perf_counter()
    results = all_of(cells) if threads is None else next(limited(threads, all_of, [cells]))
    return time.perf_counter() - started, results


def at(address: str) -> Callable[[float], Client]:
    """Return what connects to the scheduler at an address, `tcp://host:port` or `tls://host:port`.

    Certificates for TLS are those of Dask's own configuration.
    """
    from distributed import Client

    def connected(seconds: float) -> Client:
        end = time.monotonic() + seconds
        while True:
            try:
                return Client(address, timeout=min(10, seconds), set_as_default=False)
            except OSError as error:
                if time.monotonic() > end:
                    raise PartError(
                        f"no Dask scheduler answered at {address} in {seconds:.0f} s; what was finished is kept: see "
                        "that it runs and that its address is right, and run it again."
                    ) from error
                time.sleep(0.5)

    return connected


@contextmanager
def local_cluster(workers: int, threads: int | None) -> Iterator[Callable[[float], Client]]:
    """Yield what connects to a scheduler and that many worker processes of one thread, on this machine.

    All of them are in a process group of their own, which an interruption of the terminal does not reach and which
    ends at once when it is left, or when this process dies.
    """
    limits = environment(threads or 1)
    process = subprocess.Popen(
        [sys.executable, "-c", _START, str(workers), json.dumps(sys.path), json.dumps(limits)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **limits},
        start_new_session=True,
    )
    try:
        address = process.stdout.readline().decode().strip()  # type: ignore[union-attr]
        if not address:
            raise PartError(f"the Dask scheduler ended with status {process.wait()}; see what it said above.")
        yield at(address)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def serve(workers: int, limits: dict[str, str]) -> None:
    """Run a scheduler and workers until standard input ends, then end the process group."""
    import dask.config
    from distributed import LocalCluster

    settings = {
        "distributed.nanny.pre-spawn-environ": limits,
        "distributed.scheduler.allowed-failures": 0,  # who tries again, and how often, is decided here
        # A worker that dies again and again would otherwise be closed while it starts again, and none is left.
        "distributed.deploy.lost-worker-timeout": "1000 hours",
    }
    with dask.config.set(settings):
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            memory_limit=None,
            silence_logs=logging.CRITICAL,
        )
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
        os.killpg(0, signal.SIGKILL)


@contextmanager
def slurm_cluster(site: Path) -> Iterator[Callable[[float], Client]]:
    """Yield what connects to a scheduler in this process, whose workers are jobs of SLURM."""
    from distributed import Client

    cluster, jobs = from_site(site)
    with cluster:
        cluster.adapt(minimum_jobs=jobs["minimum"], maximum_jobs=jobs["maximum"])  # which replaces jobs that end
        yield lambda seconds: Client(cluster, timeout=seconds, set_as_default=False)


def from_site(path: Path) -> tuple[Any, Mapping[str, int]]:
    """Return the cluster that a site's TOML file describes, without any job yet, and its least and most jobs.

    `jobs` is a number, or a table of `minimum` and `maximum`; the table `cluster` holds options of
    `dask_jobqueue.SLURMCluster`. Each job is one process that measures one cell at a time, unless `cluster` says
    otherwise.
    """
    with _handlers_kept():
        from dask_jobqueue import SLURMCluster

    try:
        site = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path} cannot be read as TOML ({error}); expected a site's settings of SLURM.") from error
    jobs: Any = site.get("jobs")
    options = site.get("cluster")
    between = jobs if isinstance(jobs, dict) else {"minimum": jobs, "maximum": jobs}
    if between.keys() != {"minimum", "maximum"} or not all(type(one) is int and one >= 0 for one in between.values()):
        raise DataError(f"{path} has jobs = {jobs!r}; expected a number, or {{minimum = 0, maximum = 20}}.")
    if not isinstance(options, dict):
        raise DataError(f"{path} has no table [cluster]; expected options of dask_jobqueue.SLURMCluster in it.")
    try:
        return SLURMCluster(**{"cores": 1, "processes": 1, **options}), between
    except (TypeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise DataError(f"{path}: SLURMCluster refuses the table [cluster] ({why}).") from error


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Undo that importing dask_jobqueue makes an interruption a quiet success."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def require() -> None:
    """Raise a DataError unless Dask's cluster packages are installed."""
    missing = [name for name in ("distributed", "dask_jobqueue") if importlib.util.find_spec(name) is None]
    if missing:
        raise DataError(f"this engine needs {missing[0]}; install it: {INSTALL}.")
