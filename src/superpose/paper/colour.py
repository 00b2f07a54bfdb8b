"""Latents that are not white: raw alignment follows their participation ratio, not their number (Section 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from superpose.files import DataError
from superpose.paper.canvas import (
    DASHED,
    DOTS,
    SOLID,
    dress,
    key,
    law_keys,
    laws,
    legend,
    looks,
    means,
    panels,
    powers_of_two,
)
from superpose.paper.claims import Claim, several, some
from superpose.paper.figure import Figure
from superpose.paper.simulation import checked, drawn_latents, predictions, scores, stream
from superpose.paper.summary import apart, excess, off_expectation, off_theory, over_draws, smallest_step
from superpose.studies.study import Study, grid
from superpose.systems import projection
from superpose.theory import (
    expected_cka,
    expected_cka_coloured,
    expected_regression,
    expected_regression_coloured,
    latent_cka,
    latent_participation,
    participation_ratio,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

Array = NDArray[np.float64]

METRICS = ("rsa", "cka_debiased", "r2_adjusted")
ESTIMATE = "latent_cka_estimate"
BY = ("active", "alpha", "units")


def spectrum(latents: int, alpha: float) -> Array:
    """Return the variances of power-law latents: latent i has i^(−α).

    A diagonal covariance is enough. A Gaussian projection of z = U w, for any rotation U, has the distribution of
    one of w.

    Parameters
    ----------
    latents : int
    alpha : float
        0 for white latents.

    Returns
    -------
    array, (latents,)

    Examples
    --------
    >>> from superpose.paper.colour import spectrum
    >>> spectrum(4, 1.0).round(3).tolist()
    [1.0, 0.5, 0.333, 0.25]
    """
    return np.arange(1, latents + 1, dtype=np.float64) ** -alpha


def activity_participation(responses: ArrayLike) -> float:
    """Return the participation ratio of activity, (tr C)²/‖C‖², from unbiased estimates of both terms.

    Each is a mean over all ordered choices of four different samples: ½|y_i − y_j|² · ½|y_k − y_l|² for (tr C)², and
    the unbiased HSIC of the activity with itself for ‖C‖² (Song et al. 2012, Eq. (5)). With N samples y about their
    mean, d_i = |y_i|² and c = ‖Σ y yᵀ‖², the common factor of the two cancels:
    ((N² − 3N + 1)(Σd)² − N(N − 1) Σd² + 2c) / ((N − 1)(N − 2) c − N(N − 1) Σd² + (Σd)²).

    Parameters
    ----------
    responses : array-like, (samples, units)

    Returns
    -------
    float
        Near 1 to the number of units; the covariance of the sample itself would give too little.

    Raises
    ------
    DataError
        For fewer than 4 samples, or too few to see any variance.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.paper.colour import activity_participation
    >>> round(activity_participation(np.random.default_rng(0).normal(size=(2000, 20))), 1)
    20.0
    """
    y = np.asarray(responses, dtype=np.float64)
    n = len(y)
    if n < 4:
        raise DataError(f"responses have {n} samples; expected at least 4 for an estimate without bias.")
    y = y - y.mean(axis=0)
    d = np.einsum("ij,ij->i", y, y)
    total, squares, gram = d.sum(), d @ d, np.square(y.T @ y).sum()
    norm = (n - 1) * (n - 2) * gram - n * (n - 1) * squares + total**2
    if not norm > 0:
        raise DataError(
            f"the unbiased estimate of ‖C‖² from {n} samples is not positive; expected activity that varies. Record "
            "more samples."
        )
    return float(((n**2 - 3 * n + 1) * total**2 - n * (n - 1) * squares + 2 * gram) / norm)


def measure(
    seed: int, *, latents: int, samples: int, active: int, alpha: float, units: int, draw: int
) -> list[dict[str, Any]]:
    """Return the scores of two systems of the same coloured latents, and the latent CKA that they point to.

    Rows of `metric`, `score`, `theory` (Theorems 3.1 to 3.3 with the covariance of the latents, for the projections of
    this draw), `expected` (over projections) and `why`: the reason for an estimate that was refused, whose score is
    missing. Dense and sparse latents of all spectra go through the same projections.
    """
    z = drawn_latents(seed, samples, latents, active, "gaussian")
    root = np.sqrt(spectrum(latents, alpha)).astype(np.float32)
    # A projection of scaled latents is a scaled projection of white ones.
    a, b = (root * projection(units, latents, generator=stream(seed, system, units)).numpy() for system in ("a", "b"))
    x, y = z @ a.T, z @ b.T
    measured = scores(x, y)
    theory, means = predictions(a, b, active, "gaussian"), expected(latents, alpha, units)
    rows = [
        {"metric": name, "score": measured[name], "theory": theory[name], "expected": means[name], "why": ""}
        for name in METRICS
    ]
    return [*rows, {"metric": ESTIMATE, "theory": 1.0, "expected": 1.0, **estimate(measured["cka_debiased"], x, y)}]


@cache
def expected(latents: int, alpha: float, units: int) -> dict[str, float]:
    """Return the expectation of each score over projections, by the spectrum of the latents."""
    covariance = np.diag(spectrum(latents, alpha))
    similarity = float(expected_cka_coloured(units, units, covariance))
    r2 = float(expected_regression_coloured(units, covariance, score="r2"))
    return {"rsa": similarity, "cka_debiased": similarity, "r2_adjusted": r2}


def estimate(raw: float, x: ArrayLike, y: ArrayLike) -> dict[str, Any]:
    """Return the CKA of latents that raw CKA and activity alone point to, as `score`; or None, and `why` not."""
    units = np.array([np.shape(x)[1], np.shape(y)[1]])
    try:
        ratios = latent_participation(units, [activity_participation(x), activity_participation(y)])
    except DataError as error:
        return {"score": None, "why": str(error)}
    return {"score": float(latent_cka(raw, *units, *ratios)), "why": ""}


def study(
    *,
    latents: int = 256,
    samples: int = 5000,
    active: Sequence[int] = (256, 16),
    alphas: Sequence[float] = (0.0, 0.5, 1.0, 1.5),
    units: Sequence[int] | None = None,
    draws: int = 200,
    seed: int = 0,
) -> Study:
    """Return the study of coloured latents, which Section 8 leaves to future work.

    Parameters
    ----------
    latents : int
        Features n, as in `superpose.paper.figure2`.
    samples : int
        Samples N, as there.
    active : sequence of int
        Active latents per sample: the largest of `latents` normal draws are kept. All of them make dense Gaussian
        latents; 16 show that the laws need neither density nor a Gaussian.
    alphas : sequence of float
        Exponents of the spectrum. 0 is white; natural images and the responses to them have about 1.
    units : sequence of int, optional
        Units m of both systems; by default 13 sizes from 4 to `latents`, equally spaced on a logarithmic axis.
    draws : int
        Pairs of projections, as in the paper.
    seed : int
        The seed that every draw is derived from.

    Returns
    -------
    Study
    """
    sizes = np.unique(np.geomspace(4, latents, 13).round().astype(int)) if units is None else units
    cells = grid(latents=[latents], samples=[samples], draw=range(draws), active=active, alpha=alphas, units=sizes)
    return Study("colour", measure, cells, seed=seed, draw=("latents", "samples", "draw"), check=checked)


DOTTED: dict[str, Any] = {"ls": (0, (1, 1.2)), "lw": 1.2, "color": "#56B4E9", "zorder": 3.5}
FILLED: dict[str, Any] = {"ls": "", "markersize": 1.8, "mew": 0, "zorder": 5}
CROSS: dict[str, Any] = {"ls": "", "marker": "x", "markersize": 3.0, "mew": 0.8, "zorder": 4}


def draw(table: pd.DataFrame) -> Picture:
    """Draw raw CKA and R², CKA against units over participation ratio, and the latent CKA estimated from activity.

    Open markers: dense Gaussian latents, means over draws with a bar of one standard deviation. Filled: sparse ones.
    Solid: the mean of the draws' own closed forms. Dashed: the expectation over projections. Dotted: the law of white
    latents, Section 3.1. Crosses: sizes whose estimate is refused in over half of the draws.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    latents = int(table["latents"].iloc[0])
    points = _points(table).sort_values("units")
    points["scaled"] = points["units"] / (1 + points["alpha"].map(lambda alpha: _participation(latents, alpha)))
    sizes = np.geomspace(table["units"].min(), latents, 60)
    figure, axes = panels(2, 2, height=1.45, head=0.72)
    _raw(axes[0], points[points["metric"] == "cka_debiased"], sizes, expected_cka(sizes, sizes, latents))
    dress(axes[0], "raw CKA (debiased)", x="units $m$", y="alignment")
    _raw(axes[1], points[points["metric"] == "r2_adjusted"], sizes, expected_regression(sizes, 1, latents, score="r2"))
    dress(axes[1], "raw $R^2$ (adjusted)", x="units $m$")
    _collapse(axes[2], points[points["metric"] == "cka_debiased"])
    dress(axes[2], "the same CKA, one law", x="$m/(1 + \\mathrm{PR})$", y="alignment")
    _recovery(axes[3], points[points["metric"] == ESTIMATE])
    dress(axes[3], "latent CKA, estimated", x="units $m$")
    dots = [key(f"$\\alpha$ = {alpha:g}", **DOTS, **look) for alpha, look in _looks(points).items()]
    kinds = [
        key("dense", marker="o", color="black", **DOTS),
        key("sparse", marker="o", color="black", **FILLED),
        key("refused", color="black", **CROSS),
    ]
    lines = [*law_keys(), key("law of white latents", **DOTTED)]
    legend(figure, [*dots, *kinds, *lines], columns=3)
    return figure


