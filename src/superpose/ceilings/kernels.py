"""Kernels of noisy responses: what independent trials say of the agreement without noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import choose, group_labels
from superpose.arrays.labels import check_rows
from superpose.ceilings.halves import at_repeated_stimuli, halves, repeated_stimuli
from superpose.ceilings.trials import Trials, as_trials
from superpose.files import DataError
from superpose.metrics.cka import hsic
from superpose.metrics.grouped import grouped_hsic, left_out, shared_out
from superpose.metrics.kernels import pair_part, pair_share
from superpose.moments import Labels
from superpose.moments.blocks import inner
from superpose.moments.wide import compact
from superpose.statistics import uncertainty

Array = NDArray[Any]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Shares:
    """Of the kernels K, L of two centred responses: each row's sum of K_ij L_ij, and the diagonals, (samples,) each."""

    products: Array
    d: Array
    e: Array

    @property
    def sums(self) -> tuple[int, Array, Array, Array, Array]:
        """Samples, and the sums over all i, j of KL, and over i of d e, d and e."""
        return len(self.d), self.products.sum(), self.d @ self.e, self.d.sum(), self.e.sum()


def shares(x: Array, y: Array) -> Shares:
    """Return the shares of the rows of two responses, (samples, units) each, to the same samples."""
    first, second = (compact(part - part.mean(axis=0)) for part in (x, y))
    return Shares(inner(first @ (first.T @ second), second), inner(first, first), inner(second, second))


@dataclass(frozen=True)
class Agreement:
    """The c(P, Q) of a score c(P, Q)/√(c(P, P) c(Q, Q)), and each sample's influence on it."""

    value: Callable[[Shares], Array]
    influence: Callable[[Shares], Array]


def _square_norm(rows: Shares) -> Array:
    return rows.products.sum()


def _hsic(rows: Shares) -> Array:
    return hsic(*rows.sums)


def _covariance(rows: Shares) -> Array:
    """A mean over pairs, as HSIC is: agreements over different numbers of samples can be compared."""
    n, *_ = rows.sums
    return pair_part(*rows.sums) / (n * (n - 1))


def _of_all(rows: Shares) -> Array:
    return _over_pairs(rows.products)


def _of_distinct(rows: Shares) -> Array:
    n, _, _, d, e = rows.sums
    return _over_pairs(pair_share(n, rows.products, (rows.d, rows.e), (d, e)))


def _of_covariance(rows: Shares) -> Array:
    n = len(rows.d)
    return _of_distinct(rows) / (n * (n - 1))


def _of_hsic(rows: Shares) -> Array:
    """To first order the unbiased sum, too, is one over pairs of distinct samples."""
    n = len(rows.d)
    return _of_distinct(rows) / (n * (n - 3))


def _over_pairs(parts: Array) -> Array:
    influence: Array = 2 * (len(parts) * parts - parts.sum())
    return influence


# Noise that is independent between P and Q adds nothing to these, in expectation.
UNBIASED = {"cka_debiased": Agreement(_hsic, _of_hsic), "rsa": Agreement(_covariance, _of_covariance)}
AGREEMENTS = {**UNBIASED, "cka": Agreement(_square_norm, _of_all)}
FEWEST_SAMPLES = 4


@dataclass(frozen=True)
class Agreed:
    """How much the kernels of two responses agree, c(P, Q), and each sample's influence on it, (samples,)."""

    value: float
    influence: Array

    @property
    def relative(self) -> Array:
        """The influence on its logarithm."""
        return self.influence / self.value


def agreed(parts: Sequence[Shares], agreement: Agreement) -> Agreed:
    """Return the mean agreement of the kernels of several pairs of responses, and of each sample's influence on it."""
    values, influences = ([of(part) for part in parts] for of in (agreement.value, agreement.influence))
    return Agreed(float(np.mean(values)), np.mean(influences, axis=0))


