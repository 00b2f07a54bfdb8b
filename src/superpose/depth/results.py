"""What is known of layers and a target: tables in the order of depth, sentences, and pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from superpose.messages.notebook import counted, html, text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SHOWN = ".table .best .differences .units .sentences .warnings .methods .plot() .report(path)"


@dataclass(frozen=True, eq=False)
class Layers:
    """Result of `superpose.layers`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per layer and metric (and time), in the order of depth.
    best : pandas.DataFrame
        One row per metric (and time): the layer with the highest score, and the certainty of that choice.
    differences : pandas.DataFrame
        One row per pair of neighbouring layers and a metric (and time).
    units : pandas.DataFrame
        One row per unit of the target, a layer and a regression (and time).
    warnings : tuple of str
        Cautions for the reader.
    """

    table: pd.DataFrame
    best: pd.DataFrame
    differences: pd.DataFrame
    units: pd.DataFrame
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        """Return what was found, in words."""
        return text(self._head, self.sentences, SHOWN)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: what was found, and the best layer of each metric."""
        return html(self._head, self.sentences, self.best, self.warnings)

    @property
    def _head(self) -> str:
        return f"{counted(self.table.layer.nunique(), 'layer')} by {counted(self.table.metric.nunique(), 'metric')}"

    @property
    def sentences(self) -> list[str]:
        """What the tables mean: the best layer, those that are not told from it, and where scores change."""
        from superpose.depth.sentences import sentences

        return sentences(self.table, self.best, self.differences)

    @property
    def methods(self) -> str:
        """A methods paragraph on what was done, and the works it cites, to be pasted into a paper."""
        from superpose.report.methods import paragraph, with_citations

        nothing = pd.DataFrame()
        return with_citations(paragraph(None, nothing, {}, nothing, nothing, self.table))

    def report(self, path: str | os.PathLike[str], title: str = "Layers") -> Path:
        """Write one self-contained HTML page: the best layer, every layer's score, methods."""
        from superpose.report import write

        return write(
            path, title=title, sentences=self.sentences, warnings=self.warnings, settings={}, layers=self.table
        )

    def plot(self) -> Figure:
        """Draw score against depth with intervals and ceiling, one panel per metric; over times, depth × time."""
        from superpose.depth.picture import picture

        return picture(self.table, self.best)
