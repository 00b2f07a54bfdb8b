"""Principal component regression whose number of components is chosen by nested cross-validation, from moments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import choose, like_input
from superpose.metrics.about import About
from superpose.metrics.components import CHOSEN, Components, as_components, counts_of, through
from superpose.metrics.prediction import FINISH, Fit, Fitted, Pull, is_rough
from superpose.metrics.regression import PredictiveMetric, described, predictive_score
from superpose.metrics.spectrum import LOST, Spectrum, left_out_errors, spectrum_of, trained
from superpose.metrics.splits import Plan
from superpose.moments import Moments, Own

Array = NDArray[Any]
Folds = tuple[int, ...]


def pcr(
    x: ArrayLike,
    y: ArrayLike,
    *,
    components: int | str = CHOSEN,
    cv: int | ArrayLike | None = 5,
    test: float | ArrayLike | None = None,
    score: str = "r",
    average: str | None = "pooled",
    seed: int = 0,
) -> Any:
    """Predict y by least squares from the leading principal components of x, and score held out.

    The components are those of the training samples. Their number is chosen inside these, as the penalty of `ridge` is:
    from 1 to as many as x has there, the one with the least squared error on left-out training folds, all units of y
    together. Components of equal variance are taken together. Products run in float64.

    Parameters
    ----------
    x, y, cv, test, score, average, seed
        As in `regression`.
    components : int or "chosen"
        How many components; where x has fewer, all of them.

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
    Massy, Principal Components Regression in Exploratory Statistical Research, JASA 60, 1965.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> draw = np.random.default_rng(0)
    >>> z = draw.normal(size=(80, 3))
    >>> x = z @ draw.normal(size=(3, 70)) + 0.3 * draw.normal(size=(80, 70))
    >>> bool(sp.metrics.pcr(x, z) > 0.98)
    True
    """
    finish = choose(FINISH, "(score, average)", (score, average))
    how = {"cv": cv, "test": test, "seed": seed}
    return like_input(predictive_score)(x, y, how, _through(as_components(components)), finish)


def principal_components(moments: Moments, plan: Plan, *, components: Components) -> Iterator[Fitted]:
    """Yield each round's weights through a number of components that is given, or chosen in its training folds."""
    return through(counts_of(components, plan, partial(_errors, moments)), moments, plan, _fitted)


def _errors(moments: Moments, rest: Folds, left_outs: Sequence[int]) -> Iterator[Array]:
    """Yield the squared error on some folds through 1, 2, … components of others, (components, …)."""
    s = spectrum_of(moments.x, rest)
    inverse = _inverse(s)
    for one in left_out_errors(moments, s, trained(moments, s), left_outs):
        linear = np.cumsum((inverse * one.linear)[..., ::-1], axis=-1)
        square = (inverse[..., :, None] * inverse[..., None, :] * one.square)[..., ::-1, ::-1]
        within = np.einsum("...ii->...i", np.cumsum(np.cumsum(square, axis=-1), axis=-2))
        error = one.target[..., None] - 2 * linear + within
        yield np.moveaxis(np.take_along_axis(error, _with_equals(s) - 1, axis=-1), -1, 0)


def _inverse(s: Spectrum) -> Array:
    """Return the inverse eigenvalues, 0 where rows vary by rounding alone."""
    return np.where(s.known, 1 / np.where(s.known, s.values, 1.0), 0.0)


def _with_equals(s: Spectrum) -> NDArray[np.int64]:
    """Return how many components 1, 2, … are with those of equal variance: of these no one comes first."""
    values = s.values[..., ::-1]
    number = np.arange(1, values.shape[-1] + 1)
    apart = values[..., :-1] - values[..., 1:] > LOST * np.finfo(s.vectors.dtype).eps * values[..., :1]
    ends = np.where(np.append(apart, np.ones((*values.shape[:-1], 1), dtype=bool), axis=-1), number, number[-1])
    return np.minimum.accumulate(ends[..., ::-1], axis=-1)[..., ::-1]


def _fitted(moments: Moments, training: Folds, count: int | Array) -> Fitted:
    s = spectrum_of(moments.x, training)
    together = _with_equals(s)
    count = np.take_along_axis(together, np.minimum(np.asarray(count)[..., None], together.shape[-1]) - 1, axis=-1)
    # Eigenvalues ascend.
    leading = np.arange(s.values.shape[-1])[::-1] < count
    shrinkage = np.where(leading, _inverse(s), 0.0)
    joint = s.rows.joint(moments)
    w = s.vectors @ (shrinkage[..., None] * (np.swapaxes(s.vectors, -1, -2) @ joint))
    adjoint = partial(_adjoint, moments.x, training, joint, shrinkage)
    return Fitted(w, blurred=is_rough(moments), adjoint=adjoint, shrunk=True)


def _adjoint(x: Own, training: Folds, joint: Array, shrinkage: Array, slope: Array) -> Pull:
    """Return how training rows move a score with such a slope by the weights, the number of components as given.

    With f(X'X) the inverse on the leading directions i and 0 on the others j, a change of X'X moves f by
    (fᵢ − fⱼ)/(λᵢ − λⱼ) between two directions (Daleckii & Krein 1965): −fᵢ fⱼ between leading ones, and between a
    leading one and another fᵢ/(λᵢ − λⱼ), where those that the training rows do not span have λⱼ = 0.
    """
    s = spectrum_of(x, training)
    leading = shrinkage > 0
    kept, other, inverse = s.vectors[:, leading], s.vectors[:, ~leading], shrinkage[leading]
    gaps = s.values[leading][:, None] - s.values[~leading]
    by_slope, by_joint = kept.T @ slope, kept.T @ joint
    across = by_slope @ (other.T @ joint).T + by_joint @ (other.T @ slope).T
    beyond = slope - s.vectors @ (s.vectors.T @ slope)
    right = other @ (inverse[:, None] / gaps * across).T + beyond @ (by_joint * inverse[:, None] ** 2).T
    return Pull(kept @ (inverse[:, None] * by_slope), rest=(kept, right))


@cache
def _through(components: Components) -> Fit:
    return partial(principal_components, components=components)


@dataclass(frozen=True)
class PrincipalComponentsMetric(PredictiveMetric):
    """Held-out principal component regression as a metric."""

    components: Components = CHOSEN
    exact: ClassVar[bool] = True

    @property
    def fit(self) -> Fit:
        """Least squares through that many leading components."""
        return _through(self.components)

    def settled(self, moments: Moments, plan: Plan) -> Fit:
        """Return the regression through as many components as predict all targets best."""
        counts = counts_of(self.components, plan, partial(_errors, moments))
        return lambda part, plan: through(counts, part, plan, _fitted)


PCR = About(
    "PCR",
    "y and its prediction from principal components of x, as many as predict training samples best",
    "N p (p + q) + 20 p³",
    "Massy 1965",
)
PCR_R = described(PrincipalComponentsMetric("pcr_r", ("r", "pooled")), PCR)
