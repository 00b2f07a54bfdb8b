"""Score against depth, with intervals and ceiling; over times, depth against time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from superpose.report.plots import metric_title, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVEL = 0.05
# Okabe and Ito (2008).
SCORE, BEST, CEILING, NULL = "#0072B2", "#D55E00", "#009E73", "#BBBBBB"
PANEL, STEP, HEIGHT = 3.2, 0.22, 3.1
# Layers whose names fit below an axis; of more, every n-th is named.
LABELS = 16


def picture(table: pd.DataFrame, best: pd.DataFrame) -> Figure:
    """Draw one panel per metric: layers in the order of depth, or layers × times where the target has times.

    Points are scores with their 95 % intervals; a filled one is a layer that may be the best (`best_p` > .05), the
    highest stands out. The green band is the ceiling with its interval, the grey one the interval of the permutation
    null, and the dashed line what the best of all layers reaches over 95 % of permutations.

    Parameters
    ----------
    table, best : pandas.DataFrame
        Of `superpose.layers`.

    Returns
    -------
    matplotlib.figure.Figure
        A figure of its own, unknown to pyplot; `superpose.report.plots.save` writes it.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(3, 60, 4))
    >>> figure = sp.layers(dict(zip("abc", x)), target="c", permutations=0).plot()
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['a', 'b']
    """
    from matplotlib.figure import Figure

    metrics = list(dict.fromkeys(table.metric))
    layers = list(dict.fromkeys(map(str, table.layer)))
    panel = max(PANEL, STEP * min(len(layers), 40) + 0.8)
    figure = Figure(figsize=(panel * len(metrics), HEIGHT), layout="constrained")
    grid: Any = figure.subplots(1, len(metrics), squeeze=False)
    draw = _over_times if "time" in table else _against_depth
    for axes, metric in zip(grid[0], metrics, strict=True):
        draw(axes, table[table.metric == metric], best[best.metric == metric], layers)
    handles, labels = grid[0][0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=2 * len(metrics), fontsize=6, frameon=False)
    figure.suptitle(f"Layers and {shorten(str(table.target.iloc[0]), 30)}", fontsize=8, parse_math=False)
    return figure


def _against_depth(axes: Axes, rows: pd.DataFrame, best: pd.DataFrame, layers: list[str]) -> None:
    x, score = rows.depth.to_numpy(dtype=float), rows.score.to_numpy(dtype=float)
    low, high = (rows[name].to_numpy(dtype=float) for name in ("low", "high"))
    _band(axes, x, rows, ("null_low", "null_high"), NULL, "null, 95 %", 0.5)
    _band(axes, x, rows, ("ceiling_low", "ceiling_high"), CEILING, "", 0.25)
    if rows.ceiling.notna().any():
        axes.plot(x, rows.ceiling, color=CEILING, lw=1.2, label="ceiling")
    axes.plot(x, score, color=SCORE, lw=0.8, zorder=3)
    axes.vlines(x, low, high, color=SCORE, lw=1.2, zorder=3)
    rival = (rows.best_p > LEVEL).to_numpy()
    for where, face, label in ((rival, SCORE, "may be the best layer"), (~rival, "white", "below the best")):
        if where.any():
            axes.plot(x[where], score[where], "o", ms=4.5, color=SCORE, markerfacecolor=face, label=label, zorder=4)
    for row in map(_any, best.itertuples()):
        axes.plot(row.depth, row.score, "D", ms=6, color=BEST, label="highest score", zorder=5)
        if np.isfinite(row.critical):
            axes.axhline(row.critical, color="#444444", lw=0.8, ls="--", label="best of all by chance, 95 %", zorder=1)
    _name_layers(axes.set_xticks, layers, rotation=90)
    axes.set_xlim(-0.6, len(layers) - 0.4)
    axes.set_xlabel("layer, in the order of depth", fontsize=7.5)
    axes.set_ylabel(metric_title(rows.metric.iloc[0]), fontsize=7.5)
    axes.axhline(0, color="black", lw=0.5, zorder=0)
    axes.grid(axis="y", color="#EEEEEE", lw=0.5)
    _plain(axes)


def _band(axes: Axes, x: Any, rows: pd.DataFrame, ends: tuple[str, str], colour: str, label: str, alpha: float) -> None:
    low, high = (rows[name].to_numpy(dtype=float) for name in ends)
    if np.isfinite(low).any():
        axes.fill_between(x, low, high, color=colour, alpha=alpha, lw=0, label=label or None, zorder=1)


def _over_times(axes: Axes, rows: pd.DataFrame, best: pd.DataFrame, layers: list[str]) -> None:
    times = list(dict.fromkeys(rows.time))
    scores = rows.pivot(index="layer", columns="time", values="score").reindex(index=layers, columns=times)
    image = axes.imshow(scores.to_numpy(dtype=float), aspect="auto", origin="lower", cmap="cividis")
    # A layer that only chance makes the best is marked by an empty sign.
    for sure, face in ((True, BEST), (False, "none")):
        chosen = best[(best.p_adjusted <= LEVEL) == sure]
        where = [times.index(time) for time in chosen.time]
        axes.plot(where, chosen.depth, "D", ms=4, color=BEST, markerfacecolor=face, ls="", mew=0.8)
    _name_layers(axes.set_yticks, layers)
    _name_layers(axes.set_xticks, [f"{time:g}" if isinstance(time, float) else str(time) for time in times])
    axes.set_xlabel(
        f"time ({'filled: ' if best.p_adjusted.notna().any() else ''}best layer"
        f"{f', p ≤ {LEVEL:g} for all times' if best.p_adjusted.notna().any() else ''})",
        fontsize=7,
    )
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02)
    bar.set_label(metric_title(rows.metric.iloc[0]), fontsize=7)
    bar.ax.tick_params(labelsize=6)
    _plain(axes)


def _name_layers(ticks: Any, names: list[str], **how: Any) -> None:
    every = -(-len(names) // LABELS)
    ticks(range(0, len(names), every), [shorten(name) for name in names[::every]], parse_math=False, **how)


def _any(row: Any) -> Any:
    return row


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=6.5, length=2, pad=2)
    axes.spines[["top", "right"]].set_visible(False)
