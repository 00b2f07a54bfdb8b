"""Held-out linear regression from one system to another, from moments alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial, reduce
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.lapack import dpocon

from superpose.arrays import choose, contiguous_folds, like_input, to_numpy
from superpose.blocks import as_type, inner
from superpose.files import DataError
from superpose.metrics.metric import MomentMetric, paired
from superpose.moments import Array, Moments, Own, compact, of_pair

Penalty = Callable[[int, Array], Array]

# A unit whose variance is below this many rounding errors of its second moment is constant.
ROUNDING = 256
# Rounding of the products, times what multiplies it: below this a held-out score is known to 1e-4.
BLUR = 1e-4
TINY = float(np.finfo(np.float64).tiny)


def regression(
    x: ArrayLike,
    y: ArrayLike,
    *,
    folds: int | ArrayLike | None = 5,
    test: ArrayLike | None = None,
    ridge: float = 0.0,
    score: str = "r",
    average: str | None = "pooled",
) -> Any:
    """Predict y from x by least squares with an intercept, and score on samples that the fit did not see.

    In the limit of many samples the pooled r is √R² of Theorem 3.3, as `superpose.theory.regression` gives.
    Scores are taken inside each held-out fold and averaged over folds. The weights come from the training
    folds' second moments, so that no fold is read twice; in float64 where the products of float32 responses
    would hide a direction of x. A direction within the rounding of float64 gets no weight.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Predictors.
    y : array or tensor, (…, samples, units_y)
        Targets.
    folds : int, integer array (samples,) or None
        An integer makes that many contiguous folds; an array is the fold of each sample
        (`superpose.arrays.group_folds` keeps groups whole); None fits and scores in-sample.
    test : boolean array, (samples,), optional
        One fixed split instead of folds: fitted where False, scored where True.
    ridge : float
        Penalty on the squared weights, scikit-learn's `alpha`. Without one there is no score (NaN) where the
        training samples are not more than the predictors.
    score : {"r", "r2"}
        Correlation of predictions and targets, or the share of variance explained (residuals as they are,
        targets' variance about the held-out mean).
    average : {"pooled", "units"} or None
        Over all entries of y at once, as the mean over units of y, or a score a unit.

    Returns
    -------
    array or tensor, (…) or (…, units_y) for `average=None`
        NaN where the weights are not determined, or a target does not vary.

    Raises
    ------
    DataError
        For unusable responses, an unknown a negative penalty, or folds that do not fit the samples.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(200, 10))
    >>> y = x @ np.random.default_rng(1).normal(size=(10, 4))
    >>> round(float(sp.regression(x, y, score="r2")), 6)
    1.0
    """
    finish = choose(FINISH, "(score, average)", (score, average))
    if not isinstance(ridge, float | int | np.floating | np.integer) or not 0 <= ridge < np.inf:
        raise DataError(f"ridge is {ridge!r}; expected a finite number of at least 0.")
    return like_input(predictive_score)(x, y, folds, test, partial(least_squares, penalty=fixed_ridge(ridge)), finish)


def predictive_score(x: ArrayLike, y: ArrayLike, folds: Any, test: Any, fit: Fit, finish: Any) -> Array:
    first, second = paired(x, y, 2)
    labels, plan = split_plan(first.shape[-2], folds, test)
    first = compact(first)
    sums = fitted_sums(of_pair(first, second, labels, targets=("y",)), plan=plan, fit=fit)
    if sums.blurred:
        first, second = first.astype(np.float64), second.astype(np.float64)
        sums = fitted_sums(of_pair(first, second, labels, targets=("y",)), plan=plan, fit=fit)
    return finish(sums)


def fixed_ridge(alpha: float) -> Penalty:
    """Return the rule "always this penalty"."""
    return partial(_fixed, alpha)


def relative_ridge(fraction: float) -> Penalty:
    """Return the rule "this fraction of the predictors' mean variance, times the training samples".

    The mean is over as many directions as units or samples allow, so that rotating the units changes nothing.
    """
    return partial(_relative, fraction)


def _fixed(alpha: float, samples: int, variance: Array) -> Array:
    return np.full(variance.shape[:-1], alpha)


def _relative(fraction: float, samples: int, variance: Array) -> Array:
    return fraction * samples * variance.sum(axis=-1) / min(samples, variance.shape[-1])


@dataclass(frozen=True)
class Plan:
    """For each held-out fold, the folds that its weights are fitted on."""

    rounds: tuple[tuple[int, tuple[int, ...]], ...]

    @property
    def held_out(self) -> tuple[int, ...]:
        """The folds that are scored."""
        return tuple(fold for fold, _ in self.rounds)


def split_plan(samples: int, folds: Any, test: Any) -> tuple[NDArray[np.int64] | None, Plan]:
    """Return the fold of each sample, and which folds train for which, from what the user asked."""
    if test is not None:
        mask = np.asarray(to_numpy(test))
        if mask.shape != (samples,) or mask.dtype != bool:
            raise DataError(f"test has shape {mask.shape} and type {mask.dtype}; expected booleans, ({samples},).")
        if mask.all() or not mask.any():
            raise DataError(
                f"test marks {int(mask.sum())} of {samples} samples; expected some to score and some to fit."
            )
        return mask.astype(np.int64), Plan(((1, (0,)),))
    if folds is None:
        return None, Plan(((0, (0,)),))
    if isinstance(folds, int | np.integer):
        labels = contiguous_folds(samples, int(folds))
    else:
        labels = np.asarray(to_numpy(folds))
        if labels.shape != (samples,) or labels.dtype.kind not in "iu":
            raise DataError(
                f"folds has shape {labels.shape} and type {labels.dtype}; expected an integer, or the fold of each "
                f"sample as integers, ({samples},)."
            )
        labels = np.unique(labels, return_inverse=True)[1]
    count = int(labels.max()) + 1
    if count < 2:
        raise DataError("folds puts every sample in one fold; expected at least two, or None to score in-sample.")
    everything = range(count)
    return labels, Plan(tuple((f, tuple(g for g in everything if g != f)) for f in everything))


@dataclass(frozen=True)
class RegressionSums:
    """Per held-out fold and unit of y, about the fold's means: prediction·target, prediction², target², residual².

    Each is (rounds, …, units_y); `reason` says why they are NaN, if they are. `blurred`: the rounding of float32
    products hides some direction of x; products in float64 would show it. `samples` counts the held-out rows.
    """

    fit: Array
    prediction: Array
    target: Array
    residual: Array
    weights: tuple[Array, ...]
    reason: str
    blurred: bool
    samples: int


@dataclass(frozen=True)
class RegressionRows:
    """A held-out row's share of the same sums over all units, (samples,), and its round."""

    fit: Array
    prediction: Array
    target: Array
    residual: Array
    rounds: NDArray[np.int32]


