"""The command line: `superpose compare` on files, and `superpose demo` on two packaged language encoders."""

from __future__ import annotations

import errno
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from cyclopts import App, CycloptsError, Parameter

from superpose.files import DataError, sha256

if TYPE_CHECKING:
    from superpose.analysis import Analysis

BAD_INPUT, STORAGE_FULL, INTERRUPTED = 2, 3, 130

app = App(
    name="superpose",
    help="Two neural systems look different: do they represent different things, or pack the same things differently?",
    help_format="plaintext",
    help_epilogue="Example: superpose compare V1.npy layer3.npy --out results\n\n"
    "Exit status: 0 done; 2 bad input or usage; 3 storage full; 130 interrupted.",
    result_action="return_none",
    suppress_keyboard_interrupt=False,
)


@app.command(
    help_epilogue="Example: superpose compare V1.npy layer3.npy --groups photographs.npy --out results",
)
def compare(
    *files: Path,
    out: Path,
    latents: int | None = None,
    active: int | None = None,
    fit: str = "pairwise",
    mode: str = "detached",
    folds: int = 5,
    groups: Path | None = None,
    permutations: int = 999,
    steps: int = 1000,
    seeds: int = 1,
    seed: int = 0,
    engine: str = "serial",
    no_latents: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Say how alike two or more recordings are: raw, in recovered features, and against a null.

    Writes alignment.parquet, alignment.csv, alignment.png, alignment.svg, report.html and run.json to the
    output directory, and prints the table and what it means. Into a pipe the whole table goes tab-separated,
    the sentences behind "#".

    Parameters
    ----------
    files
        Two or more files of (samples, units): .npy, .npz, .csv, .tsv, .parquet or .safetensors
        (FILE:NAME picks one array of several). Rows are paired by stimulus id where files have them, else by
        position.
    out
        Directory of the results; it must not hold another run.
    latents
        Latents of each dictionary; by default 4 x the widest file, fewer where rows are scarce.
    active
        Latents a sample may use; by default 32, at most latents / 16.
    fit
        pairwise (one joint dictionary a pair), all (one for all files) or independent.
    mode
        Cross terms of joint dictionaries: detached, cross or separate.
    folds
        One of this many folds of rows is held out, and every score is taken on it.
    groups
        File of one label a row (.npy, or a text file with a label a line): rows of a group (sentence, trial,
        photograph) stay on one side of the split, and intervals and nulls take groups whole.
    permutations
        Re-pairings behind the null of each raw score.
    steps
        Training steps of a dictionary.
    seeds
        Fit the dictionaries from this many seeds.
    seed
        The seed that everything random is derived from.
    engine
        serial, or local:N to fit and score dictionaries in N processes that share the cores.
    no_latents
        Raw scores only; fit no dictionary.
    json
        Print the table, sentences and warnings as JSON.
    overwrite
        Replace the run that the output directory holds.
    """
    from superpose.analysis import analyse, raw
    from superpose.analysis.inputs import read_groups, read_systems
    from superpose.analysis.results import check_free, write

    started = time.perf_counter()
    systems, found_groups, inputs = read_systems(files)
    labels = read_groups(groups) if groups is not None else found_groups
    folder = check_free(out, overwrite=overwrite)
    progress = Progress()
    shared: dict[str, Any] = {
        "folds": folds,
        "groups": labels,
        "permutations": permutations,
        "seed": seed,
        "progress": progress,
    }
    with progress:
        analysis = (
            raw(systems, **shared)
            if no_latents
            else analyse(
                systems,
                latents=latents,
                active=active,
                fit=fit,
                mode=mode,
                steps=steps,
                seeds=seeds,
                engine=engine,
                **shared,
            )
        )
    record: dict[str, Any] = {"inputs": inputs, "seconds": round(time.perf_counter() - started, 1)}
    if groups is not None:
        record["groups"] = {"path": str(groups), "sha256": sha256(groups)}
    write(analysis, folder, record, title=" and ".join(systems))
    show(analysis, as_json=json)
    print(f"Written to {folder}: open {folder / 'report.html'}", file=sys.stderr)


@app.command(help_epilogue="Example: superpose demo --out demo-results")
def demo(
    *,
    out: Path = Path("demo-results"),
    cache: Path = Path(".demo-cache"),
    latents: int = 768,
    steps: int = 600,
    permutations: int = 99,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Compare layers of two packaged language encoders, token by token, over Python's own help text.

    One dissimilar pair of layers (of different encoders) and one similar pair (neighbours in one encoder), with
    joint dictionaries of 768 latents and the shuffled control. An older demo in the output directory is
    replaced.

    Parameters
    ----------
    out
        Directory of the results.
    cache
        Directory that keeps the activations between runs.
    latents
        Latents of each dictionary.
    steps
        Training steps of a dictionary.
    permutations
        Re-pairings behind the null of each raw score.
    seed
        The seed that everything random is derived from.
    json
        Print the table, sentences and warnings as JSON.
    """
    from superpose.analysis.results import check_free
    from superpose.demo import run

    folder = check_free(out, overwrite=True)
    progress = Progress()
    with progress:
        analysis = run(
            folder, cache, latents=latents, steps=steps, permutations=permutations, seed=seed, progress=progress
        )
    show(analysis, as_json=json)
    print(f"Written to {folder}: open {folder / 'report.html'}", file=sys.stderr)


SHOWN = ("cka_debiased", "regression_r")
COLUMNS = ["system_a", "system_b", "metric", "space", "control", "score", "low", "high", "null", "p", "fvu_a", "fvu_b"]


def show(analysis: Analysis, *, as_json: bool) -> None:
    """Print the table and the sentences: for a reader on a terminal, tab-separated into a pipe, or as JSON."""
    if as_json:
        import json

        rows = json.loads(analysis.table.to_json(orient="records"))
        content = {"table": rows, "sentences": analysis.sentences, "warnings": list(analysis.warnings)}
        print(json.dumps(content, indent=2))
        return
    if not sys.stdout.isatty():
        analysis.table.to_csv(sys.stdout, sep="\t", index=False, na_rep="nan")
        for line in (*analysis.sentences, *(f"Warning: {text}" for text in analysis.warnings)):
            print(f"# {line}")
        return
    from rich.console import Console
    from rich.table import Table

    rows = analysis.table[analysis.table.metric.isin(SHOWN)]
    names = [name for name in COLUMNS if rows[name].notna().any()]
    table = Table(*names, box=None, pad_edge=False)
    for values in rows[names].itertuples(index=False):
        table.add_row(*("" if v != v else f"{v:.3f}" if isinstance(v, float) else str(v) for v in values))
    console = Console()
    console.print(table)
    for sentence in analysis.sentences:
        console.print(f"\n{sentence}", markup=False, highlight=False)
    for warning in analysis.warnings:
        console.print(f"Warning: {warning}", style="yellow", markup=False, highlight=False)


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status: bad input is one line on standard error, never a traceback."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(None if arguments is None else list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _fail(" ".join(str(error).split()), BAD_INPUT)
    except DataError as error:
        return _fail(str(error), BAD_INPUT)
    except KeyboardInterrupt:
        return _fail("interrupted; no file is half-written, and there is no run.json", INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _fail(
                f"no space left on the device ({error.filename or 'output'}); nothing was half-written", STORAGE_FULL
            )
        return _fail(f"{error.filename or 'output'}: {error.strerror or error}", BAD_INPUT)
    return 0


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _fail(message: str, status: int) -> int:
    print(f"superpose: {message}", file=sys.stderr)
    return status
