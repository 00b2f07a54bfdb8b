"""Sums of kernels over tiles of samples: cheaper than products of units where systems are many and samples few."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.metrics.kernels import CrossRows, KernelRows, KernelSums, OwnRows
from superpose.moments import RowReader
from superpose.moments.blocks import inner

Array = NDArray[Any]

# Samples on a side of a tile: products of so many are as fast as they get, and tiles of all systems stay small.
SIDE = 512
# Small products, of a few systems a sample, take so many times what their operations do in a large one.
SMALL = 3.0


@dataclass(frozen=True)
class KernelTiles:
    """Of kernels K of several systems: Σ_ij K_ij L_ij of every two, the same of drawn rows, and diagonals.

    `products` is (systems, systems), `rows` (drawn, systems, systems), `diagonals` (systems, samples); `drawn` are the
    samples of `rows`.
    """

    place: Mapping[str, int]
    products: Array
    rows: Array
    diagonals: Array
    drawn: NDArray[np.int64]

    def sums(self, a: str, b: str) -> KernelSums:
        """Return what CKA and RSA of two systems are made of."""
        i, j = self.place[a], self.place[b]
        d, e = self.diagonals[i], self.diagonals[j]
        whole = (self.products[i, j], self.products[i, i], self.products[j, j], d.sum(), e.sum(), d @ d, e @ e, d @ e)
        return KernelSums(len(d), *(np.asarray(value) for value in whole))

    def shares(self, a: str, b: str) -> KernelRows:
        """Return what each drawn row adds to them."""
        i, j = self.place[a], self.place[b]
        return CrossRows(self.rows[:, i, j]), self._own(i), self._own(j)

    def _own(self, i: int) -> OwnRows:
        return OwnRows(self.rows[:, i, i], self.diagonals[i, self.drawn])


def kernel_tiles(
    read: Mapping[str, RowReader],
    samples: NDArray[np.int64],
    drawn: NDArray[np.int64],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> KernelTiles:
    """Take the sums of every two systems from tiles of their kernels, on and above the diagonal.

    Parameters
    ----------
    read : mapping of callable
        What reads rows of each system about its mean, at most `SIDE` at once.
    samples : ndarray of int, ascending
        The samples that are summed over.
    drawn : ndarray of int
        Those of them whose rows are wanted, in any order.
    progress : callable, optional
        Called with (rows of tiles done, all).
    """
    total = len(samples)
    blocks = [slice(start, min(start + SIDE, total)) for start in range(0, total, SIDE)]
    places = np.searchsorted(samples, drawn)
    order = np.argsort(places, kind="stable")
    ends = np.searchsorted(places[order], [block.start for block in blocks] + [total])
    wanted = [places[order[low:high]] - block.start for block, low, high in zip(blocks, ends, ends[1:], strict=False)]
    count = len(read)
    products, rows = np.zeros((count, count)), np.zeros((len(drawn), count, count))
    diagonals = np.empty((count, total))
    # Used again for every tile: fresh memory would cost as much as a part of the products.
    one = [take(_index(samples, slice(0, 1))) for take in read.values()]
    held = [np.empty((SIDE, x.shape[1]), x.dtype) for x in one]
    space = np.empty(count * SIDE**2, np.result_type(*one))
    for i, block in enumerate(blocks):
        # The next reading overwrites what a reader gave.
        first = [x[: block.stop - block.start] for x in held]
        for number, (x, take) in enumerate(zip(first, read.values(), strict=True)):
            x[...] = take(_index(samples, block))
            diagonals[number, block] = inner(x, x)
        for j in range(i, len(blocks)):
            tile = space[: count * (block.stop - block.start) * (blocks[j].stop - blocks[j].start)]
            tile = tile.reshape(count, block.stop - block.start, -1)
            across = np.empty((len(wanted[j]) if j > i else 0, count, len(first[0])), tile.dtype)
            for number, (x, take) in enumerate(zip(first, read.values(), strict=True)):
                # Of rows with themselves, half the products are enough: NumPy sees that they are one array.
                np.matmul(x, (x if i == j else take(_index(samples, blocks[j]))).T, out=tile[number])
                # While it is in cache: columns lie far apart.
                across[:, number] = tile[number].T[wanted[j][: len(across)]]
            flat = tile.reshape(count, -1)
            products += (1 if i == j else 2) * (flat @ flat.T).astype(np.float64)
            rows[ends[i] : ends[i + 1]] += _by_row(tile.transpose(1, 0, 2)[wanted[i]])
            if j > i:
                rows[ends[j] : ends[j + 1]] += _by_row(across)
        progress(i + 1, len(blocks))
    in_order = np.empty_like(rows)
    in_order[order] = rows
    return KernelTiles({name: i for i, name in enumerate(read)}, products, in_order, diagonals, places)


def _index(samples: NDArray[np.int64], block: slice) -> slice | NDArray[np.int64]:
    """Return the samples of a block, as a slice where they lie end to end: rows are then read in place."""
    part = samples[block]
    return slice(int(part[0]), int(part[-1]) + 1) if part[-1] - part[0] + 1 == len(part) else part


def _by_row(kernels: Array) -> Array:
    """Return each row's products of every two systems, (rows, systems, systems), from (rows, systems, samples)."""
    return np.matmul(kernels, np.swapaxes(kernels, -1, -2)).astype(np.float64)


def are_cheaper(units: Sequence[int], pairs: Sequence[tuple[int, int]], samples: int, drawn: int) -> bool:
    """Return whether tiles take fewer operations than products of units, own and of pairs, and of drawn rows with them.

    Examples
    --------
    >>> from itertools import combinations
    >>> from superpose.comparison.kernel_tiles import are_cheaper
    >>> are_cheaper([768] * 48, list(combinations([768] * 48, 2)), 5_000, 5_000)
    True
    >>> are_cheaper([768] * 2, [(768, 768)], 5_000, 5_000)
    False
    """
    tiled = samples**2 * (sum(units) + len(units) ** 2) + SMALL * 2 * samples * drawn * len(units) ** 2
    square = sum(width**2 for width in units) + sum(p * q for p, q in pairs)
    return tiled < 2 * (samples + drawn) * square


def bytes_held(units: Sequence[int], drawn: int) -> int:
    """Return what tiles hold at once: rows of all systems, their tile, and the rows that are drawn."""
    return 8 * (SIDE * sum(units) + 3 * len(units) * SIDE**2) + 8 * drawn * len(units) ** 2
