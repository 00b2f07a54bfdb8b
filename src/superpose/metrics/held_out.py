"""What each held-out row adds to the score of a prediction, where it is scored and where it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from superpose.blocks import inner
from superpose.metrics.metric import Shares
from superpose.metrics.prediction import (
    RegressionSums,
    about_means,
    correlation,
    over,
    predicted,
    unit_r,
)
from superpose.metrics.splits import Plan
from superpose.moments import Array, Moments, Own

# Of what score, and averaged over what.
Kind = tuple[str, str]
# What held-out rows x, y add to the score of a round, (rows,), and their residuals.
Scored = Callable[[Array, Array], tuple[Array, Array]]
# What training rows x, y, of such residuals where they are held out, add to the score of a round, (rows,).
Trained = Callable[[Array, Array, Array], Array]


def regression_rows(
    moments: Moments, sums: RegressionSums, *, plan: Plan, kind: Kind
) -> Callable[[Array, Array, Array], Shares]:
    """Return what gives each held-out row's influence on a score, the mean over rounds: the infinitesimal jackknife.

    A row counts in the round that it is scored in, and in those that it trains in. Where no scored row trains, as in
    one fixed split, weights are taken as given.
    """
    rounds = [_Round(moments, sums, number, plan, kind) for number in range(len(plan.rounds))]
    scored = {one.held_out: one.scored() for one in rounds}
    trained = [(one.training, one.trained()) for one in rounds if set(one.training) & set(plan.held_out)]
    per_round = sums.samples / len(rounds)

    def shares(x: Array, y: Array, folds: Array) -> Shares:
        """Rows are of one held-out fold."""
        fold = int(folds[0])
        found, residual = scored[fold](x, y)
        for training, adds in trained:
            if fold in training:
                found = found + adds(x, y, residual)
        return Shares(per_round * found)

    return shares


@dataclass(frozen=True)
class _Slopes:
    """A round's score by the sums of p t, p², t² and e², and by its weights W: (X'Y − `overlap` X'X W) `scale`.

    All are by unit; p, t and e are predictions, targets and residuals of held-out rows. Where the score sees the means
    that the fit takes from its training rows (`means`), those move it as well.
    """

    products: tuple[Array, Array, Array, Array]
    overlap: Array
    scale: Array
    means: bool


class _Round:
    """One round: which fold is held out, the weights, and how its score moves."""

    def __init__(
        self,
        moments: Moments,
        sums: RegressionSums,
        number: int,
        plan: Plan,
        kind: Kind,
    ) -> None:
        held_out, training = plan.rounds[number]
        self.moments, self.held_out, self.training, self.grouped = moments, held_out, training, plan.grouped
        self.fitted = sums.fitted[number]
        w = self.fitted.weights
        self.mean_x, self.mean_y = (_mean(own, training, w.dtype) for own in (moments.x, moments.y))
        self.test_x, self.test_y = (_mean(own, (held_out,), w.dtype) for own in (moments.x, moments.y))
        self.slopes = _slopes(sums, number, kind)

    def scored(self) -> Scored:
        """Return what rows of the held-out fold add where they are scored.

        With sums P, T, R of squared predictions, targets and residuals, a row of prediction p, target t and residual e
        moves r by p t/√(P T) − r (p²/P + t²/T)/2, and R² by R t²/T² − e²/T.
        """
        w = self.fitted.weights
        intercept, middle = self.mean_y - self.mean_x @ w, self.test_x @ w

        def adds(x: Array, y: Array) -> tuple[Array, Array]:
            prediction = x @ w.astype(x.dtype, copy=False)
            residual = y - prediction - intercept.astype(x.dtype)
            prediction -= middle.astype(x.dtype)
            target = y - self.test_y.astype(x.dtype)
            products = (prediction * target, prediction**2, target**2, residual**2)
            parts = (one @ by.astype(x.dtype) for one, by in zip(products, self.slopes.products, strict=True))
            return np.asarray(sum(parts), np.float64), residual

        return adds

    def trained(self) -> Trained:
        """Return what training rows add through the weights and the means (`Pull`)."""
        kind, w, slopes = self.moments.x.precision, self.fitted.weights, self.slopes
        gram, joint = (part.astype(kind, copy=False) for part in about_means(self.moments, self.held_out))
        slope = (joint - slopes.overlap.astype(kind) * predicted(gram, w, kind)) * slopes.scale.astype(kind)
        by_mean = np.zeros(w.shape[-1], kind)
        if slopes.means:
            n = int(self.moments.x.samples[self.held_out])
            across = self.test_x - self.mean_x
            by_mean = n * (self.test_y - self.mean_y - across @ w) * slopes.scale.astype(kind)
            slope += np.outer(across, by_mean)
            by_mean = by_mean / int(over(self.moments.x.samples, self.training))
        assert self.fitted.adjoint is not None
        pull = self.fitted.adjoint(slope)

        def adds(x: Array, y: Array, held_out: Array) -> Array:
            x, y = x - self.mean_x.astype(x.dtype), y - self.mean_y.astype(x.dtype)
            residual = y - x @ w.astype(x.dtype, copy=False)
            if self.grouped and pull.shrunk:
                # A group's own leverage h leaves 1 − h of a residual. To second order in h, the mean of that and of the
                # residual held out has squares without bias, as (1 − h)^½ has (Bell & McCaffrey 2002).
                residual = (residual + held_out) / 2
            moves = x @ pull.joint.astype(x.dtype) + by_mean.astype(x.dtype)
            found = inner(moves, residual) + pull.trace * inner(x, x)
            if pull.rest is not None:
                left, right = (x @ part.astype(x.dtype) for part in pull.rest)
                found += inner(left, right)
            return found

        return adds


def _slopes(sums: RegressionSums, number: int, kind: Kind) -> _Slopes:
    score, average = kind
    parts = [part[number] for part in (sums.fit, sums.prediction, sums.target, sums.residual)]
    if average == "pooled":
        share = np.ones_like(parts[0])
        fit, prediction, target, residual = (np.full_like(part, part.sum()) for part in parts)
    else:
        known = ~np.isnan(unit_r(sums))
        share = known / max(int(known.sum()), 1)
        fit, prediction, target, residual = parts
    by_p, by_t, nothing = _reciprocal(prediction), _reciprocal(target), np.zeros_like(fit)
    if score == "r2":
        products = (nothing, nothing, share * residual * by_t**2, -share * by_t)
        return _Slopes(products, np.ones_like(fit), 2 * share * by_t, means=True)
    r, both = np.nan_to_num(correlation(fit, prediction, target)), share * np.sqrt(by_p * by_t)
    return _Slopes((both, -share * r * by_p / 2, -share * r * by_t / 2, nothing), fit * by_p, both, means=False)


def _reciprocal(sums: Array) -> Array:
    """Return 1/sum, and 0 for what does not vary."""
    return np.where(sums > 0, 1 / np.where(sums > 0, sums, 1.0), 0.0)


def _mean(own: Own, folds: tuple[int, ...], kind: np.dtype[Any]) -> Array:
    # In the type of what it multiplies, which would be converted otherwise.
    mean: Array = own.shift + over(own.total, folds) / over(own.samples, folds)
    return mean.astype(kind)
