"""Canonical correlation of leading principal components, and weighted by what the correlated directions explain."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.files import DataError
from superpose.metrics.shape import CCA, canonical_pairs, correlation_shares, mean_correlation, without_room
from superpose.moments import Moments

Array = NDArray[Any]


def svcca(x: ArrayLike, y: ArrayLike, *, variance: float = 0.99) -> Any:
    """Mean canonical correlation of the leading principal components of two systems (SVCCA).

    Each system is first reduced to as few components as hold the share `variance` of its variance, so that directions
    of little activity do not count. In-sample, as `cca`: read it beside a null.

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
    tie (as where two systems share directions without noise) the variates, and with them the weights, are not unique.

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
    values, variates, ranks = canonical_pairs(m)
    # Variates H = X · variates are orthonormal, so that H'X holds their products with the units.
    explained = np.abs(np.swapaxes(variates, -1, -2) @ m.x.square[0]).sum(-1)
    weights = np.where(np.arange(values.shape[-1]) < np.minimum(*ranks)[..., None], explained, 0.0)
    return without_room((weights * values).sum(-1) / weights.sum(-1), ranks, m)


SVCCA = replace(
    CCA,
    name="svcca",
    invariances=CCA.invariances - {"linear"},
    score=partial(mean_correlation, variance=0.99),
    row_sums=partial(correlation_shares, variance=0.99),
)
PWCCA = replace(
    CCA,
    name="pwcca",
    directed=True,
    invariances=frozenset({"scale", "permutation", "translation"}),
    score=_projection_weighted,
    row_sums=None,
    influence=None,
)
