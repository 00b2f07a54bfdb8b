"""Differences of scores on the same samples: which system is closer to another, and what each adds to the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import as_responses, check_paired, meant
from superpose.comparison import (
    INTERVALS,
    Design,
    Outcome,
    Progress,
    Responses,
    Systems,
    checked_systems,
    design_of,
    outcome_of,
    over_pairs,
    planned_for,
    warn_of_order,
)
from superpose.files import DataError, argument
from superpose.messages.deprecation import renamed
from superpose.metrics import (
    CKA_DEBIASED,
    RIDGE_R,
    RIDGE_R2,
    RSA,
    Metric,
    MomentMetric,
    PairwiseMetric,
    PredictiveMetric,
    resolved,
)
from superpose.moments import working_type
from superpose.recordings.systems import paired
from superpose.statistics import holm, one_sided_p, two_sided_p

Array = NDArray[Any]

# So many roundings of a product may part two scores that are equal.
ROUNDING = 64
METRICS = (CKA_DEBIASED, RSA, RIDGE_R, RIDGE_R2)
PARTS = ("target", "metric", "part", "score", "low", "high", "error", "p", "p_adjusted", "samples", "why")
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
    """Say which of several systems is closer to one of them: is layer 7 closer to V4 than layer 5 is?

    Both scores are taken on the same samples, so that what moves both is no difference: its error comes from each
    sample's influence on the difference, and is mostly far smaller than those of the two scores.

    Parameters
    ----------
    systems : mapping of str to array or tensor, (samples, units), data frame, xarray array or Recording
        At least three systems that saw the same samples, paired as in `superpose.compare`.
    target : str
        The system that the others are held against. Directed metrics predict it from them.
    metrics : sequence of Metric or str
        As in `superpose.compare`, those that have an interval there.
    cv, test, groups, labels, seed, interval_samples, memory, progress
        As in `superpose.compare`.

    Returns
    -------
    pandas.DataFrame
        One row a pair of the others and a metric: `difference` = `score_a` − `score_b`, the scores of `system_a` and
        `system_b` with `target`, 0 where it is their rounding; `low`, `high`, `error`: its 95 % interval and standard
        error; `p`: two-sided, of no difference; `p_adjusted`: for all rows of a metric at once (Holm 1979); `why`: the
        reason for a NaN. For a distance the lesser is the closer.

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
    _check_target(systems, target)
    found = _scored(
        _of_one_repeat(systems), target, resolved(metrics), cv=cv, test=test, groups=groups, labels=labels, seed=seed,
        interval_samples=interval_samples, memory=memory, progress=progress,
    )  # fmt: skip
    rows = [
        _row(target, one, other, metric, found)
        for metric in found.metrics
        for one, other in combinations(found.outcomes, 2)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for index in table.groupby("metric").groups.values():
        table.loc[index, "p_adjusted"] = holm(table.p[index].to_numpy())
    return table


@renamed(folds="cv", metric="metrics")
def partition(
    systems: Systems,
    *,
    target: str,
    metrics: Sequence[Metric | str] = (RIDGE_R2,),
    cv: int | ArrayLike | None = 5,
    test: float | ArrayLike | None = None,
    groups: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    seed: int = 0,
    interval_samples: int | None = INTERVALS,
    memory: int | str | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Say what each of several systems explains of another that the rest do not: a partition of held-out R².

    Held-out regressions on each system alone, on all together, and on all but one: what one is worth beyond the others
    is the difference. Each system is first brought to a total variance of 1, so that one penalty weighs
    all alike. Held out, what adds nothing costs a little: its part is then below 0, and no evidence.

    Parameters
    ----------
    systems : mapping of str to array or tensor, (samples, units), data frame, xarray array or Recording
        At least three systems that saw the same samples, paired as in `superpose.compare`.
    target : str
        The system that is predicted from the others.
    metrics : sequence of Metric or str
        Regressions scored by R², as "ridge_r2", or by r: the parts of those do not add up.
    cv, test, groups, labels, seed, interval_samples, memory, progress
        As in `superpose.compare`.

    Returns
    -------
    pandas.DataFrame
        One row a metric and `part`: "A" alone, "A + B" all together, "A beyond the rest", and "shared": what all
        explain together less what each adds. `score`, its 95 % interval `low`, `high` and standard `error`, in which
        samples count where they train as well; `p`, one-sided, that the part is no more than 0;
        `p_adjusted` for all parts "beyond the rest" of a metric at once (Holm 1979); `samples`; `why`: the reason for a
        NaN.

    Raises
    ------
    DataError
        As `superpose.compare`; and for fewer than three systems, an unknown target, repeats, or a metric that is no
        regression.

    References
    ----------
    Borcard, Legendre & Drapeau, Partialling out the spatial component of ecological variation, Ecology 73, 1992; for
    encoding models, Lescroart, Stansbury & Gallant, Frontiers in Computational Neuroscience 9, 2015.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> draw = np.random.default_rng(0)
    >>> shape, colour = draw.normal(size=(2, 400, 4))
    >>> found = sp.partition({"shape": shape, "colour": colour, "V4": shape + 0.1 * colour}, target="V4")
    >>> found.part.tolist()
    ['shape', 'colour', 'shape + colour', 'shape beyond the rest', 'colour beyond the rest', 'shared']
    >>> found.score.round(1).tolist()[2:4]
    [1.0, 1.0]
    """
    systems, groups, labels, test, cv = paired(systems, groups, labels=labels, test=test, cv=cv)
    _check_target(systems, target)
    names = [str(name) for name in systems if str(name) != target]
    regressions = resolved(metrics)
    for metric in regressions:
        if not isinstance(metric, PredictiveMetric):
            raise DataError(
                f"{metric.name} predicts nothing, so that there are no parts of it; expected regressions, such as "
                "ridge_r2, ridge_r or ols_r2."
            )
    arrays = _of_one_repeat(systems)
    check_paired(arrays)
    alike = {name: _of_unit_variance(arrays[name]) for name in names}
    together = " + ".join(names)
    without = {name: f"all but {name}" for name in names}
    models = {**alike, together: np.hstack(list(alike.values()))}
    models |= {label: np.hstack([x for name, x in alike.items() if name != left]) for left, label in without.items()}
    for name in systems:
        if name in (together, *without.values()):
            raise DataError(f"{name!r} is also what several systems together are called; rename it.")
    found = _scored(
        {**models, target: arrays[target]}, target, regressions, cv=cv, test=test, groups=groups, labels=labels,
        seed=seed, interval_samples=interval_samples, memory=memory, progress=progress,
    )  # fmt: skip
    beyond = {f"{name} beyond the rest": {together: 1, without[name]: -1} for name in names}
    shared = {together: 1 - len(names)} | {without[name]: 1 for name in names}
    parts = {name: {name: 1} for name in names} | {together: {together: 1}} | beyond | {"shared": shared}
    rows = [_part(target, part, weights, metric, found) for metric in found.metrics for part, weights in parts.items()]
    table = pd.DataFrame(rows, columns=list(PARTS))
    for index in table[table.part.isin(list(beyond))].groupby("metric").groups.values():
        table.loc[index, "p_adjusted"] = holm(table.p[index].to_numpy())
    return table


def _check_target(systems: Systems, target: str) -> None:
    names = list(map(str, systems))
    if len(names) < 3 or target not in names:
        raise DataError(
            f"{argument('target')} is {target!r}; expected one of at least three systems; there are "
            f"{', '.join(names)}.{meant(target, names)}"
        )


@dataclass(frozen=True)
class _Scored:
    """Every other system's scores with one, by system and metric; equal ones may differ by `resolution`."""

    outcomes: dict[str, dict[str, Outcome]]
    design: Design
    metrics: list[Any]
    resolution: float

    def known(self, total: float, terms: Sequence[float]) -> float:
        """Return a sum of scores, 0 where rounding is all that is left.

        Influences on equal scores are equal too: rounding would be many times its own error.
        """
        return 0.0 if abs(total) <= self.resolution * max(1.0, *map(abs, terms)) else total


def _scored(systems: Systems, target: str, metrics: Sequence[Metric], **how: Any) -> _Scored:
    arrays = checked_systems(systems)
    couples = [(name, target) for name in arrays if name != target]
    design = design_of(check_paired(arrays), **how)
    warn_of_order(arrays, design)
    planned = planned_for(metrics, design)
    for metric in planned:
        if not isinstance(metric, MomentMetric | PairwiseMetric) or metric.influence is None:
            raise DataError(f"{metric.name} has no interval, so that its differences have none; leave it out.")
    found: dict[str, dict[str, Outcome]] = {name: {} for name, _ in couples}
    for part in over_pairs(Responses(arrays), couples, planned, design):
        for metric, _ in part.metrics:
            found[part.pair[0]][metric.name] = outcome_of(part.directions[0], metric, part.originals, design)
    eps = max(float(np.finfo(working_type(x)).eps) for x in arrays.values())
    return _Scored(found, design, planned, ROUNDING * eps)


def _row(target: str, a: str, b: str, metric: MomentMetric | PairwiseMetric, found: _Scored) -> dict[str, Any]:
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


def _part(target: str, part: str, weights: dict[str, int], metric: Any, found: _Scored) -> dict[str, Any]:
    outcomes = {model: found.outcomes[model][metric.name] for model in weights}
    row = dict.fromkeys(PARTS, np.nan) | {
        "target": target,
        "metric": metric.name,
        "part": part,
        "samples": found.design.count,
    }
    row["why"] = "; ".join(f"{model}: {outcome.why}" for model, outcome in outcomes.items() if outcome.why)
    known = [(weights[model], outcome.score, outcome.influence) for model, outcome in outcomes.items()]
    terms = [(weight * score, weight * influence) for weight, score, influence in known if influence is not None]
    if len(terms) < len(known):
        return row
    scores = [term for term, _ in terms]
    score = found.known(float(sum(scores)), scores)
    sure = found.design.drawn.uncertainty(score, np.sum([term for _, term in terms], axis=0), (-np.inf, np.inf))
    return row | {"score": score, "p": one_sided_p(score, sure.error, sure.groups)} | sure.columns


def _of_one_repeat(systems: Systems) -> dict[str, Array]:
    arrays = {str(name): as_responses(x, str(name)) for name, x in systems.items()}
    for name, x in arrays.items():
        if x.ndim > 2:
            raise DataError(f"{name} has shape {x.shape}; expected (samples, units). Pass one repeat at a time.")
    return arrays


def _of_unit_variance(x: Array) -> Array:
    """Return responses whose variances sum to 1 over the units."""
    total = x.var(axis=-2, dtype=np.float64).sum()
    return (x / np.sqrt(total if total > 0 else 1.0)).astype(np.result_type(x.dtype, np.float32))
