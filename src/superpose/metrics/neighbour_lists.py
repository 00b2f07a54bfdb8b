"""The nearest neighbours of samples in two systems, with the next nearest beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.metrics.pairwise import squared_distances, tiles

Array = NDArray[Any]


class Listed(NamedTuple):
    """The k nearest others of some samples in one system and, last, the next nearest, (rows, k + 1).

    `shared` says which of them are among the k nearest in the other system; `own` and `other` are the inner products
    of the samples with them in this system and in the other.
    """

    rows: NDArray[np.int64]
    near: NDArray[np.int64]
    shared: NDArray[np.bool_]
    own: Array
    other: Array


def lists(x: Array, y: Array, k: int) -> Iterator[tuple[Listed, Listed]]:
    """Yield the neighbours of the samples in both systems, tile by tile."""
    norms = [np.einsum("ij,ij->i", z, z) for z in (x, y)]
    for rows in tiles(len(x)):
        distances = [squared_distances(z, rows) for z in (x, y)]
        near = [_nearest(d, rows, k) for d in distances]
        found = []
        for here, there in ((0, 1), (1, 0)):
            products = [_products(distances[side], norms[side], rows, near[here]) for side in (here, there)]
            found.append(Listed(rows, near[here], among(near[here], near[there][:, :k], len(x)), *products))
        yield found[0], found[1]


def _nearest(distances: Array, rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Return the k nearest others in no particular order and the next nearest last, (rows, k + 1)."""
    own = np.arange(len(rows)), rows
    kept = distances[own]
    distances[own] = np.inf
    near = np.argpartition(distances, (k - 1, k), axis=1)[:, : k + 1]
    distances[own] = kept
    return near


def _products(distances: Array, norms: Array, rows: NDArray[np.int64], near: NDArray[np.int64]) -> Array:
    """Return the inner products of some samples with others, (rows, k + 1), from their distances."""
    return (norms[rows, None] + norms[near] - np.take_along_axis(distances, near, axis=1)) / 2


def among(near: NDArray[np.int64], others: NDArray[np.int64], samples: int) -> NDArray[np.bool_]:
    """Return which of some neighbours are among others of the same sample."""
    mask = np.zeros((len(near), samples), dtype=bool)
    np.put_along_axis(mask, others, True, axis=1)
    return np.take_along_axis(mask, near, axis=1)
