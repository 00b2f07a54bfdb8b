"""Which matrix and which comparison: only some kinds of RSA follow Theorem 3.1 (Section 2.2, its footnote 1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import comb
from typing import TYPE_CHECKING, Any

import pandas as pd
from numpy.typing import NDArray

from superpose.metrics.rsa import COMPARATORS, RDMS, rsa
from superpose.paper.canvas import DASHED, DOTS, SOLID, dress, key, legend, looks, means, panels, powers_of_two
from superpose.paper.claims import Claim, Estimate, some
from superpose.paper.figure import Figure
from superpose.paper.simulation import checked, drawn_latents, predictions, projections
from superpose.paper.summary import excess, gap, over_draws, smallest_step
from superpose.studies.study import Study, grid
from superpose.theory import latent_fourth_moments, rsa_euclidean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

Array = NDArray[Any]

ACTIVE = (2, 4, 16, 64)
BY = ("active", "units")
LIKE_THEOREM = ("dot pearson", "dot cosine")


def measure(
    seed: int, *, latents: int, samples: int, active: int, distribution: str, entries: str, units: int, draw: int
) -> list[dict[str, Any]]:
    """Return the RSA of two systems of equal features by every matrix and comparison, beside the closed forms.

    Rows of `metric` ("dot pearson", …), `score`, `theory` (the variant's own closed form; None where there is none)
    and `expected` (Theorem 3.1 for the same projections, which the paper has for all). The cosine of centred inner
    products, which average 0, has the limit of their correlation.
    """
    z = drawn_latents(seed, samples, latents, active, distribution)
    a, b = projections(seed, units, latents, entries)
    x, y = z @ a.T, z @ b.T
    theorem = predictions(a, b, active, distribution)["rsa"]
    laws = dict.fromkeys(LIKE_THEOREM, theorem) | _euclidean_law(a, b, active, distribution)
    rows = []
    for rdm, comparator in product(RDMS, COMPARATORS):
        metric = f"{rdm} {comparator}"
        score = float(rsa(x, y, rdm=rdm, comparator=comparator))
        rows.append({"metric": metric, "score": score, "theory": laws.get(metric), "expected": theorem})
    return rows


def _euclidean_law(a: Array, b: Array, active: int, distribution: str) -> dict[str, float]:
    """Return the closed form of squared distances for the latents that it is known for."""
    if distribution != "signed":
        return {}
    return {"euclidean pearson": float(rsa_euclidean(a, b, *latent_fourth_moments(a.shape[-1], active)))}


def spearman_ceiling(latents: int, active: int) -> float:
    """Return what Spearman RSA of inner products rises to as units accumulate: 1 − (1 − f)³, not 1.

    f = 1 − C(n − k, k)/C(n, k) is the share of pairs of samples that share an active latent. The inner products of
    the other pairs, 0 in the latents, are what projections leave of them: small, and ordered by chance in either
    system. A tie of a share t of all entries that is broken at random twice takes t³ off a rank correlation
    (Kendall, Rank Correlation Methods, 1948, chapter 3). Latents that do not average 0 end a little higher.

    Parameters
    ----------
    latents, active : int
        n and k.

    Returns
    -------
    float

    Examples
    --------
    >>> from superpose.paper.rdms import spearman_ceiling
    >>> [round(spearman_ceiling(64, k), 3) for k in (2, 4, 16)]
    [0.175, 0.548, 1.0]
    """
    return 1 - (comb(latents - active, active) / comb(latents, active)) ** 3


def study(
    *,
    latents: int = 64,
    samples: int = 500,
    active: Sequence[int] = ACTIVE,
    units: Sequence[int] = (4, 8, 16, 32, 64, 128, 256),
    draws: int = 50,
    distribution: str = "signed",
    entries: str = "gaussian",
    seed: int = 0,
) -> Study:
    """Return the study of RSA's variants, of which the paper has the correlation of inner products alone.

    Parameters
    ----------
    latents : int
        Features n, as in the paper's figures of recovered features.
    samples : int
        Samples N; ranks take all N (N − 1)/2 pairs.
    active : sequence of int
        Active latents per sample, k; the last are dense.
    units : sequence of int
        Units m of both systems, to four times the latents: more units than latents show where a variant goes.
    draws : int
        Pairs of projections.
    distribution : {"signed", "gaussian", "uniform"}
        Of the latents before the largest are kept. The closed form of squared distances is of "signed" ones.
    entries : {"gaussian", "uniform", "rademacher", "sparse", "haar", "unit_norm"}
        Ensemble of the projections.
    seed : int
        The seed that every draw is derived from.

    Returns
    -------
    Study
    """
    cells = grid(
        latents=[latents],
        samples=[samples],
        active=active,
        distribution=[distribution],
        entries=[entries],
        draw=range(draws),
        units=units,
    )
    drawn = ("latents", "samples", "active", "distribution", "draw")
    return Study("rdms", measure, cells, seed=seed, draw=drawn, check=checked)


MATRICES = {"dot": "inner product", "euclidean": "sq. distance", "correlation": "1 − correlation"}
COMPARISONS = {"pearson": "Pearson", "cosine": "cosine", "spearman": "Spearman"}
# Ranks of distances have no ceiling below 1: distances of pairs without a common latent differ by the samples' norms.
CAPPED = (("dot", "spearman"), ("correlation", "spearman"))
LOW_CEILING = 0.95
CEILING: dict[str, Any] = {"ls": ":", "lw": 0.9, "zorder": 1}


def draw(table: pd.DataFrame) -> Picture:
    """Draw RSA against units, a row for each matrix and a column for each comparison.

    Markers: means over draws, with a bar of one standard deviation. Solid: the variant's own closed form, where
    there is one. Dashed: Theorem 3.1. Dotted: the ceilings of ranks below 0.95.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    points = over_draws(table, BY)
    sparsities = sorted(points["active"].unique())
    latents = int(table["latents"].iloc[0])
    figure, axes = panels(len(RDMS), len(COMPARATORS), height=1.2, head=0.5)
    figure.subplots_adjust(wspace=0.1, hspace=0.14)
    for number, (place, (rdm, comparator)) in enumerate(zip(axes, product(RDMS, COMPARATORS), strict=True)):
        here = points[points["metric"] == f"{rdm} {comparator}"]
        _curves(place, here, sparsities)
        if (rdm, comparator) in CAPPED:
            _ceilings(place, latents, sparsities)
        first, last = number % len(COMPARATORS) == 0, number >= len(axes) - len(COMPARATORS)
        dress(
            place,
            COMPARISONS[comparator] if number < len(COMPARATORS) else "",
            x="units $m$" if last else "",
            y=f"RSA ({MATRICES[rdm]})" if first else "",
        )
        powers_of_two(place, points["units"])
        place.set_xlim(points["units"].min() / 1.4, points["units"].max() * 1.4)
        place.set_ylim(-0.03, 1.05)
        place.set_yticks([0, 0.5, 1])
        place.tick_params(labelbottom=last, labelleft=first)
    dots = [key(f"$k = {active}$", **DOTS, **look) for active, look in looks(sparsities).items()]
    lines = [
        key("own closed form", **SOLID, color="black"),
        key("Theorem 3.1", **DASHED),
        key("ceiling of ranks", **CEILING, color="black"),
    ]
    legend(figure, [*dots, *lines], columns=4)
    return figure


def _curves(axes: Axes, points: pd.DataFrame, sparsities: Sequence[int]) -> None:
    paper = points.groupby("units")["expected"].mean()
    axes.plot(paper.index, paper, **DASHED)
    for active, look in looks(sparsities).items():
        here = points[points["active"] == active].sort_values("units")
        axes.plot(here["units"], here["theory"], **SOLID, color=look["color"])
        means(axes, here, "units", **look)


def _ceilings(axes: Axes, latents: int, sparsities: Sequence[int]) -> None:
    for active, look in looks(sparsities).items():
        ceiling = spearman_ceiling(latents, active)
        if ceiling < LOW_CEILING:
            axes.axhline(ceiling, **CEILING, color=look["color"])


def _points(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    return over_draws(table[table["metric"] == metric], BY)


def _off_theorem(metric: str) -> Callable[[pd.DataFrame], float]:
    return lambda table: gap(BY, metric)(table.assign(theory=table["expected"]))


def _rise_of_ranks(table: pd.DataFrame) -> float:
    return smallest_step(_points(table, "dot spearman"), "units", ["active"])


def _share_of_theorem(points: pd.DataFrame) -> float:
    known = points["error"].fillna(0.0)
    return Estimate(lambda allowed: float(((points["score"] + allowed * known) / points["expected"]).min()))


def _ranks_in_superposition(table: pd.DataFrame) -> float:
    points = _points(table, "dot spearman")
    packed = points[points["units"] <= table["latents"].iloc[0]]
    return _share_of_theorem(some(packed, "systems of no more units than latents"))


def _ranks_of_dense(table: pd.DataFrame) -> float:
    points = _points(table, "dot spearman")
    dense = points[points["active"] >= table["latents"].iloc[0] / 4]
    return _share_of_theorem(some(dense, "samples with a quarter of the latents active"))


def _off_ceiling(table: pd.DataFrame) -> float:
    points = _points(table, "dot spearman")
    latents = int(table["latents"].iloc[0])
    most = points[points["units"] == points["units"].max()]
    capped = most.assign(ceiling=most["active"].map(lambda active: spearman_ceiling(latents, active)))
    low = some(capped[capped["ceiling"] < LOW_CEILING], f"ceilings below {LOW_CEILING:g}")
    return excess(low["score"] - low["ceiling"], low["error"])


OWN = "largest |mean of score − closed form| over sizes and sparsities, beyond 3 standard errors"
OFF = "largest |mean of score − Theorem 3.1| over sizes and sparsities, beyond 3 standard errors"
SHARE = "smallest mean as a share of Theorem 3.1, plus 3 standard errors"
BEYOND = "beyond the paper"
FOOTNOTE = "Section 2.2, footnote 1"

CLAIMS = (
    Claim(
        "RSA, the Pearson correlation of inner products, is the cosine of Gram matrices.",
        "Theorem 3.1",
        OWN,
        gap(BY, "dot pearson"),
        0,
        0.01,
    ),
    Claim(
        "The cosine of centred inner products has the limit of their correlation.",
        BEYOND,
        OWN,
        gap(BY, "dot cosine"),
        0,
        0.01,
    ),
    Claim(
        "Pearson RSA of squared distances follows its own closed form.",
        BEYOND,
        OWN,
        gap(BY, "euclidean pearson"),
        0,
        0.01,
    ),
    Claim(
        "Pearson RSA of squared distances misses Theorem 3.1.", BEYOND, OFF, _off_theorem("euclidean pearson"), low=0.08
    ),
    Claim(
        "Pearson RSA of correlation distances is near Theorem 3.1.",
        BEYOND,
        OFF,
        _off_theorem("correlation pearson"),
        0,
        0.05,
    ),
    Claim(
        "The cosine of squared distances misses Theorem 3.1.", BEYOND, OFF, _off_theorem("euclidean cosine"), low=0.3
    ),
    Claim(
        "The cosine of correlation distances misses Theorem 3.1.",
        BEYOND,
        OFF,
        _off_theorem("correlation cosine"),
        low=0.3,
    ),
    Claim(
        "The scaling holds qualitatively for Spearman: it rises with units.",
        FOOTNOTE,
        "smallest step of the mean between neighbouring sizes, plus 3 standard errors",
        _rise_of_ranks,
        low=0,
    ),
    Claim(
        "The scaling holds qualitatively for Spearman: in superposition it is at least half of Theorem 3.1.",
        FOOTNOTE,
        SHARE,
        _ranks_in_superposition,
        low=0.5,
    ),
    Claim(
        "With a quarter of the latents active, or more, Spearman keeps to Theorem 3.1 within a tenth.",
        BEYOND,
        SHARE,
        _ranks_of_dense,
        low=0.9,
    ),
    Claim(
        "With sparse latents Spearman ends at 1 − (1 − f)³, f being the share of pairs that share an active latent.",
        BEYOND,
        "largest |mean − ceiling| at the most units, for ceilings below 0.95, beyond 3 standard errors",
        _off_ceiling,
        0,
        0.03,
    ),
)

FIGURE = Figure(
    "rdms",
    study,
    scales={
        "smoke": {"samples": 100, "active": (2, 16), "units": (4, 16, 64, 256), "draws": 4},
        "laptop": {"samples": 300, "draws": 8},
        "paper": {},
    },
    draw=draw,
    claims=CLAIMS,
)
