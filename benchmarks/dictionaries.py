"""How much a step of dictionary training costs, in units of one matrix product, beside other packages.

G is one float32 product that encodes a minibatch (4,096 × 768 units by 768 × 3,072 latents), by the faster of numpy
and torch. A step is everything that training does for one minibatch of a TopK dictionary, k = 32: the time of 2 S
steps less the time of S, over S, so that setting up does not count. Ours and the peers run in two processes of one
BLAS thread that take turns, never at once; no time counts before every library gave the same reconstruction from the
same weights. Further: held-out error after equal samples, and many tiny dictionaries, ours as one batch. Ends in
assertions, on CPU time.

    python benchmarks/dictionaries.py [--fast] [--peers VENV | --no-peers] [--rounds 3] [--out DIR]

--fast takes minibatches of 1,024, for which the floors in G do not hold, and asserts the others.
Without --peers, the packages of dictionary-peers-requirements.txt are installed into a virtual environment in the
temporary folder, kept for the next run.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from machine import clean_environment, kernels, processor
from sides import Worker, peers_python, serve, versions

HERE = Path(__file__).resolve()
REQUIREMENTS = HERE.with_name("dictionary-peers-requirements.txt")
OURS = "superpose"
# Ours with torch's product, which is the one that the peers use.
SAME_PRODUCT = "superpose, torch's product"
PEERS = ("sae-lens", "dictionary-learning", "overcomplete", "eai-sparsify")
PACKAGES = ("numpy", "torch", "superpose", "transformers", *PEERS)
# Imported at the top by dictionary-learning and overcomplete, and not used here.
UNUSED = ("circuitsvis", "cv2", "nnsight", "skimage", "timm", "torchvision", "umap", "zstandard")

STEP_LIMIT = 2.5
LEAD = {"sae-lens": 6.0, "dictionary-learning": 6.0, "overcomplete": 4.5, "eai-sparsify": 4.5}
LEAD_SAME_PRODUCT = {"sae-lens": 4.0, "dictionary-learning": 4.0, "overcomplete": 3.0, "eai-sparsify": 3.0}
TINY_LEAD = 3.0
FVU_LIMIT = 1.01

# S for a step's time: ours and the peers'.
STEPS = {True: 12, False: 2}
TINY_STEPS = {True: 60, False: 60}
RATE = 1e-3
RATES = (1e-3, 3e-3, 1e-2)
QUALITY_STEPS = 800
WARMUP = 0.05


@dataclass(frozen=True)
class Size:
    """One training problem; seeds are independent dictionaries, 0 where there is one without a leading axis."""

    units: int
    latents: int
    k: int
    batch: int
    seeds: int = 0


LARGE = Size(768, 3_072, 32, 4_096)
SMALL = Size(128, 512, 8, 512)
TINY = [Size(units, 64, 4, 256, seeds=10) for units in (8, 12, 16, 24, 32, 48, 64, 64)]


def activity(size: Size, rows: int, seed: int) -> np.ndarray:
    """Return sums of few of 2 × latents directions, whose frequencies follow a power law, with a little noise.

    Centred, with a mean square of one; the directions depend on the width alone, so that seeds give unseen samples.
    """
    world, draw = np.random.default_rng(size.units), np.random.default_rng((size.units, seed))
    sources, active = 2 * size.latents, 2 * size.k
    directions = world.standard_normal((sources, size.units), dtype=np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    frequencies = np.arange(1, sources + 1) ** -0.7
    chosen = draw.choice(sources, (rows, active), p=frequencies / frequencies.sum())
    amounts = draw.exponential(1, (rows, active)).astype(np.float32)
    x = 0.05 * draw.standard_normal((rows, size.units), dtype=np.float32)
    for column in range(active):
        x += amounts[:, column, None] * directions[chosen[:, column]]
    x -= x.mean(0)
    x /= np.sqrt(np.square(x).mean())
    return x


@functools.cache
def training_rows(size: Size) -> np.ndarray:
    """Return what a dictionary is trained on, (rows, units) or (seeds, rows, units)."""
    rows = 16 * size.batch
    return np.stack([activity(size, rows, i) for i in range(size.seeds)]) if size.seeds else activity(size, rows, 0)


def minibatches(x: np.ndarray, size: Size, steps: int) -> Iterator[Any]:
    """Yield the same rows as ours are trained on."""
    import torch

    for step in range(steps):
        draw = np.random.default_rng(np.random.SeedSequence((0, step)))
        yield torch.from_numpy(x[np.sort(draw.integers(0, len(x), size.batch))])


@dataclass
class Trained:
    """A dictionary that has been trained: how it reconstructs, and how given rows are put in, tied and unbiased."""

    reconstruct: Callable[[Any], Any]
    place: Callable[[Any], None]


Engine = Callable[[np.ndarray, Size, int, float], Trained]


def our_engine(x: np.ndarray, size: Size, steps: int, rate: float) -> Trained:
    """Train by superpose, with everything at its default."""
    import torch

    from superpose.dictionaries.losses import reconstruction
    from superpose.dictionaries.sae import SparseAutoencoder
    from superpose.dictionaries.sparsity import TopK
    from superpose.dictionaries.training import fit

    repeats = (size.seeds,) if size.seeds else ()
    draw = torch.Generator().manual_seed(0)
    sae = SparseAutoencoder(size.units, size.latents, TopK(size.k), repeats=repeats, generator=draw)
    if steps:
        fit(sae, reconstruction, x, steps=steps, batch=size.batch, learning_rate=rate, warmup=WARMUP)

    def place(rows: Any) -> None:
        for parameter in (sae.encoder, sae.dictionary):
            parameter.data.copy_(rows)

    return Trained(lambda y: sae.decode(sae.encode(y)), place)


def torch_product(x: np.ndarray, size: Size, steps: int, rate: float) -> Trained:
    """Train by superpose with the product that torch comes with."""
    from superpose.numerics import products

    fastest, products.route = products.route, lambda: "torch"
    try:
        return our_engine(x, size, steps, rate)
    finally:
        products.route = fastest


def sae_lens(x: np.ndarray, size: Size, steps: int, rate: float) -> Trained:
    """Train by the step of SAELens's own trainer."""
    from sae_lens.config import SAETrainerConfig
    from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.training.sae_trainer import SAETrainer

    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=size.units, d_sae=size.latents, k=size.k))
    if steps:
        settings = SAETrainerConfig(
            total_training_samples=steps * size.batch, train_batch_size_samples=size.batch, lr=rate, lr_end=0.0,
            lr_scheduler_name="cosineannealing", lr_warm_up_steps=warmup(steps),
        )  # fmt: skip
        trainer = SAETrainer(settings, sae, iter(()))
        for batch in minibatches(x, size, steps):
            trainer.step(batch)
            trainer.n_training_steps += 1

    def place(rows: Any) -> None:
        sae.W_enc.data.copy_(rows.T)
        sae.W_dec.data.copy_(rows)

    return Trained(sae, place)


