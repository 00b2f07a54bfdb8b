"""Figure 3: features shared in part, random projections. CKA against the second system's size (Section 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from superpose.paper.canvas import DOTS, SMALL, dress, key, law_keys, laws, legend, looks, means, panels
from superpose.paper.claims import Claim, several, some
from superpose.paper.figure import Figure
from superpose.paper.simulation import checked, drawn_latents, scores, stream
from superpose.paper.summary import apart, excess, gap, off_expectation, over_draws, smallest_step, spread
from superpose.studies.study import Study, grid
from superpose.systems import overlapping_projections
from superpose.theory import cka, expected_cka, inversion_overlap, latent_covariance, overlap_ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

METRICS = ("cka_debiased", "cka", "rsa")
SHOWN = "cka_debiased"
BY = ("fraction", "overlap", "units_b")

RED = "#C00000"
MARGIN = 1.15
FILLED: dict[str, Any] = {**DOTS, "fillstyle": "full"}
REFERENCE: dict[str, Any] = {"ls": (0, (5, 1.5)), "lw": 1.1, "color": RED, "zorder": 2.5}
INVERSION: dict[str, Any] = {"facecolor": "#E9EEF5", "edgecolor": "none", "zorder": -1}
NOTE: dict[str, Any] = {"fontsize": SMALL, "style": "italic", "color": "#333333", "zorder": 4}

Looks = Mapping[float, dict[str, Any]]


def measure(
    seed: int,
    *,
    features: int,
    shared: int,
    fraction: float,
    samples: int,
    distribution: str,
    units_a: int,
    units_b: int,
    draw: int,
) -> list[dict[str, Any]]:
    """Return the scores of two systems that share some features, beside the closed forms of Section 3.4.

    Rows of `metric`, `overlap` (ρ, Eq. (39)), `score`, `theory` (Theorem 3.2 for the projections of this draw, with
    the covariance of the union's latents) and `expected` (over projections). All sizes of a draw see the same
    latents, through projections of their own.
    """
    union = 2 * features - shared
    active = round(fraction * union)
    z = drawn_latents(seed, samples, union, active, distribution)
    chance = stream(seed, "projections", units_a, units_b)
    a, b = (p.numpy() for p in overlapping_projections(units_a, units_b, features, features, shared, generator=chance))
    overlap = float(overlap_ratio(shared, features, features))
    theory = float(cka(a, b, latent_covariance(union, active, distribution)))
    mean = float(expected_cka(units_a, units_b, features, overlap=overlap))
    measured = scores(z @ a.T, z @ b.T)
    return [
        {"metric": name, "overlap": overlap, "score": measured[name], "theory": theory, "expected": mean}
        for name in METRICS
    ]


def study(
    *,
    features: int = 100,
    overlaps: Sequence[float] = (0.7, 0.8, 0.9, 1.0),
    fractions: Sequence[float] = (0.05, 0.1, 0.15, 0.2),
    samples: int = 5000,
    units_a: int | None = None,
    units: Sequence[int] | None = None,
    draws: int = 200,
    distribution: str = "uniform",
    seed: int = 0,
) -> Study:
    """Return the study of Appendix D.2; what the paper leaves out has a default with its reason.

    Parameters
    ----------
    features : int
        Features of either system, n_a = n_b. The number is missing from the paper; 100 makes each overlap ratio a
        whole number of shared features.
    overlaps : sequence of float
        Overlap ratios ρ = n_s / n_a, Eq. (39). The paper's range is 0.7 to 1.
    fractions : sequence of float
        Active latents per sample, as a fraction of the union n_a + n_b − n_s, rounded. The paper's values; that they
        refer to the union, which is what is sampled, is our reading.
    samples : int
        Samples N. Missing from the paper; at 5,000 the simulation's own error is below the markers.
    units_a : int, optional
        Units m_A of the first system. The number is missing from the paper, "comfortably in the CS regime"; by
        default `features`, where k log(n/k) of Eq. (38) is at most 42.
    units : sequence of int, optional
        Units m_B of the second system, from heavily compressed to as many as the first. The range is missing from the
        paper; by default 10 sizes from 5 to `units_a`, equally spaced on a logarithmic axis.
    draws : int
        Pairs of projections, each with latents of its own. The number is missing for this figure; 200 is that of
        Appendix D.1.
    distribution : {"uniform", "signed", "gaussian"}
        Of the latents before the largest are kept. Uniform on [0, 1], as Figure 2 reads the paper.
    seed : int
        The seed that every draw is derived from.

    Returns
    -------
    Study
    """
    first = features if units_a is None else units_a
    sizes = np.unique(np.geomspace(5, first, 10).round().astype(int)) if units is None else units
    cells = grid(
        features=[features],
        shared=[round(overlap * features) for overlap in overlaps],
        fraction=fractions,
        samples=[samples],
        distribution=[distribution],
        units_a=[first],
        draw=range(draws),
        units_b=sizes,
    )
    drawn = ("features", "shared", "fraction", "samples", "distribution", "draw")
    return Study("figure3", measure, cells, seed=seed, draw=drawn, check=checked)


def draw(table: pd.DataFrame) -> Picture:
    """Draw CKA against the second system's units, a panel for each sparsity, and where the order is inverted.

    Upper panels: means over draws, with a bar of one standard deviation; solid, the mean of the draws' own closed
    forms; pale dashes, the expectation over projections; red, the pair that shares most at the fewest units; shaded,
    what scores higher. Lower panel: the overlap above which a pair beats that one, in expectation, and the simulated
    pairs, over all sparsities. A filled marker is a pair that shares less and scores higher.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    points = _beside_reference(table)
    fractions = sorted(points["fraction"].unique())
    overlaps = sorted(points["overlap"].unique(), reverse=True)
    shown = looks(overlaps)
    rival = f"$\\rho = {overlaps[0]:.3g}$ at $m_B = {points['units_b'].min()}$"
    rows = -(-len(fractions) // 2)
    figure, axes = panels(rows + 1, 2, height=1.45, head=0.7)
    figure.subplots_adjust(hspace=0.38)
    for number, (fraction, place) in enumerate(zip(fractions, axes, strict=False)):
        _curves(place, points[points["fraction"] == fraction], shown)
        _sizes(place, points["units_b"])
        place.set_ylim(0, 1.1 * (points["score"] + points["sd"].fillna(0.0)).max())
        dress(
            place,
            f"{100 * fraction:g} % of latents active",
            x="units $m_B$" if number >= len(fractions) - 2 else "",
            y="CKA (debiased)" if number % 2 == 0 else "",
        )
    for place in axes[len(fractions) :]:
        place.remove()
    features, units_a = (int(table[name].iloc[0]) for name in ("features", "units_a"))
    plane = figure.add_subplot(rows + 1, 1, rows + 1)
    _plane(plane, points, features, shown)
    dress(
        plane,
        f"Which pairs beat {rival}?",
        x=f"units $m_B$ of the second system ($m_A = {units_a}$)",
        y="overlap ratio $\\rho$",
    )
    curves = [key(f"$\\rho = {overlap:.3g}$", **DOTS, **look) for overlap, look in shown.items()]
    lines = [*law_keys(), key(rival, **REFERENCE)]
    marks = [
        key("shares less, scores higher", marker="o", color="black", **FILLED),
        key("any other pair", marker="o", color="black", **DOTS),
        _inversion_key("rank inversion"),
    ]
    legend(figure, [*curves, *lines, *marks], columns=3)
    return figure


def _curves(axes: Axes, points: pd.DataFrame, shown: Looks) -> None:
    axes.axhspan(points["reference"].iloc[0], 1, **INVERSION)
    axes.axhline(points["reference"].iloc[0], **REFERENCE)
    for overlap, look in shown.items():
        curve = points[points["overlap"] == overlap].sort_values("units_b")
        laws(axes, curve, "units_b", color=look["color"])
        for inverted, dots in curve.groupby((curve["ahead"] > 0) & curve["partial"]):
            means(axes, dots, "units_b", **{**look, **(FILLED if inverted else {})})


def _plane(axes: Axes, points: pd.DataFrame, features: int, shown: Looks) -> None:
    fewest, whole = points["units_b"].min(), max(shown)
    units = np.geomspace(fewest, MARGIN * points["units_b"].max(), 200)
    bound = whole * inversion_overlap(units, fewest, features)
    axes.fill_between(units, bound, whole, **INVERSION)
    axes.plot(units, bound, color="black", lw=1.2, zorder=3)
    axes.plot(fewest, whole, marker="*", markersize=5.5, color=RED, clip_on=False, zorder=5)
    pairs = points[points["partial"]].groupby(["overlap", "units_b"], as_index=False)["ahead"].mean()
    for overlap, size, ahead in zip(pairs["overlap"], pairs["units_b"], pairs["ahead"], strict=True):
        axes.errorbar(size, overlap, **shown[overlap], **(FILLED if ahead > 0 else DOTS))
    middle = (bound.min() + min(shown)) / 2
    axes.text(units[-1] / 1.05, middle, "expected higher", ha="right", va="center", **NOTE)
    axes.text(fewest, middle, "expected lower", va="center", **NOTE)
    _sizes(axes, points["units_b"])
    axes.set_ylim(min(bound.min(), min(shown)) - 0.05, whole + 0.03)


def _sizes(axes: Axes, units: pd.Series[float]) -> None:
    """Give the x axis a logarithmic scale with the round numbers of its range."""
    low, high = units.min(), units.max()
    axes.set_xscale("log")
    ticks = [tick for power in range(5) for tick in (10**power, 2 * 10**power, 5 * 10**power) if low <= tick <= high]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(low / MARGIN, MARGIN * high)


def _inversion_key(label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(label=label, **INVERSION)


def _points(table: pd.DataFrame, metric: str = SHOWN) -> pd.DataFrame:
    return over_draws(table[table["metric"] == metric], BY)


def _beside_reference(table: pd.DataFrame, metric: str = SHOWN) -> pd.DataFrame:
    """Return the points, each `ahead` of the pair of its sparsity that shares most at the fewest units.

    `partial` marks those that share less than that pair, `clear` those ahead by more than three standard errors.
    """
    points = _points(table, metric)
    most = points["overlap"].max()
    least = points[(points["overlap"] == most) & (points["units_b"] == points["units_b"].min())].set_index("fraction")
    reference, error = (points["fraction"].map(least[column]) for column in ("score", "error"))
    ahead = points["score"] - reference
    return points.assign(
        reference=reference,
        ahead=ahead,
        partial=points["overlap"] < most,
        clear=ahead > 3 * np.nan_to_num(np.hypot(points["error"], error)),
    )


def _beating(metric: str) -> Callable[[pd.DataFrame], float]:
    def number(table: pd.DataFrame) -> float:
        points = _beside_reference(several(table, "overlap"), metric)
        return float(points.loc[points["partial"], "clear"].mean())

    return number


def _least_shared(table: pd.DataFrame) -> float:
    points = _beside_reference(several(table, "overlap"))
    extreme = (points["overlap"] == points["overlap"].min()) & (points["units_b"] == points["units_b"].max())
    return float((points["score"] / points["reference"])[extreme].min())


def _clear_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of settings of one sparsity of which the first scores higher by over three standard errors."""
    points = _points(table)
    pairs = points.merge(points, on="fraction", suffixes=("", "_lower"))
    unsure = 3 * np.nan_to_num(np.hypot(pairs["error"], pairs["error_lower"]))
    return pairs[pairs["score"] - pairs["score_lower"] > unsure]


def _inverted(table: pd.DataFrame) -> float:
    pairs = _clear_pairs(several(table, "overlap"))
    unequal = some(pairs[pairs["overlap"] != pairs["overlap_lower"]], "pairs of settings that are clearly apart")
    return float((unequal["overlap"] < unequal["overlap_lower"]).mean())


def _foretold(table: pd.DataFrame) -> float:
    pairs = some(_clear_pairs(table), "pairs of settings that are clearly apart")
    return float((pairs["expected"] > pairs["expected_lower"]).mean())


def _off_law(table: pd.DataFrame) -> float:
    return off_expectation(_points(table))


def _off_product(table: pd.DataFrame) -> float:
    points = _points(several(table, "overlap"))
    whole = points.loc[points["overlap"] == points["overlap"].max(), [*BY, "score", "error"]]
    beside = points.merge(whole, on=["fraction", "units_b"], suffixes=("", "_whole"))
    partial = beside[beside["overlap"] < beside["overlap_whole"]]
    ratio = partial["score"] / partial["score_whole"]
    error = ratio * np.hypot(partial["error"] / partial["score"], partial["error_whole"] / partial["score_whole"])
    return excess(ratio - partial["overlap"] / partial["overlap_whole"], error)


def _rise(along: str, by: Sequence[str]) -> Callable[[pd.DataFrame], float]:
    return lambda table: smallest_step(_points(table), along, by)


def _between_sparsities(table: pd.DataFrame) -> float:
    return spread(_points(several(table, "fraction")), ["overlap", "units_b"])


GAP = "largest |mean of score − closed form| over settings, beyond 3 standard errors"
BEATING = "share of settings of partial overlap above identical features at the fewest units, by > 3 standard errors"
STEP = "smallest step of the mean between neighbours, plus 3 standard errors"

CLAIMS = (
    Claim(
        "Pairs of partial overlap, less compressed, register higher alignment than pairs of identical features.",
        "Section 4.2",
        BEATING,
        _beating(SHOWN),
        low=0.01,
    ),
    Claim("So they do by CKA as published, with its bias.", "Section 4.2", BEATING, _beating("cka"), low=0.01),
    Claim(
        "Even the pair that shares least does, once it is not compressed.",
        "Section 4.2",
        "its smallest mean CKA over sparsities, relative to that of identical features at the fewest units",
        _least_shared,
        low=1.1,
    ),
    Claim(
        "The ordering that alignment induces need not reflect the ordering of feature overlap.",
        "Section 4.2",
        "share of pairs of unequal overlap and CKA (by > 3 standard errors) of which the one that shares less leads",
        _inverted,
        low=0.01,
    ),
    Claim(
        "At equal size alignment does reflect feature overlap.",
        "Section 3.4",
        STEP,
        _rise("overlap", ["fraction", "units_b"]),
        low=0,
    ),
    Claim(
        "At equal overlap alignment rises with the second system's size.",
        "Section 4.2",
        STEP,
        _rise("units_b", ["fraction", "overlap"]),
        low=0,
    ),
    Claim("The closed form with column-masked projections matches CKA.", "Section 3.4", GAP, gap(BY, SHOWN), 0, 0.004),
    Claim("Biased CKA, as published, matches it too.", "Eq. (19)", GAP, gap(BY, "cka"), 0, 0.004),
    Claim(
        "CKA represents RSA without loss of generality: both have the same limit.",
        "Appendix D.2",
        "largest |mean of RSA − CKA|, beyond 3 standard errors",
        apart(BY, "rsa", SHOWN),
        0,
        0.004,
    ),
    Claim(
        "The expectation over projections has a closed form: overlap ratio times deflation.",
        "beyond the paper",
        "largest |mean CKA − expectation|, beyond 3 standard errors",
        _off_law,
        0,
        0.015,
    ),
    Claim(
        "Content and encoding factorise: partial overlap scales the CKA of identical features by ρ, at any size.",
        "beyond the paper",
        "largest |CKA relative to identical features − ρ|, beyond 3 standard errors",
        _off_product,
        0,
        0.02,
    ),
    Claim(
        "An exact condition on overlap and units says which of two pairs scores higher.",
        "beyond the paper",
        "share of pairs of settings, apart by > 3 standard errors, in the order of their expectations",
        _foretold,
        0.999,
        1,
    ),
    Claim(
        "Sparsity does not matter: alignment depends on overlap and units alone.",
        "beyond the paper",
        "largest difference of mean CKA between sparsities, beyond 3 standard errors",
        _between_sparsities,
        0,
        0.01,
    ),
)

FIGURE = Figure(
    "figure3",
    study,
    scales={
        "smoke": {
            "features": 40,
            "samples": 1000,
            "overlaps": (0.7, 1.0),
            "fractions": (0.1, 0.2),
            "units": (5, 12, 40),
            "draws": 8,
        },
        "laptop": {"draws": 10},
        "paper": {},
    },
    draw=draw,
    claims=CLAIMS,
)
