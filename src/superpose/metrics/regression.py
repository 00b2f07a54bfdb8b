"""Held-out linear regression from one system to another, from moments alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial, reduce
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.lapack import dpocon

from superpose.arrays import choose, contiguous_folds, like_input, to_numpy
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
class Fitted:
    """Weights from predictors to targets, (…, units_x, units_y); `reason`, `blurred` as in `RegressionSums`.

    `inverse` takes B, (units_x, units_y), to (X'X + penalty)⁻¹B, and `freedom` gives the effective degrees of freedom;
    None for weights that are not linear in the targets.
    """

    weights: Array
    reason: str = ""
    blurred: bool = False
    inverse: Callable[[Array], Array] | None = None
    freedom: Callable[[], float] | None = None


@dataclass(frozen=True)
class RegressionSums:
    """Per held-out fold and unit of y, about the fold's means: prediction·target, prediction², target², residual².

    Each is (rounds, …, units_y), of `samples` rows in all; `reason` says why they are NaN, if they are. `blurred`: the
    rounding of float32 products hides some direction of x; products in float64 would show it.
    """

    fit: Array
    prediction: Array
    target: Array
    residual: Array
    fitted: tuple[Fitted, ...]
    samples: int
    reason: str
    blurred: bool


@dataclass(frozen=True)
class RegressionRows:
    """What a held-out row adds to each kind of score of its round, less what an average row does, (rows, kinds)."""

    shares: Array


# Of what score, and averaged over what, in the order of `RegressionRows`.
KINDS = (("r", "pooled"), ("r2", "pooled"), ("r", "units"), ("r2", "units"))

# Moments and the folds to train on → weights.
Fit = Callable[[Moments, tuple[int, ...]], Fitted]


def regression_sums(moments: Moments, *, plan: Plan, penalty: Penalty) -> RegressionSums:
    """Fit by least squares on the training folds' moments and evaluate on the held-out fold's, for every round."""
    return fitted_sums(moments, plan=plan, fit=partial(least_squares, penalty=penalty))


def fitted_sums(moments: Moments, *, plan: Plan, fit: Fit) -> RegressionSums:
    """Fit on the training folds' moments and evaluate on the held-out fold's, for every round of the plan."""
    parts: list[tuple[Array, Array, Array, Array]] = []
    fits = []
    reason, blurred = "", False
    for held_out, training in plan.rounds:
        fitted = fit(moments, training)
        reason, blurred = fitted.reason or reason, blurred or fitted.blurred
        fits.append(fitted)
        if fitted.reason:
            empty = np.full(moments.y.diagonal.shape[1:], np.nan)
            parts.append((empty, empty, empty, empty))
        else:
            parts.append(_evaluated(moments, held_out, training, fitted.weights))
    agreement, prediction, target, residual = (np.stack(part) for part in zip(*parts, strict=True))
    samples = int(_over(moments.x.samples, plan.held_out))
    return RegressionSums(agreement, prediction, target, residual, tuple(fits), samples, reason, blurred)


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
    w, complete, inverse = _solve(gram, joint, moments.x.resolution)
    width = gram.shape[-1]

    def freedom() -> float:
        return width - float(alpha * np.trace(inverse(np.eye(width)))) if alpha.any() else float(width)

    return Fitted(w, blurred=not complete and is_rough(moments), inverse=inverse, freedom=freedom)


def is_rough(moments: Moments) -> bool:
    """Return whether the products of the predictors ran in less than float64."""
    return moments.x.resolution > float(np.finfo(np.float64).eps)


def _evaluated(
    moments: Moments, held_out: int, training: tuple[int, ...], w: Array
) -> tuple[Array, Array, Array, Array]:
    """Return the four sums of `RegressionSums` over the rows of one held-out fold."""
    x, y = moments.x, moments.y
    n_train, n_test = int(_over(x.samples, training)), int(x.samples[held_out])
    mean_x, mean_y = _over(x.total, training) / n_train, _over(y.total, training) / n_train
    test_x, test_y = x.total[held_out] / n_test, y.total[held_out] / n_test
    gram, joint = _about_means(moments, held_out)
    fit = np.einsum("...ij,...ij->...j", w, joint)
    prediction = np.einsum("...ij,...ij->...j", w, gram @ w)
    target = np.maximum(y.diagonal[held_out] - n_test * test_y**2, 0.0)
    offset = test_y - mean_y - np.einsum("...i,...ij->...j", test_x - mean_x, w)
    residual = target - 2 * fit + prediction + n_test * offset**2
    target = np.where(varies(target, y.diagonal[held_out], y.resolution), target, 0.0)
    return fit, prediction, target, residual


def _about_means(moments: Moments, fold: int) -> tuple[Array, Array]:
    """Return X'X and X'Y of a fold's rows about their means."""
    n = int(moments.x.samples[fold])
    mean_x, mean_y = moments.x.total[fold] / n, moments.y.total[fold] / n
    gram = moments.x.square[fold] - n * mean_x[..., :, None] * mean_x[..., None, :]
    return gram, moments.cross.product[fold] - n * mean_x[..., :, None] * mean_y[..., None, :]


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
    """Return what gives each held-out row's share of the scores.

    With sums P, T, R of a round's squared predictions, targets and residuals, a row of prediction p, target t and
    residual e moves r by p t/√(P T) − r (p²/P + t²/T)/2, and R² by R t²/T² − e²/T. Where it trains in other rounds it
    moves their weights as well (`_moves`).
    """
    rounds = {}
    for number, (held_out, training) in enumerate(plan.rounds):
        w = sums.fitted[number].weights
        mean_x, mean_y = (_mean(own, training) for own in (moments.x, moments.y))
        test_x, test_y = (_mean(own, (held_out,)) for own in (moments.x, moments.y))
        rounds[held_out] = (w, mean_y - mean_x @ w, test_x, test_y, _scored_weights(sums, number))
    moves = _moves(moments, sums, plan)
    moved = {fold: _training_weights(moments, sums, plan, fold) for fold in moves}

    def shares(x: Array, y: Array, folds: Array) -> RegressionRows:
        """Rows are of one held-out fold."""
        fold, kind = int(folds[0]), x.dtype
        w, intercept, mean_x, mean_y, weights = rounds[fold]
        prediction = x @ w.astype(kind)
        residual = y - prediction - intercept.astype(kind)
        prediction -= (mean_x @ w).astype(kind)
        target = y - mean_y.astype(kind)
        of_score = (prediction * target, prediction**2, target**2, residual**2)
        found = _weighed(of_score, weights)
        if fold in moves:
            move = x @ moves[fold].astype(kind)
            move -= (mean_x @ moves[fold]).astype(kind)
            found += _weighed([half * residual for half in np.split(move, 2, axis=1)], moved[fold])
        return RegressionRows(found)

    return shares


def _weighed(products: Sequence[Array], weights: Array) -> Array:
    """Return the sum over products, (rows, units_y), of each with its weights, (units_y, kinds)."""
    return np.asarray(sum(one @ w.astype(one.dtype) for one, w in zip(products, weights, strict=True)), np.float64)


def _by_kind(sums: RegressionSums, weigh: Callable[..., Sequence[Array]], *parts: Array) -> Array:
    """Return the weights of several products in every kind of score, (products, units_y, kinds)."""
    known = ~np.isnan(_unit_r(sums))
    average = {"pooled": np.ones(len(known)), "units": known / max(int(known.sum()), 1)}
    summed = {"pooled": [np.broadcast_to(part.sum(-1), part.shape) for part in parts], "units": list(parts)}
    found = [[share * average[over] for share in weigh(score, *summed[over])] for score, over in KINDS]
    return np.moveaxis(np.array(found), 0, -1)


def _scored_weights(sums: RegressionSums, number: int) -> Array:
    """Return what agreement, prediction², target² and residual² of a row weigh in the scores of its round."""

    def weigh(score: str, fit: Array, prediction: Array, target: Array, residual: Array) -> Sequence[Array]:
        by_p, by_t, nothing = _reciprocal(prediction), _reciprocal(target), np.zeros_like(fit)
        if score == "r2":
            return nothing, nothing, residual * by_t**2, -by_t
        r = np.nan_to_num(_correlation(fit, prediction, target))
        return np.sqrt(by_p * by_t), -r * by_p / 2, -r * by_t / 2, nothing

    return _by_kind(sums, weigh, *(part[number] for part in (sums.fit, sums.prediction, sums.target, sums.residual)))


def _moves(moments: Moments, sums: RegressionSums, plan: Plan) -> dict[int, Array]:
    """Return what moves r, and what moves R², in the rounds that a fold trains in, side by side: (units_x, 2 units_y).

    A training row x with residual e moves the weights W by (X'X)⁻¹x e'. With C and S, the held-out rows' products with
    their targets and with themselves, r = F/√(P T) then moves by x'(X'X)⁻¹(C − F/P S W) e/√(P T), and R² by
    2 x'(X'X)⁻¹(C − S W) e/T: a sum over rounds of what stands before e. Nothing where weights are not linear in the
    targets.
    """
    moves: dict[int, Array] = {}
    for number, (held_out, training) in enumerate(plan.rounds):
        scored_too = [fold for fold in training if fold in plan.held_out]
        fitted = sums.fitted[number]
        if scored_too and fitted.inverse is not None:
            gram, joint = _about_means(moments, held_out)
            predicted = gram @ fitted.weights
            overlap = sums.fit[number].sum() * _reciprocal(sums.prediction[number].sum())
            move = fitted.inverse(np.hstack([joint - overlap * predicted, joint - predicted]))
            for fold in scored_too:
                moves[fold] = moves.get(fold, 0) + move
    return moves


def _training_weights(moments: Moments, sums: RegressionSums, plan: Plan, fold: int) -> Array:
    """Return what moves of a fold's rows times their residuals weigh in the scores of the rounds that they train in.

    The sums of those rounds are taken as their mean. Residuals are held out, 1/(1 − h) times those of training rows of
    leverage h.
    """
    trained = [number for number, (_, training) in enumerate(plan.rounds) if fold in training]
    leverages = [
        freedom() / int(_over(moments.x.samples, plan.rounds[number][1]))
        for number in trained
        if (freedom := sums.fitted[number].freedom) is not None
    ]
    shrink = max(1 - float(np.mean(leverages)), 0.0)

    def weigh(score: str, prediction: Array, target: Array) -> Sequence[Array]:
        by_p, by_t, nothing = _reciprocal(prediction), _reciprocal(target), np.zeros_like(target)
        return (nothing, 2 * shrink * by_t) if score == "r2" else (shrink * np.sqrt(by_p * by_t), nothing)

    return _by_kind(sums, weigh, *(part[trained].mean(0) for part in (sums.prediction, sums.target)))


def _reciprocal(sums: Array) -> Array:
    """Return 1/sum, and 0 for what does not vary."""
    return np.where(sums > 0, 1 / np.where(sums > 0, sums, 1.0), 0.0)


def _mean(own: Own, folds: tuple[int, ...]) -> Array:
    mean: Array = own.shift + _over(own.total, folds) / _over(own.samples, folds)
    return mean


def _solve(gram: Array, joint: Array, resolution: float) -> tuple[Array, bool, Callable[[Array], Array]]:
    """Solve gram · w = joint for symmetric gram by Cholesky; else by least norm, and say that directions were left out.

    The third solves for other right-hand sides. With predictors scaled to unit variance, rounding of the products alone
    gives a direction the variance `floor`.
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
            return scale[..., :, None] * weights, blur < BLUR, partial(_by_cholesky, factor, scale)
    except LinAlgError:
        pass
    values, vectors = np.linalg.eigh(scaled)
    inverse = np.where(values > floor, 1 / np.where(values > floor, values, 1.0), 0.0)
    solve = partial(_by_spectrum, vectors, inverse, scale)
    return solve(joint), False, solve


def _by_cholesky(factor: tuple[Array, bool], scale: Array, joint: Array) -> Array:
    solved: Array = cho_solve(factor, joint * scale[..., :, None], check_finite=False)
    return scale[..., :, None] * solved


def _by_spectrum(vectors: Array, inverse: Array, scale: Array, joint: Array) -> Array:
    turned = np.swapaxes(vectors, -1, -2) @ (joint * scale[..., :, None])
    solved: Array = scale[..., :, None] * (vectors @ (inverse[..., :, None] * turned))
    return solved


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


def _influence(sums: RegressionSums, rows: RegressionRows, kind: tuple[str, str]) -> Array:
    """Return each row's influence on the mean of a score over rounds."""
    return rows.shares[:, KINDS.index(kind)] * sums.samples / len(sums.fit)


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
        return MomentMetric(
            name=self.name,
            directed=True,
            invariances=self.invariances,
            minimum_samples=self.minimum_samples,
            sums=_planned_sums(plan, self.fit),
            score=FINISH[self.kind],
            why=_why,
            repaired=_planned_repair(plan, self.fit),
            row_sums=_planned_rows(plan),
            influence=INFLUENCE[self.kind],
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


INFLUENCE = {kind: partial(_influence, kind=kind) for kind in KINDS}
BOUNDS = {"r": (-1.0, 1.0), "r2": (-np.inf, 1.0)}

REGRESSION_R = RegressionMetric("regression_r", ("r", "pooled"))
REGRESSION_R2 = RegressionMetric("regression_r2", ("r2", "pooled"))
REGRESSION_R_UNITS = RegressionMetric("regression_r_units", ("r", "units"))
