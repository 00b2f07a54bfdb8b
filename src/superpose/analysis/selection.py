"""Linear selection: the part of each of two systems that both share most, as much of it as a dictionary keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, qr

from superpose.arrays import chunks
from superpose.numerics.products import matmul

Array = NDArray[Any]

RIDGE = 1e-3


def shared_parts(
    x: Array, y: Array, unexplained: tuple[float, float], training: int
) -> tuple[tuple[Array, Array], tuple[int, int]]:
    """Reduce each of two systems to its canonical variates with the other, to a given share of unexplained variance.

    With Σ the systems' covariances over the training rows, canonical correlation analysis (Hotelling 1936) gives
    uncorrelated directions of x and of y in order of how well the other system predicts them. Least squares on the
    first k of them, x ↦ Σₓ V (V'Σₓ V)⁻¹ V'x, is the linear autoencoder that drops first what the other system lacks;
    k is the smallest that leaves no more than the given share of the variance of the training rows unexplained. A
    sparse dictionary that leaves as much unexplained has left out as much: where its latents are no more alike than
    these parts, selection accounts for it.

    Parameters
    ----------
    x, y : ndarray, (samples, units_x) and (samples, units_y)
        Paired activity, the training rows first.
    unexplained : tuple of float
        For each system, the fraction of variance that may be left unexplained.
    training : int
        How many rows everything is fitted on.

    Returns
    -------
    parts : tuple of ndarray, (samples, units_x) and (samples, units_y)
        What is kept of each system, in its own units.
    ranks : tuple of int
        Of how many directions each part is made.

    References
    ----------
    Hotelling, H. (1936). Relations between two sets of variates. Biometrika 28, 321-377.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.analysis.selection import shared_parts
    >>> draw = np.random.default_rng(0)
    >>> common, private = draw.normal(size=(2, 500, 3))
    >>> x, y = np.hstack([common, private]), common @ draw.normal(size=(3, 3))
    >>> (kept, _), ranks = shared_parts(x, y, (0.6, 0.0), 400)
    >>> ranks, bool(np.abs(kept[:, 3:]).max() < 0.5)
    ((3, 3), True)
    """
    first, second = _centred(x, training), _centred(y, training)
    covariance_x, covariance_y = _product(first, first, training), _product(second, second, training)
    root_x, root_y = _inverse_root(covariance_x), _inverse_root(covariance_y)
    left, _, right = np.linalg.svd(root_x @ _product(first, second, training) @ root_y)
    map_x, rank_x = _projection(root_x @ left, covariance_x, unexplained[0])
    map_y, rank_y = _projection(root_y @ right.T, covariance_y, unexplained[1])
    return (_mapped(first, map_x, x[:training]), _mapped(second, map_y, y[:training])), (rank_x, rank_y)


def _centred(x: Array, training: int) -> Array:
    kind = np.promote_types(x.dtype, np.float32)
    rows: Array = np.subtract(x, x[:training].mean(axis=0, dtype=np.float64).astype(kind), dtype=kind)
    return rows


def _mapped(rows: Array, projection: Array, training: Array) -> Array:
    """Return projected rows about the training rows' own mean."""
    mean = training.mean(axis=0, dtype=np.float64).astype(rows.dtype)
    return matmul(rows, projection.astype(rows.dtype)) + mean


def _product(x: Array, y: Array, training: int) -> Array:
    """Return the covariance of training rows that are centred, summed in float64 by chunks."""
    total = np.zeros((x.shape[-1], y.shape[-1]))
    for start, rows in chunks(x[:training]):
        total += rows.T @ y[start : start + len(rows)]
    return total / training


def _inverse_root(covariance: Array) -> Array:
    """Return the symmetric inverse square root, with the small ridge of every regression."""
    values, vectors = eigh(covariance)
    root: Array = (vectors / np.sqrt(np.maximum(values, 0) + RIDGE * values.mean())) @ vectors.T
    return root


def _projection(directions: Array, covariance: Array, unexplained: float) -> tuple[Array, int]:
    """Return least squares on the first directions, as a map from rows to rows, and how many suffice."""
    values, vectors = eigh(covariance)
    # Units that are many beside rows, or combinations of others, leave directions without variance.
    known = values > np.finfo(np.float64).eps * len(values) * values.max()
    root = np.sqrt(np.where(known, values, 0.0))
    # Columns uncorrelated with those before them: each then explains a share of its own.
    whitened, _ = qr(root[:, None] * (vectors.T @ directions))
    loadings = vectors @ (root[:, None] * whitened)
    explained = np.cumsum(np.square(loadings).sum(axis=0)) / np.trace(covariance)
    rank = min(int(np.searchsorted(explained, (1 - unexplained) * (1 - 1e-9))) + 1, len(explained))
    inverse = np.where(known, 1 / np.where(known, root, 1.0), 0.0)
    return vectors @ (inverse[:, None] * whitened[:, :rank]) @ loadings[:, :rank].T, rank
