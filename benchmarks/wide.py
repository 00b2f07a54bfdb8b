"""Systems of more units than samples, from mapped float16 files, beside V, kernel ridge and scikit-learn, in one run.

V is one float32 product XX' of the wide system in memory, by the faster of numpy and torch. Times are CPU seconds on
one BLAS thread, minima over rounds that take turns. Values are held against independent float64 code before a time
counts.

    python benchmarks/wide.py                      # ten minutes
    python benchmarks/wide.py --units 15000        # two

Writes benchmarks/results/wide.{json,csv}. Ends in an assertion on ratios.
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
SAMPLES, TARGETS, LATENTS = 1_200, 90, 40
FRACTIONS = 10.0 ** (np.arange(-36, 13) / 4)
KERNELS = ["cka", "cka_debiased", "rsa"]
FOLDS = np.arange(SAMPLES) % 5
PERMUTATIONS = (10, 40)
# Looser than the goals (1.3, 1.2 and 5), as busy machines are.
FLOORS = {"kernels / V": 1.8, "ridge / kernel ridge": 1.5, "scikit-learn / ridge": 2.0}


def write(folder: Path, units: int) -> tuple[Path, Path]:
    """Write rectified responses that share latents, block by block, and targets of a recording's size and noise."""
    latents = np.random.default_rng(0).standard_normal((SAMPLES, LATENTS), dtype=np.float32)
    latents *= np.arange(1, LATENTS + 1, dtype=np.float32) ** -0.5
    files = []
    for number, (width, noise) in enumerate(((units, 1.0), (TARGETS, 3.0))):
        files.append(folder / f"{number}.npy")
        out = np.lib.format.open_memmap(files[-1], mode="w+", dtype=np.float16, shape=(SAMPLES, width))
        for start in range(0, width, 5_000):
            draw = np.random.default_rng([number, start])
            some = min(5_000, width - start)
            mixed = latents @ draw.standard_normal((LATENTS, some), dtype=np.float32)
            mixed += noise * draw.standard_normal((SAMPLES, some), dtype=np.float32)
            out[:, start : start + some] = np.maximum(mixed + 0.5, 0)
        out.flush()
    return files[0], files[1]


