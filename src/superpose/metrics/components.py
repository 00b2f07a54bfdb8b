"""How many components a regression goes through: a number, or the one that predicts left-out training folds best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.metrics.prediction import Fitted, unchosen
from superpose.metrics.spectrum import by_training
from superpose.metrics.splits import Plan
from superpose.moments import Moments

Array = NDArray[Any]
Folds = tuple[int, ...]
Counts = Mapping[Folds, int | Array]

CHOSEN = "chosen"
Components = int | str


def as_components(value: Any) -> Components:
    """Return a number of components, or "chosen", or raise a DataError that says what it is instead."""
    if value == CHOSEN:
        return CHOSEN
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise DataError(f"components is {value!r}; expected an integer of at least 1, or {CHOSEN!r}.")
    return int(value)


def counts_of(
    components: Components, plan: Plan, errors: Callable[[Folds, Sequence[int]], Iterable[Array]]
) -> dict[Folds, int | Array]:
    """Return how many components each set of training folds goes through: none are known where none can be chosen.

    `errors` gives, from the folds of a fit and those that it is tried on, the squared errors on each of these through
    1, 2, … components, (components, …), as many as the fit has. The least of their sum is chosen.
    """
    if not isinstance(components, str):
        return dict.fromkeys((training for _, training in plan.rounds), components)
    return {
        training: 1 + np.argmin(sum(error[: min(map(len, each))] for error in each), axis=0)
        for training, each in by_training(plan, errors).items()
    }


def through(
    counts: Counts, moments: Moments, plan: Plan, fitted: Callable[[Moments, Folds, int | Array], Fitted]
) -> Iterator[Fitted]:
    """Yield each round's weights through so many components."""
    for _, training in plan.rounds:
        known = training in counts
        yield fitted(moments, training, counts[training]) if known else unchosen(moments, "number of components")
