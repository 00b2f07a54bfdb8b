"""`superpose layers`: which layer predicts a recording best, and how much of what can be predicted?"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superpose.cli.arguments import INTERVALS, Flag, Folds, Groups, Json, Memory, Out, Overwrite, Samples, samples_of
from superpose.cli.folder import write_tables
from superpose.cli.reading import Axes, Missing, named_target, read_paired, record_of, told
from superpose.cli.show import show_layers
from superpose.running.folders import check_free
from superpose.running.progress import Progress

if TYPE_CHECKING:
    from superpose.depth import Layers


def layers(
    *files: Path,
    target: str | None = None,
    out: Out = None,
    metrics: str = "ridge_r",
    groups: Groups = None,
    axes: Axes = None,
    missing: Missing = None,
    cv: Folds = 5,
    test: float | None = None,
    permutations: int = 999,
    zscore: Flag = False,
    seed: int = 0,
    interval_samples: Samples = INTERVALS,
    memory: Memory = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Find the layer that best predicts a recording, and how close it comes to the noise ceiling.

    Prints the findings, then one row per layer, in the given order: its score with the target, the 95 % interval, the
    noise ceiling if the target's file labels repeats, score over ceiling, and whether it may be the best layer. The
    best of many layers scores high by chance, so its p-value is from permutations of the highest score. With --out,
    writes layers, best, differences (of neighbouring layers) and units (each unit's score, ceiling and score over
    ceiling), each as .parquet and .csv, layers.png and .svg, report.html (with a methods paragraph), and run.json
    (settings, versions, digests of the files).

    Parameters
    ----------
    files
        The layers in the order of depth, and the target: files of (samples, units), as superpose compare takes them, or
        a folder from superpose extract, which stands for its layers. Rows are paired by stimulus id where files have
        them. A target with a time axis (xarray's netCDF or zarr, BrainIO's time_bin) is predicted at each time.
    target
        Name of the file that the layers predict, without extension; required.
    metrics
        Metrics, separated by commas, named as in tables. Regressions predict the target from a layer.
    test
        Share of test samples, drawn at random, for one fixed split instead of --cv.
    permutations
        Number of permutations of the target's rows, the same for all layers; 0 omits the p-values.
    zscore
        Standardise every unit of every file to mean 0 and standard deviation 1 over all rows (trials averaged) before
        any other step. Held-out rows are included; each file is scaled separately.
    seed
        Seed of the folds, the permutations, and the rows used to estimate intervals.
    """
    from superpose.analysis.inputs import zscored
    from superpose.depth import layers as scored

    target = named_target(target)
    settings: dict[str, Any] = {
        "target": target, "metrics": metrics.split(","), "cv": cv, "test": test, "permutations": permutations,
        "seed": seed, "interval_samples": samples_of(interval_samples), "memory": memory,
    }  # fmt: skip
    folder = None if out is None else check_free(out, overwrite=overwrite)
    started = time.perf_counter()
    read = read_paired(files, told(axes, missing), groups=groups, timed=target)
    read = zscored(read) if zscore else read
    at = {time: (read.trials or {}).get(name, read.arrays[name]) for time, name in read.times.items()}
    systems: dict[str, Any] = {name: x for name, x in read.arrays.items() if name not in read.times.values()}
    if at:
        systems[target] = at.get(None, at)
    with warnings.catch_warnings(record=True) as caught, Progress() as progress:
        warnings.simplefilter("always")
        found: Layers = scored(systems, groups=read.groups, progress=progress, **settings)
    said = [*found.warnings, *(str(one.message) for one in caught), *read.notes.lost]
    if folder is not None:
        record = {"settings": settings | {"zscore": zscore}, **record_of(read, started, groups=groups)}
        record |= {"sentences": found.sentences, "warnings": said}
        tables = {"layers": found.table, "best": found.best, "differences": found.differences, "units": found.units}
        page = {"title": f"Which layer predicts {target}?", "sentences": found.sentences, "layers": found.table}
        write_tables(folder, tables, found.plot(), record, page)
    show_layers(found, said, as_json=json, said=read.notes.lost)
    if folder is not None:
        print(
            f"Written to {folder}: open {folder / 'report.html'}; layers.png shows score against depth", file=sys.stderr
        )
