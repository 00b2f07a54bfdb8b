"""Figure 1: one set of sparse latents in two systems, and why they look different (Sections 1 and 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.paper.canvas import COLOURS, NAMES, SMALL, TEXT, dress, key, page
from superpose.paper.claims import Claim
from superpose.paper.figure import Figure
from superpose.paper.simulation import checked, drawn_latents, expected, predictions, scores, stream
from superpose.paper.summary import off_expectation, off_theory, over_draws
from superpose.studies.study import Study, grid
from superpose.systems import projection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture
    from matplotlib.image import AxesImage

Array = NDArray[np.float64]

METRICS = ("rsa", "cka_debiased", "r2_adjusted")
MOST_SUPPORTS = 10_000


def measure(
    seed: int,
    *,
    latents: int,
    samples: int,
    active: int,
    distribution: str,
    entries: str,
    units: int,
    shown: int,
    draw: int,
) -> list[dict[str, Any]]:
    """Return what Figure 1 shows of one pair of systems: their matrices, and their alignment before and after recovery.

    Rows of a matrix hold `system` (a, b, or both for what they share), `matrix` (latents, projection, responses, gram,
    rsm), `row`, `column` and `value`; latents and responses of the first `shown` samples, as columns. Rows whose
    `matrix` is "scores" hold `metric`, `score`, `theory` and `expected`: of responses (`system` is both), of the
    latents recovered from each system's responses (recovered) and of the latents themselves, once as either system's
    (latents). The metric `exact` of systems a and b is the share of samples whose latents were recovered.
    """
    z = drawn_latents(seed, samples, latents, active, distribution).astype(np.float64)
    # With fewer active latents than units, others as sparse have the same responses with probability 0.
    sure = 1.0 if active < units else None
    systems = {
        name: _system(
            z, projection(units, latents, entries=entries, generator=stream(seed, name, entries, units)), active
        )
        for name in ("a", "b")
    }
    a, b = systems.values()
    rows = _entries("both", "latents", z[:shown].T)
    for name, system in systems.items():
        few = system.responses[:shown]
        rows += _entries(name, "projection", system.projection)
        rows += _entries(name, "responses", few.T)
        rows += _entries(name, "gram", system.projection.T @ system.projection)
        rows += _entries(name, "rsm", few @ few.T)
        exact = (np.abs(system.recovered - z).max(axis=1) < 1e-6).mean()
        rows += [_score(name, "exact", exact, sure, sure)]
    raw = scores(a.responses, b.responses)
    theory = predictions(a.projection, b.projection, active, distribution)
    means = expected(units, units, latents, entries)
    after = scores(a.recovered, b.recovered)
    before = scores(z, z)
    for metric in METRICS:
        rows += [_score("both", metric, raw[metric], theory[metric], means[metric])]
        rows += [_score("recovered", metric, after[metric], sure, sure)]
        rows += [_score("latents", metric, before[metric], 1.0, 1.0)]
    return rows


class _System(NamedTuple):
    """A projection, its responses, and the latents that are recovered from them; samples are rows."""

    projection: Array
    responses: Array
    recovered: Array


def _system(z: Array, weights: torch.Tensor, active: int) -> _System:
    known: Array = weights.numpy().astype(np.float64)
    responses: Array = z @ known.T
    return _System(known, responses, recovered(responses, known, active))


def _entries(system: str, matrix: str, values: Array) -> list[dict[str, Any]]:
    return [
        {"system": system, "matrix": matrix, "row": row, "column": column, "value": value}
        for (row, column), value in np.ndenumerate(values)
    ]


def _score(system: str, metric: str, score: float, theory: float | None, mean: float | None) -> dict[str, Any]:
    return {
        "system": system,
        "matrix": "scores",
        "metric": metric,
        "score": float(score),
        "theory": theory,
        "expected": mean,
    }


def recovered(responses: Array, weights: Array, active: int) -> Array:
    """Return the latents that explain each sample's responses best, of all with `active` non-zero ones (Section 2.1).

    Every support is tried, with the true projection: the search that compressed sensing makes affordable.

    Parameters
    ----------
    responses : array, (samples, units)
    weights : array, (units, latents)
        The projection.
    active : int

    Returns
    -------
    array, (samples, latents)

    Raises
    ------
    DataError
        If there are more than 10,000 supports.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.paper.figure1 import recovered
    >>> weights = np.array([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]])
    >>> recovered(np.array([[1.2, 1.6], [0.0, -3.0]]), weights, 1).round(6) + 0
    array([[ 0.,  0.,  2.],
           [ 0., -3.,  0.]])
    """
    latents = weights.shape[1]
    supports = comb(latents, active)
    if supports > MOST_SUPPORTS:
        raise DataError(
            f"{active} of {latents} latents have {supports:,} supports; expected at most {MOST_SUPPORTS:,}, as every "
            "one is tried. Lower latents or active."
        )
    codes = np.zeros((len(responses), latents))
    least = np.full(len(responses), np.inf)
    for support in combinations(range(latents), active):
        columns = weights[:, support]
        fit = responses @ np.linalg.pinv(columns).T
        misfit = np.square(responses - fit @ columns.T).sum(axis=1)
        better = misfit < least
        least[better] = misfit[better]
        codes[better] = 0
        codes[np.ix_(better, support)] = fit[better]
    return codes


def study(
    *,
    latents: int = 6,
    units: int = 3,
    active: int = 2,
    shown: int = 8,
    samples: int = 5000,
    draws: int = 200,
    distribution: str = "signed",
    entries: str = "gaussian",
    seed: int = 0,
) -> Study:
    """Return the study of Figure 1, of as many pairs of systems as judge its statements; one of them is drawn.

    Parameters
    ----------
    latents, units : int
        Features n and units m of both systems. The paper's six and three.
    active : int
        Active latents per sample, k. Missing from the paper; 2 is the most that three units let one recover.
    shown : int
        Samples in the drawn matrices. Missing from the paper; 8 columns are still told apart.
    samples : int
        Samples N that the scores are measured on. Missing from the paper; a score is then within some 0.02 of its
        closed form.
    draws : int
        Pairs of projections. 200 as in Appendix D.1.
    distribution : {"uniform", "signed", "gaussian"}
        Of the latents before the largest are kept. "signed", uniform on [-1, 1], has the zero mean and white
        covariance that Section 2 assumes; with "uniform" of Appendix D.1, on [0, 1], six latents are far from
        white, and the expectation over projections does not hold.
    entries : {"gaussian", "uniform", "rademacher", "sparse", "haar", "unit_norm"}
        Ensemble of the projections; that of Eq. (6) is "gaussian". Columns of "rademacher" and "sparse" can be
        parallel; such latents do not come back.
    seed : int
        The seed that every draw is derived from.

    Returns
    -------
    Study
    """
    cells = grid(
        latents=[latents],
        samples=[samples],
        active=[active],
        distribution=[distribution],
        entries=[entries],
        units=[units],
        shown=[shown],
        draw=range(draws),
    )
    drawn = ("latents", "samples", "active", "distribution", "draw")
    return Study("figure1", measure, cells, seed=seed, draw=drawn, check=checked)


class Kind(NamedTuple):
    """A kind of matrix: its heading, its symbol in both systems, and what its rows and columns are."""

    heading: str
    symbols: dict[str, str]
    rows: str
    columns: str


KINDS = {
    "latents": Kind("shared latents", {"both": "$Z$"}, "latents", "shown"),
    "projection": Kind("projection", {"a": "$A$", "b": "$B$"}, "units", "latents"),
    "responses": Kind("responses", {"a": "$Y_a = AZ$", "b": "$Y_b = BZ$"}, "units", "shown"),
    "gram": Kind("Gram matrix", {"a": r"$G_a = A^\mathsf{T} A$", "b": r"$G_b = B^\mathsf{T} B$"}, "latents", "latents"),
    "rsm": Kind("RSM", {"a": r"$R_a = Y_a^\mathsf{T} Y_a$", "b": r"$R_b = Y_b^\mathsf{T} Y_b$"}, "shown", "shown"),
}
AXES = {"latents": "latents", "units": "units", "shown": "stimuli"}
ROWS = {"a": 0, "both": 0.5, "b": 1}
INK = {"a": COLOURS[0], "b": COLOURS[1], "both": "black"}
DOT: dict[str, Any] = {"ls": "", "markersize": 4, "mew": 0.9, "zorder": 4}
CLOSED: dict[str, Any] = {"marker": "|", "ls": "", "color": "black", "markersize": 10, "mew": 1.1, "zorder": 5}
MEAN: dict[str, Any] = {**CLOSED, "color": COLOURS[4], "mew": 2, "zorder": 3}
RANGE: dict[str, Any] = {"color": "#D8D8D8", "lw": 5, "solid_capstyle": "butt", "zorder": 1}


class Lane(NamedTuple):
    """Where in the row of a metric a score stands, what it is called in the legend, and its marker."""

    step: float
    label: str
    style: dict[str, Any]


LANES = {
    "both": Lane(-0.24, "responses", {**DOT, "marker": "o", "color": "black", "fillstyle": "none"}),
    "recovered": Lane(0.04, "latents recovered from each", {**DOT, "marker": "^", "color": COLOURS[2]}),
    "latents": Lane(0.28, "latents $Z$ themselves", {**DOT, "marker": "s", "color": COLOURS[3], "fillstyle": "none"}),
}

WIDTH = 7.2  # inches, both columns of a page
# Inches: left of the first matrix, between matrices, left of the scores, their width, right of them.
LEFT, GAP, BEFORE, STRIP, RIGHT = 0.2, 0.37, 0.55, 1.3, 0.08
HEAD, FOOT, BETWEEN = 0.45, 0.55, 0.5


def draw(table: pd.DataFrame) -> Picture:
    """Draw the matrices of one pair of systems, A above B, and at the right how alike the two are.

    The pair is that whose scores are nearest to their means over all pairs of the table. All matrices have cells of
    one size, so that six latents are seen to go into three units; each kind has its own colour scale, without unit,
    symmetric about 0 and the same for both systems. Scores of the pair (CKA debiased, R² adjusted for the number of
    units): of the responses (circles) at their closed form (black strokes), of the latents recovered from the
    responses of each (triangles), and of the latents themselves (squares: 1 by construction, as both systems have the
    same). The bar holds the middle nine tenths of all pairs; the orange stroke is the expectation of Section 3.1, a
    ratio of expectations in RSA and CKA, which for so few units is some 0.04 below the mean.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    pair = _typical(table)
    found = {(system, name): _stacked(pair, system, name)[0] for name, kind in KINDS.items() for system in kind.symbols}
    shapes = {kind: matrix.shape for (_, kind), matrix in found.items()}
    cell = (WIDTH - LEFT - 4 * GAP - BEFORE - STRIP - RIGHT) / sum(shapes[kind][1] for kind in KINDS)
    band = cell * max(rows for rows, _ in shapes.values())
    total = HEAD + 2 * band + BETWEEN + FOOT
    figure = page(WIDTH, total)

    def place(left: float, top: float, width: float, height: float) -> Axes:
        return figure.add_axes((left / WIDTH, 1 - (top + height) / total, width / WIDTH, height / total))

    def head(middle: float, text: str) -> None:
        figure.text(middle / WIDTH, 1 - 0.05 / total, text, fontsize=TEXT + 0.5, ha="center", va="top")

    left = LEFT
    drawn: dict[tuple[str, str], Axes] = {}
    for name, kind in KINDS.items():
        rows, columns = shapes[name]
        width, height = cell * columns, cell * rows
        limit = max(np.abs(found[system, name]).max() for system in kind.symbols)
        for system, symbol in kind.symbols.items():
            top = HEAD + ROWS[system] * (band + BETWEEN) + (band - height) / 2
            axes = drawn[system, name] = place(left, top, width, height)
            image = _picture(axes, found[system, name], limit)
            axes.set_title(symbol, fontsize=TEXT + 0.5, pad=2.5, color=INK[system])
            axes.set_ylabel(f"{rows} {AXES[kind.rows]}", fontsize=SMALL, labelpad=2)
            axes.set_xlabel(f"{columns} {AXES[kind.columns]}", fontsize=SMALL, labelpad=2)
        _scale(figure, image, place(left, total - 0.24, width, 0.055), limit)
        head(left + width / 2, kind.heading)
        left += width + GAP
    for system in ("a", "b"):
        _arrow(figure, drawn["both", "latents"], drawn[system, "projection"], system)
    left = WIDTH - RIGHT - STRIP
    _strip(place(left, HEAD - 0.1, STRIP, 1.3), table, pair)
    head(left + STRIP / 2, "alignment of $A$ and $B$")
    return figure


