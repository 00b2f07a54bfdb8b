"""Alignment to expect of random projections."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from superpose.arrays import choose, like_input
from superpose.files import DataError
from superpose.theory.algebra import Array, as_covariance, at_least
from superpose.theory.participation import deflation, participation_ratio
from superpose.theory.projections import SCORES


@like_input
def expected_cka(
    units_a: ArrayLike,
    units_b: ArrayLike,
    latents: int | tuple[int, int],
    *,
    overlap: ArrayLike = 1.0,
    kurtosis: float = 3.0,
) -> Any:
    """Return the CKA (and RSA) to expect of random projections of white latents, Sections 3.1 and 3.4.

    ρ √(m_a m_b / ((m_a + n_a + κ − 2)(m_b + n_b + κ − 2))), exact in numerator and squared denominator: what
    is shared and how it is encoded factorise. It is low where κ is large (0.080 for 0.084 at κ = 30, n = 64,
    m = 8).

    Parameters
    ----------
    units_a, units_b : number or array
        Units m of each system.
    latents : int or (int, int)
        Features n of each system (not of their union).
    overlap : number or array
        Overlap ratio ρ = n_s / √(n_a n_b), Eq. (39); see `overlap_ratio`.
    kurtosis : float
        Fourth moment κ of the projections' unit-variance entries; `superpose.systems.KURTOSIS` lists some.

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        If a count or the kurtosis is under 1, or the overlap is outside 0 to the largest that the two feature
        counts allow.

    Examples
    --------
    >>> from superpose import theory
    >>> [round(float(theory.expected_cka(m, m, 256)), 4) for m in (8, 64, 256)]
    [0.0302, 0.1994, 0.499]
    >>> round(float(theory.expected_cka(20, 10, (64, 40), overlap=theory.overlap_ratio(30, 64, 40))), 4)
    0.1274
    """
    n_a, n_b = _feature_counts(latents)
    rho = _overlap(overlap, n_a, n_b)
    excess = float(at_least("kurtosis", kurtosis, 1)) - 3
    return rho * deflation(units_a, units_b, n_a + excess, n_b + excess)


@like_input
def expected_cka_orthonormal(units_a: ArrayLike, units_b: ArrayLike, latents: int) -> Any:
    """Return the CKA to expect of projections with random orthonormal rows: √(m_a m_b) / n, exactly.

    The counterpart of Section 3.1 for the "haar" projections of `superpose.systems.projection`, whose Gram
    matrices are projections of fixed norm. Unlike Gaussian ones, these align fully at m = n.

    Parameters
    ----------
    units_a, units_b : number or array
        At most `latents`.
    latents : int

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        If a count is under 1, or units exceed latents.

    Examples
    --------
    >>> from superpose import theory
    >>> float(theory.expected_cka_orthonormal(16, 64, 64))
    0.5
    """
    m_a, m_b = at_least("units_a", units_a, 1), at_least("units_b", units_b, 1)
    n = at_least("latents", latents, 1)
    if np.any(m_a > n) or np.any(m_b > n):
        raise DataError(f"units exceed the {n:g} latents; expected no more orthonormal rows than latents.")
    return np.sqrt(m_a * m_b) / n


@like_input
def expected_cka_unit_norm(units_a: ArrayLike, units_b: ArrayLike, latents: int) -> Any:
    """Return the CKA to expect of projections with random columns of length 1.

    1 / √((1 + (n − 1)/m_a)(1 + (n − 1)/m_b)), the counterpart of Section 3.1 for the "unit_norm" projections
    of `superpose.systems.projection`: two columns have an expected squared cosine of 1/m.

    Parameters
    ----------
    units_a, units_b : number or array
    latents : int

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        If a count is under 1.

    Examples
    --------
    >>> from superpose import theory
    >>> round(float(theory.expected_cka_unit_norm(8, 8, 64)), 4)
    0.1127
    """
    m_a, m_b = at_least("units_a", units_a, 1), at_least("units_b", units_b, 1)
    n = at_least("latents", latents, 1)
    return 1 / np.sqrt((1 + (n - 1) / m_a) * (1 + (n - 1) / m_b))


@like_input
def expected_cka_coloured(
    units_a: ArrayLike, units_b: ArrayLike, covariance: ArrayLike, *, sigma: ArrayLike = 0.0
) -> Any:
    """Return the CKA to expect of independent Gaussian projections of latents of any covariance, with noise.

    Section 3.1 with the participation ratio of the latents in the place of their number; see `deflation` for
    its accuracy.

    Parameters
    ----------
    units_a, units_b : number or array
    covariance : array-like, (…, latents, latents)
        Covariance of the latents; numpy.eye(n) for white ones.
    sigma : float or array
        Standard deviation of independent noise in each unit of both systems.

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        As in `deflation` and `participation_ratio`.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose import theory
    >>> round(float(theory.expected_cka_coloured(16, 16, np.eye(64), sigma=4.0)), 4)
    0.1368
    """
    ratio = participation_ratio(covariance, sigma)
    return deflation(units_a, units_b, ratio, ratio)


@like_input
def expected_regression(
    units_a: ArrayLike,
    units_b: ArrayLike,
    latents: int | tuple[int, int],
    *,
    overlap: ArrayLike = 1.0,
    score: str = "r",
    average: str = "pooled",
) -> Any:
    """Return how well a random projection is expected to predict another, Theorem 3.3 in expectation.

    E R² = ρ min(m_a, n_a) / √(n_a n_b), whatever m_b and the kurtosis of the entries: exact, as the row space
    of A is exchangeable over latents. The pooled r is its square root. The mean r of single units is lower:
    their R² has, for Gaussian projections and full overlap, the distribution Beta(m_a/2, (n − m_a)/2); under
    partial overlap, a Beta distribution of the exact mean and variance stands in for it.

    Parameters
    ----------
    units_a, units_b, latents, overlap
        As in `expected_cka`; a predicts b.
    score : {"r", "r2"}
    average : {"pooled", "units"}
        As in `regression`.

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        As in `expected_cka`, or if `score` or `average` is unknown.

    Examples
    --------
    >>> from superpose import theory
    >>> float(theory.expected_regression(16, 8, 64, score="r2"))
    0.25
    >>> round(float(theory.expected_regression(8, 8, 64, average="units")), 4)
    0.344
    """
    n_a, n_b = _feature_counts(latents)
    rho = _overlap(overlap, n_a, n_b)
    expectation = choose(_EXPECTATIONS, "score and average", (score, average))
    m_a = np.minimum(at_least("units_a", units_a, 1), n_a) + 0 * at_least("units_b", units_b, 1)
    return expectation(m_a, n_a, n_b, rho * math.sqrt(n_a * n_b))


@like_input
def expected_regression_coloured(
    units_a: ArrayLike, covariance: ArrayLike, *, sigma: ArrayLike = 0.0, score: str = "r"
) -> Any:
    """Return how well a random Gaussian projection predicts another of the same coloured, noisy latents.

    With s the eigenvalues of the covariance and λ solving m_a − σ²/λ = Σ s/(s + λ), the deterministic
    equivalent of the fitted degrees of freedom: E R² ≈ Σ s²/(s + λ) / (Σ s + σ²). It equals m_a/n for white
    latents without noise (Theorem 3.3 in expectation), and is 1 without noise once m_a reaches the rank of
    the covariance.

    Parameters
    ----------
    units_a : number or array
    covariance : array-like, (latents, latents)
    sigma : float or array
        Standard deviation of independent noise in each unit of both systems.
    score : {"r", "r2"}
        Pooled over units.

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        If a unit count is under 1, or the covariance is not one square, symmetric matrix with non-negative
        eigenvalues, or `score` is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose import theory
    >>> round(float(theory.expected_regression_coloured(16, np.eye(64), sigma=4.0, score="r2")), 4)
    0.1528
    """
    score_of = choose(SCORES, "score", score)
    s = as_covariance(covariance, None)
    if s.ndim != 2:
        raise DataError(f"covariance has shape {s.shape}; expected one matrix, (latents, latents).")
    spectrum = np.linalg.eigvalsh(s)
    if spectrum[0] < -1e-8 * spectrum[-1]:
        raise DataError(f"covariance has the eigenvalue {spectrum[0]:.3g}; expected none below zero.")
    spectrum = spectrum[spectrum > 1e-12 * spectrum[-1]]
    m, noise = np.broadcast_arrays(at_least("units_a", units_a, 1), np.square(at_least("sigma", sigma, 0)))
    fitted = np.vectorize(lambda m, noise: _fitted_variance(m, noise, spectrum), otypes=[float])(m, noise)
    return score_of(fitted, spectrum.sum() + noise)


@like_input
def overlap_ratio(shared: ArrayLike, features_a: ArrayLike, features_b: ArrayLike) -> Any:
    """Return the overlap ratio ρ = n_s / √(n_a n_b), Eq. (39); it is the CKA of white latents.

    Parameters
    ----------
    shared : number or array
        Features that both systems represent.
    features_a, features_b : number or array
        Features that each represents.

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        If a count is under 1, or `shared` is negative or exceeds a feature count.

    Examples
    --------
    >>> from superpose import theory
    >>> float(theory.overlap_ratio(32, 64, 64))
    0.5
    """
    n_a, n_b = at_least("features_a", features_a, 1), at_least("features_b", features_b, 1)
    n_s = at_least("shared", shared, 0)
    if np.any(n_s > np.minimum(n_a, n_b)):
        raise DataError(
            f"shared is {shared!r} with {features_a!r} and {features_b!r} features; expected no more than the "
            "smaller of the two."
        )
    return n_s / np.sqrt(n_a * n_b)


@like_input
def inversion_overlap(units: ArrayLike, rival_units: ArrayLike, latents: int, *, kurtosis: float = 3.0) -> Any:
    """Return the overlap above which a system that shares less is expected to look more alike (Section 3.4).

    Of two systems that are compared with the same third one, the first has `units` units and shares a part ρ
    of its features, the rival has `rival_units` and shares all. The first scores higher once ρ exceeds
    √(m'(n + m + κ − 2) / (m (n + m' + κ − 2))), a ratio of two `expected_cka`. Over 1: no overlap suffices.

    Parameters
    ----------
    units, rival_units : number or array
        m and m'.
    latents : int
        Features n of either system.
    kurtosis : float
        As in `expected_cka`.

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        If a count or the kurtosis is under 1.

    Examples
    --------
    >>> from superpose import theory
    >>> round(float(theory.inversion_overlap(24, 8, 64)), 3)
    0.637
    """
    rival = expected_cka(rival_units, 1, latents, kurtosis=kurtosis)
    return rival / expected_cka(units, 1, latents, kurtosis=kurtosis)


def _expected_r2(m: Any, n_a: int, n_b: int, shared: Any) -> Any:
    return m / n_a * shared / n_b


def _expected_pooled_r(m: Any, n_a: int, n_b: int, shared: Any) -> Any:
    return np.sqrt(_expected_r2(m, n_a, n_b, shared))


def _expected_unit_r(m: Any, n_a: int, n_b: int, shared: Any) -> Any:
    """Return E √R² for the Beta distribution with the mean and the variance of one unit's R².

    R² = bᵀPb/|b|² with b normal and P the shared block of a random projection of rank m in n_a dimensions, so
    E R⁴ = (2 E tr P² + E (tr P)²) / (n_b (n_b + 2)).
    """
    mean = _expected_r2(m, n_a, n_b, shared)
    diagonal = m * (m + 2) / (n_a * (n_a + 2))
    pairs = n_a * (n_a - 1) if n_a > 1 else 1
    product, off = (m**2 - n_a * diagonal) / pairs, (m - n_a * diagonal) / pairs
    trace2 = shared * diagonal + shared * (shared - 1) * product
    norm2 = shared * diagonal + shared * (shared - 1) * off
    variance = (2 * norm2 + trace2) / (n_b * (n_b + 2)) - mean**2
    constant = (variance <= 1e-12) | (mean <= 0) | (mean >= 1)
    concentration = mean * (1 - mean) / np.where(constant, 1.0, variance) - 1
    alpha = np.where(constant, 1.0, mean * concentration)
    total = np.where(constant, 2.0, concentration)
    root = np.exp(
        special.gammaln(alpha + 0.5) - special.gammaln(alpha) + special.gammaln(total) - special.gammaln(total + 0.5)
    )
    return np.where(constant, np.sqrt(mean), root)[()]


_EXPECTATIONS: dict[tuple[str, str], Callable[[Any, int, int, Any], Any]] = {
    ("r", "pooled"): _expected_pooled_r,
    ("r", "units"): _expected_unit_r,
    ("r2", "pooled"): _expected_r2,
    ("r2", "units"): _expected_r2,
}


def _fitted_variance(units: float, noise: float, spectrum: Array) -> float:
    """Return Σ s²/(s + λ) for the λ at which Σ s/(s + λ) = units − noise/λ."""
    if noise == 0 and units >= len(spectrum):
        return float(spectrum.sum())

    def excess(log: float) -> float:
        penalty = math.exp(log)
        return float((spectrum / (spectrum + penalty)).sum() - units + noise / penalty)

    top = math.log(2 * (spectrum.sum() + noise) / units)
    penalty = math.exp(optimize.brentq(excess, math.log(spectrum[0]) - 60, top, xtol=1e-13))
    return float((spectrum**2 / (spectrum + penalty)).sum())


def _feature_counts(latents: Any) -> tuple[int, int]:
    pair = tuple(latents) if isinstance(latents, tuple | list) else (latents, latents)
    if len(pair) != 2 or any(np.ndim(n) for n in pair):
        raise DataError(f"latents is {latents!r}; expected the features of each system, n or (n_a, n_b).")
    n_a, n_b = (int(at_least("latents", n, 1)) for n in pair)
    return n_a, n_b


def _overlap(overlap: Any, n_a: int, n_b: int) -> Any:
    rho = np.asarray(overlap, dtype=np.float64)[()]
    most = math.sqrt(min(n_a, n_b) / max(n_a, n_b))
    if not np.all((rho >= 0) & (rho <= most + 1e-9)):
        raise DataError(
            f"overlap is {overlap}; expected 0 to {most:.4g}, the most that {n_a} and {n_b} features allow. "
            "overlap_ratio(shared, n_a, n_b) computes it."
        )
    return rho
