"""Systems of more units than samples, turned onto as many directions as samples: the same inner products of samples.

What no rotation of the units changes is a function of inner products. Their matrix is one product of the system with
itself, taken by blocks of units; a factor of it stands for the system from then on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.linalg.lapack import dpstrf

from superpose.moments.rows import Precision, working_type
from superpose.numerics.float16 import widen

Array = NDArray[Any]

# Units of a block: so many bytes of float32, but enough of them that adding up the products costs little.
BLOCK_BYTES, FEWEST = 2**24, 1024
# A direction of less than so many roundings of the largest squared norm is rounding.
LOST = 4


def is_wide(x: Array) -> bool:
    """Return whether a system has more units than samples."""
    return bool(x.shape[-1] > x.shape[-2])


def compact(x: Float[np.ndarray, "*repeats samples units"]) -> Float[np.ndarray, "*repeats samples directions"]:
    """Return the same inner products of samples, to float64, by one direction more than samples.

    Every score that does not change under a rotation of the units is the same for `x` and for the result.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.moments.wide import compact
    >>> x = np.random.default_rng(0).normal(size=(5, 80))
    >>> turned = compact(x)
    >>> turned.shape, np.allclose(turned @ turned.T, x @ x.T)
    ((5, 6), True)
    """
    if not is_wide(x):
        return x
    *repeats, samples, _ = x.shape
    turned = np.empty((*repeats, samples, samples + 1))
    for index in np.ndindex(*repeats):
        products = products_of(x[index], np.float64)
        # The offset comes first, so that it lies in one column and costs the small differences no digits.
        length = np.sqrt(products[0, 0])
        along = products[1:, 0] / length if length > 0 else np.zeros(samples)
        turned[index][:, 1:] = factor_of(products[1:, 1:] - np.outer(along, along), np.float64)
        turned[index][:, 0] = along + length
    return turned


def turned(
    x: Float[np.ndarray, "*repeats samples units"], precision: Precision | None = None
) -> Float[np.ndarray, "*repeats samples directions"]:
    """Return as many directions as samples with the same inner products of samples about the mean of all.

    Parameters
    ----------
    x : ndarray, (…, samples, units)
        In memory or memory-mapped; read once, by blocks of units. Not wide, it is returned as it is.
    precision : type, optional
        Of the products and of the result; None is that of the input, `working_type`. Products of float32 are summed in
        float64, block by block.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.moments.wide import turned
    >>> x = np.random.default_rng(0).normal(size=(5, 80))
    >>> about = x - x.mean(axis=0)
    >>> rows = turned(x)
    >>> rows.shape, np.allclose(rows @ rows.T, about @ about.T)
    ((5, 5), True)
    """
    if not is_wide(x):
        return x
    kind = precision or working_type(x)
    *repeats, samples, _ = x.shape
    rows = np.empty((*repeats, samples, samples), kind)
    for index in np.ndindex(*repeats):
        rows[index] = factor_of(products_of(x[index], kind)[1:, 1:], kind)
    return rows


def products_of(x: Float[np.ndarray, "samples units"], precision: Precision) -> Array:
    """Return the inner products of the mean (first) and of samples less the mean, (1 + samples, 1 + samples)."""
    samples, units = x.shape
    found = np.zeros((1 + samples, 1 + samples))
    width = min(units, max(FEWEST, BLOCK_BYTES // (4 * samples)))
    space, ones = np.empty(samples * width, precision), np.ones(samples, precision)
    for start in range(0, units, width):
        part = x[:, start : start + width]
        rows = space[: part.size].reshape(part.shape)
        if part.dtype == np.float16 and precision == np.float32:
            widen(part, rows)
        else:
            rows[...] = part
        mean = ones @ rows / samples
        rows -= mean
        # NumPy sees that they are one array, and takes half of the products.
        found[1:, 1:] += rows @ rows.T
        found[1:, 0] += (rows @ mean).astype(np.float64)
        found[0, 0] += np.square(mean, dtype=np.float64).sum()
    found[0, 1:] = found[1:, 0]
    return found


def factor_of(products: Float[np.ndarray, "samples samples"], precision: Precision) -> Array:
    """Return a square matrix F with FF' the given inner products, but for what is rounding in such a precision.

    Pivoted Cholesky leaves columns of nothing where directions are fewer than samples. One reflection makes of them
    columns like the others: a unit that is constant would count as no predictor.
    """
    samples = len(products)
    largest = float(products.diagonal().max())
    if not largest > 0:
        return np.zeros((samples, samples), precision)
    lower, order, rank, _ = dpstrf(products, tol=LOST * np.finfo(precision).eps * largest, lower=1)
    found = np.zeros((samples, samples), precision)
    found[order - 1] = np.tril(lower)
    found[:, rank:] = 0
    # Rounding would keep equal samples apart.
    squares = products.diagonal()
    apart = squares[:, None] + squares - 2 * products
    same = apart <= LOST * np.finfo(precision).eps * (squares[:, None] + squares)
    found = found[np.argmax(same, axis=1)]
    found -= (found.sum(axis=1, dtype=np.float64) * (2 / samples)).astype(precision)[:, None]
    return found
