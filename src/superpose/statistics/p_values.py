"""The p-value of one score: from permutations, or from a standard error."""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student

from superpose.statistics.intervals import Array

# Equal scores differ by rounding alone: by less than this part of their spread over permutations.
TIED = 1e-6


def p_value(score: float, null: Array) -> float:
    """Return (1 + b)/(1 + B), with b of the B null scores at least as high (Phipson & Smyth 2010)."""
    return float((1 + np.sum(null >= score - TIED * null.std())) / (1 + len(null)))


def of_maximum(score: float, largest: Array) -> float:
    """Return the p-value of the largest of several scores, from the largest of all over each of B permutations.

    (1 + b)/(1 + B), with b of the B largest scores at least as high: one test for a score that was chosen for being the
    highest, whatever the dependence among those it was chosen from.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.statistics import of_maximum
    >>> nulls = np.random.default_rng(0).normal(size=(12, 999))
    >>> of_maximum(2.0, nulls[0]) < 0.05 < of_maximum(2.0, nulls.max(axis=0))
    True
    """
    return p_value(score, largest)


def two_sided_p(difference: float, error: float, count: float) -> float:
    """Return the two-sided p-value of a difference of 0, by Student's t over `count` groups of equal weight."""
    if not np.isfinite(error) or count < 2:
        return float("nan")
    if not error:
        return float(difference == 0)
    return float(2 * student.sf(abs(difference) / error, count - 1))


def one_sided_p(excess: float, error: float, count: float) -> float:
    """Return the p-value that what exceeds 0 does not, by Student's t over `count` groups."""
    if not np.isfinite(error) or count < 2:
        return float("nan")
    if not error:
        return float(excess <= 0)
    return float(student.sf(excess / error, count - 1))
