"""Why bigger models align better: equal features in ever more units, for six ensembles (Sections 1 and 9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from superpose.paper.canvas import DOTS, NAMES, SOLID, dress, key, legend, looks, means, panels, powers_of_two
from superpose.paper.claims import Claim, some
from superpose.paper.figure import Figure
from superpose.paper.simulation import checked, drawn_latents, expected, predictions, scores, stream
from superpose.paper.summary import excess, off_expectation, over_draws, smallest_step
from superpose.studies.study import Study, grid
from superpose.systems import projection
from superpose.theory import cka, expected_cka

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

ENSEMBLES = {
    "gaussian": "Gaussian",
    "uniform": "uniform",
    "rademacher": "random sign",
    "sparse": "sparse, $\\kappa = 30$",
    "haar": "orthonormal rows",
    "unit_norm": "unit-norm columns",
}
LOOKS = looks(ENSEMBLES)
ROWS = 512
METRICS = ("rsa", "cka_debiased", "r2_adjusted")
EDGE: dict[str, Any] = {"color": "#777777", "lw": 0.9, "ls": ":", "zorder": 1}
BY = ("entries", "units_a", "units_b")


def measure(
    seed: int,
    *,
    latents: int,
    samples: int,
    active: int,
    distribution: str,
    draw: int,
    entries: str,
    units_a: int,
    units_b: int,
) -> list[dict[str, Any]]:
    """Return the scores of two systems of equal features and any widths, beside the closed forms.

    Rows of `metric`, `score`, `theory` (Theorems 3.1 to 3.3 for the projections of this draw) and `expected`
    (Section 3.1, over projections). R² is that of system b predicted from a. All sizes and ensembles of a draw see
    the same latents. The row `cka_closed` is the mean of Theorem 3.2 for white latents over many other pairs, to
    tell how far the ratio of expectations of Section 3.1 is from the expectation.
    """
    z = drawn_latents(seed, samples, latents, active, distribution).astype(np.float64)
    a, b = (
        projection(units, latents, entries=entries, generator=stream(seed, system, entries, units)).numpy()
        for system, units in (("a", units_a), ("b", units_b))
    )
    # In double precision: square projections of heavy-tailed entries can be close to singular.
    measured = scores(z @ a.T, z @ b.T)
    theory = predictions(a, b, active, distribution)
    means = expected(units_a, units_b, latents, entries)
    closed = _closed_form(seed, latents, entries, units_a, units_b)
    ratio = means["cka_debiased"]
    return [
        *(
            {"metric": name, "score": measured[name], "theory": theory[name], "expected": means[name]}
            for name in METRICS
        ),
        {"metric": "cka_closed", "score": closed, "theory": ratio, "expected": ratio},
    ]


def _closed_form(seed: int, latents: int, entries: str, units_a: int, units_b: int) -> float:
    # As many entries at every size: a mean over few large projections is as sure as one over many small ones.
    repeats = (-(-ROWS // max(units_a, units_b)),)
    a, b = (
        projection(
            units, latents, entries=entries, repeats=repeats, generator=stream(seed, "closed", system, entries, units)
        ).numpy()
        for system, units in (("a", units_a), ("b", units_b))
    )
    return float(np.mean(cka(a, b)))


def study(
    *,
    latents: int = 128,
    samples: int = 2000,
    active: int = 8,
    units: Sequence[int] | None = None,
    small: int | None = None,
    entries: Sequence[str] = tuple(ENSEMBLES),
    draws: int = 100,
    distribution: str = "signed",
    seed: int = 0,
) -> Study:
    """Return the study of width: two systems of equal width, and a narrow one beside systems of every width.

    The paper reads the rise of alignment with model size as falling compression (Section 9), and does not measure
    it; every number here is ours.

    Parameters
    ----------
    latents : int
        Features n. The laws depend on units / latents, up to terms of order 1 / latents.
    samples : int
        Samples N; at 2,000 the simulation's own error is below the spread over projections.
    active : int
        Active latents per sample, k. Scores of raw activity hardly depend on it (Figure 2).
    units : sequence of int, optional
        Units m. By default the powers of two times `latents`, from 1/32 to 4: beyond 1 there is no superposition.
    small : int, optional
        Units of the system that keeps its width while the other grows. By default an eighth of `latents`.
    entries : sequence of str
        Ensembles of the projections. Orthonormal rows, "haar", end at m = n.
    draws : int
        Pairs of projections.
    distribution : {"signed", "uniform", "gaussian"}
        Of the latents before the largest are kept. "signed" latents are white, as the laws presume; the largest of
        "uniform" ones have nearly the same sum in each sample, and so a dimension fewer.
    seed : int
        The seed that every draw is derived from.

    Returns
    -------
    Study
    """
    sizes = [max(1, round(latents * 2.0**power)) for power in range(-5, 3)] if units is None else list(units)
    narrow = max(1, latents // 8) if small is None else small
    pairs = dict.fromkeys([(m, m) for m in sizes] + [(narrow, m) for m in sizes])
    settings = grid(
        latents=[latents],
        samples=[samples],
        active=[active],
        distribution=[distribution],
        draw=range(draws),
        entries=entries,
    )
    cells = [
        {**setting, "units_a": a, "units_b": b}
        for setting in settings
        for a, b in pairs
        if setting["entries"] != "haar" or max(a, b) <= latents
    ]
    drawn = ("latents", "samples", "active", "distribution", "draw")
    return Study("width", measure, cells, seed=seed, draw=drawn, check=checked)


def draw(table: pd.DataFrame) -> Picture:
    """Draw similarity and R² against units over features, one marker an ensemble.

    Markers: means over draws, with a bar of one standard deviation. Lines: the expectations over projections.
    Above, both systems grow. Below left, one keeps its width. Below right, how far the mean of the closed form lies
    from the ratio of expectations that stands for it, with a bar of one standard error.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    points = _points(table)
    latents, small = int(table["latents"].iloc[0]), _small(table)
    both, one = points[points["units_a"] == points["units_b"]], points[points["units_a"] == small]
    figure, (similarity, regression, fixed, missed) = panels(2, 2, height=1.45, head=0.56)
    figure.subplots_adjust(wspace=0.42, hspace=0.3)
    _curves(similarity, both[both["metric"] == "cka_debiased"], latents, lambda units: (units, units))
    _curves(regression, both[both["metric"] == "r2_adjusted"], latents, lambda units: (units, units))
    _curves(fixed, one[one["metric"] == "cka_debiased"], latents, lambda units: (small, units))
    _misses(missed, both[both["metric"] == "cka_closed"])
    share = f"n/{latents // small}" if latents % small == 0 else f"{small}"
    dress(similarity, "$m$ units beside $m$", y=NAMES["cka_debiased"])
    dress(regression, "$m$ units predict $m$", y=NAMES["r2_adjusted"])
    dress(fixed, f"${share}$ units beside $m$", x="units a feature, $m/n$", y=NAMES["cka_debiased"])
    dress(missed, "$m$ beside $m$, closed form", x="units a feature, $m/n$", y="CKA above expectation, %")
    for axes in (similarity, regression, fixed, missed):
        _widths(axes, points)
    for axes in (similarity, regression):
        axes.set_ylim(-0.03, 1.05)
    fixed.set_ylim(bottom=0)
    there = set(points["entries"])
    dots = [key(ENSEMBLES[name], **DOTS, **look) for name, look in LOOKS.items() if name in there]
    lines = [key("expectation", **SOLID, color="black"), key("$m = n$", **EDGE)]
    legend(figure, [*dots, *lines], columns=3)
    return figure


