"""Rows that come in few groups: what pairs of rows within a group make of raw scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.analysis.caveats import NEAR_ZERO
from superpose.analysis.job import Job
from superpose.comparison import compare
from superpose.metrics import CKA_DEBIASED, CKA_GROUPED
from superpose.metrics.metric import is_constant

# From as many groups the bias is small beside the interval: of groups of four, those hold the truth in 93 %.
MANY = 500
# A score of so many rows is known well enough to warn, and those of two systems can be held.
ROWS = 10_000


def of_groups(job: Job) -> Iterator[str]:
    """Yield a warning for each pair whose raw score is another over held-out rows of different groups alone."""
    if job.groups is None:
        return
    groups = job.groups[job.held_out]
    count = len(np.unique(groups))
    if count == len(groups) or not 1 < count < MANY:
        return
    rows = _spread(np.flatnonzero(job.held_out), groups, job.seed)
    systems = {name: x[rows] for name, x in job.arrays.items()}
    varying = {name: x for name, x in systems.items() if not is_constant(x)}
    if not job.within(varying):
        return
    table = compare(
        varying,
        pairs=job.within(varying),
        metrics=(CKA_DEBIASED, CKA_GROUPED),
        folds=None,
        groups=job.groups[rows],
        memory=job.memory,
    )
    by_pair: Any = table.groupby(["system_a", "system_b"], sort=False)
    for (a, b), found in by_pair:
        plain, apart = found.itertuples()
        if abs(plain.score - apart.score) > NEAR_ZERO:
            yield (
                f"{a} and {b}: debiased CKA is {plain.score:.3f}, and {apart.score:.3f} ({apart.low:.3f} to "
                f"{apart.high:.3f}) over rows of different groups alone: rows within the {count} held-out groups are "
                "alike, which CKA and RSA take for likeness of the systems."
            )


def _spread(rows: NDArray[np.int64], groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the rows, or of each group as many at random as make `ROWS` in all, two at least."""
    if len(rows) <= ROWS:
        return rows
    order = np.random.default_rng(seed).permutation(len(rows))
    place = pd.Series(order).groupby(groups[order]).cumcount()
    chosen: NDArray[np.int64] = np.sort(rows[order[place < max(2, ROWS // len(np.unique(groups)))]])
    return chosen
