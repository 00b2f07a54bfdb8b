"""The scores of one analysis: the same metrics and split for every space and control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.analysis.job import Job
from superpose.arrays import as_responses
from superpose.comparison import COLUMNS, IDENTITY, SCORES, SIZES, Design, table_of
from superpose.metrics import CKA, CKA_DEBIASED, RIDGE_R, RIDGE_R2, RIDGE_R_UNITS, RSA, Metric

Array = NDArray[Any]

# A penalty is chosen for each source and target, inside the training samples, in every space alike.
METRICS = (CKA, CKA_DEBIASED, RSA, RIDGE_R, RIDGE_R2, RIDGE_R_UNITS)
FIT = ("space", "fit", "control", "seed")
QUALITY = ("fvu_a", "fvu_b", "dead_a", "dead_b", "rare_a", "rare_b", "l0_a", "l0_b", "same_index")
ORDER = (*IDENTITY, *FIT, *SCORES, "split", "null_kind", *SIZES, "training_samples", "predictors", *QUALITY, "why")


def scored(job: Job, systems: Mapping[str, Array]) -> pd.DataFrame:
    """Return the scores of one space: {name: array} of the job's rows, under its split and metrics.

    What a dictionary makes of a system may stand still, as that of one that is never active: such scores are NaN.
    """
    finite = {name: as_responses(x, name) for name, x in systems.items()}
    return table_of(finite, job.within(systems), job.metrics, job.design)


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
    one_way = replace(job.design, one_way=True)
    table = table_of({source: predictors, **targets}, pairs, job.predictive, one_way)
    return table.assign(units_a=job.arrays[source].shape[-1])


def settings_of(pairs: Sequence[tuple[str, str]], metrics: Sequence[Metric], design: Design) -> dict[str, Any]:
    """Return the settings that scores follow from."""
    return {
        "pairs": [list(pair) for pair in pairs],
        "metrics": [metric.name for metric in metrics],
        "split": design.split,
        "groups": None if design.groups is None else int(design.groups.max()) + 1,
        "labels": None if design.labels is None else int(design.labels.max()) + 1,
        "training_samples": design.training,
        "test_samples": design.count,
        "interval_samples": design.interval_samples,
        "seed": design.seed,
    }


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


def noted(table: pd.DataFrame, note: str, rows: Any = True) -> pd.DataFrame:
    """Return the table with a remark in front of the `why` of the chosen rows, or of all."""
    said = ("; ".join(filter(None, (note, why))) for why in table.why)
    return table.assign(why=np.where(rows, list(said), table.why))
