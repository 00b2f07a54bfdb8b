"""Measures that worker processes can import, and processes that tests kill."""

import contextlib
import functools
import itertools
import multiprocessing
import multiprocessing.forkserver
import os
import resource
import signal
import sqlite3
import sys
import time
import traceback
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from superpose.studies import results
from superpose.studies.study import Study, grid


def quick_processes():
    """Return a context whose processes are forks of one that has imported this module, and nothing of the tests."""
    import pytest  # not in the processes themselves

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["studies", "pandas", "scipy.linalg", "torch", "distributed"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "PYTHONPATH", str(Path(__file__).parent), os.pathsep
        )  # Python before 3.13 preloads from there alone
        multiprocessing.forkserver.ensure_running()
    return context


def note(path, line):
    """Append a line in one write, so that lines of several processes stay whole and a kill keeps them."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def process_of(cell):
    time.sleep(0.02)
    return cell, os.getpid()


def late_first(cell):
    time.sleep(0.2 if cell == 0 else 0)
    return cell


def first_after_third(cell):
    """Take the first cell until the third has begun, which it does when the second's result has come."""
    number, folder = cell
    begun = Path(folder) / "begun"
    if number == 2:
        begun.touch()
    end = time.monotonic() + 60
    while number == 0 and not begun.exists() and time.monotonic() < end:
        time.sleep(0.01)
    return number


def inverse(cell):
    return 1 / cell


def killed_at_first(cell):
    """End the process at its first cell, in as many processes as there are to be."""
    number, folder, processes = cell
    with contextlib.suppress(FileExistsError):
        for place in range(processes):
            if not os.path.exists(f"{folder}/{place}"):
                with open(f"{folder}/{place}", "x"):
                    os.kill(os.getpid(), signal.SIGKILL)
    return number


def kills_its_worker_once(seed, *, index):
    """End the process of each named Dask worker once, in one of its first cells, where the environment asks for it."""
    if folder := os.environ.get("KILLED"):
        from distributed import get_worker

        mark = Path(folder) / get_worker().name
        if index % 3 == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return kernel(seed, size=5 + index % 40)


def ends_each_process_once(seed, *, index):
    """End as many processes as the environment asks for, at their first cell."""
    if folder := os.environ.get("KILLED"):
        killed_at_first((index, folder, int(os.environ["WORKERS"])))
    return kernel(seed, size=5 + index % 40)


def deadly(cell):
    """End the process in cells 2 and 3."""
    number, log = cell
    if number in (2, 3):
        note(log, number)
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def long_sleep(log):
    note(log, os.getpid())
    time.sleep(60)


def endless(cell):
    return (cell for _ in range(1))


def raised_sum(held, value):
    held += value
    return float(held[0])


def alive(process):
    """Say whether a process runs; one that has ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes_of(session):
    """Return the living processes that inherited this value of the variable SESSION."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                if f"SESSION={session}".encode() in (place / "environ").read_bytes().split(b"\0"):
                    found.append(int(place.name))
            except OSError:
                continue
    return [process for process in found if alive(process)]


