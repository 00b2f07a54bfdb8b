"""Differences of scores on the same samples: which of two systems is closer to another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from superpose.arrays import of_one_repeat
from superpose.comparison import INTERVALS, Progress, Systems
from superpose.comparison.targets import Scored, check_target, scored_with
from superpose.files import DataError
from superpose.messages.deprecation import renamed
from superpose.metrics import CKA_DEBIASED, RIDGE_R, RIDGE_R2, RSA, Metric, MomentMetric, PairwiseMetric, resolved
from superpose.recordings.systems import paired
from superpose.statistics import holm, two_sided_p

METRICS = (CKA_DEBIASED, RSA, RIDGE_R, RIDGE_R2)
COLUMNS = (
    *("target", "system_a", "system_b", "metric", "directed", "score_a", "score_b", "difference"),
    *("low", "high", "error", "p", "p_adjusted", "samples", "why"),
)


@renamed(folds="cv", to="target")
def contrast(
    systems: Systems,
    *,
    target: str,
    metrics: Sequence[Metric | str] = METRICS,
    cv: int | ArrayLike | None = 5,
    test: float | ArrayLike | None = None,
    groups: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    seed: int = 0,
    interval_samples: int | None = INTERVALS,
    memory: int | str | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Say which of several systems is closer to one of them: is layer 7 closer to V4 than layer 5?

    Both scores are of the same samples, so errors that they share cancel: the standard error of the difference comes
    from each sample's influence on it, and is usually much smaller than those of the two scores.
    `superpose.report.differences.contrast_sentences` puts the table into words.

    Parameters
    ----------
    systems : mapping of str to array or tensor, (samples, units), data frame, xarray array or Recording
        At least three systems that saw the same samples, paired as in `superpose.compare`.
    target : str
        The system that the others are compared with. Directed metrics predict it from them.
    metrics : sequence of Metric or str
        As in `superpose.compare`, those that have an interval there.
    cv, test, groups, labels, seed, interval_samples, memory, progress
        As in `superpose.compare`.

    Returns
    -------
    pandas.DataFrame
        One row per pair of the others and a metric: `difference` = `score_a` − `score_b`, the scores of `system_a` and
        `system_b` with `target`, 0 where it is within rounding; `low`, `high`, `error`: its 95 % interval and standard
        error; `p`: two-sided, of no difference; `p_adjusted`: for all rows of a metric at once (Holm 1979); `why`: the
        reason for a NaN. For a distance, the smaller score is the closer.

    Raises
    ------
    DataError
        As `superpose.compare`; and for fewer than three systems, an unknown target, repeats, or a metric without an
        interval.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> draw = np.random.default_rng(0)
    >>> v4 = draw.normal(size=(300, 20))
    >>> layers = {f"layer {i}": v4 + spread * draw.normal(size=v4.shape) for i, spread in ((5, 2.0), (7, 1.0))}
    >>> table = sp.contrast({"V4": v4, **layers}, target="V4")
    >>> row = table[table.metric == "cka_debiased"].iloc[0]
    >>> row.system_a, bool(row.difference < 0), bool(row.p < 0.001)
    ('layer 5', True, True)
    """
    systems, groups, labels, test, cv = paired(systems, groups, labels=labels, test=test, cv=cv)
    check_target(systems, target)
    found = scored_with(
        of_one_repeat(systems), target, resolved(metrics), cv=cv, test=test, groups=groups, labels=labels, seed=seed,
        interval_samples=interval_samples, memory=memory, progress=progress,
    )  # fmt: skip
    for metric in found.metrics:
        if not isinstance(metric, MomentMetric | PairwiseMetric) or metric.influence is None:
            raise DataError(f"{metric.name} has no interval, so that its differences have none; leave it out.")
    rows = [
        _row(target, one, other, metric, found)
        for metric in found.metrics
        for one, other in combinations(found.outcomes, 2)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for index in table.groupby("metric").groups.values():
        table.loc[index, "p_adjusted"] = holm(table.p[index].to_numpy())
    return table


def _row(target: str, a: str, b: str, metric: MomentMetric | PairwiseMetric, found: Scored) -> dict[str, Any]:
    one, other = (found.outcomes[name][metric.name] for name in (a, b))
    row = dict.fromkeys(COLUMNS, np.nan) | {
        "target": target,
        "system_a": a,
        "system_b": b,
        "metric": metric.name,
        "directed": metric.directed,
        "score_a": one.score,
        "score_b": other.score,
        "samples": found.design.count,
        "why": "; ".join(f"{name}: {outcome.why}" for name, outcome in ((a, one), (b, other)) if outcome.why),
    }
    difference = found.known(one.score - other.score, (one.score, other.score))
    if one.influence is None or other.influence is None:
        return row | {"difference": difference}
    width = metric.bounds[1] - metric.bounds[0]
    sure = found.design.drawn.uncertainty(difference, one.influence - other.influence, (-width, width))
    p = two_sided_p(difference, sure.error, sure.groups)
    return row | {"difference": difference, "p": p} | sure.columns