def about(kernel: np.ndarray, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel of training samples, and of test samples with them, about the training mean."""
    own, across = kernel[np.ix_(train, train)], kernel[np.ix_(test, train)]
    mean, whole = own.mean(axis=0), own.mean()
    return own - mean - mean[:, None] + whole, across - across.mean(axis=1, keepdims=True) - mean + whole


def kernel_ridge(x: np.ndarray, y: np.ndarray) -> float:
    """Return held-out r by one float32 Gram matrix and float64 eigenvectors, the penalty chosen on the other folds."""
    kernel = (x @ x.T).astype(np.float64)

    def predictions(train: np.ndarray, test: np.ndarray, fractions: np.ndarray) -> list[np.ndarray]:
        own, across = about(kernel, train, test)
        values, vectors = np.linalg.eigh(own)
        mean = y[train].mean(axis=0)
        turned, reached = vectors.T @ (y[train] - mean), across @ vectors
        alphas = fractions * values.sum() / len(train)
        return [reached @ (turned / (values + alpha)[:, None]) + mean for alpha in alphas]

    scores = []
    for fold in range(5):
        train, test = np.flatnonzero(fold != FOLDS), np.flatnonzero(fold == FOLDS)
        errors = np.zeros(len(FRACTIONS))
        for inner in set(range(5)) - {fold}:
            left = np.flatnonzero(inner == FOLDS)
            kept = np.flatnonzero((fold != FOLDS) & (inner != FOLDS))
            errors += [((p - y[left]) ** 2).sum() for p in predictions(kept, left, FRACTIONS)]
        (predicted,) = predictions(train, test, FRACTIONS[[errors.argmin()]])
        scores.append(pooled_r(predicted, y[test]))
    return float(np.mean(scores))


def pooled_r(predicted: np.ndarray, target: np.ndarray) -> float:
    p, t = (part - part.mean(axis=0) for part in (predicted, target))
    return float((p * t).sum() / np.sqrt((p**2).sum() * (t**2).sum()))


def peer(x: np.ndarray, y: np.ndarray) -> float:
    """Return held-out r of scikit-learn's RidgeCV (leave-one-out, the same number of penalties) fitted on each fold."""
    from sklearn.linear_model import RidgeCV

    scores = []
    for fold in range(5):
        train = fold != FOLDS
        alphas = FRACTIONS * ((x[train] - x[train].mean(axis=0)) ** 2).sum() / train.sum()
        fit = RidgeCV(alphas=alphas).fit(x[train], y[train])
        scores.append(pooled_r(fit.predict(x[~train]), y[~train]))
    return float(np.mean(scores))


def clock(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return CPU seconds and the value."""
    start = time.process_time()
    value = function()
    return time.process_time() - start, value


def measure(units: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Return one row: seconds of each work, ratios and memory, at one width."""
    import superpose as sp

    files = write(folder, units)
    systems = {name: np.load(file, mmap_mode="r") for name, file in zip("xy", files, strict=True)}

    def ours(metrics: list[str], permutations: int = 0) -> Any:
        how = {"predictors": ["x"], "targets": ["y"], "cv": FOLDS, "permutations": permutations}
        return sp.compare(systems, metrics=metrics, **how).set_index("metric").score

    with memory_watched() as held:
        ours([*KERNELS, "ridge_r"])
    import torch

    torch.set_num_threads(1)
    x, y = (np.asarray(system, dtype=np.float32) for system in systems.values())
    x -= x.mean(axis=0)
    tensor = torch.from_numpy(x)
    works: dict[str, Callable[[], Any]] = {
        "numpy": lambda: x @ x.T,
        "torch": lambda: tensor @ tensor.T,
        "kernels": lambda: ours(KERNELS),
        "ridge": lambda: ours(["ridge_r"]),
        "kernel ridge": lambda: kernel_ridge(x, y.astype(np.float64)),
        "scikit-learn": lambda: peer(x, y),
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    values: dict[str, Any] = {}
    for number in range(rounds):
        print(f"{units} units: round {number + 1} of {rounds}, load {os.getloadavg()[0]:.1f}", flush=True)
        for name, work in works.items():
            if name != "scikit-learn" or number == 0:
                taken, values[name] = clock(work)
                seconds[name].append(taken)
    best = {name: min(taken) for name, taken in seconds.items()}
    few, many = (min(clock(lambda: ours(["ridge_r"], count))[0] for _ in range(2)) for count in PERMUTATIONS)  # noqa: B023
    each = (many - few) / (PERMUTATIONS[1] - PERMUTATIONS[0])
    check(values, x, y)
    unit = min(best["numpy"], best["torch"])
    return {
        "units": units,
        "V_s": unit,
        **{f"{name}_s": taken for name, taken in best.items()},
        "kernels / V": best["kernels"] / unit,
        "ridge / V": best["ridge"] / unit,
        "ridge / kernel ridge": best["ridge"] / best["kernel ridge"],
        "scikit-learn / ridge": best["scikit-learn"] / best["ridge"],
        "999 permutations / ridge": (few + each * (999 - PERMUTATIONS[0])) / best["ridge"],
        "MB beside the files": (held.before + held.peak) / 1e6,
    }


def check(values: dict[str, Any], x: np.ndarray, y: np.ndarray) -> None:
    """Refuse times whose values are wrong."""
    a, b = (part.astype(np.float64) for part in (x, y - y.mean(axis=0)))
    k, l = (a @ a.T, b @ b.T)
    cka = (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())
    rsa = np.corrcoef(*(part[np.triu_indices(SAMPLES, 1)] for part in (k, l)))[0, 1]
    for what, found, expected in (
        ("cka", values["kernels"]["cka"], cka),
        ("rsa", values["kernels"]["rsa"], rsa),
        ("ridge_r", values["ridge"]["ridge_r"], values["kernel ridge"]),
    ):
        if not abs(found - expected) <= 1e-6:
            raise SystemExit(f"{what}: {found!r} is not the expected {expected!r}")


def main() -> None:
    """Measure, write the results, and hold the floors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, nargs="+", default=[15_000, 75_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results")
    options = parser.parse_args()
    clean_environment(HERE)
    rows = []
    for units in options.units:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(units, options.rounds, Path(folder)))
        print(json.dumps(rows[-1], indent=1), flush=True)
    options.out.mkdir(exist_ok=True)
    about = {
        "processor": processor(),
        "kernels": kernels(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
    }
    (options.out / "wide.json").write_text(json.dumps({**about, "rows": rows}, indent=1))
    with (options.out / "wide.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    missed = [
        f"{row['units']} units: {name} is {row[name]:.2f}, floor {floor}"
        for row in rows
        for name, floor in FLOORS.items()
        if (row[name] < floor if name.startswith("scikit") else row[name] > floor)
    ]
    if missed:
        raise SystemExit("; ".join(missed))


if __name__ == "__main__":
    main()
