"""Ridge regression whose penalty is chosen by nested cross-validation, from moments by fold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import choose, like_input
from superpose.messages.deprecation import renamed
from superpose.metrics.about import About
from superpose.metrics.metric import MomentMetric
from superpose.metrics.prediction import (
    FINISH,
    Fit,
    Fitted,
    RegressionSums,
    about_means,
    dimensions,
    evaluated,
    fitted_sums,
    is_rough,
    over,
    sums_of_fold,
    unchosen,
)
from superpose.metrics.regression import PredictiveMetric, described, fitted_weights, predictive_score
from superpose.metrics.solving import BLUR
from superpose.metrics.spectrum import (
    GRID,
    LOST,
    Spectrum,
    by_training,
    coordinates,
    inner,
    left_out_errors,
    spectrum_of,
    trained,
    turned,
)
from superpose.metrics.splits import Plan
from superpose.moments import Moments

Array = NDArray[Any]

# Penalties whose errors on each fold differ by less, as shares of y², are as good as one another where rounding cannot
# tell which is better.
EQUAL = BLUR / 10


@renamed(folds="cv")
def ridge(
    x: ArrayLike,
    y: ArrayLike,
    *,
    cv: int | ArrayLike = 5,
    test: float | ArrayLike | None = None,
    penalty: str = "pair",
    score: str = "r",
    average: str | None = "pooled",
    seed: int = 0,
) -> Any:
    """Score held-out predictions of y from x by ridge regression, its penalty chosen inside the training folds.

    For each held-out fold, each training fold is left out in turn, and the penalty with the smallest squared error on
    these, summed over units of y, is chosen; the weights are then fitted on all training folds. With `test`, the
    training samples are divided into five folds. The penalties tried are 1e-9, 1e-8.75, …, 1e3 times the training
    samples and the mean variance of the predictors. A held-out fold never enters its own fit. Products of float32
    responses run in float64 where rounding could decide between two penalties.

    Parameters
    ----------
    x, y, test, score, average, seed
        As in `regression`.
    cv : int or integer array (samples,)
        At least three folds, as in `regression`.
    penalty : {"pair", "unit"}
        One penalty for all units of y, or one for each, chosen by its own error: for units of different noise levels.
        Products run in float64 then.

    Returns
    -------
    array or tensor, (…) or (…, units_y) for `average=None`
        NaN where a target does not vary, or with two folds: one training fold leaves none to choose the penalty on.

    Raises
    ------
    DataError
        For unusable responses, or folds that do not fit the samples.

    References
    ----------
    Hoerl & Kennard, Ridge Regression, Technometrics 12, 1970; Stone, Cross-Validatory Choice, JRSS B 36, 1974.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x, noise = np.random.default_rng(0).normal(size=(2, 60, 50))
    >>> y = x[:, :5] + noise[:, :5]
    >>> bool(sp.metrics.ridge(x, y) > sp.regression(x, y, ridge=1e-6))
    True
    """
    # What chooses by unit is made of what is here.
    from superpose.metrics.unit_ridge import chosen_by_unit

    finish = choose(FINISH, "(score, average)", (score, average))
    fit = choose({"pair": _chosen, "unit": chosen_by_unit}, "penalty", penalty)(GRID)
    return like_input(predictive_score)(x, y, {"cv": cv, "test": test, "seed": seed}, fit, finish)


def chosen_ridge(moments: Moments, plan: Plan, *, grid: tuple[float, ...]) -> Iterator[Fitted]:
    """Yield each round's weights under the penalty that predicts its training folds best, each from the others."""
    yield from settled_ridge(moments, plan, choices=_choices(moments, plan, np.array(grid)))


def settled_ridge(moments: Moments, plan: Plan, *, choices: Mapping[tuple[int, ...], Choice]) -> Iterator[Fitted]:
    """Yield each round's weights under a penalty that is chosen."""
    for _, training in plan.rounds:
        if len(training) < 2:
            yield unchosen(moments, "penalty")
            continue
        choice = choices[training]
        share = Share(tuple(choice.fractions.ravel().tolist()), choice.fractions.shape)
        fitted = fitted_weights(moments, training, share)
        blurred = is_rough(moments) and not choice.certain
        yield replace(fitted, blurred=fitted.blurred or blurred, shrunk=True)


