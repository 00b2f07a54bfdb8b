"""Unit by unit: the best pairing of units of two systems by correlation, one to one, shared out, or each by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import eye_array, kron, vstack

from superpose.metrics.about import About
from superpose.metrics.metric import Family, Influence, MomentMetric, Shares
from superpose.metrics.prediction import varies
from superpose.moments import Moments
from superpose.moments.blocks import inner

Array = NDArray[Any]

# Units are split into equal parts that are assigned one to one up to this many parts; beyond, a linear programme.
PARTS = 4096
# Above the rounding of correlations and below what a score is read to.
PREFERENCE = 1e-12


def matching_hard(x: ArrayLike, y: ArrayLike) -> Any:
    """Mean correlation of the units of two systems under the best one-to-one pairing (Hungarian algorithm).

    Every unit of the narrower system has a partner of its own in the wider one; the sign of a correlation counts, and
    units that do not vary are left out. With few samples the best pairing of unrelated units is well above 0.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Responses of one system.
    y : array or tensor, (…, samples, units_y)
        Responses of the other to the same samples.

    Returns
    -------
    array or tensor, (…)
        In [-1, 1].

    Raises
    ------
    DataError
        For unusable responses.

    References
    ----------
    Li et al., Convergent Learning: Do different neural networks learn the same representations?, ICLR 2016.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> round(float(sp.metrics.matching_hard(x, 3 * x[:, [2, 0, 1]])), 6)
    1.0
    """
    return MATCHING_HARD(x, y)


def matching_soft(x: ArrayLike, y: ArrayLike) -> Any:
    """Soft matching correlation: the best transport of units, all of a system of equal weight, onto the other's.

    The maximum of Σ T_ij r_ij over T ≥ 0 whose rows sum to 1/units_x and columns to 1/units_y, exactly. Where the
    widths are equal this is the best one-to-one pairing; a unit of the narrower system is else shared out among
    several. √(2 − 2 score) is the soft matching distance of units at mean 0 and norm 1. Units that do not vary are
    left out.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Responses of one system.
    y : array or tensor, (…, samples, units_y)
        Responses of the other to the same samples.

    Returns
    -------
    array or tensor, (…)
        In [-1, 1].

    Raises
    ------
    DataError
        For unusable responses.

    References
    ----------
    Khosla & Williams, Soft Matching Distance: A metric on neural representations that captures single-neuron tuning,
    UniReps 2024.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(float(sp.metrics.matching_soft(x, x[:, [0, 0, 1, 1, 2, 2]])), 6)
    1.0
    """
    return MATCHING_SOFT(x, y)


def matching_semi(x: ArrayLike, y: ArrayLike) -> Any:
    """Mean correlation of each unit of y with the unit of x that correlates most with it (semi-matching).

    Partners are chosen one by one: a unit of x may be that of several, or of none. The score is 1 where every unit of y
    has a copy in x, whatever else x holds, and never below that of soft matching. With few samples the best of many
    unrelated units is far above 0: read it beside its null.

    Parameters
    ----------
    x, y
        As in `matching_hard`.

    Returns
    -------
    array or tensor, (…)
        In [-1, 1].

    Raises
    ------
    DataError
        For unusable responses.

    References
    ----------
    Li et al., Convergent Learning: Do different neural networks learn the same representations?, ICLR 2016.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(50, 6))
    >>> y = x[:, [0, 0, 3]]
    >>> round(float(sp.metrics.matching_semi(x, y)), 6), bool(sp.metrics.matching_semi(y, x) < 0.6)
    (1.0, True)
    """
    return MATCHING_SEMI(x, y)


# Correlations, (units_x, units_y) → how much of the score each pair of units makes up, summing to 1.
Matching = Callable[[Array], Array]


@dataclass(frozen=True)
class UnitCorrelations:
    """The correlation of every unit of x with every one of y, (…, units_x, units_y), and which of them vary.

    `scale_x`, `scale_y` take units about their means to norm 1; `found` keeps the matchings that were asked for.
    """

    values: Array
    varies_x: NDArray[np.bool_]
    varies_y: NDArray[np.bool_]
    scale_x: Array
    scale_y: Array
    found: dict[Any, Array] = field(default_factory=dict)

    def matching(self, matched: Matching, index: tuple[int, ...] = ()) -> Array:
        """Return the weight of every pair of units in the best matching, 0 for units that do not vary."""
        if (matched, index) not in self.found:
            able = np.ix_(self.varies_x[index], self.varies_y[index])
            weights = np.zeros(self.values[index].shape)
            weights[able] = matched(self.values[index][able])
            self.found[matched, index] = weights
        return self.found[matched, index]


def unit_correlations(moments: Moments) -> UnitCorrelations:
    """Return the correlations of units from the moments of all folds."""
    whole = moments.merged()
    x, y, n = whole.x, whole.y, whole.x.samples[0]
    product = whole.cross.product[0] - x.total[0][..., :, None] * y.total[0][..., None, :] / n
    variation_x, variation_y = (own.diagonal[0] - own.total[0] ** 2 / n for own in (x, y))
    varies_x = varies(variation_x, x.diagonal[0], x.resolution)
    varies_y = varies(variation_y, y.diagonal[0], y.resolution)
    scale_x, scale_y = (
        1 / np.sqrt(np.where(able, variation, 1.0))
        for able, variation in ((varies_x, variation_x), (varies_y, variation_y))
    )
    values = product * scale_x[..., :, None] * scale_y[..., None, :]
    return UnitCorrelations(values, varies_x, varies_y, scale_x * varies_x, scale_y * varies_y)


def _again(sums: UnitCorrelations, moments: Moments) -> UnitCorrelations:
    return unit_correlations(moments)


def _best(sums: UnitCorrelations, matched: Matching) -> Array:
    score = np.full(sums.values.shape[:-2], np.nan)
    for index in np.ndindex(score.shape):
        if sums.varies_x[index].any() and sums.varies_y[index].any():
            score[index] = (sums.matching(matched, index) * sums.values[index]).sum()
    return score


def matching_shares(
    moments: Moments, sums: UnitCorrelations, *, matched: Matching
) -> Callable[[Array, Array, Array], Shares]:
    """Return what gives each row's share in the score: the best matching stays the best to first order.

    A row of unit-norm units u, v moves their correlation by u v − r (u² + v²)/2.
    """
    weights = sums.matching(matched)
    weighted, samples = weights * sums.values / 2, int(moments.merged().x.samples[0])

    def shares(x: Array, y: Array, folds: Array) -> Shares:
        u, v = x * sums.scale_x.astype(x.dtype), y * sums.scale_y.astype(y.dtype)
        agreement = inner(u @ weights.astype(u.dtype), v)
        spread = np.square(u) @ weighted.sum(axis=1) + np.square(v) @ weighted.sum(axis=0)
        return Shares(samples * (agreement - spread))

    return shares


def assigned(values: Array) -> Array:
    """Return equal weights on one entry of each row and column, as many as the shorter side has, of largest mean."""
    index = linear_sum_assignment(values + _preference(values.shape), maximize=True)
    weights = np.zeros(values.shape)
    weights[index] = 1 / len(index[0])
    return weights


def nearest(values: Array) -> Array:
    """Return equal weights of the columns, all on their largest entry."""
    columns = np.arange(values.shape[1])
    weights = np.zeros(values.shape)
    weights[np.argmax(values + _preference(values.shape), axis=0), columns] = 1 / len(columns)
    return weights


def _preference(shape: tuple[int, ...]) -> Array:
    """Return what decides between matchings that tie: units, and no rounding of their correlations.

    Else the order of the samples would decide which of these matchings the interval takes as given.
    """
    preference: Array = PREFERENCE * np.random.default_rng(0).random(shape)
    return preference


def transported(values: Array) -> Array:
    """Return weights of equal row sums, and of equal column sums, of largest mean."""
    rows, columns = values.shape
    parts = lcm(rows, columns)
    if parts > PARTS:
        return by_programme(values)
    spread = assigned(np.repeat(np.repeat(values, parts // rows, axis=0), parts // columns, axis=1))
    whole: Array = spread.reshape(rows, parts // rows, columns, parts // columns).sum(axis=(1, 3))
    return whole


def by_programme(values: Array) -> Array:
    """Return `transported` by linear programming, for any numbers of rows and columns."""
    rows, columns = values.shape
    sums = vstack([kron(eye_array(rows), np.ones((1, columns))), kron(np.ones((1, rows)), eye_array(columns))])
    wanted = np.concatenate([np.full(rows, 1 / rows), np.full(columns, 1 / columns)])
    solved = linprog(-(values + _preference(values.shape)).ravel(), A_eq=sums.tocsr(), b_eq=wanted, method="highs-ds")
    return np.asarray(solved.x).reshape(values.shape)


MATCHING_HARD = MomentMetric(
    name="matching_hard",
    about=About("one-to-one matching", "units, paired one to one, correlated", "N p q + p³", "Li et al. 2016"),
    directed=False,
    invariances=frozenset({"scale", "permutation", "translation"}),
    minimum_samples=3,
    family=Family(unit_correlations, _again, squares=False),
    score=partial(_best, matched=assigned),
    why=lambda sums: "no unit of a system varies",
    influence=Influence(partial(matching_shares, matched=assigned)),
)
MATCHING_SOFT = replace(
    MATCHING_HARD,
    name="matching_soft",
    about=About(
        "soft matching",
        "units, each spread over several of the other, correlated",
        "N p q + lcm(p, q)³, or a linear programme",
        "Khosla & Williams 2024",
    ),
    score=partial(_best, matched=transported),
    influence=Influence(partial(matching_shares, matched=transported)),
)
MATCHING_SEMI = replace(
    MATCHING_HARD,
    name="matching_semi",
    about=About("semi-matching", "each unit of y and its nearest of x, correlated", "N p q", "Li et al. 2016"),
    directed=True,
    score=partial(_best, matched=nearest),
    influence=Influence(partial(matching_shares, matched=nearest)),
)