def wait_for(condition, seconds=60):
    """Return what the condition gives once it gives something."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
    return found


def seeded(seed, **settings):
    return {"drawn_from": seed}


def counted(seed, *, log, index, **settings):
    note(log, index)
    return {"score": float(np.random.default_rng(seed).normal())}


def fails_while(seed, *, log, index, flag):
    """Fail at index 1 as long as the file `flag` exists."""
    note(log, index)
    if index == 1 and os.path.exists(flag):
        raise ZeroDivisionError("on purpose")
    return {"score": index / 3}


def several(seed, *, parts):
    return [{"part": part, "score": value} for part, value in enumerate(np.random.default_rng(seed).normal(size=parts))]


def echoed(seed, *, kind, number):
    """Return the odd values that a table may hold."""
    return {
        "float": {"value": number / 3},
        "half a pair": {"value": "\ud800"},
        "text": {"value": "ΔΣ\n'\"\x00"},
        "none": {"value": None},
        "bool": {"value": True},
        "nan": {"value": float("nan")},
        "infinite": {"value": -float("inf")},
        "float32": {"value": np.float32(0.1)},
        "zero dimensions": {"value": np.array(2.5)},
        "array": {"value": np.arange(2)},
        "dict": {"value": {"inner": 1}},
        "complex": {"value": 1j},
        "setting's name": {"number": 2},
        "nothing": None,
    }[kind]


def from_bits(seed, *, bits):
    """Return the float64 numbers of these bits."""
    return [{"score": value} for value in np.array(bits, dtype=np.uint64).view(np.float64)]


def kernel(seed, *, size, draw=0):
    """A result with many digits, from products whose last digits a change of settings would show."""
    x = np.random.default_rng(seed).normal(size=(size, 2 * size))
    return {"trace": np.trace(x @ x.T), "norm": np.linalg.norm(x), "largest": np.linalg.eigvalsh(x @ x.T)[-1]}


def blas_threads(_=None):
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def threads_in_cell(seed, **settings):
    found = blas_threads()
    return {"fewest": min(found), "most": max(found)}


def threads_after_import(seed, **settings):
    """Load a second BLAS library inside the cell, as functions that import SciPy late do."""
    import scipy.linalg  # noqa: F401

    return threads_in_cell(seed)


def dies_while(seed, *, index, flag):
    """End the whole process at index 3 as long as the file `flag` exists."""
    if index == 3 and os.path.exists(flag):
        os._exit(3)
    return {"score": index}


def wrapped(function):
    @functools.wraps(function)
    def inner(seed, **settings):
        return function(seed, **settings)

    return inner


class Scaled:
    def __init__(self, factor):
        self.factor = factor

    def measure(self, seed, *, index):
        return {"score": self.factor * index}


disguised = wrapped(seeded)

CELLS = 40


def tiny_study(cells):
    return Study("tiny", kernel, grid(size=range(2, 12), draw=range(cells // 10)), draw=("draw",))


def run_tiny(cells, folder, shard):
    tiny_study(cells).run(folder, shard=shard)


def quick_then_long(seed, *, log, index):
    """Take no time in the first cells and a minute in the others."""
    if index >= 4:
        note(log, "long")
        time.sleep(60)
    note(log, index)
    return {"score": index}


def interruptible(log):
    return Study("interruptible", quick_then_long, grid(log=[str(log)], index=range(8)))


def brief(seed, *, log, index):
    note(log, index)
    time.sleep(0.005)
    return [{"part": part, "score": value} for part, value in enumerate(np.random.default_rng(seed).normal(size=3))]


def long_study(log, cells=CELLS):
    return Study("long", brief, grid(log=[str(log)], index=range(cells)), draw=("index",))


def run_to_be_killed(folder, log, acknowledged, engine, cells):
    """Run the study in a process group of its own; every cell that counts as done is noted."""
    os.setsid()
    os.environ["SESSION"] = str(folder)
    try:
        long_study(log, cells).run(folder, engine=engine, progress=lambda name, done, total: note(acknowledged, done))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # a process of multiprocessing would wait for ever for joblib's thread


FIRST = {f"first {i}": str(i) for i in range(3)}
SECOND = {f"second {i}": str(i) * 9000 for i in range(3)}


def put_until_statement(folder, step):
    """Keep two groups of results; die just before SQLite executes the statement of that number."""
    number = itertools.count()
    connect = sqlite3.connect

    def traced(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.set_trace_callback(lambda _: os._exit(9) if next(number) == step else None)
        return connection

    sqlite3.connect = traced  # in this process, which ends here
    with results.writer(folder) as put:
        put(FIRST)
        put(SECOND)


def put_until_size(folder, size):
    """Keep two groups of results; die inside the second, at the first write beyond that size of a file."""
    with results.writer(folder) as put:
        put(FIRST)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        put(SECOND)


def create_until_size(folder, size):
    """Die while the file is made, at the first write beyond that size."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    with results.writer(folder) as put:
        put(FIRST)


def put_on_a_full_disk(folder, told):
    """Keep two groups of results where the second does not fit; note the error's type and words."""
    with results.writer(folder) as put:
        put(FIRST)
        resource.setrlimit(resource.RLIMIT_FSIZE, (36_000, resource.RLIM_INFINITY))
        try:
            put(SECOND)
        except Exception as error:
            told.put((type(error).__name__, str(error)))


def hold(folder, ready):
    with results.writer(folder) as put:
        put({"held": "1"})
        ready.set()
        time.sleep(60)


def put_many(folder, name, count):
    with results.writer(folder) as put:
        for i in range(count):
            put({f"{name} {i}": f"{name}{i}", "of all": "1"})


def command_of(run):
    """Return an application whose only command, `study`, runs something, with the settings of ours."""
    from cyclopts import App

    app = App(result_action="return_none", suppress_keyboard_interrupt=False)
    app.command(run, name="study")
    return app


def run_as_a_command(folder, log, engine):
    """Run a study under what the command line makes of interruptions."""
    import studies  # the measure must have the name that other processes import

    from superpose import cli

    cli.app = command_of(lambda: studies.interruptible(log).run(folder, engine=engine))
    return cli.main(["study"])


if __name__ == "__main__":
    sys.exit(run_as_a_command(*sys.argv[1:]))
