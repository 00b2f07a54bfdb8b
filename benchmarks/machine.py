"""What every benchmark says about the machine, and how it keeps the BLAS honest."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Kernels forced by these two are slower than the processor allows, and would flatter every ratio.
FORCED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def clean_environment(script: Path, threads: int = 1) -> None:
    """Start the script again on so many threads, with the kernels the processor allows, unless it is so already."""
    kept = {key: value for key, value in os.environ.items() if key not in FORCED}
    wanted = kept | dict.fromkeys(THREADS, str(threads))
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, str(script), *sys.argv[1:]], wanted)


class Peak:
    """The most anonymous memory of this process and of those that it starts, in bytes, over what it began with."""

    def __init__(self) -> None:
        give_back()
        self.before = resident("RssAnon")
        self.peak = 0

    def look(self) -> None:
        """Take notice of what is held now."""
        tasks = Path("/proc/self/task").glob("*/children")
        started = [int(number) for task in tasks for number in task.read_text().split()]
        held = resident("RssAnon") + sum(resident("RssAnon", number) for number in started)
        self.peak = max(self.peak, held - self.before)


@contextmanager
def memory_watched() -> Iterator[Peak]:
    """Watch the anonymous memory of this process; pages of a mapped file are the system's to drop."""
    found, done = Peak(), threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            found.look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()
        found.look()


def give_back() -> None:
    """Hand what was freed back to the system: an allocator that kept it would fill it again unseen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def resident(field: str, process: int | str = "self") -> int:
    """Return a line of a process's memory status, in bytes; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * int(next((line.split()[1] for line in lines if line.startswith(field)), 0))


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def kernels() -> list[str]:
    """Return the kernel set of each BLAS that is loaded."""
    from threadpoolctl import threadpool_info

    return sorted({f"{pool['internal_api']} {pool.get('architecture', '')}".strip() for pool in threadpool_info()})
