"""Held-out linear regression from one system to another, from moments alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from superpose.arrays import choose, like_input
from superpose.files import DataError
from superpose.messages.deprecation import renamed
from superpose.metrics.about import About
from superpose.metrics.held_out import regression_rows
from superpose.metrics.metric import Family, Influence, InParts, MomentMetric, paired
from superpose.metrics.prediction import (
    FINISH,
    Fit,
    Fitted,
    Pull,
    RegressionSums,
    Training,
    counted_units,
    fitted_sums,
    groups_needed,
    is_rough,
    training_rows,
    why_not,
)
from superpose.metrics.solving import Cholesky, LeastNorm, factored
from superpose.metrics.splits import Plan, split_of
from superpose.moments import Array, Moments, Own, of_pair
from superpose.moments.wide import turned

Penalty = Callable[[int, Array], Array]


@renamed(folds="cv")
def regression(
    x: ArrayLike,
    y: ArrayLike,
    *,
    cv: int | ArrayLike | None = 5,
    test: float | ArrayLike | None = None,
    ridge: float = 0.0,
    score: str = "r",
    average: str | None = "pooled",
    seed: int = 0,
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
    cv : int, integer array (samples,) or None
        An integer draws that many folds at random, as `superpose.compare` does; an array is the fold of each sample
        (`superpose.arrays.group_folds` keeps groups whole); None fits and scores in-sample.
    test : boolean array, (samples,), or float, optional
        One fixed split instead: fitted where False, scored where True; or the share of samples that is scored.
    ridge : float
        Penalty on the squared weights, scikit-learn's `alpha`. Without one there is no score (NaN) where the
        training samples are not more than the predictors.
    score : {"r", "r2"}
        Correlation of predictions and targets, or the share of variance explained (residuals as they are,
        targets' variance about the held-out mean).
    average : {"pooled", "units"} or None
        Over all entries of y at once, as the mean over units of y, or one score per unit.
    seed : int
        Seed of the folds.

    Returns
    -------
    array or tensor, (…) or (…, units_y) for `average=None`
        NaN where the weights are not determined, or a target does not vary.

    Raises
    ------
    DataError
        For unusable responses, a negative penalty, or folds that do not fit the samples.

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
    fit = partial(least_squares, penalty=fixed_ridge(ridge))
    return like_input(predictive_score)(x, y, {"cv": cv, "test": test, "seed": seed}, fit, finish)


def predictive_score(x: ArrayLike, y: ArrayLike, how: Mapping[str, Any], fit: Fit, finish: Any) -> Array:
    """Return the score of y from x, split as `superpose.metrics.splits.split_of` says."""
    first, second = paired(x, y, 2)
    split = split_of(first.shape[-2], **how)
    sums = fitted_sums(of_pair(turned(first), second, split.folds, targets=("y",)), plan=split.plan, fit=fit)
    if sums.blurred:
        first, second = turned(first, np.float64).astype(np.float64), second.astype(np.float64)
        sums = fitted_sums(of_pair(first, second, split.folds, targets=("y",)), plan=split.plan, fit=fit)
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


def regression_sums(moments: Moments, *, plan: Plan, penalty: Penalty) -> RegressionSums:
    """Fit by least squares on the training folds' moments and evaluate on the held-out fold's, for every round."""
    return fitted_sums(moments, plan=plan, fit=partial(least_squares, penalty=penalty))


def least_squares(moments: Moments, plan: Plan, *, penalty: Penalty) -> Iterator[Fitted]:
    """Yield each round's weights of (ridge) least squares with an intercept."""
    for _, training in plan.rounds:
        yield fitted_weights(moments, training, penalty)


def fitted_weights(moments: Moments, training: tuple[int, ...], penalty: Penalty) -> Fitted:
    """Return the weights of (ridge) least squares with an intercept, fitted on some folds."""
    equations = normal_equations(moments.x, training, penalty)
    if equations.gram is None:
        return Fitted(
            np.full(moments.cross.product.shape[1:], np.nan),
            f"{equations.rows.samples} training samples are not more than the predictors: no unique least-squares fit; "
            "use a ridge",
        )
    w, complete = equations.solve(equations.rows.joint(moments))

    def adjoint(slope: Array) -> Pull:
        # Kept where there is room; a factor of every round and direction is not held for what may never ask for it.
        again = normal_equations(moments.x, training, penalty)
        joint = again.solve(slope)[0]
        return Pull(joint, trace=-float(again.rise * np.sum(joint * w)))

    return Fitted(w, blurred=not complete and is_rough(moments), adjoint=adjoint)


@dataclass(frozen=True)
class NormalEquations:
    """What least squares solves for any targets: training rows, and their Gram matrix plus the penalty, factored.

    Without a factor where too few rows and no penalty leave no one solution. The penalty grows by `rise` times what the
    trace of the Gram matrix does.
    """

    rows: Training
    rise: float | Array
    gram: Cholesky | LeastNorm | None

    @property
    def nbytes(self) -> int:
        """What is held, to speak of."""
        return 0 if self.gram is None else self.gram.nbytes

    def solve(self, joint: Array) -> tuple[Array, bool]:
        """Return the weights, and whether rounding leaves them known well enough."""
        assert self.gram is not None
        return self.gram.solve(joint)


