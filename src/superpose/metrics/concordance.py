"""How far each pair of two lists of numbers agrees in order with all others, on a grid of quantiles."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Quantiles on either axis, and how many of them a derivative is taken across.
BINS = 128
ACROSS = 8
# Numbers that the quantiles are taken from, where there are more.
RANKED = 2**16


class Concordance(NamedTuple):
    """The cell of a grid that each pair (a, b) lies in, (numbers,), and what holds in each cell, (cells,).

    `shares` is how many pairs lie in the same order in both lists as those of the cell, less how many do not, as a
    share of all; `slope_a` and `slope_b` are its derivatives as one of their numbers moves.
    """

    cells: NDArray[np.int64]
    shares: Array
    slope_a: Array
    slope_b: Array


def concordance(a: Array, b: Array) -> Concordance:
    """Return the concordance of each pair of numbers with all others, to the width of a bin of the grid.

    Numbers in one bin count as tied: that loses about one part in `BINS` of a share. Kendall's tau-a is the mean share.

    Parameters
    ----------
    a, b : ndarray, (numbers,)

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.metrics.concordance import concordance
    >>> found = concordance(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]))
    >>> found.shares[found.cells].round(2)
    array([0.67, 0.  , 0.  ])
    """
    of_a, of_b = _bins(a), _bins(b)
    sizes = int(of_a.max()) + 1, int(of_b.max()) + 1
    cells = of_a * sizes[1] + of_b
    counts = np.bincount(cells, minlength=sizes[0] * sizes[1]).reshape(sizes)
    grid = _below_less_above(_below_less_above(counts, 0), 1) / len(a)
    slope_a, slope_b = _slopes(grid, _centres(of_a, a)), _slopes(grid.T, _centres(of_b, b)).T
    return Concordance(cells, grid.ravel(), slope_a.ravel(), slope_b.ravel())


def _bins(values: Array) -> NDArray[np.int64]:
    """Return the bin of each number, from 0 and without gaps; a value that makes up a bin has it to itself."""
    some = np.sort(values[:: max(1, len(values) // RANKED)])
    inner = some[np.arange(1, BINS) * len(some) // BINS] if len(some) > BINS else some
    edges, count = np.unique(inner, return_counts=True)
    edges = np.union1d(edges, np.nextafter(edges[count > 1], np.inf))
    bins = np.searchsorted(edges, values, side="right")
    found: NDArray[np.int64] = (np.cumsum(np.bincount(bins) > 0) - 1)[bins]
    return found


def _centres(bins: NDArray[np.int64], values: Array) -> Array:
    """Return the mean of the numbers in each bin."""
    centres: Array = np.bincount(bins, values) / np.bincount(bins)
    return centres


def _below_less_above(counts: Array, axis: int) -> Array:
    """Return sums over the bins below each, less those above."""
    sums = np.cumsum(counts, axis=axis)
    found: Array = 2 * sums - counts - np.take(sums, [-1], axis=axis)
    return found


def _slopes(grid: Array, centres: Array) -> Array:
    """Return the derivative of a grid along its rows, across several bins; a single bin has none."""
    count = len(centres)
    reach = max(1, count * ACROSS // (2 * BINS))
    low, high = np.maximum(np.arange(count) - reach, 0), np.minimum(np.arange(count) + reach, count - 1)
    width = np.where(high > low, centres[high] - centres[low], np.inf)
    slopes: Array = (grid[high] - grid[low]) / width[:, None]
    return slopes
