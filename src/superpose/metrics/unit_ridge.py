"""Ridge regression with a penalty for each unit of the target, chosen as one for all is: by nested cross-validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from superpose.metrics.about import About
from superpose.metrics.metric import InParts, MomentMetric
from superpose.metrics.prediction import Fit, Fitted, Pull, counted_units, is_rough, over, unchosen
from superpose.metrics.regression import PredictiveMetric, described
from superpose.metrics.spectrum import GRID, Spectrum, by_training, inner, spectrum_of, turned
from superpose.metrics.splits import Plan
from superpose.moments import Moments

Array = NDArray[Any]
Folds = tuple[int, ...]

# Numbers of weights that a processor holds at hand while their errors are taken.
AT_HAND = 1 << 17


def unit_ridge(moments: Moments, plan: Plan, *, grid: tuple[float, ...]) -> Iterator[Fitted]:
    """Yield each round's weights, of every target under the penalty that predicts it best in its training folds."""
    choices = _choices(moments, plan, np.array(grid))
    for _, training in plan.rounds:
        if len(training) < 2:
            yield unchosen(moments, "penalties")
            continue
        yield _fitted(moments, training, choices[training])


def _fitted(moments: Moments, training: Folds, fractions: Array) -> Fitted:
    """Return the weights under penalties that are fractions of the predictors' mean variance, (…, units_y)."""
    s = spectrum_of(moments.x, training)
    back = np.swapaxes(s.vectors, -1, -2)
    shrinkage = _shrinkage(s, fractions * np.asarray(s.unit)[..., None])
    w = s.vectors @ (shrinkage * (back @ s.rows.joint(moments)))

    def adjoint(slope: Array) -> Pull:
        joint = s.vectors @ (shrinkage * (back @ slope))
        # Every penalty grows with the mean variance of the predictors.
        rise = fractions / s.rows.dimensions
        return Pull(joint, trace=-float(np.sum(rise * np.sum(joint * w, axis=-2))))

    # Which penalty is best for a single target, rounding of float32 often decides.
    return Fitted(w, blurred=is_rough(moments), adjoint=adjoint, shrunk=True)


def _shrinkage(s: Spectrum, penalties: Array) -> Array:
    """Return 1/(eigenvalue + penalty), (…, directions, penalties): 0 where rows vary by rounding alone."""
    values, known = s.values[..., None], s.known[..., None]
    return np.where(known, 1 / np.where(known, values + penalties[..., None, :], 1.0), 0.0)


def _choices(moments: Moments, plan: Plan, fractions: Array) -> dict[Folds, Array]:
    """Return the best fraction of each target for each set of training folds, (…, units_y)."""
    found = by_training(plan, lambda rest, left_outs: _errors(moments, rest, left_outs, fractions))
    return {training: fractions[np.argmin(sum(errors), axis=0)] for training, errors in found.items()}


def _errors(moments: Moments, rest: Folds, left_outs: Sequence[int], fractions: Array) -> Iterator[Array]:
    """Yield each target's squared error on some folds less its square, (penalties, …, units_y), of weights from others.

    With V the directions of the training rows, weights are V D t for a target of products t with them. The error is
    −2 (D t)·j + (D t)'M (D t), with j, M the products of left-out rows about the means of the others.
    """
    x, y = moments.x, moments.y
    s = spectrum_of(x, rest)
    u, w = s.rows.mean, over(y.total, rest) / s.rows.samples
    back = np.swapaxes(s.vectors, -1, -2)
    trained = back @ s.rows.joint(moments)
    shrinkage = _shrinkage(s, fractions * np.asarray(s.unit)[..., None])
    # One product for several penalties, and no more of them at once than stay at hand.
    width = max(1, AT_HAND // trained.size)
    blocks = [shrinkage[..., first : first + width] for first in range(0, len(fractions), width)]
    for left_out in left_outs:
        n, total_x, total_y = x.samples[left_out], x.total[left_out], y.total[left_out]
        joint = back @ moments.cross.product[left_out].astype(trained.dtype)
        for by_x, by_y in ((u, total_y), (total_x - n * u, w)):
            joint -= (back @ by_x[..., None]) * by_y[..., None, :]
        square = turned(x, s, left_out)
        yield np.concatenate([_error(square, joint, block[..., None] * trained[..., None, :]) for block in blocks])


def _error(square: Array, joint: Array, weights: Array) -> Array:
    """Return errors less the target's square, (penalties, …, units_y).

    `weights` are (…, directions, penalties, units_y).
    """
    flat = weights.reshape(*weights.shape[:-2], -1)
    predicted = (square @ flat).reshape(weights.shape)
    predicted -= 2 * joint[..., None, :]
    predicted *= weights
    return np.moveaxis(predicted.sum(axis=-3), -2, 0)


@cache
def chosen_by_unit(grid: tuple[float, ...]) -> Fit:
    """Return the fit that chooses a penalty for each target."""
    return partial(unit_ridge, grid=grid)


@dataclass(frozen=True)
class UnitRidgeMetric(PredictiveMetric):
    """Held-out ridge regression as a metric, with a penalty from `grid` for each unit of the target."""

    grid: tuple[float, ...] = GRID
    exact: ClassVar[bool] = True

    @property
    def fit(self) -> Fit:
        """Ridge regression, each target under the penalty that predicts it best in the training folds."""
        return chosen_by_unit(self.grid)

    @property
    def invariances(self) -> frozenset[str]:
        """As of other regressions; a rotation of the targets changes what their penalties are chosen for."""
        return frozenset({"scale", "permutation", "translation"})

    def inner_fits(self, plan: Plan) -> tuple[int, int]:
        """Return how many fits choose the penalties of a plan, and on how many folds they are tried."""
        uses = inner(plan)
        return len(uses), sum(map(len, uses.values()))

    def planned(self, plan: Plan) -> MomentMetric:
        """Return the metric for the folds of `plan`: pooled scores, too, take predictors turned."""
        planned = super().planned(plan)
        return planned if planned.in_parts is not None else replace(planned, in_parts=InParts(counted_units))


UNIT_RIDGE = About(
    "unit ridge",
    "y and its prediction from x by ridge regression, a penalty for each unit of y",
    "N p (p + q) + 20 p³ + 1,000 p² q",
    "as of ridge_r, unit by unit",
)
RIDGE_UNIT_R = described(UnitRidgeMetric("ridge_unit_r", ("r", "pooled")), UNIT_RIDGE)
RIDGE_UNIT_R2 = described(UnitRidgeMetric("ridge_unit_r2", ("r2", "pooled")), UNIT_RIDGE)
RIDGE_UNIT_R_UNITS = described(UnitRidgeMetric("ridge_unit_r_units", ("r", "units")), UNIT_RIDGE)
RIDGE_UNIT_R2_UNITS = described(UnitRidgeMetric("ridge_unit_r2_units", ("r2", "units")), UNIT_RIDGE)
