"""Rows of one chunk about a shift, dense or sparse, and the products that moments are sums of."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

Array = NDArray[Any]

# A product of sparse rows costs the square of the share that is not zero, per product several times a dense one.
SPARSE = 1 / 32
# Rows looked at to tell which it is.
GLANCE = 256


@dataclass(frozen=True)
class DenseRows:
    """Rows less their shift, (…, rows, units), in the precision of the products."""

    matrix: Array

    @property
    def count(self) -> int:
        """How many rows there are."""
        return int(self.matrix.shape[-2])

    def norms(self) -> Array:
        """Return the squared length of each row, (…, rows)."""
        return np.einsum("...ij,...ij->...i", self.matrix, self.matrix)

    def diagonal(self) -> Array:
        """Return the sum of squares of each unit, (…, units)."""
        return np.einsum("...ij,...ij->...j", self.matrix, self.matrix)

    def totals(self, weights: Array) -> Array:
        """Return sums of rows under several weights, (…, weights, rows): (…, weights, units)."""
        return np.matmul(weights, self.matrix)


@dataclass(frozen=True)
class SparseRows:
    """Rows as they are, mostly zeros, and the shift that is subtracted in every product: a shift would fill them."""

    matrix: csr_array
    shift: Array

    @property
    def count(self) -> int:
        """How many rows there are."""
        return int(self.matrix.shape[0])

    def norms(self) -> Array:
        """Return the squared length of each row less the shift, (rows,)."""
        squares = self.matrix.multiply(self.matrix).sum(axis=1)
        return np.asarray(squares - 2 * (self.matrix @ self.shift) + self.shift @ self.shift)

    def diagonal(self) -> Array:
        """Return the sum of squares of each unit less the shift, (units,)."""
        squares = self.matrix.multiply(self.matrix).sum(axis=0)
        return np.asarray(squares - 2 * self.shift * self.matrix.sum(axis=0) + self.count * self.shift**2)

    def totals(self, weights: Array) -> Array:
        """Return sums of rows less the shift under several weights, (weights, rows): (weights, units)."""
        return np.asarray(weights @ self.matrix - weights.sum(axis=-1)[:, None] * self.shift)


Rows = DenseRows | SparseRows


def product(x: Rows, y: Rows) -> Array:
    """Return x'y of paired rows about their shifts, (…, units_x, units_y)."""
    if isinstance(x, DenseRows) and isinstance(y, DenseRows):
        return np.matmul(np.swapaxes(x.matrix, -1, -2), y.matrix)
    crossed: Any = x.matrix.T @ y.matrix
    result: Array = crossed.toarray() if issparse(crossed) else crossed
    # With X = A + 1s' and Y = B + 1t', A'B = X'Y − s (1'Y) − (1'X)' t' + n s t'; what is dense has no shift left.
    if isinstance(x, SparseRows):
        result = result - np.outer(x.shift, y.matrix.sum(axis=0, dtype=np.float64))
    if isinstance(y, SparseRows):
        about = np.asarray(x.matrix.sum(axis=0, dtype=np.float64))
        about = about - x.count * x.shift if isinstance(x, SparseRows) else about
        result = result - np.outer(about, y.shift)
    return result


def inner(x: Array, y: Array) -> Array:
    """Return the inner product of each row of one with that of the other, (rows,): no more exact than the rows."""
    return np.einsum("ij,ij->i", x, y).astype(np.float64)


def as_type(matrix: Array) -> Callable[[Any], Array]:
    """Return what gives a matrix in the precision of the rows it is multiplied with, converted once."""
    return functools.cache(matrix.astype)


def is_sparse(x: Array) -> bool:
    """Say whether so few of the first rows' values differ from zero that sparse products cost less than dense ones."""
    first = x[..., :GLANCE, :]
    return x.ndim == 2 and first.size > 0 and bool(np.count_nonzero(first) <= SPARSE * first.size)
