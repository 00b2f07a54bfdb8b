"""What each of several systems explains of another that the rest do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import check_paired, of_one_repeat
from superpose.comparison import INTERVALS, Progress, Systems
from superpose.comparison.targets import Scored, check_target, scored_with
from superpose.files import DataError
from superpose.messages.deprecation import renamed
from superpose.metrics import RIDGE_R2, Metric, PredictiveMetric, resolved
from superpose.metrics.banded import BandedRidgeMetric, as_band, of_unit_variance, side_by_side
from superpose.recordings.systems import paired
from superpose.statistics import holm, one_sided_p

Array = NDArray[Any]

PARTS = ("target", "metric", "part", "score", "low", "high", "error", "p", "p_adjusted", "samples", "why")


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
    """Partition held-out R²: what each of several systems explains of another beyond the rest.

    Held-out regressions on each system alone, on all together, and on all but one: the difference of the last two is
    what a system adds to the others. Systems are scaled to a total variance of 1 first, so that one penalty applies to
    all alike. A system that adds nothing lowers held-out R² slightly: a part just below 0 is not evidence of anything.

    Parameters
    ----------
    systems : mapping of str to array or tensor, (samples, units), data frame, xarray array or Recording
        At least three systems that saw the same samples, paired as in `superpose.compare`.
    target : str
        The system that is predicted from the others.
    metrics : sequence of Metric or str
        Regressions scored by R², as "ridge_r2", or by r, whose parts do not add up. "banded_r2" and "banded_r" give
        each system a penalty of its own (`superpose.metrics.banded_ridge`); what several explain together has no
        interval then, and `why` says so.
    cv, test, groups, labels, seed, interval_samples, memory, progress
        As in `superpose.compare`.

    Returns
    -------
    pandas.DataFrame
        One row per metric and `part`: "A" alone, "A + B" all together, "A beyond the rest", and "shared": what all
        explain together less what each adds. `score`, its 95 % interval `low`, `high` and standard `error`, which count
        a sample's influence on training too; `p`, one-sided, that the part is no more than 0; `p_adjusted` for all
        parts "beyond the rest" of a metric at once (Holm 1979); `samples`; `why`: the reason for a NaN.

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
    check_target(systems, target)
    names = [str(name) for name in systems if str(name) != target]
    regressions = resolved(metrics)
    for metric in regressions:
        if not isinstance(metric, PredictiveMetric):
            raise DataError(
                f"{metric.name} predicts nothing, so that there are no parts of it; expected regressions, such as "
                "ridge_r2, ridge_r or ols_r2."
            )
    arrays = of_one_repeat(systems)
    check_paired(arrays)
    together = " + ".join(names)
    without = {name: f"all but {name}" for name in names}
    models = {name: [name] for name in names} | {together: names}
    models |= {label: [name for name in names if name != left] for left, label in without.items()}
    for name in systems:
        if name in (together, *without.values()):
            raise DataError(f"{name!r} is also what several systems together are called; rename it.")
    how = {
        "cv": cv, "test": test, "groups": groups, "labels": labels, "seed": seed,
        "interval_samples": interval_samples, "memory": memory, "progress": progress,
    }  # fmt: skip
    found = _scored(arrays, models, target, regressions, how)
    beyond = {f"{name} beyond the rest": {together: 1, without[name]: -1} for name in names}
    shared = {together: 1 - len(names)} | {without[name]: 1 for name in names}
    parts = {name: {name: 1} for name in names} | {together: {together: 1}} | beyond | {"shared": shared}
    rows = [
        _part(target, part, weights, metric.name, scores)
        for metric, scores in zip(regressions, found, strict=True)
        for part, weights in parts.items()
    ]
    table = pd.DataFrame(rows, columns=list(PARTS))
    for index in table[table.part.isin(list(beyond))].groupby("metric").groups.values():
        table.loc[index, "p_adjusted"] = holm(table.p[index].to_numpy())
    return table


def _scored(
    arrays: dict[str, Array], models: dict[str, list[str]], target: str, metrics: Sequence[Metric], how: dict[str, Any]
) -> list[Scored]:
    """Return the scores of models of some systems side by side, by metric."""
    plain = [metric for metric in metrics if not isinstance(metric, BandedRidgeMetric)]
    found: dict[Metric, Scored] = {}
    if plain:
        weighed = {name: of_unit_variance(arrays[name]) for name in models if name in arrays}
        beside = {model: np.hstack([weighed[name] for name in of]) for model, of in models.items()}
        found = dict.fromkeys(plain, scored_with({**beside, target: arrays[target]}, target, plain, **how))
    for metric in metrics:
        if isinstance(metric, BandedRidgeMetric):
            found[metric] = _banded(arrays, models, target, metric, how)
    return [found[metric] for metric in metrics]


def _banded(
    arrays: dict[str, Array], models: dict[str, list[str]], target: str, metric: BandedRidgeMetric, how: dict[str, Any]
) -> Scored:
    """Return the scores of models in which each system has a penalty of its own."""
    apart = {name: as_band(arrays[name]) for name in models if name in arrays}
    found = []
    for model, of in models.items():
        x, bands = side_by_side([apart[name] for name in of])
        one = metric.over(bands) if len(bands) > 1 else metric.alone
        found.append(scored_with({model: x, target: arrays[target]}, target, [one], **how))
    return replace(found[0], outcomes={model: one for scores in found for model, one in scores.outcomes.items()})


def _part(target: str, part: str, weights: dict[str, int], metric: str, found: Scored) -> dict[str, Any]:
    outcomes = {model: found.outcomes[model][metric] for model in weights}
    row = dict.fromkeys(PARTS, np.nan) | {
        "target": target,
        "metric": metric,
        "part": part,
        "samples": found.design.count,
    }
    row["why"] = "; ".join(f"{model}: {outcome.why}" for model, outcome in outcomes.items() if outcome.why)
    scores = [weights[model] * outcome.score for model, outcome in outcomes.items()]
    score = found.known(float(sum(scores)), scores)
    known = [(weights[model], outcome.influence) for model, outcome in outcomes.items()]
    moved = [weight * influence for weight, influence in known if influence is not None]
    if len(moved) < len(known):
        return row | {"score": score}
    sure = found.design.drawn.uncertainty(score, np.sum(moved, axis=0), (-np.inf, np.inf))
    return row | {"score": score, "p": one_sided_p(score, sure.error, sure.groups)} | sure.columns
