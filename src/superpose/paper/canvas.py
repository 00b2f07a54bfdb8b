"""The look that the figures share: sizes, colours, markers and lines that are told apart without colour too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Value = TypeVar("Value")

# Colours of Okabe and Ito (2008), told apart with every common colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "x")
NAMES = {
    "rsa": "RSA",
    "cka": "CKA (biased)",
    "cka_debiased": "CKA (debiased)",
    "r2_adjusted": "$R^2$ (adjusted)",
    "r_adjusted": "$r$ (from adjusted $R^2$)",
    "rsa_uncentred": "RSA, mean kept",
    "cka_uncentred": "CKA, mean kept",
}
SMALL, TEXT = 6.5, 7.0

DOTS: dict[str, Any] = {"ls": "", "markersize": 3.2, "mew": 0.8, "fillstyle": "none", "elinewidth": 0.7, "zorder": 4}
SOLID: dict[str, Any] = {"ls": "-", "lw": 1.0, "zorder": 3}
# Wide and pale below the thin solid line, so that both are seen where they coincide.
DASHED: dict[str, Any] = {"ls": (0, (2, 0.8)), "lw": 3.0, "color": "#F5C97A", "zorder": 2}
SHADE: dict[str, Any] = {"facecolor": "#F3F3F3", "edgecolor": "#D2D2D2", "hatch": "////", "lw": 0, "zorder": 0}


def page(width: float, height: float) -> Figure:
    """Return an empty figure unknown to pyplot; sizes are in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def panels(
    rows: int, columns: int, *, width: float = 3.5, height: float = 1.5, head: float = 0.55
) -> tuple[Figure, list[Axes]]:
    """Return a figure and its axes, row by row; `head` inches above them are the legend's.

    The default width is one column of a two-column page; `height` is that of one row, in inches.
    """
    total = head + rows * height + 0.4
    figure = page(width, total)
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        left=0.46 / width,
        right=1 - 0.08 / width,
        bottom=0.4 / total,
        top=1 - head / total,
        wspace=0.3 if columns > 1 else 0,
        hspace=0.34,
    )
    return figure, list(axes.flat)


def dress(axes: Axes, title: str, *, x: str = "", y: str = "") -> None:
    """Give an axes its title, its labels and the common look."""
    axes.set_title(title, fontsize=TEXT, pad=3)
    axes.set_xlabel(x, fontsize=TEXT, labelpad=1.5)
    axes.set_ylabel(y, fontsize=TEXT, labelpad=2)
    axes.tick_params(labelsize=SMALL, length=2, pad=1.5, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E4E4E4", lw=0.4, zorder=0)
    axes.set_axisbelow(True)


def powers_of_two(axes: Axes, values: Iterable[float]) -> None:
    """Give the x axis a logarithmic scale with plain numbers, every second power of two of the range."""
    import math

    shown = list(values)
    low, high = math.floor(math.log2(min(shown))), math.ceil(math.log2(max(shown)))
    axes.set_xscale("log", base=2)
    ticks = [2**power for power in range(high, low - 1, -2)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def legend(figure: Figure, handles: Sequence[Any], *, columns: int) -> None:
    """Put one legend above all panels."""
    figure.legend(
        handles=list(handles),
        loc="upper center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=columns,
        fontsize=SMALL,
        frameon=False,
        handletextpad=0.5,
        columnspacing=1.0,
        labelspacing=0.3,
        borderaxespad=0.3,
    )


def looks(values: Iterable[Value]) -> dict[Value, dict[str, Any]]:
    """Return the marker and the colour of each value, in their order."""
    pairs = zip(values, cycle(MARKERS), cycle(COLOURS), strict=False)
    return {value: {"marker": marker, "color": colour} for value, marker, colour in pairs}


def laws(axes: Axes, points: pd.DataFrame, along: str, *, color: str = "black") -> None:
    """Draw the means of the draws' own closed forms, solid, and their expectation, dashed."""
    axes.plot(points[along], points["theory"], **SOLID, color=color)
    axes.plot(points[along], points["expected"], **DASHED)


def means(axes: Axes, points: pd.DataFrame, along: str, **look: Any) -> None:
    """Draw means of scores over draws, with a bar of one standard deviation."""
    axes.errorbar(points[along], points["score"], points["sd"], **{**DOTS, **look})


def law_keys() -> list[Any]:
    """Return the legend handles of `laws`."""
    return [key("closed form", **SOLID, color="black"), key("its expectation", **DASHED)]


def key(label: str, **style: Any) -> Any:
    """Return a legend handle of a line or marker."""
    from matplotlib.lines import Line2D

    drawn = {name: value for name, value in style.items() if name not in ("elinewidth", "zorder")}
    return Line2D([], [], label=label, **drawn)


def shade_key(label: str) -> Any:
    """Return a legend handle of a shaded region."""
    from matplotlib.patches import Patch

    return Patch(label=label, **{**SHADE, "zorder": 1})
