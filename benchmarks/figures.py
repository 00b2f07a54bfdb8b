"""What a draw of Figure 2 costs, in units of the products that it cannot do without.

U of a size is the float32 products that make the activity of both systems (samples × latents by latents × units,
twice) and its second moments (units × samples by samples × units, three times), by numpy, at the study's own shapes.
A draw is everything the study does for one set of latents: it draws them, then for each size the projections, the
activity, seven scores, their closed forms, and a row of text each. CPU time on one thread; draws and products take
turns, and the minimum of the rounds counts. Ends in an assertion: a draw costs at most twice its products.

    python benchmarks/figures.py [--rounds 5] [--out DIR]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from machine import clean_environment, kernels, processor

HERE = Path(__file__).resolve()
LIMIT = 2.0


def cpu(function: Callable[[], Any]) -> float:
    """Return the CPU seconds of one call."""
    started = time.process_time()
    function()
    return time.process_time() - started


def products(samples: int, latents: int, sizes: list[int]) -> Callable[[], None]:
    """Return the products of one draw, on arrays that are there already."""
    draw = np.random.default_rng(0)
    z = draw.random((samples, latents), dtype=np.float32)
    pairs = [[draw.random((m, latents), dtype=np.float32) for _ in "ab"] for m in sizes]

    def run() -> None:
        for a, b in pairs:
            x, y = z @ a.T, z @ b.T
            x.T @ x, y.T @ y, x.T @ y

    return run


def main() -> None:
    """Measure, write benchmarks/results/figures.{json,csv}, and hold the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results")
    options = parser.parse_args()
    clean_environment(HERE)

    import torch

    from superpose.paper import figure2
    from superpose.studies.study import by_seed, measured

    torch.set_num_threads(1)
    load = [os.getloadavg()]
    rows = []
    for active in figure2.ACTIVE:
        study = figure2.study(active=(active,), draws=options.rounds + 1)
        warm, *draws = by_seed(study.jobs())
        cell = warm[0].cell
        floor = products(cell["samples"], cell["latents"], [job.cell["units"] for job in warm])
        measured(study.measure, warm), floor()
        times = [(cpu(floor), cpu(partial(measured, study.measure, jobs))) for jobs in draws]
        unit, whole = (min(column) for column in zip(*times, strict=True))
        rows.append({"active": active, "unit_s": unit, "draw_s": whole, "ratio": whole / unit})
        print(f"k = {active:>2}: U = {1000 * unit:.0f} ms, a draw {1000 * whole:.0f} ms = {whole / unit:.2f} U")
    load.append(os.getloadavg())

    options.out.mkdir(parents=True, exist_ok=True)
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform(), "load": load}
    report = {"machine": machine, "kernels": kernels(), "rows": rows}
    (options.out / "figures.json").write_text(json.dumps(report, indent=2) + "\n")
    with (options.out / "figures.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    ratio = sum(row["draw_s"] for row in rows) / sum(row["unit_s"] for row in rows)
    print(f"all: {ratio:.2f} U; load before {load[0][0]:.1f}, after {load[1][0]:.1f}; {machine['processor']}")
    assert ratio <= LIMIT, f"a draw costs {ratio:.2f} U, more than {LIMIT}"


if __name__ == "__main__":
    main()
