"""Products of projections and covariances, and the checks of what users pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.arrays.tensors import as_array
from superpose.files import DataError

Array = NDArray[np.float64]


def covariances(a: Any, b: Any, covariance: Any) -> tuple[Array, Array, Array]:
    """Return C_aa, C_ab and C_bb, with C_ab = A S Bᵀ."""
    return checked_covariances(*checked(a, b, covariance))


def checked_covariances(a: Array, b: Array, s: Array | None) -> tuple[Array, Array, Array]:
    """Return the same of projections and a covariance that were checked."""
    c_aa, c_ab, c_bb = product(a, s, a), product(a, s, b), product(b, s, b)
    check_responds(trace(c_aa), trace(c_bb))
    return c_aa, c_ab, c_bb


def product(a: Array, covariance: Array | None, b: Array) -> Array:
    return (a if covariance is None else a @ covariance) @ np.swapaxes(b, -1, -2)


def apply(matrix: Array, vector: Array) -> Array:
    return np.einsum("...ij,...j->...i", matrix, vector)


def trace(matrix: Array) -> Array:
    return np.trace(matrix, axis1=-2, axis2=-1)


def norm2(matrix: Array) -> Array:
    return np.einsum("...ij,...ij->...", matrix, matrix)


def checked(a: Any, b: Any, covariance: Any) -> tuple[Array, Array, Array | None]:
    """Return both projections and the covariance as float64, or raise if they do not fit."""
    a, b = _matrix(a, "a", "(…, units, latents)"), _matrix(b, "b", "(…, units, latents)")
    if a.shape[-1] != b.shape[-1]:
        raise DataError(
            f"a has {a.shape[-1]} latents and b has {b.shape[-1]}; expected projections of the same latents, "
            "with zero columns for those that a system lacks."
        )
    s = None if covariance is None else as_covariance(covariance, a.shape[-1])
    try:
        np.broadcast_shapes(a.shape[:-2], b.shape[:-2], () if s is None else s.shape[:-2])
    except ValueError:
        raise DataError(
            f"a has the repeats {a.shape[:-2]} and b {b.shape[:-2]}; expected leading axes that broadcast."
        ) from None
    check_responds(a.any((-2, -1)), b.any((-2, -1)))
    return a, b, s


def check_responds(size_a: Array, size_b: Array) -> None:
    for name, size in (("a", size_a), ("b", size_b)):
        if not np.all(size > 0):
            raise DataError(f"{name} responds to no latent that varies; expected non-zero projections.")


def _matrix(value: Any, name: str, axes: str) -> Array:
    array = as_array(value, name)
    if array.dtype.kind not in "iubf":
        raise DataError(f"{name} holds values of type {array.dtype}; expected real numbers.")
    if array.ndim < 2 or 0 in array.shape:
        raise DataError(f"{name} has shape {array.shape}; expected {axes}, none of them empty.")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise DataError(f"{name} has {bad} NaN or infinite value(s); expected none.")
    return array.astype(np.float64)


def as_covariance(value: Any, latents: int | None) -> Array:
    s = _matrix(value, "covariance", "(…, latents, latents)")
    if s.shape[-1] != s.shape[-2] or latents not in (None, s.shape[-1]):
        size = "latents" if latents is None else latents
        raise DataError(f"covariance has shape {s.shape}; expected a square matrix, (…, {size}, {size}).")
    if not np.all(np.any(s, axis=(-2, -1))):
        raise DataError("covariance is zero; expected latents that vary.")
    if not np.allclose(s, np.swapaxes(s, -1, -2), rtol=1e-5, atol=1e-6 * float(np.abs(s).max())):
        raise DataError("covariance is not symmetric; expected the covariance matrix of the latents.")
    return s


def at_least(name: str, value: Any, least: float) -> Any:
    number = np.asarray(value, dtype=np.float64)[()]
    if not np.all(np.isfinite(number) & (number >= least)):
        raise DataError(f"{name} is {value}; expected a finite number of at least {least:g}.")
    return number


def above(name: str, value: Any, bound: float) -> Any:
    number = np.asarray(value, dtype=np.float64)[()]
    if not np.all(np.isfinite(number) & (number > bound)):
        raise DataError(f"{name} is {value}; expected a finite number above {bound:g}.")
    return number
