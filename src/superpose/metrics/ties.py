"""Numbers that only rounding tells apart, which ranks must count as equal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# What sums of products are known to, beside the norms that they are products of.
ROUNDING = 64 * float(np.finfo(np.float64).eps)
# Numbers so near, relative to their own size, tie: products of decimal fractions are known to no more.
TIED = 4096 * float(np.finfo(np.float64).eps)


def levelled(values: Array, margins: Array) -> Array:
    """Return numbers, (…, numbers), those that lie within their margins of the next lower one being made equal to it.

    Parameters
    ----------
    values : ndarray, (…, numbers)
    margins : ndarray, (…, numbers)
        How far each number may be from what it stands for.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.metrics.ties import levelled
    >>> levelled(np.array([0.3, 0.1 + 0.2, 1.0]), np.full(3, 1e-15)).tolist()
    [0.3, 0.3, 1.0]
    """
    order = np.argsort(values, axis=-1)
    ascending = np.take_along_axis(values, order, axis=-1)
    reach = np.take_along_axis(margins, order, axis=-1)
    apart = np.diff(ascending, axis=-1) > reach[..., 1:] + reach[..., :-1]
    ascending[..., 1:][~apart] = -np.inf
    found = np.empty_like(ascending)
    np.put_along_axis(found, order, np.maximum.accumulate(ascending, axis=-1), axis=-1)
    return found