def _typical(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the pair whose scores are nearest to the means over all pairs."""
    raw = table[(table["system"] == "both") & table["metric"].isin(METRICS)]
    scores = raw.pivot(index="draw", columns="metric", values="score")
    return table[table["draw"] == np.square(scores - scores.mean()).sum(axis=1).idxmin()]


def _stacked(table: pd.DataFrame, system: str, matrix: str) -> Array:
    """Return a matrix of every draw, (draws, rows, columns)."""
    entries = table[(table["system"] == system) & (table["matrix"] == matrix)].sort_values(["draw", "row", "column"])
    rows, columns = (int(entries[name].max()) + 1 for name in ("row", "column"))
    return entries["value"].to_numpy().reshape(-1, rows, columns)


def _picture(axes: Axes, matrix: Array, limit: float) -> AxesImage:
    rows, columns = matrix.shape
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    axes.set_xticks(np.arange(1, columns) - 0.5, labels=[""] * (columns - 1))
    axes.set_yticks(np.arange(1, rows) - 0.5, labels=[""] * (rows - 1))
    axes.grid(color="white", lw=0.5)
    axes.tick_params(length=0, pad=0)
    for spine in axes.spines.values():
        spine.set(linewidth=0.5, color="#555555")
    return image


def _scale(figure: Picture, image: AxesImage, axes: Axes, limit: float) -> None:
    bar = figure.colorbar(image, cax=axes, orientation="horizontal")
    bar.set_ticks([-limit, 0, limit], labels=[f"−{limit:.1f}", "0", f"{limit:.1f}"])
    axes.tick_params(labelsize=SMALL, length=0, pad=1.5)
    for spine in axes.spines.values():
        spine.set(linewidth=0.4)


def _arrow(figure: Picture, latents: Axes, weights: Axes, system: str) -> None:
    """Lead from the latents, round the corner, to the projection of a system, and name the system there."""
    from matplotlib.patches import FancyArrowPatch

    start, end = latents.get_position(), weights.get_position()
    up = system == "a"
    inch = 1 / figure.get_figheight()
    x = start.x0 + start.width * 0.5
    y = start.y1 + 0.2 * inch if up else start.y0 - 0.2 * inch
    tip = (end.x0 - 0.2 / WIDTH, (end.y0 + end.y1) / 2)
    corner = "angle,angleA=90,angleB=0,rad=6"
    look: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 7, "lw": 0.9, "color": INK[system]}
    arrow = FancyArrowPatch((x, y), tip, connectionstyle=corner, shrinkA=0, shrinkB=0, **look)
    arrow.set_transform(figure.transFigure)
    figure.add_artist(arrow)
    aside: dict[str, Any] = {"ha": "center", "va": "bottom" if up else "top", "color": INK[system], "fontsize": TEXT}
    figure.text(x, tip[1] + (0.05 if up else -0.05) * inch, f"system {system.upper()}", **aside)


def _strip(axes: Axes, table: pd.DataFrame, pair: pd.DataFrame) -> None:
    """Draw the scores of a pair: a row for each metric, and in it a lane for each of responses and latents."""
    pairs, samples = table["draw"].nunique(), int(table["samples"].iloc[0])
    for row, metric in enumerate(METRICS):
        every = table.loc[(table["metric"] == metric) & (table["system"] == "both"), "score"]
        found = pair[pair["metric"] == metric].set_index("system").to_dict("index")
        lane = row + LANES["both"].step
        axes.plot(np.quantile(every, [0.05, 0.95]), [lane, lane], **RANGE)
        axes.plot(found["both"]["expected"], lane, **MEAN)
        axes.plot(found["both"]["theory"], lane, **CLOSED)
        for space, (step, _, style) in LANES.items():
            axes.plot(found[space]["score"], row + step, **style)
    dress(axes, "", x="score")
    axes.set_yticks(range(len(METRICS)), [NAMES[metric].partition(" (")[0] for metric in METRICS])
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(-0.04, 1.06)
    axes.set_ylim(len(METRICS) - 0.45, -0.5)
    responses, recovered, latents = (key(label, **style) for _, label, style in LANES.values())
    responses.set_label(f"{responses.get_label()}, {samples:,} stimuli")
    handles = [
        responses,
        key("closed form from $G_a$, $G_b$", **CLOSED),
        key("expected of random $A$, $B$ (≈)", **MEAN),
        key(f"90 % of {pairs} random pairs", **RANGE),
        recovered,
        latents,
    ]
    axes.legend(
        handles=handles,
        fontsize=SMALL,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(-0.3, -0.27),
        labelspacing=0.3,
        handlelength=1.2,
        handletextpad=0.5,
        borderaxespad=0,
    )


def _means(table: pd.DataFrame) -> pd.DataFrame:
    rows = table[(table["system"] == "both") & table["metric"].isin(METRICS)]
    return over_draws(rows, ["system"]).set_index("metric")


def _most_alike(table: pd.DataFrame) -> float:
    return float(_means(table)["score"].max())


def _gap(table: pd.DataFrame) -> float:
    return off_theory(_means(table))


def _off_law(metric: str) -> Callable[[pd.DataFrame], float]:
    return lambda table: off_expectation(_means(table).loc[[metric]])


def _least(system: str, metrics: Sequence[str]) -> Callable[[pd.DataFrame], float]:
    def number(table: pd.DataFrame) -> float:
        chosen = table["metric"].isin(metrics) & table["system"].str.fullmatch(system)
        return float(table.loc[chosen, "score"].min(skipna=False))

    return number


def _off_identity(table: pd.DataFrame) -> float:
    """Return the largest |R − ZᵀGZ| of both systems in all draws, in units of the largest |R|."""
    z = _stacked(table, "both", "latents")
    off = []
    for system in ("a", "b"):
        rsm = _stacked(table, system, "rsm")
        off.append(np.abs(rsm - z.mT @ _stacked(table, system, "gram") @ z).max() / np.abs(rsm).max())
    return float(max(off))


def _features_a_unit(table: pd.DataFrame) -> float:
    """Return the mean over units of (Σ a²)² / Σ a⁴ of their weights: n for equal weights, 1 for a single one."""
    weights = np.concatenate([_stacked(table, system, "projection") for system in ("a", "b")])
    return float((np.square(weights).sum(axis=-1) ** 2 / (weights**4).sum(axis=-1)).mean())


def _isometry(table: pd.DataFrame) -> float:
    """Return how much of the length of a difference of two sparse vectors survives at least, of that at most; squared.

    Differences of vectors with k non-zero entries have 2k of them; what becomes of their squared length lies between
    the eigenvalues of the Gram matrix of those 2k latents.
    """
    latents, active = (int(table[name].iloc[0]) for name in ("latents", "active"))
    supports = np.array(list(combinations(range(latents), min(2 * active, latents))))
    grams = np.concatenate([_stacked(table, system, "gram") for system in ("a", "b")])
    lengths = np.linalg.eigvalsh(grams[:, supports[:, :, None], supports[:, None, :]])
    return float((lengths.min(axis=(1, 2)) / lengths.max(axis=(1, 2))).mean())


OFF = "|mean score − expectation|, beyond 3 standard errors"

CLAIMS = (
    Claim(
        "Both systems encode the same features, but produce distinct activity patterns.",
        "Section 1",
        "largest mean of RSA, CKA and R² of the responses",
        _most_alike,
        high=0.6,
    ),
    Claim(
        "Information is not destroyed: the latents are recovered from the three units of either system.",
        "Section 1",
        "smallest share of samples whose latents are recovered, over pairs and systems",
        _least("a|b", ["exact"]),
        0.999,
        1,
    ),
    Claim(
        "Recovering the latents restores the alignment that activity obscures.",
        "Section 1",
        "smallest RSA, CKA or R² of the recovered latents over pairs",
        _least("recovered", METRICS),
        low=0.999,
    ),
    Claim(
        "Information is distributed: units respond to several features (mixed selectivity).",
        "Section 1",
        "features a unit: mean of (Σ a²)² / Σ a⁴ over the weights a of a unit",
        _features_a_unit,
        low=2,
    ),
    Claim(
        "The RSM is the Gram matrix of the projection, seen through the latents: R = ZᵀGZ.",
        "Eq. (2)",
        "largest |R − ZᵀGZ|, in units of the largest |R|",
        _off_identity,
        0,
        1e-9,
    ),
    Claim(
        "RSA, CKA and R² depend on the Gram matrices of the projections alone: the closed forms match.",
        "Theorems 3.1 to 3.3",
        "largest |mean of score − closed form|, beyond 3 standard errors",
        _gap,
        0,
        0.004,
    ),
    Claim(
        "The ratio of expectations, m/(m + n + 1) = 0.3, approximates the mean RSA of six latents in three units.",
        "Section 3.1",
        OFF,
        _off_law("rsa"),
        0,
        0.005,
    ),
    Claim(
        "The mean R² is m/n = 0.5.",
        "beyond the paper",
        OFF,
        _off_law("r2_adjusted"),
        0,
        0.005,
    ),
    Claim(
        "The projection approximately preserves distances between sparse vectors (RIP).",
        "Section 2.1",
        "smallest squared stretch of a difference of two k-sparse vectors over the largest, mean over systems",
        _isometry,
        low=0.01,
    ),
)

FIGURE = Figure(
    "figure1",
    study,
    scales={
        "smoke": {"samples": 1000, "draws": 5},
        "laptop": {"draws": 50},
        "paper": {},
    },
    draw=draw,
    claims=CLAIMS,
)
