"""What m* = k log(n/k) says about recovery, Eq. (38): guarantees beside the codes that are recovered (Section 2.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from superpose.dictionaries.coding import (
    coherence,
    coherence_guarantee,
    matched_filter,
    omp,
    restricted_isometry,
    welch_bound,
)
from superpose.metrics.regression import regression
from superpose.paper.canvas import (
    DOTS,
    SHADE,
    SOLID,
    dress,
    key,
    legend,
    looks,
    panels,
    powers_of_two,
    shade_key,
)
from superpose.paper.claims import Claim, Untested, some
from superpose.paper.figure import Figure
from superpose.paper.simulation import checked, drawn_latents, stream
from superpose.studies.study import Study, grid
from superpose.systems import projection
from superpose.theory import critical_units, expected_regression

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

UNITS = (4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
RECOVERED = 0.95
# A threshold is placed between sizes this close, and looked for up to this multiple of m*.
CLOSE, FAR = 1.5, 3.5
CANDES = math.sqrt(2) - 1
FULL: dict[str, Any] = {"ls": "-", "lw": 0.9, "fillstyle": "full"}
OPEN: dict[str, Any] = {"ls": (0, (3, 1.5)), "lw": 0.8, "fillstyle": "none"}
DOTTED: dict[str, Any] = {"ls": (0, (1, 1.2)), "lw": 1.0}
SPECKS: dict[str, Any] = {"ls": "", "marker": ".", "markersize": 2.5}


def measure(
    seed: int, *, latents: int, samples: int, active: int, distribution: str, supports: int, units: int, draw: int
) -> list[dict[str, Any]]:
    """Return how alike the codes of two Gaussian systems are, and what is known of the first's dictionary.

    Rows of `metric` and `score`. Pooled held-out r between the systems: `raw`, of their activity; `omp` and
    `matched_filter`, of the codes that each gives with its true projection. Of A: `coherence` and its least value
    `welch_bound`; `guaranteed`, the active latents that coherence is sure of; `isometry_k` and `isometry_2k`, lower
    estimates of δ_k and δ_2k.
    """
    z = drawn_latents(seed, samples, latents, active, distribution)
    a, b = (projection(units, latents, generator=stream(seed, system, units)).numpy() for system in ("a", "b"))
    x, y = z @ a.T, z @ b.T
    # A sample has no more columns than units once they explain it.
    columns = min(active, units)
    mu = float(coherence(a))
    isometry = {
        name: float(restricted_isometry(a, size, draws=supports, generator=stream(seed, name, units)))
        for name, size in (("isometry_k", active), ("isometry_2k", 2 * active))
    }
    found = {
        "raw": float(regression(x, y)),
        "omp": float(regression(omp(x, a, columns), omp(y, b, columns))),
        "matched_filter": float(regression(matched_filter(x, a, active), matched_filter(y, b, active))),
        "coherence": mu,
        "welch_bound": float(welch_bound(units, latents)),
        "guaranteed": float(coherence_guarantee(mu)),
        **isometry,
    }
    return [{"metric": name, "score": score} for name, score in found.items()]


def study(
    *,
    latents: int = 64,
    samples: int = 1000,
    active: Sequence[int] = (2, 4, 8),
    units: Sequence[int] = UNITS,
    draws: int = 100,
    supports: int = 1000,
    distribution: str = "uniform",
    seed: int = 0,
) -> Study:
    """Return the study of recovery from random Gaussian projections that are known.

    The paper takes m* = k log(n/k) as the unit of units, as "the exact constant is not known" (Appendix D.1), and
    recovers nothing in its Gaussian simulations. Here each system's code is found with its own true projection.

    Parameters
    ----------
    latents : int
        Features n; at least twice the largest `active`.
    samples : int
        Samples N; 5 folds leave 4/5 of them to fit the prediction of codes from codes.
    active : sequence of int
        Active latents per sample, k.
    units : sequence of int
        Units m of both systems.
    draws : int
        Pairs of projections.
    supports : int
        Random supports that the restricted isometry constants are estimated from. Of C(n, 2k) they are few, so
        that the true constants are larger.
    distribution : {"uniform", "signed", "gaussian"}
        Of the latents before the largest are kept. "uniform" is the paper's.
    seed : int
        The seed that every draw is derived from.

    Returns
    -------
    Study

    References
    ----------
    Candès, E. J. (2008). The restricted isometry property and its implications for compressed sensing. Comptes
    Rendus Mathématique 346, 589-592. (δ_2k < √2 − 1 guarantees recovery by ℓ1 minimisation.)

    Tropp, J. A. (2004). Greed is good: algorithmic results for sparse approximation. IEEE Transactions on
    Information Theory 50, 2231-2242. (Coherence below 1 / (2k − 1) guarantees recovery by matching pursuit.)
    """
    cells = grid(
        latents=[latents],
        samples=[samples],
        active=active,
        distribution=[distribution],
        supports=[supports],
        draw=range(draws),
        units=units,
    )
    drawn = ("latents", "samples", "active", "distribution", "draw")
    return Study("recovery", measure, cells, seed=seed, draw=drawn, check=checked)


def draw(table: pd.DataFrame) -> Picture:
    """Draw recovery, and what would guarantee it, against units over m* = k log(n/k).

    Markers: means over draws, with a bar of one standard deviation, joined to tell curves apart. Above, pooled
    held-out r between two systems; dotted, the expectation of raw r. Below, each constant over the value that it
    must stay below for a guarantee: δ_2k, estimated from below, over √2 − 1, and coherence over 1 / (2k − 1).
    Hatched: fewer units than m*.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    points = _points(table)
    latents = int(table["latents"].iloc[0])
    figure, (recovered, guaranteed) = panels(2, 1, height=1.75, head=0.56)
    figure.subplots_adjust(hspace=0.2)
    keys = []
    for active, look in looks(sorted(points["active"].unique())).items():
        here, colour = points[points["active"] == active], look["color"]
        _joined(recovered, here, "omp", 1, **look, **FULL)
        _joined(recovered, here, "matched_filter", 1, **look, **OPEN)
        raw = here[here["metric"] == "raw"]
        law = [float(expected_regression(int(m), int(m), latents)) for m in raw["units"]]
        recovered.plot(raw["ratio"], law, color=colour, **DOTTED)
        recovered.plot(raw["ratio"], raw["score"], color=colour, **SPECKS)
        _joined(guaranteed, here, "isometry_2k", CANDES, **look, **FULL)
        _joined(guaranteed, here, "coherence", 1 / (2 * active - 1), **look, **OPEN)
        keys.append(key(f"$k = {active}$", **{**DOTS, "fillstyle": "full"}, **look))
    low, high = points["ratio"].min() / 1.12, points["ratio"].max() * 1.12
    for axes in (recovered, guaranteed):
        powers_of_two(axes, points["ratio"])
        axes.set_xticks([0.25, 0.5, 1, 2, 4, 8], ["1/4", "1/2", "1", "2", "4", "8"])
        axes.axvspan(low, min(max(1, low), high), **SHADE)
        axes.set_xlim(low, high)
    guaranteed.set_yscale("log")
    guaranteed.set_yticks([1, 3, 10, 30], ["1", "3", "10", "30"])
    guaranteed.minorticks_off()
    guaranteed.axhline(1, **SOLID, color="black")
    guaranteed.set_ylim(bottom=0.7)
    recovered.set_ylim(-0.03, 1.05)
    dress(recovered, "two systems' codes and raw activity", y="pooled held-out $r$")
    dress(guaranteed, "what guarantees recovery", x="$m/m^*$,  $m^* = k\\,\\log(n/k)$", y="constant over its bound")
    lines = [
        key("OMP;  $\\delta_{2k}$", color="black", **FULL),
        key("matched filter;  coherence", color="black", **OPEN),
        key("raw", color="black", **DOTTED),
    ]
    edges = [key("guaranteed below", **SOLID, color="black"), shade_key("$m < m^*$")]
    legend(figure, [*keys, *lines, *edges], columns=3)
    return figure


