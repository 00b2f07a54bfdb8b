"""The picture of the study: raw and content scores against the truth, and what became of the verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from superpose.paper.canvas import COLOURS, DOTS, SMALL, SOLID, dress, key, legend, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

OUTCOMES = {"right": "#009E73", "not told": "#D2D2D2", "wrong": "#D55E00"}


def draw(table: pd.DataFrame) -> Picture:
    """Draw the raw and the content score of core pairs against the truth, shared fractions, and verdicts by regime.

    Left: debiased CKA of the activity, and the estimated CKA of the latents, against the latents' true CKA. Middle: the
    estimated shared fraction with its interval against the true one. Right: what became of the verdicts.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, (scores, shares, outcomes) = panels(1, 3, width=7.2, height=2.6, head=0.45)
    figure.subplots_adjust(wspace=0.42, right=0.99)
    core = table[table["regime"] == "core"]
    dress(scores, "core pairs: scores", x="CKA of the latents (truth)", y="CKA")
    dress(shares, "core pairs: shared fraction", x="truth", y="estimate, 90 % interval")
    for axes in (scores, shares):
        axes.plot([0, 1], [0, 1], color="0.6", lw=0.8)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    scores.errorbar(core["truth_content"], core["raw"], marker="^", color=COLOURS[1], **DOTS)
    scores.errorbar(core["truth_content"], core["content"], marker="o", color=COLOURS[0], **DOTS)
    shares.vlines(core["truth"], core["shared_low"], core["shared_high"], color=COLOURS[0], lw=0.5, alpha=0.5)
    shares.errorbar(core["truth"], core["shared"], marker="o", color=COLOURS[0], **DOTS)
    _verdicts(outcomes, table)
    handles = [
        key("raw activity", marker="^", color=COLOURS[1], **DOTS),
        key("content", marker="o", color=COLOURS[0], **DOTS),
        key("truth", **{**SOLID, "color": "0.6"}),
        *(key(name, ls="", marker="s", markersize=5, color=colour) for name, colour in OUTCOMES.items()),
    ]
    legend(figure, handles, columns=len(handles))
    return figure


def _verdicts(axes: Axes, table: pd.DataFrame) -> None:
    dress(axes, "verdicts", x="share of pairs")
    outcome = pd.Series("right", index=table.index).mask(~table["told"], "not told").mask(table["wrong"], "wrong")
    shares = pd.crosstab(table["regime"], outcome, normalize="index").reindex(table["regime"].unique())
    left = pd.Series(0.0, index=shares.index)
    for name, colour in OUTCOMES.items():
        part = shares.get(name, left * 0)
        axes.barh(shares.index, part, left=left, color=colour, height=0.75)
        left = left + part
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.tick_params(axis="y", labelsize=SMALL - 0.5)
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
