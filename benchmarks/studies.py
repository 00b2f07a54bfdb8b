"""What a study costs beside its cells, and what a second worker brings.

A cell is a loop of Python and small products, calibrated to 50 ms of CPU time on one thread. The study's cells run one
by one as plain calls, then under each engine with one worker, then with two. Overhead is what an engine adds to a cell:
wall time over that of the plain calls, from the first result to the last, without the seconds that processes take to
start; CPU time, with that of starting, is beside it. Ends in assertions: one local worker adds at most 10 %, of Dask at
most 20 %, and two workers finish in at most 1 / 1.8 of the time of one. On a machine that others use, wall times are
theirs too.

    python benchmarks/studies.py [--cells 1000] [--out DIR]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import clean_environment, kernels, processor

HERE = Path(__file__).resolve()
CELL = 0.05
OVERHEAD = {"local": 1.10, "dask": 1.20}
SCALING = 1.8


def busy(seed: int, *, loops: int, index: int) -> dict[str, float]:
    """Compute for a number of loops."""
    x = np.random.default_rng(seed).normal(size=(24, 24))
    total = 0.0
    for _ in range(loops):
        x = x @ x.T
        x /= np.abs(x).max()
        total += float(x[0, 0])
    return {"total": total}


def calibrated() -> int:
    """Return how many loops take the CPU time of a cell: the least of several tries, as others use the machine too."""
    loops = 1000
    costs = []
    for _ in range(7):
        started = time.process_time()
        busy(0, loops=loops, index=0)
        costs.append((time.process_time() - started) / loops)
    return max(1, round(CELL / min(costs)))


def cpu() -> float:
    """Return the CPU seconds of this process and of those that it started and that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def timed(loops: int, cells: int, engine: str) -> dict[str, Any]:
    """Return the seconds of a study, from its first result to its last, for all cells."""
    import studies as here  # the name under which other processes import the measurement

    from superpose.studies.study import Study, grid

    told: list[float] = []
    study = Study("busy", here.busy, grid(loops=[loops], index=range(cells)))
    started, before = time.perf_counter(), cpu()
    with tempfile.TemporaryDirectory() as folder:
        study.run(folder, engine=engine, progress=lambda *_: told.append(time.perf_counter()))
    return {
        "engine": engine,
        "start_s": told[0] - started,
        "wall_s": (told[-1] - told[0]) * cells / (cells - 1),
        # Dask's workers are killed by their group, and the system then counts their seconds for nobody.
        "cpu_s": float("nan") if engine.startswith("dask") else cpu() - before,
    }


def plain(loops: int, cells: int) -> dict[str, Any]:
    """Return the seconds of the same calls without a study."""
    started, before = time.perf_counter(), time.process_time()
    for index in range(cells):
        busy(index, loops=loops, index=index)
    return {
        "engine": "plain calls",
        "start_s": 0.0,
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - before,
    }


def main() -> None:
    """Measure, write benchmarks/results/studies.{json,csv}, and hold the limits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results")
    options = parser.parse_args()
    clean_environment(HERE)
    sys.path.insert(0, str(HERE.parent))

    load = [os.getloadavg()]
    loops = calibrated()
    rows = [plain(loops, options.cells)]
    for engine in ("serial", "local:1", "local:2", "dask:1", "dask:2"):
        rows.append(timed(loops, options.cells, engine))
        row = rows[-1]
        per_cell = row["wall_s"] / rows[0]["wall_s"]
        print(
            f"{engine:>8}: {row['wall_s']:6.1f} s wall ({per_cell:.3f} of plain calls), {row['cpu_s']:6.1f} s CPU "
            f"({row['cpu_s'] / rows[0]['cpu_s']:.3f}), first result after {row['start_s']:.1f} s",
            flush=True,
        )
    load.append(os.getloadavg())

    options.out.mkdir(parents=True, exist_ok=True)
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform(), "load": load}
    report = {"machine": machine, "kernels": kernels(), "cells": options.cells, "loops": loops, "rows": rows}
    (options.out / "studies.json").write_text(json.dumps(report, indent=2) + "\n")
    with (options.out / "studies.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    wall = {row["engine"]: row["wall_s"] for row in rows}
    found = {name: wall[f"{name}:1"] / wall["plain calls"] for name in OVERHEAD}
    gains = {name: wall[f"{name}:1"] / wall[f"{name}:2"] for name in OVERHEAD}
    print(f"overhead {found}; gain of a second worker {gains}; load {load[0][0]:.1f} to {load[1][0]:.1f}")
    for name, most in OVERHEAD.items():
        assert found[name] <= most, f"{name}:1 takes {found[name]:.3f} of the plain calls, more than {most}"
        assert gains[name] >= SCALING, f"a second worker of {name} gains {gains[name]:.2f}, less than {SCALING}"


if __name__ == "__main__":
    main()
