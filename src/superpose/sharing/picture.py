"""The picture of content: one row per pair, raw score beside what packing makes of content, and what each holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from superpose.report.plots import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of Okabe and Ito (2008); the marker says the same again.
CONTENT, PACKED, RAW = ("^", "#D55E00"), ("D", "#009E73"), ("o", "#0072B2")
BARS = ("#56B4E9", "#E69F00")
# Inches: of a row, below all rows, beside names, and from which width on a figure has the letters of a page.
ROW, FOOT, MARGIN, WIDE = 0.46, 0.5, 0.2, 5.0
# The mean width of a letter in its size, and the letters of a name beside the bars.
LETTER, LONGEST = 0.57, 16
TICKS = (0.0, 0.5, 1.0)


def picture(table: pd.DataFrame, *, width: float = 7.0) -> Figure:
    """Draw each pair of a table of content as a row.

    Left: the CKA of the features (content, with its 90 % interval), what their packing makes of it (Theorem 3.2), and
    the raw debiased CKA: from the first to the second is packing, from the second to the third what neither explains.
    Right: the share of each system's features that the other holds. The verdict stands beside.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `superpose.content`.
    width : float
        In inches: 7 for the width of a page, 3.5 for a column.

    Returns
    -------
    matplotlib.figure.Figure
        A figure of its own, unknown to pyplot; `superpose.report.plots.save` writes it.

    Examples
    --------
    >>> import pandas as pd
    >>> from superpose.sharing.picture import picture
    >>> row = {"system_a": "a", "system_b": "b", "content": 1.0, "content_low": 0.9, "content_high": 1.0, "packed": 0.5,
    ...        "raw": 0.5, "held_by_a": 1.0, "held_by_b": 1.0, "verdict": "same", "packing": "differently"}
    >>> [axes.get_xlabel() for axes in picture(pd.DataFrame([row])).axes]
    ['CKA', 'share of features held']
    """
    from matplotlib.figure import Figure

    rows = table.to_dict("records")
    names = [f"{shorten(row['system_a'])}\n{shorten(row['system_b'])}" for row in rows]
    told = [_told(row) for row in rows]
    wide = width >= WIDE
    points, columns = (8, 2) if wide else (6.5, 1)
    letter = LETTER * points / 72
    left, right = (
        MARGIN + letter * max(len(line) for text in texts for line in text.split("\n")) for texts in (names, told)
    )
    head = 0.2 + (3 if wide else 5) * 1.3 * points / 72
    height = head + ROW * len(rows) + FOOT
    figure = Figure(figsize=(width, height))
    grid = figure.add_gridspec(
        1,
        2,
        left=left / width,
        right=1 - right / width,
        bottom=FOOT / height,
        top=1 - head / height,
        wspace=0.16,
        width_ratios=(3, 2),
    )
    scores = figure.add_subplot(grid[0])
    shares = figure.add_subplot(grid[1], sharey=scores)
    _draw_scores(scores, rows)
    _draw_shares(shares, rows)
    scores.set_xlabel("CKA", fontsize=points)
    shares.set_xlabel("share of features held" if wide else "share of\nfeatures held", fontsize=points)
    scores.set_yticks(range(len(rows)), names, parse_math=False)
    scores.set_ylim(len(rows) - 0.5, -0.5)
    for axes in (scores, shares):
        axes.tick_params(labelsize=points)
        axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    for place, words in enumerate(told):
        shares.annotate(
            words,
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=points,
            annotation_clip=False,
            parse_math=False,
        )
    figure.legend(
        handles=[handle for axes in (scores, shares) for handle in axes.get_legend_handles_labels()[0]],
        loc="upper left",
        bbox_to_anchor=(left / width, 1),
        ncols=columns,
        frameon=False,
        fontsize=points,
        labelspacing=0.2,
        borderpad=0.2,
    )
    return figure


def _draw_scores(axes: Axes, rows: list[dict[Any, Any]]) -> None:
    places = np.arange(len(rows))
    value = {name: np.array([row[name] for row in rows], dtype=float) for name in ("content", "packed", "raw")}
    low, high = (np.array([row[f"content_{end}"] for row in rows], dtype=float) for end in ("low", "high"))
    axes.hlines(places, low, high, color=CONTENT[1], linewidth=3, alpha=0.4)
    axes.hlines(places, value["packed"], value["content"], color="0.6", linewidth=1)
    axes.hlines(places, value["raw"], value["packed"], color="0.6", linewidth=1, linestyle=":")
    for name, (marker, colour), label in (
        ("content", CONTENT, "content: the features alone"),
        ("packed", PACKED, "as they are packed"),
        ("raw", RAW, "raw activity"),
    ):
        axes.scatter(value[name], places, marker=marker, color=colour, s=28, label=label, zorder=3)
    axes.set_xlim(-0.05, 1.05)
    axes.grid(axis="x", color="0.9")


def _draw_shares(axes: Axes, rows: list[dict[Any, Any]]) -> None:
    places = np.arange(len(rows))
    for shift, name, colour, label in (
        (-0.17, "held_by_b", BARS[0], "of the upper system's, by the lower"),
        (0.17, "held_by_a", BARS[1], "of the lower system's, by the upper"),
    ):
        axes.barh(places + shift, [row[name] for row in rows], height=0.3, color=colour, label=label)
    axes.set_xlim(0, 1)
    axes.tick_params(labelleft=False)


def _told(row: dict[Any, Any]) -> str:
    packing = {"": "", "cannot tell": "\npacking: cannot tell"}.get(row["packing"], f"\npacked {row['packing']}")
    return "\namong ".join(shorten(part, LONGEST) for part in row["verdict"].split(" among ", 1)) + packing
