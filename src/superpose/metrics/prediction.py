"""Held-out prediction from moments: weights of training folds, evaluated on a held-out one, and its scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from superpose.metrics.splits import Plan
from superpose.moments import Array, Moments, Own

# A unit whose variance is below this many rounding errors of its second moment is constant.
ROUNDING = 256


@dataclass(frozen=True)
class Fitted:
    """Weights from predictors to targets, (…, units_x, units_y); `reason`, `blurred` as in `RegressionSums`.

    `adjoint` takes a score's derivative by the weights, (units_x, units_y), to what training rows add to the score.
    `shrunk`: a penalty keeps the leverage of groups below 1, so that held-out residuals tell how far it shrinks theirs.
    `fewest_groups`: as in `RegressionSums`.
    """

    weights: Array
    reason: str = ""
    blurred: bool = False
    adjoint: Callable[[Array], Pull] | None = None
    shrunk: bool = False
    fewest_groups: int = 0


@dataclass(frozen=True)
class Pull:
    """How training rows move a score through weights: x about the mean, of residual e, by x'A e + x'LR'x + c |x|².

    `joint` is A, the score's derivative by X'Y; that by X'X is −A W' + LR' + c, with L, R = `rest`.
    """

    joint: Array
    rest: tuple[Array, Array] | None = None
    trace: float = 0.0


@dataclass(frozen=True)
class RegressionSums:
    """Per held-out fold and unit of y, about the fold's means: prediction·target, prediction², target², residual².

    Each is (rounds, …, units_y), of `samples` rows in all; `reason` says why they are NaN, if they are. `blurred`: the
    rounding of float32 products hides some direction of x; products in float64 would show it. `fewest_groups`: how many
    independent samples, or groups of them, an interval takes where what is scored trains as well.
    """

    fit: Array
    prediction: Array
    target: Array
    residual: Array
    fitted: tuple[Fitted, ...]
    samples: int
    reason: str
    blurred: bool
    fewest_groups: int = 0


def unchosen(moments: Moments, what: str) -> Fitted:
    """Return weights that are not known, where one training fold leaves none to choose something on."""
    why = f"one training fold leaves none to choose the {what} on; use more folds"
    return Fitted(np.full(moments.cross.product.shape[1:], np.nan), why)


# Moments and a plan → the weights of each round.
Fit = Callable[[Moments, Plan], Iterable[Fitted]]


def fitted_sums(moments: Moments, *, plan: Plan, fit: Fit) -> RegressionSums:
    """Fit on the training folds' moments and evaluate on the held-out fold's, for every round of the plan."""
    parts: list[tuple[Array, Array, Array, Array]] = []
    fits = []
    reason, blurred = "", False
    for (held_out, training), fitted in zip(plan.rounds, fit(moments, plan), strict=True):
        reason, blurred = fitted.reason or reason, blurred or fitted.blurred
        # Products of float32 rows know no more of the weights, nor do rows take more of them.
        fitted = replace(fitted, weights=fitted.weights.astype(moments.x.precision, copy=False))
        fits.append(fitted)
        if fitted.reason:
            empty = np.full(moments.y.diagonal.shape[1:], np.nan)
            parts.append((empty, empty, empty, empty))
        else:
            parts.append(_evaluated(moments, held_out, training, fitted.weights))
    agreement, prediction, target, residual = (np.stack(part) for part in zip(*parts, strict=True))
    samples = int(over(moments.x.samples, plan.held_out))
    fewest = max(fitted.fewest_groups for fitted in fits)
    return RegressionSums(agreement, prediction, target, residual, tuple(fits), samples, reason, blurred, fewest)


@dataclass(frozen=True)
class Training:
    """Predictors over the rows of some folds: how many, their mean, and which units are `still`, constant there."""

    folds: tuple[int, ...]
    samples: int
    mean: Array
    still: NDArray[np.bool_]

    @property
    def dimensions(self) -> Array:
        """How many dimensions the predictors may span."""
        return dimensions(self.still, self.samples)

    def joint(self, moments: Moments) -> Array:
        """Return the products with targets about both means, 0 for predictors that are constant."""
        kind = moments.x.precision
        mean_y = over(moments.y.total, self.folds) / self.samples
        product = over(moments.cross.product, self.folds).astype(kind, copy=False)
        joint = about(product, self.samples, self.mean.astype(kind), mean_y.astype(kind))
        return np.where(self.still[..., None], 0.0, joint) if self.still.any() else joint


def dimensions(still: NDArray[np.bool_], samples: int) -> Array:
    """Return how many dimensions predictors may span: their number, still ones aside, or that of the rows."""
    return np.clip((~still).sum(-1), 1, samples)


def training_of(x: Own, folds: tuple[int, ...]) -> Training:
    """Return what is known of the predictors over the given folds."""
    n = int(over(x.samples, folds))
    mean, square = over(x.total, folds) / n, over(x.diagonal, folds)
    return Training(folds, n, mean, ~varies(square - n * mean * mean, square, x.resolution))


def training_rows(x: Own, folds: tuple[int, ...]) -> tuple[Training, Array]:
    """Return the predictors over the given folds, and their Gram matrix about their mean, 0 for constant ones."""
    rows = training_of(x, folds)
    gram = about(over(x.square, folds), rows.samples, rows.mean, rows.mean)
    if rows.still.any():
        gram = np.where(rows.still[..., :, None] | rows.still[..., None, :], 0.0, gram)
    return rows, gram


def is_rough(moments: Moments) -> bool:
    """Return whether the products of the predictors ran in less than float64."""
    return moments.x.precision is not np.float64


def _evaluated(
    moments: Moments, held_out: int, training: tuple[int, ...], w: Array
) -> tuple[Array, Array, Array, Array]:
    """Return the four sums of `RegressionSums` over the rows of one held-out fold."""
    x, y = moments.x, moments.y
    n_train, n_test = int(over(x.samples, training)), int(x.samples[held_out])
    mean_x, mean_y = over(x.total, training) / n_train, over(y.total, training) / n_train
    gram, joint = about_means(moments, held_out)
    fit = np.einsum("...ij,...ij->...j", w, joint)
    prediction = np.einsum("...ij,...ij->...j", w, gram @ w)
    shift = np.einsum("...i,...ij->...j", x.total[held_out] / n_test - mean_x, w)
    return sums_of_fold(y, held_out, mean_y, fit, prediction, shift)


def sums_of_fold(
    y: Own, held_out: int, mean_y: Array, fit: Array, prediction: Array, shift: Array
) -> tuple[Array, Array, Array, Array]:
    """Return the four sums of `RegressionSums` over a held-out fold, from two of them about its means.

    `mean_y` is that of the training rows, and `shift` what is predicted of the fold's mean beyond it.
    """
    n = int(y.samples[held_out])
    test_y = y.total[held_out] / n
    target = np.maximum(y.diagonal[held_out] - n * test_y**2, 0.0)
    residual = target - 2 * fit + prediction + n * (test_y - mean_y - shift) ** 2
    target = np.where(varies(target, y.diagonal[held_out], y.resolution), target, 0.0)
    return fit, prediction, np.broadcast_to(target, fit.shape), residual


def evaluated(predicted: Array, target: Array, square: Array, resolution: float) -> tuple[Array, Array, Array, Array]:
    """Return the four sums of `RegressionSums` from predictions and targets about one point, (…, rows, units).

    `square` is the sum of squares that targets are a difference from, in products of that `resolution`.
    """
    n = predicted.shape[-2]
    mean_p, mean_t = (part.mean(axis=-2, dtype=np.float64) for part in (predicted, target))
    pairs = ((predicted, target), (predicted, predicted), (target, target))
    products = (np.einsum("...ij,...ij->...j", a, b) for a, b in pairs)
    fit, prediction, variation = (part.astype(np.float64) for part in products)
    fit -= n * mean_p * mean_t
    prediction -= n * mean_p**2
    variation = np.maximum(variation - n * mean_t**2, 0.0)
    residual = variation - 2 * fit + prediction + n * (mean_t - mean_p) ** 2
    return fit, prediction, np.where(varies(variation, square, resolution), variation, 0.0), residual


def about_means(moments: Moments, fold: int) -> tuple[Array, Array]:
    """Return X'X and X'Y of a fold's rows about their means, in the precision of the products that they are sums of."""
    n, kind = int(moments.x.samples[fold]), moments.x.precision
    mean_x, mean_y = ((own.total[fold] / n).astype(kind) for own in (moments.x, moments.y))
    square, product = (sums[fold].astype(kind, copy=False) for sums in (moments.x.square, moments.cross.product))
    return about(square, n, mean_x, mean_x), about(product, n, mean_x, mean_y)


