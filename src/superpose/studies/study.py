"""Studies: one measurement in every cell of a grid; what is finished is kept, and never computed twice."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import math
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from superpose.files import DataError, PartError, argument, sha256
from superpose.running.engines import Engine, LostError
from superpose.running.engines import engine as engine_named
from superpose.running.progress import shown
from superpose.running.provenance import process
from superpose.store import digest
from superpose.studies.plans import Plan
from superpose.studies.plans import keep as keep_plan
from superpose.studies.results import Records, files, records, writer

if TYPE_CHECKING:
    import pandas as pd

Cell = dict[str, Any]
Measure = Callable[..., Mapping[str, Any] | Sequence[Mapping[str, Any]]]
Progress = Callable[[str, int, int], None]


class CellError(PartError):
    """Some cells of a study failed; those that did not are kept. The first failure is in the message."""


def grid(**axes: Iterable[Any]) -> list[Cell]:
    """Return every combination of the axes' values, the last axis running fastest.

    Parameters
    ----------
    **axes : iterable
        The values of each setting.

    Returns
    -------
    list of dict

    Examples
    --------
    >>> from superpose.studies.study import grid
    >>> grid(units=[8, 16], draw=range(2))[:3]
    [{'units': 8, 'draw': 0}, {'units': 8, 'draw': 1}, {'units': 16, 'draw': 0}]
    """
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


@dataclass(frozen=True)
class Study:
    """A measurement and the cells to take it in; `run` gives one tidy table.

    Parameters
    ----------
    name : str
        The name shown with progress.
    measure : callable
        `measure(seed, **cell)` → a row or a list of rows, dicts of numbers, text and None. Importable by name, as
        other processes must find it. One that a notebook or a script defines is measured by this process alone, with
        the engine "serial", and again once its text has changed. A script that is imported later has the same seeds,
        and does not measure again what the same text gave.
    cells : sequence of mapping
        The settings of each cell: numbers, text, None, or tuples of them. `grid` makes them.
    version : str
        Change it whenever a change of `measure` changes its results: older results are then not used. If the text of
        `measure` has changed and the version has not, `run` warns.
    threads : int
        Threads of the mathematics libraries per cell; their number can change the last digits of a result.
    seed : int
        Cells are seeded from it and from their own settings, never from their order.
    draw : tuple of str, optional
        The settings that seed a cell; None means all. Cells that agree in these share their draws: they get
        the same seed, and run one after the other in one process, so that `measure` may keep what it drew.
    inputs : sequence of path-like
        Files, or activation stores, that `measure` reads, wherever its settings say so. The SHA-256 of their content
        belongs to every cell: after a change all are measured again, and each result is kept with them.
    check : callable, optional
        `check(**cell)` raises a DataError for invalid settings, before the first cell is measured.

    Examples
    --------
    >>> import tempfile
    >>> from superpose.paper.figure2 import measure
    >>> from superpose.studies.study import Study, grid
    >>> same = {"latents": [16], "samples": [100], "distribution": ["signed"], "entries": ["gaussian"]}
    >>> study = Study("example", measure, grid(**same, active=[2], units=[4, 8], draw=[0]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = study.run(folder)
    >>> table.groupby("units").metric.first().to_dict()
    {4: 'rsa', 8: 'rsa'}
    """

    name: str
    measure: Measure
    cells: Sequence[Mapping[str, Any]]
    version: str = "1"
    threads: int = 1
    seed: int = 0
    draw: tuple[str, ...] | None = None
    inputs: Sequence[str | os.PathLike[str]] = ()
    check: Callable[..., object] | None = None

    def __post_init__(self) -> None:
        source = _source(self.measure)
        here = source.startswith("__main__:") and _text(self.measure) is not None
        if not here and (source.startswith("__main__:") or _imported(source) is not self.measure):
            raise DataError(
                f"measure is {source!r}; expected a function that other processes can import: define it at the top "
                "level of a module."
            )
        for name, value, least in (("threads", self.threads, 1), ("seed", self.seed, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise DataError(f"{name} is {value!r}; expected an integer of at least {least}.")
        if not isinstance(self.cells, Sequence):
            raise DataError(f"cells is a {type(self.cells).__name__}; expected a list of settings, as grid makes it.")
        names = {name for cell in self.cells for name in cell}
        if odd := [name for name in names if not isinstance(name, str) or name == "seed"]:
            raise DataError(f"a setting is named {odd[0]!r}; expected text other than 'seed', which every cell has.")
        if self.draw is not None and (isinstance(self.draw, str) or not set(self.draw) <= names):
            raise DataError(f"draw is {self.draw!r}; expected names of settings, out of {', '.join(sorted(names))}.")
        if self.check is not None:
            for cell in self.cells:
                self.check(**cell)

    def run(
        self,
        folder: str | os.PathLike[str],
        *,
        engine: str = "serial",
        shard: str | None = None,
        progress: Progress | None = None,
    ) -> pd.DataFrame:
        """Measure the cells that the folder does not hold yet, and return the table of all of them.

        A finished cell is on the disk before it counts as done. A run that was interrupted, even killed, resumes
        where it stopped, and ends in the table that it would have ended in. Studies, processes and machines may
        share a folder.

        Parameters
        ----------
        folder : path-like
            Where results are kept, each with its provenance beside it; made if missing.
        engine : str
            Where cells are measured, as `superpose.running.engines.engine` takes it.
        shard : str, optional
            "i/N", from "1/N" to "N/N": measure only that share of the cells, the same on every machine. Cells
            that share a draw stay together.
        progress : callable, optional
            Called with (name, cells done, cells), of the share. None shows progress on standard error, on a terminal
            or in a notebook.

        Returns
        -------
        pandas.DataFrame
            A row for each row of each cell (of the share), in the order of the cells: its settings, then its
            results.

        Raises
        ------
        CellError
            If cells failed, gave what cannot be kept, or ended the process they ran in at each try: after the others
            have finished.
        DataError
            For settings that cannot be kept, cells that occur twice, an unknown engine, a share that there is not, or
            a damaged folder.
        """
        import pandas as pd  # the processes that measure would spend a second on it

        run_on = engine_named(engine, self.threads)
        if engine != "serial" and _source(self.measure).startswith("__main__:"):
            raise DataError(
                f"engine is {engine!r}, and measure is defined in a notebook or script, which other processes cannot "
                "import; move it to a module, or use engine='serial'."
            )
        jobs = self.jobs()
        self._check_settings()
        own = {job.key: job for group in shared(by_seed(jobs), shard) for job in group}
        stored = [records(path) for path in files(folder)]
        kept = {key: content for one in stored for key, content in one.results.items() if key in own}
        mark = _mark(self.measure)
        earlier = [json.loads(one.origins.get(key, "{}")) for one in stored for key in one.results.keys() & own]
        self._warn_of_change(earlier, mark)
        twins = _twins([job for key, job in own.items() if key not in kept], stored, mark)
        kept.update(twins.results)
        pending = [job for job in jobs if job.key in own.keys() - kept.keys()]
        report = progress or shown()
        failures: list[str] = []
        if pending and progress is None:
            # The first cell may take long, and what is left is estimated from when it began.
            report(self.name, len(kept), len(own))
        if pending or twins.results:
            with writer(folder) as put:
                put(*twins)
                keep_plan(folder, Plan(self.name, _stable_source(self.measure), [job.key for job in jobs]))
                for outcomes, run in _completed(run_on, partial(finished, self.measure, self.threads), pending):
                    contents = {outcome.key: outcome.content for outcome in outcomes if outcome.content}
                    number = hashlib.sha256(run.encode()).hexdigest()
                    origins = {
                        outcome.key: json.dumps(
                            {"study": self.name, **mark, **own[outcome.key].origin(outcome), "run": number}
                        )
                        for outcome in outcomes
                        if outcome.content
                    }
                    put(contents, origins, {number: run} if contents else {})
                    kept.update(contents)
                    failures += [outcome.error for outcome in outcomes if outcome.error]
                    report(self.name, len(kept) + len(failures), len(own))
        if failures:
            raise CellError(
                f"{len(failures)} of {len(own)} cells of {self.name} failed; the others are kept. First: {failures[0]}"
            )
        rows = {key: json.loads(content) for key, content in kept.items()}
        return pd.DataFrame([{**job.cell, **row} for job in jobs if job.key in own for row in rows[job.key]])

    def _check_settings(self) -> None:
        """Raise a DataError for cells with other settings than `measure` takes: before every one of them fails."""
        takes = inspect.signature(self.measure)
        for cell in self.cells:
            try:
                takes.bind(0, **cell)
            except TypeError as error:
                raise DataError(
                    f"{self.name}: a cell has the settings {', '.join(cell)}, and measure is "
                    f"{getattr(self.measure, '__name__', 'a callable')}{takes}: {error}. Expected one argument for "
                    "each setting, beside the seed."
                ) from None

    def _warn_of_change(self, origins: Sequence[Mapping[str, Any]], mark: Mapping[str, str]) -> None:
        """Warn of kept results that another text of `measure` gave; only `version` says whether numbers changed."""
        older = sum(origin.get(name, value) != value for origin in origins for name, value in mark.items())
        if older:
            warnings.warn(
                f"{self.name}: {older} of {len(origins)} kept results were measured before the text of "
                f"{_source(self.measure)} changed. If its numbers changed too, give the study another version than "
                f"{self.version!r}: they are then measured again.",
                stacklevel=3,
            )

    def kept(self, folder: str | os.PathLike[str]) -> int:
        """Return how many of the study's cells a folder holds."""
        jobs, stored = self.jobs(), [records(path) for path in files(folder)]
        own = {key for one in stored for key in one.results} & {job.key for job in jobs}
        return len(own) + len(_twins([job for job in jobs if job.key not in own], stored, _mark(self.measure)).results)

    def jobs(self) -> list[Job]:
        """Return every cell with its key and its seed."""
        source, text = _stable_source(self.measure), _text(self.measure)
        contents = {str(path): _content_digest(path) for path in self.inputs}
        # What a notebook or a script defines may be another function the next time.
        in_main = _source(self.measure).startswith("__main__:")
        jobs: dict[str, Job] = {}
        for given in self.cells:
            cell = {name: _plain(name, value) for name, value in given.items()}
            drawn = cell if self.draw is None else {name: cell[name] for name in self.draw if name in cell}
            seed = int(_digest([source, self.seed, drawn])[:15], 16)
            # The same files may lie elsewhere on another machine.
            read = [list(contents.values())] if contents else []
            imported = [source, self.version, self.threads, seed, cell, *read]
            keys = [_digest(imported), _digest([*imported, text])]
            key, twin = reversed(keys) if in_main else keys
            if key in jobs:
                raise DataError(f"the cell {cell} occurs twice in {self.name}; expected every cell once.")
            jobs[key] = Job(key, seed, cell, contents, twin)
        return list(jobs.values())


def _content_digest(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 digest of a file, or of the arrays of an activation store."""
    try:
        return digest(path) if os.path.isdir(path) else sha256(path)
    except OSError as error:
        raise DataError(f"inputs: {path} cannot be read: {error.strerror}.") from error


class Job(NamedTuple):
    """A cell, the key its result is kept under, its seed, and the SHA-256 of every file that it may read.

    `twin` is the key of the same cell where a module is run as a script, if it is imported here, and vice versa.
    """

    key: str
    seed: int
    cell: Cell
    inputs: dict[str, str]
    twin: str

    def origin(self, outcome: Outcome) -> dict[str, Any]:
        """Return what the result of the cell is kept with."""
        read = {"inputs": self.inputs} if self.inputs else {}
        return {"cell": self.cell, "seed": self.seed, "seconds": round(outcome.seconds, 6), **read}


def _source(measure: Measure) -> str:
    return f"{getattr(measure, '__module__', '?')}:{getattr(measure, '__qualname__', repr(measure))}"


def _stable_source(measure: Measure) -> str:
    """Return the name under which a measure is imported, also where its module runs as a script."""
    module, _, path = _source(measure).partition(":")
    if module == "__main__":
        module = _main_name(getattr(measure, "__globals__", {}))
    return f"{module}:{path}"


def _main_name(variables: Mapping[str, Any]) -> str:
    """Return the name of the module that runs as `__main__`; "__main__" in a notebook or an interactive session."""
    if spec := variables.get("__spec__"):
        return str(spec.name)
    file = variables.get("__file__") or ""
    name = inspect.getmodulename(file)
    if not name:
        return "__main__"
    folder = Path(file).resolve().parent
    while (folder / "__init__.py").exists():
        folder, name = folder.parent, f"{folder.name}.{name}"
    return name


def _mark(measure: Measure) -> dict[str, str]:
    """Return what the origin of a result says of the text of its measure."""
    text = _text(measure)
    return {} if text is None else {"text": hashlib.sha256(text.encode()).hexdigest()}


def _twins(jobs: Sequence[Job], stored: Sequence[Records], mark: Mapping[str, str]) -> Records:
    """Return results of cells that the same text measured as a script or as a module, under their keys here."""
    twins = Records({}, {}, {})
    for job in jobs if mark else ():
        for one in stored:
            origin = json.loads(one.origins.get(job.twin, "{}"))
            if job.twin in one.results and origin.get("text") == mark["text"]:
                twins.results[job.key], twins.origins[job.key] = one.results[job.twin], one.origins[job.twin]
                twins.runs.update({run: one.runs[run] for run in [origin.get("run", "")] if run in one.runs})
    return twins


def _text(measure: Measure) -> str | None:
    """Return the text of a function that is defined at the top level, or None where there is none to be read."""
    if not inspect.isfunction(measure) or measure.__qualname__ != measure.__name__ or measure.__name__ == "<lambda>":
        return None
    try:
        return inspect.getsource(measure)
    except OSError:
        return None


def _imported(source: str) -> Any:
    """Return what a measurement's name refers to, in modules that are loaded; None for nothing."""
    module, _, path = source.partition(":")
    value: Any = sys.modules.get(module)
    for name in path.split("."):
        value = getattr(value, name, None)
    return value


def by_seed(jobs: Sequence[Job]) -> list[list[Job]]:
    """Return the cells of each seed together, in the order in which the seeds first come."""
    groups: dict[int, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.seed, []).append(job)
    return list(groups.values())


def shared(groups: list[list[Job]], shard: str | None) -> list[list[Job]]:
    """Return the groups of share "i/N", all of them for None.

    Groups are dealt in rounds, the largest first, and each round begins one share later: numbers of cells differ by no
    more than a group, and where a setting that decides the cost repeats with a period, no share gets all that is dear.
    """
    if shard is None:
        return groups
    match = re.fullmatch(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})", str(shard))
    if not match or int(match[1]) > int(match[2]):
        raise DataError(f"{argument('shard')} is {shard!r}; expected 'i/N' with i from 1 to N, as '1/4'.")
    number, shares = int(match[1]) - 1, int(match[2])
    dealt = sorted(groups, key=len, reverse=True)
    return [group for place, group in enumerate(dealt) if (place + place // shares) % shares == number]


class Outcome(NamedTuple):
    """What measuring one cell gave; content or error is empty."""

    key: str
    content: str
    error: str
    seconds: float


class Finished(NamedTuple):
    """The outcomes of cells that were measured one after the other, and the process that they were measured in."""

    outcomes: list[Outcome]
    run: str


def finished(measure: Measure, threads: int, jobs: Sequence[Job]) -> Finished:
    """Measure cells, and say in which process."""
    outcomes = measured(measure, jobs)
    return Finished(outcomes, _process(os.getpid(), threads, len(sys.modules.keys() & {"numpy", "scipy", "torch"})))


@cache
def _process(number: int, threads: int, libraries: int) -> str:
    """Describe this process, once for each thread count and again when a library was loaded."""
    return json.dumps(process())


def _completed(run_on: Engine, function: Callable[[list[Job]], Finished], jobs: Sequence[Job]) -> Iterator[Finished]:
    """Yield the outcome of every cell; one that ended its process at each try has failed."""
    unfinished: list[list[Job]] = []
    try:
        with closing(run_on(function, by_seed(jobs))) as results:
            yield from results
    except LostError as error:
        unfinished = error.cells
    for group in unfinished:
        if len(group) == 1:
            died = f"{group[0].cell}: the process that it ran in died at each try, most likely for lack of memory"
            yield Finished([Outcome(group[0].key, "", died, 0.0)], "")
        for job in group if len(group) > 1 else ():  # one of them is to blame: the others are measured without it
            yield from _completed(run_on, function, [job])


def measured(measure: Measure, jobs: Sequence[Job]) -> list[Outcome]:
    """Return the outcome of each cell."""
    outcomes = []
    for job in jobs:
        started = time.perf_counter()
        content, failure = "", ""
        try:
            result = measure(job.seed, **job.cell)
            rows = [dict(result)] if isinstance(result, Mapping) else [dict(row) for row in result]
            content = _content(rows, job.cell)
        except Exception as error:  # whatever fails in one cell must not stop the others
            failure = f"{job.cell}: {type(error).__name__}: {error}"
        outcomes.append(Outcome(job.key, content, failure, time.perf_counter() - started))
    return outcomes


def _content(rows: list[dict[str, Any]], cell: Cell) -> str:
    for row in rows:
        if repeated := sorted(row.keys() & cell.keys()):
            raise DataError(f"the result {repeated[0]!r} has the name of a setting; expected another name.")
    return json.dumps([{name: _scalar(name, value) for name, value in row.items()} for row in rows])


def _plain(name: str, value: Any) -> Any:
    """Return a setting as JSON gives it back, so that equal cells have equal keys wherever they come from."""
    if isinstance(value, tuple | list):
        return tuple(_plain(name, one) for one in value)
    plain = _scalar(name, value)
    if isinstance(plain, float) and not math.isfinite(plain):
        raise DataError(f"the setting {name} is {value!r}; expected a finite number.")
    return plain


def _scalar(name: str, value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic | np.ndarray) and np.ndim(value) == 0 else value
    if isinstance(plain, str) and not plain.isascii():
        plain.encode()  # half a surrogate pair is text that no file can hold
    if plain is None or isinstance(plain, bool | int | float | str):
        return plain
    raise DataError(f"{name} is of type {type(value).__name__}; expected a number, text or None.")


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
