"""Linear equations of a Gram matrix, and how far its rounding reaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, get_blas_funcs, get_lapack_funcs

from superpose.moments import Array, Precision

# Rounding of the products, times what multiplies it: below this a held-out score is known to 1e-4.
BLUR = 1e-4
TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Cholesky:
    """The factor of a Gram matrix whose units were scaled to a variance of 1, in the precision of its products.

    `inverse` is R⁻¹ of R'R: products with a triangle take a third of what solving by it does. `reach` bounds √‖G⁻¹‖
    times the rounding of one product.
    """

    scale: Array
    inverse: Array
    reach: float

    @property
    def nbytes(self) -> int:
        """What the factor takes."""
        return int(self.inverse.nbytes)

    def solve(self, joint: Array) -> tuple[Array, bool]:
        """Return G⁻¹ · joint, and whether rounding leaves it known well enough."""
        scale = self.scale[..., :, None].astype(self.inverse.dtype)
        target = np.multiply(joint, scale, dtype=scale.dtype, casting="same_kind", order="C")
        weights = target.copy()
        (trmm,) = get_blas_funcs(("trmm",), (self.inverse,))
        for inverse, rows in zip(_matrices(self.inverse), _matrices(weights), strict=True):
            # W' = J'R⁻¹R⁻¹', in place: BLAS takes rows for columns, so that neither is copied into its order.
            half = trmm(1.0, inverse.T, rows.T, side=1, lower=1, trans_a=1, overwrite_b=1)
            trmm(1.0, inverse.T, half, side=1, lower=1, overwrite_b=1)
        known = self.reach * _lengthened(weights, target) < BLUR
        weights *= scale
        return weights, known


@dataclass(frozen=True)
class LeastNorm:
    """A matrix R with RR' the inverse of a Gram matrix on the directions that rounding leaves it."""

    root: Array

    @property
    def nbytes(self) -> int:
        """What the matrix takes."""
        return int(self.root.nbytes)

    def solve(self, joint: Array) -> tuple[Array, bool]:
        """Return the least solution of G w = joint, and that directions were left out."""
        solution: Array = self.root @ (np.swapaxes(self.root, -1, -2) @ joint)
        return solution, False


def factored(gram: Array, precision: Precision) -> Cholesky | LeastNorm:
    """Factor a symmetric Gram matrix of products in that precision.

    With predictors scaled to unit variance, rounding of the products alone gives a direction the variance `floor`.
    Equations are solved in the precision of the products: that adds no more error than they brought.
    """
    diagonal = np.einsum("...ii->...i", gram)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = gram * scale[..., :, None]
    scaled *= scale[..., None, :]
    # A predictor that is constant over the training samples gets no weight.
    np.einsum("...ii->...i", scaled)[diagonal <= 0] = 1.0
    resolution = float(np.finfo(precision).eps)
    floor = gram.shape[-1] * resolution
    try:
        factor, _ = cho_factor(scaled, lower=True, check_finite=False)
        if (np.einsum("...ii->...i", factor) ** 2).min() > floor:
            # LAPACK leaves columns end to end: of the lower factor, the rows of the upper one.
            upper = np.ascontiguousarray(np.swapaxes(factor, -1, -2).astype(precision, copy=False))
            return Cholesky(scale, _inverted(upper), resolution * _inverse_norm(upper) ** 0.5)
    except LinAlgError:
        pass
    values, vectors = np.linalg.eigh(scaled)
    inverse = np.where(values > floor, 1 / np.where(values > floor, values, 1.0), 0.0)
    return LeastNorm(scale[..., :, None] * vectors * np.sqrt(inverse)[..., None, :])


def _inverted(upper: Array) -> Array:
    """Return the inverses of upper triangles; what lies below them is never read."""
    (trtri,) = get_lapack_funcs(("trtri",), (upper,))
    inverses = [trtri(one.T, lower=1)[0].T for one in _matrices(upper)]
    return np.ascontiguousarray(inverses).reshape(upper.shape)


def _inverse_norm(upper: Array) -> float:
    """Return ‖G⁻¹‖, that of sums of columns, as LAPACK estimates it from the factor."""
    (pocon,) = get_lapack_funcs(("pocon",), (upper,))
    # It divides by the ‖G‖ that it is given.
    return max(1 / max(float(pocon(one.T, 1.0, uplo="L")[0]), TINY) for one in _matrices(upper))


def _matrices(stack: Array) -> Array:
    """Return matrices under any leading axes as one row of them."""
    return stack.reshape(-1, *stack.shape[-2:])


def _lengthened(weights: Array, target: Array) -> float:
    """Return how much longer weights are than what they predict.

    An error E of G moves w by G⁻¹Ew, and predictions by √(w'E'G⁻¹Ew) in units of √(w'Gw): at most √‖G⁻¹‖ ‖w‖ / √(w'Gw)
    for each of E. What this returns, times √‖G⁻¹‖ and the rounding, bounds the error of predictions.
    """
    explained = np.einsum("...ij,...ij->...j", weights, target)
    length = np.einsum("...ij,...ij->...j", weights, weights)
    return float(np.sqrt((length[explained > 0] / explained[explained > 0]).max(initial=0.0)))
