"""Canonical correlation and the angular Procrustes distance: singular values of crossed moments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.files import DataError
from superpose.metrics.about import About
from superpose.metrics.forms import RowForm
from superpose.metrics.metric import STILL, Family, Influence, MomentMetric, Shares
from superpose.moments import Moments, Own
from superpose.moments.blocks import inner

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


def shape_distance(x: ArrayLike, y: ArrayLike, *, alpha: float = 0.5) -> Any:
    """Angular shape distance after partial whitening: from Procrustes (alpha = 1) to canonical correlation (0).

    Each centred system X is taken to X (alpha I + (1 − alpha) (X'X)^(−1/2)), then the angle left after the best
    rotation is measured. Between the two ends the result depends on the scale of X, as its authors define it: divide
    each system by its norm first where that scale means nothing.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Responses of one system.
    y : array or tensor, (…, samples, units_y)
        Responses of the other to the same samples.
    alpha : float
        In [0, 1]: how much of the systems' own variances is kept.

    Returns
    -------
    array or tensor, (…)
        In radians, [0, π/2]; NaN for alpha = 0 where a system spans all the samples, as in `cca`.

    Raises
    ------
    DataError
        For unusable responses, or alpha outside [0, 1].

    References
    ----------
    Williams et al., Generalized Shape Metrics on Neural Representations, NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> y = x * [1.0, 2.0, 4.0]
    >>> [round(float(sp.metrics.shape_distance(x, y, alpha=alpha)), 2) for alpha in (1.0, 0.01, 0.0)]
    [0.53, 0.07, 0.0]
    """
    if not isinstance(alpha, float | int | np.floating | np.integer) or not 0 <= alpha <= 1:
        raise DataError(f"alpha is {alpha!r}; expected a number from 0 (whitened) to 1 (as it is).")
    return replace(SHAPE, score=partial(_whitened_angle, alpha=float(alpha)))(x, y)


def centred(moments: Moments) -> Moments:
    """Return the moments about the means, over all folds."""
    return moments.centred()


def again(sums: Moments, moments: Moments) -> Moments:
    """Return the sums after a permutation of rows that are about their means: only the crossed ones change."""
    return replace(sums, cross=moments.merged().cross)


def mean_correlation(m: Moments, variance: float = 1.0) -> Array:
    """Return the mean canonical correlation of the components that hold a share of the variance."""
    values, ranks = canonical_correlations(m, variance)
    return without_room(values.sum(-1) / np.maximum(np.minimum(*ranks), 1), ranks, m)


def canonical_correlations(m: Moments, variance: float = 1.0) -> tuple[Array, tuple[Array, Array]]:
    """Return the correlations, the largest first and 0 beyond the lesser rank, and the rank of either system.

    A system is reduced to as few leading principal components as hold the share `variance` of its variance.
    """
    half_x, half_y, ranks = _halves(m, variance)
    values = np.linalg.svd(half_x @ m.cross.product[0] @ half_y, compute_uv=False)
    return np.clip(values, 0, 1), ranks


def correlation_shares(
    moments: Moments, sums: Moments, *, variance: float = 1.0
) -> Callable[[Array, Array, Array], Shares]:
    """Return what gives each row's share in the mean canonical correlation, the components kept taken as given.

    A row of unit-norm variates u, v moves their correlation by u v − ρ (u² + v²)/2.
    """
    half_x, half_y, ranks = _halves(sums, variance)
    left, values, right = np.linalg.svd(half_x @ sums.cross.product[0] @ half_y)
    count, samples = max(int(np.minimum(*ranks)), 1), int(sums.x.samples[0])
    of_x, of_y = half_x @ left[:, :count], half_y @ right[:count].T
    root = np.sqrt(np.clip(values[:count], 0, 1))

    def shares(x: Array, y: Array, folds: Array) -> Shares:
        u, v = x @ of_x.astype(x.dtype), y @ of_y.astype(y.dtype)
        agreement = inner(u, v)
        # ρ u² is the square of √ρ u.
        u, v = (part * root.astype(part.dtype) for part in (u, v))
        return Shares(samples / count * (agreement - (inner(u, u) + inner(v, v)) / 2))

    return shares


def angle_shares(moments: Moments, sums: Moments) -> Callable[[Array, Array, Array], Shares]:
    """Return what gives each row's share in the angle: the best rotation UV' stays the best to first order.

    The cosine c = tr(UV'Y'X)/(‖X‖‖Y‖) moves by x UV' y'/(‖X‖‖Y‖) − c (‖x‖²/‖X‖² + ‖y‖²/‖Y‖²)/2, and the angle by
    −1/√(1 − c²) times that; where systems coincide it cannot move.
    """
    left, values, right = np.linalg.svd(sums.cross.product[0], full_matrices=False)
    rotation, norm_x, norm_y = left @ right, float(sums.x.norm[0]), float(sums.y.norm[0])
    cosine = min(float(values.sum()) / np.sqrt(norm_x * norm_y), 1.0)
    slope, samples = -1 / np.sqrt(1 - cosine**2) if cosine < 1 else 0.0, int(sums.x.samples[0])

    def shares(x: Array, y: Array, folds: Array) -> Shares:
        agreement = inner(x @ rotation.astype(x.dtype), y) / np.sqrt(norm_x * norm_y)
        return Shares(samples * slope * (agreement - cosine * (inner(x, x) / norm_x + inner(y, y) / norm_y) / 2))

    return shares


def _halves(m: Moments, variance: float) -> tuple[Array, Array, tuple[Array, Array]]:
    half_x, half_y = (_inverse_root(own.square[0], own.resolution, variance) for own in (m.x, m.y))
    rank_x, rank_y = (np.linalg.matrix_rank(half, hermitian=True) for half in (half_x, half_y))
    return half_x, half_y, (rank_x, rank_y)


def without_room(score: Array, ranks: tuple[Array, Array], m: Moments) -> Array:
    """Return NaN for a score where a system spans nothing, or all that centred samples can span, any other included."""
    return np.where((np.minimum(*ranks) > 0) & (np.maximum(*ranks) < m.x.samples[0] - 1), score, np.nan)


def _inverse_root(square: Array, resolution: float, variance: float) -> Array:
    values, vectors = np.linalg.eigh(square)
    kept = _above_rounding(values, resolution) & _leading(values, resolution, variance)
    root = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
    return (vectors * root[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def _leading(values: Array, resolution: float, variance: float) -> NDArray[np.bool_]:
    """Return which of ascending variances hold a share of their sum: as few as can be, and those that equal the last.

    What is left out of components that tie would be rounding's choice.
    """
    if variance == 1:
        return np.ones(values.shape, dtype=bool)
    sums = np.cumsum(values, axis=-1)
    whole, rounding = sums[..., -1:], 16 * resolution * values[..., -1:]
    few = whole - sums < variance * whole - rounding
    # The last is kept whatever the share.
    few[..., -1] = True
    least = np.where(few, values, np.inf).min(axis=-1, keepdims=True)
    found: NDArray[np.bool_] = values >= least - rounding
    return found


def _above_rounding(values: Array, resolution: float) -> Array:
    """Return which values are not rounding of the products: that leaves about `resolution` of the largest."""
    above: Array = values > 16 * resolution * values.max(axis=-1, keepdims=True)
    return above


def _angle(m: Moments) -> Array:
    nuclear = np.linalg.svd(m.cross.product[0], compute_uv=False).sum(-1)
    return _angle_of(nuclear, m.x.norm[0], m.y.norm[0])


def _angle_of(nuclear: Array, norm_x: Array, norm_y: Array) -> Array:
    """Return the angle whose cosine is a nuclear norm beside the systems' own; NaN where one of these is 0."""
    size = np.sqrt(np.where((norm_x > 0) & (norm_y > 0), norm_x * norm_y, np.nan))
    return np.arccos(np.clip(nuclear / size, -1, 1))


def _whitened_angle(m: Moments, alpha: float) -> Array:
    (root_x, norm_x, rank_x), (root_y, norm_y, rank_y) = (_partly_whitened(own, alpha) for own in (m.x, m.y))
    nuclear = np.linalg.svd(root_x @ m.cross.product[0] @ root_y, compute_uv=False).sum(-1)
    angle = _angle_of(nuclear, norm_x, norm_y)
    # Some of the systems' own shape is left for any alpha above 0.
    return angle if alpha else without_room(angle, (rank_x, rank_y), m)


def _partly_whitened(own: Own, alpha: float) -> tuple[Array, Array, Array]:
    """Return the map of the units, the squared norm of what it makes of them, and the rank."""
    values, vectors = np.linalg.eigh(own.square[0])
    kept = _above_rounding(values, own.resolution)
    root = np.where(kept, alpha + (1 - alpha) / np.sqrt(np.where(kept, values, 1.0)), 0.0)
    norm = (root**2 * np.where(kept, values, 0.0)).sum(-1)
    return (vectors * root[..., None, :]) @ np.swapaxes(vectors, -1, -2), norm, kept.sum(-1)


def spectrum(own: Own, index: tuple[int, ...] = ()) -> tuple[Array, Array]:
    """Return the norms of one system's principal components that have any, and their directions."""
    values, vectors = np.linalg.eigh(own.square[0][index])
    kept = _above_rounding(values, own.resolution)
    return np.sqrt(values[kept]), vectors[:, kept]


def whitened_angle_shares(moments: Moments, sums: Moments, *, alpha: float) -> Callable[[Array, Array, Array], Shares]:
    """Return what gives each row's share in the angle of partly whitened systems, as it moves their whitening too.

    With W = αI + (1 − α) S^(−1/2) and P = UV' the polar factor of W_x C W_y, the nuclear norm moves by
    tr(P'd(W_x C W_y)). In the eigenvectors of S, with eigenvalues l, S^(−1/2) moves by
    −dS_ij/(√l_i √l_j (√l_i + √l_j)) (Daleckii & Krein 1965), and ‖XW‖² by α tr(W dS). An angle of nothing cannot move.
    """
    sides = [spectrum(own) for own in (sums.x, sums.y)]
    # Whitened coordinates x · of have a sum of squares of 1 each; `back` takes them to those of the mapped system.
    (root_x, of_x), (root_y, of_y) = ((root, vectors / root) for root, vectors in sides)
    back_x, back_y = (alpha * root + 1 - alpha for root in (root_x, root_y))
    crossed = of_x.T @ sums.cross.product[0] @ of_y
    left, values, right = np.linalg.svd(back_x[:, None] * crossed * back_y, full_matrices=False)
    kept = _above_rounding(values, sums.x.resolution)
    polar = left[:, kept] @ right[kept]
    norm_x, norm_y = float(np.square(back_x).sum()), float(np.square(back_y).sum())
    size = np.sqrt(norm_x * norm_y)
    cosine = min(float(values.sum()) / size, 1.0)
    slope = -1 / np.sqrt(1 - cosine**2) if cosine < 1 else 0.0
    forms = []
    for root, back, norm, agreed in (
        (root_x, back_x, norm_x, (polar * back_y) @ crossed.T),
        (root_y, back_y, norm_y, (polar.T * back_x) @ crossed),
    ):
        whitening = -(1 - alpha) * (agreed * root) / (root[:, None] + root) / size
        forms.append(slope * (whitening - cosine / 2 * np.diag(alpha * root * back) / norm))
    crossing = slope * back_x[:, None] * polar * back_y / size
    return RowForm(of_x, of_y, xx=forms[0], yy=forms[1], xy=crossing).shares(sums)


def no_room(sums: Moments) -> str:
    """Return the reason for a NaN of `without_room`."""
    if not (sums.x.norm > 0).all() or not (sums.y.norm > 0).all():
        return STILL
    return "a system spans as many dimensions as the samples: any two would correlate perfectly"


CENTRED = Family(centred, again)
CCA = MomentMetric(
    name="cca",
    about=About("CCA", "directions of each system that correlate most, all of them", "N p q + p³", "Hotelling 1936"),
    directed=False,
    invariances=frozenset({"rotation", "scale", "permutation", "translation", "linear"}),
    minimum_samples=3,
    family=CENTRED,
    score=mean_correlation,
    why=no_room,
    influence=Influence(correlation_shares),
    bounds=(0.0, 1.0),
)
PROCRUSTES = MomentMetric(
    name="procrustes",
    about=About(
        "Procrustes distance", "responses after the best rotation, at equal size", "N p q + p³", "Williams et al. 2021"
    ),
    directed=False,
    invariances=frozenset({"rotation", "scale", "permutation", "translation"}),
    minimum_samples=3,
    family=CENTRED,
    score=_angle,
    why=lambda sums: STILL,
    influence=Influence(angle_shares),
    bounds=(0.0, float(np.pi / 2)),
    higher_is_closer=False,
)
SHAPE = replace(
    PROCRUSTES,
    name="shape",
    about=About(
        "shape distance", "partially whitened responses after the best rotation", "N p q + p³", "Williams et al. 2021"
    ),
    invariances=PROCRUSTES.invariances - {"scale"},
    score=partial(_whitened_angle, alpha=0.5),
    why=no_room,
    influence=Influence(partial(whitened_angle_shares, alpha=0.5)),
)
