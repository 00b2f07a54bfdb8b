"""Partial least squares regression from moments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import choose, like_input
from superpose.messages.deprecation import renamed
from superpose.metrics.about import About
from superpose.metrics.components import CHOSEN, Components, as_components, counts_of, through
from superpose.metrics.prediction import (
    FINISH,
    Fit,
    Fitted,
    Pull,
    about_training,
    is_rough,
    training_rows,
)
from superpose.metrics.regression import PredictiveMetric, described, predictive_score
from superpose.metrics.splits import Plan
from superpose.moments import Moments

Array = NDArray[Any]

# Below this share of the first product, what is left of the targets' is rounding.
EXHAUSTED = 1e-12
# Groups a component: of three to six, standard errors were 1.2 to 1.4 times the spread over data sets.
GROUPS = 10
# Components among which a number is chosen.
MOST = 30


@renamed(folds="cv")
def pls(
    x: ArrayLike,
    y: ArrayLike,
    *,
    components: int | str = 10,
    cv: int | ArrayLike | None = 5,
    test: float | ArrayLike | None = None,
    score: str = "r",
    average: str | None = "pooled",
    seed: int = 0,
) -> Any:
    """Predict y from x through a few directions of x that covary most with y, and score held out (PLS2 regression).

    The predictions of scikit-learn's `PLSRegression(components, scale=False)`, from second moments. Where the
    components that x can give are fewer, all are taken: least squares then. A number that is chosen is the one from 1
    to 30 with the least squared error on left-out training folds, all units of y together. Products run in float64.

    Parameters
    ----------
    x, y, cv, test, score, average, seed
        As in `regression`.
    components : int or "chosen"
        How many directions.

    Returns
    -------
    array or tensor, (…) or (…, units_y) for `average=None`
        NaN where a target does not vary, or where one training fold leaves none to choose on.

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
    how = {"cv": cv, "test": test, "seed": seed}
    return like_input(predictive_score)(x, y, how, _through(as_components(components)), finish)


def partial_least_squares(moments: Moments, plan: Plan, *, components: Components) -> Iterator[Fitted]:
    """Yield each round's weights through a number of components that is given, or chosen in its training folds."""
    return through(counts_of(components, plan, partial(_errors, moments)), moments, plan, _fitted)


def _errors(moments: Moments, rest: tuple[int, ...], left_outs: Sequence[int]) -> Iterator[Array]:
    """Yield the squared error on some folds through 1, 2, … components of others, (components, …), less y²."""
    rows, gram = training_rows(moments.x, rest)
    joint = rows.joint(moments)
    repeats = gram.shape[:-2]
    fits = {index: _steps(gram[index], joint[index], MOST) for index in np.ndindex(repeats)}
    for left_out in left_outs:
        square, product = about_training(moments, rows, left_out)
        errors = np.zeros((MOST, *repeats))
        for index, steps in fits.items():
            directions = np.column_stack([step.direction for step in steps])
            targets = np.column_stack([step.target for step in steps])
            linear = np.einsum("ij,ij->j", directions, product[index] @ targets)
            within = (directions.T @ square[index] @ directions) * (targets.T @ targets)
            found = np.cumsum(np.cumsum(within, axis=0), axis=1).diagonal() - 2 * np.cumsum(linear)
            # Where x has no more components, all are taken.
            errors[:, *index] = found[np.minimum(np.arange(MOST), len(found) - 1)]
        yield errors


def _fitted(moments: Moments, training: tuple[int, ...], components: int | Array) -> Fitted:
    rows, gram = training_rows(moments.x, training)
    joint = rows.joint(moments)
    weights = np.zeros_like(joint)
    counts = np.broadcast_to(components, gram.shape[:-2])
    for index in np.ndindex(weights.shape[:-2]):
        weights[index] = sum(step.weights for step in _steps(gram[index], joint[index], int(counts[index])))

    def adjoint(slope: Array) -> Pull:
        # Taken again: they are few products, and would be held for what may never ask for them.
        rows, gram = training_rows(moments.x, training)
        joint = rows.joint(moments)
        return _adjoint(gram, _steps(gram, joint, int(counts)), slope)

    # As many groups that each is no large part of what turns a direction.
    return Fitted(weights, blurred=is_rough(moments), adjoint=adjoint, fewest_groups=GROUPS * int(counts.max()))


@dataclass(frozen=True)
class Step:
    """One component: what was `left` of X'Y, the direction taken of it, X'X times that, and its variance.

    `turned` are the direction's first forms, before each of the earlier directions is taken out.
    """

    left: Array
    turned: list[Array]
    direction: Array
    response: Array
    variance: float

    @property
    def loading(self) -> Array:
        """Of the predictors on the component."""
        return self.response / self.variance

    @property
    def target(self) -> Array:
        """Of the targets on the component."""
        loading: Array = (self.direction @ self.left) / self.variance
        return loading

    @property
    def weights(self) -> Array:
        """What the component adds to the weights."""
        return np.outer(self.direction, self.target)


