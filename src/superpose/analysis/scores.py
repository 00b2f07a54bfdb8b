"""The scores of one analysis: the same metrics, split and ridge for every space and control."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.analysis.job import Job
from superpose.comparison import COLUMNS, IDENTITY, SCORES, SIZES, compare, over_rows
from superpose.metrics import CKA, CKA_DEBIASED, RSA, MomentMetric, RegressionMetric, relative_ridge
from superpose.metrics.metric import is_constant
from superpose.metrics.prediction import RegressionSums
from superpose.metrics.splits import split_plan
from superpose.moments import Moments, accumulate_about_means, chunk_rows, mean_of, reader
from superpose.statistics import Drawn

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


def scored(job: Job, systems: Mapping[str, Array], permutations: int = 0, engine: str = "serial") -> pd.DataFrame:
    """Return the scores of one space: the one pure function that every space and control goes through.

    What a dictionary makes of a system may stand still, as that of one that is never active: such scores are NaN.
    """
    still = {name for name, x in systems.items() if is_constant(x)}
    pairs = job.within(systems)
    able = [pair for pair in pairs if still.isdisjoint(pair)]
    rows = [_unscored(job, systems, pair, still) for pair in pairs if pair not in able]
    varying = {name: x for name, x in systems.items() if name not in still}
    tables = [_compared(job, varying, able, permutations, engine)] if able else []
    return pd.concat([*tables, *rows], ignore_index=True)


def _compared(
    job: Job, systems: Mapping[str, Array], pairs: Sequence[tuple[str, str]], permutations: int, engine: str
) -> pd.DataFrame:
    return compare(
        systems,
        pairs=pairs,
        metrics=METRICS,
        test=job.held_out,
        groups=job.groups,
        permutations=permutations,
        interval_samples=job.interval_samples,
        seed=job.seed,
        memory=job.memory,
        engine=engine,
        progress=job.progress,
    )


def unvarying(names: Sequence[str]) -> str:
    """Return why systems have no score of what a dictionary makes of them."""
    return f"{' and '.join(names)}: the same in all rows"


def _unscored(job: Job, systems: Mapping[str, Array], pair: tuple[str, str], still: Collection[str]) -> pd.DataFrame:
    """Return the rows of a pair of which a system does not vary."""
    why = unvarying([name for name in pair if name in still])
    rows = [
        {
            "system_a": a,
            "system_b": b,
            "metric": metric.name,
            "directed": metric.directed,
            "samples": int(job.held_out.sum()),
            "units_a": systems[a].shape[-1],
            "units_b": systems[b].shape[-1],
            "why": why,
        }
        for metric in METRICS
        for a, b in ([pair, pair[::-1]] if metric.directed else [pair])
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


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
        found = _fitted(job, planned[0], {"x": predictors, "y": y})
        # All three share one plan and penalty, hence one fit.
        rows += [_row(job, metric, found) | {"system_b": name, "units_b": y.shape[-1]} for metric in planned]
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


class _Fitted(NamedTuple):
    """What a regression was fitted to and left, and what each of the drawn rows adds to that."""

    sums: RegressionSums
    rows: Any
    drawn: Drawn


def _fitted(job: Job, regression: MomentMetric, pair: Mapping[str, Array]) -> _Fitted:
    """Fit on training rows; all sums are about held-out means."""
    folds = job.held_out.astype(np.int64)
    scored = slice(job.training, len(folds))
    means = {side: mean_of(part, scored) for side, part in pair.items()}
    own, cross = accumulate_about_means(pair, [("x", "y")], folds, means, targets=("y",))
    moments = Moments(own["x"], own["y"], cross["x", "y"])
    sums = regression.sums(moments)
    if sums.blurred:
        return _fitted(job, regression, {side: part.astype(np.float64) for side, part in pair.items()})
    count = min(chunk_rows(pair.values()), len(folds))
    x, y = (reader(part, means[side], count) for side, part in pair.items())
    drawn = job.drawn
    assert regression.row_sums is not None
    (rows,) = over_rows([regression.row_sums(moments, sums)], (x, y), drawn.blocks(count))
    return _Fitted(sums, rows, drawn)


def _row(job: Job, metric: MomentMetric, found: _Fitted) -> dict[str, Any]:
    score = float(metric.score(found.sums))
    row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan) | {
        "metric": metric.name,
        "directed": True,
        "score": score,
        "samples": int(job.held_out.sum()),
        "why": "" if np.isfinite(score) else metric.why(found.sums),
    }
    if metric.influence is None or not np.isfinite(score):
        return row
    return row | found.drawn.uncertainty(score, metric.influence(found.sums, found.rows), metric.bounds).columns