def _points(table: pd.DataFrame) -> pd.DataFrame:
    points = over_draws(table, BY)
    return points.assign(ratio=points["units_b"] / table["latents"].iloc[0])


def _small(table: pd.DataFrame) -> int:
    """Return the width that one system keeps: that of a in the pairs of unequal widths."""
    unequal = some(table[table["units_a"] != table["units_b"]], "pairs of unequal widths")
    return int(unequal["units_a"].iloc[0])


def _curves(axes: Axes, points: pd.DataFrame, latents: int, widths: Callable[[int], tuple[int, int]]) -> None:
    metric = points["metric"].iloc[0]
    for name, look in LOOKS.items():
        dots = points[points["entries"] == name]
        if len(dots):
            ends = dots["units_b"].min(), dots["units_b"].max()
            sizes = np.unique(np.geomspace(*ends, 60).round().astype(int))
            law = [expected(*widths(int(size)), latents, name)[metric] for size in sizes]
            axes.plot(sizes / latents, law, **SOLID, color="black")
            means(axes, dots, "ratio", **look)


def _misses(axes: Axes, points: pd.DataFrame) -> None:
    axes.axhline(0, **SOLID, color="black")
    for place, (name, look) in enumerate(LOOKS.items()):
        curve = points[points["entries"] == name]
        # Side by side, as most of them lie on each other.
        aside = 2 ** (0.12 * (place - (len(LOOKS) - 1) / 2))
        miss, error = 100 * (curve["score"] / curve["expected"] - 1), 100 * curve["error"] / curve["expected"]
        axes.errorbar(curve["ratio"] * aside, miss, error, **DOTS, **look)


