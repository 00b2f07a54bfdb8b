"""What `superpose.costs` predicts beside what `compare` takes: CPU time and peak memory, each job in its own process.

Sizes that nothing was fitted on, of about a second or more each. Ends in an assertion: both within 25 %, and memory of
which there is little within 8 MiB, as allocators hold back some of what they were given.

    python benchmarks/costs.py                     # three minutes
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import clean_environment, kernels, memory_watched, processor

HERE = Path(__file__).resolve()
WITHIN = 0.25
HELD_BACK = 2**23
JOBS: tuple[dict[str, Any], ...] = (
    {"samples": 20_000, "layers": 3, "units": 768},
    {"samples": 20_000, "layers": 3, "units": 768, "dtype": "float16", "mapped": True, "interval_samples": 2_000},
    {"samples": 6_000, "layers": 12, "units": 384, "memory": "200MB", "interval_samples": 1_000},
    {"samples": 300_000, "layers": 3, "units": 96},
    {"samples": 8_000, "layers": 3, "units": 300, "dtype": "float64", "folds": 10},
    {"samples": 30_000, "layers": 6, "units": 512, "folds": None, "kernels": True, "dtype": "float16"},
    {"samples": 5_000, "layers": 2, "units": 256, "permutations": 20},
    {"samples": 4_000, "layers": 2, "units": 1536, "interval_samples": 500},
    {"samples": 200_000, "layers": 8, "units": 64, "kernels": True},
)


def job(settings: dict[str, Any]) -> None:
    """Print what one job takes in this process, and what was predicted."""
    import torch  # noqa: F401  (its import is no cost of a job that widens float16 by it)

    import superpose as sp
    from superpose.metrics import CKA, CKA_DEBIASED, RSA

    shape, dtype = (settings.pop("samples"), settings.pop("units")), settings.pop("dtype", "float32")
    mapped = settings.pop("mapped", False)
    settings.setdefault("permutations", 0)
    if settings.pop("kernels", False):
        settings["metrics"] = [CKA, CKA_DEBIASED, RSA]
    draw = np.random.default_rng(0)
    latents = draw.standard_normal((shape[0], 32), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        systems = {}
        for layer in range(settings.pop("layers")):
            x = latents @ draw.standard_normal((32, shape[1]), dtype=np.float32)
            x += 4 * draw.standard_normal(shape, dtype=np.float32)
            systems[f"layer{layer}"] = x.astype(dtype)
            if mapped:
                np.save(f"{folder}/{layer}.npy", systems[f"layer{layer}"])
                systems[f"layer{layer}"] = np.load(f"{folder}/{layer}.npy", mmap_mode="r")
        del latents, x
        # Imports, and nothing of the size of the job, which would leave memory to be used again.
        few = {name: z[:300, :8] for name, z in list(systems.items())[:2]}
        sp.compare(few, interval_samples=100, permutations=0)
        with memory_watched() as memory:
            cpu = time.thread_time()
            sp.compare(systems, **settings)
            cpu = time.thread_time() - cpu
        costs = sp.costs.predict(systems, **settings)
    parts = dict(zip(costs.table.work, costs.table.seconds, strict=True))
    found = {"cpu_s": cpu, "predicted_s": costs.seconds, "peak_bytes": memory.peak, "predicted_bytes": costs.memory}
    print(json.dumps(found | parts))


def main() -> None:
    """Measure, write benchmarks/results/costs.{json,csv}, and hold the goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE.parent / "results")
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    clean_environment(HERE)
    if options.job:
        return job(options.job)
    load = os.getloadavg()
    rows = []
    for settings in JOBS:
        command = [sys.executable, str(HERE), "--job", json.dumps(settings)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout)
        time_ratio = found["predicted_s"] / found["cpu_s"]
        memory_ratio = found["predicted_bytes"] / found["peak_bytes"]
        rows.append({"job": json.dumps(settings), "time_ratio": time_ratio, "memory_ratio": memory_ratio} | found)
        print(
            f"{time_ratio:6.2f} of {found['cpu_s']:6.2f} CPU s, "
            f"{memory_ratio:6.2f} of {found['peak_bytes'] / 2**20:6.0f} MiB: {settings}",
            flush=True,
        )
    options.out.mkdir(parents=True, exist_ok=True)
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform(), "load": load}
    report = {"machine": machine, "kernels": kernels(), "rows": rows}
    (options.out / "costs.json").write_text(json.dumps(report, indent=2) + "\n")
    with (options.out / "costs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    slow = [row for row in rows if abs(row["time_ratio"] - 1) > WITHIN]
    large = [
        row
        for row in rows
        if abs(row["predicted_bytes"] - row["peak_bytes"]) > max(WITHIN * row["peak_bytes"], HELD_BACK)
    ]
    off = [row["job"] for row in slow + large]
    assert not off, f"predicted beyond {WITHIN:.0%}: {off}"


if __name__ == "__main__":
    main()
