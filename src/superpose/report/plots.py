"""Figures drawn from the table of scores, and from nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from superpose.files import DataError, whole
from superpose.metrics import NAMES

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of Okabe and Ito (2008), told apart with every common colour vision; the marker says the same again.
SPACES = {
    "raw": ("o", "#0072B2"),
    "reconstruction": ("s", "#E69F00"),
    "predicted": ("D", "#009E73"),
    "latent": ("^", "#D55E00"),
    "linear_selection": ("p", "#56B4E9"),
    "nonlinear": ("h", "#56B4E9"),
    "latent_to_raw": (">", "#CC79A7"),
    "closed_form": ("d", "#009E73"),
    "two_seeds": ("8", "#777777"),
    "corrected": ("<", "#777777"),
    "pca_code": ("P", "#777777"),
}
CONTROLS = {
    "shuffled_fit": ("x", "shuffled pairing"),
    "untrained": ("+", "untrained dictionary"),
    "within_labels": ("1", "permuted within labels"),
    "rotated": ("2", "rotated copy"),
    "planted": ("3", "packed copies"),
}
OTHER_MARKER, OTHER_COLOUR = "*", "#000000"
NULL_COLOUR, CONTROL_COLOUR = "#BBBBBB", "#444444"
FILL = {"independent": "none", "all": "left"}
REQUIRED = ("system_a", "system_b", "metric", "directed", "score")
DEFAULTS: dict[str, Any] = {"space": "raw", "fit": "", "control": "none", "why": ""}
BOUNDS = ("low", "high", "null", "null_low", "null_high")


class Panel(NamedTuple):
    """One column of the figure: a metric, and whether the first of a pair predicts (None: symmetric)."""

    metric: str
    forward: bool | None


def alignment(
    table: pd.DataFrame,
    *,
    metrics: Sequence[str] = ("cka_debiased", "ridge_r"),
    width: float = 3.5,
) -> Figure:
    """Draw every pair of systems as a row, with its scores by space, intervals, nulls and controls.

    A symmetric metric takes one panel, a directed one takes two (first predicts second, second predicts
    first), where the first is the upper of the two names. Within a row each space has its own lane, marker and
    colour. The thin bar is the interval, the grey band the interval of the permutation null, its mean a
    vertical stroke in it. A score that could not be computed is marked ``n/a`` in its lane.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per score, as `superpose.compare` and `superpose.analyse` return it. The columns `system_a`,
        `system_b`, `metric`, `directed` and `score` are needed, the others are used where they exist.
    metrics : sequence of str
        Which metrics to show, from left to right; those that the table lacks are left out.
    width : float
        Width of the figure in inches. The default fits one column of a two-column page.

    Returns
    -------
    matplotlib.figure.Figure
        A figure of its own, unknown to pyplot; `save` writes it.

    Raises
    ------
    DataError
        If needed columns are missing, or the table holds no row of these metrics.

    Examples
    --------
    >>> import pandas as pd
    >>> from superpose.report.plots import alignment
    >>> row = {"system_a": "cortex", "system_b": "network", "metric": "cka_debiased", "directed": False}
    >>> figure = alignment(pd.DataFrame([row | {"score": 0.4, "low": 0.3, "high": 0.5}]))
    >>> [axes.get_title() for axes in figure.axes]
    ['debiased CKA']
    """
    from matplotlib.figure import Figure

    rows = comparable(tidy(table))
    rows = rows[rows["metric"].isin(list(metrics))]
    if rows.empty:
        held = ", ".join(map(str, table["metric"].unique())) or "no row at all"
        raise DataError(f"the table has no row of {', '.join(metrics)}; it holds {held}. Choose among those.")
    pairs = list(dict.fromkeys(rows["pair"]))
    lanes = _lanes(rows)
    panels = _panels(rows, metrics)
    row_height = max(0.34, 0.1 * (len(lanes) + 1))
    legend = _legend(rows, lanes)
    columns = max(2, int(width / 1.15))
    head = 0.16 * -(-len(legend) // columns) + 0.4
    height = head + row_height * len(pairs) + 0.42

    figure = Figure(figsize=(width, height))
    left = min(0.12 + 0.052 * max(len(line) for pair in pairs for line in map(shorten, pair)), 0.4 * width)
    grid = figure.add_gridspec(
        1,
        len(panels),
        left=left / width,
        right=1 - 0.1 / width,
        bottom=0.4 / height,
        top=1 - head / height,
        wspace=0.12,
    )
    for column, panel in enumerate(panels):
        axes = figure.add_subplot(grid[0, column])
        shown = rows[_belongs(rows, panel)]
        _draw(axes, shown, pairs, lanes)
        _dress(axes, panel, rows[rows["metric"] == panel.metric], pairs, labelled=column == 0)
    figure.legend(
        handles=legend,
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - 0.03 / height),
        ncols=min(columns, len(legend)),
        fontsize=6.5,
        frameon=False,
        handletextpad=0.3,
        columnspacing=0.9,
        labelspacing=0.3,
        borderaxespad=0,
    )
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> list[Path]:
    """Write a figure as PNG (300 dots an inch) and SVG, each of them whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure to write.
    path : path-like
        The files' common name; ``.png`` and ``.svg`` are appended to it. Its directory must exist.

    Returns
    -------
    list of pathlib.Path
        The two files.

    Examples
    --------
    >>> import tempfile
    >>> from matplotlib.figure import Figure
    >>> from superpose.report.plots import save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [file.name for file in save(Figure(), f"{folder}/alignment")]
    ['alignment.png', 'alignment.svg']
    """
    import matplotlib

    written = []
    # Without a date and with a fixed salt the same figure gives the same bytes.
    for suffix, metadata in ((".png", {}), (".svg", {"Date": None})):
        target = Path(f"{os.fspath(path)}{suffix}")
        with whole(target) as temporary, matplotlib.rc_context({"svg.hashsalt": "superpose"}):
            figure.savefig(temporary, format=suffix[1:], dpi=300, metadata=metadata)
        written.append(target)
    return written


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """Return a copy of the table with every column that a figure reads, and the unordered `pair` of each row.

    Absent optional columns get their neutral value: space ``raw``, control ``none``, NaN for bounds. The pair
    is named in the order in which its two systems first appear together; `forward` says whether a row follows
    that order.

    Raises
    ------
    DataError
        If a needed column is missing.
    """
    missing = [column for column in REQUIRED if column not in table.columns]
    if missing:
        raise DataError(
            f"the table lacks the column(s) {', '.join(missing)}; expected the table of superpose.compare or "
            "superpose.analyse."
        )
    rows = table.reset_index(drop=True)
    rows = rows.assign(**{name: value for name, value in DEFAULTS.items() if name not in rows.columns})
    rows = rows.assign(**{name: np.nan for name in BOUNDS if name not in rows.columns})
    for name, value in DEFAULTS.items():
        rows[name] = rows[name].astype(object).where(rows[name].notna(), value)
    first: dict[frozenset[str], tuple[str, str]] = {}
    ordered = [(str(a), str(b)) for a, b in zip(rows["system_a"], rows["system_b"], strict=True)]
    for a, b in ordered:
        first.setdefault(frozenset((a, b)), (a, b))
    rows["pair"] = [first[frozenset(pair)] for pair in ordered]
    rows["forward"] = [first[frozenset(pair)] == pair for pair in ordered]
    return rows


def comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out raw scores of another split than that of the scores beside them, where there are any.

    Raw scores of an analysis are there twice: over all samples, and over those that dictionaries have not seen.
    """
    if "split" not in rows:
        return rows
    beside = rows["split"][(rows["space"] != "raw") & rows["score"].notna()]
    apart = (rows["space"] == "raw") & ~rows["split"].isin(beside)
    return rows[~apart] if len(beside) else rows


