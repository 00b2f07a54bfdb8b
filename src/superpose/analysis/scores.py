"""The scores of one analysis: the same metrics, split and ridge for every space and control."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.analysis.job import Job
from superpose.comparison import COLUMNS, IDENTITY, SCORES, SIZES, compare, over_rows
from superpose.metrics import CKA, CKA_DEBIASED, RSA, MomentMetric, RegressionMetric, relative_ridge
from superpose.metrics.regression import RegressionSums, split_plan
from superpose.moments import Moments, accumulate_about_means, chunk_rows, mean_of, reader, row_blocks
from superpose.statistics import interval, standard_error

Array = NDArray[Any]

# The same penalty in every space: small beside the mean variance of the predictors, so that a dead or
# duplicated predictor costs nothing.
PENALTY = relative_ridge(1e-3)
REGRESSIONS = (
    RegressionMetric("regression_r", ("r", "pooled"), PENALTY),
    RegressionMetric("regression_r2", ("r2", "pooled"), PENALTY),
    RegressionMetric("regression_r_units", ("r", "units"), PENALTY),
)
METRICS = (CKA, CKA_DEBIASED, RSA, *REGRESSIONS)
FIT = ("space", "fit", "control", "seed")
QUALITY = ("fvu_a", "fvu_b", "dead_a", "dead_b", "rare_a", "rare_b", "l0_a", "l0_b", "same_index")
ORDER = (*IDENTITY, *FIT, *SCORES, *SIZES, "training_samples", "predictors", *QUALITY, "why")


def scored(job: Job, systems: Mapping[str, Array], permutations: int = 0) -> pd.DataFrame:
    """Return the scores of one space: the one pure function that every space and control goes through."""
    return compare(
        systems,
        pairs=job.within(systems),
        metrics=METRICS,
        test=job.held_out,
        groups=job.groups,
        permutations=permutations,
        seed=job.seed,
        memory=job.memory,
        progress=job.progress,
    )


def predicted(job: Job, source: str, predictors: Array, targets: Mapping[str, Array]) -> pd.DataFrame:
    """Return how well predictors made of one system foretell other systems, by the regressions of `scored`.

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
        Rows like those of `scored`, one a target and regression.
    """
    _, plan = split_plan(len(job.held_out), None, job.held_out)
    planned = [regression.planned(plan) for regression in REGRESSIONS]
    rows = []
    for name, y in targets.items():
        pair = {"x": predictors, "y": y}
        moments = _moments(job, pair)
        # All three share one plan and penalty, hence one fit.
        sums = planned[0].sums(moments)
        if sums.blurred:
            pair = {side: part.astype(np.float64) for side, part in pair.items()}
            moments = _moments(job, pair)
            sums = planned[0].sums(moments)
        rows += [_row(job, metric, sums, moments, pair) | {"system_b": name} for metric in planned]
    return pd.DataFrame(rows, columns=COLUMNS).assign(system_a=source, units_a=job.arrays[source].shape[-1])


def described(table: pd.DataFrame, job: Job, *, space: str, control: str = "none", fit: str | None = None) -> Any:
    """Return the scores with what they were measured on."""
    return table.assign(
        space=space,
        fit=job.fit if fit is None else fit,
        control=control,
        seed=0,
        training_samples=job.training,
        predictors=np.where(table.directed.astype(bool), table.units_a, np.nan),
        **dict.fromkeys(QUALITY, np.nan),
    )


def noted(table: pd.DataFrame, note: str) -> pd.DataFrame:
    """Return the table with a remark in front of every row's `why`."""
    return table.assign(why=["; ".join(filter(None, (note, why))) for why in table.why])


def _moments(job: Job, pair: Mapping[str, Array]) -> Moments:
    """Return the sums of a pair on either side of the split, about held-out means."""
    own, cross = accumulate_about_means(
        pair, [("x", "y")], job.held_out.astype(np.int64), _held_out(job), targets=("y",)
    )
    return Moments(own["x"], own["y"], cross["x", "y"])


def _held_out(job: Job) -> slice:
    return slice(job.training, len(job.held_out))


def _row(
    job: Job, metric: MomentMetric, sums: RegressionSums, moments: Moments, pair: Mapping[str, Array]
) -> dict[str, Any]:
    score = float(metric.score(sums))
    row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan) | {
        "metric": metric.name,
        "directed": True,
        "score": score,
        "samples": int(job.held_out.sum()),
        "units_b": pair["y"].shape[-1],
        "why": "" if np.isfinite(score) else metric.why(sums),
    }
    return row | _interval(job, metric, sums, moments, pair, score)


def _interval(
    job: Job, metric: MomentMetric, sums: Any, moments: Moments, pair: Mapping[str, Array], score: float
) -> dict[str, Any]:
    if metric.influence is None or metric.row_sums is None or not np.isfinite(score):
        return {}
    folds = job.held_out.astype(np.int64)
    rows = min(chunk_rows(pair.values()), len(folds))
    x, y = (reader(part, mean_of(part, _held_out(job)), rows) for part in pair.values())
    unseen = [(fold, index) for fold, index in row_blocks(len(folds), rows, folds) if fold]
    influence = metric.influence(sums, over_rows(metric.row_sums(moments, sums), (x, y), unseen))
    groups = None if job.groups is None else job.groups[job.held_out]
    count = len(influence) if groups is None else len(np.unique(groups))
    low, high = interval(score, standard_error(influence, groups), count, metric.bounds)
    return {"low": low, "high": high}
