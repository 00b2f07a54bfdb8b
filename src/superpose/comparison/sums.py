"""The sums of several systems and pairs, as many at once as the memory holds, and what each row adds to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.comparison.design import Design
from superpose.comparison.pairs import Block, Directions, Pair, rows_key, sums_of, terms
from superpose.metrics import MomentMetric
from superpose.metrics.metric import Influence
from superpose.moments import (
    Moments,
    Own,
    Precision,
    RowReader,
    accumulate_about_means,
    chunk_rows,
    reader,
    row_blocks,
)
from superpose.moments.rows import CACHE_BYTES

Array = NDArray[Any]

# Sums of one pair, own or crossed, that a regression has in hand at once.
SOLVING = 12
# The part of the memory that what fits made of systems' own sums may take.
FACTORS = 8
# The part of those that one system's may take, of the two in hand.
SHELVES = 2
# Bytes of a row's share in a system's own sums, and the part of the memory that such shares may take.
ROW, SHARE = 16, 16
# What drawn rows add to a system's own sums, by system and by what takes it.
OwnRows = dict[tuple[str, Callable[..., Any]], Any]


@dataclass
class Held:
    """What is known of systems, each taken once for all pairs: means, own sums, `exact` ones, what rows add to those.

    Exact sums are of products in float64, where some metric needed them though others do not.
    """

    means: dict[str, Array]
    exact_means: dict[str, Array]
    sums: dict[str, Own]
    exact: dict[str, Own]
    rows: OwnRows
    partners: Counter[str]

    def shelve(self, own: Mapping[str, Own], design: Design) -> None:
        """Say how much of what fits make of systems' sums is kept for further partners, or permutations of one."""
        for name, sums in own.items():
            sums.kept.room = design.memory / FACTORS / SHELVES
            sums.kept.further = self.partners[name] > 1 or design.permutations > 0

    def let_go(self, names: tuple[str, str], memory: int) -> None:
        """Leave exact sums, and what fits made of sums, only where they have room; first of what was asked for last."""
        for name in names:
            # The last in order are the last that were used.
            self.sums[name] = self.sums.pop(name)
            if name in self.exact:
                self.exact[name] = self.exact.pop(name)
        free = memory / FACTORS
        for name, own in reversed(list(self.sums.items())):
            exact = self.exact.get(name)
            if exact is not None:
                free -= exact.square.nbytes + exact.kept.nbytes
                if free < 0:
                    del self.exact[name]
            free -= own.kept.nbytes
            if free < 0:
                own.kept.clear()


def shares_held(systems: int, rows: int, memory: int) -> bool:
    """Return whether what so many rows of so many systems add to their own sums may be kept for further pairs."""
    return systems * rows * ROW <= memory / SHARE


class Sums:
    """The moments of some systems and pairs, and readers of the same rows, in one precision.

    What is `known` of systems is not taken again; of `unsquared` ones no products of their own units are taken.
    """

    def __init__(
        self,
        arrays: Mapping[str, Array],
        couples: Sequence[tuple[str, str]],
        design: Design,
        means: Mapping[str, Array],
        precision: Precision | None = None,
        known: Mapping[str, Own] | None = None,
        unsquared: Collection[str] = (),
    ) -> None:
        self.design = design
        self.own, self.cross = accumulate_about_means(
            arrays, couples, design.folds, means, targets={*(known or ()), *unsquared}, precision=precision
        )
        self.own |= known or {}
        self.rows = min(chunk_rows(arrays.values()), len(design.folds))
        self.read = {name: reader(x, means[name], self.rows, precision) for name, x in arrays.items()}

    def directions(self, a: str, b: str, units: Mapping[str, int]) -> Directions:
        """Return one pair of them, both ways."""
        moments = Moments(self.own[a], self.own[b], self.cross[a, b])
        over = (moments, moments.merged(self.design.plan.held_out))
        blocks = list(row_blocks(len(self.design.folds), self.rows, self.design.folds))
        pair = Pair((a, b), (units[a], units[b]), over, (self.read[a], self.read[b]), blocks)
        return pair, pair.swapped()


def tiles(
    couples: Sequence[tuple[str, str]], units: Mapping[str, int], folds: int, memory: int
) -> list[list[tuple[str, str]]]:
    """Return the pairs in groups whose sums fit in so many bytes: of blocks of systems, each block with each.

    With L systems in blocks of b, the rows of each are read L/b times, by chunks, and never held.

    Examples
    --------
    >>> from superpose.comparison import tiles
    >>> pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    >>> tiles(pairs, dict.fromkeys("abc", 100), 1, 10**9)
    [[('a', 'b'), ('a', 'c'), ('b', 'c')]]
    >>> tiles(pairs, dict.fromkeys("abc", 100), 1, 10**6)
    [[('a', 'b')], [('a', 'c')], [('b', 'c')]]
    """
    names = list(dict.fromkeys(name for couple in couples for name in couple))
    square = 8 * folds * max(units[name] for name in names) ** 2
    # Every system's own sums are kept, and solving one pair takes the like of some more.
    free = memory - memory // FACTORS - (len(names) + SOLVING) * square
    block = next((b for b in range(len(names), 1, -1) if b**2 * square <= free), 1)
    if block >= len(names) / 2 and len(couples) * square <= free:
        return [list(couples)]
    place = {name: number // block for number, name in enumerate(names)}
    found: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for a, b in couples:
        low, high = sorted((place[a], place[b]))
        found.setdefault((low, high), []).append((a, b))
    return list(found.values())


# So many rows of a product cost little more, each, than many more.
SHARED_ROWS = 512


def take_rows(
    directions: Sequence[Pair],
    metrics: Sequence[tuple[Any, Sequence[int]]],
    design: Design,
    rows: int,
    shared: OwnRows,
) -> None:
    """Keep what each drawn row adds to the sums behind intervals, of either direction in a reading of the rows."""
    if not len(design.drawn.index):
        return
    wanted: dict[tuple[int, Any], tuple[MomentMetric, Influence]] = {
        (way, rows_key(metric)): (metric, metric.influence)
        for way, pair in enumerate(directions)
        for metric, ways in metrics
        if isinstance(metric, MomentMetric)
        and metric.influence is not None
        and way in ways
        and design.count >= metric.minimum_samples
        and np.isfinite(metric.score(sums_of(pair, metric)))
    }
    pair = directions[0]
    taking = {influence.own for _, influence in wanted.values() if influence.own is not None}
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
        shares = [_shares(*wanted[way, key], direction, way) for key in keys]
        own = {} if way else missing
        shares += [_of_one(share, pair.names.index(name)) for (name, _), share in own.items()]
        found = over_rows(shares, pair.read, blocks) if shares else []
        del shares
        direction.row_sums |= zip(keys, found, strict=False)
        shared |= zip(own, found[len(keys) :], strict=True)
    for (way, key), (_, influence) in wanted.items():
        if influence.own is not None:
            both = (shared[name, influence.own] for name in pair.names)
            directions[way].row_sums[key] = (directions[way].row_sums[key], *both)


def _shares(metric: MomentMetric, influence: Influence, pair: Pair, way: int) -> Callable[..., Any]:
    shares: Callable[..., Any] = influence.rows(terms(pair, metric), sums_of(pair, metric))
    return _exchanged(shares) if way else shares


def _exchanged(share: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y, folds: share(y, x, folds)


def _of_one(share: Callable[..., Any], side: int) -> Callable[..., Any]:
    return lambda x, y, folds: share((x, y)[side])


def over_rows(
    shares: Sequence[Callable[..., Any]], read: Sequence[RowReader], blocks: Sequence[Block]
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
