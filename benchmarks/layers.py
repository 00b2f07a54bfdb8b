"""All pairs of many layers that lie on the disk: 36 layers × 50,000 samples × 768 units, in at most 4 GB.

RSA, CKA, debiased CKA and held-out least squares (r and R², both directions) of float16 files, with intervals whose
width comes from 5,000 samples, the default, by two processes of one thread. Measures wall and CPU time and the peak of
anonymous memory of all processes over what the imports of the first took; ends in an assertion at the full size.

    python benchmarks/layers.py                    # about thirteen minutes on two cores
    python benchmarks/layers.py --layers 6         # what 36 will take, by counting pairs: half a minute
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
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from machine import clean_environment, kernels, memory_watched, processor

HERE = Path(__file__).resolve()
LAYERS, SAMPLES, UNITS, LATENTS = 36, 50_000, 768, 64
# What processes import, each for itself, comes on top of it.
MEMORY = "3GB"
MINUTES, BYTES = 15, 4e9


def write_layers(folder: Path, layers: int, samples: int, units: int) -> dict[str, np.ndarray]:
    """Write layers that drift from the first to the last, as float16 files, and return them mapped."""
    found = {}
    ends = np.random.default_rng(0).standard_normal((2, LATENTS, units), dtype=np.float32)
    for layer in range(layers):
        share = layer / max(layers - 1, 1)
        mixing = np.sqrt(1 - share) * ends[0] + np.sqrt(share) * ends[1]
        noise = np.random.default_rng([1, layer])
        path = folder / f"layer{layer:02}.npy"
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(samples, units))
        for start in range(0, samples, 10_000):
            rows = min(10_000, samples - start)
            latents = np.random.default_rng([2, start]).standard_normal((rows, LATENTS), dtype=np.float32)
            out[start : start + rows] = latents @ mixing + 4 * noise.standard_normal((rows, units), dtype=np.float32)
        out.flush()
        found[path.stem] = np.load(path, mmap_mode="r")
    return found


def predicted(systems: dict[str, np.ndarray], workers: int, **options: Any) -> dict[str, float]:
    """Return what the groups of pairs of so many processes will take, and how often a system is read in all."""
    import superpose as sp
    from superpose.comparison import bytes_of
    from superpose.comparison.table import BLOCKS, groups

    pairs = list(combinations(systems, 2))
    shares = groups(pairs, BLOCKS * workers) if workers > 1 else [pairs]
    costs = [
        sp.costs.predict(systems, pairs=share, memory=bytes_of(MEMORY) // workers, permutations=0, **options)
        for share in shares
    ]
    # All are checked before any process starts.
    read: Counter[str] = Counter(dict.fromkeys(systems, 1))
    for part in costs:
        read.update({name: times - 1 for name, times in part.reads.items()})
    return {
        "predicted_cpu_s": sum(part.seconds for part in costs),
        "predicted_peak_bytes": workers * max(part.memory for part in costs),
        "times_read": max(read.values()),
    }


def cpu_of_all() -> float:
    """Return the CPU seconds of this process and of those that it started and that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main() -> None:
    """Measure, write benchmarks/results/layers.{json,csv}, and hold the goals at the full size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--units", type=int, default=UNITS)
    parser.add_argument("--intervals", type=int, default=5_000, help="samples that intervals come from; 0: all")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--folder", type=Path, help="where the files go (2.8 GB); by default the temporary folder")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results")
    options = parser.parse_args()
    clean_environment(HERE)

    import superpose as sp

    drawn = options.intervals or None
    # What a first call imports is no part of the job.
    few = {name: np.random.default_rng(0).standard_normal((2100, 512)).astype(np.float16) for name in "ab"}
    sp.compare(few, interval_samples=100, permutations=0)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        systems = write_layers(Path(folder), options.layers, options.samples, options.units)
        load = os.getloadavg()
        with memory_watched() as memory:
            wall, cpu = time.perf_counter(), cpu_of_all()
            table = sp.compare(
                systems,
                memory=MEMORY,
                interval_samples=drawn,
                engine=f"local:{options.workers}",
                progress=lambda *done: print(*done, f"{time.perf_counter() - wall:.0f} s", flush=True),
                permutations=0,
            )
            wall, cpu = time.perf_counter() - wall, cpu_of_all() - cpu
        forecast = predicted(systems, options.workers, interval_samples=drawn)
    pairs = options.layers * (options.layers - 1) // 2
    row = {
        "layers": options.layers,
        "samples": options.samples,
        "units": options.units,
        "pairs": pairs,
        "interval_samples": drawn,
        "workers": options.workers,
        "wall_s": wall,
        "cpu_s": cpu,
        "peak_bytes": memory.peak,
        **forecast,
        "wall_s_of_36_layers": wall * (LAYERS * (LAYERS - 1) // 2) / pairs,
    }
    assert np.isfinite(table.score).all()
    options.out.mkdir(parents=True, exist_ok=True)
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform(), "load": load}
    report = {"machine": machine, "kernels": kernels(), "row": row}
    (options.out / "layers.json").write_text(json.dumps(report, indent=2) + "\n")
    with (options.out / "layers.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        writer.writeheader()
        writer.writerow(row)
    for name, value in row.items():
        print(f"{name:26}{value:.4g}" if isinstance(value, float) else f"{name:26}{value}")
    if (options.layers, options.samples, options.units) >= (LAYERS, SAMPLES, UNITS):
        assert wall <= 60 * MINUTES, f"more than {MINUTES} minutes: {wall / 60:.1f}"
        assert memory.peak <= BYTES, f"more than 4 GB: {memory.peak / 1e9:.2f} GB"
        print(f"within {MINUTES} minutes and {BYTES / 1e9:g} GB")


if __name__ == "__main__":
    sys.exit(main())
