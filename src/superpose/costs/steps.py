"""What each step of a comparison takes on this machine: the steps themselves, run on little random activity."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from superpose.arrays import check_moderate
from superpose.comparison import compare
from superpose.comparison.nulls import at_once, stacked
from superpose.metrics import Metric, MomentMetric, PredictiveMetric
from superpose.metrics.metric import Family, Influence
from superpose.metrics.splits import Plan
from superpose.moments import FIXED, Cross, Moments, Own, accumulate, mean_of, reader
from superpose.running.timing import timed
from superpose.statistics import standard_error
from superpose.statistics.permutations import permutations

# Wider systems are timed at this width: products are as fast there as they get.
WIDEST = 512
ROUNDS = 3
# Folds that training sums are added up of.
FOLDS = 5
# Rows, and values, that products are timed on at least; rows that shares are.
ROWS, VALUES, FEW = 1024, 2**18, 512
SAMPLES = 2**15
READ_BYTES = 2**23


@dataclass(frozen=True)
class Steps:
    """Processor seconds of each step at one width.

    Attributes
    ----------
    units : int
        The width.
    product, check, read, gather : float
        Of a row: in one product x'y with the sums around it; checked and averaged; read and centred; the same for
        rows in random order.
    factored, solved, ready, shared, own, permuted : mapping of callable to float
        By the functions of the metrics: what fits make of one system's sums, of a round; their sums from moments
        where that is there, of a round; what is made ready for rows, of a round; a row's share of them; a row's share
        of a system's own; the sums of a permutation.
    influence : mapping of str to float
        Of a row, by the names of metrics.
    sample : float
        Of a sample, in the design that all pairs share.
    pair : float
        Whatever two small systems take.
    read_speed : float
        Bytes a second, of a mapped file that the system holds in memory.
    """

    units: int
    product: float
    check: float
    read: float
    gather: float
    factored: Mapping[Any, float]
    solved: Mapping[Any, float]
    ready: Mapping[Any, float]
    shared: Mapping[Any, float]
    own: Mapping[Any, float]
    permuted: Mapping[Any, float]
    influence: Mapping[str, float]
    sample: float
    pair: float
    read_speed: float


def race(units: int, dtype: str, metrics: tuple[Metric, ...], rounds: int) -> Steps:
    """Time each step at a width, on this machine.

    In several rounds rows train where they are not scored, which their shares then take in.
    """
    return _race(min(units, WIDEST), dtype, metrics, min(rounds, 2))


@functools.cache
def _race(units: int, dtype: str, metrics: tuple[Metric, ...], rounds: int) -> Steps:
    x, y = _activity(units, dtype)
    rows = len(x)
    means = {name: mean_of(part, slice(0, rows)) for name, part in (("x", x), ("y", y))}
    take = reader(x, means["x"], rows)
    order = np.random.default_rng(1).permutation(rows)
    pair = Moments(*_summed(x, y, means))
    planned = [metric for metric in planned_for_rounds(metrics, rounds) if isinstance(metric, MomentMetric)]
    folded = _folded(pair)
    factored, solved, readied, shared, own, permuted, influence = {}, {}, {}, {}, {}, {}, {}
    taken: dict[Any, Any] = {}
    few = slice(0, min(FEW, rows))
    part_x, part_y = (np.array(reader(part, means[name], rows)(few)) for name, part in (("x", x), ("y", y)))
    fold = np.zeros(len(part_x), dtype=np.int64)
    for metric in planned:
        moments = folded if metric.family.split else pair
        sums = metric.family.sums(moments)
        if metric.family in solved:
            influence[metric.name] = _influence(metric, sums, taken)
            continue
        times = rounds if metric.family.split else 1
        solved[metric.family] = _timed(functools.partial(metric.family.sums, moments)) / times
        fresh = _timed(functools.partial(_solved_anew, metric, moments)) / times
        factored[metric.family] = max(fresh - solved[metric.family], 0.0)
        permuted[metric.family] = _permutation(metric.family, sums, moments) / times
        if metric.influence is not None:
            share = metric.influence.rows(moments, sums)
            shared[metric.family] = _timed(functools.partial(share, part_x, part_y, fold)) / len(part_x)
            taken[metric.family] = share(part_x, part_y, fold)
            ready = functools.partial(_prepared, metric.influence, moments, sums, part_x[:1], part_y[:1])
            readied[metric.family] = _timed(ready) / times
        if metric.influence is not None and metric.influence.own is not None:
            own_x, own_y = metric.influence.own(pair.x), metric.influence.own(pair.y)
            own[metric.family] = _timed(functools.partial(own_x, part_x)) / len(part_x)
            taken[metric.family] = (taken[metric.family], own_x(part_x), own_y(part_y))
        influence[metric.name] = _influence(metric, sums, taken)
    return Steps(
        units=units,
        # Two systems have three products.
        product=_timed(lambda: _summed(x, y, means)) / (3 * rows),
        check=(_timed(lambda: check_moderate(x)) + _timed(lambda: mean_of(x, slice(0, rows)))) / rows,
        read=_timed(lambda: take(slice(0, rows))) / rows,
        gather=_timed(lambda: take(order)) / rows,
        factored=factored,
        solved=solved,
        ready=readied,
        shared=shared,
        own=own,
        permuted=permuted,
        influence=influence,
        sample=_timed(lambda: permutations(SAMPLES, np.arange(SAMPLES) // (SAMPLES // FOLDS))) / SAMPLES,
        pair=_smallest(metrics),
        read_speed=_read_speed(),
    )


def planned_for_rounds(metrics: tuple[Metric, ...], rounds: int) -> list[Any]:
    """Return the metrics with those that predict fitted on all folds but one, and scored on that: once, or twice."""
    plan = plan_of(rounds)
    return [metric.planned(plan) if isinstance(metric, PredictiveMetric) else metric for metric in metrics]


def plan_of(rounds: int) -> Plan:
    """Return the plan that steps are timed in: of one round, or of two."""
    held_out = range(min(rounds, 2))
    return Plan(tuple((fold, tuple(other for other in range(FOLDS) if other != fold)) for fold in held_out))


def _permutation(family: Family, sums: Any, moments: Moments) -> float:
    """Return the seconds of the sums of one permutation, of as many as are taken at once."""
    count = at_once(moments.cross, int(moments.x.samples.sum())) if family.several else 1
    if family.several:
        moments = replace(moments, cross=stacked([moments.cross] * count))
    return _timed(functools.partial(family.permuted, sums, moments)) / count


def _solved_anew(metric: MomentMetric, moments: Moments) -> None:
    """Take the sums as those of the first pair of a predictor."""
    moments.x.kept.clear()
    metric.family.sums(moments)


def _prepared(influence: Influence, moments: Moments, sums: Any, x: Any, y: Any) -> None:
    """Do what a pair does once before its rows' shares."""
    influence.rows(moments, sums)(x, y, np.zeros(1, dtype=np.int64))