def _widths(axes: Axes, points: pd.DataFrame) -> None:
    powers_of_two(axes, points["ratio"])
    ticks = axes.get_xticks()
    axes.set_xticks(ticks, [f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}" for tick in ticks])
    axes.set_xlim(points["ratio"].min() / 1.5, points["ratio"].max() * 1.5)
    axes.axvline(1, **EDGE)


def _light(table: pd.DataFrame) -> pd.DataFrame:
    return some(table[table["entries"] != "sparse"], "ensembles without heavy tails")


def _heavy(table: pd.DataFrame) -> pd.DataFrame:
    return some(table[table["entries"] == "sparse"], "ensembles with heavy tails")


def _everything(table: pd.DataFrame) -> pd.DataFrame:
    return table


def _equal(table: pd.DataFrame, metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """Return the points of pairs of equal width."""
    return _points(table[(table["units_a"] == table["units_b"]) & table["metric"].isin(metrics)])


def _beside_small(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    return _points(table[(table["units_a"] == _small(table)) & (table["metric"] == metric)])


def _rise(table: pd.DataFrame) -> float:
    return smallest_step(_equal(table), "units_b", ["entries"])


def _rise_beside_small(table: pd.DataFrame) -> float:
    return smallest_step(_beside_small(table, "cka_debiased"), "units_b", ["entries"])


def _at(ratio: float, entries: str) -> Callable[[pd.DataFrame], float]:
    """Return the mean CKA of two equally wide systems of so many units a feature."""

    def number(table: pd.DataFrame) -> float:
        points = _equal(table[table["entries"] == entries], ["cka_debiased"])
        there = some(points[np.isclose(points["ratio"], ratio)], f"{entries} systems of {ratio:g} units a feature")
        return float(there["score"].mean())

    return number


def _off_law(rows: Callable[[pd.DataFrame], pd.DataFrame], *metrics: str) -> Callable[[pd.DataFrame], float]:
    def number(table: pd.DataFrame) -> float:
        return off_expectation(_points(rows(table[table["metric"].isin(metrics)])))

    return number


def _off_ratio(rows: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[pd.DataFrame], float]:
    def number(table: pd.DataFrame) -> float:
        points = _equal(rows(table), ["cka_closed"])
        return excess(points["score"] / points["expected"] - 1, points["error"] / points["expected"])

    return number


def _limit(table: pd.DataFrame) -> float:
    """Return the expected CKA beside a Gaussian system of any number of units."""
    return float(expected_cka(_small(table), 2**62, int(table["latents"].iloc[0])))


def _share_of_limit(table: pd.DataFrame) -> float:
    points = _beside_small(some(table[table["entries"] == "gaussian"], "Gaussian systems"), "cka_debiased")
    return float(points["score"].max() / _limit(table))


def _unequal_r2(table: pd.DataFrame) -> float:
    points = _beside_small(table, "r2_adjusted")
    share = _small(table) / table["latents"].iloc[0]
    return excess(points["score"] - share, points["error"])


CLAIMS = (
    Claim(
        "Alignment of equal features increases with model size, as larger models compress less: RSA, CKA and R².",
        "Section 9",
        "smallest step of the mean between neighbouring widths, in any ensemble, plus 3 standard errors",
        _rise,
        low=-1e-4,
    ),
    Claim(
        "Smaller models achieve lower alignment, beside one narrow model too.",
        "Section 1",
        "smallest step of mean CKA between neighbouring widths of the other system, plus 3 standard errors",
        _rise_beside_small,
        low=0,
    ),
    Claim(
        "A narrow model bounds it: beside Gaussian systems of any width, CKA ends at √(m/(m + n + 1)).",
        "beyond the paper",
        "largest mean CKA as a share of that limit",
        _share_of_limit,
        0.8,
        1,
    ),
    Claim(
        "A narrow model predicts a wide one no better than a narrow one: R² stays m/n of the narrow one.",
        "beyond the paper",
        "largest |mean R² − m/n|, beyond 3 standard errors",
        _unequal_r2,
        0,
        0.005,
    ),
    Claim(
        "Without superposition, at m = n, equal features align fully: Gaussian projections.",
        "beyond the paper",
        "mean CKA at m = n",
        _at(1, "gaussian"),
        low=0.95,
    ),
    Claim(
        "Without superposition, at m = n, equal features align fully: orthonormal rows.",
        "beyond the paper",
        "mean CKA at m = n",
        _at(1, "haar"),
        low=0.95,
    ),
    Claim(
        "Four units a feature make equal features align fully: Gaussian projections.",
        "beyond the paper",
        "mean CKA at m = 4n",
        _at(4, "gaussian"),
        low=0.95,
    ),
    Claim(
        "The expectation holds for kurtosis up to 3, orthonormal rows, unit-norm columns.",
        "beyond the paper",
        "largest |mean RSA or CKA − expectation| over widths, beyond 3 standard errors",
        _off_law(_light, "rsa", "cka_debiased"),
        0,
        0.005,
    ),
    Claim(
        "The expectation holds for heavy tails, kurtosis 30.",
        "beyond the paper",
        "largest |mean RSA or CKA − expectation| over widths, beyond 3 standard errors",
        _off_law(_heavy, "rsa", "cka_debiased"),
        0,
        0.005,
    ),
    Claim(
        "R² = min(m/n, 1) whatever the ensemble.",
        "beyond the paper",
        "largest |mean R² − expectation| over widths, beyond 3 standard errors",
        _off_law(_everything, "r2_adjusted"),
        0,
        0.01,
    ),
    Claim(
        "The ratio of expectations is the expectation: kurtosis up to 3, orthonormal rows, unit-norm columns.",
        "Section 3.1",
        "largest relative distance of the mean closed form of CKA, beyond 3 standard errors",
        _off_ratio(_light),
        0,
        0.02,
    ),
    Claim(
        "The ratio of expectations is the expectation: kurtosis 30.",
        "Section 3.1",
        "largest relative distance of the mean closed form of CKA, beyond 3 standard errors",
        _off_ratio(_heavy),
        0,
        0.02,
    ),
)

FIGURE = Figure(
    "width",
    study,
    scales={
        "smoke": {"latents": 32, "samples": 500, "units": (4, 8, 32, 128), "small": 8, "draws": 2},
        "laptop": {"latents": 64, "draws": 15},
        "paper": {},
    },
    draw=draw,
    claims=CLAIMS,
)