def _participation(latents: int, alpha: float) -> float:
    return float(participation_ratio(np.diag(spectrum(latents, alpha))))


def _points(table: pd.DataFrame) -> pd.DataFrame:
    """Return the means over the draws that have a score, as an estimate may be refused, and their share, `given`."""
    means = over_draws(table.dropna(subset="score"), BY)
    share = table["score"].notna().groupby([table[name] for name in (*BY, "metric")]).mean().rename("given")
    return means.merge(share.reset_index(), how="right")


def _looks(points: pd.DataFrame) -> dict[float, dict[str, Any]]:
    return looks(sorted(points["alpha"].unique()))


def _dots(axes: Axes, points: pd.DataFrame, x: str) -> None:
    dense = points["active"] == points["active"].max()
    for alpha, look in _looks(points).items():
        here = points["alpha"] == alpha
        axes.plot(x, "score", data=points[here & ~dense], **FILLED, **look)
        means(axes, points[here & dense], x, **look)


def _raw(axes: Axes, points: pd.DataFrame, sizes: NDArray[Any], white: NDArray[Any]) -> None:
    _dots(axes, points, "units")
    for _, curve in points[points["active"] == points["active"].max()].groupby("alpha"):
        laws(axes, curve, "units")
    axes.plot(sizes, white, **DOTTED)
    powers_of_two(axes, sizes)
    axes.set_ylim(-0.03, 1.05)


