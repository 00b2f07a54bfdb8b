"""The directive `metrics`: a table of all metrics, from what they declare and what is said of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from docutils import nodes
from docutils.parsers.rst import Directive

from superpose import metrics
from superpose.metrics import ALL, MORE, TOGETHER, Metric
from superpose.metrics.splits import split_of

FOUR = frozenset({"rotation", "scale", "permutation", "translation"})
RANGES = {
    (-1.0, 1.0): "−1 to 1",
    (0.0, 1.0): "0 to 1",
    (0.0, np.pi / 2): "0 to π/2, a distance",
    (-np.inf, 1.0): "below 1",
}


def measured(metric: Any) -> Any:
    """Return what a comparison evaluates: the metric for its folds, its groups or its systems side by side."""
    if hasattr(metric, "over"):
        metric = metric.over((1, 1))
    if hasattr(metric, "planned"):
        return metric.planned(split_of(10).plan)
    return metric.grouped(None) if hasattr(metric, "grouped") else metric


def ignored(metric: Metric) -> str:
    """Return the invariances that a metric declares, in one order."""
    held = metric.invariances
    if held >= FOUR:
        return ", ".join(["all four", *sorted(held - FOUR)])
    return ", ".join(name for name in ("rotation", "scale", "permutation", "translation", "linear") if name in held)


def exact_mean(metric: Metric) -> str:
    """Return that the mean over all permutations is known, where it is."""
    return "" if measured(metric).null_mean is None else "; exact mean"


# Title, width and what a cell says.
COLUMNS: dict[str, tuple[str, int, Callable[[Any], str]]] = {
    "compares": ("compares", 30, lambda metric: metric.about.compares),
    "ignores": ("ignores", 18, ignored),
    "range": ("range", 12, lambda metric: RANGES[measured(metric).bounds]),
    "directed": ("directed", 8, lambda metric: "x → y" if metric.directed else "no"),
    "interval": ("interval", 10, lambda metric: "no" if measured(metric).influence is None else "yes"),
    "null": ("null", 18, lambda metric: "permutation" + exact_mean(metric)),
    "cost": ("cost", 22, lambda metric: metric.about.cost),
    "source": ("source", 24, lambda metric: metric.about.source),
}  # fmt: skip


def rows(columns: list[str]) -> list[tuple[list[str], list[str]]]:
    """Return the names of metrics of which all columns say the same, with what they say."""
    said: dict[tuple[str, ...], list[str]] = {}
    for metric in sorted((*ALL, *MORE, *TOGETHER), key=lambda metric: metric.name):
        said.setdefault(tuple(COLUMNS[column][2](metric) for column in columns), []).append(metric.name)
    return [(names, list(cells)) for cells, names in said.items()]


class Metrics(Directive):
    """`.. metrics:: range cost` shows these columns of all metrics, equal neighbours in one row."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        self.state.document.settings.env.note_dependency(metrics.__file__)
        columns = self.arguments[0].split()
        table = nodes.tgroup(cols=1 + len(columns))
        table += [nodes.colspec(colwidth=width) for width in (22, *(COLUMNS[column][1] for column in columns))]
        head = [nodes.paragraph(text=title) for title in ("name", *(COLUMNS[column][0] for column in columns))]
        table += nodes.thead("", _row(head))
        table += nodes.tbody("", *(_row([_names(names), *_paragraphs(cells)]) for names, cells in rows(columns)))
        return [nodes.table("", table)]


def _paragraphs(cells: list[str]) -> list[nodes.paragraph]:
    return [nodes.paragraph(text=cell) for cell in cells]


def _names(names: list[str]) -> nodes.paragraph:
    paragraph = nodes.paragraph()
    for name in names:
        paragraph += [nodes.Text(", ")] if len(paragraph) else []
        paragraph += nodes.literal(text=name)
    return paragraph


def _row(cells: list[nodes.paragraph]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", cell) for cell in cells))


def setup(app: Any) -> None:
    """Register the directive."""
    app.add_directive("metrics", Metrics)
