"""The scores of several systems with one target, on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from superpose.arrays import check_paired, meant
from superpose.comparison import (
    Design,
    Outcome,
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
from superpose.metrics import Metric
from superpose.moments import working_type

# So many roundings of a product may part two scores that are equal.
ROUNDING = 64


def check_target(systems: Systems, target: str) -> None:
    """Raise a DataError where the target is not one of at least three systems."""
    names = list(map(str, systems))
    if len(names) < 3 or target not in names:
        raise DataError(
            f"{argument('target')} is {target!r}; expected one of at least three systems; there are "
            f"{', '.join(names)}.{meant(target, names)}"
        )


@dataclass(frozen=True)
class Scored:
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


def scored_with(systems: Systems, target: str, metrics: Sequence[Metric], **how: Any) -> Scored:
    """Return the scores of all others with the target, each with its influences; `how` is what makes a design."""
    arrays = checked_systems(systems)
    couples = [(name, target) for name in arrays if name != target]
    design = design_of(check_paired(arrays), one_way=True, **how)
    warn_of_order(arrays, design)
    planned = planned_for(metrics, design)
    found: dict[str, dict[str, Outcome]] = {name: {} for name, _ in couples}
    for part in over_pairs(Responses(arrays), couples, planned, design):
        for metric, _ in part.metrics:
            found[part.pair[0]][metric.name] = outcome_of(part.directions[0], metric, part.originals, design)
    eps = max(float(np.finfo(working_type(x)).eps) for x in arrays.values())
    return Scored(found, design, planned, ROUNDING * eps)