def about_training(moments: Moments, rows: Training, fold: int) -> tuple[Array, Array]:
    """Return X'X and X'Y of a fold's rows about the means of training rows, 0 for predictors constant in these."""
    x, y, n = moments.x, moments.y, int(moments.x.samples[fold])
    mean_y = over(y.total, rows.folds) / rows.samples
    found = []
    for products, total, mean in ((x.square, x.total, rows.mean), (moments.cross.product, y.total, mean_y)):
        moved = products[fold] - rows.mean[..., :, None] * total[fold][..., None, :]
        moved -= (x.total[fold] - n * rows.mean)[..., :, None] * mean[..., None, :]
        found.append(np.where(rows.still[..., :, None], 0.0, moved))
    return found[0], found[1]


def about(products: Array, samples: int, mean_x: Array, mean_y: Array) -> Array:
    """Return the sums of products of so many rows about their means."""
    # Memory that was never written costs as much as the arithmetic: one array holds what is subtracted, and the result.
    out = (samples * mean_x)[..., :, None] * mean_y[..., None, :]
    return np.subtract(products, out, out=out if out.shape == products.shape else None)


def over(sums: Array, folds: tuple[int, ...]) -> Array:
    """Return the sum over folds, of one the sums themselves: neither copied nor added up in more than one array."""
    first, *rest = folds
    if not rest:
        return sums[first]
    total: Array = sums[first] + sums[rest[0]]
    for fold in rest[1:]:
        total += sums[fold]
    return total


