"""How good a dictionary is, and whether two of them found the same latents: numbers to stand beside every score."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from superpose.arrays import as_responses, check_paired, chunks, like_input
from superpose.files import DataError

Floats = NDArray[np.float64]


@like_input
def fvu(x: ArrayLike, x_hat: ArrayLike) -> Any:
    """Return the fraction of variance that a reconstruction leaves unexplained, pooled over units.

    Parameters
    ----------
    x : array-like, (…, samples, units)
        Activity.
    x_hat : array-like, (…, samples, units)
        Its reconstruction.

    Returns
    -------
    float or array, (…)
        The sum of squared errors over the sum of squares about each unit's mean: 0 is perfect, 1 is what the means
        alone would leave. NaN where every unit is constant.

    Raises
    ------
    DataError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.diagnostics import fvu
    >>> x = np.arange(6.0).reshape(3, 2)
    >>> float(fvu(x, x)), float(fvu(x, x.mean(0, keepdims=True).repeat(3, 0)))
    (0.0, 1.0)
    """
    a, b = as_responses(x, "x"), as_responses(x_hat, "x_hat")
    if a.shape != b.shape:
        raise DataError(f"x has shape {a.shape} and x_hat {b.shape}; expected a reconstruction of x's own shape.")
    centre = unit_means(a)[..., None, :]
    error, total = np.zeros(a.shape[:-2]), np.zeros(a.shape[:-2])
    for (_, rows), (_, rows_hat) in zip(chunks(a), chunks(b, _rows_of(a)), strict=True):
        error = error + np.square(rows.astype(np.float64) - rows_hat).sum((-2, -1))
        total = total + np.square(rows - centre).sum((-2, -1))
    return np.divide(error, total, out=np.full_like(total, np.nan), where=total > 0)[()]


@like_input
def l0(codes: ArrayLike) -> Any:
    """Return the mean number of active latents a sample.

    Parameters
    ----------
    codes : array-like, (…, samples, latents)
        Sparse codes; a latent is active where its value is not zero.

    Returns
    -------
    float or array, (…)

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.diagnostics import l0
    >>> float(l0(np.array([[0.0, 2.0, 1.0], [0.0, 0.0, 3.0]])))
    1.5
    """
    z = as_responses(codes, "codes")
    return sum(np.count_nonzero(rows, axis=(-2, -1)) for _, rows in chunks(z)) / np.float64(z.shape[-2])


@like_input
def dead_share(codes: ArrayLike) -> Any:
    """Return the share of latents that are active in none of the samples.

    Parameters
    ----------
    codes : array-like, (…, samples, latents)
        Sparse codes.

    Returns
    -------
    float or array, (…)
        From 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.diagnostics import dead_share
    >>> float(dead_share(np.array([[0.0, 2.0], [0.0, 1.0]])))
    0.5
    """
    z = as_responses(codes, "codes")
    return 1 - np.mean(_active(z), axis=-1)


@like_input
def mcc(codes: ArrayLike, truth: ArrayLike) -> Any:
    """Return how well codes recover true latents: the mean absolute correlation over the best one-to-one matching.

    Parameters
    ----------
    codes : array-like, (…, samples, latents)
        Codes of a dictionary.
    truth : array-like, (…, samples, true latents)
        True latents of the same samples.

    Returns
    -------
    float or array, (…)
        The mean over true latents; one that is left without a partner, or never varies, counts as 0.

    Raises
    ------
    DataError
        If the numbers of samples differ.

    References
    ----------
    Hyvärinen and Morioka, Unsupervised feature extraction by time-contrastive learning (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.diagnostics import mcc
    >>> truth = np.random.default_rng(0).random((100, 4))
    >>> round(float(mcc(-truth[:, [2, 0, 3, 1]], truth)), 6)
    1.0
    """
    correlations = np.abs(_correlations(codes, truth, "codes", "truth"))
    matched = [c[linear_sum_assignment(-c)].sum() for c in _flat(correlations)]
    return (np.reshape(matched, correlations.shape[:-2]) / correlations.shape[-1])[()]


@like_input
def match_latents(codes_a: ArrayLike, codes_b: ArrayLike) -> Any:
    """Return the one-to-one matching of latents that maximises the sum of their correlations.

    Parameters
    ----------
    codes_a, codes_b : array-like, (…, samples, latents)
        Codes of the same samples.

    Returns
    -------
    partner : integer array, (…, latents of a)
        The latent of b that each latent of a is matched with; -1 for those left over where b has fewer.
    correlation : array, (…, latents of a)
        Their correlation; 0 where either never varies or there is no partner.

    Raises
    ------
    DataError
        If the numbers of samples differ.

    References
    ----------
    Li et al., Convergent learning (2016), for matching by correlation; Crouse (2016) for the assignment.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.diagnostics import match_latents
    >>> z = np.random.default_rng(0).random((100, 4))
    >>> partner, correlation = match_latents(z, z[:, [2, 0, 3, 1]])
    >>> partner, correlation.round(6)
    (array([1, 3, 0, 2]), array([1., 1., 1., 1.]))
    """
    correlations = _correlations(codes_a, codes_b, "codes_a", "codes_b")
    shape = correlations.shape[:-1]
    partner = np.full(shape, -1, dtype=np.int64).reshape(-1, shape[-1])
    score = np.zeros(partner.shape)
    for which, c in enumerate(_flat(correlations)):
        rows, columns = linear_sum_assignment(-c)
        partner[which, rows], score[which, rows] = columns, c[rows, columns]
    return partner.reshape(shape), score.reshape(shape)


@like_input
def same_index_share(codes_a: ArrayLike, codes_b: ArrayLike, *, threshold: float = 0.5) -> Any:
    """Return how often latents that belong together carry the same index in both codes.

    Latents are matched by `match_latents`; of the pairs that correlate above the threshold, this is the share whose
    two indices are equal. It needs no true latents: near 1, one index space binds the systems, as joint training
    intends; independent dictionaries give about one over the number of latents.

    Parameters
    ----------
    codes_a, codes_b : array-like, (…, samples, latents)
        Codes of the same samples.
    threshold : float
        The correlation from which a matched pair counts as the same latent.

    Returns
    -------
    float or array, (…)
        From 0 to 1; NaN where no pair passes the threshold.

    Raises
    ------
    DataError
        If the numbers of samples differ.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.diagnostics import same_index_share
    >>> z = np.random.default_rng(0).random((100, 4))
    >>> float(same_index_share(z, z[:, [0, 1, 3, 2]]))
    0.5
    """
    partner, correlation = match_latents(codes_a, codes_b)
    bound = correlation > threshold
    same = bound & (partner == np.arange(partner.shape[-1]))
    counts = bound.sum(-1)
    return np.divide(same.sum(-1), counts, out=np.full(counts.shape, np.nan), where=counts > 0)[()]


def unit_means(x: NDArray[Any]) -> Floats:
    """Return the mean of each unit in float64, (…, units); that of a constant unit is its value to the last bit."""
    first = x[..., :1, :].astype(np.float64)
    total = sum((rows - first).sum(-2) for _, rows in chunks(x))
    return first[..., 0, :] + total / x.shape[-2]


def _correlations(x: ArrayLike, y: ArrayLike, name_x: str, name_y: str) -> Floats:
    """Return the correlation of every column of x with every column of y, (…, columns x, columns y).

    Chunks are centred before they are multiplied, in their own precision, and summed in float64. A column that
    never varies correlates 0 with all.
    """
    a, b = as_responses(x, name_x), as_responses(y, name_y)
    check_paired({name_x: a, name_y: b})
    mean_a, mean_b = (unit_means(z)[..., None, :] for z in (a, b))
    rows = min(_rows_of(a), _rows_of(b))
    cross = np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-1], b.shape[-1]))
    square_a, square_b = np.zeros(_units(a)), np.zeros(_units(b))
    for (_, part_a), (_, part_b) in zip(chunks(a, rows), chunks(b, rows), strict=True):
        part_a, part_b = _about(part_a, mean_a), _about(part_b, mean_b)
        cross += np.swapaxes(part_a, -1, -2) @ part_b
        square_a += np.square(part_a, dtype=np.float64).sum(-2)
        square_b += np.square(part_b, dtype=np.float64).sum(-2)
    norms = np.sqrt(square_a)[..., :, None] * np.sqrt(square_b)[..., None, :]
    return np.divide(cross, norms, out=np.zeros_like(cross), where=norms > 0)


def _about(rows: NDArray[Any], mean: Floats) -> NDArray[Any]:
    return (rows - mean).astype(np.promote_types(rows.dtype, np.float32), copy=False)


def _active(z: NDArray[Any]) -> NDArray[np.bool_]:
    active = np.zeros(_units(z), dtype=bool)
    for _, rows in chunks(z):
        active |= (rows != 0).any(-2)
    return active


def _units(x: NDArray[Any]) -> tuple[int, ...]:
    return (*x.shape[:-2], x.shape[-1])


def _rows_of(x: NDArray[Any]) -> int:
    return int(next(iter(chunks(x)))[1].shape[-2])


def _flat(matrices: Floats) -> Floats:
    return matrices.reshape(-1, *matrices.shape[-2:])
