"""Linear equations of a Gram matrix, and how far its rounding reaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.lapack import dpocon

from superpose.moments import Array, Precision

# Rounding of the products, times what multiplies it: below this a held-out score is known to 1e-4.
BLUR = 1e-4
TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Cholesky:
    """The lower factor of a Gram matrix whose units were scaled to a variance of 1, in the precision of its products.

    `reach` bounds √‖G⁻¹‖ times the rounding of one product.
    """

    scale: Array
    factor: Array
    reach: float

    @property
    def nbytes(self) -> int:
        """What the factor takes."""
        return int(self.factor.nbytes)

    def solve(self, joint: Array) -> tuple[Array, bool]:
        """Return G⁻¹ · joint, and whether rounding leaves it known well enough."""
        target = (joint * self.scale[..., :, None]).astype(self.factor.dtype)
        weights = cho_solve((self.factor, True), target, check_finite=False)
        return self.scale[..., :, None] * weights, self.reach * _lengthened(weights, target) < BLUR


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
    scaled = gram * scale[..., :, None] * scale[..., None, :]
    # A predictor that is constant over the training samples gets no weight.
    np.einsum("...ii->...i", scaled)[diagonal <= 0] = 1.0
    resolution = float(np.finfo(precision).eps)
    floor = gram.shape[-1] * resolution
    try:
        factor, _ = cho_factor(scaled, lower=True, check_finite=False)
        if (np.einsum("...ii->...i", factor) ** 2).min() > floor:
            reach = resolution * _inverse_norm(scaled, factor) ** 0.5
            return Cholesky(scale, factor.astype(precision, copy=False), reach)
    except LinAlgError:
        pass
    values, vectors = np.linalg.eigh(scaled)
    inverse = np.where(values > floor, 1 / np.where(values > floor, values, 1.0), 0.0)
    return LeastNorm(scale[..., :, None] * vectors * np.sqrt(inverse)[..., None, :])


def _inverse_norm(gram: Array, factor: Array) -> float:
    """Return ‖G⁻¹‖, that of sums of columns, as LAPACK estimates it from the lower factor."""
    width = gram.shape[-1]
    norms = np.abs(gram).sum(axis=-2).max(axis=-1).reshape(-1)
    pairs = zip(factor.reshape(-1, width, width), norms, strict=True)
    return max(1 / max(norm * dpocon(one, norm, uplo="L")[0], TINY) for one, norm in pairs)


def _lengthened(weights: Array, target: Array) -> float:
    """Return how much longer weights are than what they predict.

    An error E of G moves w by G⁻¹Ew, and predictions by √(w'E'G⁻¹Ew) in units of √(w'Gw): at most √‖G⁻¹‖ ‖w‖ / √(w'Gw)
    for each of E. What this returns, times √‖G⁻¹‖ and the rounding, bounds the error of predictions.
    """
    explained = np.einsum("...ij,...ij->...j", weights, target)
    length = np.einsum("...ij,...ij->...j", weights, weights)
    return float(np.sqrt((length[explained > 0] / explained[explained > 0]).max(initial=0.0)))
