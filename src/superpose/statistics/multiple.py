"""Multiple comparisons: p-values and q-values of several scores together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from superpose.statistics.intervals import Array
from superpose.statistics.p_values import TIED


def familywise(scores: Array, nulls: Array) -> Array:
    """Return p-values that hold for all of several scores at once: single-step max-T (Westfall & Young 1993).

    Each score is measured in standard deviations of its own null, so that none is favoured by a wide one, and held
    against the largest of all scores in every permutation. Unlike p-values that are multiplied by their number, these
    can fall to 1/(B + 1) however many scores there are.

    Parameters
    ----------
    scores : ndarray, (scores,)
        The higher the closer.
    nulls : ndarray, (scores, B)
        Those of the same B permutations, the same one in every column.

    Returns
    -------
    ndarray, (scores,)
        (1 + b)/(1 + B); NaN for scores or nulls that are not finite, which take no part.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.statistics import familywise
    >>> nulls = np.random.default_rng(0).normal(size=(3, 999))
    >>> familywise(np.array([9.0, 2.5, 0.0]), nulls).round(3)
    array([0.001, 0.018, 0.854])
    """
    whole = np.column_stack([scores, nulls])
    known = np.isfinite(whole).all(axis=1)
    found = np.full(len(scores), np.nan)
    if known.any():
        some = whole[known]
        # The scores themselves count among those that they are measured by: all B + 1 are then on one footing.
        spread = some.std(axis=1, keepdims=True)
        deviations = (some - some.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
        reached = deviations[:, 1:].max(axis=0) >= deviations[:, :1] - TIED
        found[known] = (1 + reached.sum(axis=1)) / whole.shape[1]
    return found


def best_p(scores: Array, errors: Array, groups: float, *, draws: int = 9_999, seed: int = 0) -> Array:
    """Return for each of several dependent scores the p-value that none is higher: multiple comparisons with the best.

    The scores with p > .05 contain the truly highest one with 95 % confidence (Hsu 1984). By how much the best of the
    others exceeds a score, in standard errors of each difference, is held against the largest such excess of scores
    that are all equal, drawn from Student's t of as many dimensions.

    Parameters
    ----------
    scores : ndarray, (scores,)
        The higher the better.
    errors : ndarray, (scores, scores)
        Standard errors of their differences.
    groups : float
        From so many independent samples, or groups, the errors are known.
    draws, seed
        Of the reference distribution, and the seed of these.

    Returns
    -------
    ndarray, (scores,)
        NaN for scores or errors that are not finite, which take no part.

    References
    ----------
    Hsu, Constrained simultaneous confidence intervals for multiple comparisons with the best, Annals of Statistics 12,
    1984.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.statistics import best_p
    >>> errors = 0.1 * (1 - np.eye(3))
    >>> (best_p(np.array([0.1, 0.58, 0.6]), errors, 100) > 0.05).tolist()
    [False, True, True]
    """
    found = np.full(len(scores), np.nan)
    known = np.flatnonzero(np.isfinite(scores) & np.isfinite(errors).any(axis=1))
    generator = np.random.default_rng(seed)
    if groups < 2:
        return found
    spread = np.sqrt((groups - 1) / generator.chisquare(groups - 1, draws))
    for one in known:
        # Of a score that moves as this one does there is nothing to compare.
        others = [j for j in known if j != one and errors[one, j] > 0]
        if not others:
            found[one] = 1.0
            continue
        scale = errors[one, others]
        square = np.square(scale)
        between = np.square(errors[np.ix_(others, others)])
        np.fill_diagonal(between, 0)
        joint = (square[:, None] + square - between) / 2
        values, vectors = np.linalg.eigh(joint / np.outer(scale, scale))
        root = vectors * np.sqrt(np.maximum(values, 0))
        largest = (generator.normal(size=(draws, len(others))) @ root.T).max(axis=1) * spread
        excess = float(((scores[others] - scores[one]) / scale).max())
        found[one] = (1 + np.sum(largest >= excess)) / (1 + draws)
    return found


def holm(p: Array) -> Array:
    """Return p-values that hold for all of several tests at once, whatever their dependence (Holm 1979).

    Parameters
    ----------
    p : ndarray, (tests,)
        NaN where there was no test.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.statistics import holm
    >>> holm(np.array([0.01, 0.04, 0.03, np.nan])).round(2)
    array([0.03, 0.06, 0.06,  nan])
    """
    return _adjusted(p, lambda known: np.minimum(np.maximum.accumulate(known * np.arange(len(known), 0, -1)), 1))


def false_discovery(p: Array) -> Array:
    """Return q-values: the false discovery rate at which each of several tests is significant.

    Holds where the tests are independent or positively dependent (Benjamini & Hochberg 1995; Benjamini & Yekutieli
    2001).

    Parameters
    ----------
    p : ndarray, (tests,)
        NaN where there was no test.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.statistics import false_discovery
    >>> false_discovery(np.array([0.01, 0.04, 0.03, np.nan])).round(3)
    array([0.03, 0.04, 0.04,  nan])
    """
    return _adjusted(p, _q_values)


def _q_values(known: Array) -> Array:
    count = len(known)
    falling: Array = np.minimum.accumulate(known[::-1] * count / np.arange(count, 0, -1))
    return falling[::-1]


def _adjusted(p: Array, adjust: Callable[[Array], Array]) -> Array:
    """Return adjusted p-values, of those that are known in rising order; NaN where there was no test."""
    p = np.asarray(p, dtype=np.float64)
    found = np.full(p.shape, np.nan)
    order = np.argsort(p)[: np.isfinite(p).sum()]
    found[order] = adjust(p[order])
    return found
