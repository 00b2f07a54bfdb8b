"""Is a feature predicted by another system better than chance?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.arrays import group_labels
from superpose.statistics.cosets import column_p
from superpose.statistics.permutations import permutations as exchanges

Array = NDArray[Any]
Index = NDArray[np.int64]

# Permutations: at least so many, and so many a feature, that Benjamini-Hochberg can reach a small q.
PERMUTATIONS, PERMUTATIONS_A_FEATURE = 999, 20
# Held-out samples that permutations take part with, at most.
PERMUTED = 2_000


def significance(
    predicted: Array, truth: Array, groups: Index | None, permutations: int | None, seed: int
) -> NDArray[np.float64]:
    """Return p-values of the correlations of columns, from permutations of whole groups with the predictions fixed.

    Parameters
    ----------
    predicted, truth : ndarray, (samples, features)
        Held-out codes.
    groups : ndarray of int, (samples,) or None
        Which samples belong together.
    permutations : int or None
        None takes the larger of 999 and 20 a feature; 0 tests nothing.
    seed : int
        Draws samples and permutations.

    Returns
    -------
    ndarray, (features,)
        NaN for constant codes or predictions, or where too little can be exchanged.
    """
    features = truth.shape[1]
    count = max(PERMUTATIONS, PERMUTATIONS_A_FEATURE * features) if permutations is None else permutations
    few = _some(len(truth), groups, seed)
    exchange = exchanges(len(few), None, None if groups is None else group_labels(groups[few]))
    if not count or not features or not exchange.enough([0]):
        return np.full(features, np.nan)
    rows = few[exchange.kept]
    first, second = ((x[rows] - x[rows].mean(axis=0, dtype=np.float64)).astype(np.float32) for x in (predicted, truth))
    able = np.any(first != 0, axis=0) & np.any(second != 0, axis=0)
    return np.where(able, column_p(first, second, exchange, count, seed), np.nan)


def _some(samples: int, groups: Index | None, seed: int) -> Index:
    """Return at most `PERMUTED` samples, in whole groups drawn at random; one group more where the first is larger."""
    if samples <= PERMUTED:
        return np.arange(samples)
    of = np.arange(samples) if groups is None else groups
    order = np.random.default_rng((seed, 3)).permutation(int(of.max()) + 1)
    filled = np.cumsum(np.bincount(of)[order])
    return np.flatnonzero(np.isin(of, order[: max(2, int((filled <= PERMUTED).sum()))]))
