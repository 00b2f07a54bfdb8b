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

DICTIONARIES = Parameter(group="Dictionaries")

app = App(
    name="superpose",
    help="Two neural systems look different: do they represent different things, or pack the same things differently?",
    help_format="markdown",
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
    groups: Path | None = None,
    folds: int = 5,
    permutations: int = 999,
    no_latents: Annotated[bool, Parameter(negative="")] = False,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    latents: Annotated[int | None, DICTIONARIES] = None,
    active: Annotated[int | None, DICTIONARIES] = None,
    fit: Annotated[str, DICTIONARIES] = "pairwise",
    mode: Annotated[str, DICTIONARIES] = "detached",
    steps: Annotated[int, DICTIONARIES] = 1000,
    seeds: Annotated[int, DICTIONARIES] = 1,
    engine: Annotated[str, DICTIONARIES] = "serial",
) -> None:
    """Say how alike two or more recordings of the same stimuli are.

    A pair is compared in four spaces: raw (the units as recorded), latent (the features that a sparse
    autoencoder, called a dictionary, recovers from the units), reconstruction (what the features give back of the
    units) and predicted (what the dictionaries' packing alone would give if both files held the same features).
    Beside each score stands its null: the same score where rows are paired wrongly.

    Writes alignment.parquet, .csv, .png and .svg, report.html and run.json to the output directory, and prints the
    table and what it means. Into a pipe the whole table goes tab-separated, with the sentences behind "#".

    Parameters
    ----------
    files
        Two or more files of (samples, units): .npy, .npz, .csv, .tsv, .parquet or .safetensors (FILE:NAME picks one
        array of several). Rows are paired by stimulus id where files have them, else by position.
    out
        Directory of the results; it must not hold another run.
    groups
        File of one label a row (.npy, or text with a label a line), in the order of the (matched) rows: rows of a
        group (sentence, trial, photograph) stay on one side of the split, and intervals and nulls take groups whole.
    folds
        One of this many folds of rows is held out; every score is taken on it.
    permutations
        How many wrong pairings the null of each raw score is made of.
    no_latents
        Raw scores only: fit no dictionary, and ignore the options of dictionaries.
    seed
        Everything random is derived from it.
    json
        Print the table, sentences and warnings as JSON.
    overwrite
        Replace the run that the output directory holds.
    latents
        Features a dictionary has; by default 4 x the widest file's units, fewer where rows are scarce.
    active
        Features that one row may use; by default 32, at most latents / 16.
    fit
        pairwise: one dictionary a pair, trained on both so that feature i means the same in both; all: one for all
        files; independent: one a file, on its own.
    mode
        How a shared dictionary is held together: detached (each file keeps what the other lacks), cross (as in the
        paper; shared content at the expense of the rest) or separate (not at all).
    steps
        Training steps of a dictionary.
    seeds
        Fit the dictionaries from this many seeds, each in rows of its own.
    engine
        serial, or local:N to fit and score dictionaries in N processes that share the cores.
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
    steps: int = 500,
    permutations: int = 49,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Compare layers of two packaged language encoders, token by token, over Python's own help text.

    One dissimilar pair of layers (of different encoders) and one similar pair (neighbours in one encoder), with
    shared dictionaries and the control that refits them on shuffled pairs. The sizes are the demo's, chosen for
    minutes on two cores. An older demo in the output directory is replaced.

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
    from superpose.demo import is_demo, run

    folder = check_free(out, overwrite=is_demo(out))
    progress = Progress()
    with progress:
        analysis = run(
            folder, cache, latents=latents, steps=steps, permutations=permutations, seed=seed, progress=progress
        )
    show(analysis, as_json=json)
    tokens = "{training_samples} training and {test_samples} held-out tokens".format_map(analysis.settings)
    print(f"The demo's sizes: {latents} latents, {steps} steps, {permutations} re-pairings, {tokens}.", file=sys.stderr)
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
    before = signal.signal(signal.SIGTERM, _interrupt)
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
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _fail(message: str, status: int) -> int:
    print(f"superpose: {message}", file=sys.stderr)
    return status
