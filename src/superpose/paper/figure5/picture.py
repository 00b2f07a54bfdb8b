"""How Figure 5 is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from superpose.messages.wording import percent
from superpose.paper.canvas import COLOURS, MARKERS, SMALL, dress, key, legend, page
from superpose.paper.figure5.points import beside, depths, kind, scores, share_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

Line = tuple[str, str, str]
# Inches.
HEAD, SCATTER, HEIGHT_A_LINE, FOOT = 0.42, 2.35, 0.145, 0.4
KINDS = ("one network", "two networks", "two, same depth")
SCATTERS: tuple[tuple[str, Line, Line], ...] = (
    ("joint dictionaries", ("raw", "", "none"), ("latent", "pairwise", "none")),
    ("their reconstructions", ("reconstruction", "pairwise", "none"), ("latent", "pairwise", "none")),
    ("one dictionary of all layers", ("raw", "", "none"), ("latent", "all", "none")),
    ("dictionaries trained apart", ("raw", "", "none"), ("latent", "independent", "none")),
)
# From what is measured, through what may explain it, to what must be near 0 or known.
LINES: tuple[tuple[str, Line], ...] = (
    ("raw", ("raw", "", "none")),
    ("joint latents", ("latent", "pairwise", "none")),
    ("joint reconstructions", ("reconstruction", "pairwise", "none")),
    ("linear selection", ("linear_selection", "pairwise", "none")),
    ("latents → raw", ("latent_to_raw", "pairwise", "none")),
    ("nonlinear, raw → raw", ("nonlinear", "", "none")),
    ("independent latents", ("latent", "independent", "none")),
    ("  noise divided out", ("corrected", "independent", "none")),
    ("  same, untrained", ("corrected", "independent", "untrained")),
    ("dictionaries of others", ("latent", "given", "none")),
    ("principal components", ("pca_code", "", "none")),
    ("untrained latents", ("latent", "pairwise", "untrained")),
    ("raw, within labels", ("raw", "", "within_labels")),
    ("latents, within labels", ("latent", "pairwise", "within_labels")),
    ("latents, shuffled", ("latent", "all", "shuffled_fit")),
)
COPIES: tuple[tuple[str, Line], ...] = (
    ("rotated copy: latents", ("latent", "pairwise", "rotated")),
    ("packed codes: raw", ("raw", "", "planted")),
    ("packed codes: latents", ("latent", "pairwise", "planted")),
)
# Each with whether it is about copies of a layer.
ROWS = (*((name, line, False) for name, line in LINES), *((name, line, True) for name, line in COPIES))


def draw(table: pd.DataFrame) -> Picture:
    """Draw latent against raw alignment of all pairs, and what the scores of some pairs are held against.

    Above, held-out r of predicting one layer from another, in both directions: latents against activity, against
    reconstructions, of one dictionary of all layers, and of dictionaries trained apart. Points above the diagonal are
    pairs that align better in latents; their share is given with a 95 % interval over layers. Below, the pairs that
    were held against every control: pooled r (filled) and the mean over units or latents (open), both means of the two
    directions.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    judged = [pair for pair in scores(table, "nonlinear").index.to_list() if _in_order(table, pair)]
    shown = [line for line in ROWS if len(scores(table, *line[1]))]
    lines = HEIGHT_A_LINE * len(shown) + 0.25 if judged else 0.0
    height = HEAD + 2 * SCATTER + (lines + 0.75 if judged else 0.0) + FOOT
    figure = page(7.2, height)
    grid = figure.add_gridspec(
        2, 2, left=0.07, right=0.985, top=1 - HEAD / height, bottom=1 - (HEAD + 2 * SCATTER) / height,
        wspace=0.2, hspace=0.36,
    )  # fmt: skip
    last = depths({name for pair in scores(table, "raw").index.to_list() for name in pair})
    for number, (title, x, y) in enumerate(SCATTERS):
        _scatter(figure.add_subplot(grid[number // 2, number % 2]), table, title, x, y, last)
    if judged:
        below = figure.add_gridspec(
            1, len(judged), left=0.215, right=0.985, top=(lines + FOOT) / height, bottom=FOOT / height, wspace=0.08
        )
        for number, pair in enumerate(judged):
            place = figure.add_subplot(below[0, number])
            _lines(place, table, pair, shown)
            if number:
                place.set_yticklabels([])
    handles = [key(name, ls="", marker=MARKERS[i], color=COLOURS[i], markersize=4) for i, name in enumerate(KINDS)]
    handles += [key("pooled $r$", ls="", marker="o", color="black", markersize=4)]
    handles += [key("mean over units", ls="", marker="o", color="black", markersize=4, fillstyle="none")]
    legend(figure, handles, columns=5)
    return figure


def _in_order(table: pd.DataFrame, pair: tuple[str, str]) -> bool:
    """Say whether a pair's layers come in the order of the study: of two directions, one names the pair."""
    layers = str(table["layers"].iloc[0]).split()
    return layers.index(pair[0]) < layers.index(pair[1])


def _scatter(axes: Axes, table: pd.DataFrame, title: str, x: Line, y: Line, last: dict[str, int]) -> None:
    from matplotlib.ticker import MultipleLocator

    points = beside(scores(table, *x), scores(table, *y))
    kinds = np.array([kind(a, b, last) for a, b in points.index.to_list()])
    for number, name in enumerate(KINDS):
        some = points[kinds == name]
        axes.plot(some["x"], some["y"], ls="", marker=MARKERS[number], color=COLOURS[number], markersize=3, mew=0.7,
                  fillstyle="none", zorder=4)  # fmt: skip
    low = float(np.floor(10 * points.min().min()) / 10)
    axes.plot([low, 1], [low, 1], color="black", lw=0.8, zorder=3)
    for scale in (axes.xaxis, axes.yaxis):
        scale.set_major_locator(MultipleLocator(0.1 if low < 0.75 else 0.05))
    axes.set_xlim(low, 1)
    axes.set_ylim(low, 1)
    above = int((points["y"] > points["x"]).sum())
    share, least, most = share_above(points)
    told = f"{above} above: {percent(share)} ({percent(least)} to {percent(most)})"
    axes.text(0.03, 0.97, told, transform=axes.transAxes,
              fontsize=SMALL, va="top")  # fmt: skip
    axes.text(0.97, 0.03, f"{len(points) - above} below", transform=axes.transAxes, fontsize=SMALL, ha="right")
    dress(axes, title, x=f"{x[0]} alignment, held-out $r$", y=f"{y[0]} alignment, held-out $r$")


def _lines(axes: Axes, table: pd.DataFrame, pair: tuple[str, str], shown: Sequence[tuple[str, Line, bool]]) -> None:
    """Draw each line of one pair as a row of two dots."""
    for row, (_, line, copies) in enumerate(shown):
        colour = COLOURS[1] if line[0] == "latent" else COLOURS[0] if line[0] == "raw" else "0.25"
        for metric, fill in (("regression_r", "full"), ("regression_r_units", "none")):
            found = scores(table, *line, metric=metric)
            named = [score for ends, score in found.to_dict().items() if _about(ends, pair, copies)]
            if named:
                axes.plot(np.mean(named), row, ls="", marker="o", color=colour, fillstyle=fill, markersize=3.6, mew=0.8)
    raw = [score for ends, score in scores(table, "raw").to_dict().items() if _about(ends, pair, False)]
    axes.axvline(float(np.mean(raw)), color=COLOURS[0], lw=0.7, ls=(0, (2, 1.5)), zorder=1)
    axes.set_yticks(range(len(shown)), [name for name, _, _ in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(-0.05, 1.05)
    dress(axes, " and ".join(pair), x="held-out $r$, mean of both directions")


def _about(ends: Any, pair: tuple[str, str], copies: bool) -> bool:
    """Say whether a score is of a pair, or of a copy of either of its layers."""
    if copies:
        return any(str(end).split(",")[0] in pair for end in ends)
    return sorted(ends) == sorted(pair)