@dataclass(frozen=True)
class Share:
    """A penalty that is a fraction of the predictors' mean variance times the samples, one for each repeat."""

    fractions: tuple[float, ...]
    repeats: tuple[int, ...]

    def __call__(self, samples: int, variance: Array) -> Array:
        """Return scikit-learn's `alpha`, for predictors of so much variance, 0 for constant ones."""
        fractions = np.array(self.fractions).reshape(self.repeats)
        penalty: Array = fractions * samples * variance.sum(-1) / dimensions(variance <= 0, samples)
        return penalty


@dataclass(frozen=True)
class Choice:
    """The fraction that predicts best, and whether rounding leaves no other that may, and predicts otherwise."""

    fractions: Array
    certain: bool


def _choices(moments: Moments, plan: Plan, fractions: Array) -> dict[tuple[int, ...], Choice]:
    """Return what is chosen for each set of training folds: what is left without two folds serves two rounds."""
    # Sums in float32 may overflow, which then leaves the choice to float64.
    with np.errstate(over="ignore", invalid="ignore"):
        found = by_training(plan, lambda rest, left_outs: errors_and_rounding(moments, rest, left_outs, fractions))
    return {training: _best(np.stack(errors), fractions) for training, errors in found.items()}


def _best(errors: Array, fractions: Array) -> Choice:
    """Return the best of squared errors on some folds, each with its rounding and y²: (folds, 3, penalties, …)."""
    error, rounding, _ = errors.sum(0)
    best = np.argmin(error, axis=0)[None]
    doubtful = error - rounding <= np.take_along_axis(error + rounding, best, 0)
    each = errors[:, 0] / errors[:, 2]
    equal = (np.abs(each - np.take_along_axis(each, best[None], 1)) < EQUAL).all(0)
    certain = bool(np.isfinite(error).all() and (equal | ~doubtful).all())
    return Choice(fractions[best[0]], certain)


def errors_left_out(moments: Moments, rest: tuple[int, ...], left_outs: Sequence[int], fractions: Array) -> list[Array]:
    """Return the squared error on each of some folds of weights from others, (penalties, …)."""
    s = spectrum_of(moments.x, rest)
    fit = trained(moments, s)
    d = s.shrinkage(_penalties(s, fractions))
    return [error for error, _ in _errors(moments, s, fit, d, left_outs)]


def errors_and_rounding(
    moments: Moments, rest: tuple[int, ...], left_outs: Sequence[int], fractions: Array
) -> list[Array]:
    """Return the same with its rounding, and y²: (3, penalties, …).

    Rounding of X'X and X'Y by parts ε moves the error by ε (√s |W| + |y|)², with s the largest eigenvalue.
    """
    s = spectrum_of(moments.x, rest)
    fit = trained(moments, s)
    penalties = _penalties(s, fractions)
    d = s.shrinkage(penalties)
    eps, largest = np.finfo(moments.x.precision).eps, s.values.max(-1)
    length = largest * np.einsum("p...i,...i->p...", d**2, np.square(fit).sum(-1))
    # Of directions that small no digit is left.
    lost = LOST * eps * largest > s.least + penalties * s.unit
    # Several permutations have one spectrum.
    lost = lost.reshape(*lost.shape, *(1,) * (length.ndim - lost.ndim))
    found = []
    for error, target in _errors(moments, s, fit, d, left_outs):
        rounding = np.where(lost, np.inf, eps * (np.sqrt(length) + np.sqrt(target)) ** 2)
        found.append(np.stack([error, rounding, np.broadcast_to(target, error.shape)]))
    return found


def _penalties(s: Spectrum, fractions: Array) -> Array:
    """Return the fractions, each for every repeat, (penalties, …)."""
    return fractions.reshape(-1, *(1,) * np.ndim(s.unit)) * np.ones_like(s.unit)


def _errors(
    moments: Moments, s: Spectrum, fit: Array, d: Array, left_outs: Sequence[int]
) -> Iterator[tuple[Array, Array]]:
    """Yield the squared error on each fold, (penalties, …), and y², of a fit that is shrunk by d in each direction."""
    for one in left_out_errors(moments, s, fit, left_outs):
        within = np.moveaxis(np.moveaxis(d, 0, -2).astype(moments.x.precision) @ one.square, -2, 0)
        fitted = np.einsum("p...i,...i->p...", d, one.linear)
        yield one.target - 2 * fitted + np.einsum("p...i,p...i->p...", within, d), one.target


