"""`superpose layers`: which layer predicts a recording best, and how much of what can be predicted?"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from superpose.cli.folder import write_tables
from superpose.cli.intervals import INTERVALS, Samples, samples_of
from superpose.cli.reading import Axes, Missing, show_notes, told
from superpose.cli.show import show_layers
from superpose.files import DataError, argument, sha256
from superpose.running.folders import check_free
from superpose.running.progress import Progress

if TYPE_CHECKING:
    from superpose.depth import Layers

Flag = Annotated[bool, Parameter(negative="")]


def layers(
    *files: Path,
    target: str | None = None,
    out: Path | None = None,
    metrics: str = "ridge_r",
    groups: Path | None = None,
    axes: Axes = None,
    missing: Missing = None,
    cv: int = 5,
    test: float | None = None,
    permutations: int = 999,
    zscore: Flag = False,
    seed: int = 0,
    interval_samples: Samples = INTERVALS,
    memory: str | None = None,
    json: Flag = False,
    overwrite: Flag = False,
) -> None:
    """Say which of several layers predicts a recording best, and how much of what can be predicted.

    Prints what was found, then one row per layer, in the order given: its score with the target, the 95 % interval, the
    noise ceiling where the target's file labels repeats, score over ceiling, and whether it may be the best layer. The
    best of many layers scores high by chance: its p-value is that of the highest score over permutations. With --out,
    writes layers, best, differences (of neighbouring layers) and units (each unit's score, ceiling and score over
    ceiling), each as .parquet and .csv, layers.png and .svg, report.html (with a methods paragraph), and run.json
    (settings, versions, digests of the files).

    Parameters
    ----------
    files
        The layers in the order of depth, and the target: files of (samples, units), as superpose compare takes them, or
        a folder that superpose extract wrote, which stands for its layers. Rows are paired by stimulus id where files
        have them. A target with an axis of times (xarray's netCDF or zarr, BrainIO's time_bin) is predicted at each.
    target
        Name of the file that the layers predict, without its ending; required.
    out
        Directory of the results; it must not hold another run.
    metrics
        What to score by, separated by commas: names as in tables. Regressions predict the target from a layer.
    groups
        File of one label a row: what belongs together (sentence, trial, photograph), as for superpose compare.
    cv
        Folds of held-out regressions, drawn at random in whole groups.
    test
        One fixed split in place of --cv: the share of test samples, drawn at random.
    permutations
        Number of permutations of the target's rows, the same for all layers; 0 omits the p-values.
    zscore
        Bring every unit of every file to mean 0 and standard deviation 1 over all rows, trials averaged, before
        anything else. Those of held-out rows are among them; nothing of the target enters a layer's.
    seed
        Seed of the folds, the permutations, and of the rows that intervals are estimated from.
    interval_samples
        Number of test samples used for interval widths, drawn at random, or all: 5,000 estimate the standard error to
        1–2 %.
    memory
        How much memory the sums behind scores may take, such as 512MB.
    json
        Print the tables, sentences and warnings as JSON.
    overwrite
        Replace the run that the output directory holds.
    """
    from superpose.analysis.inputs import read_groups, read_systems, zscored
    from superpose.depth import layers as scored

    if target is None:
        raise DataError(f"{argument('target')} is missing; expected the name of one of the files, without its ending.")
    settings: dict[str, Any] = {
        "target": target, "metrics": metrics.split(","), "cv": cv, "test": test, "permutations": permutations,
        "seed": seed, "interval_samples": samples_of(interval_samples), "memory": memory,
    }  # fmt: skip
    folder = None if out is None else check_free(out, overwrite=overwrite)
    started = time.perf_counter()
    with Progress() as reading:
        read = read_systems(files, reading, timed=target, **told(axes, missing))
    show_notes(read.notes)
    arrays, trials = zscored(read.arrays, read.trials) if zscore else (read.arrays, read.trials)
    at = {time: (trials or {}).get(name, arrays[name]) for time, name in read.times.items()}
    systems: dict[str, Any] = {name: x for name, x in arrays.items() if name not in read.times.values()}
    if at:
        systems[target] = at.get(None, at)
    belonging = read.groups if groups is None else read_groups(groups, missing=missing)
    with warnings.catch_warnings(record=True) as caught, Progress() as progress:
        warnings.simplefilter("always")
        found: Layers = scored(systems, groups=belonging, progress=progress, **settings)
    said = [*found.warnings, *(str(one.message) for one in caught), *read.notes.lost]
    if folder is not None:
        record: dict[str, Any] = {
            "settings": settings | {"zscore": zscore},
            "inputs": read.inputs,
            "notes": [*read.notes.labels, *read.notes.averaged],
            "seconds": round(time.perf_counter() - started, 1),
            "sentences": found.sentences,
            "warnings": said,
        }
        if groups is not None:
            record["groups"] = {"path": str(groups), "sha256": sha256(groups)}
        tables = {"layers": found.table, "best": found.best, "differences": found.differences, "units": found.units}
        page = {"title": f"Which layer predicts {target}?", "sentences": found.sentences, "layers": found.table}
        write_tables(folder, tables, found.plot(), record, page)
    show_layers(found, said, as_json=json)
    if folder is not None:
        print(
            f"Written to {folder}: open {folder / 'report.html'}; layers.png shows score against depth", file=sys.stderr
        )
