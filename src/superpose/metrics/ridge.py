"""Ridge regression whose penalty is chosen by nested cross-validation, from moments by fold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import choose, like_input
from superpose.deprecation import renamed
from superpose.metrics.prediction import FINISH, Fit, Fitted, Pull, Training, is_rough, over, training_rows
from superpose.metrics.regression import PredictiveMetric, predictive_score
from superpose.moments import Moments, Own

Array = NDArray[Any]

# Penalties, as fractions of the predictors' mean variance: from none to speak of to all but the mean, by half-decades:
# whole ones cost up to .016 of r.
GRID = tuple(10.0 ** (power / 2) for power in range(-18, 7))


@renamed(folds="cv")
def ridge(
    x: ArrayLike,
    y: ArrayLike,
    *,
    cv: int | ArrayLike = 5,
    test: float | ArrayLike | None = None,
    score: str = "r",
    average: str | None = "pooled",
    seed: int = 0,
) -> Any:
    """Predict y from x by ridge regression, its penalty chosen inside the training folds, and score held out.

    For every held-out fold, each training fold is left out in turn, and the penalty with the least squared error on
    those, all units of y together, is taken; then the weights are fitted on all training folds. Under `test` the
    training samples lie in five folds. The penalties tried are 1e-9, 1e-8.5, …, 1e3 times the training samples and the
    mean variance of the predictors. Nothing of a held-out fold enters its fit. Products run in float64: near a tie
    between penalties the rounding of float32 would decide.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Predictors.
    y : array or tensor, (…, samples, units_y)
        Targets.
    cv : int or integer array (samples,)
        At least three folds, as in `regression`.
    test
        As in `regression`.
    score : {"r", "r2"}
        Correlation of predictions and targets, or the share of variance explained.
    average : {"pooled", "units"} or None
        Over all entries of y at once, as the mean over units of y, or a score a unit.
    seed : int
        Seed of the folds.

    Returns
    -------
    array or tensor, (…) or (…, units_y) for `average=None`
        NaN where a target does not vary, or with two folds: one training fold leaves none to choose on.

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
    finish = choose(FINISH, "(score, average)", (score, average))
    return like_input(predictive_score)(x, y, {"cv": cv, "test": test, "seed": seed}, _chosen(GRID), finish)


def chosen_ridge(moments: Moments, training: tuple[int, ...], *, grid: tuple[float, ...]) -> Fitted:
    """Return the weights under the penalty that predicts the training folds best, each from the others."""
    if len(training) < 2:
        shape = moments.cross.product.shape[1:]
        return Fitted(np.full(shape, np.nan), "one training fold leaves none to choose the penalty on; use more folds")
    fractions = np.array(grid)
    inner = [(fold, tuple(f for f in training if f != fold)) for fold in training]
    error = sum(_errors(moments, left_out, rest, fractions) for left_out, rest in inner)
    best = fractions[np.argmin(error, axis=0)]
    spectrum = spectrum_of(moments.x, training)
    shrunk = spectrum.shrinkage(best[None])[0]

    def solved(joint: Array) -> Array:
        vectors = spectrum_of(moments.x, training).vectors
        found: Array = vectors @ (shrunk[..., :, None] * (np.swapaxes(vectors, -1, -2) @ joint))
        return found

    weights = solved(spectrum.rows.joint(moments))

    def adjoint(slope: Array) -> Pull:
        # The fraction that was chosen is held; its penalty grows with the trace of the Gram matrix.
        joint, rise = solved(slope), best / float(spectrum.rows.dimensions)
        return Pull(joint, trace=-float(rise * np.sum(joint * weights)))

    return Fitted(weights, blurred=is_rough(moments), adjoint=adjoint, shrunk=True)


@dataclass(frozen=True)
class Spectrum:
    """The predictors of some training rows: eigenvalues and vectors of X'X, and the unit of its penalties."""

    rows: Training
    values: Array
    vectors: Array
    unit: Array

    @property
    def nbytes(self) -> int:
        """What is held, to speak of."""
        return int(self.vectors.nbytes)

    def shrinkage(self, fractions: Array) -> Array:
        """Return 1/(eigenvalue + penalty) for penalties (penalties, …): (penalties, …, units_x)."""
        sums = self.values + (fractions * self.unit)[..., None]
        return np.where(sums > 0, 1 / np.where(sums > 0, sums, 1.0), 0.0)


def spectrum_of(x: Own, folds: tuple[int, ...]) -> Spectrum:
    """Return the spectrum of the predictors over some folds, kept with their sums."""

    def made() -> Spectrum:
        rows, gram = training_rows(x, folds)
        values, vectors = np.linalg.eigh(gram)
        unit = np.einsum("...ii->...", gram) / rows.dimensions
        return Spectrum(rows, np.maximum(values, 0), vectors, unit)

    return x.keep((spectrum_of, folds), made)


def _errors(moments: Moments, left_out: int, rest: tuple[int, ...], fractions: Array) -> Array:
    """Return the squared error on one fold of weights from others, (penalties, …).

    With weights V D V'X'Y the error is y² − 2 d·b + d'M d, quadratic in the diagonal d of D.
    """
    s = spectrum_of(moments.x, rest)
    x, y, n = moments.x, moments.y, moments.x.samples[left_out]
    u, w = s.rows.mean, over(y.total, rest) / s.rows.samples
    total_x, total_y = x.total[left_out], y.total[left_out]
    # Products of the left-out rows about the means of the others.
    gram = (
        x.square[left_out] - u[..., :, None] * total_x[..., None, :] - (total_x - n * u)[..., :, None] * u[..., None, :]
    )
    joint = (
        moments.cross.product[left_out]
        - u[..., :, None] * total_y[..., None, :]
        - (total_x - n * u)[..., :, None] * w[..., None, :]
    )
    target = (y.diagonal[left_out] - 2 * w * total_y + n * w**2).sum(-1)
    back = np.swapaxes(s.vectors, -1, -2)
    trained = back @ s.rows.joint(moments)
    linear = (trained * (back @ joint)).sum(-1)
    quadratic = (back @ gram @ s.vectors) * (trained @ np.swapaxes(trained, -1, -2))
    d = s.shrinkage(fractions.reshape(-1, *(1,) * s.unit.ndim) * np.ones_like(s.unit))
    fit = np.einsum("...i,...i->...", d, linear)
    return target - 2 * fit + np.einsum("...i,...ij,...j->...", d, quadratic, d)


@cache
def _chosen(grid: tuple[float, ...]) -> Fit:
    return partial(chosen_ridge, grid=grid)


@dataclass(frozen=True)
class RidgeMetric(PredictiveMetric):
    """Held-out ridge regression as a metric, its penalty chosen from `grid` inside the training folds."""

    grid: tuple[float, ...] = GRID
    exact: ClassVar[bool] = True

    @property
    def fit(self) -> Fit:
        """Ridge regression under the penalty that predicts the training folds best."""
        return _chosen(self.grid)


RIDGE_R = RidgeMetric("ridge_r", ("r", "pooled"))
RIDGE_R2 = RidgeMetric("ridge_r2", ("r2", "pooled"))
RIDGE_R_UNITS = RidgeMetric("ridge_r_units", ("r", "units"))
RIDGE_R2_UNITS = RidgeMetric("ridge_r2_units", ("r2", "units"))