def _points(table: pd.DataFrame) -> pd.DataFrame:
    """Return means and standard deviations over draws, with `ratio`, units over m*."""
    groups = table.groupby(["active", "units", "metric"])["score"]
    points = pd.DataFrame({"score": groups.mean(), "sd": groups.std(), "error": groups.sem()}).reset_index()
    critical = critical_units(int(table["latents"].iloc[0]), points["active"].to_numpy())
    return points.assign(ratio=points["units"] / critical)


def _joined(axes: Axes, points: pd.DataFrame, metric: str, bound: float, **style: Any) -> None:
    curve = points[points["metric"] == metric]
    axes.errorbar(curve["ratio"], curve["score"] / bound, curve["sd"] / bound, **{**DOTS, **style})


def _curve(table: pd.DataFrame, metric: str) -> list[tuple[int, pd.Series[float]]]:
    """Return the mean score against units over m*, for each number of active latents."""
    points = _points(table)
    points = points[points["metric"] == metric]
    sparsities = sorted(points["active"].unique())
    return [(int(active), points[points["active"] == active].set_index("ratio")["score"]) for active in sparsities]


def _reached(table: pd.DataFrame) -> list[float]:
    """Return the units over m* at which each mean r of recovered codes first reaches 0.95, between sizes."""
    return [_crossing(curve) for _, curve in _curve(table, "omp")]


