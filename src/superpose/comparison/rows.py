"""What rows add to the sums behind intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    """Keep what each drawn row adds to the sums behind intervals, of both directions in one reading of the rows."""
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
    shares: list[Callable[..., Any]] = []
    for (way, _), metric in wanted.items():
        assert metric.row_sums is not None
        forward = metric.row_sums(terms(directions[way], metric), sums_of(directions[way], metric))
        shares.append(_exchanged(forward) if way else forward)
    shares += [_of_one(share, pair.names.index(name)) for (name, _), share in missing.items()]
    if not shares:
        return
    # Fewer rows than products of moments take: here each is at once followed by what reads its result.
    count = min(rows, max(SHARED_ROWS, CACHE_BYTES // (8 * max(pair.units))))
    found = over_rows(shares, pair.read, design.drawn.blocks(count))
    shared |= zip(missing, found[len(wanted) :], strict=True)
    for ((way, key), metric), taken in zip(wanted.items(), found[: len(wanted)], strict=True):
        own = () if metric.own_rows is None else tuple(shared[name, metric.own_rows] for name in pair.names)
        directions[way].row_sums[key] = (taken, *own) if own else taken


def _exchanged(share: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y, folds: share(y, x, folds)


def _of_one(share: Callable[..., Any], side: int) -> Callable[..., Any]:
    return lambda x, y, folds: share((x, y)[side])


def over_rows(
    shares: Sequence[Callable[..., Any]], read: tuple[RowReader, RowReader], blocks: Iterable[Block]
) -> list[Any]:
    """Return what rows add to several sums, block by block and joined: dataclasses of arrays, (rows,)."""
    blocks = list(blocks)
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