def dictionary_learning(x: np.ndarray, size: Size, steps: int, rate: float) -> Trained:
    """Train by the update of dictionary_learning's own trainer."""
    from dictionary_learning.trainers.top_k import TopKTrainer

    trainer = TopKTrainer(
        steps=max(steps, 3), activation_dim=size.units, dict_size=size.latents, k=size.k, layer=0, lm_name="", lr=rate,
        warmup_steps=warmup(steps), decay_start=warmup(steps) + 1, device="cpu",
    )  # fmt: skip
    for step, batch in enumerate(minibatches(x, size, steps)):
        trainer.update(step, batch)

    def place(rows: Any) -> None:
        trainer.ae.encoder.weight.data.copy_(rows)
        trainer.ae.decoder.weight.data.copy_(rows.T)

    return Trained(trainer.ae, place)


def overcomplete(x: np.ndarray, size: Size, steps: int, rate: float) -> Trained:
    """Train by overcomplete's own loop, without its monitoring, and its auxiliary loss for TopK."""
    import torch
    from overcomplete.sae import CosineScheduler, TopKSAE, train_sae
    from overcomplete.sae.losses import top_k_auxiliary_loss

    sae = TopKSAE(size.units, size.latents, top_k=size.k)
    if steps:
        optimizer = torch.optim.Adam(sae.parameters(), lr=rate)
        schedule = CosineScheduler(optimizer, rate, 0.0, steps + 1, warmup(steps))
        data = minibatches(x, size, steps)
        train_sae(sae, data, top_k_auxiliary_loss, optimizer, schedule, nb_epochs=1, monitoring=0)

    def place(rows: Any) -> None:
        linear = sae.encoder.final_block[0]
        linear.weight.data.copy_(rows)
        linear.bias.data.zero_()
        sae.dictionary._weights.data.copy_(rows)

    return Trained(lambda y: sae(y)[2], place)


