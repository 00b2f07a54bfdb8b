"""Linear equations of a Gram matrix, and how far its rounding reaches."""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.lapack import dpocon

from superpose.moments import Array

# Rounding of the products, times what multiplies it: below this a held-out score is known to 1e-4.
BLUR = 1e-4
TINY = float(np.finfo(np.float64).tiny)


def solve(gram: Array, joint: Array, resolution: float) -> tuple[Array, bool]:
    """Solve gram · w = joint for symmetric gram by Cholesky; else by least norm, and say that directions were left out.

    With predictors scaled to unit variance, rounding of the products alone gives a direction the variance `floor`.
    """
    diagonal = np.einsum("...ii->...i", gram)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = gram * scale[..., :, None] * scale[..., None, :]
    # A predictor that is constant over the training samples gets no weight.
    np.einsum("...ii->...i", scaled)[diagonal <= 0] = 1.0
    target = joint * scale[..., :, None]
    floor = gram.shape[-1] * resolution
    try:
        factor = cho_factor(scaled, lower=True, check_finite=False)
        if (np.einsum("...ii->...i", factor[0]) ** 2).min() > floor:
            weights = cho_solve(factor, target, check_finite=False)
            blur = resolution * _sensitivity(scaled, factor[0], weights, target)
            return scale[..., :, None] * weights, blur < BLUR
    except LinAlgError:
        pass
    values, vectors = np.linalg.eigh(scaled)
    inverse = np.where(values > floor, 1 / np.where(values > floor, values, 1.0), 0.0)
    return scale[..., :, None] * (vectors @ (inverse[..., :, None] * (np.swapaxes(vectors, -1, -2) @ target))), False


def _sensitivity(gram: Array, factor: Array, weights: Array, target: Array) -> float:
    """Return how much, at most, rounding of the Gram matrix G is multiplied in the predictions of weights w.

    An error E of G moves w by G⁻¹Ew, and predictions by √(w'E'G⁻¹Ew) in units of √(w'Gw): at most √‖G⁻¹‖ ‖w‖ / √(w'Gw)
    for each of E. LAPACK estimates the norm (that of sums of columns) from the lower Cholesky factor.
    """
    width = gram.shape[-1]
    norms = np.abs(gram).sum(axis=-2).max(axis=-1).reshape(-1)
    pairs = zip(factor.reshape(-1, width, width), norms, strict=True)
    inverse = max(1 / max(norm * dpocon(one, norm, uplo="L")[0], TINY) for one, norm in pairs)
    explained = np.einsum("...ij,...ij->...j", weights, target)
    length = np.einsum("...ij,...ij->...j", weights, weights)
    return float(np.sqrt(inverse * (length[explained > 0] / explained[explained > 0]).max(initial=0.0)))
