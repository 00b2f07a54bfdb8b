"""Moments of sparse latents."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import integrate, special

from superpose.arrays import choose
from superpose.files import DataError
from superpose.theory.algebra import Array, at_least


class LatentMoments(NamedTuple):
    """Moments of latents that are exchangeable: E z_i, E z_i² and E z_i z_j for i ≠ j."""

    mean: float
    square: float
    product: float


def latent_moments(latents: int, active: int, distribution: str = "uniform") -> LatentMoments:
    """Return the first and second moments of `superpose.systems.sparse_latents`.

    Exact, from the order statistics of uniform draws, E u_(r) = r/(n + 1) and
    E u_(r) u_(s) = r (s + 1)/((n + 1)(n + 2)) for r ≤ s; for "gaussian" by numerical integration.

    Parameters
    ----------
    latents, active : int
        n and k.
    distribution : {"uniform", "signed", "gaussian"}

    Returns
    -------
    LatentMoments
        Named tuple of mean, square and product (of two different latents).

    Raises
    ------
    DataError
        If `active` is outside 1 to `latents`, or `distribution` is unknown.

    Examples
    --------
    >>> from superpose import theory
    >>> [round(m, 4) for m in theory.latent_moments(64, 4)]
    [0.0601, 0.0578, 0.0028]
    """
    moments = choose(_MOMENTS, "distribution", distribution)
    if not 1 <= active <= latents:
        raise DataError(f"active is {active!r} with {latents!r} latents; expected 1 ≤ active ≤ latents.")
    return moments(int(latents), int(active))


def latent_covariance(latents: int, active: int, distribution: str = "uniform") -> Array:
    """Return the covariance matrix of `superpose.systems.sparse_latents`.

    "uniform" latents have a nearly constant sum, hence almost no variance along it; the other two are white up
    to their scale. The covariance that `rsa`, `cka` and `regression` take.

    Parameters
    ----------
    latents, active, distribution
        As in `latent_moments`.

    Returns
    -------
    array, (latents, latents), float64

    Raises
    ------
    DataError
        As in `latent_moments`.

    Examples
    --------
    >>> from superpose import theory
    >>> s = theory.latent_covariance(64, 4)
    >>> round(float(s[0, 0]), 5), round(float(s[0, 1]), 6)
    (0.05423, -0.000859)
    """
    mean, square, product = latent_moments(latents, active, distribution)
    return (square - product) * np.eye(latents) + (product - mean**2)


def latent_mean(latents: int, active: int, distribution: str = "uniform") -> Array:
    """Return the mean of `superpose.systems.sparse_latents`, (latents,); see `latent_moments`.

    Examples
    --------
    >>> from superpose import theory
    >>> theory.latent_mean(3, 3)
    array([0.5, 0.5, 0.5])
    """
    return np.full(latents, latent_moments(latents, active, distribution).mean)


def latent_fourth_moments(latents: int, active: int) -> tuple[float, float]:
    """Return E z_i⁴ and E z_i² z_j² of "signed" sparse latents, scaled to unit variance.

    What `rsa_euclidean` takes; from the order statistics of uniform draws, for r < s
    E u_(r)² u_(s)² = r (r + 1)(s + 2)(s + 3)/((n + 1)(n + 2)(n + 3)(n + 4)).

    Parameters
    ----------
    latents, active : int
        n and k; at least two latents.

    Returns
    -------
    fourth, cross : float

    Raises
    ------
    DataError
        If `active` is outside 1 to `latents`, or there is one latent only.

    Examples
    --------
    >>> from superpose import theory
    >>> [round(m, 4) for m in theory.latent_fourth_moments(64, 64)]
    [1.8, 1.0]
    """
    at_least("latents", latents, 2)
    square = latent_moments(latents, active, "signed").square
    n, r = float(latents), np.arange(latents - active + 1, latents + 1, dtype=np.float64)
    scale = (n + 1) * (n + 2) * (n + 3) * (n + 4)
    fourth = (r * (r + 1) * (r + 2) * (r + 3)).sum() / scale / n
    lower = np.concatenate([[0.0], np.cumsum(r * (r + 1))[:-1]])
    cross = 2 * (lower * (r + 2) * (r + 3)).sum() / scale / (n * (n - 1))
    return float(fourth / square**2), float(cross / square**2)


def _uniform_moments(n: int, k: int) -> LatentMoments:
    r = np.arange(n - k + 1, n + 1, dtype=np.float64)
    square = (r * (r + 1)).sum() / ((n + 1) * (n + 2)) / n
    lower = np.concatenate([[0.0], np.cumsum(r)[:-1]])
    pairs = 2 * (lower * (r + 1)).sum() / ((n + 1) * (n + 2))
    return LatentMoments(float(r.sum() / (n + 1) / n), float(square), float(pairs / max(n * (n - 1), 1)))


def _signed_moments(n: int, k: int) -> LatentMoments:
    return LatentMoments(0.0, _uniform_moments(n, k).square, 0.0)


def _gaussian_moments(n: int, k: int) -> LatentMoments:
    def density(x: float) -> float:
        # A magnitude x is kept when fewer than k of the other n - 1 exceed it.
        kept = special.betainc(n - k, k, special.erf(x / math.sqrt(2))) if k < n else 1.0
        return float(x**2 * math.sqrt(2 / math.pi) * math.exp(-(x**2) / 2) * kept)

    return LatentMoments(0.0, float(integrate.quad(density, 0, 40, points=[1, 2, 3, 5], limit=200)[0]), 0.0)


_MOMENTS: dict[str, Callable[[int, int], LatentMoments]] = {
    "uniform": _uniform_moments,
    "signed": _signed_moments,
    "gaussian": _gaussian_moments,
}
