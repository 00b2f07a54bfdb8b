"""Canonical correlation of leading principal components, and weighted by what the correlated directions explain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from superpose.files import DataError
from superpose.metrics.about import About
from superpose.metrics.forms import RowForm
from superpose.metrics.metric import Influence, Shares
from superpose.metrics.shape import (
    CCA,
    correlation_shares,
    mean_correlation,
    spectrum,
    without_room,
)
from superpose.moments import Moments

Array = NDArray[Any]

# Squared correlations so many times the rounding of the products apart are equal.
TIED = 1_000


def svcca(x: ArrayLike, y: ArrayLike, *, variance: float = 0.99) -> Any:
    """Mean canonical correlation of the leading principal components of two systems (SVCCA).

    Each system is first reduced to as few components as hold the share `variance` of its variance, and those of the
    same variance as the last of them, so that directions of little activity do not count. In-sample, as `cca`: read it
    beside a null.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Responses of one system.
    y : array or tensor, (…, samples, units_y)
        Responses of the other to the same samples.
    variance : float
        In (0, 1].

    Returns
    -------
    array or tensor, (…)
        In [0, 1]; NaN where the components of a system span all the samples.

    Raises
    ------
    DataError
        For unusable responses, or a variance outside (0, 1].

    References
    ----------
    Raghu et al., SVCCA, NeurIPS 2017.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x, noise = np.random.default_rng(0).normal(size=(2, 500, 3))
    >>> x *= [3.0, 2.0, 0.1]
    >>> y = np.hstack([x[:, :2], 0.1 * noise[:, :1]])
    >>> round(float(sp.cca(x, y)), 2), round(float(sp.metrics.svcca(x, y)), 2)
    (0.67, 1.0)
    """
    if not isinstance(variance, float | int | np.floating | np.integer) or not 0 < variance <= 1:
        raise DataError(f"variance is {variance!r}; expected the share of the variance to keep, above 0 and up to 1.")
    return replace(SVCCA, score=partial(mean_correlation, variance=float(variance)))(x, y)


def pwcca(x: ArrayLike, y: ArrayLike) -> Any:
    """Canonical correlations of two systems, each weighted by how much of x its direction explains (PWCCA).

    The weight of a canonical variate of x is the sum, over units of x, of the absolute value of its product with the
    unit, so that the score depends on the axes of x, but on no invertible map of y: it is directed. Where correlations
    tie (as where two systems share directions without noise) the variates are not unique: their weight is then its mean
    over all choices of them, and `compare` gives no interval.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Responses of the system whose directions are weighted.
    y : array or tensor, (…, samples, units_y)
        Responses of the other to the same samples.

    Returns
    -------
    array or tensor, (…)
        In [0, 1]; NaN where a system spans all the samples.

    Raises
    ------
    DataError
        For unusable responses.

    References
    ----------
    Morcos, Raghu & Bengio, Insights on representational similarity in neural networks with canonical correlation,
    NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x, noise = np.random.default_rng(0).normal(size=(2, 500, 2))
    >>> x[:, 1] *= 0.1
    >>> y = np.column_stack([x[:, 0] + noise[:, 0], noise[:, 1]])
    >>> bool(sp.metrics.pwcca(x, y) > sp.cca(x, y))
    True
    """
    return PWCCA(x, y)


def _projection_weighted(m: Moments) -> Array:
    repeats = m.cross.product.shape[1:-2]
    x, y = (
        replace(own, square=np.broadcast_to(own.square, (1, *repeats, *own.square.shape[-2:]))) for own in (m.x, m.y)
    )
    score, ranks = np.full(repeats, np.nan), np.zeros((2, *repeats), dtype=int)
    for index in np.ndindex(repeats):
        (root_x, basis_x), (root_y, basis_y) = (spectrum(own, index) for own in (x, y))
        ranks[:, *index] = len(root_x), len(root_y)
        if ranks[:, *index].min() == 0:
            continue
        left, values, _ = np.linalg.svd((basis_x / root_x).T @ m.cross.product[0][index] @ (basis_y / root_y))
        values = np.clip(values, 0, 1)
        # One variate a row: their products with the units. Where some explain nothing of y, any of these would do.
        products = ((basis_x * root_x) @ left).T
        among = np.concatenate([values, np.zeros(len(products) - len(values))])
        weights = explained(among, products, TIED * m.x.resolution)[: len(values)]
        score[index] = weights @ values / weights.sum()
    return without_room(score, (ranks[0], ranks[1]), m)


def explained(values: Array, products: Array, rounding: float) -> Array:
    """Return how much of the units descending correlations explain: Σ_j |h_i'x_j| of their variates h, (variates,).

    Of g variates whose squared correlations tie any orthonormal basis would do: each gets the mean over all of them,
    Σ_j ‖H'x_j‖ Γ(g/2) / (√π Γ((g + 1)/2)), which for one is |h'x_j|.

    Parameters
    ----------
    values : ndarray, (variates,)
    products : ndarray, (variates, units)
        h_i'x_j.
    rounding : float
        Squared correlations no further apart tie.
    """
    starts = np.flatnonzero(np.append(True, -np.diff(values**2) > rounding))
    sizes = np.diff(np.append(starts, len(values)))
    lengths = np.sqrt(np.add.reduceat(products**2, starts, axis=0)).sum(axis=-1)
    share = np.exp(gammaln(sizes / 2) - gammaln((sizes + 1) / 2)) / np.sqrt(np.pi)
    return np.repeat(share * lengths, sizes)


def turning(one: Array, other: Array, samples: int) -> Array:
    """Return the variance over Gaussian samples of what turns one variate to another, of these squared correlations.

    Divided by the squared gap between them it is that of a canonical weight (Anderson, Asymptotic theory for canonical
    correlation analysis, Journal of Multivariate Analysis 70, 1999).
    """
    variance: Array = (1 - one) * (one + other - 2 * one * other) / samples
    return variance


def weighted_shares(moments: Moments, sums: Moments) -> Callable[[Array, Array, Array], Shares]:
    """Return what gives each row's share in the weighted mean, as it turns the variates and with them the weights.

    In canonical coordinates u, v a row moves ρ_i by u_i v_i − ρ_i (u_i² + v_i²)/2, and with z = ρ v turns variate i
    of x towards variate j by (u_j z_i + u_i z_j − z_i z_j − ρ_i² u_i u_j)/(ρ_i² − ρ_j²). Over Gaussian samples that
    numerator has the variance s² of `turning`. Variates that samples turn by radians do not turn in proportion, so that
    the gap g = ρ_i² − ρ_j² counts as g + s²/g. Where g and s are both rounding (directions that are shared without
    noise), or a correlation is, the variates are not unique: NaN.
    """
    (root, basis), (root_y, basis_y) = (spectrum(own) for own in (sums.x, sums.y))
    white_x, white_y = basis / root, basis_y / root_y
    left, rho, right = np.linalg.svd(white_x.T @ sums.cross.product[0] @ white_y)
    rho = np.clip(rho, 0, 1)
    rank = len(rho)
    # Products of the variates, one a column, with the units; and how they add up to the weights as variates turn.
    explained = (basis * root) @ left
    turned = np.sign(explained[:, :rank]).T @ explained
    weights = turned.diagonal()
    beyond = rho - (weights * rho).sum() / weights.sum()
    padded = np.concatenate([rho, np.zeros(len(left) - rank)])
    squares = rho[:, None] ** 2, padded**2
    gaps = squares[0] - squares[1]
    np.fill_diagonal(gaps, np.inf)
    reach = gaps**2 + turning(*squares, int(sums.x.samples[0]))
    rounding = TIED * sums.x.resolution
    # A correlation of 0 can only grow, in whichever direction of several the next sample has.
    if reach.min(initial=np.inf) <= rounding**2 or rho.min(initial=1) ** 2 <= rounding:
        return lambda x, y, folds: Shares(np.full(len(x), np.nan))
    np.fill_diagonal(gaps, 0.0)
    towards = beyond[:, None] * turned * gaps / reach
    xx = np.zeros((len(left), len(left)))
    xx[:rank] = beyond[:, None] * turned - rho[:, None] ** 2 * towards
    xx[np.diag_indices(rank)] -= weights * (beyond + rho) / 2
    xy = towards.T * rho
    xy[:rank] += towards[:, :rank] * rho + np.diag(weights)
    yy = -rho[:, None] * towards[:, :rank] * rho - np.diag(weights * rho / 2)
    xx, yy, xy = (part / weights.sum() for part in (xx, yy, xy))
    return RowForm(white_x @ left, white_y @ right[:rank].T, xx=xx, yy=yy, xy=xy).shares(sums)


SVCCA = replace(
    CCA,
    name="svcca",
    about=About("SVCCA", "CCA of the components that hold 99 % of the variance", "N p q + p³", "Raghu et al. 2017"),
    invariances=CCA.invariances - {"linear"},
    score=partial(mean_correlation, variance=0.99),
    influence=Influence(partial(correlation_shares, variance=0.99)),
)
PWCCA = replace(
    CCA,
    name="pwcca",
    about=About("PWCCA", "CCA, weighted by how much of x each direction explains", "N p q + p³", "Morcos et al. 2018"),
    directed=True,
    invariances=frozenset({"scale", "permutation", "translation"}),
    score=_projection_weighted,
    influence=Influence(weighted_shares),
    no_interval="no interval: canonical correlations tie, so that the weights are not unique",
)
