"""Standard errors and intervals from each sample's influence on a score, and from order statistics."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom
from scipy.stats import t as student

Array = NDArray[Any]



def standard_error(influence: Array, groups: NDArray[np.int64] | None = None) -> float:
    """Return a score's standard error from each sample's influence on it, whole groups resampled together.

    Parameters
    ----------
    influence : ndarray, (samples,)
        The derivative of the score to each sample's weight, times the number of samples.
    groups : ndarray of int, (samples,), optional
        Samples of one group are not independent: their influences are summed before they are squared.

    Returns
    -------
    float
        √(Σ_g c_g (Σ_{i∈g} ψ_i)²)/samples: the infinitesimal jackknife (Efron 1982). A group that holds the share h_g of
        the samples moves the mean that it is held against; c_g = 1/(1 − 2 h_g + Σ_j h_j²) makes up for that, unbiased
        where samples of a group are alike (Bell & McCaffrey 2002): G/(G − 1) for G groups of equal size. NaN for one
        group.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.statistics import standard_error
    >>> x = np.array([1.0, 2.0, 3.0, 6.0])
    >>> bool(np.isclose(standard_error(x - x.mean()), x.std(ddof=1) / 2))
    True
    """
    if independent(len(influence), groups) < 2:
        return float("nan")
    count = len(influence)
    if groups is None:
        return float(np.sqrt(count / (count - 1) * np.square(influence).sum()) / count)
    shares = np.bincount(groups) / count
    square = np.square(np.bincount(groups, weights=influence))
    return float(np.sqrt((square / _left(shares, np.square(shares).sum())).sum()) / count)


def _left(share: Array, squared: Array) -> Array:
    """Return what is left of a group's square about a mean that it moves, its share and the sum of squared shares."""
    return 1 - 2 * share + squared


def independent(samples: int, groups: NDArray[np.int64] | None) -> int:
    """Return how many draws samples are: their groups, of which those that hold none of them do not count."""
    return samples if groups is None else len(np.unique(groups))


def effective(influence: Array, groups: NDArray[np.int64] | None = None) -> float:
    """Return from how many groups, of equal weight, a standard error would be known as well.

    A sum of squares, of variances v_g, has (Σ v_g)²/Σ v_g² degrees of freedom (Satterthwaite 1946): few large groups
    may make up most of a standard error, however many small ones there are. The variances are estimated from second
    and fourth powers, as of normal variables. Samples without groups count as they are.

    Parameters
    ----------
    influence, groups
        As in `standard_error`.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.statistics import effective
    >>> psi, groups = np.random.default_rng(0).normal(size=200), np.arange(200)
    >>> bool(effective(psi, groups) > 150), effective(np.where(groups < 4, 30.0, 1.0) * psi, groups) < 8
    (True, True)
    """
    count = independent(len(influence), groups)
    if groups is None or count < 2:
        return count
    square = np.square(np.bincount(groups, weights=influence))
    fourth = np.square(square).sum()
    if not fourth > 0:
        return count
    return float(min(count, max(3 * square.sum() ** 2 / fourth - 1, 2.0)))


def within_folds(influence: Array, folds: NDArray[np.int64], groups: NDArray[np.int64] | None) -> Array:
    """Return influence on a mean of scores of folds, each about its own means, such that its square is without bias.

    A group's share in its fold stands for that in all samples (see `standard_error`). NaN where a fold holds a single
    group.
    """
    labels = np.arange(len(folds)) if groups is None else groups
    sizes, held = np.bincount(labels), np.maximum(np.bincount(folds), 1)
    first = np.zeros(len(sizes), dtype=np.int64)
    first[labels] = folds
    within = sizes / held[first]
    squared = np.bincount(first, weights=within**2, minlength=len(held))[first]
    shares = sizes / len(labels)
    whole = _left(shares, np.square(shares).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(within < 1, np.sqrt(whole / _left(within, squared)), np.nan)
    return np.asarray(influence * scale[labels])


def interval(
    score: float, error: float, count: float, bounds: tuple[float, float], level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a score with Student's quantile over `count` groups, cut to the score's range."""
    if not np.isfinite(error) or count < 2:
        return float("nan"), float("nan")
    half = _quantile((1 + level) / 2, count) * error
    return max(score - half, bounds[0]), min(score + half, bounds[1])


@cache
def _quantile(share: float, count: float) -> float:
    """Return Student's quantile over so many groups: the same for all scores of a table."""
    return float(student.ppf(share, count - 1))


class Uncertainty(NamedTuple):
    """How sure a score is: its 95 % interval, its standard error, and from how many groups, as of equal weight."""

    low: float
    high: float
    error: float
    groups: float

    @property
    def columns(self) -> dict[str, float]:
        """What a table says of it."""
        return {"low": self.low, "high": self.high, "error": self.error}


def uncertainty(
    score: float, influence: Array, bounds: tuple[float, float], groups: NDArray[np.int64] | None = None
) -> Uncertainty:
    """Return how sure a score in the given range is, from the influence of every sample on it.

    Parameters
    ----------
    score : float
    influence, groups
        As in `standard_error`.
    bounds : tuple of float
        The range of the score, which its interval is cut to.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.statistics import uncertainty
    >>> x = np.array([1.0, 2.0, 3.0, 6.0])
    >>> found = uncertainty(x.mean(), x - x.mean(), (0.0, np.inf))
    >>> [round(float(value), 1) for value in found]
    [0.0, 6.4, 1.1, 4.0]
    """
    error, count = standard_error(influence, groups), effective(influence, groups)
    return Uncertainty(*interval(score, error, count, bounds), error, count)


def median_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Return the median of independent values and its interval from order statistics, whatever their distribution.

    The j-th lowest and j-th highest value, with the greatest j that leaves either side no more than (1 − level)/2 of a
    binomial distribution: coverage is at least `level`. No interval for fewer than six values at .95.

    Parameters
    ----------
    values : array-like, (values,)
        NaN ones are left out.
    level : float

    Returns
    -------
    tuple of float
        Median, low and high.

    References
    ----------
    Thompson, On confidence ranges for the median, Annals of Mathematical Statistics 7, 1936.

    Examples
    --------
    >>> from superpose.statistics import median_interval
    >>> median_interval(range(1, 11))
    (5.5, 2.0, 9.0)
    """
    known = np.asarray(values, dtype=np.float64)
    known = np.sort(known[np.isfinite(known)])
    count = len(known)
    if not count:
        return float("nan"), float("nan"), float("nan")
    place = int(binom.ppf((1 - level) / 2, count, 0.5))
    centre = float(np.median(known))
    if place < 1:
        return centre, float("nan"), float("nan")
    return centre, float(known[place - 1]), float(known[count - place])


def jackknife_variance(left: Array) -> float:
    """Return the variance of a score from its values with each of equal blocks left out (Tukey 1958).

    Parameters
    ----------
    left : ndarray, (blocks,)

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.statistics import jackknife_variance
    >>> x = np.array([1.0, 2.0, 6.0])
    >>> round(jackknife_variance((x.sum() - x) / 2), 6), round(float(x.var(ddof=1)) / 3, 6)  # the variance of a mean
    (2.333333, 2.333333)
    """
    return (len(left) - 1) / len(left) * float(np.square(left - left.mean()).sum())