@dataclass(frozen=True)
class Fitted:
    """Weights from predictors to targets, (…, units_x, units_y); `reason`, `blurred` as in `RegressionSums`."""

    weights: Array
    reason: str = ""
    blurred: bool = False


# Moments and the folds to train on → weights.
Fit = Callable[[Moments, tuple[int, ...]], Fitted]


def regression_sums(moments: Moments, *, plan: Plan, penalty: Penalty) -> RegressionSums:
    """Fit by least squares on the training folds' moments and evaluate on the held-out fold's, for every round."""
    return fitted_sums(moments, plan=plan, fit=partial(least_squares, penalty=penalty))


def fitted_sums(moments: Moments, *, plan: Plan, fit: Fit) -> RegressionSums:
    """Fit on the training folds' moments and evaluate on the held-out fold's, for every round of the plan."""
    parts: list[tuple[Array, Array, Array, Array]] = []
    weights = []
    reason, blurred = "", False
    for held_out, training in plan.rounds:
        fitted = fit(moments, training)
        reason, blurred = fitted.reason or reason, blurred or fitted.blurred
        weights.append(fitted.weights)
        if fitted.reason:
            empty = np.full(moments.y.diagonal.shape[1:], np.nan)
            parts.append((empty, empty, empty, empty))
        else:
            parts.append(_evaluated(moments, held_out, training, fitted.weights))
    agreement, prediction, target, residual = (np.stack(part) for part in zip(*parts, strict=True))
    samples = sum(int(moments.x.samples[held_out]) for held_out in plan.held_out)
    return RegressionSums(agreement, prediction, target, residual, tuple(weights), reason, blurred, samples)


@dataclass(frozen=True)
class Products:
    """Of the rows of some folds: their number, means and products about those means; constant predictors are 0."""

    samples: int
    mean_x: Array
    mean_y: Array
    gram: Array
    joint: Array


