"""Cost curves of one pair: samples from a thousand to a million, units from 64 to 4,096, by files.

RSA, CKA, debiased CKA and held-out least squares (r, both directions) of two float16 files, beside the floor (the two
matrix products per pair that the sums and one direction's rows need) and beside two packages, ckatorch (CKA) and
rsatoolbox (RSA), which hold samples × samples matrices. Each point is a process of its own, of one thread, with a
limit of memory and of time; what exceeds either is a row that says so. Writes CSV, JSON and a picture.

    python benchmarks/curves.py                    # at most sixteen minutes
    python benchmarks/curves.py --fast             # four points: under a minute
    python benchmarks/curves.py --peers VENV | --no-peers
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import clean_environment, kernels, memory_watched, processor, resident
from sides import peers_python

HERE = Path(__file__).resolve()
REQUIREMENTS = HERE.with_name("peers-requirements.txt")
GIB = 2**30
# Of address space beyond what imports take, and of seconds, for one point.
LIMIT_BYTES, LIMIT_SECONDS = 8 * GIB, 120
# All points together end by then: a point that would begin later is left out.
BUDGET_SECONDS = 15 * 60
SAMPLES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
UNITS = (64, 256, 768, 2048, 4096)
FIXED_SAMPLES, FIXED_UNITS = 10_000, 768
INTERVALS = 1_000
LIBRARIES = ("floor", "superpose", "ckatorch", "rsatoolbox")


def points(fast: bool) -> list[tuple[int, int]]:
    """Return (samples, units), the smallest first, so that those left out are the largest."""
    if fast:
        return [(1_000, 256), (4_000, 256), (16_000, 256), (4_000, 64)]
    found = [(n, FIXED_UNITS) for n in SAMPLES] + [(FIXED_SAMPLES, d) for d in UNITS if d != FIXED_UNITS]
    return sorted(found, key=lambda point: point[0] * point[1] ** 2)


def write(folder: Path, samples: int, units: int) -> list[Path]:
    """Write two related systems as float16 files."""
    mixing = np.random.default_rng(0).standard_normal((2, 32, units), dtype=np.float32)
    paths = []
    for side in range(2):
        path = folder / f"{samples}x{units}-{side}.npy"
        paths.append(path)
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(samples, units))
        for start in range(0, samples, 20_000):
            rows = min(20_000, samples - start)
            latents = np.random.default_rng([1, start]).standard_normal((rows, 32), dtype=np.float32)
            noise = np.random.default_rng([2, side, start]).standard_normal((rows, units), dtype=np.float32)
            out[start : start + rows] = latents @ mixing[side] + 4 * noise
        out.flush()
    return paths


def floor(x: np.ndarray, y: np.ndarray) -> None:
    """Two products of all rows, by chunks, and nothing else."""
    total = np.zeros((x.shape[1], y.shape[1]), np.float32)
    rows = 4096
    a, b = (np.array(z[:rows], dtype=np.float32) for z in (x, y))
    for start in range(0, len(x), rows):
        count = min(rows, len(x) - start)
        for _ in range(2):
            np.matmul(a[:count].T, b[:count], out=total)


def ours(x: np.ndarray, y: np.ndarray) -> None:
    """All metrics in one call."""
    import superpose as sp

    metrics = [sp.metrics.RSA, sp.metrics.CKA, sp.metrics.CKA_DEBIASED, sp.metrics.OLS_R]
    sp.compare({"x": x, "y": y}, metrics=metrics, interval_samples=INTERVALS, permutations=0)


def by_ckatorch(x: np.ndarray, y: np.ndarray) -> None:
    """CKA alone."""
    import torch
    from ckatorch.core import cka_base

    cka_base(*(torch.from_numpy(np.array(z, dtype=np.float32)) for z in (x, y)))


def by_rsatoolbox(x: np.ndarray, y: np.ndarray) -> None:
    """RSA of squared Euclidean distances alone."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, compare

    compare(*(calc_rdm(Dataset(np.array(z, dtype=np.float32)), method="euclidean") for z in (x, y)), method="corr")


WORK = {"floor": floor, "superpose": ours, "ckatorch": by_ckatorch, "rsatoolbox": by_rsatoolbox}


def point(library: str, files: list[str]) -> None:
    """Print what one point takes in this process, after a small call that imports what it needs."""
    x, y = (np.load(path, mmap_mode="r") for path in files)
    # float16 files of some size are widened by torch.
    import torch  # noqa: F401

    small = np.random.default_rng(0).standard_normal((200, 16)).astype(np.float16)
    WORK[library](small, small[:, ::-1])
    resource.setrlimit(resource.RLIMIT_AS, (resident("VmSize") + LIMIT_BYTES,) * 2)
    with memory_watched() as memory:
        wall, cpu = time.perf_counter(), time.thread_time()
        WORK[library](x, y)
        wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "peak_bytes": memory.peak, "why": ""}))


