"""Rows that come in few groups: what pairs of rows within a group make of raw scores."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from superpose.analysis.caveats import NEAR_ZERO
from superpose.analysis.job import Job
from superpose.analysis.scores import compared
from superpose.metrics import CKA_DEBIASED, CKA_GROUPED

# From as many groups the bias is small beside the interval: of groups of four, those hold the truth in 93 %.
MANY = 500


def of_groups(table: pd.DataFrame, job: Job) -> Iterator[str]:
    """Yield a warning for each pair whose raw score is another over rows of different groups alone."""
    sizes = np.unique([] if job.groups is None else job.groups[job.held_out], return_counts=True)[1]
    if not 0 < len(sizes) < MANY or sizes.max() == 1:
        return
    raw = table[(table.space == "raw") & (table.control == "none") & (table.metric == CKA_DEBIASED.name)]
    within = dict(zip(zip(raw.system_a, raw.system_b, strict=True), raw.score, strict=True))
    for row in compared(job, job.arrays, job.pairs, [CKA_GROUPED]).itertuples():
        score = within[row.system_a, row.system_b]
        if abs(score - row.score) > NEAR_ZERO:
            yield (
                f"{row.system_a} and {row.system_b}: debiased CKA is {score:.3f}, and {row.score:.3f} "
                f"({row.low:.3f} to {row.high:.3f}) over rows of different groups alone: rows within the {len(sizes)} "
                "held-out groups are alike, which CKA and RSA take for likeness of the systems."
            )
