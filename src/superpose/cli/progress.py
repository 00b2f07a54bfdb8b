"""Progress of long work on standard error."""

from __future__ import annotations

import sys
import time
from typing import Any


class Progress:
    """Progress on standard error: a bar on a terminal, else a line every ten seconds; nothing under two seconds."""

    def __init__(self) -> None:
        self.bars: Any = None
        self.tasks: dict[str, Any] = {}
        self.started: dict[str, float] = {}
        self.said: dict[str, float] = {}

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self.bars = Bars(*columns, console=Console(stderr=True), transient=True)
            self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bars is not None:
            self.bars.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        elapsed = now - self.started.setdefault(what, now)
        if self.bars is not None:
            if what not in self.tasks and elapsed > 2:
                self.tasks[what] = self.bars.add_task(what, total=total)
            if what in self.tasks:
                self.bars.update(self.tasks[what], completed=done, visible=done < total)
        elif elapsed > 2 and (done == total or now - self.said.get(what, self.started[what]) > 10):
            self.said[what] = now
            print(f"{what}: {done}/{total} ({elapsed:.0f} s)", file=sys.stderr, flush=True)
        if done >= total:
            # The same work comes again in another space, control or seed, and is timed anew.
            self.started.pop(what, None)
            self.said.pop(what, None)
