"""Which of several layers predicts a target best, and how much of what can be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import check_paired
from superpose.comparison import INTERVALS, Design, Progress, Systems, checked_systems, design_of, warn_of_order
from superpose.depth.results import Layers
from superpose.depth.scoring import Scored, scored
from superpose.depth.tables import (
    best_rows,
    ceiling_rows,
    difference_rows,
    layer_rows,
    unit_rows,
    with_adjusted,
    with_medians,
)
from superpose.depth.target import Paired, paired_with_target
from superpose.depth.warnings import warnings_of
from superpose.metrics import RIDGE_R, Metric, PredictiveMetric, resolved

Array = NDArray[Any]


def layers(
    systems: Systems,
    *,
    target: Any,
    times: Sequence[Any] | None = None,
    metrics: Sequence[Metric | str] = (RIDGE_R,),
    cv: int | ArrayLike | None = 5,
    test: float | ArrayLike | None = None,
    groups: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    permutations: int = 999,
    interval_samples: int | None = INTERVALS,
    seed: int = 0,
    memory: int | str | None = None,
    progress: Progress | None = None,
) -> Layers:
    """Say which of several layers predicts a target best, and how much of what can be predicted.

    Every layer is scored on the same samples in the same folds, with the same permutations. The best of many layers
    scores high by chance, so its p-value compares the best score with the best over layers under each permutation.

    Parameters
    ----------
    systems : mapping of str to array or tensor, (samples, units), data frame, xarray array or Recording
        The layers, at least two, in the order of depth; the target may be among them. Paired as in `superpose.compare`.
    target : str, or array, data frame, xarray array, Recording or Trials
        One of the systems by its name, or a system of its own: (samples, units), or (repeats, samples, units) with
        trials, NaN where one is missing; trials are averaged, and give the noise ceiling. Time-resolved responses have
        time as their last axis (`times`), as an xarray axis called time or time_bin, or are given as {time: responses}:
        each time is a target of its own.
    times : sequence, optional
        What the last axis of the target is: (samples, units, times) or (repeats, samples, units, times).
    metrics : sequence of Metric or str
        As in `superpose.compare`. Directed ones predict the target from a layer.
    cv, test, groups, labels, interval_samples, seed, memory, progress
        As in `superpose.compare`.
    permutations : int
        Number of permutations of the target's samples, the same for all layers. 0 omits all permutation p-values.

    Returns
    -------
    Layers
        `table`: one row per layer (metric, time) with `score`, its 95 % interval `low`, `high` and `error`; `ceiling`
        with its interval, and `ratio`, the score over it; `null`, `p` and `calibrated` as in `superpose.compare`;
        `p_adjusted` for all layers and times of a metric at once; `best_p`: that no layer is better (Hsu 1984): the
        layers above .05 include the best one with 95 % confidence; for regressions `median` over the target's units of
        their scores, and `median_ratio` over reliable units of score over ceiling, with intervals from order statistics
        over units.

        `best`: one row per metric (and time) with the layer of the highest score; `null` and `critical`, mean and 95 %
        quantile of the highest score over permutations; `p`, of that maximum; `p_adjusted` for all times; `calibrated`:
        0 at `null`, 1 for identical systems; `gated`: 0 up to `critical`, the calibrated score of Gröger, Wen & Brbić
        (2026); `rivals`: layers that may be the best as well, `best_p` > .05.

        `differences`: `layer_b` less `layer_a`, its neighbour, with interval and p as in `superpose.contrast`.

        `units`: one row per unit (layer, metric, time) with `score`, `ceiling`, `ratio`, and whether it is `reliable`
        (`superpose.ceilings.of_units`); `why` says where a score is above its ceiling. `warnings`, `sentences`,
        `methods`, `plot()`, `report(path)`.

    Raises
    ------
    DataError
        As `superpose.compare`; and for fewer than two layers, an unknown target, layers with repeats, or times that do
        not fit.

    References
    ----------
    Gröger, Wen & Brbić, Revisiting the Platonic Representation Hypothesis: An Aristotelian View, arXiv 2602.14486,
    2026.
    Westfall & Young, Resampling-Based Multiple Testing, 1993. Hsu, Annals of Statistics 12, 1984.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> draw = np.random.default_rng(0)
    >>> z = draw.normal(size=(200, 5))
    >>> network = {f"layer{i}": z + spread * draw.normal(size=z.shape) for i, spread in ((1, 2.0), (2, 0.5), (3, 4.0))}
    >>> v4 = z @ draw.normal(size=(5, 8)) + draw.normal(size=(4, 200, 8))  # four trials
    >>> found = sp.layers(network, target=v4, permutations=99)
    >>> found.best.layer[0], float(found.best.p[0]), round(float(found.best.ratio[0]), 1)
    ('layer2', 0.01, 0.9)
    """
    chosen = resolved(metrics)
    pairing = paired_with_target(systems, target, times, groups, labels=labels, test=test, cv=cv)
    arrays = checked_systems(pairing.arrays)
    design = design_of(
        check_paired(arrays), cv=pairing.cv, test=pairing.test, groups=pairing.groups, labels=pairing.labels,
        interval_samples=interval_samples, permutations=permutations, one_way=True, seed=seed, memory=memory,
        progress=progress,
    )  # fmt: skip
    warn_of_order(arrays, design)
    goals = list(pairing.goals.values())
    found = scored(arrays, [(layer, goal) for goal in goals for layer in pairing.layers], chosen, design)
    return _tabulated(arrays, pairing, found, chosen, design)


def _tabulated(
    arrays: dict[str, Array],
    pairing: Paired,
    found: dict[tuple[str, str], dict[str, Scored]],
    metrics: Sequence[Metric],
    design: Design,
) -> Layers:
    how = {"cv": pairing.cv, "test": pairing.test, "groups": pairing.groups, "labels": pairing.labels}
    ceilings = {
        goal: ceiling_rows(arrays, pairing.layers, trials, metrics, **how, seed=design.seed)
        for goal, trials in pairing.trials.items()
    }
    tables, bests, differences, units = [], [], [], []
    for metric in metrics:
        of_goals = [{x: found[x, goal][metric.name] for x in pairing.layers} for goal in pairing.goals.values()]
        rows = []
        for (time, goal), scores in zip(pairing.goals.items(), of_goals, strict=True):
            known = {"target": pairing.target, "time": time}
            table = layer_rows(scores, metric, ceilings.get(goal, {}).get(metric.name, {}), design)
            if isinstance(metric, PredictiveMetric):
                each = unit_rows(scores, metric, pairing.trials.get(goal), design)
                table = with_medians(table, each)
                units.append(each.assign(**known))
            rows.append(table.assign(**known))
            differences.append(difference_rows(scores, metric, design).assign(**known))
        with_adjusted(rows, of_goals, metric)
        tables += rows
        bests.append(best_rows(rows, of_goals, metric))
    every = (tables, bests, differences, units)
    table, best, steps, each = (_joined(part, timed=None not in pairing.goals) for part in every)
    return Layers(table, best, steps, each, warnings_of(table, each))


def _joined(tables: Sequence[pd.DataFrame], *, timed: bool) -> pd.DataFrame:
    """Return tables below each other; only times that there are make a column."""
    if not tables:
        return pd.DataFrame()
    table = pd.concat([part.dropna(axis=1, how="all") for part in tables], ignore_index=True)
    table = table.reindex(columns=list(tables[0].columns))
    return table if timed else table.drop(columns="time")
