"""The sums of every pair, by products of units or over tiles of samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.comparison.design import Design
from superpose.comparison.pairs import Directions, Pair, Part, rows_key, sums_key, sums_of
from superpose.comparison.sums import Held, Sums, shares_held, take_rows, tiles
from superpose.kernel_tiles import SIDE, are_cheaper, bytes_held, kernel_tiles
from superpose.metrics import MomentMetric
from superpose.metrics.kernels import cross_rows, kernel_sums
from superpose.moments import (
    compact,
    is_wide,
    mean_of,
    reader,
)

Array = NDArray[Any]


def over_pairs(
    arrays: dict[str, Array],
    couples: Sequence[tuple[str, str]],
    metrics: Sequence[Any],
    design: Design,
) -> Iterator[Part]:
    """Yield each pair in parts that hold all its metrics, tile by tile; a system's own sums are taken once."""
    free, bound = _by_axes(metrics)
    if free and bound and any(is_wide(x) for x in arrays.values()):
        # What no rotation of the units can change is taken of rotated units, whatever stands beside it.
        yield from _of_one_kind(arrays, couples, free, design)
        yield from _of_one_kind(arrays, couples, bound, design)
    else:
        yield from _of_one_kind(arrays, couples, metrics, design)


def _by_axes(metrics: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return the metrics that see no rotation of the units, and those that do."""
    bound = [m for m in metrics if isinstance(m, MomentMetric) and "rotation" not in m.invariances]
    return [m for m in metrics if m not in bound], bound


def _of_one_kind(
    arrays: dict[str, Array],
    couples: Sequence[tuple[str, str]],
    metrics: Sequence[Any],
    design: Design,
) -> Iterator[Part]:
    if kernels_alone(arrays, couples, metrics, design):
        yield from _over_kernels(arrays, couples, metrics, design)
        return
    folds = int(design.folds.max()) + 1
    held = Held({}, {}, {}, {}, Counter(name for couple in couples for name in couple))
    done = 0
    for some in tiles(couples, {name: x.shape[-1] for name, x in arrays.items()}, folds, design.memory):
        names = list(dict.fromkeys(name for couple in some for name in couple))
        tile = {name: arrays[name] for name in names}
        for (a, b), parts in _tile(tile, some, metrics, design, held):
            for directions, share in parts:
                yield Part((a, b), directions, (arrays[a], arrays[b]), share)
            if not shares_held(len(held.rows), len(design.drawn.index), design.memory):
                held.rows.clear()
            held.let_go((a, b), design.memory)
            done += 1
            design.progress("pairs", done, len(couples))


def kernels_alone(
    arrays: Mapping[str, Array], couples: Sequence[tuple[str, str]], metrics: Sequence[Any], design: Design
) -> bool:
    """Say whether nothing but sums of kernels is asked for, and tiles of samples give those for less."""
    if design.permutations or not all(_of_kernels(m) for m in metrics):
        return False
    units, drawn = {name: arrays[name].shape[-1] for couple in couples for name in couple}, len(design.drawn.index)
    pairs = [(units[a], units[b]) for a, b in couples]
    fits = bytes_held(list(units.values()), drawn) <= design.memory
    return fits and are_cheaper(list(units.values()), pairs, design.count, drawn)


def _of_kernels(metric: Any) -> bool:
    return (
        isinstance(metric, MomentMetric)
        and sums_key(metric) == (False, kernel_sums)
        and (metric.influence is None or metric.row_sums is cross_rows)
    )


def _over_kernels(
    arrays: Mapping[str, Array],
    couples: Sequence[tuple[str, str]],
    metrics: Sequence[Any],
    design: Design,
) -> Iterator[Part]:
    names = dict.fromkeys(name for couple in couples for name in couple)
    read = {name: reader(arrays[name], mean_of(arrays[name], design.scored), SIDE) for name in names}
    found = kernel_tiles(read, design.tested, design.drawn.index, partial(design.progress, "tiles of samples"))
    for done, (a, b) in enumerate(couples, start=1):
        units = (arrays[a].shape[-1], arrays[b].shape[-1])
        sums = dict.fromkeys(map(sums_key, metrics), found.sums(a, b))
        rows = dict.fromkeys(map(rows_key, metrics), found.shares(a, b))
        pair = Pair((a, b), (read[a], read[b]), units, None, (), sums, rows)
        yield Part((a, b), (pair, pair), (arrays[a], arrays[b]), list(metrics))
        design.progress("pairs", done, len(couples))


def _tile(
    arrays: dict[str, Array],
    couples: Sequence[tuple[str, str]],
    metrics: Sequence[Any],
    design: Design,
    held: Held,
) -> Iterator[tuple[tuple[str, str], list[tuple[Directions, list[Any]]]]]:
    """Yield each pair with its sums, and the metrics that take these: in float64 apart, for those that need it."""
    units = {name: x.shape[-1] for name, x in arrays.items()}
    # A rotation of the units is free only where no metric can see it.
    rotates = not _by_axes(metrics)[1]
    compacted = {name: compact(x) if rotates else x for name, x in arrays.items()}
    held.means.update({name: mean_of(x, design.scored) for name, x in compacted.items() if name not in held.means})
    known = {name: held.sums[name] for name in arrays if name in held.sums}
    # Where nothing is taken of float32 products, none are made.
    precision = np.float64 if all(isinstance(m, MomentMetric) and m.exact for m in metrics) else None
    sums = Sums(compacted, couples, design, held.means, precision, known)
    held.sums.update(sums.own)
    held.shelve(sums.own, design)
    for a, b in couples:
        directions = sums.directions(a, b, units)
        blurred = [m for m in metrics if any(_blurred(directions[way], m) for way in design.ways(m))]
        clear = [m for m in metrics if m not in blurred]
        parts = []
        if clear:
            take_rows(directions, clear, design, sums.rows, held.rows)
            parts.append((directions, clear))
        if blurred:
            both = {name: compacted[name] for name in (a, b)}
            exact = {name: held.exact[name] for name in both if name in held.exact}
            again = Sums(both, [(a, b)], design, held.means, np.float64, exact)
            held.exact.update(again.own)
            held.shelve(again.own, design)
            directions = again.directions(a, b, units)
            take_rows(directions, blurred, design, again.rows, {})
            parts.append((directions, blurred))
        yield (a, b), parts


def _blurred(pair: Pair, metric: Any) -> bool:
    """Whether a regression of the pair needs products in float64."""
    if not isinstance(metric, MomentMetric) or not metric.split:
        return False
    if metric.exact:
        return pair.moments.x.precision is not np.float64
    blurred: bool = sums_of(pair, metric).blurred
    return blurred
