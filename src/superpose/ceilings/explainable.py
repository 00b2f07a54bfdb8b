"""Explainable variance: how much of the mean over trials is signal, and so the most that any predictor reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import group_labels
from superpose.ceilings.trials import Trials, as_trials
from superpose.files import DataError
from superpose.statistics import uncertainty

Array = NDArray[Any]


@dataclass(frozen=True)
class Explainable:
    """What noise leaves to be predicted of one system's mean over trials.

    Attributes
    ----------
    signal : ndarray, (units,)
        Signal power: variance over samples of the mean over endless trials, without bias; may come out negative.
    noise : ndarray, (units,)
        Variance over samples that noise gives the mean of the trials there are.
    r2 : ndarray, (units,)
        Greatest R² that a predictor can be expected to reach on this mean; negative where noise alone varies.
    r : ndarray, (units,)
        Greatest correlation; NaN where no signal is left.
    pooled_r2, pooled_r : tuple of float
        Of all units at once, as in `superpose.regression`: value, low and high of the 95 % interval.
    """

    signal: Array
    noise: Array
    r2: Array
    r: Array
    pooled_r2: tuple[float, float, float]
    pooled_r: tuple[float, float, float]


def explainable_variance(x: ArrayLike | Trials, *, groups: ArrayLike | None = None) -> Explainable:
    """Part the variance of trial means into signal and noise, and return the most that can be predicted of them.

    Noise is the variance of trials about their stimulus' mean, over the number of trials; signal is what is left
    of the variance over stimuli (Sahani & Linden 2003). A predictor that knows the noiseless responses reaches
    r = √(signal/(signal + noise)), the normalising CC_max of Schoppe et al. (2016), and no other one reaches more.

    Parameters
    ----------
    x : array-like, (repeats, samples, units)
        Some samples with at least two trials; what is missing is NaN. Where nothing is missing, what
        a repeat adds to all samples alike is no noise, as no score sees it. A sample with a single trial is taken to be
        as noisy as the others on average.
    groups : array-like, (samples,), optional
        Which samples belong together, for the intervals.

    Returns
    -------
    Explainable

    Raises
    ------
    DataError
        For unusable responses, or fewer than two samples that have a second trial.

    References
    ----------
    Sahani & Linden, How linear are auditory cortical responses?, NIPS 15, 2003.
    Schoppe et al., Measuring the performance of neural models, Front. Comput. Neurosci. 10, 2016.
    Pospisil & Bair, The unbiased estimation of the fraction of variance explained by a model, PLoS Comput. Biol. 17,
    2021.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> draw = np.random.default_rng(0)
    >>> x = draw.normal(size=(500, 6)) + draw.normal(size=(4, 500, 6))
    >>> round(sp.ceilings.explainable_variance(x).pooled_r2[0], 1)  # 1 / (1 + 1/4)
    0.8
    """
    trials = as_trials(x)
    labels = None if groups is None else group_labels(groups, trials.samples)
    parts = _of_groups(parts_of(trials), trials.mean(), labels)
    n = trials.samples
    total, noise = parts.total.sum(axis=0), parts.noise.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, noise / total, np.nan)
    return Explainable(
        signal=(total - noise) / (n - 1),
        noise=noise / (n - 1),
        r2=R2.value(R2.loss(share, n)),
        r=R.value(R.loss(share, n)),
        pooled_r2=_pooled(parts, labels, R2),
        pooled_r=_pooled(parts, labels, R),
    )


@dataclass(frozen=True)
class Parts:
    """Each sample's share in the squares of trial means about their mean over samples, and in what noise adds to them.

    Both are (samples, units); summed over samples, noise is without bias.
    """

    total: Array
    noise: Array


def parts_of(trials: Trials) -> Parts:
    """Return the shares of each sample.

    Raises
    ------
    DataError
        If fewer than two samples have a second trial, or there are fewer than two samples.
    """
    several = int((trials.unit_counts > 1).sum(axis=0).min())
    if several < 2:
        raise DataError(
            f"{trials.name}: {several} of {trials.samples} stimuli have a second trial; expected at least two, to tell "
            "noise from signal."
        )
    mean = trials.mean()
    squares = (_complete_noise if trials.complete else _incomplete_noise)(trials, mean)
    return Parts(np.square(mean - mean.mean(axis=0)), squares)


def _of_groups(parts: Parts, mean: Array, groups: Array | None) -> Parts:
    """Return the shares with totals as far apart as samples of different groups are.

    Squares about the mean of G groups lack what the mean itself varies by, as those of n samples lack 1/n: their
    totals' squares over n, times G/(G − 1), which for samples is Σ d²/(n − 1).
    """
    if groups is None:
        return parts
    about = mean - mean.mean(axis=0)
    sizes = np.bincount(groups)
    totals = np.zeros((len(sizes), about.shape[1]))
    np.add.at(totals, groups, about)
    centring = np.square(totals) / len(about) * (len(sizes) / max(len(sizes) - 1, 1))
    # Of what samples lose, 1/n, the callers know.
    return Parts((parts.total + (centring / sizes[:, None])[groups]) * (1 - 1 / len(about)), parts.noise)


def _complete_noise(trials: Trials, mean: Array) -> Array:
    """Return what is left of trials beside means of samples and of repeats, as in a two-way analysis of variance."""
    repeats = len(trials.values)
    squares = np.zeros(mean.shape)
    for responses in trials.values:
        left = responses - mean
        squares += np.square(left - left.mean(axis=0))
    scaled: Array = squares / ((repeats - 1) * repeats)
    return scaled


def _incomplete_noise(trials: Trials, mean: Array) -> Array:
    """Return the variance of trials about their sample's mean, over their number and less what centring takes."""
    counts = trials.unit_counts
    several = counts > 1
    variance = trials.squares(mean) / np.maximum(counts - 1, 1)
    usual = np.where(several, variance, 0.0).sum(axis=0) / several.sum(axis=0)
    scaled: Array = (1 - 1 / len(counts)) * np.where(several, variance, usual) / counts
    return scaled


