"""Rows that come in few groups: what pairs of rows within a group make of raw scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.analysis.caveats import NEAR_ZERO
from superpose.comparison import compare
from superpose.metrics import CKA_DEBIASED, CKA_GROUPED
from superpose.metrics.metric import is_constant

Array = NDArray[Any]

# From as many groups the bias is small beside the interval: of groups of four, coverage is 93 %.
MANY = 500
# A score of so many rows is known well enough to warn, and those of two systems can be held.
ROWS = 10_000


def of_groups(
    systems: Mapping[str, Array],
    pairs: Sequence[tuple[str, str]],
    groups: NDArray[np.int64] | None,
    *,
    seed: int,
    memory: int | str | None,
) -> Iterator[str]:
    """Yield a warning for each pair whose raw score is another over rows of different groups alone.

    `systems` and `groups` are of the rows that are scored.
    """
    if groups is None:
        return
    count = len(np.unique(groups))
    if count == len(groups) or not 1 < count < MANY:
        return
    rows = _spread(groups, seed)
    chosen = {name: x[rows] for name, x in systems.items()}
    varying = {name: x for name, x in chosen.items() if not is_constant(x)}
    able = [pair for pair in pairs if varying.keys() >= set(pair)]
    if not able:
        return
    table = compare(
        varying,
        pairs=able,
        metrics=(CKA_DEBIASED, CKA_GROUPED),
        cv=None,
        groups=groups[rows],
        permutations=0,
        memory=memory,
    )
    by_pair: Any = table.groupby(["system_a", "system_b"], sort=False)
    for (a, b), found in by_pair:
        plain, apart = found.itertuples()
        if abs(plain.score - apart.score) > NEAR_ZERO:
            yield (
                f"{a} and {b}: debiased CKA is {plain.score:.3f}, and {apart.score:.3f} ({apart.low:.3f} to "
                f"{apart.high:.3f}) over rows of different groups alone: rows within the {count} scored groups are "
                "alike, which CKA and RSA take for likeness of the systems."
            )


def _spread(groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return all rows, or of each group as many at random as make `ROWS` in all, two at least."""
    if len(groups) <= ROWS:
        return np.arange(len(groups))
    order = np.random.default_rng(seed).permutation(len(groups))
    place = pd.Series(order).groupby(groups[order]).cumcount()
    chosen: NDArray[np.int64] = np.sort(order[place < max(2, ROWS // len(np.unique(groups)))])
    return chosen