def varies(variation: Array, square: Array, resolution: float) -> NDArray[np.bool_]:
    """Return which units vary by more than the rounding of their second moment."""
    result: NDArray[np.bool_] = variation > ROUNDING * resolution * square
    return result


def correlation(fit: Array, prediction: Array, target: Array) -> Array:
    """Return r from the sums of products, squared predictions and squared targets."""
    # Weights that are all zero predict the mean: no correlation, rather than an undefined one.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = fit / np.sqrt(prediction * target)
    return np.where(target > 0, np.where(prediction > 0, ratio, np.where(np.isnan(fit), np.nan, 0.0)), np.nan)


def _explained(residual: Array, target: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(target > 0, 1 - residual / target, np.nan)


def _pooled_r(sums: RegressionSums) -> Array:
    return correlation(sums.fit.sum(-1), sums.prediction.sum(-1), sums.target.sum(-1)).mean(0)


def _pooled_r2(sums: RegressionSums) -> Array:
    return _explained(sums.residual.sum(-1), sums.target.sum(-1)).mean(0)


def unit_r(sums: RegressionSums) -> Array:
    """Return each unit's r, averaged over rounds."""
    return correlation(sums.fit, sums.prediction, sums.target).mean(0)


def _unit_r2(sums: RegressionSums) -> Array:
    return _explained(sums.residual, sums.target).mean(0)


def _over_units(score: Callable[[RegressionSums], Array]) -> Callable[[RegressionSums], Array]:
    def mean(sums: RegressionSums) -> Array:
        """Average over the units that vary in every held-out fold."""
        values = score(sums)
        known = ~np.isnan(values)
        total = np.where(known, values, 0.0).sum(-1)
        count = known.sum(-1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    return mean


def joined_units(parts: Sequence[RegressionSums]) -> RegressionSums:
    """Return the sums of all targets from those of parts of them, without the weights."""
    return RegressionSums(
        fit=np.concatenate([part.fit for part in parts], axis=-1),
        prediction=np.concatenate([part.prediction for part in parts], axis=-1),
        target=np.concatenate([part.target for part in parts], axis=-1),
        residual=np.concatenate([part.residual for part in parts], axis=-1),
        fitted=(),
        samples=parts[0].samples,
        reason=next((part.reason for part in parts if part.reason), ""),
        blurred=any(part.blurred for part in parts),
        fewest_groups=max(part.fewest_groups for part in parts),
    )


def groups_needed(sums: RegressionSums) -> int:
    """Return how many independent samples or groups an interval takes."""
    return sums.fewest_groups


def counted_units(sums: RegressionSums) -> int:
    """Return how many units have an r."""
    return int((~np.isnan(unit_r(sums))).sum())


def why_not(sums: RegressionSums) -> str:
    """Return the reason for a NaN."""
    return sums.reason or "a target does not vary in a held-out fold"


FINISH: dict[tuple[str, str | None], Callable[[RegressionSums], Array]] = {
    ("r", "pooled"): _pooled_r,
    ("r", "units"): _over_units(unit_r),
    ("r", None): unit_r,
    ("r2", "pooled"): _pooled_r2,
    ("r2", "units"): _over_units(_unit_r2),
    ("r2", None): _unit_r2,
}