def normal_equations(x: Own, training: tuple[int, ...], penalty: Penalty) -> NormalEquations:
    """Return what the predictors bring to a fit on some folds, kept with their sums."""

    def made() -> NormalEquations:
        rows, gram = training_rows(x, training)
        variance = np.einsum("...ii->...i", gram) / rows.samples
        alpha = penalty(rows.samples, variance)
        # Penalties are a constant, plus a multiple of the total variance.
        total = variance.sum(-1) * rows.samples
        rise = (alpha - penalty(rows.samples, 0 * variance)) / np.where(total > 0, total, 1.0)
        if rows.samples <= gram.shape[-1] and not (alpha > 0).all():
            return NormalEquations(rows, rise, None)
        np.einsum("...ii->...i", gram)[...] += alpha[..., None]
        return NormalEquations(rows, rise, factored(gram, x.precision))

    return x.keep((normal_equations, training, penalty), made)


UNPENALISED = fixed_ridge(0.0)


@dataclass(frozen=True)
class PredictiveMetric:
    """Held-out prediction as a metric: `planned` turns it into moments' terms for the folds of one comparison."""

    name: str
    kind: tuple[str, str]
    about: About | None = field(default=None, compare=False, kw_only=True)
    directed: ClassVar[bool] = True
    exact: ClassVar[bool] = False
    # Whether the weights of some targets follow from them, once what `settled` chooses is chosen.
    settles: ClassVar[bool] = True
    minimum_samples: ClassVar[int] = 4

    @property
    def fit(self) -> Fit:
        """How weights come from training folds; equal metrics return the same function, so that they share fits."""
        raise NotImplementedError

    def permuted(self, plan: Plan) -> Callable[[Any, Moments], RegressionSums]:
        """Return what gives the sums of permuted rows: equal metrics give the same function."""
        return _planned_permuted(plan, self.fit)

    def settled(self, moments: Moments, plan: Plan) -> Fit:
        """Return the fit of any part of the targets, with what is chosen for all of them."""
        return self.fit

    def inner_fits(self, plan: Plan) -> tuple[int, int]:
        """Return how many fits choose what the fits of a plan take, and on how many folds they are tried."""
        return 0, 0

    @property
    def invariances(self) -> frozenset[str]:
        """Those of the predictors that hold for the targets too: pooled scores do not see a rotation of y's units."""
        rotations = {"rotation"} if self.kind[1] == "pooled" else set()
        return frozenset({"scale", "permutation", "translation"} | rotations)

    def __call__(self, x: ArrayLike, y: ArrayLike) -> Any:
        """Score y from x over the five folds that `superpose.compare` draws."""
        return like_input(predictive_score)(x, y, {}, self.fit, FINISH[self.kind])

    def planned(self, plan: Plan) -> MomentMetric:
        """Return the metric for the folds of `plan`; equal plans and fits share their sums."""
        return MomentMetric(
            name=self.name,
            directed=True,
            invariances=self.invariances,
            minimum_samples=self.minimum_samples,
            family=Family(_planned_sums(plan, self.fit), self.permuted(plan), split=True, exact=self.exact),
            score=FINISH[self.kind],
            why=why_not,
            influence=Influence(
                _planned_rows(plan, self.fit, self.kind), fewest_groups=groups_needed if plan.in_turn else None
            ),
            bounds=BOUNDS[self.kind[0]],
            in_parts=self._in_parts(plan) if self.kind[1] == "units" else None,
        )

    def _in_parts(self, plan: Plan) -> InParts:
        return InParts(counted_units, partial(self._settled_sums, plan) if self.settles else None)

    def _settled_sums(self, plan: Plan, moments: Moments) -> Callable[[Moments], RegressionSums]:
        return partial(fitted_sums, plan=plan, fit=self.settled(moments, plan))


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
def _planned_permuted(plan: Plan, fit: Fit) -> Callable[[Any, Moments], RegressionSums]:
    return lambda sums, moments: fitted_sums(moments, plan=plan, fit=fit)


@cache
def _planned_rows(plan: Plan, fit: Fit, kind: tuple[str, str]) -> Callable[..., Any]:
    # Of one fit each: rows move the sums that it made.
    return lambda moments, sums: regression_rows(moments, sums, plan=plan, kind=kind)


BOUNDS = {"r": (-1.0, 1.0), "r2": (-np.inf, 1.0)}

TITLES = {
    ("r", "pooled"): "held-out $r$",
    ("r", "units"): "held-out $r$, unit mean",
    ("r2", "pooled"): "held-out $R^2$",
    ("r2", "units"): "held-out $R^2$, unit mean",
}
Predictive = TypeVar("Predictive", bound=PredictiveMetric)


def described(metric: Predictive, about: About) -> Predictive:
    """Return a metric with the words for its kind of prediction, under the title of its kind of score."""
    title = ", ".join(filter(None, (about.title, TITLES[metric.kind])))
    return replace(metric, about=replace(about, title=title))


OLS = About("OLS", "y and its prediction from x by least squares", "N p (p + q) + p³", "Theorem 3.3")
OLS_R = described(RegressionMetric("ols_r", ("r", "pooled")), OLS)
OLS_R2 = described(RegressionMetric("ols_r2", ("r2", "pooled")), OLS)
OLS_R_UNITS = described(RegressionMetric("ols_r_units", ("r", "units")), OLS)
OLS_R2_UNITS = described(RegressionMetric("ols_r2_units", ("r2", "units")), OLS)
