"""What tables of `superpose.contrast` and `superpose.partition` say: plain sentences, and a picture of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from superpose.files import DataError
from superpose.messages.wording import p_value
from superpose.metrics import NAMES
from superpose.report.plots import metric_name, metric_title, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVEL = 0.05
BEYOND_THE_REST = " beyond the rest"
# Okabe and Ito (2008): what a system explains alone, with the others, and beyond them.
ALONE, TOGETHER, BEYOND, SHARED = "#0072B2", "#000000", "#D55E00", "#009E73"
# Inches: of a letter of the names beside panels, of a row, and of what is above and below the rows.
LETTER, ROW, HEAD, FOOT = 0.054, 0.3, 0.3, 0.42
# Inches of a column of a two-column page, which two panels fit into, of the page, and of the narrowest panel.
COLUMN, PAGE, PANEL = 3.5, 7.0, 1.1


def contrast_sentences(table: pd.DataFrame) -> list[str]:
    """Return one sentence per pair of systems: which is closer to the target, by which metrics.

    Parameters
    ----------
    table : pandas.DataFrame
        As `superpose.contrast` returns it.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> from superpose.report.differences import contrast_sentences
    >>> draw = np.random.default_rng(0)
    >>> v4 = draw.normal(size=(300, 20))
    >>> layers = {f"layer{i}": v4 + spread * draw.normal(size=v4.shape) for i, spread in ((5, 2.0), (7, 1.0))}
    >>> print(*contrast_sentences(sp.contrast({"V4": v4, **layers}, target="V4", metrics=["rsa"])))
    layer7 is closer to V4 than layer5 by RSA (0.492 against 0.207, p < .001).
    """
    return [
        _contrasted(str(target), str(a), str(b), rows)
        for (target, a, b), rows in _grouped(table, ["target", "system_a", "system_b"])
    ]


def _contrasted(target: str, a: str, b: str, rows: pd.DataFrame) -> str:
    said: dict[str, list[str]] = {}
    for row in _rows(rows):
        p = row.p if np.isnan(row.p_adjusted) else row.p_adjusted
        closer = a if (row.difference > 0) == getattr(NAMES.get(row.metric), "higher_is_closer", True) else b
        scores = (row.score_a, row.score_b) if closer == a else (row.score_b, row.score_a)
        name = metric_name(row.metric)
        both = f"{name} ({scores[0]:.3f} against {scores[1]:.3f}, {p_value(p)})"
        if np.isnan(p):
            said.setdefault("not computed: ", []).append(f"{name} ({row.why})")
        elif p <= LEVEL:
            other = b if closer == a else a
            said.setdefault(f"{closer} is closer to {target} than {other} by ", []).append(both)
        else:
            both = f"{name} ({row.score_a:.3f} and {row.score_b:.3f}, {p_value(p)})"
            said.setdefault(f"{a} and {b} do not differ significantly in closeness to {target} by ", []).append(both)
    return "; ".join(f"{opening}{_listed(metrics)}" for opening, metrics in said.items()) + "."


def partition_sentences(table: pd.DataFrame) -> list[str]:
    """Return one sentence per metric: what the systems explain together, what each adds, and what they share.

    Parameters
    ----------
    table : pandas.DataFrame
        As `superpose.partition` returns it.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> from superpose.report.differences import partition_sentences
    >>> draw = np.random.default_rng(0)
    >>> shape, colour, noise = draw.normal(size=(3, 400, 4))
    >>> found = sp.partition({"shape": shape, "colour": colour, "V4": shape + 0.05 * noise}, target="V4")
    >>> print(partition_sentences(found)[0].split("; ")[1])
    shape adds 1.004 beyond the rest (p < .001) and colour adds nothing significant (-0.000, p = 1)
    """
    return [
        _partitioned(str(target), str(metric), rows) for (target, metric), rows in _grouped(table, ["target", "metric"])
    ]


def _partitioned(target: str, metric: str, rows: pd.DataFrame) -> str:
    parts = {str(row.part): row for row in _rows(rows)}
    names = [part.removesuffix(BEYOND_THE_REST) for part in parts if part.endswith(BEYOND_THE_REST)]
    together: Any = parts[" + ".join(names)]
    if np.isnan(together.score):
        return f"{target}: {metric_name(metric)} could not be computed ({together.why})."
    opening = f"{target} from {_listed(names)} together: {metric_name(metric)} is {together.score:.3f}"
    sure = np.isfinite(together.low)
    opening += f" ({together.low:.3f} to {together.high:.3f})" if sure else ""
    adding = _listed([_added(name, parts[name + BEYOND_THE_REST]) for name in names])
    shared: Any = parts["shared"]
    ending = "" if np.isnan(shared.score) or not metric.endswith("r2") else f"; {shared.score:.3f} is shared"
    ending += "" if sure else f" ({together.why})"
    return f"{opening}; {adding}{ending}."


def _added(name: str, row: Any) -> str:
    p = row.p if np.isnan(row.p_adjusted) else row.p_adjusted
    if np.isnan(row.score):
        return f"what {name} adds could not be computed ({row.why})"
    if np.isnan(p):
        return f"{name} adds {row.score:.3f}{BEYOND_THE_REST} (no p-value)"
    if p <= LEVEL:
        return f"{name} adds {row.score:.3f}{BEYOND_THE_REST} ({p_value(p)})"
    return f"{name} adds nothing significant ({row.score:.3f}, {p_value(p)})"


def contrast_picture(table: pd.DataFrame) -> Figure:
    """Draw the differences of two scores with the target, one row per pair and one panel per metric.

    The bar is the 95 % interval. A full marker stands where the difference is significant at .05 over all rows of its
    metric, an empty one where it is not. Above it stand the two scores.

    Parameters
    ----------
    table : pandas.DataFrame
        As `superpose.contrast` returns it.

    Raises
    ------
    DataError
        For a table without rows.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> from superpose.report.differences import contrast_picture
    >>> x = np.random.default_rng(0).normal(size=(3, 60, 4))
    >>> figure = contrast_picture(sp.contrast(dict(zip("abc", x)), target="c", metrics=["rsa"]))
    >>> figure.axes[0].get_xlabel()
    'RSA: difference'
    """
    pairs = [(str(a), str(b)) for (a, b), _ in _grouped(table, ["system_a", "system_b"])]

    def marked(row: Any) -> Mark:
        scores = f"{_short(row.score_a)} − {_short(row.score_b)}"
        place = pairs.index((row.system_a, row.system_b))
        return Mark(place, row.difference, ALONE, full=row.p_adjusted <= LEVEL, words=scores)

    names = [f"{shorten(a)}\n− {shorten(b)}" for a, b in pairs]
    title = f"Closer to {{}}: difference of two scores (filled: p ≤ {LEVEL:g})"
    return _picture(table, names, marked, title, label="{}: difference")


def partition_picture(table: pd.DataFrame) -> Figure:
    """Draw the parts of what several systems explain of another, one row per part and one panel per metric.

    The bar is the 95 % interval. The colour says what a part is: one system alone, all together, one beyond the rest,
    or shared. A full marker stands where the part is significant at .05, those beyond the rest at once.

    Parameters
    ----------
    table : pandas.DataFrame
        As `superpose.partition` returns it.

    Raises
    ------
    DataError
        For a table without rows.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> from superpose.report.differences import partition_picture
    >>> x = np.random.default_rng(0).normal(size=(3, 60, 4))
    >>> figure = partition_picture(sp.partition(dict(zip("abc", x)), target="c"))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()][:3]
    ['a', 'b', 'a + b']
    """
    parts = list(dict.fromkeys(map(str, table.part)))
    names = [part.removesuffix(BEYOND_THE_REST) for part in parts if part.endswith(BEYOND_THE_REST)]
    colours = {part: BEYOND if part.endswith(BEYOND_THE_REST) else TOGETHER for part in parts}
    colours |= dict.fromkeys(names, ALONE) | {"shared": SHARED}

    def marked(row: Any) -> Mark:
        full = (row.p_adjusted if row.part.endswith(BEYOND_THE_REST) else row.p) <= LEVEL
        return Mark(parts.index(row.part), row.score, colours[row.part], full=full, words=_short(row.score))

    title = f"What explains {{}} (filled: p ≤ {LEVEL:g})"
    return _picture(table, [shorten(part, 28) for part in parts], marked, title)


class Mark(NamedTuple):
    """How a row of a table stands in its panel: beside which name, at what value, in which colour, with which words."""

    place: int
    value: float
    colour: str
    full: bool
    words: str


def _picture(
    table: pd.DataFrame, names: Sequence[str], marked: Callable[[Any], Mark], title: str, label: str = "{}"
) -> Figure:
    """Return a figure with one panel per metric, and in it a mark a row beside its name; a title about the target."""
    figure, panels = _panels(table, names)
    for axes, (metric, rows) in panels:
        axes.set_xlabel(label.format(metric_title(metric)), fontsize=7)
        for row in _rows(rows):
            _draw(axes, marked(row), row.low, row.high)
    words = title.format(_target(table))
    figure.text(0.02, 1 - 0.06 / figure.get_figheight(), words, fontsize=7.5, va="top", parse_math=False)
    return figure


def _target(table: pd.DataFrame) -> str:
    return shorten(str(table.target.iloc[0]))


def _panels(table: pd.DataFrame, names: Sequence[str]) -> tuple[Figure, list[tuple[Axes, tuple[str, pd.DataFrame]]]]:
    """Return a figure with one panel per metric, whose rows have names from above."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if table.empty:
        raise DataError("the table has no row; expected that of superpose.contrast or superpose.partition.")
    metrics = [(str(metric), rows) for (metric,), rows in _grouped(table, ["metric"])]
    left = 0.15 + LETTER * max(len(line) for name in names for line in name.split("\n"))
    height = HEAD + ROW * len(names) + FOOT
    width = COLUMN if len(metrics) <= 2 else max(PAGE, left + PANEL * len(metrics) + 0.1)
    figure = Figure(figsize=(width, height))
    grid: Any = figure.subplots(1, len(metrics), sharey=True, squeeze=False)
    figure.subplots_adjust(left / width, FOOT / height, 1 - 0.1 / width, 1 - HEAD / height, wspace=0.12)
    for axes in grid[0]:
        axes.set_ylim(len(names) - 0.5, -0.7)
        axes.axvline(0, color="black", lw=0.6, zorder=1)
        axes.set_yticks(range(len(names)), names, parse_math=False)
        axes.grid(axis="x", color="#EEEEEE", lw=0.5)
        axes.set_axisbelow(True)
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
        axes.tick_params(labelsize=6.5, length=2, pad=2)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    return figure, list(zip(grid[0], metrics, strict=True))


def _draw(axes: Axes, mark: Mark, low: float, high: float) -> None:
    """Draw one value with its interval and some words above it, or say that there is none."""
    y, value, colour, full, words = mark
    if not np.isfinite(value):
        axes.text(0.02, y, "n/a", color=colour, fontsize=5.5, va="center", transform=axes.get_yaxis_transform())
        return
    axes.plot([low, high], [y, y], color=colour, lw=1.2)
    axes.plot(value, y, "o", color=colour, markersize=4, markerfacecolor=colour if full else "white", mew=0.8)
    # The label of two scores may lie across the line of no difference.
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.3}
    look: dict[str, Any] = {"ha": "center", "fontsize": 5.5, "color": "#444444", "bbox": behind}
    axes.annotate(words, (value, y), (0, 4.5), textcoords="offset points", **look)


def _short(score: float) -> str:
    """Return two decimals, with a minus as long as that between scores; what rounds to zero has no sign."""
    return f"{round(score, 2) + 0.0:.2f}".replace("-", "−")


def _grouped(table: pd.DataFrame, keys: list[str]) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    yield from table.groupby(keys, sort=False)


def _rows(table: pd.DataFrame) -> list[Any]:
    return list(table.itertuples())


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
