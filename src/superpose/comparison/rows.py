"""What rows add to the sums behind intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.comparison.design import Design
from superpose.comparison.pairs import Block, Pair, rows_key, sums_of, terms
from superpose.comparison.sums import OwnRows
from superpose.metrics import MomentMetric
from superpose.moments import (
    CACHE_BYTES,
    RowReader,
)

Array = NDArray[Any]

# So many rows of a product cost little more, each, than many more.
SHARED_ROWS = 512


def take_rows(
    directions: tuple[Pair, Pair], metrics: Sequence[Any], design: Design, rows: int, shared: OwnRows
) -> None:
    """Keep what each drawn row adds to the sums behind intervals, of either direction in a reading of the rows."""
    if not len(design.drawn.index):
        return
    wanted: dict[tuple[int, Any], MomentMetric] = {
        (way, rows_key(metric)): metric
        for way, pair in enumerate(directions)
        for metric in metrics
        if isinstance(metric, MomentMetric)
        and metric.influence is not None
        and way in design.ways(metric)
        and design.count >= metric.minimum_samples
        and np.isfinite(metric.score(sums_of(pair, metric)))
    }
    pair = directions[0]
    taking = {metric.own_rows for metric in wanted.values() if metric.own_rows is not None}
    missing = {
        (name, take): take(own)
        for take in taking
        for name, own in zip(pair.names, (pair.scored.x, pair.scored.y), strict=True)
        if (name, take) not in shared
    }
    # Fewer rows than products of moments take: here each is at once followed by what reads its result.
    count = min(rows, max(SHARED_ROWS, CACHE_BYTES // (8 * max(pair.units))))
    blocks = list(design.drawn.blocks(count))
    # One direction after the other: what forms of rows take is more than reading them again.
    for way, direction in enumerate(directions):
        keys = [key for number, key in wanted if number == way]
        shares = [_shares(wanted[way, key], direction, way) for key in keys]
        own = {} if way else missing
        shares += [_of_one(share, pair.names.index(name)) for (name, _), share in own.items()]
        found = over_rows(shares, pair.read, blocks) if shares else []
        del shares
        direction.row_sums |= zip(keys, found, strict=False)
        shared |= zip(own, found[len(keys) :], strict=True)
    for (way, key), metric in wanted.items():
        if metric.own_rows is not None:
            both = (shared[name, metric.own_rows] for name in pair.names)
            directions[way].row_sums[key] = (directions[way].row_sums[key], *both)


def _shares(metric: MomentMetric, pair: Pair, way: int) -> Callable[..., Any]:
    assert metric.row_sums is not None
    shares: Callable[..., Any] = metric.row_sums(terms(pair, metric), sums_of(pair, metric))
    return _exchanged(shares) if way else shares


def _exchanged(share: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y, folds: share(y, x, folds)


def _of_one(share: Callable[..., Any], side: int) -> Callable[..., Any]:
    return lambda x, y, folds: share((x, y)[side])


def over_rows(
    shares: Sequence[Callable[..., Any]], read: tuple[RowReader, RowReader], blocks: Sequence[Block]
) -> list[Any]:
    """Return what rows add to several sums, block by block and joined: dataclasses of arrays, (rows,)."""
    total = sum(index.stop - index.start if isinstance(index, slice) else len(index) for _, index in blocks)
    found: list[Any] = [None] * len(shares)
    start = 0
    for fold, index in blocks:
        x, y = (take(index) for take in read)
        folds = np.full(len(x), fold)
        for number, share in enumerate(shares):
            part = share(x, y, folds)
            if found[number] is None:
                found[number] = replace(part, **{f.name: _room(total, getattr(part, f.name)) for f in fields(part)})
            for f in fields(part):
                getattr(found[number], f.name)[start : start + len(x)] = getattr(part, f.name)
        start += len(x)
    return found


def _room(rows: int, part: Array) -> Array:
    return np.empty((rows, *part.shape[1:]), part.dtype)
