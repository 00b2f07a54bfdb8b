"""The table of scores of some systems, pairs and metrics under one design: what every door makes its rows by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.comparison.columns import COLUMNS
from superpose.comparison.design import Design, planned_for
from superpose.comparison.routes import kernels_alone
from superpose.comparison.scores import Scored, closer_sign, unscored
from superpose.comparison.workers import scored, scored_by
from superpose.metrics import Metric
from superpose.metrics.metric import is_constant
from superpose.statistics import familywise

Array = NDArray[Any]


def table_of(
    systems: Mapping[str, Array],
    pairs: Sequence[tuple[str, str]],
    metrics: Sequence[Metric],
    design: Design,
    workers: int = 1,
) -> pd.DataFrame:
    """Return the rows of `superpose.compare`: of each pair and metric, with all pairs' p-values adjusted at once.

    Parameters
    ----------
    systems : mapping of str to ndarray, (samples, units)
        Finite, and paired row by row.
    pairs : sequence of (name, name)
    metrics : sequence of Metric
        Of different names.
    design : Design
        How samples are split, grouped, drawn and permuted.
    workers : int
        So many processes score groups of pairs.
    """
    arrays = {name: systems[name] for name in dict.fromkeys(chain.from_iterable(pairs))}
    still = {name for name, x in arrays.items() if is_constant(x)}
    found = {pair: _of_still(pair, still, arrays, metrics, design) for pair in pairs if not still.isdisjoint(pair)}
    able = [pair for pair in pairs if pair not in found]
    several = workers > 1 and len(able) > 1
    if several and not kernels_alone(arrays, able, planned_for(metrics, design), design):
        found |= scored_by(workers, arrays, able, metrics, design)
    elif able:
        found |= scored(able, arrays=arrays, metrics=metrics, design=design)
    every = [one for pair in pairs for one in found[pair]]
    table = pd.DataFrame([one.row for one in every], columns=COLUMNS)
    for metric in metrics:
        known = [
            (place, one.null)
            for place, one in enumerate(every)
            if one.row["metric"] == metric.name and one.null is not None
        ]
        if known:
            sign, nulls = closer_sign(metric), [null for _, null in known]
            scores = sign * np.array([null.score for null in nulls])
            adjusted = familywise(scores, sign * np.stack([null.permuted for null in nulls]))
            table.loc[[place for place, _ in known], "p_adjusted"] = adjusted
    return table


def _of_still(
    pair: tuple[str, str],
    still: Set[str],
    arrays: Mapping[str, Array],
    metrics: Sequence[Metric],
    design: Design,
) -> list[Scored]:
    a, b = pair
    units = (arrays[a].shape[-1], arrays[b].shape[-1])
    why = f"{' and '.join(name for name in pair if name in still)}: the same in all rows"
    return [Scored(row) for row in unscored(pair, units, metrics, design, why)]
