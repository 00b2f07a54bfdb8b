"""Figure 2: equal features, random projections. All three metrics against the number of units (Section 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from superpose.arrays import choose
from superpose.paper.canvas import (
    DOTS,
    NAMES,
    SHADE,
    dress,
    key,
    law_keys,
    laws,
    legend,
    looks,
    means,
    panels,
    powers_of_two,
    shade_key,
)
from superpose.paper.claims import Claim, several, some
from superpose.paper.figure import Figure
from superpose.paper.simulation import checked, drawn_latents, expected, predictions, projections, scores
from superpose.paper.summary import apart, excess, gap, off_expectation, off_theory, over_draws, smallest_step, spread
from superpose.studies.study import Study, grid
from superpose.theory import critical_units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

ACTIVE = (2, 4, 8, 16, 32, 64)
BY = ("active", "units")


def measure(
    seed: int, *, latents: int, samples: int, active: int, distribution: str, entries: str, units: int, draw: int
) -> list[dict[str, Any]]:
    """Return the scores of two systems of equal features, through their activity, beside the closed forms.

    Rows of `metric`, `score`, `theory` (Theorems 3.1 to 3.3 for the projections of this draw, with the latents'
    covariance) and `expected` (Section 3.1, over projections). All sizes of a draw see the same latents.
    """
    z = drawn_latents(seed, samples, latents, active, distribution)
    a, b = projections(seed, units, latents, entries)
    measured = scores(z @ a.T, z @ b.T)
    theory = predictions(a, b, active, distribution)
    means = expected(units, units, latents, entries)
    return [
        {"metric": name, "score": score, "theory": theory[name], "expected": means[name]}
        for name, score in measured.items()
    ]


def study(
    *,
    latents: int = 256,
    samples: int = 5000,
    active: Sequence[int] = ACTIVE,
    units: Sequence[int] | None = None,
    draws: int = 200,
    distribution: str = "uniform",
    entries: str = "gaussian",
    seed: int = 0,
) -> Study:
    """Return the study of Appendix D.1; what the paper leaves out has a default with its reason.

    Parameters
    ----------
    latents : int
        Features n. The number is missing from the paper; the curves depend on units / latents, and 64 active ones
        need more than 64.
    samples : int
        Samples N. Missing from the paper; at 5,000 the simulation's own error is below the dots.
    active : sequence of int
        Active latents per sample, k. The paper's values.
    units : sequence of int, optional
        Units m of both systems. The range is missing from the paper; by default 16 sizes from 4 to `latents`, equally
        spaced on a logarithmic axis.
    draws : int
        Pairs of projections. The paper's number is 200.
    distribution : {"uniform", "signed", "gaussian"}
        Of the latents before the largest are kept. "Drawn uniformly" is read as uniform on [0, 1]; "signed" is
        uniform on [-1, 1].
    entries : {"gaussian", "uniform", "rademacher", "sparse", "haar", "unit_norm"}
        Ensemble of the projections. The paper's is "gaussian".
    seed : int
        The seed that every draw is derived from.

    Returns
    -------
    Study
    """
    sizes = np.unique(np.geomspace(4, latents, 16).round().astype(int)) if units is None else units
    cells = grid(
        latents=[latents],
        samples=[samples],
        active=active,
        distribution=[distribution],
        entries=[entries],
        draw=range(draws),
        units=sizes,
    )
    drawn = ("latents", "samples", "active", "distribution", "draw")
    return Study("figure2", measure, cells, seed=seed, draw=drawn, check=checked)


class Reading(NamedTuple):
    """Which scores stand for the three metrics, and the metric whose closed form the paper draws for them."""

    metrics: tuple[str, str, str]
    curves: tuple[str, str]


READINGS = {
    "centred": Reading(("rsa", "cka_debiased", "r2_adjusted"), ("rsa", "r2_adjusted")),
    "literal": Reading(("rsa_uncentred", "cka_uncentred", "r2_adjusted"), ("rsa", "r2_adjusted")),
}


def draw(table: pd.DataFrame, *, reading: Literal["centred", "literal"] = "centred") -> Picture:
    """Draw the three metrics against units, a panel for each sparsity.

    Markers: means over draws, with a bar of one standard deviation. Solid: the mean of the draws' own closed
    forms. Dashed: the expectation over projections. Hatched: fewer units than k log(n/k), Eq. (38).

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.
    reading : {"centred", "literal"}
        "centred" removes each unit's mean and uses estimators without bias. "literal" takes Eqs. (1), (3) and
        (19) to the letter on responses that have a mean, against the same curves: it misses them.

    Returns
    -------
    matplotlib.figure.Figure
    """
    chosen = choose(READINGS, "reading", reading)
    points = over_draws(table, BY)
    latents = int(table["latents"].iloc[0])
    sparsities = sorted(points["active"].unique())
    columns = min(2, len(sparsities))
    rows = -(-len(sparsities) // columns)
    figure, axes = panels(rows, columns, height=1.35, head=0.55)
    for number, (active, place) in enumerate(zip(sparsities, axes, strict=False)):
        here = points[points["active"] == active]
        _shade(place, here, float(critical_units(latents, active)))
        _curves(place, here, chosen)
        dress(
            place,
            f"$k = {active}$",
            x="units $m$" if number >= len(sparsities) - columns else "",
            y="alignment" if number % columns == 0 else "",
        )
        place.set_ylim(-0.03, 1.03)
    for place in axes[len(sparsities) :]:
        place.set_axis_off()
    dots = [key(NAMES[name], **DOTS, **look) for name, look in looks(chosen.metrics).items()]
    lines = [*law_keys(), shade_key("no CS: $m < k\\,\\log\\,n/k$")]
    legend(figure, [handle for pair in zip(dots, lines, strict=True) for handle in pair], columns=3)
    return figure


def _shade(axes: Axes, points: pd.DataFrame, critical: float) -> None:
    powers_of_two(axes, points["units"])
    low, high = points["units"].min() / 1.25, points["units"].max() * 1.25
    axes.axvspan(low, min(max(critical, low), high), **SHADE)
    axes.set_xlim(low, high)


def _curves(axes: Axes, points: pd.DataFrame, reading: Reading) -> None:
    for name in reading.curves:
        laws(axes, points[points["metric"] == name].sort_values("units"), "units")
    for name, look in looks(reading.metrics).items():
        means(axes, points[points["metric"] == name], "units", **look)


def _paper_gap(metric: str) -> Callable[[pd.DataFrame], float]:
    """Return the distance of a metric from the centred closed form of the same draws."""

    def number(table: pd.DataFrame) -> float:
        settings = [*BY, "draw"]
        curve = table[table["metric"] == "rsa"].set_index(settings)["theory"]
        dots = table[table["metric"] == metric].set_index(settings)
        return off_theory(over_draws(dots.assign(theory=curve).reset_index(), BY))

    return number


def _off_law(table: pd.DataFrame) -> float:
    return off_expectation(over_draws(table[table["metric"].isin(["rsa", "cka_debiased", "r2_adjusted"])], BY))


def _off_proportion(table: pd.DataFrame) -> float:
    points = over_draws(table[table["metric"].isin(["rsa", "cka_debiased"])], BY)
    latents = table["latents"].iloc[0]
    small = some(points[points["units"] <= latents / 16], "systems of a unit for 16 latents or fewer")
    ratio = small["units"] / latents
    return excess(small["score"] / ratio - 1, small["error"] / ratio)


def _fall(table: pd.DataFrame) -> float:
    points = over_draws(table[table["metric"].isin(["rsa", "cka_debiased", "r2_adjusted"])], BY)
    return smallest_step(points, "units", ["active"])


def _same_order(table: pd.DataFrame) -> float:
    means = over_draws(several(table, "units"), BY).pivot(index=list(BY), columns="metric", values="score")
    return float(means.groupby("active").apply(lambda m: m["rsa"].corr(m["r2_adjusted"], method="spearman")).min())


def _lowest(table: pd.DataFrame) -> float:
    some(table[table["units"] <= table["latents"] / 32], "systems of a unit for 32 latents or fewer")
    points = over_draws(table[table["metric"] == "rsa"], BY)
    return float(points["score"].min())


def _between_sparsities(table: pd.DataFrame) -> float:
    return spread(over_draws(several(table[table["metric"] == "rsa"], "active"), BY), ["units"])


GAP = "largest |mean of score − closed form| over sizes and sparsities, beyond 3 standard errors"

CLAIMS = (
    Claim("Closed-form predictions closely match simulation: RSA.", "Section 4.1", GAP, gap(BY, "rsa"), 0, 0.004),
    Claim(
        "Closed-form predictions closely match simulation: CKA.", "Section 4.1", GAP, gap(BY, "cka_debiased"), 0, 0.004
    ),
    Claim(
        "Closed-form predictions closely match simulation: regression (R²).",
        "Section 4.1",
        GAP,
        gap(BY, "r2_adjusted"),
        0,
        0.006,
    ),
    Claim(
        "Alignment scales monotonically with m, in all three metrics.",
        "Section 4.1",
        "smallest step of the mean between neighbouring sizes, plus 3 standard errors",
        _fall,
        low=0,
    ),
    Claim(
        "It is consistent with the ratio of expectations: m/(m + n + 1), and m/n for R².",
        "Section 3.1",
        "largest |mean score − expectation|, beyond 3 standard errors",
        _off_law,
        0,
        0.005,
    ),
    Claim(
        "RSA and CKA reduce to m/n for m ≪ n.",
        "Section 4.1",
        "largest relative distance of the mean from m/n for m ≤ n/16, beyond 3 standard errors",
        _off_proportion,
        0,
        0.1,
    ),
    Claim(
        "RSA and CKA have the same limit.",
        "Section 4.1",
        "largest |mean of RSA − CKA|, beyond 3 standard errors",
        apart(BY, "rsa", "cka_debiased"),
        0,
        0.004,
    ),
    Claim(
        "Regression behaves analogously: R² orders the sizes as RSA does.",
        "Section 4.1",
        "smallest rank correlation over sizes of mean R² and mean RSA",
        _same_order,
        0.99,
        1,
    ),
    Claim(
        "The three metrics track one another tightly: R² has the value of RSA.",
        "Section 4.1",
        "largest |mean of R² − RSA|, beyond 3 standard errors",
        apart(BY, "r2_adjusted", "rsa"),
        0,
        0.05,
    ),
    Claim(
        "Systems of identical features can register near-zero alignment.",
        "Section 4.1",
        "smallest mean RSA",
        _lowest,
        high=0.05,
    ),
    Claim(
        "Sparsity does not matter: alignment depends on m and n alone.",
        "beyond the paper",
        "largest difference of mean RSA between sparsities, beyond 3 standard errors",
        _between_sparsities,
        0,
        0.01,
    ),
    Claim(
        "RSA by Eqs. (1) and (3) to the letter, means kept, matches the closed form.",
        "Eq. (3)",
        GAP,
        _paper_gap("rsa_uncentred"),
        0,
        0.004,
    ),
    Claim(
        "Biased CKA, as published, matches the closed form.",
        "Eq. (19)",
        GAP,
        _paper_gap("cka"),
        0,
        0.004,
    ),
    Claim(
        "CKA of responses whose means are kept matches the closed form.",
        "Eq. (19), without H",
        GAP,
        _paper_gap("cka_uncentred"),
        0,
        0.004,
    ),
)

FIGURE = Figure(
    "figure2",
    study,
    scales={
        "smoke": {"latents": 64, "samples": 1000, "active": (2, 16), "units": (4, 16, 64), "draws": 5},
        "laptop": {"draws": 20},
        "paper": {},
    },
    draw=draw,
    claims=CLAIMS,
)