def _steps(gram: Array, joint: Array, components: int) -> list[Step]:
    """Deflate X'Y alone, component by component: the modified kernel algorithm of Dayal & MacGregor."""
    steps: list[Step] = []
    left, first = joint, np.linalg.norm(joint)
    for _ in range(min(components, len(gram))):
        if np.linalg.norm(left) <= EXHAUSTED * first:
            break
        direction, turned = _leading(left), []
        for earlier in steps:
            turned.append(direction)
            direction = direction - (earlier.loading @ direction) * earlier.direction
        response = gram @ direction
        variance = direction @ response
        if variance <= EXHAUSTED * np.trace(gram) * (direction @ direction):
            break
        steps.append(Step(left, turned, direction, response, variance))
        left = left - np.outer(response, steps[-1].target)
    return steps


def _adjoint(gram: Array, steps: list[Step], slope: Array) -> Pull:
    """Return how training rows move a score with such a slope by the weights: the steps, backwards.

    `by_…` is the score's derivative by what a step computed, from all steps after it.
    """
    by_left = np.zeros_like(slope)
    by_responses, by_directions, by_loadings = np.zeros((3, len(steps), len(gram)))
    for number, step in reversed(list(enumerate(steps))):
        d, s, v, t = step.direction, step.response, step.variance, step.target
        by_target = slope.T @ d - by_left.T @ s
        by_loading = by_loadings[number]
        by_variance = -(t @ by_target + step.loading @ by_loading) / v
        by_response = by_loading / v - by_left @ t + by_variance * d
        by_direction = by_directions[number] + slope @ t + step.left @ by_target / v + by_variance * s
        by_direction = by_direction + gram @ by_response
        by_responses[number] = by_response
        by_left = by_left + np.outer(d, by_target) / v
        for other, turned in reversed(list(enumerate(step.turned))):
            earlier = steps[other]
            size, by_size = earlier.loading @ turned, -(earlier.direction @ by_direction)
            by_directions[other] -= size * by_direction
            by_loadings[other] += by_size * turned
            by_direction = by_direction + by_size * earlier.loading
        by_left = by_left + _by_matrix(step.left, step.turned[0] if step.turned else d, by_direction)
    # By X'X it is Σ by_response d'; W = Σ d t'.
    targets = np.column_stack([step.target for step in steps])
    directions = np.column_stack([step.direction for step in steps])
    return Pull(by_left, rest=(by_responses.T + by_left @ targets, directions))


def _by_matrix(matrix: Array, leading: Array, by_leading: Array) -> Array:
    """Return the derivative by a matrix L of a score with such a derivative by its leading vector of rows, u.

    u moves by (λ₁ − LL')⁺(dL L' + L dL')u, on what is orthogonal to u.
    """
    across = by_leading - (leading @ by_leading) * leading
    if matrix.shape[0] <= matrix.shape[1]:
        values, vectors = np.linalg.eigh(matrix @ matrix.T)
        move = vectors[:, :-1] @ ((vectors[:, :-1].T @ across) / (values[-1] - values[:-1]))
    else:
        # (λ₁ − LL')⁻¹ = (1 + L (λ₁ − L'L)⁻¹ L')/λ₁, without the leading vector.
        values, vectors = np.linalg.eigh(matrix.T @ matrix)
        inside = vectors[:, :-1] @ ((vectors[:, :-1].T @ (matrix.T @ across)) / (values[-1] - values[:-1]))
        move = (across + matrix @ inside) / values[-1]
    return np.outer(move, leading @ matrix) + np.outer(leading, move @ matrix)


def _leading(matrix: Array) -> Array:
    """Return the unit vector of rows along which a matrix is largest."""
    if matrix.shape[0] <= matrix.shape[1]:
        return np.linalg.eigh(matrix @ matrix.T)[1][:, -1]
    direction = matrix @ np.linalg.eigh(matrix.T @ matrix)[1][:, -1]
    return direction / np.linalg.norm(direction)


@cache
def _through(components: Components) -> Fit:
    return partial(partial_least_squares, components=components)


@dataclass(frozen=True)
class PartialLeastSquaresMetric(PredictiveMetric):
    """Held-out partial least squares as a metric."""

    components: Components = 10
    exact: ClassVar[bool] = True
    settles: ClassVar[bool] = False

    @property
    def fit(self) -> Fit:
        """Least squares through that many components."""
        return _through(self.components)


COST = "N p (p + q) + components · p q min(p, q)"
PLS = About("PLS", "y and its prediction from x by partial least squares, 10 components", COST, "Wold et al. 2001")
PLS_CHOSEN = replace(
    PLS,
    title="PLS with a chosen number",
    compares="y and its prediction from x by partial least squares, as many components as are best in training",
)
PLS_R = described(PartialLeastSquaresMetric("pls_r", ("r", "pooled")), PLS)
PLS_CHOSEN_R = described(PartialLeastSquaresMetric("pls_chosen_r", ("r", "pooled"), CHOSEN), PLS_CHOSEN)