def _crossing(curve: pd.Series[float]) -> float:
    above = np.flatnonzero(curve >= RECOVERED)
    if not len(above):
        if curve.index.max() < FAR:
            raise Untested(f"the table has no {FAR:g} m* units")
        return float("nan")
    last = max(int(above[0]), 1)
    sizes, scores = curve.index[last - 1 : last + 1], curve.iloc[last - 1 : last + 1]
    if round(sizes[-1] / sizes[0], 6) > CLOSE:
        raise Untested(f"the sizes about the threshold are over {CLOSE:g} times apart")
    return float(np.interp(RECOVERED, scores, sizes))


def _latest(table: pd.DataFrame) -> float:
    return max(_reached(table))


def _spread(table: pd.DataFrame) -> float:
    return max(_reached(table)) / min(_reached(table))


def _at_critical(table: pd.DataFrame) -> float:
    curves = [curve for _, curve in _curve(table, "omp")]
    if any(curve.index.min() > 1 or curve.index.max() < 1 for curve in curves):
        raise Untested("the table has no sizes on both sides of m*")
    return max(float(np.interp(1, curve.index, curve)) for curve in curves)


def _over(better: str, worse: str, ratio: float) -> Callable[[pd.DataFrame], float]:
    """Return the smallest lead of a mean score at so many m* and more, below m = n where raw r is 1."""

    def number(table: pd.DataFrame) -> float:
        wide = _points(table).pivot(index=["active", "units", "ratio"], columns="metric", values="score").reset_index()
        above = (wide["ratio"] >= ratio) & (wide["units"] < table["latents"].iloc[0])
        wide = some(wide[above], f"systems of {ratio:g} m* units or more, below m = n")
        return float((wide[better] - wide[worse]).min())

    return number


def _most_guaranteed(table: pd.DataFrame) -> float:
    return max(float(curve.max()) / active for active, curve in _curve(table, "guaranteed"))


def _least_isometry(table: pd.DataFrame) -> float:
    return float(table.loc[table["metric"] == "isometry_2k", "score"].min())


CLAIMS = (
    Claim(
        "Latents are recoverable for m ≥ k log(n/k), with a constant of 1.",
        "Eq. (38)",
        "largest r of codes by matching pursuit at m = m*, of any sparsity",
        _at_critical,
        low=RECOVERED,
    ),
    Claim(
        "The true threshold differs from k log(n/k) by a constant factor only: 3 or so, by matching pursuit.",
        "Appendix D.1",
        "units over m* at which r reaches 0.95, for the sparsity that needs most",
        _latest,
        2.5,
        3.5,
    ),
    Claim(
        "k log(n/k) is the natural unit: all sparsities are recovered at the same multiple of it.",
        "Appendix D.1",
        "largest over smallest multiple at which r reaches 0.95",
        _spread,
        1,
        1.25,
    ),
    Claim(
        "In the regime m ≥ k log(n/k), recovered codes align better than raw activity.",
        "Appendix D.1",
        "smallest lead of mean r by matching pursuit over raw r, m* ≤ m < n",
        _over("omp", "raw", 1),
        low=0,
    ),
    Claim(
        "From 2.5 m* on, recovered codes align better than raw activity.",
        "beyond the paper",
        "smallest lead of mean r by matching pursuit over raw r, 2.5 m* ≤ m < n",
        _over("omp", "raw", 2.5),
        low=0,
    ),
    Claim(
        "From 2.5 m* on, thresholding alone recovers codes that align better than raw activity.",
        "beyond the paper",
        "smallest lead of mean r by matched filter over raw r, 2.5 m* ≤ m < n",
        _over("matched_filter", "raw", 2.5),
        low=0,
    ),
    Claim(
        "Coherence guarantees the recovery that is seen (Tropp 2004).",
        "beyond the paper",
        "largest mean of active latents guaranteed, over k, at any m ≤ n",
        _most_guaranteed,
        low=1,
    ),
    Claim(
        "The restricted isometry of order 2k guarantees it: δ_2k < √2 − 1 (Candès 2008).",
        "Section 2.1",
        "smallest δ_2k of any draw, estimated from below, m ≤ n",
        _least_isometry,
        high=CANDES,
    ),
)

FIGURE = Figure(
    "recovery",
    study,
    scales={
        "smoke": {
            "latents": 32,
            "samples": 300,
            "active": (2, 4),
            "units": (4, 8, 16, 32),
            "draws": 3,
            "supports": 200,
        },
        "laptop": {"draws": 15},
        "paper": {},
    },
    draw=draw,
    claims=CLAIMS,
)