def permuted_ridge(moments: Moments, plan: Plan, *, grid: tuple[float, ...]) -> RegressionSums:
    """Return the sums of permuted rows, of one permutation or several, in the directions that permutations share."""
    x = moments.x
    choices = _choices(moments, plan, np.array(grid))
    if any(training not in choices for _, training in plan.rounds):
        return fitted_sums(moments, plan=plan, fit=partial(settled_ridge, choices=choices))
    parts: list[tuple[Array, Array, Array, Array]] = []
    for held_out, training in plan.rounds:
        s = spectrum_of(x, training)
        weights = s.shrinkage(choices[training].fractions)[..., None].astype(x.precision) * trained(moments, s)
        parts.append(_evaluated(moments, s, held_out, weights))
    agreement, prediction, target, residual = (np.stack(part) for part in zip(*parts, strict=True))
    return RegressionSums(agreement, prediction, target, residual, (), int(over(x.samples, plan.held_out)), "", False)


def _evaluated(moments: Moments, s: Spectrum, held_out: int, weights: Array) -> tuple[Array, Array, Array, Array]:
    """Return the four sums of `RegressionSums` over the rows of a held-out fold, of weights in directions."""
    x, y, partners = moments.x, moments.y, moments.cross.partners
    mean_y = over(y.total, s.rows.folds) / s.rows.samples
    if x.rows is not None and partners is not None:
        target = partners[0][..., x.rows.folds == held_out, :] - mean_y.astype(x.precision)
        return evaluated(coordinates(x, s, (held_out,)) @ weights, target, y.diagonal[held_out], y.resolution)
    n = int(x.samples[held_out])
    back = s.vectors.T
    across = back @ (x.total[held_out] / n - s.rows.mean).astype(x.precision)
    joint = back @ about_means(moments, held_out)[1]
    fit = np.einsum("...ij,...ij->...j", weights, joint)
    from_training = np.einsum("...ij,...ij->...j", weights, turned(x, s, held_out) @ weights)
    shift = np.einsum("i,...ij->...j", across, weights)
    return sums_of_fold(y, held_out, mean_y, fit, from_training - n * shift**2, shift)


@cache
def _chosen(grid: tuple[float, ...]) -> Fit:
    return partial(chosen_ridge, grid=grid)


@cache
def _permuted(plan: Plan, grid: tuple[float, ...]) -> Callable[[Any, Moments], RegressionSums]:
    return lambda sums, moments: permuted_ridge(moments, plan, grid=grid)


@dataclass(frozen=True)
class RidgeMetric(PredictiveMetric):
    """Held-out ridge regression as a metric, its penalty chosen from `grid` inside the training folds."""

    grid: tuple[float, ...] = GRID

    @property
    def fit(self) -> Fit:
        """Ridge regression under the penalty that predicts the training folds best."""
        return _chosen(self.grid)

    def permuted(self, plan: Plan) -> Callable[[Any, Moments], RegressionSums]:
        """Return what gives the sums of permuted rows."""
        return _permuted(plan, self.grid)

    def planned(self, plan: Plan) -> MomentMetric:
        """Return the metric for the folds of `plan`: permutations come several at once."""
        planned = super().planned(plan)
        return replace(planned, family=replace(planned.family, several=True))

    def settled(self, moments: Moments, plan: Plan) -> Fit:
        """Return ridge regression under the penalties that predict all targets best."""
        return partial(settled_ridge, choices=_choices(moments, plan, np.array(self.grid)))

    def inner_fits(self, plan: Plan) -> tuple[int, int]:
        """Return how many fits choose the penalties of a plan, and on how many folds they are tried."""
        uses = inner(plan)
        return len(uses), sum(map(len, uses.values()))


RIDGE = About(
    "",
    "y and its prediction from x by ridge regression, one penalty for all units of y",
    "N p (p + q) + 20 p³",
    "Hoerl & Kennard 1970; Stone 1974",
)
RIDGE_R = described(RidgeMetric("ridge_r", ("r", "pooled")), RIDGE)
RIDGE_R2 = described(RidgeMetric("ridge_r2", ("r2", "pooled")), RIDGE)
RIDGE_R_UNITS = described(RidgeMetric("ridge_r_units", ("r", "units")), RIDGE)
RIDGE_R2_UNITS = described(RidgeMetric("ridge_r2_units", ("r2", "units")), RIDGE)