def _collapse(axes: Axes, points: pd.DataFrame) -> None:
    _dots(axes, points, "scaled")
    line = np.geomspace(points["scaled"].min(), points["scaled"].max(), 60)
    axes.plot(line, line / (1 + line), **DASHED)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_ylim(-0.03, 1.05)


def _recovery(axes: Axes, points: pd.DataFrame) -> None:
    shown_as = _looks(points)
    aside = {alpha: 1.13 ** (number - (len(shown_as) - 1) / 2) for number, alpha in enumerate(shown_as)}
    points = points.assign(place=points["units"] * points["alpha"].map(aside))
    shown = points["given"] >= 0.5
    _dots(axes, points[shown], "place")
    for alpha, look in shown_as.items():
        here = points[~shown & (points["alpha"] == alpha)]
        axes.plot(here["place"], np.full(len(here), 0.6), **{**look, **CROSS})
    axes.axhline(1, **SOLID, color="black")
    axes.locator_params(axis="y", nbins=5)
    powers_of_two(axes, points["units"])


def _gap(*metrics: str) -> Callable[[pd.DataFrame], float]:
    return lambda table: off_theory(_points(table[table["metric"].isin(metrics)]))


def _off_law(metric: str, steepest: float = np.inf) -> Callable[[pd.DataFrame], float]:
    def number(table: pd.DataFrame) -> float:
        flat = some(table[table["alpha"] <= steepest], f"spectra of α ≤ {steepest:g}")
        return off_expectation(_points(flat[flat["metric"] == metric]))

    return number


def _off_white(table: pd.DataFrame) -> float:
    steep = some(table[table["alpha"] >= 1], "spectra of α ≥ 1")
    points = _points(steep[steep["metric"] == "cka_debiased"])
    white = expected_cka(points["units"].to_numpy(), points["units"].to_numpy(), int(table["latents"].iloc[0]))
    return excess(points["score"] - white, points["error"])


def _rise(table: pd.DataFrame) -> float:
    return smallest_step(_points(table[table["metric"].isin(METRICS[:2])]), "alpha", ["active", "units"])


def _between_kinds(table: pd.DataFrame) -> float:
    """Return the largest difference of CKA between kinds of latents that went through the same projections."""
    scores = several(table[table["metric"] == "cka_debiased"], "active")
    wide = scores.pivot(index=["alpha", "units", "draw"], columns="active", values="score")
    gaps = wide.sub(wide[wide.columns.max()], axis=0).groupby(["alpha", "units"])
    return excess(gaps.mean().melt()["value"], gaps.sem().melt()["value"])