def metric_title(metric: str) -> str:
    """Return what a metric is called in figures: its title, and a metric that we do not know by its own name."""
    about = getattr(NAMES.get(metric), "about", None)
    return metric if about is None else about.title


def metric_name(metric: str) -> str:
    """Return what a metric is called in text."""
    return metric_title(metric).replace("$", "").replace("^2", "²")


def shorten(name: str, longest: int = 20) -> str:
    """Return a name on one line, its middle left out where it is too long to fit beside a figure."""
    name = " ".join(name.split())
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def _lanes(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the (space, fit) combinations of the table: known spaces in their order, then any other."""
    order = list(SPACES)
    seen = list(dict.fromkeys(zip(rows["space"], rows["fit"], strict=True)))
    return sorted(seen, key=lambda lane: order.index(lane[0]) if lane[0] in order else len(order))


def _panels(rows: pd.DataFrame, metrics: Sequence[str]) -> list[Panel]:
    directed = rows.groupby("metric")["directed"].any().to_dict()
    return [
        Panel(metric, forward)
        for metric in metrics
        if metric in directed
        for forward in ((True, False) if directed[metric] else (None,))
    ]


def _belongs(rows: pd.DataFrame, panel: Panel) -> pd.Series[bool]:
    metric = rows["metric"] == panel.metric
    return metric if panel.forward is None else metric & (rows["forward"] == panel.forward)


def _style(lane: tuple[str, str]) -> dict[str, Any]:
    marker, colour = SPACES.get(lane[0], (OTHER_MARKER, OTHER_COLOUR))
    return {"marker": marker, "color": colour, "fillstyle": FILL.get(lane[1], "full"), "markersize": 4}


def _draw(axes: Axes, rows: pd.DataFrame, pairs: list[tuple[str, str]], lanes: list[tuple[str, str]]) -> None:
    step = 0.8 / len(lanes)
    for row in rows.to_dict("records"):
        lane = (row["space"], row["fit"])
        y = pairs.index(row["pair"]) + (lanes.index(lane) - (len(lanes) - 1) / 2) * step
        if row["control"] != "none":
            marker, _ = CONTROLS.get(row["control"], (OTHER_MARKER, ""))
            axes.plot(row["score"], y, marker=marker, color=CONTROL_COLOUR, markersize=3.5, mew=0.9, zorder=3)
            continue
        band = row["null_high"] - row["null_low"]
        axes.barh(y, band, left=row["null_low"], height=0.8 * step, color=NULL_COLOUR, zorder=1)
        stroke = [y - 0.45 * step, y + 0.45 * step]
        axes.plot([row["null"]] * 2, stroke, color=CONTROL_COLOUR, lw=0.8, zorder=2)
        style = _style(lane)
        axes.plot([row["low"], row["high"]], [y, y], color=style["color"], lw=1.2, zorder=4)
        axes.plot(row["score"], y, ls="", mew=0.8, zorder=5, **style)
        if not np.isfinite(row["score"]):
            place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
            axes.text(0.02, y, "n/a", color=style["color"], fontsize=5.5, **place)


def _dress(
    axes: Axes, panel: Panel, same_metric: pd.DataFrame, pairs: list[tuple[str, str]], *, labelled: bool
) -> None:
    """Give the axes title, range and labels; both directions of a metric share one range."""
    from matplotlib.ticker import MaxNLocator

    arrow = {None: "", True: "\nfirst → second", False: "\nsecond → first"}[panel.forward]
    axes.set_title(metric_title(panel.metric) + arrow, fontsize=7, pad=4)
    values = same_metric[["score", *BOUNDS]].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    low, high = min(0.0, values.min(initial=0.0)), max(1.0, values.max(initial=1.0))
    axes.set_xlim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("score", fontsize=7, labelpad=1.5)
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.axvline(0, color="black", lw=0.5, zorder=0)
    names = ["\n".join(map(shorten, pair)) for pair in pairs] if labelled else [""] * len(pairs)
    axes.set_yticks(range(len(pairs)), names, parse_math=False)
    axes.set_yticks(np.arange(1, len(pairs)) - 0.5, minor=True)
    axes.grid(axis="y", which="minor", color="#DDDDDD", lw=0.5)
    axes.grid(axis="x", color="#EEEEEE", lw=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=6.5, length=2, pad=2)
    axes.tick_params(axis="y", which="both", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _legend(rows: pd.DataFrame, lanes: list[tuple[str, str]]) -> list[Artist]:
    """Return a handle for everything that the figure shows, and for nothing that it does not."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    several = pd.Series([space for space, _ in lanes]).duplicated(keep=False)
    names = [
        f"{space}, {fit or 'no'} fit" if shared else space for (space, fit), shared in zip(lanes, several, strict=True)
    ]
    handles: list[Artist] = [
        Line2D([], [], ls="", mew=0.8, label=name, **_style(lane)) for name, lane in zip(names, lanes, strict=True)
    ]
    measured = rows[rows["control"] == "none"]
    if measured["low"].notna().any():
        handles.append(Line2D([], [], color=CONTROL_COLOUR, lw=1.2, label="interval"))
    if measured["null_low"].notna().any():
        handles.append(Patch(color=NULL_COLOUR, label="permutation null"))
    elif measured["null"].notna().any():
        handles.append(Line2D([], [], color=CONTROL_COLOUR, lw=0.8, label="null"))
    for control in dict.fromkeys(rows.loc[rows["control"] != "none", "control"]):
        marker, label = CONTROLS.get(control, (OTHER_MARKER, str(control)))
        style: dict[str, Any] = {"marker": marker, "color": CONTROL_COLOUR, "markersize": 3.5}
        handles.append(Line2D([], [], ls="", label=label, **style))
    return handles
