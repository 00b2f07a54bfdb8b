"""Rows of responses, read by chunks about a shift, in the precision that products run in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from superpose.arrays import chunks
from superpose.moments.blocks import is_sparse
from superpose.numerics.float16 import widen, widened

Array = NDArray[Any]

Labels = Int[np.ndarray, " samples"]

Index = slice | NDArray[np.int64]

# Chosen rows of a system → those rows about its shift.
RowReader = Callable[[Index], Array]

Precision = type[np.floating[Any]]

CHUNK_BYTES = 2**24

ALL_BYTES = 2**27

CACHE_BYTES = 2**20

# Enough for a pilot: it differs from the mean by a small part of a standard deviation.
PILOT_ROWS = 2**10

# Longer float32 sums lose digits.
CHUNK_ROWS = 2**14


def mean_of(x: Float[np.ndarray, "*repeats samples units"], scored: Index) -> Float[np.ndarray, "*repeats units"]:
    """Return the mean of the scored rows, as exact as the working precision; rows are read by chunks."""
    if isinstance(scored, slice):
        part = x[..., scored, :]
        count, read = part.shape[-2], (rows for _, rows in chunks(part))
    else:
        count, size = len(scored), chunk_rows([x])
        read = (x[..., scored[start : start + size], :] for start in range(0, count, size))
    total = sum(widened(rows).sum(axis=-2, dtype=np.float64) for rows in read)
    mean: Array = (total / count).astype(working_type(x)).astype(np.float64)
    return mean


def reader(x: Array, shift: Array, rows: int, precision: Precision | None = None) -> RowReader:
    """Return what reads chosen rows, at most so many, about a shift; the next call may overwrite what one returned."""
    # The workspace is used again for every chunk: fresh memory would cost as much as the subtraction.
    space = np.empty((*x.shape[:-2], rows, x.shape[-1]), precision or working_type(x))
    return lambda index: shifted_rows(x, shift, index, space)


def chunk_rows(systems: Iterable[Array]) -> int:
    """Return how many rows a chunk takes: the widest system's fit in cache, or in `CHUNK_BYTES`; all in `ALL_BYTES`."""
    systems = list(systems)
    if any(is_sparse(x) for x in systems):
        return CHUNK_ROWS
    return rows_of([x.shape[-1] for x in systems], int(np.prod(systems[0].shape[:-2], dtype=int)))


def rows_of(units: Sequence[int], repeats: int = 1) -> int:
    """Return how many rows a chunk takes of dense systems of so many units."""
    widest = max(units)
    # Rows that stay in cache, but enough of them that adding up the products, units × units each, costs little.
    cached = max(CACHE_BYTES // (4 * repeats * widest), 8 * widest)
    together = max(512, ALL_BYTES // (4 * repeats * sum(units)))
    return min(max(256, CHUNK_BYTES // (4 * repeats * widest)), CHUNK_ROWS, cached, together)


def pilot(x: Float[np.ndarray, "*repeats samples units"], rows: int) -> Float[np.ndarray, "*repeats units"]:
    """Return the mean of the first rows, in float64: near enough to the mean for float32 products."""
    shift: Array = x[..., :rows, :].mean(axis=-2, dtype=np.float64)
    return shift.astype(working_type(x)).astype(np.float64)


def working_type(x: Array) -> type[np.floating[Any]]:
    """Return the precision of the products: float64 for float64 in any byte order, float32 for anything shorter."""
    return np.float64 if x.dtype.itemsize >= 8 else np.float32


def shifted_rows(
    x: Float[np.ndarray, "*repeats samples units"],
    shift: Float[np.ndarray, "*repeats units"],
    index: slice | Int[np.ndarray, " rows"],
    space: Array | None = None,
) -> Float[np.ndarray, "*repeats chosen units"]:
    """Return the chosen rows less the shift, in the working precision, written into `space` if it is given."""
    rows = x[..., index, :]
    kind = working_type(x) if space is None else space.dtype
    out = None if space is None else space[..., : rows.shape[-2], :]
    about = shift.astype(kind)[..., None, :]
    if rows.dtype == np.float16 and kind == np.float32:
        out = np.empty(rows.shape, kind) if out is None else out
        widen(rows, out)
        rows = out
    result: Array = np.subtract(rows, about, out=out, dtype=kind)
    return result


def row_blocks(
    samples: int, rows: int, folds: NDArray[np.int64] | None
) -> Iterator[tuple[int, slice | NDArray[np.int64]]]:
    """Yield (fold, rows of at most one chunk), as slices wherever a fold is contiguous."""
    if folds is None:
        folds = np.zeros(samples, dtype=np.int64)
    for fold in range(int(folds.max()) + 1):
        index = np.flatnonzero(folds == fold)
        contiguous = len(index) > 0 and index[-1] - index[0] + 1 == len(index)
        # Equal parts: a short last chunk would waste the product's set-up.
        parts = max(1, -(-len(index) // rows))
        for part in np.array_split(index, parts):
            if len(part):
                yield fold, slice(part[0], part[-1] + 1) if contiguous else part
