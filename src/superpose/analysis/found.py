"""What an analysis found: the table, what it means, what a reader must know, and the settings behind it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from superpose.analysis.seeds import over_seeds
from superpose.analysis.verdict import sentences


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
    """

    table: pd.DataFrame
    warnings: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def sentences(self) -> list[str]:
        """What the table means, one plain sentence a pair."""
        return sentences(self.table, self.settings.get("permutations"))

    @property
    def over_seeds(self) -> pd.DataFrame:
        """The table with each score's mean over the seeds of its dictionaries, and an interval of both errors."""
        return over_seeds(self.table)

    def report(self, path: str | os.PathLike[str], title: str = "Alignment") -> Path:
        """Write one self-contained HTML page: the sentences, warnings, a chart, the table and the settings."""
        from superpose.report import write

        return write(
            path,
            title=title,
            sentences=self.sentences,
            warnings=self.warnings,
            table=self.table,
            settings=self.settings,
        )
