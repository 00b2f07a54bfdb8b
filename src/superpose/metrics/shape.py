"""Canonical correlation and the angular Procrustes distance: singular values of crossed moments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.metrics.metric import MomentMetric
from superpose.moments import Moments

Array = NDArray[Any]


def cca(x: ArrayLike, y: ArrayLike) -> Any:
    """Mean canonical correlation of two systems, over as many pairs as the narrower system has dimensions.

    Invariant to any invertible map of either system's units, and in-sample: with units close to samples it is
    near 1 for unrelated data, so read it beside a null. Where a system has as many dimensions as the centred samples
    (units ≥ samples − 1) it would be 1 whatever the data: there is no score.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Responses of one system.
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
    Hotelling, Relations between two sets of variates, Biometrika 28, 1936.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> round(float(sp.cca(x, x @ [[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [1.0, 0.0, 1.0]])), 6)
    1.0
    """
    return CCA(x, y)


def procrustes(x: ArrayLike, y: ArrayLike) -> Any:
    """Angular Procrustes distance: the angle left between two systems after the best rotation and scaling.

    The narrower system is padded with units that are zero. 0 is equal shape; π/2 is no relation.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Responses of one system.
    y : array or tensor, (…, samples, units_y)
        Responses of the other to the same samples.

    Returns
    -------
    array or tensor, (…)
        In radians, [0, π/2].

    Raises
    ------
    DataError
        For unusable responses.

    References
    ----------
    Williams et al., Generalized Shape Metrics on Neural Representations, NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> bool(sp.procrustes(x, -2 * x[:, ::-1]) < 1e-6)
    True
    """
    return PROCRUSTES(x, y)


def _centred(moments: Moments) -> Moments:
    return moments.centred()


def _again(sums: Moments, moments: Moments) -> Moments:
    return replace(sums, cross=moments.merged().cross)


def _mean_correlation(m: Moments) -> Array:
    half_x, half_y = (_inverse_root(own.square[0], own.resolution) for own in (m.x, m.y))
    values = np.linalg.svd(half_x @ m.cross.product[0] @ half_y, compute_uv=False)
    ranks = [np.linalg.matrix_rank(h, hermitian=True) for h in (half_x, half_y)]
    mean = np.clip(values, 0, 1).sum(-1) / np.maximum(np.minimum(*ranks), 1)
    # A system that spans all that centred samples can span contains every other.
    return np.where(np.maximum(*ranks) < m.x.samples[0] - 1, mean, np.nan)


def _inverse_root(square: Array, resolution: float) -> Array:
    values, vectors = np.linalg.eigh(square)
    # Rounding of the products leaves about `resolution` of the largest eigenvalue where there should be none.
    kept = values > 16 * resolution * values[..., -1:]
    root = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
    return (vectors * root[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def _angle(m: Moments) -> Array:
    nuclear = np.linalg.svd(m.cross.product[0], compute_uv=False).sum(-1)
    return np.arccos(np.clip(nuclear / np.sqrt(m.x.norm[0] * m.y.norm[0]), -1, 1))


CCA = MomentMetric(
    name="cca",
    directed=False,
    invariances=frozenset({"rotation", "scale", "permutation", "translation", "linear"}),
    minimum_samples=3,
    sums=_centred,
    score=_mean_correlation,
    why=lambda sums: "a system spans as many dimensions as the samples: any two would correlate perfectly",
    repaired=_again,
    bounds=(0.0, 1.0),
)
PROCRUSTES = MomentMetric(
    name="procrustes",
    directed=False,
    invariances=frozenset({"rotation", "scale", "permutation", "translation"}),
    minimum_samples=3,
    sums=_centred,
    score=_angle,
    why=lambda sums: "a system does not vary",
    repaired=_again,
    bounds=(0.0, float(np.pi / 2)),
    higher_is_closer=False,
)
