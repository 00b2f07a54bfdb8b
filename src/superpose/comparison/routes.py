"""The sums of every pair, by products of units or over tiles of samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.comparison.design import Design
from superpose.comparison.kernel_tiles import (
    SIDE,
    Kernel,
    OfProducts,
    OfRows,
    are_cheaper,
    bytes_held,
    kernel_tiles,
)
from superpose.comparison.pairs import Directions, Pair, Part, rows_key, sums_of
from superpose.comparison.parts import in_parts
from superpose.comparison.responses import Responses
from superpose.comparison.sums import Held, Sums, shares_held, take_rows, tiles
from superpose.metrics import MomentMetric, PairwiseMetric
from superpose.metrics.kernels import KERNELS, cross_rows
from superpose.moments import Precision, mean_of, reader, working_type
from superpose.moments.wide import is_wide, products_of

Array = NDArray[Any]
Couple = tuple[str, str]
# Metrics, each with the directions of a pair that it is scored in.
Ways = list[tuple[Any, Sequence[int]]]
# A system in a precision → its responses, in the units that some metrics take.
Take = Callable[[str, Precision | None], Array]


def over_pairs(
    responses: Responses,
    couples: Sequence[Couple],
    metrics: Sequence[Any],
    design: Design,
) -> Iterator[Part]:
    """Yield each pair in parts that hold all its metrics, tile by tile; a system's own sums are taken once.

    What no rotation of a wide system's units can change is taken of that system turned, whatever stands beside it: all
    of predictors, of targets what is pooled. A mean over the units of a wide target goes by parts of these.
    """
    turned: dict[Couple, Ways] = {}
    rest: dict[Couple, Ways] = {}
    for couple in couples:
        for metric in metrics:
            ways = [way for way in design.ways(metric) if _turns(metric, couple[::-1] if way else couple, responses)]
            left = [way for way in design.ways(metric) if way not in ways]
            if ways:
                turned.setdefault(couple, []).append((metric, ways))
            if left:
                rest.setdefault(couple, []).append((metric, left))
    if turned and _kernels_alone(turned, responses, design):
        yield from _over_kernels(turned, responses, design)
    elif turned:
        yield from _of_one_kind(turned, responses.turned, responses, design)
    for couple, of in rest.items():
        for way in (0, 1):
            if chosen := [m for m, ways in of if way in ways and _has_parts(m)]:
                yield in_parts(couple, way, chosen, responses, design)
    wholly = {couple: of for couple, all_of in rest.items() if (of := [(m, w) for m, w in all_of if not _has_parts(m)])}
    if wholly:
        yield from _of_one_kind(wholly, lambda name, precision: responses.own(name), responses, design)


def _turns(metric: Any, couple: Couple, responses: Responses) -> bool:
    """Say whether a score of the second system from the first may be taken of wide systems that are turned."""
    wide = [responses.wide(name) for name in couple]
    ours = isinstance(metric, MomentMetric | PairwiseMetric)
    free = ours and metric.invariances >= {"rotation", "translation"}
    predicts = isinstance(metric, MomentMetric) and metric.in_parts is not None
    return free or not any(wide) or (predicts and not wide[1])


def _has_parts(metric: Any) -> bool:
    return isinstance(metric, MomentMetric) and metric.in_parts is not None and metric.in_parts.settled is not None


def _metrics_of(jobs: Mapping[Couple, Ways]) -> list[Any]:
    return list({m.name: m for of in jobs.values() for m, _ in of}.values())


def _of_one_kind(jobs: Mapping[Couple, Ways], take: Take, responses: Responses, design: Design) -> Iterator[Part]:
    couples = list(jobs)
    metrics = _metrics_of(jobs)
    names = dict.fromkeys(name for couple in couples for name in couple)
    # Where nothing is taken of float32 products, none are made.
    precision = np.float64 if all(isinstance(m, MomentMetric) and m.family.exact for m in metrics) else None
    arrays = {name: take(name, precision) for name in names}
    units = {name: responses.units(name) for name in names}
    folds = int(design.folds.max()) + 1
    held = Held({}, {}, {}, {}, {}, Counter(name for couple in couples for name in couple))
    done = 0
    for some in tiles(couples, {name: x.shape[-1] for name, x in arrays.items()}, folds, design.memory):
        tile = {name: arrays[name] for couple in some for name in couple}
        for (a, b), parts in _tile(
            tile, {couple: jobs[couple] for couple in some}, precision, take, units, design, held
        ):
            for directions, share in parts:
                exact = any(isinstance(m, PairwiseMetric) for m, _ in share)
                originals = (take(a, np.float64), take(b, np.float64)) if exact else (arrays[a], arrays[b])
                yield Part((a, b), directions, originals, share)
            if not shares_held(len(held.rows), len(design.drawn.index), design.memory):
                held.rows.clear()
            held.let_go((a, b), design.memory)
            done += 1
            design.progress("pairs", done, len(couples))


def kernels_alone(couples: Sequence[Couple], metrics: Sequence[Any], units: Mapping[str, int], design: Design) -> bool:
    """Say whether nothing but sums of kernels is asked for, and tiles of samples give those for less."""
    if design.permutations or not all(_of_kernels(m) for m in metrics):
        return False
    widths, drawn = list(units.values()), len(design.drawn.index)
    pairs = [(units[a], units[b]) for a, b in couples]
    held = bytes_held(widths, len(design.folds), drawn)
    return held <= design.memory and are_cheaper(widths, pairs, design.count, drawn)


def _of_kernels(metric: Any) -> bool:
    return (
        isinstance(metric, MomentMetric)
        and metric.family == KERNELS
        and (metric.influence is None or metric.influence.rows is cross_rows)
    )


def _kernels_alone(jobs: Mapping[Couple, Ways], responses: Responses, design: Design) -> bool:
    directions = {name: responses.directions(name) for couple in jobs for name in couple}
    return kernels_alone(list(jobs), _metrics_of(jobs), directions, design)


def _over_kernels(jobs: Mapping[Couple, Ways], responses: Responses, design: Design) -> Iterator[Part]:
    systems = {name: responses.own(name) for couple in jobs for name in couple}
    kernels = {name: _kernel(x, design) for name, x in systems.items()}
    found = kernel_tiles(kernels, design.tested, design.drawn.index, partial(design.progress, "tiles of samples"))
    for done, ((a, b), metrics) in enumerate(jobs.items(), start=1):
        sums = {metric.family: found.sums(a, b) for metric, _ in metrics}
        rows = {rows_key(metric): found.shares(a, b) for metric, _ in metrics}
        pair = Pair((a, b), (responses.units(a), responses.units(b)), None, sums=sums, row_sums=rows)
        yield Part((a, b), (pair, pair), (systems[a], systems[b]), metrics)
        design.progress("pairs", done, len(jobs))


def _kernel(x: Array, design: Design) -> Kernel:
    if is_wide(x):
        kind = working_type(x)
        return OfProducts(products_of(x, kind)[1:, 1:], design.scored, kind)
    return OfRows(reader(x, mean_of(x, design.scored), SIDE), design.tested)


def _tile(
    arrays: dict[str, Array],
    jobs: Mapping[Couple, Ways],
    precision: Precision | None,
    take: Take,
    units: Mapping[str, int],
    design: Design,
    held: Held,
) -> Iterator[tuple[Couple, list[tuple[Directions, Ways]]]]:
    """Yield each pair with its sums, and the metrics that take these: in float64 apart, for those that need it."""
    held.means.update({name: mean_of(x, design.scored) for name, x in arrays.items() if name not in held.means})
    known = {name: held.sums[name] for name in arrays if name in held.sums}
    squared = any(isinstance(m, MomentMetric) and m.family.squares for of in jobs.values() for m, _ in of)
    sums = Sums(arrays, list(jobs), design, held.means, precision, known, () if squared else arrays)
    held.sums.update(sums.own)
    held.shelve(sums.own, design)
    for (a, b), metrics in jobs.items():
        directions = sums.directions(a, b, units)
        blurred = [(m, ways) for m, ways in metrics if any(_blurred(directions[way], m) for way in ways)]
        clear = [one for one in metrics if one not in blurred]
        parts = []
        if clear:
            take_rows(directions, clear, design, sums.rows, held.rows)
            parts.append((directions, clear))
        if blurred:
            both = {name: take(name, np.float64) for name in (a, b)}
            for name, x in both.items():
                if name not in held.exact_means:
                    held.exact_means[name] = held.means[name] if x is arrays[name] else mean_of(x, design.scored)
            exact = {name: held.exact[name] for name in both if name in held.exact}
            again = Sums(both, [(a, b)], design, held.exact_means, np.float64, exact)
            held.exact.update(again.own)
            held.shelve(again.own, design)
            directions = again.directions(a, b, units)
            take_rows(directions, blurred, design, again.rows, {})
            parts.append((directions, blurred))
        yield (a, b), parts


def _blurred(pair: Pair, metric: Any) -> bool:
    """Whether a regression of the pair needs products in float64."""
    if not isinstance(metric, MomentMetric) or not metric.family.split:
        return False
    if metric.family.exact:
        return pair.moments.x.precision is not np.float64
    blurred: bool = sums_of(pair, metric).blurred
    return blurred
