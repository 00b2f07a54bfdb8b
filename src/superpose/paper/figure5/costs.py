"""What Figure 5 will cost: floating-point operations counted from sizes, hours from how fast this machine does them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import nn

from superpose.comparison import compare
from superpose.dictionaries.losses import joint
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.dictionaries.sparsity import TopK
from superpose.dictionaries.training import PRESETS, fit
from superpose.examples.encoders import LITE0_UNITS
from superpose.paper.figure5.inputs import listed, recorded_layers
from superpose.paper.figure5.measurement import METRICS
from superpose.paper.figure5.points import named
from superpose.running.timing import timed
from superpose.store import trailing
from superpose.studies.study import Study

# Published float32 rate of an NVIDIA H100 SXM, operations a second, and the share of it that is expected.
GPU_RATE, GPU_SHARE = 67e12, 1 / 3
ON_GPU = ("trained", "coded")
# What is done with the systems of a cell and their pairs: trainings of one system (in a joint dictionary one for each
# of its systems), codings of all rows, scorings of pairs of codes and of pairs of units, regressions on kernels.
WORK: Mapping[str, Callable[[int, int], dict[str, int]]] = {
    "pair": lambda n, pairs: {"trained": 2, "coded": 2, "codes": 1, "units": 2, "kernels": 0},
    "together": lambda n, pairs: {
        "trained": 2 * n, "coded": 2 * n, "codes": 2 * pairs, "units": 3 * pairs, "kernels": 0,
    },
    "independent": lambda n, pairs: {"trained": n, "coded": n, "codes": pairs, "units": 2 * pairs, "kernels": 0},
    "held against": lambda n, pairs: {"trained": 18, "coded": 28, "codes": 14, "units": 13, "kernels": 2},
}  # fmt: skip
LANDMARKS = 4096
# Random activity that seconds are measured on.
FEW, MANY, BATCH, STEPS = 4096, 12288, 512, 12


def costs(study: Study) -> pd.DataFrame:
    """Return what the cells of Figure 5 cost, by kind of work.

    Parameters
    ----------
    study : Study
        Of `superpose.paper.figure5.study`.

    Returns
    -------
    pandas.DataFrame
        work; cells; flops, of matrix products counted as dense ones; hours, of one core of this machine, from seconds
        that are measured here on random activity of the same widths; hours_gpu, with training and coding on one NVIDIA
        H100 at a third of its published float32 rate and scoring on one core here.
    """
    measured: dict[tuple[int, int, int, str], dict[str, tuple[float, float]]] = {}
    rows = []
    for cell in study.cells:
        units = _units(cell)
        # One width stands for all of a cell: their mean.
        sizes = (round(float(np.mean(units))), cell["expansion"] * max(units), cell["active"], cell["mode"])
        if sizes not in measured:
            measured[sizes] = _seconds(*sizes)
        count = WORK[cell["work"]](len(units), len(units) * (len(units) - 1) // 2)
        amount = _amounts(cell)
        seconds = {name: count[name] * (fixed + each * amount[name]) for name, (fixed, each) in measured[sizes].items()}
        flops = {name: count[name] * each for name, each in _operations(cell, *sizes[:2]).items()}
        on_gpu = sum(flops[name] for name in ON_GPU) / (GPU_RATE * GPU_SHARE)
        here = sum(time for name, time in seconds.items() if name not in ON_GPU)
        rows.append(
            {
                "work": cell["work"],
                "cells": 1,
                "flops": sum(flops.values()),
                "hours": sum(seconds.values()) / 3600,
                "hours_gpu": (on_gpu + here) / 3600,
            }
        )
    return pd.DataFrame(rows).groupby("work", sort=False, as_index=False).sum()


def _amounts(cell: Mapping[str, Any]) -> dict[str, float]:
    """Return how many rows each part of a cell's work goes through."""
    rows = cell["samples"] + cell["held_out"]
    batch = min(cell["batch"] or PRESETS[cell["preset"]][1]["batch"], cell["samples"])
    return {"trained": cell["steps"] * batch, "coded": rows, "codes": rows, "units": rows, "kernels": rows}


def _operations(cell: Mapping[str, Any], units: int, latents: int) -> dict[str, float]:
    """Return the multiplications and additions of each part of a cell's work."""
    amount = _amounts(cell)
    # One encoding and one decoding of a row; the products of a pair's moments, and its solutions in both directions.
    row = 4 * units * latents
    return {
        "trained": amount["trained"] * row,
        "coded": amount["coded"] * row,
        "codes": 6 * amount["codes"] * latents**2 + 6 * latents**3,
        "units": 6 * amount["units"] * units**2 + 6 * units**3,
        "kernels": 2 * amount["kernels"] * LANDMARKS * (LANDMARKS + units) + LANDMARKS**3,
    }


def _seconds(units: int, latents: int, active: int, mode: str) -> dict[str, tuple[float, float]]:
    """Return the CPU seconds of each part, fixed ones and those a row, on one thread."""
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(2, MANY, units)).astype(np.float32)
    saes = [SparseAutoencoder(units, latents, TopK(active)) for _ in range(2)]
    ticks: list[float] = []
    with threadpool_limits(1):
        fit(
            nn.ModuleList(saes), partial(joint, mode=mode), x, y, steps=STEPS, batch=BATCH,
            progress=lambda step, loss: ticks.append(time.process_time()),
        )  # fmt: skip
        codes = [sae.encode(rows) for sae, rows in zip(saes, (x, y), strict=True)]
        coded = timed(lambda: saes[0].decode(saes[0].encode(x)))
        return {
            "trained": (0.0, float(np.median(np.diff(ticks))) / (2 * BATCH)),
            "coded": (0.0, coded / MANY),
            "codes": _line(partial(_scored, *codes)),
            "units": _line(partial(_scored, x, y)),
            "kernels": (0.0, 2 * LANDMARKS * (LANDMARKS + units) * timed(lambda: x.T @ x) / (2 * MANY * units**2)),
        }


def _scored(a: NDArray[Any], b: NDArray[Any], rows: int) -> None:
    compare({"a": a[:rows], "b": b[:rows]}, metrics=METRICS, test=np.arange(rows) % 5 == 4, permutations=0)


def _line(function: Callable[[int], object]) -> tuple[float, float]:
    few, many = (timed(partial(function, rows)) for rows in (FEW, MANY))
    each = max(many - few, 0.0) / (MANY - FEW)
    return max(few - each * FEW, 0.0), each


def _units(cell: Mapping[str, Any]) -> list[int]:
    """Return the width of each layer of a cell."""
    stored = recorded_layers(listed(cell["recorded"]))
    return [_width(layer, stored) for layer in cell["layers"].split()]


def _width(layer: str, stored: Mapping[str, tuple[str, str]]) -> int:
    if layer in stored:
        folder, array = stored[layer]
        return trailing(folder)[array][-1]
    network, number = named(layer)
    return LITE0_UNITS[number - 1] if network == "Lite0" else 384
