"""Alignment of given projections, in the limit of many samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from superpose.arrays import choose, like_input
from superpose.files import DataError
from superpose.theory.algebra import (
    Array,
    apply,
    check_responds,
    checked,
    checked_covariances,
    covariances,
    norm2,
    product,
)

Score = Callable[[Any, Any], Any]


@like_input
def rsa(a: ArrayLike, b: ArrayLike, covariance: ArrayLike | None = None) -> Any:
    """Return the RSA of two projections of the same latents: the cosine of their Gram matrices, Theorem 3.1.

    RSA here correlates inner-product similarity matrices of centred responses; other choices have other
    limits (`rsa_uncentred`, `rsa_euclidean`). With latents that are not white, the Gram matrices G are
    weighted by the covariance S: tr(G_a S G_b S) / √(tr(G_a S G_a S) tr(G_b S G_b S)).

    Parameters
    ----------
    a, b : array-like, (…, units_a, latents) and (…, units_b, latents)
        Projections A and B; leading axes are repeats and broadcast.
    covariance : array-like, (…, latents, latents), optional
        Covariance of the latents, up to its scale; None means white latents, as the theorem assumes.

    Returns
    -------
    float or array, (…)
        Between 0 and 1.

    Raises
    ------
    DataError
        If the shapes do not fit, a value is not finite, or a system does not respond to any latent.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose import theory
    >>> a = np.array([[1.0, 0, 0], [0, 1, 0]])
    >>> b = np.array([[0, 1.0, 0], [0, 0, 1]])
    >>> round(float(theory.rsa(a, b)), 6)
    0.5
    """
    return _gram_cosine(_responses(a, b, covariance))


@like_input
def cka(a: ArrayLike, b: ArrayLike, covariance: ArrayLike | None = None) -> Any:
    """Return the linear CKA of two projections of the same latents, Theorem 3.2: the same cosine as `rsa`.

    Parameters, results and errors are those of `rsa`. Biased CKA lies above this value at finite sample sizes
    (`finite_sample_cka`); debiased CKA does not.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose import theory
    >>> a, covariance = np.array([[1.0, 1.0]]), np.diag([4.0, 1.0])
    >>> float(theory.cka(a, np.array([[1.0, 0.0]]), covariance))
    0.8
    """
    return _gram_cosine(_responses(a, b, covariance))


@like_input
def rsa_uncentred(
    a: ArrayLike, b: ArrayLike, covariance: ArrayLike | None = None, mean: ArrayLike | None = None
) -> Any:
    """Return the RSA of responses whose mean is not removed, Eq. (3) with latents that have a mean.

    The Pearson correlation removes the constant part of an inner-product matrix, but not the part that the
    mean μ of the latents adds to each row: Cov(r_a, r_b) = tr(G_a S G_b S) + 2 μᵀ G_a S G_b μ.

    Parameters
    ----------
    a, b, covariance
        As in `rsa`, with the covariance S in the scale of the mean.
    mean : array-like, (…, latents), optional
        Mean of the latents; None means zero.

    Returns
    -------
    float or array, (…)

    Raises
    ------
    DataError
        As in `rsa`, or if `mean` has another number of latents.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose import theory
    >>> a, b = np.eye(3)[:2], np.eye(3)[1:]
    >>> round(float(theory.rsa_uncentred(a, b, mean=[0.0, 3.0, 0.0])), 4)
    0.95
    """
    return _rsa_with_mean(_responses(a, b, covariance, mean))


@like_input
def cka_uncentred(
    a: ArrayLike, b: ArrayLike, covariance: ArrayLike | None = None, mean: ArrayLike | None = None
) -> Any:
    """Return the linear CKA of responses whose mean is not removed: Theorem 3.2 with S + μμᵀ for S.

    Parameters, results and errors are those of `rsa_uncentred`.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose import theory
    >>> a, b = np.eye(3)[:2], np.eye(3)[1:]
    >>> round(float(theory.cka_uncentred(a, b, mean=[0.0, 3.0, 0.0])), 4)
    0.9901
    """
    return _cka_with_mean(_responses(a, b, covariance, mean))


@like_input
def regression(
    a: ArrayLike,
    b: ArrayLike,
    covariance: ArrayLike | None = None,
    score: str = "r",
    average: str | None = "pooled",
) -> Any:
    """Return how well the activity of A predicts that of B linearly, Theorem 3.3.

    R² = tr(C_ba C_aa⁻¹ C_ab) / tr C_bb with C_ab = A S Bᵀ; r is its square root. With at least as many
    independent units in A as latents, B is predicted without error. A pseudo-inverse takes the place of
    C_aa⁻¹ where units of A are linearly dependent.

    Parameters
    ----------
    a, b, covariance
        As in `rsa`; `a` predicts `b`.
    score : {"r", "r2"}
        Correlation of prediction and response, or share of variance explained.
    average : {"pooled", "units"} or None
        Over all units together, weighted by variance (Theorem 3.3); the mean over units of B, without those
        that never vary; None: one score per unit of B, NaN for one that never varies.

    Returns
    -------
    float or array, (…) or (…, units_b)

    Raises
    ------
    DataError
        As in `rsa`, or if `score` or `average` is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose import theory
    >>> a, b = np.eye(3)[:2], np.eye(3)[1:]
    >>> float(theory.regression(a, b, score="r2"))
    0.5
    >>> theory.regression(a, b, average=None)
    array([1., 0.])
    """
    score_of, average_of = choose(SCORES, "score", score), choose(_AVERAGES, "average", average)
    return average_of(score_of, *_explained(*covariances(a, b, covariance)))


def limits(
    a: ArrayLike, b: ArrayLike, covariance: ArrayLike | None = None, mean: ArrayLike | None = None
) -> dict[str, Any]:
    """Return the closed forms of Theorems 3.1 to 3.3 at once, with and without the mean: one set of products for all.

    Parameters
    ----------
    a, b, covariance, mean
        As in `rsa_uncentred`; `a` predicts `b`.

    Returns
    -------
    dict
        `rsa`, `cka`, `rsa_uncentred`, `cka_uncentred` and `r2`, as the functions of these names give them (the last:
        `regression` with score "r2").

    Raises
    ------
    DataError
        As in `rsa_uncentred`.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose import theory
    >>> found = theory.limits(np.eye(3)[:2], np.eye(3)[1:])
    >>> round(float(found["cka"]), 6), round(float(found["r2"]), 6)
    (0.5, 0.5)
    """
    found = _responses(a, b, covariance, mean)
    cosine = _gram_cosine(found)
    explained, total = _explained(found.c_aa, found.c_ab, found.c_bb)
    return {
        "rsa": cosine,
        "cka": cosine,
        "rsa_uncentred": _rsa_with_mean(found),
        "cka_uncentred": _cka_with_mean(found),
        "r2": _r2(explained.sum(-1), total.sum(-1)),
    }


@like_input
def weights(a: ArrayLike, b: ArrayLike, covariance: ArrayLike | None = None) -> Any:
    """Return the linear map that predicts the activity of B from that of A best, Theorem 3.3.

    W* = C_ba C_aa⁻¹, which is B Aᵀ (A Aᵀ)⁻¹ for white latents; the least-norm one where units of A are
    linearly dependent.

    Parameters
    ----------
    a, b, covariance
        As in `rsa`; `a` predicts `b`.

    Returns
    -------
    array, (…, units_b, units_a)

    Raises
    ------
    DataError
        As in `rsa`.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose import theory
    >>> theory.weights(np.eye(2), np.array([[3.0, 4.0]])).round(6)
    array([[3., 4.]])
    """
    return _weights(*covariances(a, b, covariance)[:2])


@like_input
def mean_squared_error(a: ArrayLike, b: ArrayLike, covariance: ArrayLike | None = None) -> Any:
    """Return the error of the best linear prediction of B from A, a unit of B, Theorem 3.3.

    (1/m_b) ‖B (I − P_A)‖² for white latents, with P_A the projection on the row space of A.

    Parameters
    ----------
    a, b, covariance
        As in `rsa`, with the covariance in its own scale; `a` predicts `b`.

    Returns
    -------
    float or array, (…)
        In squared units of the activity of B.

    Raises
    ------
    DataError
        As in `rsa`.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose import theory
    >>> round(float(theory.mean_squared_error(np.eye(2)[:1], np.array([[3.0, 4.0]]))), 6)
    16.0
    """
    explained, total = _explained(*covariances(a, b, covariance))
    return np.maximum(total - explained, 0.0).mean(-1)


@like_input
def rsa_euclidean(a: ArrayLike, b: ArrayLike, fourth: float = 3.0, cross: float = 1.0) -> Any:
    """Return the RSA of squared-Euclidean distance matrices, which has another limit than Theorem 3.1.

    For latents that are white, symmetric about zero and exchangeable,
    Cov(d_a, d_b) = 4 tr(G_a G_b) + 2 [(κ − 3c) Σ_l (G_a)_ll (G_b)_ll + 2c tr(G_a G_b) + (c − 1) tr G_a tr
    G_b], from the covariance of ‖y_i − y_j‖² over pairs, with κ = E z⁴ and c = E z_i² z_j² of unit-variance
    latents.

    Parameters
    ----------
    a, b
        As in `rsa`.
    fourth, cross : float
        κ and c; 3 and 1 for normal latents. `latent_fourth_moments` gives those of "signed" sparse latents.

    Returns
    -------
    float or array, (…)

    Raises
    ------
    DataError
        As in `rsa`.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose import theory
    >>> a, b = np.eye(3)[:2], np.eye(3)[1:]
    >>> round(float(theory.rsa_euclidean(a, b)), 6) == round(float(theory.rsa(a, b)), 6)
    True
    """
    a, b, _ = checked(a, b, None)

    def inner(p: Array, q: Array) -> Array:
        lengths_p, lengths_q = (p**2).sum(-2), (q**2).sum(-2)
        gram = norm2(product(p, None, q))
        traces = lengths_p.sum(-1) * lengths_q.sum(-1)
        aligned = (lengths_p * lengths_q).sum(-1)
        return 4 * gram + 2 * ((fourth - 3 * cross) * aligned + 2 * cross * gram + (cross - 1) * traces)

    return _cosine(inner, a, b)


class _Responses(NamedTuple):
    """Covariances and means of the activity of both systems."""

    c_aa: Array
    c_ab: Array
    c_bb: Array
    mean_a: Array
    mean_b: Array


def _responses(a: Any, b: Any, covariance: Any, mean: Any = None) -> _Responses:
    a, b, covariance = checked(a, b, covariance)
    mu = _mean(mean, a.shape[-1])
    return _Responses(*checked_covariances(a, b, covariance), apply(a, mu), apply(b, mu))


def _gram_cosine(r: _Responses) -> Array:
    return norm2(r.c_ab) / np.sqrt(norm2(r.c_aa) * norm2(r.c_bb))


def _rsa_with_mean(r: _Responses) -> Array:
    def inner(c: Array, p: Array, q: Array) -> Array:
        return norm2(c) + 2 * (p * apply(c, q)).sum(-1)

    own = inner(r.c_aa, r.mean_a, r.mean_a) * inner(r.c_bb, r.mean_b, r.mean_b)
    return inner(r.c_ab, r.mean_a, r.mean_b) / np.sqrt(own)


def _cka_with_mean(r: _Responses) -> Array:
    def inner(c: Array, p: Array, q: Array) -> Array:
        return norm2(c + p[..., :, None] * q[..., None, :])

    own = inner(r.c_aa, r.mean_a, r.mean_a) * inner(r.c_bb, r.mean_b, r.mean_b)
    return inner(r.c_ab, r.mean_a, r.mean_b) / np.sqrt(own)


def _cosine(inner: Callable[[Array, Array], Array], a: Array, b: Array) -> Array:
    own_a, own_b = inner(a, a), inner(b, b)
    check_responds(own_a, own_b)
    return inner(a, b) / np.sqrt(own_a * own_b)


def _r2(explained: Any, total: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return np.minimum(np.divide(explained, total), 1.0)


def _r(explained: Any, total: Any) -> Any:
    return np.sqrt(_r2(np.maximum(explained, 0.0), total))


SCORES: dict[str, Score] = {"r": _r, "r2": _r2}
_AVERAGES: dict[str | None, Callable[[Score, Array, Array], Any]] = {
    "pooled": lambda score, explained, total: score(explained.sum(-1), total.sum(-1)),
    "units": lambda score, explained, total: np.nanmean(score(explained, total), axis=-1),
    None: lambda score, explained, total: score(explained, total),
}


def _weights(c_aa: Array, c_ab: Array) -> Array:
    if _well_conditioned(c_aa):
        return np.swapaxes(np.linalg.solve(c_aa, c_ab), -1, -2)
    # The cut-off is that of numpy.linalg.matrix_rank with room for the rounding of the product C_aa itself.
    cut = 10 * max(c_aa.shape[-1], 10) * np.finfo(np.float64).eps
    return np.swapaxes(c_ab, -1, -2) @ np.linalg.pinv(c_aa, rcond=cut, hermitian=True)


def _well_conditioned(c: Array) -> bool:
    """Say whether the pivots of a Cholesky factorisation are far from rounding: then no direction is to be cut off."""
    try:
        pivots = np.diagonal(np.linalg.cholesky(c), axis1=-2, axis2=-1) ** 2
    except np.linalg.LinAlgError:
        return False
    return bool((pivots.min(-1) > 1e-8 * pivots.max(-1)).all())


def _explained(c_aa: Array, c_ab: Array, c_bb: Array) -> tuple[Array, Array]:
    """Return, a unit of B, the variance that A predicts and the variance there is."""
    explained = np.einsum("...jp,...pj->...j", _weights(c_aa, c_ab), c_ab)
    return explained, np.diagonal(c_bb, axis1=-2, axis2=-1)


def _mean(value: Any, latents: int) -> Array:
    mean = np.zeros(latents) if value is None else np.asarray(value, dtype=np.float64)
    if mean.shape[-1:] != (latents,):
        raise DataError(f"mean has shape {mean.shape}; expected one value per latent, (…, {latents}).")
    return mean
