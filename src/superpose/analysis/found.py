"""What an analysis found: the table, what it means, what a reader must know, and the settings behind it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from superpose.analysis.seeds import over_seeds
from superpose.analysis.verdict import sentences
from superpose.sharing import Content


@dataclass(frozen=True)
class Analysis:
    """What an analysis found.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a score: the columns of `superpose.compare`, and `space` (raw, reconstruction, predicted,
        latent), `fit`, `control`, `seed`, `training_samples`, `predictors`, and per system the fraction of
        variance unexplained `fvu_*`, the share of dead latents `dead_*`, the active latents a sample `l0_*`;
        `same_index`, the share of matched latents that carry the same index in both.
    warnings : tuple of str
        What a reader of the scores must know.
    settings : dict
        Every setting that the numbers follow from.
    content : Content, optional
        Which features the systems hold, and which of them the others hold too; None where that was not asked for, or
        could not be looked for.
    """

    table: pd.DataFrame
    warnings: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    content: Content | None = None

    @property
    def sentences(self) -> list[str]:
        """What was found, in plain sentences: the content of each pair first, then its scores."""
        content = [] if self.content is None else self.content.sentences
        return [*content, *sentences(self.table, self.settings.get("permutations"))]

    @property
    def over_seeds(self) -> pd.DataFrame:
        """The table with each score's mean over the seeds of its dictionaries, and an interval of both errors."""
        return over_seeds(self.table)

    def report(self, path: str | os.PathLike[str], title: str = "Alignment") -> Path:
        """Write one self-contained HTML page: verdicts and pictures, features, scores, methods and settings."""
        from superpose.report import write

        content: dict[str, Any] = {} if self.content is None else self.content.reported
        settings = self.settings | content.pop("settings", {})
        scored = sentences(self.table, self.settings.get("permutations"))
        parts = content | {"sentences": scored, "warnings": self.warnings, "table": self.table, "settings": settings}
        return write(path, title=title, **parts)
