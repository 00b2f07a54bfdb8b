"""How much alignment costs, in units of one matrix product, beside other packages.

U is one float32 product A'B of two arrays (samples × 768), by the faster of numpy and torch, timed right before
each call. Ours and the peers run in two processes of one BLAS thread that take turns, never at once; a time counts
only after the value agreed with an independent one. Ends in an assertion: RSA, CKA and debiased CKA cost at most
3.3 U, and all of it fits in 150 MiB over the data.

    python benchmarks/alignment.py [--fast] [--peers VENV | --no-peers] [--rounds 3] [--out DIR]

Without --peers, the packages of peers-requirements.txt are installed into a virtual environment in the temporary
folder, kept for the next run.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from machine import clean_environment, give_back, kernels, processor, resident
from sides import Worker, peers_python, serve, versions

HERE = Path(__file__).resolve()
REQUIREMENTS = HERE.with_name("peers-requirements.txt")
UNITS = 768
FLOOR = 3.3
MEMORY_FLOOR = 150
FLOOR_WORK = ("rsa", "cka", "cka_debiased")
# The peers that hold samples × samples matrices, or refit on every fold's rows, above this many samples.
LARGE = 10_000
# Short calls of ours are repeated this many times a round of the peers, so that a busy moment does not decide.
SHORT = 4
PACKAGES = ("numpy", "scipy", "torch", "superpose", "rsatoolbox", "scikit-learn", "ckatorch")

Work = dict[str, Callable[[], float]]


def pair(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two related systems, float32."""
    generator = np.random.default_rng(samples)
    x = generator.standard_normal((samples, UNITS), dtype=np.float32)
    y = generator.standard_normal((samples, UNITS), dtype=np.float32)
    x *= np.linspace(0.5, 2, UNITS, dtype=np.float32)
    y += x
    return x, y


def our_work(x: np.ndarray, y: np.ndarray) -> Work:
    """Return what superpose computes, by name."""
    import superpose as sp
    from superpose.metrics import CKA, CKA_DEBIASED, RSA
    from superpose.metrics.kernels import kernel_sums
    from superpose.moments import of_pair

    def together() -> float:
        sums = kernel_sums(of_pair(x, y))
        return float(sum(metric.score(sums) for metric in (CKA, CKA_DEBIASED, RSA)))

    return {
        "rsa": lambda: float(sp.rsa(x, y)),
        "cka": lambda: float(sp.cka(x, y)),
        "cka_debiased": lambda: float(sp.cka(x, y, debiased=True)),
        "all_three": together,
        "rsa_euclidean": lambda: float(sp.rsa(x, y, rdm="euclidean")),
        "ols_5_fold": lambda: float(sp.regression(x, y, average="units")),
        "ridge_5_fold": lambda: float(sp.regression(x, y, ridge=1.0, average="units")),
    }


def peer_work(x: np.ndarray, y: np.ndarray) -> Work:
    """Return what other packages compute, under the name of the same work."""
    from sklearn.linear_model import LinearRegression, Ridge
    from sklearn.model_selection import KFold

    def held_out(model: Any) -> float:
        scores = []
        for train, test in KFold(5).split(x):
            fitted = model.fit(x[train], y[train]).predict(x[test])
            a, b = fitted - fitted.mean(0), y[test] - y[test].mean(0)
            scores.append(((a * b).sum(0) / np.sqrt((a * a).sum(0) * (b * b).sum(0))).mean())
        return float(np.mean(scores))

    work: Work = {"ridge_5_fold": lambda: held_out(Ridge(alpha=1.0))}
    if len(x) > LARGE:
        return work

    import torch
    from ckatorch.core import cka_base
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, compare

    a, b = torch.from_numpy(x), torch.from_numpy(y)

    def distances() -> float:
        return float(compare(*(calc_rdm(Dataset(z), method="euclidean") for z in (x, y)), method="corr").item())

    return work | {
        "cka": lambda: float(cka_base(a, b)),
        "cka_debiased": lambda: float(cka_base(a, b, unbiased=True)),
        "rsa_euclidean": distances,
        "ols_5_fold": lambda: held_out(LinearRegression()),
    }


WORK = {"superpose": our_work, "peers": peer_work}
PEER_OF = {
    "cka": "ckatorch",
    "cka_debiased": "ckatorch",
    "rsa_euclidean": "rsatoolbox",
    "ols_5_fold": "scikit-learn LinearRegression",
    "ridge_5_fold": "scikit-learn Ridge",
}


