"""Kernels of noisy responses: what independent trials say of the agreement without noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import choose, group_labels
from superpose.ceilings.halves import halves
from superpose.ceilings.trials import Trials, as_trials
from superpose.files import DataError
from superpose.metrics.cka import unbiased_hsic
from superpose.metrics.kernels import KernelRows, KernelSums, kernel_rows, kernel_sums, pair_parts, pair_share
from superpose.moments import compact, of_pair
from superpose.statistics import interval, standard_error

Array = NDArray[Any]


@dataclass(frozen=True)
class Agreement:
    """The c(P, Q) of a score c(P, Q)/√(c(P, P) c(Q, Q)), and each sample's influence on its logarithm."""

    value: Callable[[KernelSums], Array]
    relative: Callable[[KernelSums, KernelRows], Array]


def _of_all(sums: KernelSums, rows: KernelRows) -> Array:
    return _excess(sums.samples, rows.ab, sums.ab)


def _of_distinct(sums: KernelSums, rows: KernelRows) -> Array:
    """To first order the unbiased sum, too, is one over pairs of distinct samples."""
    share = pair_share(sums.samples, rows.ab, (rows.d, rows.e), (sums.d, sums.e))
    return _excess(sums.samples, share, pair_parts(sums)[0])


def _excess(n: int, share: Array, total: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        relative: Array = 2 * (n * share / total - 1)
    return relative


# Noise that is independent between P and Q adds nothing to these, in expectation.
UNBIASED = {
    "cka_debiased": Agreement(lambda sums: unbiased_hsic(sums)[0], _of_distinct),
    "rsa": Agreement(lambda sums: pair_parts(sums)[0], _of_distinct),
}
AGREEMENTS = {**UNBIASED, "cka": Agreement(lambda sums: sums.ab, _of_all)}
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


def agreed(x: Array, y: Array, agreement: Agreement) -> Agreed:
    """Return the agreement of the kernels of two responses, (samples, units) each, to the same samples."""
    first, second = (compact(part - part.mean(axis=0)) for part in (x, y))
    moments = of_pair(first, second)
    sums = kernel_sums(moments)
    rows = kernel_rows(moments, sums)(first, second, np.zeros(len(first), dtype=np.int64))
    value = float(agreement.value(sums))
    return Agreed(value, value * agreement.relative(sums, rows))


def mean_agreed(parts: list[Agreed]) -> Agreed:
    """Return the mean of agreements, and of the influences on them."""
    value, influence = (np.mean([getattr(part, f.name) for part in parts], axis=0) for f in fields(Agreed))
    return Agreed(float(value), influence)


@dataclass(frozen=True)
class Reliability:
    """Which share of a system's kernel variance is signal, and each sample's influence on its logarithm.

    `value` is NaN where there is no positive one, for the reason `why`; `why` also says where it was cut at 1.
    """

    value: float
    relative: Array
    why: str = ""


def kernel_reliability(trials: Trials, metric: str, *, splits: int, seed: int) -> Reliability:
    """Return c(X₁, X₂)/c(X, X): agreement of the means of two halves of the trials over that of all with itself.

    Noise that is independent between trials adds nothing to c(X₁, X₂), in expectation, and X is scored as it is: the
    ratio is the share of the denominator of CKA, or RSA, that is signal.
    """
    agreement = UNBIASED[metric]
    mean = trials.mean()
    whole = agreed(mean, mean, agreement)
    parts = [agreed(trials.mean(a), trials.mean(b), agreement) for a, b in halves(trials, splits, seed)]
    between = mean_agreed(parts)
    nothing = np.full(trials.samples, np.nan)
    if not whole.value > 0:
        return Reliability(np.nan, nothing, f"{trials.name}: no positive variance of inner products")
    if not between.value > 0:
        return Reliability(
            np.nan, nothing, f"{trials.name}: two halves of its trials agree no better than noise; record more trials"
        )
    value = between.value / whole.value
    over = f"{trials.name}: reliability estimated at {value:.3f}, cut at 1" if value > 1 else ""
    return Reliability(min(value, 1.0), between.relative - whole.relative, over)


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
        Both systems' responses to the same samples; at least two trials a sample.
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
    first, second = as_trials(x, "x"), as_trials(y, "y")
    if first.samples != second.samples or first.samples < FEWEST_SAMPLES:
        raise DataError(
            f"x has {first.samples} samples and y has {second.samples}; expected the same ones in both, at least "
            f"{FEWEST_SAMPLES}."
        )
    labels = None if groups is None else group_labels(groups, first.samples)
    parts: dict[str, list[Agreed]] = {"x1 y1": [], "x2 y2": [], "x1 x2": [], "y1 y2": []}
    for (x1, x2), (y1, y2) in _both(first, second, splits, seed):
        for name, pair in zip(parts, ((x1, y1), (x2, y2), (x1, x2), (y1, y2)), strict=True):
            parts[name].append(agreed(*pair, agreement))
    means = {name: mean_agreed(found) for name, found in parts.items()}
    worst = min(means, key=lambda name: means[name].value)
    if not means[worst].value > 0:
        why = f"the agreement of {worst} is {means[worst].value:.3g}: not above 0, so that there is no geometric mean"
        return Corrected(np.nan, np.nan, np.nan, f"{why}; record more samples, or average more trials")
    across, within = means["x1 y1"].value * means["x2 y2"].value, means["x1 x2"].value * means["y1 y2"].value
    score = float(np.sqrt(across / within))
    relative = (part.relative for part in means.values())
    one, two, own_x, own_y = relative
    error = standard_error(score / 2 * (one + two - own_x - own_y), labels)
    count = first.samples if labels is None else len(np.unique(labels))
    low, high = interval(score, error, count, (0.0, np.inf))
    return Corrected(score, low, high, "over 1, as chance can take an estimate" if score > 1 else "")


def _both(first: Trials, second: Trials, splits: int, seed: int) -> Any:
    """Yield the halves' means of both systems; one that has fewer partings repeats them."""
    ways = [list(halves(trials, splits, seed)) for trials in (first, second)]
    longest = max(map(len, ways))
    for number, (own, other) in enumerate(zip(*map(cycle, ways), strict=False)):
        if number == longest:
            return
        yield tuple(first.mean(half) for half in own), tuple(second.mean(half) for half in other)
