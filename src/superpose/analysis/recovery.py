"""Dictionaries fitted to systems, and the scores of what they recover, with how good they are beside every one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.analysis.job import Job
from superpose.analysis.kept import Dictionaries
from superpose.analysis.permuting import Permuting, as_they_are
from superpose.analysis.scores import noted
from superpose.analysis.spaces import FITS, Recipe, Trainer, decoded, encoded
from superpose.dictionaries.diagnostics import fvu, l0, same_index_share
from superpose.messages.wording import percent

Array = NDArray[Any]

# A latent that is active less than this share of what the average one is has hardly been trained.
RARE = 0.01


@dataclass(frozen=True)
class Recovered:
    """Dictionaries of a job's systems, fitted on its training rows, and the codes of all rows."""

    job: Job
    dictionaries: Dictionaries

    @cached_property
    def codes(self) -> dict[str, Array]:
        """The sparse codes, (samples, latents)."""
        return encoded(self.dictionaries, self.job.arrays)

    @cached_property
    def rebuilt(self) -> dict[str, Array]:
        """What the codes stand for in each system's activity, (samples, units)."""
        return decoded(self.dictionaries, self.codes)

    @cached_property
    def unseen(self) -> dict[str, Array]:
        """The codes of held-out rows."""
        return {name: z[self.job.training :] for name, z in self.codes.items()}

    @cached_property
    def used(self) -> dict[str, Array]:
        """The codes without latents that no training row activates; all of them where none is activated."""
        alive = {name: rates > 0 for name, rates in self.rates.items()}
        kept = {name: active if active.any() else ~active for name, active in alive.items()}
        return {name: z if kept[name].all() else z[:, kept[name]] for name, z in self.codes.items()}

    @cached_property
    def rates(self) -> dict[str, NDArray[np.float64]]:
        """The share of training rows that activate each latent."""
        count = self.job.training
        return {name: np.count_nonzero(z[:count], axis=0) / count for name, z in self.codes.items()}

    @cached_property
    def quality(self) -> dict[str, dict[str, float]]:
        """How good each system's dictionary is on rows that it has not seen, and how many of its latents do nothing."""
        first = self.job.training
        return {
            name: {
                "fvu": float(fvu(self.job.arrays[name][first:], self.rebuilt[name][first:])),
                "dead": float((rates == 0).mean()),
                "rare": float((rates < RARE * rates.mean()).mean()) if rates.any() else 1.0,
                "l0": float(l0(self.unseen[name])),
            }
            for name, rates in self.rates.items()
        }

    def judged(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return scores with the quality of the dictionaries behind them."""
        table = table.copy()
        for side in ("a", "b"):
            for what in ("fvu", "dead", "rare", "l0"):
                table[f"{what}_{side}"] = [self.quality[name][what] for name in table[f"system_{side}"]]
        shared = {(a, b): same_index_share(self.unseen[a], self.unseen[b]) for a, b in self.job.within(self.codes)}
        table["same_index"] = [
            shared.get((a, b), shared.get((b, a))) for a, b in zip(table.system_a, table.system_b, strict=True)
        ]
        return table


Line = Callable[[Recovered], pd.DataFrame]


def recover(
    job: Job,
    *,
    names: Sequence[str],
    recipe: Recipe,
    number: int,
    lines: Sequence[Line],
    control: str = "none",
    permuting: Permuting = as_they_are,
    trainer: Trainer | None = None,
) -> pd.DataFrame:
    """Fit the dictionaries of one group of systems, and draw the lines asked for.

    Parameters
    ----------
    job : Job
    names : sequence of str
        The systems of the group.
    recipe : Recipe
    number : int
        Which of several seeds it is.
    lines : sequence of callable
        The scores, each a table made of what was recovered.
    control : str
        What the rows are called in the table's column of that name.
    permuting : callable
        How rows are permuted before anything is fitted.
    trainer : callable, optional
        What makes the dictionaries; None is the job's fit.
    """
    altered = permuting(job.only(names))
    train = FITS[job.fit][1] if trainer is None else trainer
    heard = replace(recipe, progress=job.design.progress)
    dictionaries = train({name: x[: altered.training] for name, x in altered.arrays.items()}, heard)
    recovered = Recovered(altered, dictionaries)
    rows = [line(recovered) for line in lines]
    left_out = 1 - len(altered.held_out) / len(job.held_out)
    note = f"{percent(left_out, 1)} of the rows left out" if left_out else ""
    return noted(pd.concat(rows, ignore_index=True), note).assign(control=control, seed=number)