def measured(python: str, library: str, files: list[Path]) -> dict[str, Any]:
    """Return what one point takes in a process of its own, or why it has no time."""
    command = [python, "-W", "ignore", str(HERE), "--point", library, *map(str, files)]
    nothing = {"wall_s": float("nan"), "cpu_s": float("nan"), "peak_bytes": float("nan")}
    try:
        # What starting takes is no part of the limit.
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS + 15)
    except subprocess.TimeoutExpired:
        return nothing | {"why": f"more than {LIMIT_SECONDS} s"}
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    last = (done.stderr.strip().splitlines() or ["killed"])[-1]
    exhausted = "emory" in done.stderr or "allocate" in done.stderr or done.returncode < 0
    return nothing | {"why": f"more than {LIMIT_BYTES // GIB} GiB" if exhausted else last[:200]}


def drawn(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw time and memory against samples, and time against units."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fixed_units = sorted({row["units"] for row in rows}, key=lambda d: -sum(row["units"] == d for row in rows))[0]
    fixed_samples = sorted({row["samples"] for row in rows}, key=lambda n: -sum(row["samples"] == n for row in rows))[0]
    panels = (
        ("samples", "cpu_s", "CPU seconds", {"units": fixed_units}),
        ("samples", "peak_bytes", "peak memory over the files (bytes)", {"units": fixed_units}),
        ("units", "cpu_s", "CPU seconds", {"samples": fixed_samples}),
    )
    names = {
        "floor": "two products",
        "superpose": "superpose: RSA, CKA, debiased CKA, regressions",
        "ckatorch": "ckatorch: CKA",
        "rsatoolbox": "rsatoolbox: RSA",
    }
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.2), constrained_layout=True)
    for axis, (across, up, label, fixed) in zip(axes, panels, strict=True):
        (name, value), *_ = fixed.items()
        for library in LIBRARIES:
            if up == "peak_bytes" and library == "floor":
                continue
            chosen = [row for row in rows if row["library"] == library and row[name] == value]
            chosen = sorted((row for row in chosen if np.isfinite(row[up])), key=lambda row: row[across])
            if chosen:
                style = {"color": "grey", "linestyle": "--"} if library == "floor" else {"marker": "o"}
                axis.plot([row[across] for row in chosen], [row[up] for row in chosen], label=names[library], **style)
        axis.set(xscale="log", yscale="log", xlabel=across, ylabel=label, title=f"{value:,} {name}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(LIBRARIES), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, and write benchmarks/results/curves.{json,csv} and docs/figures/curves.png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--peers", metavar="VENV", help="a virtual environment that holds the peers")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results")
    parser.add_argument(
        "--picture", type=Path, help="by default docs/figures/curves.png, or beside the table with --fast"
    )
    parser.add_argument("--point", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    clean_environment(HERE)
    if options.point:
        return point(options.point[0], options.point[1:])

    load = [os.getloadavg()]
    pythons = dict.fromkeys(("floor", "superpose"), sys.executable)
    if not options.no_peers:
        pythons |= dict.fromkeys(("ckatorch", "rsatoolbox"), peers_python(options.peers, REQUIREMENTS))
    began = time.perf_counter()
    rows: list[dict[str, Any]] = []
    # A library that failed at fewer samples, at the same units, is not tried at more.
    failed: dict[tuple[str, int], str] = {}
    for samples, units in points(options.fast):
        with tempfile.TemporaryDirectory() as folder:
            files = write(Path(folder), samples, units)
            for library, python in pythons.items():
                known = {"samples": samples, "units": units, "library": library}
                late = time.perf_counter() - began > BUDGET_SECONDS
                why = failed.get((library, units)) or ("left out: no time" if late else None)
                if why:
                    result = dict.fromkeys(("wall_s", "cpu_s", "peak_bytes"), float("nan")) | {"why": why}
                else:
                    result = measured(python, library, files)
                if result["why"]:
                    failed[library, units] = result["why"]
                rows.append(known | result)
                print(
                    *(f"{value:.4g}" if isinstance(value, float) else value for value in rows[-1].values()), flush=True
                )
    load.append(os.getloadavg())
    options.out.mkdir(parents=True, exist_ok=True)
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform(), "load": load}
    limits = {"bytes": LIMIT_BYTES, "seconds": LIMIT_SECONDS}
    report = {"machine": machine, "kernels": kernels(), "limits": limits, "rows": rows}
    (options.out / "curves.json").write_text(json.dumps(report, indent=2) + "\n")
    with (options.out / "curves.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    figures = HERE.parent.parent / "docs" / "figures"
    drawn(rows, options.picture or (options.out if options.fast else figures) / "curves.png")
    wrong = [row for row in rows if row["library"] == "superpose" and row["why"].endswith("GiB")]
    assert not wrong, f"points that did not fit: {wrong}"


if __name__ == "__main__":
    main()
