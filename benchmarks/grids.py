"""All pairs of many layers, and files instead of arrays, in units of one matrix product.

U is one float32 product A'B of two arrays (samples × 768), by the faster of numpy and torch, timed before and after
each work. Four works of `compare`: the default metrics of 12 × 12 layers of 512 units, with intervals, a U of theirs
counted for each pair; held-out least squares (r) of 24 × 24 layers, by one split, a U counted for each ordered pair;
RSA, CKA and debiased CKA of 48 × 48 layers, with its memory over the data; and four mapped files beside the same arrays
in memory, under a limit of memory an eighth of their size. Prints the distance to each goal, and ends in an assertion
on the files, whose goal is reached.

    python benchmarks/grids.py                     # fourteen minutes
    python benchmarks/grids.py --fast              # 4 layers, N = 2,000: seconds
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import clean_environment, kernels, memory_watched, processor

HERE = Path(__file__).resolve()
UNITS = 768
# A pair of the default metrics, an ordered one of the regression, all pairs of the kernels, mapped files beside arrays.
GOALS = {"defaults": 14.0, "ols_r": 1.2, "kernels": 200.0, "mapped": 1.25}
MEMORY_GOAL = 2**30
INTERVALS = 1_000
ROUNDS = 3


def layers(count: int, samples: int, dtype: str = "float32", units: int = UNITS) -> dict[str, np.ndarray]:
    """Return related layers."""
    draw = np.random.default_rng(samples)
    latents = draw.standard_normal((samples, 64), dtype=np.float32)
    found = {}
    for layer in range(count):
        mixing = draw.standard_normal((64, units), dtype=np.float32)
        x = latents @ mixing + 4 * draw.standard_normal((samples, units), dtype=np.float32)
        found[f"layer{layer:02}"] = x.astype(dtype)
    return found


def clock(function: Callable[[], Any]) -> tuple[Any, float]:
    """Return the value and the CPU seconds of one call, by this thread alone: who watches memory takes some as well."""
    start = time.thread_time()
    value = function()
    return value, time.thread_time() - start


def unit(x: np.ndarray, y: np.ndarray) -> float:
    """Return the CPU seconds of one product, by the faster route."""
    import torch

    a, b = torch.from_numpy(x), torch.from_numpy(y)
    return min(clock(route)[1] for route in (lambda: x.T @ y, lambda: a.T @ b) for _ in range(ROUNDS))


def in_units(systems: dict[str, np.ndarray], work: Callable[[], Any]) -> dict[str, float]:
    """Return what a work takes in the fastest and the median round, the product timed on either side, and its memory.

    A round on memory that the machine has not given out before waits for it: the first is slower by a sixth here.
    """
    x, y = (x.astype(np.float32) for x in list(systems.values())[:2])
    rounds = []
    for _ in range(ROUNDS):
        before = unit(x, y)
        with memory_watched() as memory:
            _, seconds = clock(work)
        rounds.append((seconds, min(before, unit(x, y)), memory.peak))
    seconds, products, peaks = zip(*rounds, strict=True)
    one = min(products)
    return {
        "cpu_s": min(seconds),
        "u_s": one,
        "ratio": min(seconds) / one,
        "median": float(np.median(seconds)) / one,
        "peak_bytes": max(peaks),
    }


def regressions(count: int, samples: int) -> dict[str, Any]:
    """Held-out r of all ordered pairs, per pair."""
    import superpose as sp

    systems = layers(count, samples)
    test = np.arange(samples) >= samples * 4 // 5
    found = in_units(
        systems,
        lambda: sp.compare(systems, metrics=[sp.metrics.OLS_R], test=test, interval_samples=INTERVALS, permutations=0),
    )
    each = {name: found[name] / count / (count - 1) for name in ("ratio", "median")}
    return found | each | {"work": "ols_r", "layers": count, "samples": samples}


def defaults(count: int, samples: int) -> dict[str, Any]:
    """The default metrics of all pairs with intervals, per pair."""
    import superpose as sp

    systems = layers(count, samples, units=512)
    found = in_units(systems, lambda: sp.compare(systems, permutations=0))
    each = {name: found[name] / (count * (count - 1) / 2) for name in ("ratio", "median")}
    return found | each | {"work": "defaults", "layers": count, "samples": samples}


def all_kernels(count: int, samples: int) -> dict[str, Any]:
    """RSA, CKA and debiased CKA of all pairs."""
    import superpose as sp

    systems, metrics = layers(count, samples), [sp.metrics.RSA, sp.metrics.CKA, sp.metrics.CKA_DEBIASED]
    found = in_units(
        systems,
        lambda: sp.compare(
            systems, metrics=metrics, cv=None, interval_samples=INTERVALS, memory="1GiB", permutations=0
        ),
    )
    return found | {"work": "kernels", "layers": count, "samples": samples}


def mapped(count: int, samples: int) -> dict[str, Any]:
    """Files beside the same arrays, in turns."""
    import superpose as sp

    held = layers(count, samples, "float16")
    limit = sum(x.nbytes for x in held.values()) // 8
    options: dict[str, Any] = {"interval_samples": INTERVALS, "memory": limit, "permutations": 0}
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name, x in held.items():
            np.save(f"{folder}/{name}.npy", x)
            files[name] = np.load(f"{folder}/{name}.npy", mmap_mode="r")
        seconds: dict[str, list[float]] = {"held": [], "mapped": []}
        peak = 0
        for _ in range(ROUNDS):
            for way, systems in (("held", held), ("mapped", files)):
                with memory_watched() as memory:
                    seconds[way].append(clock(lambda systems=systems: sp.compare(systems, **options))[1])
                peak = max(peak, memory.peak if way == "mapped" else 0)
    best = {way: min(values) for way, values in seconds.items()}
    return {
        "cpu_s": best["mapped"],
        "u_s": float("nan"),
        "ratio": best["mapped"] / best["held"],
        "median": float(np.median(seconds["mapped"]) / np.median(seconds["held"])),
        "peak_bytes": peak,
        "work": "mapped",
        "layers": count,
        "samples": samples,
    }


def main() -> None:
    """Measure, write benchmarks/results/grids.{json,csv}, and hold what is reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="4 layers, N = 2,000")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results")
    options = parser.parse_args()
    clean_environment(HERE)
    import superpose as sp

    load = os.getloadavg()
    # Imports are no part of a work.
    sp.compare(layers(2, 2_000, "float16"), interval_samples=100, permutations=0)
    fast = options.fast
    rows = [
        defaults(*((4, 2_000) if fast else (12, 4_000))),
        regressions(*((4, 2_000) if fast else (24, 5_000))),
        all_kernels(*((4, 2_000) if fast else (48, 5_000))),
        mapped(*((3, 2_000) if fast else (4, 50_000))),
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform(), "load": load}
    report = {"machine": machine, "kernels": kernels(), "rows": rows}
    (options.out / "grids.json").write_text(json.dumps(report, indent=2) + "\n")
    with (options.out / "grids.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        goal, peak = GOALS[row["work"]], row["peak_bytes"] / 2**20
        print(
            f"{row['work']:10}{row['layers']:>3} layers, N = {row['samples']:>6}: {row['ratio']:8.2f}, median "
            f"{row['median']:.2f} (goal {goal:g}), "
            f"{row['cpu_s']:.1f} CPU s, peak {peak:.0f} MiB over the data"
        )
    if not fast:
        ratio = rows[3]["ratio"]
        assert ratio <= GOALS["mapped"], f"mapped files take {ratio:.2f} times what arrays take"
        heavy = rows[2]["peak_bytes"]
        assert heavy <= MEMORY_GOAL, f"48 layers take {heavy / 2**20:.0f} MiB"


if __name__ == "__main__":
    main()
