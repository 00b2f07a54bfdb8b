"""Partial least squares regression from moments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import choose, like_input
from superpose.files import DataError
from superpose.metrics.prediction import FINISH, Fit, Fitted, is_rough, training_rows
from superpose.metrics.regression import PredictiveMetric, predictive_score
from superpose.moments import Moments

Array = NDArray[Any]

# Below this share of the first product, what is left of the targets' is rounding.
EXHAUSTED = 1e-12


def pls(
    x: ArrayLike,
    y: ArrayLike,
    *,
    components: int = 10,
    folds: int | ArrayLike | None = 5,
    test: ArrayLike | None = None,
    score: str = "r",
    average: str | None = "pooled",
) -> Any:
    """Predict y from x through a few directions of x that covary most with y, and score held out (PLS2 regression).

    The predictions of scikit-learn's `PLSRegression(components, scale=False)`, from second moments. Where the
    components that x can give are fewer, all are taken: least squares then. Products run in float64.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Predictors.
    y : array or tensor, (…, samples, units_y)
        Targets.
    components : int
        How many directions.
    folds, test
        As in `regression`.
    score : {"r", "r2"}
        Correlation of predictions and targets, or the share of variance explained.
    average : {"pooled", "units"} or None
        Over all entries of y at once, as the mean over units of y, or a score a unit.

    Returns
    -------
    array or tensor, (…) or (…, units_y) for `average=None`
        NaN where a target does not vary.

    Raises
    ------
    DataError
        For unusable responses, components that are no positive integer, or folds that do not fit the samples.

    References
    ----------
    Wold, Sjöström & Eriksson, PLS-regression, Chemom. Intell. Lab. Syst. 58, 2001.
    Dayal & MacGregor, Improved PLS algorithms, J. Chemom. 11, 1997.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(60, 200)) * np.linspace(3, 0, 200)
    >>> y = x[:, :3] @ [[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    >>> bool(0.4 < sp.metrics.pls(x, y, components=3) < 1)
    True
    """
    finish = choose(FINISH, "(score, average)", (score, average))
    if isinstance(components, bool) or not isinstance(components, int | np.integer) or components < 1:
        raise DataError(f"components is {components!r}; expected an integer of at least 1.")
    return like_input(predictive_score)(x, y, folds, test, _through(int(components)), finish)


def partial_least_squares(moments: Moments, training: tuple[int, ...], *, components: int) -> Fitted:
    """Return the weights through the given number of components."""
    rows, gram = training_rows(moments.x, training)
    joint = rows.joint(moments)
    weights = np.zeros_like(joint)
    for index in np.ndindex(weights.shape[:-2]):
        weights[index] = _weights(gram[index], joint[index], components)
    return Fitted(weights, blurred=is_rough(moments))


def _weights(gram: Array, joint: Array, components: int) -> Array:
    """Deflate X'Y alone, component by component: the modified kernel algorithm of Dayal & MacGregor."""
    directions: list[Array] = []
    loadings: list[Array] = []
    weights = np.zeros_like(joint)
    left, first = joint, np.linalg.norm(joint)
    for _ in range(min(components, len(gram))):
        if np.linalg.norm(left) <= EXHAUSTED * first:
            break
        direction = _leading(left)
        for earlier, loading in zip(directions, loadings, strict=True):
            direction = direction - (loading @ direction) * earlier
        response = gram @ direction
        variance = direction @ response
        if variance <= EXHAUSTED * np.trace(gram) * (direction @ direction):
            break
        loading, target = response / variance, (direction @ left) / variance
        left = left - variance * np.outer(loading, target)
        weights = weights + np.outer(direction, target)
        directions.append(direction)
        loadings.append(loading)
    return weights


def _leading(matrix: Array) -> Array:
    """Return the unit vector of rows along which a matrix is largest."""
    if matrix.shape[0] <= matrix.shape[1]:
        return np.linalg.eigh(matrix @ matrix.T)[1][:, -1]
    direction = matrix @ np.linalg.eigh(matrix.T @ matrix)[1][:, -1]
    return direction / np.linalg.norm(direction)


@cache
def _through(components: int) -> Fit:
    return partial(partial_least_squares, components=components)


@dataclass(frozen=True)
class PartialLeastSquaresMetric(PredictiveMetric):
    """Held-out partial least squares as a metric."""

    components: int = 10

    @property
    def fit(self) -> Fit:
        """Least squares through that many components."""
        return _through(self.components)


PLS_R = PartialLeastSquaresMetric("pls_r", ("r", "pooled"))