def products(moments: Moments, folds: tuple[int, ...]) -> Products:
    """Return the products of the given folds together."""
    x, y, cross = moments.x, moments.y, moments.cross
    n = int(_over(x.samples, folds))
    mean_x, mean_y = _over(x.total, folds) / n, _over(y.total, folds) / n
    gram = _over(x.square, folds) - n * mean_x[..., :, None] * mean_x[..., None, :]
    joint = _over(cross.product, folds) - n * mean_x[..., :, None] * mean_y[..., None, :]
    still = ~varies(np.einsum("...ii->...i", gram), _over(x.diagonal, folds), x.resolution)
    if still.any():
        gram = np.where(still[..., :, None] | still[..., None, :], 0.0, gram)
        joint = np.where(still[..., None], 0.0, joint)
    return Products(n, mean_x, mean_y, gram, joint)


def least_squares(moments: Moments, training: tuple[int, ...], *, penalty: Penalty) -> Fitted:
    """Return the weights of (ridge) least squares with an intercept."""
    fitted = products(moments, training)
    n, gram, joint = fitted.samples, fitted.gram, fitted.joint
    alpha = penalty(n, np.einsum("...ii->...i", gram) / n)
    if n <= gram.shape[-1] and not (alpha > 0).all():
        return Fitted(
            np.full(joint.shape, np.nan),
            f"{n} training samples are not more than the predictors: no unique least-squares fit; use a ridge",
        )
    np.einsum("...ii->...i", gram)[...] += alpha[..., None]
    w, complete = _solve(gram, joint, moments.x.resolution)
    return Fitted(w, blurred=not complete and is_rough(moments))


def is_rough(moments: Moments) -> bool:
    """Return whether the products of the predictors ran in less than float64."""
    return moments.x.resolution > float(np.finfo(np.float64).eps)


def _evaluated(
    moments: Moments, held_out: int, training: tuple[int, ...], w: Array
) -> tuple[Array, Array, Array, Array]:
    """Return the four sums of `RegressionSums` over the rows of one held-out fold."""
    x, y, cross = moments.x, moments.y, moments.cross
    n_train, n_test = int(_over(x.samples, training)), int(x.samples[held_out])
    mean_x, mean_y = _over(x.total, training) / n_train, _over(y.total, training) / n_train
    test_x, test_y = x.total[held_out] / n_test, y.total[held_out] / n_test
    gram = x.square[held_out] - n_test * test_x[..., :, None] * test_x[..., None, :]
    joint = cross.product[held_out] - n_test * test_x[..., :, None] * test_y[..., None, :]
    fit = np.einsum("...ij,...ij->...j", w, joint)
    prediction = np.einsum("...ij,...ij->...j", w, gram @ w)
    target = np.maximum(y.diagonal[held_out] - n_test * test_y**2, 0.0)
    offset = test_y - mean_y - np.einsum("...i,...ij->...j", test_x - mean_x, w)
    residual = target - 2 * fit + prediction + n_test * offset**2
    target = np.where(varies(target, y.diagonal[held_out], y.resolution), target, 0.0)
    return fit, prediction, target, residual


def _over(sums: Array, folds: tuple[int, ...]) -> Array:
    """Return the sum over folds, without the copy that choosing them by a list would make."""
    return reduce(np.add, (sums[fold] for fold in folds))


def varies(variation: Array, square: Array, resolution: float) -> NDArray[np.bool_]:
    """Return which units vary by more than the rounding of their second moment."""
    result: NDArray[np.bool_] = variation > ROUNDING * resolution * square
    return result


def regression_rows(
    moments: Moments, sums: RegressionSums, *, plan: Plan
) -> Callable[[Array, Array, Array], RegressionRows]:
    """Return what gives each held-out row's share of the sums, predictions and targets about the fold's means."""
    rounds = []
    for number, (held_out, training) in enumerate(plan.rounds):
        w = sums.weights[number]
        mean_x, mean_y = (_mean(own, training) for own in (moments.x, moments.y))
        test_x, test_y = (_mean(own, (held_out,)) for own in (moments.x, moments.y))
        rounds.append((held_out, as_type(w), mean_y - mean_x @ w, test_x @ w, test_y))

    def shares(x: Array, y: Array, folds: Array) -> RegressionRows:
        """Rows are of one held-out fold."""
        number, (_, w, intercept, mean_prediction, mean_target) = next(
            (number, known) for number, known in enumerate(rounds) if known[0] == folds[0]
        )
        kind = x.dtype
        prediction = x @ w(kind)
        prediction -= mean_prediction.astype(kind)
        target = y - mean_target.astype(kind)
        residual = target - prediction
        residual += (mean_target - mean_prediction - intercept).astype(kind)
        return RegressionRows(
            fit=inner(prediction, target),
            prediction=inner(prediction, prediction),
            target=inner(target, target),
            residual=inner(residual, residual),
            rounds=np.full(len(folds), number, dtype=np.int32),
        )

    return shares


