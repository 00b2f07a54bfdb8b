"""Split-half reliability: how well two halves of one system's trials agree, and what all of them would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import choose
from superpose.ceilings.halves import halves
from superpose.ceilings.trials import Trials, as_trials
from superpose.files import DataError
from superpose.metrics import Metric, PredictiveMetric
from superpose.metrics.metric import is_constant

Array = NDArray[Any]

KERNELS = frozenset({"cka", "cka_debiased", "rsa"})
NOISE_SQUARED = (
    "no step-up: noise enters inner products of responses squared as well, so that Spearman–Brown understates what all "
    "trials would give; see superpose.ceilings.of_pairs"
)
NOISY_PREDICTORS = (
    "no step-up: the predictors are as noisy as the targets and least squares averages over them, so that the score is "
    "no correlation of parallel measurements"
)
NOT_PARALLEL = "no step-up: this score is no correlation of parallel measurements, which Spearman–Brown is about"


@dataclass(frozen=True)
class SplitHalf:
    """How alike two halves of one system's trials are.

    Attributes
    ----------
    score : float
        Mean over splits of the score between the means of both halves.
    spread : float
        Its standard deviation over splits, which are of the same trials: no standard error.
    splits : int
        How many different partings there were.
    why : str
        Why the score is not stepped up to all trials.
    """

    score: float
    spread: float
    splits: int
    why: str


def split_half(x: ArrayLike | Trials, metric: Metric, *, splits: int = 20, seed: int = 0) -> SplitHalf:
    """Score the mean of half of a system's trials against that of the other half, over random partings.

    It is the score of two systems with equal signals whose means are of half the trials each, and independent: what
    noise alone leaves of a perfect agreement. It is not stepped up to all trials: Spearman–Brown is the law of a
    correlation of parallel measurements (`reliability`), and no score of whole systems is one.

    Parameters
    ----------
    x : array-like, (repeats, samples, units)
        At least two trials per sample; one that is missing is NaN in every unit.
    metric : Metric
        Any object of `superpose.metrics`, or your own. A directed one is taken in both directions.
    splits : int
        How many random partings, of which equal ones count once.
    seed : int
        Seed of the partings.

    Returns
    -------
    SplitHalf

    Raises
    ------
    DataError
        For unusable responses, or a sample with a single trial.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> draw = np.random.default_rng(0)
    >>> x = draw.normal(size=(200, 6)) + draw.normal(size=(4, 200, 6))
    >>> round(sp.ceilings.split_half(x, sp.metrics.CKA_DEBIASED).score, 1)
    0.4
    """
    trials = as_trials(x)
    scores = []
    for first, second in halves(trials, splits, seed):
        pair = trials.mean(first), trials.mean(second)
        both_ways = [metric(*pair), metric(*pair[::-1])] if metric.directed else [metric(*pair)]
        scores.append(float(np.mean(both_ways)))
    if isinstance(metric, PredictiveMetric):
        why = NOISY_PREDICTORS
    else:
        why = NOISE_SQUARED if metric.name in KERNELS else NOT_PARALLEL
    return SplitHalf(float(np.mean(scores)), float(np.std(scores)), len(scores), why)


def reliability(
    x: ArrayLike | Trials, *, average: str | None = "pooled", splits: int = 100, seed: int = 0
) -> float | Array:
    """Return the share of the variance of trial means over samples that is signal, by split halves.

    The correlation of each unit with itself between the means of both halves, stepped up to all trials by
    Spearman–Brown, then averaged over random partings. Noise that is common to trials of one stimulus counts as
    signal, and no parting can tell: leave time between its trials.

    Parameters
    ----------
    x : array-like, (repeats, samples, units)
        At least two trials per sample; one that is missing is NaN in every unit.
    average : {"pooled"} or None
        Over all units at once (products and variances summed before the ratio), or one value per unit.
    splits : int
        How many random partings, of which equal ones count once.
    seed : int
        Seed of the partings.

    Returns
    -------
    float, or ndarray (units,)
        At most 1; around 0, on either side, for noise alone. NaN for what does not vary.

    Raises
    ------
    DataError
        For unusable responses, a sample with a single trial, or an unknown average.

    References
    ----------
    Spearman, Correlation calculated from faulty data, British Journal of Psychology 3, 1910.
    Brown, Some experimental results in the correlation of mental abilities, British Journal of Psychology 3, 1910.
    Horst, Estimating total test reliability from parts of unequal length, Educ. Psychol. Meas. 11, 1951.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> draw = np.random.default_rng(0)
    >>> x = draw.normal(size=(500, 6)) + draw.normal(size=(4, 500, 6))
    >>> round(sp.ceilings.reliability(x), 1)  # 1 / (1 + 1/4)
    0.8
    """
    pool = choose(POOLS, "average", average)
    trials = as_trials(x)
    if trials.samples < 2 or is_constant(trials.mean()):
        raise DataError(f"{trials.name} does not vary over its {trials.samples} sample(s): nothing can be reliable.")
    stepped = []
    for first, second in halves(trials, splits, seed):
        a, b = (_about_mean(trials.mean(half)) for half in (first, second))
        joint, own_a, own_b = (pool((p * q).sum(axis=0)) for p, q in ((a, b), (a, a), (b, b)))
        with np.errstate(divide="ignore", invalid="ignore"):
            r = joint / np.sqrt(own_a * own_b)
        sizes = (_harmonic_mean(count.sum(axis=0)) for count in (first, second, trials.present))
        stepped.append(spearman_brown(r, *sizes))
    result: Array = np.mean(stepped, axis=0)
    return float(result) if average else result


def spearman_brown(r: ArrayLike, first: float = 1.0, second: float = 1.0, whole: float = 2.0) -> Array:
    """Return the reliability of the mean of all trials from the correlation of the means of two parts.

    With signal of variance 1 and noise of variance ν a trial, r = 1/√((1 + ν/first)(1 + ν/second)); solved for ν, the
    result is 1/(1 + ν/whole). For equal parts it is 2r/(1 + r), else Horst's formula.

    Parameters
    ----------
    r : array-like
        In [-1, 1]; a negative one gives the negative of what its absolute value gives.
    first, second, whole : float
        Trials in the two parts and in all; harmonic means over samples where their number is not the same for all.

    Returns
    -------
    ndarray
        As `r`, in [-1, 1].

    Examples
    --------
    >>> from superpose.ceilings import spearman_brown
    >>> float(spearman_brown(0.5)), round(float(spearman_brown(0.5, 1, 2, 3)), 3)
    (0.6666666666666666, 0.686)
    """
    size = np.minimum(np.abs(np.asarray(r, dtype=np.float64)), 1.0)
    a, b = 1 / first, 1 / second
    with np.errstate(invalid="ignore"):
        noise = 2 * (1 - size**2) / ((a + b) * size + np.sqrt((a + b) ** 2 * size**2 + 4 * a * b * (1 - size**2)))
        return np.asarray(np.sign(r) * size / (size + noise / whole))


def _harmonic_mean(counts: NDArray[np.int64]) -> float:
    return float(1 / np.mean(1 / counts))


def _about_mean(x: Array) -> Array:
    centred: Array = x - x.mean(axis=0)
    return centred


def _as_it_is(x: Array) -> Array:
    return x


POOLS: dict[str | None, Callable[..., Array]] = {"pooled": np.sum, None: _as_it_is}
