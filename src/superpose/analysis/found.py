"""What an analysis found: the table, what it means, what a reader must know, and the settings behind it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from superpose.analysis.seeds import over_seeds
from superpose.analysis.verdict import sentences
from superpose.messages.notebook import counted, html, text
from superpose.sharing import Content

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from superpose.report import Passage

# Scores, and their columns, that a notebook shows.
MAIN = ("cka_debiased", "ridge_r")
# Where neither was asked for, a picture has so many.
MOST = 3
SHOWN = ("system_a", "system_b", "metric", "space", "control", "split", "score", "low", "high", "ceiling", "p")


@dataclass(frozen=True, eq=False, repr=False)
class Analysis:
    """Result of an analysis.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per score: the columns of `superpose.compare`, and `space` (raw, reconstruction, predicted, latent),
        `fit`, `control`, `seed`, `training_samples`, `predictors`, and per system the fraction of variance unexplained
        `fvu_*`, the share of dead latents `dead_*`, the active latents per sample `l0_*`; `same_index`, the share of
        matched latents that have the same index in both.
    warnings : tuple of str
        Cautions for the reader of the scores.
    settings : dict
        Settings that determine the results.
    content : Content, optional
        Which features the systems hold, and which of them others also hold; None where not requested or not possible.
    """

    table: pd.DataFrame
    warnings: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    content: Content | None = None

    def __repr__(self) -> str:
        """Return what was found, in words."""
        members = ".table .content .sentences .warnings .methods .settings .over_seeds .plot() .report(path)"
        return text(self._head, self.sentences, members)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: what was found, and the scores that matter most."""
        main = self.table[self.table.metric.isin(MAIN)]
        rows = (self.table if main.empty else main)[[name for name in SHOWN if name in self.table]]
        return html(self._head, self.sentences, rows.dropna(axis="columns", how="all"), self.warnings)

    @property
    def _head(self) -> str:
        pairs = {frozenset(pair) for pair in zip(self.table.system_a, self.table.system_b, strict=True)}
        warned = f", {counted(len(self.warnings), 'warning')}" if self.warnings else ""
        return f"Analysis of {counted(len(pairs), 'pair')}: {counted(len(self.table), 'score')}{warned}"

    @property
    def sentences(self) -> list[str]:
        """What was found, in plain sentences: the content of each pair first, then its scores."""
        content = [] if self.content is None else self.content.sentences
        return [*content, *sentences(self.table, self.settings.get("permutations"))]

    @property
    def over_seeds(self) -> pd.DataFrame:
        """The table with each score's mean over the seeds of its dictionaries, and an interval of both errors."""
        return over_seeds(self.table)

    @property
    def methods(self) -> str:
        """A methods paragraph on what was done, and the works it cites, to be pasted into a paper."""
        from superpose.report.methods import to_paste

        return to_paste(**self.reported)

    def plot(self) -> Figure:
        """Draw the scores of each pair with their intervals and nulls, as `superpose.report.plots.alignment` does."""
        from superpose.report.plots import alignment

        names = list(dict.fromkeys(self.table.metric))
        return alignment(self.table, metrics=[name for name in MAIN if name in names] or names[:MOST])

    @property
    def reported(self) -> dict[str, Any]:
        """What a report shows of it: the parts that `superpose.report.page` takes."""
        content: dict[str, Any] = {} if self.content is None else self.content.reported
        settings = self.settings | content.pop("settings", {})
        scored = sentences(self.table, self.settings.get("permutations"))
        return content | {"sentences": scored, "warnings": self.warnings, "table": self.table, "settings": settings}

    def report(
        self,
        path: str | os.PathLike[str],
        title: str = "Alignment",
        *,
        stimuli: Mapping[str, Path | Passage] | None = None,
    ) -> Path:
        """Write one self-contained HTML page: verdicts and pictures, features, scores, methods and settings.

        `stimuli` says what samples are, by their names: paths of pictures, of which thumbnails go to a folder beside
        the page, or a `superpose.report.Passage` of a text.
        """
        from superpose.report import write

        return write(path, title=title, stimuli=stimuli or {}, **self.reported)
