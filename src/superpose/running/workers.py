"""Processes on this machine that work on one cell at a time, and are replaced when they die."""

from __future__ import annotations

import json
import mmap
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import IO, Any

from superpose.files import PartError
from superpose.running.threads import environment

LARGE = 2**20  # bytes of an array that is mapped by all processes instead of copied to each
STARTS = 3  # processes that may end before they are ready

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[3]); from superpose.running.workers import serve; "
    "serve(int(sys.argv[1]), int(sys.argv[2]))"
)
_END = object()


class Worker:
    """A process and the cell it works on; it ends by itself when this process does, however that ends."""

    def __init__(self, function: IO[bytes], threads: int, cell: Any) -> None:
        here, there = socket.socketpair()
        with there:
            descriptors = (there.fileno(), function.fileno())
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START, *map(str, descriptors), json.dumps(sys.path)],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment(threads)},
                pass_fds=descriptors,
            )
        self.connection = Connection(here.detach())
        self.cell = cell
        self.ready = False

    def work(self) -> None:
        """Send the cell; a process that is dead by now is found so when it is heard."""
        with suppress(OSError):
            self.connection.send_bytes(_dumped(self.cell))

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        self.connection.close()


def pool(
    workers: int, threads: int, function: Callable[[Any], Any], cells: Iterable[Any], lost: list[Any]
) -> Iterator[Any]:
    """Yield the results of that many processes as they are finished.

    A process that dies is replaced, and its cell is added to `lost`; the others go on.

    Raises
    ------
    PartError
        If processes die before they take a cell.
    """
    source = iter(cells)
    deaths = 0
    crew: dict[Connection, Worker] = {}

    def hire(cell: Any) -> None:
        worker = Worker(file, threads, cell)
        crew[worker.connection] = worker

    with _written(function) as file:
        try:
            for cell in islice(source, workers):
                hire(cell)
            while crew:
                for connection in wait(list(crew)):
                    worker = crew[connection]  # type: ignore[index]
                    try:
                        kind, answer = pickle.loads(connection.recv_bytes())  # type: ignore[union-attr]
                    except (EOFError, OSError):
                        worker.end()
                        del crew[worker.connection]
                        if worker.ready:
                            lost.append(worker.cell)
                            worker.cell = next(source, _END)
                        elif (deaths := deaths + 1) == STARTS:
                            raise PartError(
                                f"{STARTS} worker processes ended before their first cell, the last with status "
                                f"{worker.process.returncode}; see what they said above, and the memory that is left."
                            ) from None
                        if worker.cell is not _END:
                            hire(worker.cell)
                        continue
                    if kind == "error":
                        raise answer
                    if kind == "result":
                        worker.cell = next(source, _END)
                    worker.ready = True
                    if worker.cell is _END:
                        worker.end()
                        del crew[worker.connection]
                    else:
                        worker.work()
                    if kind == "result":  # the process is at its next cell already
                        yield answer
        finally:
            for worker in crew.values():
                worker.process.kill()
            for worker in crew.values():
                worker.end()


def serve(connection: int, function: int) -> None:
    """Work on the cells that come; the process ends with the connection, even inside a cell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts all; the process that started this one decides
    there = Connection(connection)
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(there, tasks), daemon=True).start()
    try:
        work = _read(function)
    except Exception as error:
        return _send(there, "error", _told(error))
    _send(there, "ready", None)
    while True:
        try:
            kind, answer = "result", work(pickle.loads(tasks.get()))
        except Exception as error:
            kind, answer = "error", _told(error)
        _send(there, kind, answer)


def _receive(connection: Connection, tasks: queue.SimpleQueue[bytes]) -> None:
    with suppress(EOFError, OSError):
        while True:
            tasks.put(connection.recv_bytes())
    os._exit(0)


def _send(connection: Connection, kind: str, answer: Any) -> None:
    try:
        message = _dumped((kind, answer))
    except Exception as error:
        refused = TypeError(f"{type(answer).__name__} cannot be sent to another process: {error}")
        message = _dumped(("error", refused))
    connection.send_bytes(message)


def _told(error: Exception) -> Exception:
    error.add_note("".join(traceback.format_exception(error)))
    return error


def _dumped(what: Any, **options: Any) -> bytes:
    import cloudpickle

    return cloudpickle.dumps(what, protocol=5, **options)


@contextmanager
def _written(function: Callable[[Any], Any]) -> Iterator[IO[bytes]]:
    """Yield a temporary file of a function and the large arrays that it holds, for `_read` in other processes."""
    large: list[pickle.PickleBuffer] = []

    def small(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes >= LARGE:
            large.append(buffer)
        return buffer.raw().nbytes < LARGE

    content = _dumped(function, buffer_callback=small)
    with tempfile.TemporaryFile() as file:
        places = []
        for buffer in large:
            places.append((file.tell(), buffer.raw().nbytes))
            file.write(buffer.raw())
            file.write(bytes(-file.tell() % 64))
        start = file.tell()
        file.write(pickle.dumps((places, content)))
        file.write(start.to_bytes(8, "little"))
        file.flush()
        yield file


def _read(descriptor: int) -> Callable[[Any], Any]:
    # A cell that writes into what is mapped writes into a copy of its own.
    memory = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY))
    start = int.from_bytes(memory[-8:], "little")
    places, content = pickle.loads(memory[start:-8])
    return pickle.loads(content, buffers=[memory[place : place + size] for place, size in places])
