"""Few samples: what every score reads of the same two systems as samples accumulate (beyond the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.arrays import contiguous_folds, meant
from superpose.files import DataError, argument
from superpose.metrics.cka import CKA, CKA_DEBIASED
from superpose.metrics.kernels import kernel_sums
from superpose.metrics.regression import OLS_R2
from superpose.metrics.rsa import RSA
from superpose.metrics.splits import split_of
from superpose.moments import of_pair
from superpose.paper.canvas import COLOURS, DASHED, DOTS, MARKERS, NAMES, SOLID, dress, key, laws, legend, means, panels
from superpose.paper.claims import Claim, some
from superpose.paper.figure import Figure
from superpose.paper.simulation import IN_SAMPLE, checked, drawn_latents, projections
from superpose.paper.summary import excess, gap, least, most, off_expectation, over_draws
from superpose.studies.study import Study, grid
from superpose.theory import adjusted_r2, cka, finite_sample_cka, held_out_r2, in_sample_r2, regression

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

Array = NDArray[Any]
Row = dict[str, Any]

FOLDS = 5
TRAINING = 1 - 1 / FOLDS
WHITE = ("signed", "gaussian")
BY = ("pair", "units", "samples")
SIMILARITIES = ("cka", "cka_debiased", "rsa")
EXPLAINED = ("r2_in_sample", "r2_adjusted", "r2_held_out")


def measure(
    seed: int, *, latents: int, samples: int, active: int, distribution: str, entries: str, units: int, draw: int
) -> list[Row]:
    """Return the scores of a pair of systems, and of a pair that shares nothing, beside what to expect of them.

    Rows of `pair` ("same": driven by the same latents; "unrelated": each by latents of its own), `metric`, `score`,
    `theory` (its law at this number of samples) and `expected` (its limit with many samples, Theorems 3.1 to 3.3).
    A regression that has too few samples for its law has no row. All sizes of a draw see the same projections.
    """
    z, others = np.split(drawn_latents(seed, 2 * samples, latents, active, distribution), 2)
    a, b = projections(seed, units, latents, entries)
    nothing = np.zeros_like(a)
    x = z @ a.T
    return [
        *_rows("same", x, z @ b.T, a, b),
        *_rows("unrelated", x, others @ b.T, np.hstack([a, nothing]), np.hstack([nothing, b])),
    ]


def held_out_law(r2: float, samples: int, units: int) -> float:
    """Return the R² to expect over five folds, against the variance of the held-out fold itself.

    `superpose.theory.held_out_r2` (Stein 1960) is against a large test set's variance. About the mean of T held-out
    samples the targets' sum of squares is lower by (T − 1)/T, which matters where folds are small.

    Parameters
    ----------
    r2 : float
        R² of the best linear prediction.
    samples : int
        Samples N, of which four fifths train.
    units : int
        Predictors p; fewer than the training samples by 3 at least.

    Returns
    -------
    float

    Raises
    ------
    DataError
        If the training samples are too few for the predictors.

    Examples
    --------
    >>> from superpose.paper.samples import held_out_law
    >>> from superpose.theory import held_out_r2
    >>> round(held_out_law(0.5, 500, 32), 3), round(float(held_out_r2(0.5, 400, 32)), 3)
    (0.449, 0.455)
    """
    tested = samples / FOLDS
    return 1 - (1 - float(held_out_r2(r2, _trained(samples), units))) * tested / (tested - 1)


def _rows(pair: str, x: Array, y: Array, a: Array, b: Array) -> list[Row]:
    samples, units = x.shape
    split = split_of(samples, cv=contiguous_folds(samples, FOLDS))
    moments = of_pair(x, y, split.folds)
    sums = kernel_sums(moments)
    limit, r2 = cka(a, b), regression(a, b, score="r2")
    rows = [
        ("cka", CKA.score(sums), finite_sample_cka(a, b, samples), limit),
        ("cka_debiased", CKA_DEBIASED.score(sums), limit, limit),
        ("rsa", RSA.score(sums), limit, limit),
    ]
    if samples >= units + 2:
        fitted = IN_SAMPLE.score(IN_SAMPLE.family.sums(moments.merged()))
        rows += [
            ("r2_in_sample", fitted, in_sample_r2(r2, samples, units), r2),
            ("r2_adjusted", adjusted_r2(fitted, samples, units), r2, r2),
        ]
    if _trained(samples) >= units + 3:
        held_out = OLS_R2.planned(split.plan)
        rows += [("r2_held_out", held_out.score(held_out.family.sums(moments)), held_out_law(r2, samples, units), r2)]
    return [
        {"pair": pair, "metric": metric, "score": float(score), "theory": float(law), "expected": float(many)}
        for metric, score, law, many in rows
    ]


def _trained(samples: int) -> int:
    """Return the training samples of a round whose held-out fold is the largest."""
    return samples - -(-samples // FOLDS)


def study(
    *,
    latents: int = 256,
    samples: Sequence[int] | None = None,
    active: int = 16,
    units: Sequence[int] = (32, 128),
    draws: int = 100,
    distribution: str = "signed",
    entries: str = "gaussian",
    seed: int = 0,
) -> Study:
    """Return the study of the scores at few samples, which the paper (limits of many samples) does not have.

    Parameters
    ----------
    latents : int
        Features n, as in Figure 2.
    samples : sequence of int, optional
        Samples N. By default 14 sizes from 50 to 20,000, equally spaced on a logarithmic axis: from fewer than the
        units to as many as make every bias invisible.
    active : int
        Active latents per sample, k. The laws are of normal latents (active = latents with "gaussian"); 16 of
        256 is sparse, and has no visible distance from them. With k of 2 and few samples regression has one.
    units : sequence of int
        Units m of both systems: an eighth and a half of the latents.
    draws : int
        Pairs of projections, each with latents of its own.
    distribution : {"signed", "gaussian"}
        Of the latents before the largest are kept. Both give white latents, as the laws assume.
    entries : {"gaussian", "uniform", "rademacher", "sparse", "haar", "unit_norm"}
        Ensemble of the projections.
    seed : int
        The seed that every draw is derived from.

    Returns
    -------
    Study

    Raises
    ------
    DataError
        For another distribution.
    """
    if distribution not in WHITE:
        raise DataError(
            f"{argument('distribution')} is {distribution!r}; expected one whose latents are white: "
            f"{' or '.join(WHITE)}.{meant(distribution, WHITE)}"
        )
    sizes = np.geomspace(50, 20_000, 14).round().astype(int) if samples is None else samples
    cells = grid(
        latents=[latents],
        active=[active],
        distribution=[distribution],
        entries=[entries],
        draw=range(draws),
        samples=sizes,
        units=units,
    )
    drawn = ("latents", "active", "distribution", "draw")
    return Study("samples", measure, cells, seed=seed, draw=drawn, check=checked)


LOOKS: dict[str, dict[str, Any]] = {
    "cka": {"marker": MARKERS[1], "color": COLOURS[1]},
    "cka_debiased": {"marker": MARKERS[0], "color": COLOURS[0], "markersize": 5.0},
    "rsa": {"marker": MARKERS[6], "color": COLOURS[6]},
    "r2_in_sample": {"marker": MARKERS[4], "color": COLOURS[5]},
    "r2_adjusted": {"marker": MARKERS[2], "color": COLOURS[2]},
    "r2_held_out": {"marker": MARKERS[3], "color": COLOURS[3]},
}
LABELS = {**NAMES, "r2_in_sample": "$R^2$ (in sample)", "r2_held_out": "$R^2$ (held out)"}
TITLES = {"same": "same latents", "unrelated": "unrelated"}
ROWS = (("same", SIMILARITIES, "similarity"), ("same", EXPLAINED, "$R^2$"), ("unrelated", SIMILARITIES, "similarity"))
LIMITS = {"similarity": (-0.08, 1.03), "$R^2$": (-0.9, 1.08)}
ENOUGH: dict[str, Any] = {"ls": ":", "lw": 0.9, "color": "#777777", "zorder": 1}


def draw(table: pd.DataFrame) -> Picture:
    """Draw the scores against samples, a column for each number of units.

    Markers: means over draws, with a bar of one standard deviation. Solid: the law at that number of samples.
    Dashed: its limit. Dotted: as many training samples as latents, below which R² held out is negative.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    points = over_draws(table, BY)
    sizes = sorted(points["units"].unique())
    latents = int(table["latents"].iloc[0])
    figure, axes = panels(len(ROWS), len(sizes), height=1.32, head=0.62)
    for place, (number, units) in zip(axes, [(row, m) for row in range(len(ROWS)) for m in sizes], strict=True):
        pair, metrics, y = ROWS[number]
        here = points[(points["pair"] == pair) & (points["units"] == units)]
        _curves(place, here, metrics)
        if metrics is EXPLAINED:
            place.axvline(latents / TRAINING, **ENOUGH)
        dress(
            place,
            f"{TITLES[pair]}, $m = {units}$",
            x="samples $N$" if number == len(ROWS) - 1 else "",
            y=y if units == sizes[0] else "",
        )
        place.set_xscale("log")
        place.set_xlim(points["samples"].min() / 1.25, points["samples"].max() * 1.25)
        place.set_ylim(*LIMITS[y])
    dots = [key(LABELS[name], **{**DOTS, **LOOKS[name]}) for name in (*SIMILARITIES, *EXPLAINED)]
    lines = [
        key("law at $N$ samples", **SOLID, color="black"),
        key("with many samples", **DASHED),
        key("training samples $= n$", **ENOUGH),
    ]
    legend(figure, [*dots, *lines], columns=3)
    return figure