def _influence(metric: MomentMetric, sums: Any, taken: Mapping[Any, Any]) -> float:
    """Return the seconds of a row, whose influence is squared and summed."""
    if metric.influence is None:
        return 0.0
    found, rows = metric.influence.values, taken[metric.family]
    count = len(found(sums, rows))
    return _timed(lambda: standard_error(found(sums, rows))) / count


def _activity(units: int, dtype: str) -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    shape = (max(ROWS, 2 * units, VALUES // units), units)
    x = draw.standard_normal(shape, dtype=np.float32)
    y = x[:, ::-1] + draw.standard_normal(shape, dtype=np.float32)
    return x.astype(dtype), y.astype(dtype)


def _summed(x: Any, y: Any, means: Mapping[str, Any]) -> tuple[Own, Own, Cross]:
    own, cross = accumulate({"x": x, "y": y}, [("x", "y")], shifts=means)
    return own["x"], own["y"], cross["x", "y"]


def _folded(pair: Moments) -> Moments:
    """Return the same sums as those of several folds."""
    return Moments(*(_repeated(sums) for sums in (pair.x, pair.y, pair.cross)))


def _repeated(sums: Any) -> Any:
    names = (field.name for field in fields(sums) if field.name not in FIXED)
    return replace(sums, **{name: np.repeat(getattr(sums, name), FOLDS, axis=0) for name in names})


def _timed(function: Callable[[], object]) -> float:
    return timed(function, ROUNDS)


def _smallest(metrics: tuple[Metric, ...]) -> float:
    x = np.random.default_rng(0).normal(size=(60, 4))
    return _timed(lambda: compare({"x": x, "y": x[:, ::-1] ** 3}, metrics=metrics, permutations=0))


def _read_speed() -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "read.npy"
        np.save(path, np.zeros(READ_BYTES, np.uint8))
        return READ_BYTES / max(_timed(lambda: np.load(path, mmap_mode="r", allow_pickle=False).max()), 1e-6)
