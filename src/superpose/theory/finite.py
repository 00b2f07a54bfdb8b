"""Alignment to expect at finite sample sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from superpose.arrays import like_input
from superpose.files import DataError
from superpose.theory.algebra import Array, at_least, covariances, norm2, trace


@like_input
def finite_sample_cka(a: ArrayLike, b: ArrayLike, samples: ArrayLike, covariance: ArrayLike | None = None) -> Any:
    """Return the biased CKA to expect of a finite sample, above its limit in Theorem 3.2.

    The responses' scatter matrices are taken as Wishart, exact for normal latents, with N − 1 degrees of
    freedom: ‖C_ab‖² becomes ‖C_ab‖² (1 + 1/(N − 1)) + tr C_aa tr C_bb / (N − 1), and so for the two norms
    below the line. Unrelated systems with more units than samples score high.

    Parameters
    ----------
    a, b, covariance
        As in `rsa`.
    samples : number or array
        Samples N; at least 2.

    Returns
    -------
    float or array, (…)

    Raises
    ------
    DataError
        As in `rsa`, or if `samples` is under 2.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose import theory
    >>> a, b = np.eye(6)[:3], np.eye(6)[3:]
    >>> float(theory.cka(a, b)), round(float(theory.finite_sample_cka(a, b, 10)), 4)
    (0.0, 0.2308)
    """
    c_aa, c_ab, c_bb = covariances(a, b, covariance)
    nu = at_least("samples", samples, 2) - 1
    t_a, t_b = trace(c_aa), trace(c_bb)

    def expected(norm2: Array, traces: Array) -> Array:
        return norm2 * (1 + 1 / nu) + traces / nu

    below = expected(norm2(c_aa), t_a * t_a) * expected(norm2(c_bb), t_b * t_b)
    return expected(norm2(c_ab), t_a * t_b) / np.sqrt(below)


@like_input
def adjusted_r2(r2: ArrayLike, samples: ArrayLike, units: ArrayLike) -> Any:
    """Return R² corrected for being scored in sample: 1 − (1 − R²)(N − 1)/(N − p − 1).

    The adjusted R² of least squares with an intercept (Wherry 1931), the inverse of `in_sample_r2`.

    Parameters
    ----------
    r2 : number or array
        R² in sample.
    samples : number or array
        Samples N.
    units : number or array
        Predictors p, without the intercept; at most N − 2.

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        If samples are too few for the predictors.

    Examples
    --------
    >>> from superpose import theory
    >>> round(float(theory.adjusted_r2(0.542, 400, 32)), 3)
    0.502
    """
    n, p = _enough(samples, units, 2)
    return 1 - (1 - np.asarray(r2, dtype=np.float64)) * (n - 1) / (n - p - 1)


@like_input
def in_sample_r2(r2: ArrayLike, samples: ArrayLike, units: ArrayLike) -> Any:
    """Return the R² that least squares is expected to reach on its own samples: R² + (1 − R²) p/(N − 1).

    The expectation that the adjusted R² inverts (Wherry 1931).

    Parameters
    ----------
    r2 : number or array
        R² of the best linear prediction, as `regression(..., score="r2")` gives.
    samples, units
        As in `adjusted_r2`.

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        If samples are too few for the predictors.

    Examples
    --------
    >>> from superpose import theory
    >>> round(float(theory.in_sample_r2(0.5, 401, 40)), 3)
    0.55
    """
    n, p = _enough(samples, units, 2)
    population = np.asarray(r2, dtype=np.float64)
    return population + (1 - population) * p / (n - 1)


@like_input
def held_out_r2(r2: ArrayLike, samples: ArrayLike, units: ArrayLike) -> Any:
    """Return the R² that least squares is expected to reach on new samples.

    1 − (1 − R²)(1 + 1/N)(N − 2)/(N − p − 2): the mean squared error of prediction for normal predictors and
    an intercept (Stein 1960), against the variance over a large test set. Negative when p is close to N.

    Parameters
    ----------
    r2 : number or array
        R² of the best linear prediction, as `regression(..., score="r2")` gives.
    samples : number or array
        Samples N that the regression is fitted on.
    units : number or array
        Predictors p, without the intercept; at most N − 3.

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        If samples are too few for the predictors.

    Examples
    --------
    >>> from superpose import theory
    >>> round(float(theory.held_out_r2(0.5, 400, 32)), 3), round(float(theory.held_out_r2(0.5, 150, 100)), 2)
    (0.455, -0.55)
    """
    n, p = _enough(samples, units, 3)
    return 1 - (1 - np.asarray(r2, dtype=np.float64)) * (1 + 1 / n) * (n - 2) / (n - p - 2)


def _enough(samples: Any, units: Any, more: int) -> tuple[Any, Any]:
    n, p = at_least("samples", samples, 1), at_least("units", units, 1)
    if np.any(n < p + more):
        raise DataError(
            f"{samples} samples are too few for {units} predictors; expected at least {more} more samples "
            "than predictors. Use a ridge, or fewer units."
        )
    return n, p
