"""Noisy responses: how far noise lowers raw alignment, and two repeats that undo it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from superpose.ceilings import corrected
from superpose.paper.canvas import DOTS, NAMES, dress, key, law_keys, laws, legend, looks, means, panels
from superpose.paper.claims import Claim, some
from superpose.paper.figure import Figure
from superpose.paper.simulation import checked, drawn_latents, scores, stream
from superpose.paper.summary import off_expectation, off_theory, over_draws, smallest_step
from superpose.studies.study import Study, grid
from superpose.systems import gaussian_projection
from superpose.systems import noise as noisy
from superpose.theory import (
    cka,
    expected_cka,
    expected_cka_coloured,
    expected_regression_coloured,
    latent_moments,
    regression,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

Array = NDArray[np.floating]

METRICS = ("rsa", "cka_debiased", "r2_adjusted")
CORRECTED = "cka_corrected"
BY = ("units", "noise")


def measure(
    seed: int, *, latents: int, samples: int, active: int, units: int, noise: float, draw: int
) -> list[dict[str, Any]]:
    """Return the scores of two noisy systems of equal features, and their CKA corrected by a second repeat.

    `noise` is its standard deviation, relative to that of a unit's signal over projections, √n. Rows of `metric`,
    `score`, `theory` (Theorems 3.1 to 3.3 for the projections of this draw), `expected` (over projections) and `why`:
    the reason for a correction that was refused, whose score is missing. All levels of noise of a draw share it.
    """
    z = drawn_latents(seed, samples, latents, active, "signed")
    z = z / np.float32(np.sqrt(latent_moments(latents, active, "signed").square))
    sigma = noise * np.sqrt(latents)
    a, b = (gaussian_projection(units, latents, generator=stream(seed, system, units)).numpy() for system in ("a", "b"))
    x1, y1, x2, y2 = (
        noisy(torch.from_numpy(z @ weights.T), sigma, generator=stream(seed, "noise", system, units, repeat)).numpy()
        for repeat in (1, 2)
        for system, weights in (("a", a), ("b", b))
    )
    measured, theory, means = scores(x1, y1), predictions(a, b, sigma), expected(latents, units, noise)
    rows = [
        {"metric": name, "score": measured[name], "theory": theory[name], "expected": means[name], "why": ""}
        for name in METRICS
    ]
    clean = {"metric": CORRECTED, "theory": float(cka(a, b)), "expected": float(expected_cka(units, units, latents))}
    repaired = corrected(np.stack([x1, x2]), np.stack([y1, y2]))
    known = np.isfinite(repaired.score)
    return [*rows, {**clean, "score": repaired.score if known else None, "why": "" if known else repaired.why}]


def predictions(a: Array, b: Array, sigma: float) -> dict[str, float]:
    """Return the closed form of each score for these projections of white latents of unit variance, with noise.

    Noise is a private latent of every unit: [A, σI, 0] and [B, 0, σI] project the latents and the noise of both
    systems, and Theorems 3.1 to 3.3 hold for them as they stand.
    """
    own_a, own_b = sigma * np.eye(len(a)), sigma * np.eye(len(b))
    noisy_a = np.hstack([a, own_a, np.zeros((len(a), len(b)))])
    noisy_b = np.hstack([b, np.zeros((len(b), len(a))), own_b])
    limit = float(cka(noisy_a, noisy_b))
    return {
        "rsa": limit,
        "cka_debiased": limit,
        "r2_adjusted": float(regression(noisy_a, noisy_b, score="r2")),
    }


@cache
def expected(latents: int, units: int, noise: float) -> dict[str, float]:
    """Return the expectation of each score over projections."""
    covariance, sigma = np.eye(latents), noise * np.sqrt(latents)
    similarity = float(expected_cka_coloured(units, units, covariance, sigma=sigma))
    r2 = float(expected_regression_coloured(units, covariance, sigma=sigma, score="r2"))
    return {"rsa": similarity, "cka_debiased": similarity, "r2_adjusted": r2}


def study(
    *,
    latents: int = 64,
    samples: int = 5000,
    active: int = 4,
    units: Sequence[int] = (16, 64),
    noises: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0),
    draws: int = 200,
    seed: int = 0,
) -> Study:
    """Return the study of noisy responses, of which the paper has none.

    Parameters
    ----------
    latents : int
        Features n, as few as in the paper's recovery experiments, so that noise has an alignment to lower.
    samples : int
        Samples N of each repeat, as in `superpose.paper.figure2`.
    active : int
        Active latents per sample, of either sign: white latents, for which the closed forms are exact.
    units : sequence of int
        Units m of both systems: a quarter of the latents, and as many.
    noises : sequence of float
        Standard deviation of the noise of a unit, over that of its signal. 2 is a signal-to-noise ratio of 1/4.
    draws : int
        Pairs of projections, as in the paper.
    seed : int
        The seed that every draw is derived from.

    Returns
    -------
    Study
    """
    cells = grid(latents=[latents], samples=[samples], active=[active], draw=range(draws), units=units, noise=noises)
    return Study("noise", measure, cells, seed=seed, draw=("latents", "samples", "active", "draw"), check=checked)


def draw(table: pd.DataFrame) -> Picture:
    """Draw the raw scores and the corrected CKA against noise, a panel for each number of units.

    Markers: means over draws, with a bar of one standard deviation. Solid: the mean of the draws' own closed forms.
    Dashed: the expectation over projections. Each panel has its own scale.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    points = over_draws(table.dropna(subset="score"), BY).sort_values("noise")
    latents = int(table["latents"].iloc[0])
    sizes = sorted(table["units"].unique())
    figure, axes = panels(1, len(sizes), height=1.7, head=0.5)
    for units, place in zip(sizes, axes, strict=True):
        _curves(place, points[points["units"] == units])
        dress(
            place,
            f"$m = {units}$, $n = {latents}$",
            x="noise s.d. / signal s.d.",
            y="alignment" if place is axes[0] else "",
        )
        place.set_xticks(np.arange(0, points["noise"].max() + 0.25, 0.5))
        place.set_ylim(bottom=0)
    dots = [key(LABELS[name], **DOTS, **look) for name, look in LOOKS.items()]
    legend(figure, [*dots, *law_keys()], columns=3)
    return figure