def _estimates(table: pd.DataFrame, units: int) -> pd.DataFrame:
    wide = some(table[table["units"] >= units], f"systems of {units} units or more")
    return _points(wide[wide["metric"] == ESTIMATE])


def _missed(units: int) -> Callable[[pd.DataFrame], float]:
    return lambda table: off_theory(_estimates(table, units))


GAP = "largest |mean of score − closed form| over sizes, spectra and kinds of latents, beyond 3 standard errors"
LAW = "largest |mean score − expectation|, beyond 3 standard errors"
MISS = "largest |mean estimate − 1|, beyond 3 standard errors"

CLAIMS = (
    Claim(
        "With the latents' covariance in them, the closed forms of RSA and CKA match simulation.",
        "beyond the paper",
        GAP,
        _gap("rsa", "cka_debiased"),
        0,
        0.005,
    ),
    Claim(
        "With the latents' covariance in it, the closed form of regression (R²) matches simulation.",
        "beyond the paper",
        GAP,
        _gap("r2_adjusted"),
        0,
        0.005,
    ),
    Claim(
        "The theory's white latents are an assumption that matters: raw CKA of coloured ones is not m/(m + n + 1).",
        "Section 8",
        "largest |mean CKA − m/(m + n + 1)| for α ≥ 1, beyond 3 standard errors",
        _off_white,
        0.3,
        1,
    ),
    Claim(
        "Raw CKA is m/(m + 1 + PR), PR the participation ratio of the latents, up to α = 1.",
        "beyond the paper",
        LAW + ", for α ≤ 1",
        _off_law("cka_debiased", 1),
        0,
        0.01,
    ),
    Claim(
        "It is right within 0.05 for steeper spectra, of few effective latents.",
        "beyond the paper",
        LAW + ", for all α",
        _off_law("cka_debiased"),
        0,
        0.05,
    ),
    Claim(
        "The deterministic equivalent of Theorem 3.3 predicts raw R², up to α = 1.",
        "beyond the paper",
        LAW + ", for α ≤ 1",
        _off_law("r2_adjusted", 1),
        0,
        0.01,
    ),
    Claim(
        "It is right within 0.04 for steeper spectra, of few effective latents.",
        "beyond the paper",
        LAW + ", for all α",
        _off_law("r2_adjusted"),
        0,
        0.04,
    ),
    Claim(
        "The steeper the spectrum, the more alike random projections look.",
        "beyond the paper",
        "smallest step of mean RSA and CKA between neighbouring α, plus 3 standard errors",
        _rise,
        low=0,
    ),
    Claim(
        "The laws need no Gaussian: dense and sparse latents of one covariance give the same raw CKA.",
        "beyond the paper",
        "largest difference of mean CKA between kinds of latents, same projections, beyond 3 standard errors",
        _between_kinds,
        0,
        0.005,
    ),
    Claim(
        "RSA and CKA have the same limit for coloured latents too.",
        "beyond the paper",
        "largest |mean of RSA − CKA|, beyond 3 standard errors",
        apart(BY, "rsa", "cka_debiased"),
        0,
        0.004,
    ),
    Claim(
        "Activity of 32 units or more tells the CKA of the latents without a dictionary.",
        "beyond the paper",
        MISS + ", for m ≥ 32",
        _missed(32),
        0,
        0.05,
    ),
    Claim(
        "Activity of any number of units does, where the estimate is not refused.",
        "beyond the paper",
        MISS,
        _missed(0),
        0,
        0.05,
    ),
    Claim(
        "One pair of systems of 64 units or more is enough to estimate it.",
        "beyond the paper",
        "largest standard deviation of the estimate over draws, for m ≥ 64",
        lambda table: _estimates(table, 64)["sd"].max(),
        0,
        0.1,
    ),
    Claim(
        "It is never refused for 32 units or more.",
        "beyond the paper",
        "smallest share of draws with an estimate, for m ≥ 32",
        lambda table: _estimates(table, 32)["given"].min(),
        1,
        1,
    ),
)

FIGURE = Figure(
    "colour",
    study,
    scales={
        "smoke": {"latents": 64, "samples": 1000, "active": (64, 8), "units": (4, 16, 64), "draws": 5},
        "laptop": {"units": (4, 8, 16, 32, 64, 128, 256), "draws": 15},
        "paper": {},
    },
    draw=draw,
    claims=CLAIMS,
)