def _curves(axes: Axes, points: pd.DataFrame, metrics: Sequence[str]) -> None:
    for name in metrics:
        curve = points[points["metric"] == name].sort_values("samples")
        laws(axes, curve, "samples")
        means(axes, curve, "samples", **LOOKS[name])


def _points(table: pd.DataFrame, metric: str, pair: str | None = None) -> pd.DataFrame:
    points = over_draws(table[table["metric"] == metric], BY)
    return points if pair is None else points[points["pair"] == pair]


def _relative_gap(table: pd.DataFrame) -> float:
    points = _points(table, "r2_held_out")
    unexplained = 1 - points["theory"]
    return excess(points["gap"] / unexplained, points["gap_error"] / unexplained)


def _bias_with_many(table: pd.DataFrame) -> float:
    points = _points(table, "cka")
    return off_expectation(some(points[points["samples"] >= 50 * points["units"]], "50 samples a unit"))


def _unrelated_with_few(table: pd.DataFrame) -> float:
    points = _points(table, "cka", "unrelated")
    few = some(points[points["samples"] <= 2 * points["units"]], "two samples a unit or fewer")
    return least(few["score"], few["error"])


def _unrelated_above_same(table: pd.DataFrame) -> float:
    few = table["samples"] == table["samples"].min()
    unrelated = _points(table[few], "cka", "unrelated").set_index("units")
    same = _points(table[few], "cka", "same").set_index("units")
    return least(unrelated["score"] - same["expected"], unrelated["error"])


