"""All pairs of many layers that lie on the disk: 36 layers × 50,000 samples × 768 units, in at most 4 GB.

RSA, CKA, debiased CKA and held-out least squares (r and R², both directions) of float16 files, with intervals whose
width comes from 5,000 samples, the default. Measures wall and CPU time, the peak of anonymous memory over what the
imports took, and how often each layer was read; ends in an assertion at the full size.

    python benchmarks/layers.py                    # about thirteen minutes on two cores
    python benchmarks/layers.py --layers 6         # what 36 will take, by counting pairs: half a minute
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from machine import clean_environment, kernels, memory_watched, processor

HERE = Path(__file__).resolve()
LAYERS, SAMPLES, UNITS, LATENTS = 36, 50_000, 768, 64
MEMORY = "4GB"
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


class Readings:
    """How many rows were read of each of several arrays, by every way that `compare` reads them."""

    def __init__(self, systems: dict[str, np.ndarray]) -> None:
        self.spans = {name: (x.__array_interface__["data"][0], x.nbytes) for name, x in systems.items()}
        self.samples = len(next(iter(systems.values())))
        self.rows: Counter[str] = Counter()

    def __enter__(self) -> Readings:
        from superpose import arrays, moments

        def shifted(x: Any, shift: Any, index: Any, space: Any = None) -> Any:
            rows = x[..., index, :]
            self._count(x, rows.shape[-2])
            return take(x, shift, index, space)

        def chunked(x: Any, rows: int | None = None) -> Any:
            for start, part in cut(x, rows):
                self._count(x, len(part))
                yield start, part

        take, cut = moments.shifted_rows, arrays.chunks
        moments.shifted_rows, moments.chunks, arrays.chunks = shifted, chunked, chunked
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def _count(self, x: np.ndarray, rows: int) -> None:
        place = x.__array_interface__["data"][0]
        for name, (start, size) in self.spans.items():
            if start <= place < start + size:
                self.rows[name] += rows

    def times(self) -> list[float]:
        """Return how often each system was read."""
        return [self.rows[name] / self.samples for name in self.spans]


def main() -> None:
    """Measure, write benchmarks/results/layers.{json,csv}, and hold the goals at the full size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--units", type=int, default=UNITS)
    parser.add_argument("--intervals", type=int, default=5_000, help="samples that intervals come from; 0: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the files go (2.8 GB); by default the temporary folder")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results")
    options = parser.parse_args()
    clean_environment(HERE, options.threads)

    import superpose as sp

    drawn = options.intervals or None
    # What a first call imports is no part of the job.
    few = {name: np.random.default_rng(0).standard_normal((2100, 512)).astype(np.float16) for name in "ab"}
    sp.compare(few, interval_samples=100)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        systems = write_layers(Path(folder), options.layers, options.samples, options.units)
        load = os.getloadavg()
        with Readings(systems) as readings, memory_watched() as memory:
            wall, cpu = time.perf_counter(), time.process_time()
            table = sp.compare(systems, memory=MEMORY, interval_samples=drawn)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        predicted = sp.costs.predict(systems, memory=MEMORY, interval_samples=drawn)
    pairs = options.layers * (options.layers - 1) // 2
    row = {
        "layers": options.layers,
        "samples": options.samples,
        "units": options.units,
        "pairs": pairs,
        "interval_samples": drawn,
        "threads": options.threads,
        "wall_s": wall,
        "cpu_s": cpu,
        "predicted_cpu_s": predicted.seconds,
        "peak_bytes": memory.peak,
        "predicted_peak_bytes": predicted.memory,
        "times_read_min": min(readings.times()),
        "times_read_max": max(readings.times()),
        "predicted_times_read_max": max(predicted.reads.values()),
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
        assert memory.peak <= BYTES, f"more than {MEMORY}: {memory.peak / 1e9:.2f} GB"
        print(f"within {MINUTES} minutes and {MEMORY}")


if __name__ == "__main__":
    sys.exit(main())