@dataclass(frozen=True)
class Greatest:
    """The most that a score can be, of the noise's share of the squares of a mean about its own mean over samples.

    Attributes
    ----------
    loss : callable
        (share, samples) → what the noise takes of the greatest R².
    value : callable
        That loss, or its mean over folds → the greatest score; NaN where noise is all there is.
    slope : callable
        The derivative of `value`.
    """

    loss: Callable[[Array, int], Array]
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def _all_of_it(share: Array, samples: int) -> Array:
    """Residuals are not centred: a perfect predictor leaves all of the noise, of which centring takes 1/samples."""
    return share * samples / (samples - 1)


def _centred(share: Array, samples: int) -> Array:
    return share


def _rest(loss: Array) -> Array:
    return 1 - loss


def _root(loss: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.where(loss < 1, np.sqrt(1 - loss), np.nan)


def _falling(loss: Array) -> Array:
    return np.full_like(loss, -1.0)


def _falling_root(loss: Array) -> Array:
    return -0.5 / _root(loss)


R2 = Greatest(_all_of_it, _rest, _falling)
R = Greatest(_centred, _root, _falling_root)


def share_influence(noise: Array, total: Array, groups: Array | None) -> Array:
    """Return each sample's influence on the share of noise, the ratio of two sums over samples (axis 0).

    That is what the ratio loses without its group, which takes its part of the lower sum along.
    """
    scale = total.sum(axis=0)
    of_groups = total
    if groups is not None:
        labels = np.unique(groups, return_inverse=True)[1]
        sums = np.zeros((labels.max() + 1, total.shape[1]))
        np.add.at(sums, labels, total)
        of_groups = sums[labels]
    with np.errstate(divide="ignore", invalid="ignore"):
        influence: Array = len(total) * (noise - noise.sum(axis=0) / scale * total) / (scale - of_groups)
    return influence


def _pooled(parts: Parts, groups: Array | None, greatest: Greatest) -> tuple[float, float, float]:
    noise, total = parts.noise.sum(axis=1), parts.total.sum(axis=1)
    n = len(total)
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = greatest.loss(np.asarray(noise.sum() / total.sum()), n)
    value = float(greatest.value(loss))
    influence = greatest.slope(loss) * greatest.loss(share_influence(noise[:, None], total[:, None], groups)[:, 0], n)
    interval = uncertainty(value, influence, (-np.inf, 1.0), groups)
    return value, interval.low, interval.high