@dataclass(frozen=True)
class SplitKernels:
    """One system's kernels: of the mean of all trials with itself, and of the means of two halves with each other.

    `mean` is over all stimuli, as the score is; `halves` are over the stimuli in `rows`, those with two trials or more.
    """

    name: str
    mean: Shares
    halves: list[Shares]
    rows: Index


def split_kernels(trials: Trials, splits: int, seed: int) -> SplitKernels:
    """Return the kernels of a system's mean over trials, and of random splits of its repeated stimuli's trials."""
    mean, repeated = trials.mean(), at_repeated_stimuli(trials)
    halved = [shares(repeated.mean(first), repeated.mean(second)) for first, second in halves(repeated, splits, seed)]
    return SplitKernels(trials.name, shares(mean, mean), halved, repeated_stimuli(trials))


@dataclass(frozen=True)
class Reliability:
    """Which share of a system's kernel variance is signal, and each sample's influence on its logarithm.

    `value` is NaN where there is no positive one, for the reason `why`; `why` also says where it was cut at 1.
    """

    value: float
    relative: Array
    why: str = ""


def kernel_reliability(kernels: SplitKernels, metric: str) -> Reliability:
    """Return c(X₁, X₂)/c(X, X): agreement of the means of two halves of the trials over that of all with itself.

    Noise that is independent between trials adds nothing to c(X₁, X₂), in expectation, and X is scored as it is: the
    ratio is the share of the denominator of CKA, or RSA, that is signal. Stimuli with a single trial have no halves but
    count in X: c is a mean over pairs of stimuli, and that of a random part of the stimuli is, in expectation, that of
    all.
    """
    agreement = UNBIASED[metric]
    total, signal = agreed([kernels.mean], agreement), agreed(kernels.halves, agreement)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = _spread(signal.relative, kernels.rows, len(total.influence)) - total.relative
    return _reliability(kernels.name, total.value, signal.value, relative)


