"""What each held-out row adds to the score of a prediction, where it is scored and where it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from operator import add
from typing import Any

import numpy as np

from superpose.metrics.metric import Shares
from superpose.metrics.prediction import (
    RegressionSums,
    about_means,
    correlation,
    over,
    unit_r,
)
from superpose.metrics.quadratic import QuadraticForm, against_residual
from superpose.metrics.splits import Plan
from superpose.moments import Array, Moments, Own

# Of what score, and averaged over what.
Kind = tuple[str, str]

# A group's own leverage h leaves 1 − h of a residual. Half of the one held out would make up for that (Bell & McCaffrey
# 2002), if pairs of groups that move a fit did not count twice: decision 0107.
HELD = 1 / 3


def regression_rows(
    moments: Moments, sums: RegressionSums, *, plan: Plan, kind: Kind
) -> Callable[[Array, Array, Array], Shares]:
    """Return what gives each held-out row's influence on a score, the mean over rounds: the infinitesimal jackknife.

    A row counts in the round that it is scored in, and in those that it trains in. Where no scored row trains, as in
    one fixed split, weights are taken as given. All that the rows of one fold add is one quadratic form of them.
    """
    rounds = [_Round(moments, sums, number, plan, kind) for number in range(len(plan.rounds))]
    form = _forms(rounds, plan)
    per_round = sums.samples / len(rounds)

    def shares(x: Array, y: Array, folds: Array) -> Shares:
        """Rows are of one held-out fold."""
        return Shares(per_round * form(int(folds[0])).values(x, y))

    return shares


def _forms(rounds: list[_Round], plan: Plan) -> Callable[[int], QuadraticForm]:
    """Return what gives the form that rows of each held-out fold add, over all rounds: one at a time is held."""
    by_fold = {one.held_out: one for one in rounds}
    training = [one for one in rounds if set(one.training) & set(plan.held_out)]
    parts = {one.held_out: one.trained() for one in training}
    whole = reduce(add, parts.values()) if parts else None

    @lru_cache(maxsize=1)
    def form(fold: int) -> QuadraticForm:
        one, trained = by_fold[fold], whole
        if trained is None:
            return one.scored().folded()
        # A fold trains in every round but its own, or in the only one there is.
        if fold not in one.training:
            trained = trained - parts[fold]
        if one.held:
            rest = one.held / (1 - one.held)
            trained += against_residual(rest * trained.xy, rest * trained.y, one.fitted.weights, one.intercept)
        return (one.scored() + trained).folded()

    return form


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
        self.moments, self.held_out, self.training = moments, held_out, training
        self.fitted = sums.fitted[number]
        w = self.fitted.weights
        self.mean_x, self.mean_y = (_mean(own, training, w.dtype) for own in (moments.x, moments.y))
        self.test_x, self.test_y = (_mean(own, (held_out,), w.dtype) for own in (moments.x, moments.y))
        self.intercept = self.mean_y - self.mean_x @ w
        self.slopes = _slopes(sums, number, kind)
        self.held = HELD if plan.grouped and self.fitted.shrunk else 0.0

    def scored(self) -> QuadraticForm:
        """Return what rows of the held-out fold add where they are scored.

        With sums P, T, R of squared predictions, targets and residuals, a row of prediction p, target t and residual e
        moves r by p t/√(P T) − r (p²/P + t²/T)/2, and R² by R t²/T² − e²/T. Here p = x W − m, t = y − t₀ and
        e = y − x W − i.
        """
        w, i, target = self.fitted.weights, self.intercept, self.test_y
        m = self.test_x @ w
        pt, pp, tt, ee = (part.astype(w.dtype) for part in self.slopes.products)
        return QuadraticForm(
            xy=w * (pt - 2 * ee),
            xx=(w * (pp + ee)) @ w.T,
            yy=tt + ee,
            x=w @ (2 * (ee * i - pp * m) - pt * target),
            y=-pt * m - 2 * (tt * target + ee * i),
            one=float(np.sum(pt * m * target + pp * m**2 + tt * target**2 + ee * i**2)),
        )

    def trained(self) -> QuadraticForm:
        """Return what training rows add through the weights and the means (`Pull`)."""
        kind, w, slopes = self.moments.x.precision, self.fitted.weights, self.slopes
        gram, joint = about_means(self.moments, self.held_out)
        slope = (joint - slopes.overlap.astype(kind) * (gram @ w)) * slopes.scale.astype(kind)
        by_mean = np.zeros(w.shape[-1], kind)
        if slopes.means:
            n = int(self.moments.x.samples[self.held_out])
            across = self.test_x - self.mean_x
            by_mean = n * (self.test_y - self.mean_y - across @ w) * slopes.scale.astype(kind)
            slope += np.outer(across, by_mean)
            by_mean = by_mean / int(over(self.moments.x.samples, self.training))
        assert self.fitted.adjoint is not None
        pull, share = self.fitted.adjoint(slope), 1 - self.held
        joint = share * pull.joint.astype(kind)
        form = against_residual(joint, share * by_mean - self.mean_x @ joint, w, self.intercept)
        # About the mean of the training rows.
        xx, by_x = form.xx, -2 * pull.trace * self.mean_x
        np.einsum("ii->i", xx)[...] += pull.trace
        if pull.rest is not None:
            square = (pull.rest[0] @ pull.rest[1].T).astype(kind)
            xx, by_x = xx + square, by_x - (square + square.T) @ self.mean_x
        return replace(form, xx=xx, x=form.x + by_x, one=form.one - float(by_x @ self.mean_x) / 2)


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
