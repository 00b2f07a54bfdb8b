"""Independent dictionaries, and the ceiling that their own noise puts on every score of theirs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from superpose.analysis.job import Job
from superpose.analysis.kept import Dictionaries
from superpose.analysis.lines import latents
from superpose.analysis.recovery import Recovered
from superpose.analysis.spaces import Recipe, Trainer, derived_seed
from superpose.comparison import SCORES
from superpose.metrics import CKA_DEBIASED

INDEPENDENT = "independent"


def apart_twice(job: Job, *, recipe: Recipe, number: int, control: str, trainer: Trainer) -> pd.DataFrame:
    """Fit two dictionaries per system, each on its own, and score systems against each other and against themselves.

    Two seeds on one system see the same content: what their codes lack in agreement is noise of the dictionaries
    (`space` two_seeds). Dividing it out, r_ab/√(r_aa r_bb), is Spearman's (1904) correction for attenuation (`space`
    corrected). A recoding that recovers nothing is as noisy as it is uninformative, and the correction lifts it as
    well: no corrected score means anything without that of untrained dictionaries beside it.

    Parameters
    ----------
    job : Job
    recipe : Recipe
    number : int
        Which of several seeds it is.
    control : str
        What the rows are called in the column `control`.
    trainer : callable
        What makes the dictionaries, each from its own system alone.

    References
    ----------
    Spearman, C. (1904). The proof and measurement of association between two things. American Journal of
    Psychology 15, 72-101.
    """
    seeds = (recipe.seed, derived_seed(recipe.seed, "second seed"))
    names = [name for name in job.arrays if job.partners(name)]
    training = {name: job.arrays[name][: job.training] for name in names}
    first, second = (trainer(training, replace(recipe, seed=seed, progress=job.design.progress)) for seed in seeds)
    # One pair's codes at a time: those of all systems would not fit in memory.
    own = {name: _two_seeds(job, name, first, second) for name in names}
    between = pd.concat([_apart(job, pair, first) for pair in job.pairs], ignore_index=True)
    tables = [between, *own.values(), _corrected(job, between, own)]
    return pd.concat(tables, ignore_index=True).assign(fit=INDEPENDENT, control=control, seed=number)


def _apart(job: Job, pair: tuple[str, str], dictionaries: Dictionaries) -> pd.DataFrame:
    return latents(Recovered(job.only(pair), {name: dictionaries[name] for name in pair}))


def _two_seeds(job: Job, name: str, first: Dictionaries, second: Dictionaries) -> pd.DataFrame:
    x = job.arrays[name]
    pair = (name, f"{name}, second seed")
    twin = job.of(dict.fromkeys(pair, x), [pair])
    table = latents(Recovered(twin, dict(zip(pair, (first[name], second[name]), strict=True))))
    return table.assign(space="two_seeds")


def _corrected(job: Job, between: pd.DataFrame, own: dict[str, pd.DataFrame]) -> pd.DataFrame:
    # A ceiling can be divided out of correlations.
    table = between[between.metric.isin([CKA_DEBIASED.name, *job.correlations])]
    ceilings = {name: rows.groupby("metric").score.mean() for name, rows in own.items()}
    sides = [
        np.array([ceilings[name][metric] for name, metric in zip(table[side], table.metric, strict=True)], dtype=float)
        for side in ("system_a", "system_b")
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        product = np.where((sides[0] > 0) & (sides[1] > 0), sides[0] * sides[1], np.nan)
        scores = table.score.to_numpy() / np.sqrt(product)
    unknown = dict.fromkeys(SCORES[1:], np.nan)
    notes = [f"over the two-seed scores {a:.3f} and {b:.3f}; no interval" for a, b in zip(*sides, strict=True)]
    return table.assign(space="corrected", score=scores, why=notes, **unknown)