def eai_sparsify(x: np.ndarray, size: Size, steps: int, rate: float) -> Trained:
    """Train by what sparsify's trainer does for one module and batch, with its Adam.

    Its trainer runs inside a language model; these are its lines between the activity and the next.
    """
    import torch
    from sparsify import SparseCoder, SparseCoderConfig
    from transformers import get_linear_schedule_with_warmup

    coder = SparseCoder(size.units, SparseCoderConfig(num_latents=size.latents, k=size.k), dtype=torch.float32)
    optimizer = torch.optim.Adam(coder.parameters(), lr=rate)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup(steps), steps)
    silent = torch.zeros(size.latents, dtype=torch.long)
    for step, batch in enumerate(minibatches(x, size, steps)):
        if not step:
            coder.b_dec.data = batch.mean(0)
        coder.set_decoder_norm_to_unit_norm()
        output = coder(batch)
        fired = torch.zeros_like(silent, dtype=torch.bool)
        fired[output.latent_indices.flatten()] = True
        output.fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        silent += len(batch)
        silent[fired] = 0

    def place(rows: Any) -> None:
        coder.encoder.weight.data.copy_(rows)
        coder.W_dec.data.copy_(rows)

    return Trained(lambda y: coder(y).sae_out, place)


ENGINES: dict[str, Engine] = {
    OURS: our_engine,
    SAME_PRODUCT: torch_product,
    "sae-lens": sae_lens,
    "dictionary-learning": dictionary_learning,
    "overcomplete": overcomplete,
    "eai-sparsify": eai_sparsify,
}


def warmup(steps: int) -> int:
    """Return over how many steps a peer's rate rises."""
    return max(1, round(WARMUP * steps))


def import_peers() -> None:
    """Import the peers, with empty stand-ins for what two of them import and do not use here."""
    from unittest.mock import MagicMock

    import matplotlib as mpl
    import matplotlib.cm
    import sae_lens  # noqa: F401
    import sparsify  # noqa: F401

    sys.modules |= {name: MagicMock() for name in UNUSED}
    # Removed from matplotlib, and called while overcomplete is imported.
    mpl.cm.get_cmap = mpl.colormaps.get_cmap


def fvu(trained: Trained, x: Any) -> float:
    """Return the share of the variance of x that its reconstruction leaves."""
    import torch

    with torch.no_grad():
        error = (x - trained.reconstruct(x)).square().sum()
    return float(error / (x - x.mean(0)).square().sum())


def unit(size: Size) -> dict[str, float]:
    """Time one encode product by every route, and return the faster route's wall and CPU seconds."""
    import torch

    x, weight = training_rows(size)[: size.batch], initial(size).numpy()
    a, b = torch.from_numpy(x), torch.from_numpy(weight)
    times = [clock(route) for route in (lambda: x @ weight.T, lambda: a @ b.T) for _ in range(3)]
    return {key: min(t[key] for t in times) for key in times[0]}


def step(library: str, size: Size, count: int) -> dict[str, float]:
    """Time a training of as many steps, from nothing."""
    x = training_rows(size)
    x = x[0] if size.seeds and library in PEERS else x
    return clock(lambda: ENGINES[library](x, size, count, RATE))


def value(library: str, size: Size) -> float:
    """Return the held-out FVU of given weights."""
    import torch

    trained = ENGINES[library](training_rows(size)[: size.batch], size, 0, RATE)
    trained.place(initial(size))
    return fvu(trained, torch.from_numpy(activity(size, size.batch, 1)))


def quality(library: str, size: Size, count: int, rate: float) -> float:
    """Return the held-out FVU after as many steps."""
    import torch

    trained = ENGINES[library](training_rows(size), size, count, rate)
    return fvu(trained, torch.from_numpy(activity(size, 8 * size.batch, 1)))