def _mean(own: Own, folds: tuple[int, ...]) -> Array:
    mean: Array = own.shift + _over(own.total, folds) / _over(own.samples, folds)
    return mean


def _solve(gram: Array, joint: Array, resolution: float) -> tuple[Array, bool]:
    """Solve gram · w = joint for symmetric gram by Cholesky; else by least norm, and say that directions were left out.

    With predictors scaled to unit variance, rounding of the products alone gives a direction this much variance.
    """
    diagonal = np.einsum("...ii->...i", gram)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = gram * scale[..., :, None] * scale[..., None, :]
    # A predictor that is constant over the training samples gets no weight.
    np.einsum("...ii->...i", scaled)[diagonal <= 0] = 1.0
    target = joint * scale[..., :, None]
    floor = gram.shape[-1] * resolution
    try:
        factor = cho_factor(scaled, lower=True, check_finite=False)
        if (np.einsum("...ii->...i", factor[0]) ** 2).min() > floor:
            weights = cho_solve(factor, target, check_finite=False)
            blur = resolution * _sensitivity(scaled, factor[0], weights, target)
            return scale[..., :, None] * weights, blur < BLUR
    except LinAlgError:
        pass
    values, vectors = np.linalg.eigh(scaled)
    inverse = np.where(values > floor, 1 / np.where(values > floor, values, 1.0), 0.0)
    return scale[..., :, None] * (vectors @ (inverse[..., :, None] * (np.swapaxes(vectors, -1, -2) @ target))), False


def _sensitivity(gram: Array, factor: Array, weights: Array, target: Array) -> float:
    """Return how much, at most, rounding of the Gram matrix G is multiplied in the predictions of weights w.

    An error E of G moves w by G⁻¹Ew, and predictions by √(w'E'G⁻¹Ew) in units of √(w'Gw): at most √‖G⁻¹‖ ‖w‖ / √(w'Gw)
    for each of E. LAPACK estimates the norm (that of sums of columns) from the lower Cholesky factor.
    """
    width = gram.shape[-1]
    norms = np.abs(gram).sum(axis=-2).max(axis=-1).reshape(-1)
    pairs = zip(factor.reshape(-1, width, width), norms, strict=True)
    inverse = max(1 / max(norm * dpocon(one, norm, uplo="L")[0], TINY) for one, norm in pairs)
    explained = np.einsum("...ij,...ij->...j", weights, target)
    length = np.einsum("...ij,...ij->...j", weights, weights)
    return float(np.sqrt(inverse * (length[explained > 0] / explained[explained > 0]).max(initial=0.0)))


def _correlation(fit: Array, prediction: Array, target: Array) -> Array:
    # Weights that are all zero predict the mean: no correlation, rather than an undefined one.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = fit / np.sqrt(prediction * target)
    return np.where(target > 0, np.where(prediction > 0, ratio, np.where(np.isnan(fit), np.nan, 0.0)), np.nan)


