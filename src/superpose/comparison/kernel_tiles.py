"""Sums of kernels over tiles of samples: cheaper than products of units where systems are many and samples few."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from superpose.metrics.kernels import CrossRows, KernelRows, KernelSums, OwnRows
from superpose.moments import RowReader
from superpose.moments.blocks import inner

Array = NDArray[Any]
Index = slice | NDArray[np.int64]

# Samples on a side of a tile: products of so many are as fast as they get, and tiles of all systems stay small.
SIDE = 512
# Small products, of a few systems a sample, take so many times what their operations do in a large one.
SMALL = 3.0


class Kernel(Protocol):
    """One system's inner products of samples about their mean, tile by tile."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The precision of its tiles."""

    def begin(self, rows: Index) -> Array:
        """Take the rows of the tiles that follow, and return their diagonal."""

    def tile(self, columns: Index | None, out: Array) -> None:
        """Write the products of the rows that were begun with other samples, or with themselves."""


class OfRows:
    """The kernel of a system whose rows are read, at most `SIDE` at once."""

    def __init__(self, take: RowReader, samples: NDArray[np.int64]) -> None:
        self.take = take
        one = take(samples[:1])
        # Used again for every tile: fresh memory would cost as much as a part of the products.
        self.dtype, self.space = one.dtype, np.empty((SIDE, one.shape[1]), one.dtype)

    def begin(self, rows: Index) -> Array:
        """Read the rows of the tiles that follow, and return their diagonal."""
        found = self.take(rows)
        # The next reading overwrites what a reader gave.
        self.first = self.space[: len(found)]
        self.first[...] = found
        return inner(self.first, self.first)

    def tile(self, columns: Index | None, out: Array) -> None:
        """Write the products of these rows with others."""
        # Of rows with themselves, half the products are enough: NumPy sees that they are one array.
        np.matmul(self.first, (self.first if columns is None else self.take(columns)).T, out=out)


class OfProducts:
    """The kernel of a system whose inner products are at hand, of all samples with all, about any mean.

    Of the samples scored it is taken about their mean.
    """

    def __init__(self, products: Array, scored: Index, precision: type[np.floating[Any]]) -> None:
        mean = products[:, scored].mean(axis=1)
        self.products = ((products - mean) - (mean - mean[scored].mean())[:, None]).astype(precision)
        self.dtype = self.products.dtype

    def begin(self, rows: Index) -> Array:
        """Take the rows of the tiles that follow, and return their diagonal."""
        self.rows, self.first = rows, self.products[rows]
        return self.products.diagonal()[rows].astype(np.float64)

    def tile(self, columns: Index | None, out: Array) -> None:
        """Write the products of these rows with others."""
        out[...] = self.first[:, self.rows if columns is None else columns]


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
    kernels: Mapping[str, Kernel],
    samples: NDArray[np.int64],
    drawn: NDArray[np.int64],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> KernelTiles:
    """Take the sums of every two systems from tiles of their kernels, on and above the diagonal.

    Parameters
    ----------
    kernels : mapping of Kernel
        Of each system.
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
    count = len(kernels)
    products, rows = np.zeros((count, count)), np.zeros((len(drawn), count, count))
    diagonals = np.empty((count, total))
    space = np.empty(count * SIDE**2, np.result_type(*(kernel.dtype for kernel in kernels.values())))
    for i, block in enumerate(blocks):
        for number, kernel in enumerate(kernels.values()):
            diagonals[number, block] = kernel.begin(_index(samples, block))
        for j in range(i, len(blocks)):
            tile = space[: count * (block.stop - block.start) * (blocks[j].stop - blocks[j].start)]
            tile = tile.reshape(count, block.stop - block.start, -1)
            across = np.empty((len(wanted[j]) if j > i else 0, count, tile.shape[1]), tile.dtype)
            for number, kernel in enumerate(kernels.values()):
                kernel.tile(None if i == j else _index(samples, blocks[j]), tile[number])
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
    return KernelTiles({name: i for i, name in enumerate(kernels)}, products, in_order, diagonals, places)


def _index(samples: NDArray[np.int64], block: slice) -> Index:
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


def bytes_held(units: Sequence[int], samples: int, drawn: int) -> int:
    """Return what tiles hold at once: rows of all systems, their tile, and the rows that are drawn.

    Of a system of as many directions as samples, its products; three times those of one come before the first tile.
    """
    products = [width for width in units if width >= samples]
    kept = SIDE * (sum(units) - sum(products)) + len(products) * samples**2
    tile = 3 * len(units) * min(SIDE, samples) ** 2 + drawn * len(units) ** 2
    return 8 * (kept + max(tile, 3 * bool(products) * samples**2))