def expected(samples: int) -> dict[str, float]:
    """Return the scores in float64, from the formulas of their papers on explicitly centred columns.

    CKA: Kornblith et al. 2019. Debiased: Song et al. 2012, Eq. (5). RSA: the correlation of the inner products of
    all pairs i < j, whose mean follows from the columns' sums.
    """
    x, y = pair(samples)
    mean_x, mean_y = (z.mean(0, dtype=np.float64) for z in (x, y))
    products = dict.fromkeys(("xy", "xx", "yy"), 0.0)
    norms: dict[str, list[np.ndarray]] = {"x": [], "y": []}
    for start in range(0, samples, 5_000):
        rows = {"x": x[start : start + 5_000] - mean_x, "y": y[start : start + 5_000] - mean_y}
        for key in products:
            products[key] = products[key] + rows[key[0]].T @ rows[key[1]]
        for name, z in rows.items():
            norms[name].append((z * z).sum(1))
    diagonal = {name: np.concatenate(parts) for name, parts in norms.items()}
    n, m = samples, samples * (samples - 1)

    def all_pairs(a: str, b: str) -> float:
        return float((products[a + b] ** 2).sum())

    def debiased(a: str, b: str) -> float:
        d, e = diagonal[a], diagonal[b]
        # Rows of the kernel without its diagonal sum to −d.
        return all_pairs(a, b) - d @ e + d.sum() * e.sum() / ((n - 1) * (n - 2)) - 2 * (d @ e) / (n - 2)

    def covariance(a: str, b: str) -> float:
        d, e = diagonal[a], diagonal[b]
        return all_pairs(a, b) - d @ e - d.sum() * e.sum() / m

    def cosine(product: Callable[[str, str], float]) -> float:
        return float(product("x", "y") / np.sqrt(product("x", "x") * product("y", "y")))

    scores = {"cka": cosine(all_pairs), "cka_debiased": cosine(debiased), "rsa": cosine(covariance)}
    return scores | {"all_three": sum(scores.values())}