def _explained(residual: Array, target: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(target > 0, 1 - residual / target, np.nan)


def _pooled_r(sums: RegressionSums) -> Array:
    return _correlation(sums.fit.sum(-1), sums.prediction.sum(-1), sums.target.sum(-1)).mean(0)


def _pooled_r2(sums: RegressionSums) -> Array:
    return _explained(sums.residual.sum(-1), sums.target.sum(-1)).mean(0)


def _unit_r(sums: RegressionSums) -> Array:
    return _correlation(sums.fit, sums.prediction, sums.target).mean(0)


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


def _pooled_influence(sums: RegressionSums, rows: RegressionRows, relative: Callable[..., Array]) -> Array:
    """Return each row's influence on the mean over rounds, the fitted weights taken as given."""
    influence = np.zeros(len(rows.rounds))
    count = sums.fit.shape[0]
    for number in range(count):
        index = rows.rounds == number
        influence[index] = relative(number, index) * sums.samples / count
    return influence


def _r_influence(sums: RegressionSums, rows: RegressionRows) -> Array:
    def relative(number: int, index: NDArray[np.bool_]) -> Array:
        fit, prediction, target = (part[number].sum(-1) for part in (sums.fit, sums.prediction, sums.target))
        r = _correlation(fit, prediction, target)
        if not prediction > 0:
            return np.zeros(int(index.sum()))
        root = np.sqrt(prediction * target)
        return rows.fit[index] / root - r * (rows.prediction[index] / prediction + rows.target[index] / target) / 2

    return _pooled_influence(sums, rows, relative)


def _r2_influence(sums: RegressionSums, rows: RegressionRows) -> Array:
    def relative(number: int, index: NDArray[np.bool_]) -> Array:
        residual, target = sums.residual[number].sum(-1), sums.target[number].sum(-1)
        return -rows.residual[index] / target + residual / target**2 * rows.target[index]

    return _pooled_influence(sums, rows, relative)


def _why(sums: RegressionSums) -> str:
    return sums.reason or "a target does not vary in a held-out fold"


FINISH: dict[tuple[str, str | None], Callable[[RegressionSums], Array]] = {
    ("r", "pooled"): _pooled_r,
    ("r", "units"): _over_units(_unit_r),
    ("r", None): _unit_r,
    ("r2", "pooled"): _pooled_r2,
    ("r2", "units"): _over_units(_unit_r2),
    ("r2", None): _unit_r2,
}


UNPENALISED = fixed_ridge(0.0)


@dataclass(frozen=True)
class PredictiveMetric:
    """Held-out prediction as a metric: `planned` turns it into moments' terms for the folds of one comparison."""

    name: str
    kind: tuple[str, str]
    directed: ClassVar[bool] = True
    minimum_samples: ClassVar[int] = 4

    @property
    def fit(self) -> Fit:
        """How weights come from training folds; equal metrics return the same function, so that they share fits."""
        raise NotImplementedError

    @property
    def invariances(self) -> frozenset[str]:
        """Those of the predictors that hold for the targets too: pooled scores do not see a rotation of y's units."""
        rotations = {"rotation"} if self.kind[1] == "pooled" else set()
        return frozenset({"scale", "permutation", "translation"} | rotations)

    def __call__(self, x: ArrayLike, y: ArrayLike) -> Any:
        """Score y from x over five contiguous folds."""
        return like_input(predictive_score)(x, y, 5, None, self.fit, FINISH[self.kind])

    def planned(self, plan: Plan) -> MomentMetric:
        """Return the metric for the folds of `plan`; equal plans and fits share their sums."""
        influence = INFLUENCE.get(self.kind)
        return MomentMetric(
            name=self.name,
            directed=True,
            invariances=self.invariances,
            minimum_samples=self.minimum_samples,
            sums=_planned_sums(plan, self.fit),
            score=FINISH[self.kind],
            why=_why,
            repaired=_planned_repair(plan, self.fit),
            row_sums=None if influence is None else _planned_rows(plan),
            influence=influence,
            bounds=BOUNDS[self.kind[0]],
            split=True,
        )


@dataclass(frozen=True)
class RegressionMetric(PredictiveMetric):
    """Held-out least squares as a metric, under a penalty on the squared weights or none."""

    penalty: Penalty = UNPENALISED

    @property
    def fit(self) -> Fit:
        """Least squares under the penalty."""
        return _least_squares(self.penalty)


@cache
def _least_squares(penalty: Penalty) -> Fit:
    return partial(least_squares, penalty=penalty)


@cache
def _planned_sums(plan: Plan, fit: Fit) -> Callable[[Moments], RegressionSums]:
    return partial(fitted_sums, plan=plan, fit=fit)


@cache
def _planned_repair(plan: Plan, fit: Fit) -> Callable[[Any, Moments], RegressionSums]:
    return lambda sums, moments: fitted_sums(moments, plan=plan, fit=fit)


@cache
def _planned_rows(plan: Plan) -> Callable[..., Any]:
    return partial(regression_rows, plan=plan)


INFLUENCE = {("r", "pooled"): _r_influence, ("r2", "pooled"): _r2_influence}
BOUNDS = {"r": (-1.0, 1.0), "r2": (-np.inf, 1.0)}

REGRESSION_R = RegressionMetric("regression_r", ("r", "pooled"))
REGRESSION_R2 = RegressionMetric("regression_r2", ("r2", "pooled"))
REGRESSION_R_UNITS = RegressionMetric("regression_r_units", ("r", "units"))
