"""What one unit of each feature's code adds to the activity of a system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Array = NDArray[Any]
Index = NDArray[np.int64]

# Samples that codes are regressed on, at most; the ridge, of the codes' mean variance.
ROWS, RIDGE = 20_000, 1e-3


@dataclass(frozen=True, eq=False)
class Loadings:
    """Least squares of activity on codes in two halves of the training samples, factorised once for all systems.

    Attributes
    ----------
    codes : ndarray, (samples, features)
    halves : tuple of ndarray of int
        The training samples of each half.
    factors : tuple
        Of each half, the Cholesky factor of the codes' Gram matrix about their mean.
    """

    codes: Array
    halves: tuple[Index, ...]
    factors: tuple[Any, ...]

    def of(self, activity: Array) -> tuple[Array, Array]:
        """Return each feature's direction in an activity, and the share of its variance that it carries, without bias.

        The product of the coefficients of two halves is without the bias that the square of one has.
        """
        rows = np.concatenate(self.halves)
        coefficients = [
            cho_solve(factor, _about(self.codes[half]).T @ _about(activity[half]))
            for half, factor in zip(self.halves, self.factors, strict=True)
        ]
        total = activity[rows].var(axis=0, dtype=np.float64).sum()
        squares = np.einsum("fu,fu->f", *coefficients)
        return np.mean(coefficients, axis=0), squares * self.codes[rows].var(axis=0, dtype=np.float64) / total


def loadings(codes: Array, training: Index) -> Loadings:
    """Return what gives the directions of codes, (samples, features), from some training samples.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.sharing.loadings import loadings
    >>> z = np.random.default_rng(0).exponential(size=(2_000, 2))
    >>> directions, effect = loadings(z, np.arange(1_500)).of(z @ [[3.0, 0.0], [0.0, 1.0]])
    >>> directions.round(1) + 0.0, effect.round(1)
    (array([[3., 0.],
           [0., 1.]]), array([0.9, 0.1]))
    """
    rows = training[:: max(1, -(-len(training) // ROWS))]
    halves = (rows[: len(rows) // 2], rows[len(rows) // 2 :])
    return Loadings(codes, halves, tuple(_factor(codes[half]) for half in halves))


def _factor(codes: Array) -> Any:
    c = _about(codes)
    gram = c.T @ c
    gram[np.diag_indices_from(gram)] += RIDGE * max(float(gram.diagonal().mean()) if len(gram) else 0.0, 1e-12)
    return cho_factor(gram)


def _about(x: Array) -> Array:
    return np.asarray(x - x.mean(axis=0, dtype=np.float64))
