"""How Figure 4 is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from superpose.paper.canvas import COLOURS, DOTS, SHADE, SOLID, dress, key, legend, panels, powers_of_two, shade_key
from superpose.paper.figure4.shares import ACTIVITY, SETTING, undone
from superpose.paper.summary import over_draws
from superpose.theory import critical_units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

JOINED: dict[str, Any] = {**DOTS, "ls": "-", "lw": 0.9}
OPEN: dict[str, Any] = {**JOINED, "ls": (0, (3, 1.5))}
LOOKS: dict[str, tuple[str, dict[str, Any]]] = {
    "supervised": ("supervised", {**JOINED, "marker": "s", "color": COLOURS[2]}),
    "unsupervised": ("unsupervised", {**JOINED, "marker": "^", "color": COLOURS[1], "fillstyle": "full"}),
    "unsupervised_learned": ("same, learned $A$", {**OPEN, "marker": "v", "color": COLOURS[1]}),
    "recoded": ("OMP, found $D$", {**JOINED, "marker": "x", "color": COLOURS[3], "lw": 0.6}),
    "omp": ("OMP, true $A$", {"ls": (0, (4, 1.5)), "lw": 1.0, "color": "black", "zorder": 2}),
    "matched_filter": ("threshold, true $A$", {"ls": "-", "lw": 0.5, "color": "0.45", "zorder": 2}),
}
RAW: dict[str, Any] = {**DOTS, "marker": "o", "color": COLOURS[0]}
LAW: dict[str, Any] = {"ls": (0, (1, 1.2)), "lw": 1.0, "color": COLOURS[0], "zorder": 2}


def draw(table: pd.DataFrame) -> Picture:
    """Draw alignment against units, and the share of its deflation that unsupervised dictionaries undo.

    Above, pooled held-out r: means over pairs of systems, with a bar of one standard deviation. Activity is that of
    supervised dictionaries, with Theorem 3.3 for the same projections (solid); dotted, the expectation over Gaussian
    projections. Below, (unsupervised − raw) / (supervised − raw), raw being the activity that the dictionary was
    trained on, with a 95 % interval over pairs; only where supervised latents align better than activity does, beyond
    3 standard errors. Hatched: fewer units than m* = k log(n/k), Eq. (38). A column for each sparsity.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    sparsities = sorted(table["active"].unique())
    figure, axes = panels(2, len(sparsities), width=3.5 * len(sparsities), height=1.75, head=0.66)
    figure.subplots_adjust(hspace=0.12)
    for above, below, active in zip(axes, axes[len(sparsities) :], sparsities, strict=False):
        here = table[table["active"] == active]
        _curves(above, here)
        _shares(below, here)
        for place in (above, below):
            _size_axis(place, here)
        above.set_xticklabels([])
        dress(above, f"$n = {here['latents'].iloc[0]}$, $k = {active}$", y="alignment, held-out $r$")
        dress(below, "", x="units $m$", y="share of deflation undone")
    keys = [
        key("raw, learned $A$", **RAW),
        key("Theorem 3.3", **SOLID, color=COLOURS[0]),
        key("Gaussian $A$", **LAW),
        shade_key("$m < m^*$"),
        *(key(label, **style) for label, style in LOOKS.values()),
    ]
    legend(figure, keys, columns=3)
    return figure


def _curves(axes: Axes, table: pd.DataFrame) -> None:
    points = over_draws(table[table["metric"] == "r"], [*SETTING, "kind"]).sort_values("units").set_index("kind")
    for kind, (_, style) in LOOKS.items():
        curve = points.loc[[kind]]
        axes.errorbar(curve["units"], curve["score"], curve["sd"] if "marker" in style else None, **style)
    raw, gaussian = points.loc[["raw_learned"]], points.loc[["raw"]]
    axes.plot(raw["units"], raw["theory"], **SOLID, color=COLOURS[0])
    axes.errorbar(raw["units"], raw["score"], raw["sd"], **RAW)
    axes.plot(gaussian["units"], gaussian["expected"], **LAW)
    axes.set_ylim(0, 1.03)


def _shares(axes: Axes, table: pd.DataFrame) -> None:
    for level in (0, 1):
        axes.axhline(level, **SOLID, color="black")
    found = undone(table)
    for kind in ACTIVITY:
        shown = found[found["kind"] == kind]
        axes.errorbar(shown["units"], shown["share"], shown["half"], **LOOKS[kind][1])


def _size_axis(axes: Axes, table: pd.DataFrame) -> None:
    sizes = sorted(table["units"].unique())
    powers_of_two(axes, sizes)
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    low, high = sizes[0] / 1.12, sizes[-1] * 1.12
    critical = float(critical_units(int(table["latents"].iloc[0]), int(table["active"].iloc[0])))
    axes.axvspan(low, min(max(critical, low), high), **SHADE)
    axes.set_xlim(low, high)