def grouped_reliability(trials: Trials, groups: Labels, splits: int, seed: int) -> Reliability:
    """Return the same ratio of agreements over samples of different groups, of which there are four or more."""
    repeated, rows = at_repeated_stimuli(trials), repeated_stimuli(trials)
    pairs = [(repeated.mean(first), repeated.mean(second)) for first, second in halves(repeated, splits, seed)]
    total, without_total = grouped_hsic(trials.mean(), trials.mean(), groups)
    halved = (grouped_hsic(*pair, groups[rows]) for pair in pairs)
    signal, without_signal = (np.mean(part, axis=0) for part in zip(*halved, strict=True))
    labels = group_labels(groups)
    present = labels[rows][np.unique(group_labels(groups[rows]), return_index=True)[1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        of_halves, of_all = (left_out(np.log(without)) for without in (without_signal, without_total))
    relative = shared_out(_spread(of_halves, present, len(of_all)) - of_all, labels)
    return _reliability(trials.name, total, signal, relative)


def _spread(influence: Array, rows: Index, samples: int) -> Array:
    """Return influences of all samples on a mean over some: 0 for the others."""
    spread = np.zeros(samples)
    spread[rows] = influence * (samples / len(rows))
    return spread


def _reliability(name: str, total: float, signal: float, relative: Array) -> Reliability:
    if not min(total, signal) > 0:
        why = f"{name}: two halves of its trials agree no better than noise; record more trials"
        return Reliability(np.nan, np.full_like(relative, np.nan), why)
    value = float(signal / total)
    over = f"{name}: reliability estimated at {value:.3f}, cut at 1" if value > 1 else ""
    return Reliability(min(value, 1.0), relative, over)


@dataclass(frozen=True)
class Corrected:
    """A score without the noise of either system: `score` with its 95 % interval, or NaN and why."""

    score: float
    low: float
    high: float
    why: str = ""


def corrected(
    x: ArrayLike | Trials,
    y: ArrayLike | Trials,
    *,
    metric: str = "cka_debiased",
    groups: ArrayLike | None = None,
    splits: int = 20,
    seed: int = 0,
) -> Corrected:
    """Return the alignment of two systems without their noise, from two independent repeats of each.

    √(c(X₁, Y₁) c(X₂, Y₂)) / √(c(X₁, X₂) c(Y₁, Y₂)), with c(P, Q) the score's own agreement of two kernels: Spearman's
    (1904) correction for attenuation. Noise that is independent between repeats and between systems adds nothing to
    any of the four, in expectation, if c is unbiased. With more than two repeats, each c is the mean over random
    halves of the trials.

    Parameters
    ----------
    x, y : array-like, (repeats, samples, units)
        Both systems' responses to the same samples; at least two trials per sample.
    metric : {"cka_debiased", "rsa", "cka"}
        "cka" takes c(P, Q) = ‖P'Q‖² of centred responses, to which noise does add about tr C_P tr C_Q / samples for
        covariances C: it is right only where samples are many beside units.
    groups : array-like, (samples,), optional
        Which samples belong together, for the interval.
    splits : int
        How many random partings into halves, of which equal ones count once.
    seed : int
        Seed of the partings.

    Returns
    -------
    Corrected
        Over 1 by chance only, and then `why` says so; it is an estimate of a score, not a score of data.

    Raises
    ------
    DataError
        For unusable or unpaired responses, a sample with a single trial, fewer than four samples, or an unknown metric.

    References
    ----------
    Spearman, The proof and measurement of association between two things, American Journal of Psychology 15, 1904.
    Song et al., Feature Selection via Dependence Maximization, JMLR 13, 2012, Eq. (5).

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> draw = np.random.default_rng(0)
    >>> x = draw.normal(size=(500, 4))
    >>> noisy = [x + draw.normal(size=(2, 500, 4)) for _ in range(2)]
    >>> round(sp.ceilings.corrected(*noisy).score, 1)
    1.0
    """
    agreement = choose(AGREEMENTS, "metric", metric)
    check_rows({"x": x, "y": y})
    first, second = as_trials(x, "x"), as_trials(y, "y")
    if first.samples != second.samples or first.samples < FEWEST_SAMPLES:
        raise DataError(
            f"x has {first.samples} samples and y has {second.samples}; expected the same ones in both, at least "
            f"{FEWEST_SAMPLES}."
        )
    labels = None if groups is None else group_labels(groups, first.samples)
    parts: dict[str, list[Shares]] = {"x1 y1": [], "x2 y2": [], "x1 x2": [], "y1 y2": []}
    for (x1, x2), (y1, y2) in _both(first, second, splits, seed):
        for name, pair in zip(parts, ((x1, y1), (x2, y2), (x1, x2), (y1, y2)), strict=True):
            parts[name].append(shares(*pair))
    means = {name: agreed(pairs, agreement) for name, pairs in parts.items()}
    worst = min(means, key=lambda name: means[name].value)
    if not means[worst].value > 0:
        why = f"the agreement of {worst} is {means[worst].value:.3g}: not above 0, so that there is no geometric mean"
        return Corrected(np.nan, np.nan, np.nan, f"{why}; record more samples, or average more trials")
    across, within = means["x1 y1"].value * means["x2 y2"].value, means["x1 x2"].value * means["y1 y2"].value
    score = float(np.sqrt(across / within))
    relative = (part.relative for part in means.values())
    one, two, own_x, own_y = relative
    interval = uncertainty(score, score / 2 * (one + two - own_x - own_y), (0.0, np.inf), labels)
    return Corrected(score, interval.low, interval.high, "over 1, as chance can take an estimate" if score > 1 else "")


def _both(first: Trials, second: Trials, splits: int, seed: int) -> Iterator[tuple[list[Array], list[Array]]]:
    """Yield the halves' means of both systems; one that has fewer partings takes its own again."""
    one, other = (list(halves(trials, splits, seed)) for trials in (first, second))
    for number in range(max(len(one), len(other))):
        yield (
            [first.mean(half) for half in one[number % len(one)]],
            [second.mean(half) for half in other[number % len(other)]],
        )
