"""Intervals from influence values, p-values for one score and for many, power."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, norm
from scipy.stats import t as student

from superpose.files import DataError
from superpose.moments import row_blocks

Array = NDArray[Any]

# From fewer groups the width of an interval is known to no better than 2 %.
GROUPS = 1_000
# Equal scores differ by rounding alone: by less than this part of their spread over permutations.
TIED = 1e-6


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


@dataclass(frozen=True)
class Drawn:
    """The samples that intervals are estimated from: all that are scored, or some of them, fold by fold in order.

    `folds` and `groups` are those of the drawn; `samples` and `count` tell how many samples, and groups, are scored.
    """

    index: NDArray[np.int64]
    folds: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    samples: int
    count: int

    def blocks(self, rows: int) -> Iterator[tuple[int, slice | NDArray[np.int64]]]:
        """Yield (fold, at most so many drawn samples of it), as slices where they lie end to end."""
        for fold, part in row_blocks(len(self.index), rows, self.folds):
            index = self.index[part]
            whole = index[-1] - index[0] + 1 == len(index)
            yield fold, slice(int(index[0]), int(index[-1]) + 1) if whole else index

    def within_folds(self, influence: Array) -> Array:
        """Return influence on a mean of scores of folds, as `within_folds` does."""
        return within_folds(influence, self.folds, self.groups)

    def error(self, influence: Array) -> tuple[float, int]:
        """Return the standard error of a score of all scored samples, from so many groups of drawn ones."""
        count = independent(len(self.index), self.groups)
        # The drawn stand for all: sums of squares grow with groups, and the mean is over samples.
        share = len(self.index) / self.samples * np.sqrt(self.count / count)
        return float(share * standard_error(influence, self.groups)), count

    def uncertainty(self, score: float, influence: Array, bounds: tuple[float, float]) -> Uncertainty:
        """Return how sure a score of all scored samples is, from the influence of the drawn ones."""
        error, _ = self.error(influence)
        count = effective(influence, self.groups)
        return Uncertainty(*interval(score, error, count, bounds), error, count)


def draw(
    scored: NDArray[np.int64],
    folds: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    most: int | None,
    seed: int,
) -> Drawn:
    """Draw samples for intervals at random, whole groups until there are so many and `GROUPS`; None takes all."""
    index, samples = scored, len(scored)
    labels = index if groups is None else groups[index]
    count = independent(samples, None if groups is None else labels)
    if most is not None and most < samples:
        names, sizes = np.unique(labels, return_counts=True)
        order = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0]).permutation(len(names))
        enough = int(np.searchsorted(np.cumsum(sizes[order]), most)) + 1
        index = index[np.isin(labels, names[order[: max(enough, GROUPS)]])]
    index = index[np.argsort(folds[index], kind="stable")]
    return Drawn(index, folds[index], None if groups is None else groups[index], samples, count)


def p_value(score: float, null: Array) -> float:
    """Return (1 + b)/(1 + B), with b of the B null scores at least as high (Phipson & Smyth 2010)."""
    return float((1 + np.sum(null >= score - TIED * null.std())) / (1 + len(null)))


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
    p = np.asarray(p, dtype=np.float64)
    found = np.full(p.shape, np.nan)
    order = np.argsort(p)[: np.isfinite(p).sum()]
    found[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return found


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
    p = np.asarray(p, dtype=np.float64)
    found = np.full(p.shape, np.nan)
    count = int(np.isfinite(p).sum())
    order = np.argsort(p)[:count][::-1]
    found[order] = np.minimum.accumulate(p[order] * count / np.arange(count, 0, -1))
    return found


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


def power(difference: float, error: float, samples: int, planned: int, *, level: float = 0.05) -> float:
    """Return how likely a two-sided test finds a difference with so many samples, from a pilot's standard error.

    A standard error falls with the square root of the samples (or groups, where whole groups are sampled).

    Parameters
    ----------
    difference : float
        What is to be found: between two scores, or between a score and its null.
    error : float
        Standard error of that difference in the pilot, as the column `error` of `superpose.compare` has it.
    samples : int
        Samples of the pilot.
    planned : int
        Samples of the experiment to come.
    level : float
        Of the test.

    Examples
    --------
    >>> from superpose.statistics import power
    >>> round(power(0.1, error=0.05, samples=100, planned=200), 2)
    0.81
    """
    _check_pilot(difference, error, samples, level)
    if not planned >= 1:
        raise DataError(f"planned is {planned!r}; expected at least 1 sample.")
    shift = abs(difference) / (error * np.sqrt(samples / planned))
    critical = norm.isf(level / 2)
    return float(norm.sf(critical - shift) + norm.sf(critical + shift))


def samples_needed(difference: float, error: float, samples: int, *, power: float = 0.8, level: float = 0.05) -> int:
    """Return how many samples find a difference with the given power: the inverse of `power`, up to its far tail.

    Parameters
    ----------
    difference, error, samples, level
        As in `superpose.statistics.power`.
    power : float
        How likely the difference is to be found.

    Examples
    --------
    >>> from superpose.statistics import samples_needed
    >>> samples_needed(0.1, error=0.05, samples=100)
    197
    """
    _check_pilot(difference, error, samples, level)
    if not 0 < power < 1:
        raise DataError(f"power is {power!r}; expected a number between 0 and 1.")
    wanted = max(norm.isf(level / 2) + norm.ppf(power), 0.0)
    return max(1, ceil(samples * (wanted * error / difference) ** 2))


def _check_pilot(difference: float, error: float, samples: int, level: float) -> None:
    if not (np.isfinite(difference) and difference):
        raise DataError(f"difference is {difference!r}; expected a number other than 0.")
    if not 0 < error < np.inf or not samples >= 2:
        raise DataError(
            f"a standard error of {error!r} from {samples!r} samples; expected one above 0, from 2 or more."
        )
    if not 0 < level < 1:
        raise DataError(f"level is {level!r}; expected a number between 0 and 1.")


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
