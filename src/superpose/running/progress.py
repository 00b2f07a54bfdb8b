"""Progress of long work on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any


class Progress:
    """Progress on standard error: a bar on a terminal, else a line every ten seconds; nothing under two seconds."""

    def __init__(self) -> None:
        self.bars: Any = None
        self.tasks: dict[str, Any] = {}
        # When work was first heard of, and how much of it was done by then.
        self.started: dict[str, tuple[float, int]] = {}
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
        start, before = self.started.setdefault(what, (now, done))
        elapsed = now - start
        if self.bars is not None:
            if what not in self.tasks and elapsed > 2:
                self.tasks[what] = self.bars.add_task(what, total=total)
            if what in self.tasks:
                self.bars.update(self.tasks[what], completed=done, visible=done < total)
        elif elapsed > 2 and (done == total or now - self.said.get(what, start) > 10):
            self.said[what] = now
            left = (
                f", about {in_words(elapsed * (total - done) / (done - before))} left" if before < done < total else ""
            )
            print(f"{what}: {done}/{total} ({elapsed:.0f} s{left})", file=sys.stderr, flush=True)
        if done >= total:
            # The same work comes again in another space, control or seed, and is timed anew.
            self.started.pop(what, None)
            self.said.pop(what, None)


def shown() -> Callable[[str, int, int], None]:
    """Return the progress of a call in Python that was given none: lines where someone reads them, else nothing."""
    return Progress() if watched() else silent


def watched() -> bool:
    """Whether standard error is read as it is written: on a terminal, or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def silent(what: str, done: int, total: int) -> None:
    """Take no notice of progress."""


def in_words(seconds: float) -> str:
    """Return a duration to two digits at most, as people say it.

    Examples
    --------
    >>> from superpose.running.progress import in_words
    >>> [in_words(seconds) for seconds in (4.2, 89, 474, 5400, 29_500, 400_000)]
    ['4 s', '89 s', '8 min', '1.5 h', '8.2 h', '4.6 days']
    """
    for unit, length, most in (("s", 1, 90), ("min", 60, 90 * 60), ("h", 3600, 48 * 3600)):
        if seconds < most:
            return f"{seconds / length:.{int(unit == 'h' and seconds < 36_000)}f} {unit}"
    return f"{seconds / 86_400:.1f} days"