LABELS = {**NAMES, CORRECTED: "CKA of two repeats"}
LOOKS = looks((*METRICS, CORRECTED))


def _curves(axes: Axes, points: pd.DataFrame) -> None:
    for name, look in LOOKS.items():
        here = points[points["metric"] == name]
        laws(axes, here, "noise")
        means(axes, here, "noise", **look)


def _of(table: pd.DataFrame, *metrics: str) -> pd.DataFrame:
    return over_draws(table[table["metric"].isin(metrics)].dropna(subset="score"), BY)


def _gap(*metrics: str) -> Callable[[pd.DataFrame], float]:
    return lambda table: off_theory(_of(table, *metrics))


def _off_law(metric: str) -> Callable[[pd.DataFrame], float]:
    return lambda table: off_expectation(_of(table, metric))


def _fall(table: pd.DataFrame) -> float:
    points = _of(table, *METRICS)
    return smallest_step(points.assign(score=-points["score"]), "noise", ["units"])


def _kept(table: pd.DataFrame) -> float:
    """Return the largest share of raw CKA that is left where noise is as large as the signal."""
    for level in (0.0, 1.0):
        some(table[table["noise"] == level], f"noise of {level:g} times the signal")
    means = _of(table, "cka_debiased").pivot(index="units", columns="noise", values="score")
    return float((means[1.0] / means[0.0]).max())


GAP = "largest |mean of score − closed form| over noise and sizes, beyond 3 standard errors"
LAW = "largest |mean score − expectation|, beyond 3 standard errors"

CLAIMS = (
    Claim(
        "With noise as a private latent of each unit, the closed forms of RSA and CKA match simulation.",
        "beyond the paper",
        GAP,
        _gap("rsa", "cka_debiased"),
        0,
        0.004,
    ),
    Claim(
        "With noise as a private latent of each unit, that of regression (R²) matches simulation.",
        "beyond the paper",
        GAP,
        _gap("r2_adjusted"),
        0,
        0.004,
    ),
    Claim(
        "Noise raises the participation ratio in the law of raw CKA to (n + σ²)²/n.",
        "beyond the paper",
        LAW,
        _off_law("cka_debiased"),
        0,
        0.005,
    ),
    Claim(
        "The deterministic equivalent of Theorem 3.3 predicts R² with noise.",
        "beyond the paper",
        LAW,
        _off_law("r2_adjusted"),
        0,
        0.006,
    ),
    Claim(
        "Noise lowers every raw score of systems of identical features.",
        "beyond the paper",
        "smallest fall of the mean between neighbouring levels of noise, plus 3 standard errors",
        _fall,
        low=0,
    ),
    Claim(
        "Noise as large as the signal takes more than half of raw CKA away.",
        "beyond the paper",
        "largest ratio of mean CKA with noise of the signal's variance to that without",
        _kept,
        0,
        0.5,
    ),
    Claim(
        "Two repeats of each system give back the CKA without noise.",
        "beyond the paper",
        "largest |mean of corrected CKA − closed form without noise|, beyond 3 standard errors",
        _gap(CORRECTED),
        0,
        0.005,
    ),
)

FIGURE = Figure(
    "noise",
    study,
    scales={
        "smoke": {"samples": 1000, "units": (16, 32), "noises": (0.0, 1.0, 2.0), "draws": 4},
        "laptop": {"draws": 20},
        "paper": {},
    },
    draw=draw,
    claims=CLAIMS,
)
