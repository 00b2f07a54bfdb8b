"""The scores of one analysis: the same metrics and split for every space and control."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.analysis.job import Job
from superpose.comparison import COLUMNS, IDENTITY, SCORES, SIZES, compare
from superpose.metrics import CKA, CKA_DEBIASED, RIDGE_R, RIDGE_R2, RIDGE_R_UNITS, RSA, Metric
from superpose.metrics.metric import is_constant

Array = NDArray[Any]

# A penalty is chosen for each source and target, inside the training samples, in every space alike.
METRICS = (CKA, CKA_DEBIASED, RSA, RIDGE_R, RIDGE_R2, RIDGE_R_UNITS)
FIT = ("space", "fit", "control", "seed")
QUALITY = ("fvu_a", "fvu_b", "dead_a", "dead_b", "rare_a", "rare_b", "l0_a", "l0_b", "same_index")
ORDER = (*IDENTITY, *FIT, *SCORES, "split", *SIZES, "training_samples", "predictors", *QUALITY, "why")


def scored(job: Job, systems: Mapping[str, Array], permutations: int = 0, engine: str = "serial") -> pd.DataFrame:
    """Return the scores of one space: the one pure function that every space and control goes through.

    What a dictionary makes of a system may stand still, as that of one that is never active: such scores are NaN.
    """
    pairs = job.within(systems)
    return _scored(job, systems, pairs, job.metrics, permutations=permutations, engine=engine)


def _scored(
    job: Job,
    systems: Mapping[str, Array],
    pairs: Sequence[tuple[str, str]],
    metrics: Sequence[Metric],
    *,
    predictors: Sequence[str] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Return the scores of pairs, those of predictors in their one direction."""
    still = {name for name, x in systems.items() if is_constant(x)}
    able = [pair for pair in pairs if still.isdisjoint(pair)]
    one_way = predictors is not None
    tables = [_unscored(job, systems, pair, metrics, still, one_way) for pair in pairs if pair not in able]
    if able:
        table = compare(
            {name: x for name, x in systems.items() if name not in still},
            **({"predictors": predictors} if one_way else {"pairs": able}),
            metrics=metrics,
            test=job.held_out,
            groups=job.groups,
            labels=job.labels,
            interval_samples=job.interval_samples,
            seed=job.seed,
            memory=job.memory,
            progress=job.progress,
            **options,
        )
        tables.insert(0, table)
    return pd.concat(tables, ignore_index=True)


def unvarying(names: Sequence[str]) -> str:
    """Return why systems have no score of what a dictionary makes of them."""
    return f"{' and '.join(names)}: the same in all rows"


def _unscored(
    job: Job,
    systems: Mapping[str, Array],
    pair: tuple[str, str],
    metrics: Sequence[Metric],
    still: Collection[str],
    one_way: bool,
) -> pd.DataFrame:
    """Return the rows of a pair of which a system does not vary."""
    why = unvarying([name for name in pair if name in still])
    rows = [
        {
            "system_a": a,
            "system_b": b,
            "metric": metric.name,
            "directed": metric.directed,
            "split": "test",
            "samples": int(job.held_out.sum()),
            "units_a": systems[a].shape[-1],
            "units_b": systems[b].shape[-1],
            "why": why,
        }
        for metric in metrics
        for a, b in ([pair, pair[::-1]] if metric.directed and not one_way else [pair])
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def predicted(job: Job, source: str, predictors: Array, targets: Mapping[str, Array]) -> pd.DataFrame:
    """Return how well predictors made of one system foretell other systems, by the predictive metrics of `scored`.

    Parameters
    ----------
    job : Job
        The split and its groups.
    source : str
        The system that the predictors are made of.
    predictors : ndarray, (samples, predictors)
        Any function of its activity, row by row.
    targets : mapping of str to ndarray, (samples, units)
        What they foretell, linearly: the weights are fitted on training rows under the ridge of every space.

    Returns
    -------
    pandas.DataFrame
        Rows like those of `scored`, one a target and metric.
    """
    if not job.predictive:
        return pd.DataFrame(columns=COLUMNS)
    pairs = [(source, name) for name in targets]
    table = _scored(job, {source: predictors, **targets}, pairs, job.predictive, predictors=[source], permutations=0)
    return table.assign(units_a=job.arrays[source].shape[-1])


def alone(table: pd.DataFrame, training: int) -> pd.DataFrame:
    """Return raw scores, of which no dictionary was asked, with what they were measured on."""
    return _measured(table, training).assign(space="raw", fit="", control="none")


def _measured(table: pd.DataFrame, training: int) -> pd.DataFrame:
    return table.assign(
        seed=0,
        training_samples=training,
        predictors=np.where(table.directed.astype(bool), table.units_a, np.nan),
        **dict.fromkeys(QUALITY, np.nan),
    )


def described(table: pd.DataFrame, job: Job, *, space: str, control: str = "none", fit: str | None = None) -> Any:
    """Return the scores with what they were measured on."""
    measured = _measured(table, job.training)
    return measured.assign(space=space, fit=job.fit if fit is None else fit, control=control)


def noted(table: pd.DataFrame, note: str) -> pd.DataFrame:
    """Return the table with a remark in front of every row's `why`."""
    return table.assign(why=["; ".join(filter(None, (note, why))) for why in table.why])
