"""Moments of systems and pairs of any number, accumulated in one pass over the rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.sparse import csr_array

from superpose.moments.blocks import DenseRows, Rows, SparseRows, is_sparse, product
from superpose.moments.rows import (
    PILOT_ROWS,
    Array,
    Index,
    Labels,
    Precision,
    chunk_rows,
    pilot,
    reader,
    row_blocks,
    shifted_rows,
    working_type,
)
from superpose.moments.sums import Cross, FoldRows, Moments, Own

# Rows of so many times the units, or fewer, are kept beside the sums: training folds may be fewer than the units.
FEW_ROWS = 2


def of_pair(
    x: Float[np.ndarray, "*repeats_x samples units_x"],
    y: Float[np.ndarray, "*repeats_y samples units_y"],
    folds: Labels | None = None,
    *,
    targets: Collection[str] = (),
) -> Moments:
    """Accumulate the moments of one pair.

    Parameters
    ----------
    x, y : ndarray, (…, samples, units_x) and (…, samples, units_y)
        Paired responses, in memory or memory-mapped; leading axes are independent repeats and must broadcast.
    folds : ndarray of int, (samples,), optional
        The fold of each sample; None keeps one.
    targets : collection of str
        ("y",) for a y that is only predicted, whose own products are left out.
    """
    if x.shape[:-2] != y.shape[:-2]:
        repeats = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        x, y = (np.broadcast_to(a, repeats + a.shape[-2:]) for a in (x, y))
    own, cross = accumulate({"x": x, "y": y}, [("x", "y")], folds, targets=targets)
    return Moments(own["x"], own["y"], cross["x", "y"])


def accumulate(
    systems: Mapping[str, Array],
    pairs: Iterable[tuple[str, str]],
    folds: NDArray[np.int64] | None = None,
    shifts: Mapping[str, Array] | None = None,
    targets: Collection[str] = (),
    precision: Precision | None = None,
) -> tuple[dict[str, Own], dict[tuple[str, str], Cross]]:
    """Accumulate every system's own moments and every pair's crossed ones, reading each row once.

    Parameters
    ----------
    systems : mapping of ndarray, (…, samples, units)
        Paired responses under their names.
    pairs : iterable of (name, name)
        The pairs to cross.
    folds : ndarray of int, (samples,), optional
        The fold of each sample, from 0; None keeps one.
    shifts : mapping of ndarray, (…, units), optional
        The pilot of each system; by default the mean of its first rows. Sums merge only about equal pilots, so
        workers that share an array pass them.
    targets : collection of str
        Systems that are only predicted: their `square` is left empty.
    precision : type, optional
        Of the products, for all systems; None is each one's own, `working_type`.

    Returns
    -------
    own : dict of Own
    cross : dict of Cross
    """
    pairs = list(pairs)
    samples = next(iter(systems.values())).shape[-2]
    rows = min(chunk_rows(systems.values()), samples)
    shifts = shifts or {name: pilot(x, min(rows, PILOT_ROWS)) for name, x in systems.items()}
    count = 1 if folds is None else int(folds.max()) + 1
    own = {
        name: _empty_own(x, shifts[name], count, name not in targets, precision or working_type(x))
        for name, x in systems.items()
    }
    cross = {pair: _empty_cross(systems[pair[0]], systems[pair[1]], count) for pair in pairs}
    read = {name: _summed(x, shifts[name], rows, precision) for name, x in systems.items()}
    before = None
    for fold, index in row_blocks(samples, rows, folds):
        # What the first rows of a fold give is put where nothing is yet: adding it would read zeros.
        put, before = _add_into if fold == before else np.copyto, fold
        shifted = {name: take(index) for name, take in read.items()}
        norms = {name: x.norms() for name, x in shifted.items()}
        weighted = _weighted_totals(shifted, norms)
        for name, x in shifted.items():
            sums, d = own[name], norms[name]
            sums.samples[fold] += x.count
            sums.total[fold] += weighted[name][None]
            if name in targets:
                sums.diagonal[fold] += x.diagonal()
            else:
                square = product(x, x)
                sums.diagonal[fold] += np.einsum("...ii->...i", square)
                put(sums.square[fold], square)
            sums.norm[fold] += d.sum(axis=-1, dtype=np.float64)
            sums.norm_square[fold] += np.square(d, dtype=np.float64).sum(axis=-1)
            sums.norm_total[fold] += weighted[name][name]
        for a, b in pairs:
            both = cross[a, b]
            put(both.product[fold], product(shifted[a], shifted[b]))
            both.norms[fold] += np.multiply(norms[a], norms[b], dtype=np.float64).sum(axis=-1)
            both.norm_y[fold] += weighted[b][a]
            both.norm_x[fold] += weighted[a][b]
    for name in set(own) - set(targets):
        own[name] = replace(own[name], rows=_few_rows(systems[name], shifts[name], folds, precision))
    return own, cross


def accumulate_about_means(
    systems: Mapping[str, Array],
    pairs: Iterable[tuple[str, str]],
    folds: NDArray[np.int64] | None,
    means: Mapping[str, Array],
    targets: Collection[str] = (),
    precision: Precision | None = None,
) -> tuple[dict[str, Own], dict[tuple[str, str], Cross]]:
    """Accumulate as `accumulate` does, of rows about the means of those that are scored: see `mean_of`.

    The zeros of sparse rows are never filled.
    """
    own, cross = accumulate(systems, pairs, folds, means, targets, precision)
    return {name: replace(sums, shift=np.zeros_like(sums.shift)) for name, sums in own.items()}, cross


def _few_rows(x: Array, shift: Array, folds: NDArray[np.int64] | None, precision: Precision | None) -> FoldRows | None:
    """Return the rows less the shift where they are few."""
    samples, units = x.shape[-2:]
    if x.ndim > 2 or samples >= FEW_ROWS * units:
        return None
    values = shifted_rows(x, shift, slice(None), np.empty(x.shape, precision or working_type(x)))
    return FoldRows(values, np.zeros(samples, dtype=np.int64) if folds is None else folds)


def _add_into(sums: Array, part: Array) -> None:
    sums += part


def _summed(x: Array, shift: Array, rows: int, precision: Precision | None) -> Callable[[Index], Rows]:
    """Return what reads chosen rows for products: as sparse ones where most values are zero."""
    if is_sparse(x):
        return lambda index: SparseRows(csr_array(x[index], dtype=np.float64), shift)
    read = reader(x, shift, rows, precision)
    return lambda index: DenseRows(read(index))


def _weighted_totals(rows: Mapping[str, Rows], norms: Mapping[str, Array]) -> dict[str, dict[str | None, Array]]:
    """Return the sums of each system's rows, plain (under None) and weighted by every system's norms, in one pass."""
    weights = np.stack([np.ones_like(next(iter(norms.values()))), *norms.values()], axis=-2)
    totals = {name: x.totals(weights) for name, x in rows.items()}
    return {name: {key: total[..., i, :] for i, key in enumerate([None, *norms])} for name, total in totals.items()}


def _empty_own(x: Array, shift: Array, folds: int, squared: bool, precision: Precision) -> Own:
    repeats, units = x.shape[:-2], x.shape[-1]
    side = units if squared else 0
    return Own(
        samples=np.zeros(folds, dtype=np.int64),
        shift=shift,
        total=np.zeros((folds, *repeats, units)),
        diagonal=np.zeros((folds, *repeats, units)),
        square=np.zeros((folds, *repeats, side, side)),
        norm=np.zeros((folds, *repeats)),
        norm_square=np.zeros((folds, *repeats)),
        norm_total=np.zeros((folds, *repeats, units)),
        resolution=float(np.finfo(precision).eps),
    )


def _empty_cross(x: Array, y: Array, folds: int) -> Cross:
    repeats = x.shape[:-2]
    return Cross(
        product=np.zeros((folds, *repeats, x.shape[-1], y.shape[-1])),
        norms=np.zeros((folds, *repeats)),
        norm_y=np.zeros((folds, *repeats, y.shape[-1])),
        norm_x=np.zeros((folds, *repeats, x.shape[-1])),
    )