def _held_out_with_few(table: pd.DataFrame) -> float:
    points = _points(table, "r2_held_out", "same")
    few = some(points[TRAINING * points["samples"] < table["latents"].iloc[0]], "fewer training samples than latents")
    return most(few["score"], few["error"])


def _held_out_with_many(table: pd.DataFrame) -> float:
    points = _points(table, "r2_held_out", "same")
    many = some(points[TRAINING * points["samples"] > 1.5 * table["latents"].iloc[0]], "1.5 training samples a latent")
    return least(many["score"], many["error"])


GAP = "largest |mean of score − law| over pairs, units and samples, beyond 3 standard errors"
BEYOND = "beyond the paper"

CLAIMS = (
    Claim("Biased CKA follows its law at every number of samples.", BEYOND, GAP, gap(BY, "cka"), 0, 0.01),
    Claim(
        "Debiased CKA estimates Theorem 3.2 at every number of samples.", BEYOND, GAP, gap(BY, "cka_debiased"), 0, 0.01
    ),
    Claim("RSA estimates Theorem 3.1 at every number of samples.", BEYOND, GAP, gap(BY, "rsa"), 0, 0.01),
    Claim("R² in sample follows its law.", BEYOND, GAP, gap(BY, "r2_in_sample"), 0, 0.01),
    Claim(
        "Adjusted R² estimates Theorem 3.3 at every number of samples.", BEYOND, GAP, gap(BY, "r2_adjusted"), 0, 0.01
    ),
    Claim(
        "R² held out follows its law.",
        BEYOND,
        "largest |mean of score − law| as a share of 1 − law, beyond 3 standard errors",
        _relative_gap,
        0,
        0.02,
    ),
    Claim(
        "Biased CKA is within 0.02 of Theorem 3.2 from 50 samples a unit on.",
        BEYOND,
        "largest |mean − limit| for N ≥ 50 m, beyond 3 standard errors",
        _bias_with_many,
        0,
        0.02,
    ),
    Claim(
        "Unrelated systems have a high biased CKA with no more than two samples a unit.",
        BEYOND,
        "smallest mean for N ≤ 2 m, less 3 standard errors",
        _unrelated_with_few,
        low=0.2,
    ),
    Claim(
        "With few samples biased CKA puts unrelated systems above what systems of the same latents deserve.",
        BEYOND,
        "smallest mean of the unrelated pair − limit of the same pair at the fewest samples, less 3 standard errors",
        _unrelated_above_same,
        low=0,
    ),
    Claim(
        "R² held out is negative with fewer training samples than latents, however many units there are.",
        BEYOND,
        "largest mean with fewer training samples than latents, plus 3 standard errors",
        _held_out_with_few,
        high=0,
    ),
    Claim(
        "R² held out is positive with enough training samples.",
        BEYOND,
        "smallest mean with over 1.5 training samples a latent, less 3 standard errors",
        _held_out_with_many,
        low=0,
    ),
)

FIGURE = Figure(
    "samples",
    study,
    scales={
        "smoke": {"latents": 64, "active": 8, "units": (8, 32), "samples": (24, 96, 384, 1536), "draws": 8},
        "laptop": {"draws": 16},
        "paper": {},
    },
    draw=draw,
    claims=CLAIMS,
)