def clock(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the value, wall seconds and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = function()
    return value, time.perf_counter() - wall, time.process_time() - cpu


def unit(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Time one product by every route, and return the faster route's wall and CPU seconds."""
    import torch

    a, b = torch.from_numpy(x), torch.from_numpy(y)
    times = [clock(route)[1:] for route in (lambda: x.T @ y, lambda: a.T @ b)]
    return {"unit_wall": min(t[0] for t in times), "unit_cpu": min(t[1] for t in times)}


def side(who: str) -> Callable[..., dict[str, Any]]:
    """Return what a process of that side answers: what it is, what it can do, or one timed call."""
    import torch

    torch.set_num_threads(1)
    held: dict[int, tuple[np.ndarray, np.ndarray, Work]] = {}
    unit(*pair(256))

    def data(samples: int) -> tuple[np.ndarray, np.ndarray, Work]:
        if samples not in held:
            held.clear()
            x, y = pair(samples)
            held[samples] = (x, y, WORK[who](x, y))
        return held[samples]

    def about() -> dict[str, Any]:
        return {"kernels": kernels(), "versions": versions(PACKAGES), "threads": torch.get_num_threads()}

    def works(samples: int) -> list[str]:
        return list(data(samples)[2])

    def call(samples: int, work: str) -> dict[str, float]:
        x, y, known = data(samples)
        answer = unit(x, y)
        answer["value"], answer["wall"], answer["cpu"] = clock(known[work])
        return answer

    answers: dict[str, Callable[..., Any]] = {"about": about, "works": works, "call": call}
    return lambda name, **arguments: answers[name](**arguments)


def measure_memory(samples: int) -> None:
    """Print by how many MiB the resident set peaks over the data, for each floor's work."""
    x, y = pair(samples)
    small = pair(64)
    for work in our_work(*small).values():
        work()
    work = our_work(x, y)
    peaks = {}
    for name in (*FLOOR_WORK, "all_three"):
        give_back()
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
        work[name]()
        peaks[name] = (resident("VmHWM") - before) / 2**20
    print(json.dumps(peaks))


def summary(samples: int, work: str, library: str, runs: list[dict[str, float]]) -> dict[str, Any]:
    """Reduce the rounds of one call to minima, medians and ratios to U."""
    row: dict[str, Any] = {"samples": samples, "work": work, "library": library, "rounds": len(runs)}
    row["value"] = runs[0]["value"]
    for clock_name in ("wall", "cpu"):
        for name, reduce in (("min", min), ("median", median)):
            call, one = (reduce([run[key + clock_name] for run in runs]) for key in ("", "unit_"))
            row |= {
                f"{clock_name}_{name}_s": call,
                f"u_{clock_name}_{name}_s": one,
                f"{clock_name}_{name}_ratio": call / one,
            }
    return row


def agree(samples: int, work: str, library: str, value: float, reference: float) -> None:
    """Refuse a time whose value is wrong."""
    if not abs(value - reference) <= 1e-5:
        raise SystemExit(f"{library} {work} at N = {samples}: {value!r} is not the expected {reference!r}")


def measure(samples: int, workers: dict[str, Worker], rounds: int) -> list[dict[str, Any]]:
    """Run every work of every library in alternating rounds, and return one row each."""
    reference = expected(samples)
    calls = [(work, who) for who, w in workers.items() for work in w.ask("works", samples=samples)]
    calls.sort(key=lambda call: call[0])
    runs: dict[tuple[str, str], list[dict[str, float]]] = {call: [] for call in calls}
    repeats = SHORT if samples <= LARGE else 1
    for number in range(rounds * repeats):
        print(f"N = {samples}: round {number + 1} of {rounds * repeats}, load {os.getloadavg()[0]:.1f}", flush=True)
        for work, who in calls:
            if who == "superpose" or number % repeats == 0:
                runs[work, who].append(workers[who].ask("call", samples=samples, work=work))
    rows = []
    for (work, who), results in runs.items():
        library = PEER_OF[work] if who == "peers" else who
        for result in results:
            # Regressions have no reference of their own here: ours and the peer's must agree.
            other = reference[work] if work in reference else runs[work, "superpose"][0]["value"]
            agree(samples, work, library, result["value"], other)
        rows.append(summary(samples, work, library, results))
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the ratios as lines of text."""
    columns = ("cpu_min_ratio", "cpu_median_ratio", "wall_min_ratio", "wall_median_ratio")
    lines = [
        f"{'N':>6}  {'work':<14}{'library':<30}" + "".join(f"{c.removesuffix('_ratio') + ' /U':>18}" for c in columns)
    ]
    for row in rows:
        numbers = "".join(f"{row[c]:>18.2f}" for c in columns)
        lines.append(f"{row['samples']:>6}  {row['work']:<14}{row['library']:<30}{numbers}")
    return "\n".join(lines)


def main() -> None:
    """Measure, write benchmarks/results/alignment.{json,csv}, and hold the floors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="N = 2,000 only, no memory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", metavar="VENV", help="a virtual environment that holds the peers")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results")
    parser.add_argument("--serve", choices=WORK, help=argparse.SUPPRESS)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    clean_environment(HERE)
    if options.serve:
        return serve(side, options.serve)
    if options.memory:
        return measure_memory(options.memory)

    load = [os.getloadavg()]
    workers = {"superpose": Worker(sys.executable, HERE, "superpose")}
    if not options.no_peers:
        workers["peers"] = Worker(peers_python(options.peers, REQUIREMENTS), HERE, "peers")
    about = {who: worker.ask("about") for who, worker in workers.items()}
    for who, facts in about.items():
        print(f"{who}: kernels {', '.join(facts['kernels'])}, {facts['threads']} thread; {facts['versions']}")
    sizes = (2_000,) if options.fast else (5_000, 10_000, 50_000)
    rows = [row for samples in sizes for row in measure(samples, workers, max(3, options.rounds))]
    for worker in workers.values():
        worker.close()
    memory = {}
    if not options.fast:
        for samples in sizes:
            command = [sys.executable, str(HERE), "--memory", str(samples)]
            memory[samples] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    load.append(os.getloadavg())

    options.out.mkdir(parents=True, exist_ok=True)
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform(), "load": load}
    report = {"machine": machine, "processes": about, "memory_mib": memory, "rows": rows}
    (options.out / "alignment.json").write_text(json.dumps(report, indent=2) + "\n")
    with (options.out / "alignment.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(table(rows))
    for samples, peaks in memory.items():
        print(f"{samples:>6}  peak over the data, MiB: " + ", ".join(f"{k} {v:.0f}" for k, v in peaks.items()))
    print(f"load before {load[0][0]:.1f}, after {load[1][0]:.1f}; {machine['processor']}")

    ours = {(row["samples"], row["work"]): row["cpu_min_ratio"] for row in rows if row["library"] == "superpose"}
    over = {key: round(ratio, 2) for key, ratio in ours.items() if key[1] in FLOOR_WORK and ratio > FLOOR}
    heavy = {(n, k): round(v) for n, peaks in memory.items() for k, v in peaks.items() if v > MEMORY_FLOOR}
    assert not over, f"more than {FLOOR} U: {over}"
    assert not heavy, f"more than {MEMORY_FLOOR} MiB over the data: {heavy}"
    print(f"{', '.join(FLOOR_WORK)} cost at most {FLOOR} U" + (f", within {MEMORY_FLOOR} MiB" if memory else ""))


if __name__ == "__main__":
    main()
