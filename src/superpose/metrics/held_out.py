"""What each held-out row adds to the scores of a prediction, where it is scored and where it trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from superpose.metrics.prediction import KINDS, RegressionSums, about_means, correlation, over, predicted, unit_r
from superpose.metrics.splits import Plan
from superpose.moments import Array, Moments, Own


@dataclass(frozen=True)
class RegressionRows:
    """What a held-out row adds to each kind of score of its round, less what an average row does, (rows, kinds)."""

    shares: Array


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
        mean_x, mean_y = (_mean(own, training, w.dtype) for own in (moments.x, moments.y))
        test_x, test_y = (_mean(own, (held_out,), w.dtype) for own in (moments.x, moments.y))
        rounds[held_out] = (w, mean_y - mean_x @ w, test_x @ w, test_y, _scored_weights(sums, number))
    moves = _moves(moments, sums, plan)
    moved = {
        fold: (_mean(moments.x, (fold,), move.dtype) @ move, _training_weights(moments, sums, plan, fold))
        for fold, move in moves.items()
    }

    def shares(x: Array, y: Array, folds: Array) -> RegressionRows:
        """Rows are of one held-out fold."""
        fold, kind = int(folds[0]), x.dtype
        w, intercept, mean_prediction, mean_y, weights = rounds[fold]
        prediction = x @ w.astype(kind, copy=False)
        residual = y - prediction - intercept.astype(kind)
        prediction -= mean_prediction.astype(kind)
        target = y - mean_y.astype(kind)
        of_score = (prediction * target, prediction**2, target**2, residual**2)
        found = _weighed(of_score, weights)
        if fold in moves:
            mean_move, training_weights = moved[fold]
            move = x @ moves[fold].astype(kind, copy=False)
            move -= mean_move.astype(kind)
            found += _weighed([half * residual for half in np.split(move, 2, axis=1)], training_weights)
        return RegressionRows(found)

    return shares


def _weighed(products: Sequence[Array], weights: Array) -> Array:
    """Return the sum over products, (rows, units_y), of each with its weights, (units_y, kinds)."""
    return np.asarray(sum(one @ w.astype(one.dtype) for one, w in zip(products, weights, strict=True)), np.float64)


def _by_kind(sums: RegressionSums, weigh: Callable[..., Sequence[Array]], *parts: Array) -> Array:
    """Return the weights of several products in every kind of score, (products, units_y, kinds)."""
    known = ~np.isnan(unit_r(sums))
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
        r = np.nan_to_num(correlation(fit, prediction, target))
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
            kind = moments.x.precision
            gram, joint = (part.astype(kind, copy=False) for part in about_means(moments, held_out))
            prediction = predicted(gram, fitted.weights, kind)
            overlap = kind(sums.fit[number].sum() * _reciprocal(sums.prediction[number].sum()))
            rights = (joint - overlap * prediction, joint - prediction)
            move = np.hstack([fitted.inverse(right).astype(kind, copy=False) for right in rights])
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
        freedom() / int(over(moments.x.samples, plan.rounds[number][1]))
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


def _mean(own: Own, folds: tuple[int, ...], kind: np.dtype[Any]) -> Array:
    # In the type of what it multiplies, which would be converted otherwise.
    mean: Array = own.shift + over(own.total, folds) / over(own.samples, folds)
    return mean.astype(kind)


def _influence(sums: RegressionSums, rows: RegressionRows, kind: tuple[str, str]) -> Array:
    """Return each row's influence on the mean of a score over rounds."""
    return rows.shares[:, KINDS.index(kind)] * sums.samples / len(sums.fit)


INFLUENCE = {kind: partial(_influence, kind=kind) for kind in KINDS}