def initial(size: Size) -> Any:
    """Return random rows of unit norm, (latents, units)."""
    import torch

    rows = torch.randn(size.latents, size.units, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.normalize(rows, dim=1)


def about() -> dict[str, Any]:
    """Return the versions, kernels and threads of this process."""
    import torch

    return {"kernels": kernels(), "threads": torch.get_num_threads(), "versions": versions(PACKAGES)}


def route() -> str:
    """Return the library that multiplies for ours."""
    from superpose.numerics import products

    return products.route()


WORK: dict[str, Callable[..., Any]] = {
    "about": about,
    "route": route,
    "unit": unit,
    "step": step,
    "value": value,
    "quality": quality,
}


def clock(function: Callable[[], Any]) -> dict[str, float]:
    """Return the wall and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def side(who: str) -> Callable[..., Any]:
    """Return what a process of that side answers: a name of WORK, done."""
    import torch

    torch.set_num_threads(1)
    if who == "peers":
        import_peers()

    def answer(name: str, size: dict[str, int] | None = None, **arguments: Any) -> Any:
        torch.manual_seed(0)
        return WORK[name](**arguments, **({} if size is None else {"size": Size(**size)}))

    return answer


Times = dict[tuple[str, int, int], list[dict[str, float]]]


def measure(workers: dict[str, Worker], sizes: list[Size], steps: dict[bool, int], rounds: int) -> Times:
    """Time S and 2 S steps of every library at every size, in alternating rounds."""
    times: Times = {}
    for size in sizes:
        for library, worker in workers.items():
            # Imports, data and the first use of every kernel are no part of a training.
            worker.ask("step", size=asdict(size), library=library, count=2)
    for number in range(rounds):
        print(f"{sizes[0].units} units: round {number + 1} of {rounds}, load {os.getloadavg()[0]:.1f}", flush=True)
        for index, size in enumerate(sizes):
            for library, worker in workers.items():
                count = steps[library not in PEERS]
                for times_count in (1, 2):
                    took = worker.ask("step", size=asdict(size), library=library, count=times_count * count)
                    times.setdefault((library, index, times_count), []).append(took)
    return times


def summary(times: Times, sizes: list[Size], steps: dict[bool, int]) -> dict[str, dict[str, float]]:
    """Return the seconds of a step of one dictionary, added up over the sizes, for every library."""
    found: dict[str, dict[str, float]] = {}
    for library in dict.fromkeys(key[0] for key in times):
        row = {}
        for name, reduce in (("min", min), ("median", median)):
            for kind in ("cpu", "wall"):
                total = 0.0
                for index, size in enumerate(sizes):
                    once, twice = (reduce([t[kind] for t in times[library, index, count]]) for count in (1, 2))
                    dictionaries = 1 if library in PEERS else max(1, size.seeds)
                    total += (twice - once) / steps[library not in PEERS] / dictionaries
                row[f"{kind}_{name}_s"] = total
        found[library] = row
    return found


def compare_quality(workers: dict[str, Worker], steps: int) -> dict[str, dict[str, float]]:
    """Return the held-out FVU of every library at every rate."""
    found = {}
    for library, worker in workers.items():
        found[library] = {
            str(rate): worker.ask("quality", size=asdict(SMALL), library=library, count=steps, rate=rate)
            for rate in RATES
        }
        print(f"{library}: FVU " + ", ".join(f"{v:.4f} at {r}" for r, v in found[library].items()), flush=True)
    return found


def agree(workers: dict[str, Worker]) -> dict[str, float]:
    """Refuse to time what does not give the same reconstruction."""
    values = {library: worker.ask("value", size=asdict(SMALL), library=library) for library, worker in workers.items()}
    wrong = {library: value for library, value in values.items() if not abs(value - values[OURS]) <= 1e-5}
    if wrong:
        raise SystemExit(f"of the same weights, {OURS} has FVU {values[OURS]:.6f}, and {wrong}")
    return values


def failures(rows: list[dict[str, Any]], best: dict[str, float], fast: bool) -> list[str]:
    """Return each floor that was missed, with its number."""
    cost = {(row["work"], row["library"]): row["cpu_min_s"] for row in rows}
    step_g = next(row["cpu_min_g"] for row in rows if (row["work"], row["library"]) == ("step", OURS))
    missed = [] if fast or step_g <= STEP_LIMIT else [f"a step costs {step_g:.2f} G, more than {STEP_LIMIT}"]
    peers = [library for library in PEERS if ("step", library) in cost]
    for ours, floors in ((OURS, LEAD), (SAME_PRODUCT, LEAD_SAME_PRODUCT)):
        for peer in () if fast else peers:
            lead = cost["step", peer] / cost["step", ours]
            if lead < floors[peer]:
                missed.append(f"{peer} takes {lead:.2f} × the step of {ours}, less than {floors[peer]}")
    if peers:
        fastest = min(peers, key=lambda peer: cost["tiny", peer])
        lead = cost["tiny", fastest] / cost["tiny", OURS]
        if lead < TINY_LEAD:
            missed.append(f"{fastest} takes {lead:.2f} × as long for tiny dictionaries, less than {TINY_LEAD}")
        leader = min(peers, key=lambda peer: best[peer])
        if best[OURS] > FVU_LIMIT * best[leader]:
            missed.append(f"held-out FVU {best[OURS]:.4f}, more than {FVU_LIMIT} × {best[leader]:.4f} of {leader}")
    return missed


def table(rows: list[dict[str, Any]], best: dict[str, float]) -> str:
    """Return the results as lines of text."""
    ours = {row["work"]: row["cpu_min_s"] for row in rows if row["library"] == OURS}
    lines = [f"{'work':<6}{'library':<28}{'CPU ms':>10}{'median':>10}{'wall ms':>10}{'G':>8}{'× ours':>8}{'FVU':>9}"]
    for row in rows:
        numbers = "".join(f"{1000 * row[key]:>10.3g}" for key in ("cpu_min_s", "cpu_median_s", "wall_min_s"))
        ratios = f"{row['cpu_min_g']:>8.3g}{row['cpu_min_s'] / ours[row['work']]:>8.2f}"
        quality = f"{best[row['library']]:>9.4f}" if row["work"] == "step" and row["library"] in best else ""
        lines.append(f"{row['work']:<6}{row['library']:<28}{numbers}{ratios}{quality}")
    return "\n".join(lines)


def main() -> None:
    """Measure, write benchmarks/results/dictionaries.{json,csv}, and hold the floors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="minibatches of 1,024, shorter trainings")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", metavar="VENV", help="a virtual environment that holds the peers")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results")
    parser.add_argument("--serve", choices=(OURS, "peers"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    clean_environment(HERE)
    if options.serve:
        return serve(side, options.serve)

    load = [os.getloadavg()]
    large = Size(LARGE.units, LARGE.latents, LARGE.k, 1_024) if options.fast else LARGE
    ours = Worker(sys.executable, HERE, OURS)
    workers = {OURS: ours}
    if not options.no_peers:
        workers |= dict.fromkeys(PEERS, Worker(peers_python(options.peers, REQUIREMENTS), HERE, "peers"))
    facts = {library: workers[library].ask("about") for library in (OURS, *PEERS[:1]) if library in workers}
    for library, fact in facts.items():
        print(f"{library}: kernels {', '.join(fact['kernels'])}, {fact['threads']} thread; {fact['versions']}")
    print(f"{OURS}: products by {ours.ask('route')}")
    values = agree(workers)

    units = [ours.ask("unit", size=asdict(large)) for _ in range(options.rounds)]
    step_times = measure(workers | {SAME_PRODUCT: ours}, [large], STEPS, options.rounds)
    units += [ours.ask("unit", size=asdict(large)) for _ in range(options.rounds)]
    tiny_times = measure(workers, TINY, TINY_STEPS, options.rounds)
    by_rate = compare_quality(workers, QUALITY_STEPS // 3 if options.fast else QUALITY_STEPS)
    for worker in set(workers.values()):
        worker.close()
    load.append(os.getloadavg())

    g = {f"{kind}_{name}": reduce([u[kind] for u in units])
         for name, reduce in (("min", min), ("median", median)) for kind in ("cpu", "wall")}  # fmt: skip
    rows = []
    for work, times, sizes, steps in (("step", step_times, [large], STEPS), ("tiny", tiny_times, TINY, TINY_STEPS)):
        for library, row in summary(times, sizes, steps).items():
            in_g = {f"{key}_g": row[f"{key}_s"] / unit_seconds for key, unit_seconds in g.items()}
            rows.append({"work": work, "library": library, "rounds": options.rounds, **row, **in_g})
    best = {library: min(rates.values()) for library, rates in by_rate.items()}

    options.out.mkdir(parents=True, exist_ok=True)
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform(), "load": load}
    report = {
        "machine": machine, "processes": facts, "batch": large.batch, "g_s": g, "same_weights_fvu": values,
        "held_out_fvu": by_rate, "rows": rows,
    }  # fmt: skip
    (options.out / "dictionaries.json").write_text(json.dumps(report, indent=2) + "\n")
    with (options.out / "dictionaries.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(table(rows, best))
    print(f"G = {1000 * g['cpu_min']:.0f} ms; load before {load[0][0]:.1f}, after {load[1][0]:.1f}; {processor()}")

    missed = failures(rows, best, options.fast)
    assert not missed, "; ".join(missed)
    print("every floor holds")


if __name__ == "__main__":
    main()
