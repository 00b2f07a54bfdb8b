"""The costs of a comparison, added up from what each pair, system and reading takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from superpose.comparison import (
    FACTORS,
    INTERVALS,
    SAMPLES,
    SHELVES,
    bytes_of,
    checked_draw,
    checked_pairs,
    shares_held,
    tiles,
)
from superpose.comparison.kernel_tiles import SIDE, SMALL, are_cheaper, bytes_held
from superpose.comparison.pairs import rows_key
from superpose.costs.sizes import Size, sizes_of
from superpose.costs.steps import Steps, plan_of, planned_for_rounds, race
from superpose.files import DataError, argument, in_python
from superpose.messages.cautions import warn
from superpose.messages.deprecation import renamed
from superpose.metrics import (
    DEFAULT,
    Metric,
    MomentMetric,
    PartialLeastSquaresMetric,
    PredictiveMetric,
    PrincipalComponentsMetric,
)
from superpose.metrics.splits import INNER, Plan
from superpose.moments import rows_of
from superpose.statistics.sampling import GROUPS

FLOAT = 8
# Numbers kept of a row: of one pair's sum and of a regression's, and what one influence takes at a time.
CROSSED, PREDICTED, INFLUENCE = 1, 4.5, 6
# Numbers of a sample that its fold and permutations take, and those more while they, or the drawn samples, are made.
DESIGNED, PERMUTED, DESIGNING = 1, 4, 4
# Squares, units × units, that a pair takes: kernels, and a regression beside the weights of all rounds.
KERNEL, SOLVING = 8, 8
# Operations of eigenvectors, of a matrix's units³.
EIGENVECTORS = 9
# Those of a round where rows train in others, in both directions: sums, and in the rows' precision weights and moves.
SUMMED, TRAINED = 3, 5
# Values at a time as systems are checked and averaged, and what else a process comes to hold.
CHECKED, LITTLE = 2**23, 2**21


@dataclass(frozen=True)
class Costs:
    """What a comparison will cost.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a kind of work: work, flops, bytes read, seconds of one core of this machine.
    reads : dict of float
        How often each system is read from end to end.
    memory : int
        Bytes that are held at most, beside the systems themselves.
    sums : int
        Those of them that are sums: all systems' own, and the crossed ones of the largest group of pairs.
    groups : int
        In how many groups pairs are scored.
    """

    table: pd.DataFrame
    reads: dict[str, float]
    memory: int
    sums: int
    groups: int

    @property
    def flops(self) -> float:
        """Floating-point operations, of products and solutions."""
        return float(self.table.flops.sum())

    @property
    def bytes(self) -> float:
        """Bytes read, from the disk where a system is mapped."""
        return float(self.table.bytes.sum())

    @property
    def seconds(self) -> float:
        """Seconds of one core of this machine."""
        return float(self.table.seconds.sum())


@dataclass(frozen=True)
class _Job:
    """What is asked for: sizes, pairs, groups of pairs, and how many folds, rounds, drawn rows and permutations.

    Of systems that are `wide` the other sizes are those of what stands for them, as many directions as samples.
    """

    sizes: Mapping[str, Size]
    wide: Mapping[str, Size]
    couples: Sequence[tuple[str, str]]
    groups: Sequence[Sequence[tuple[str, str]]]
    metrics: tuple[Metric, ...]
    folds: int
    rounds: int
    scored: int
    drawn: int
    permutations: int
    memory: int

    @property
    def plan(self) -> Plan:
        """Which folds are held out, and which train."""
        folds = range(self.folds)
        if self.rounds < self.folds:
            return Plan(((self.folds - 1, tuple(folds)[:-1]),))
        return Plan(tuple((fold, tuple(other for other in folds if other != fold) or (fold,)) for fold in folds))

    def inner_fits(self, planned: MomentMetric) -> tuple[float, float, float]:
        """Return how many fits choose, on how many folds they are tried, and all fits as multiples of those timed."""
        metric = next(m for m in self.metrics if m.name == planned.name)
        if not isinstance(metric, PredictiveMetric):
            return 0, 0, 1
        fits, tried = metric.inner_fits(self.plan)
        timed = plan_of(self.rounds)
        known = 1 + metric.inner_fits(timed)[0] / len(timed.rounds)
        return fits, tried, (1 + fits / self.rounds) / known

    @property
    def samples(self) -> int:
        """Samples of each system."""
        return next(iter(self.sizes.values())).samples


@renamed(folds="cv")
def predict(
    systems: Mapping[str, ArrayLike | Size],
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    metrics: Sequence[Metric] = DEFAULT,
    cv: int | None = 5,
    test: float | None = None,
    permutations: int = 999,
    interval_samples: int | None = INTERVALS,
    memory: int | str | None = None,
    steps: Callable[[int, str, tuple[Metric, ...], int], Steps] = race,
) -> Costs:
    """Predict what `superpose.compare` will cost, from sizes alone.

    Operations are counted; seconds are those that each step takes on this machine, measured at the systems' widths on
    little random activity (some tenths of a second up to 128 units, seconds beyond; once a process and width).

    Parameters
    ----------
    systems : mapping of str to array or Size
        Arrays, of which no value is read, or sizes of systems that need not exist.
    pairs, metrics, permutations, interval_samples, memory
        As in `superpose.compare`; metrics are functions of moments.
    cv : int or None
        How many folds, as in `superpose.compare`.
    test : float, optional
        The share of samples that a fixed split scores, in place of folds.
    steps : callable
        (units, dtype, metrics, rounds) → `Steps` of another machine; by default this one's are measured.

    Returns
    -------
    Costs

    Raises
    ------
    DataError
        For unpaired sizes, or a metric that cannot be computed from moments.

    Examples
    --------
    >>> import superpose as sp
    >>> layers = {f"layer{i}": sp.costs.Size(10**6, 256, "float16") for i in range(12)}
    >>> costs = sp.costs.predict(layers, metrics=[sp.metrics.CKA], permutations=0, memory="100MB")
    >>> costs.groups, {round(times, 1) for times in costs.reads.values()}
    (10, {6.1})
    """
    given = sizes_of(systems)
    wide = {name: size for name, size in given.items() if size.units > size.samples}
    sizes = {
        name: Size(size.samples, size.samples, size.dtype, False) if name in wide else size
        for name, size in given.items()
    }
    couples = checked_pairs(sizes, pairs)
    checked_draw(interval_samples)
    if cv is not None and (not isinstance(cv, int | np.integer) or cv < 2):
        raise DataError(f"{argument('cv')} is {cv!r}; expected an integer of at least 2{in_python(', or None')}.")
    if test is not None and not 0 < test < 1:
        raise DataError(f"test is {test!r}; expected the share of samples that is scored, between 0 and 1.")
    if not isinstance(permutations, int | np.integer) or permutations < 0:
        raise DataError(f"{argument('permutations')} is {permutations!r}; expected an integer of at least 0.")
    planned = planned_for_rounds(tuple(metrics), 1)
    unknown = [metric.name for metric in planned if not isinstance(metric, MomentMetric)]
    if unknown:
        raise DataError(f"{', '.join(unknown)} cannot be computed from moments, so its cost is unknown; leave it out.")
    through = [m.name for m in metrics if isinstance(m, PartialLeastSquaresMetric | PrincipalComponentsMetric)]
    if through:
        warn(
            f"{', '.join(through)}: counted as least squares; components, in float64, take several times the time and "
            "up to three times the memory.",
        )
    samples = next(iter(sizes.values())).samples
    limit = bytes_of(memory)
    kept = 1 + INNER if test is not None else cv or 1
    scored = samples if test is None else max(1, round(test * samples))
    job = _Job(
        sizes=sizes,
        wide=wide,
        couples=couples,
        groups=tiles(couples, {name: size.units for name, size in sizes.items()}, kept, limit),
        metrics=tuple(metrics),
        folds=kept,
        rounds=1 if test is not None else kept,
        scored=scored,
        drawn=scored if interval_samples is None else min(max(interval_samples, GROUPS), scored),
        permutations=int(permutations),
        memory=limit,
    )
    widths = {(size.units, size.dtype) for size in sizes.values()}
    known = {width: steps(*width, job.metrics, job.rounds) for width in widths}
    return _of_tiles(job, known) if _goes_by_tiles(job) else _of_sums(job, known)


def _of_sums(job: _Job, known: Mapping[Any, Steps]) -> Costs:
    """Sums of units' products, of groups of pairs, and what metrics make of them."""
    reads = _reads(job)
    sums = _sums_held(job)
    table = pd.DataFrame(
        [
            _reading(job, reads, known),
            *_turning(job, known),
            _products(job, known),
            _factors(job, known),
            _solutions(job, known),
            _intervals(job, known),
            _nulls(job, known),
            _rest(job, known),
        ]
    )
    return Costs(table, reads | _reads_of_wide(job), _peak(job, sums), sums, len(job.groups))


def _reads_of_wide(job: _Job) -> dict[str, float]:
    """Checked and ordered, and once for all else."""
    return dict.fromkeys(job.wide, 2 + _ordered(job))


def _turning(job: _Job, known: Mapping[Any, Steps]) -> list[dict[str, Any]]:
    """Half a product of samples of each wide system, and its factor."""
    if not job.wide:
        return []
    flops = seconds = bytes_read = 0.0
    for name, size in job.wide.items():
        steps = _of(job, known, name)
        counted = float(size.samples) ** 2 * size.units + size.samples**3 / 3
        flops += counted
        seconds += (
            counted * steps.product / (2 * steps.units**2) + size.samples * steps.check * size.units / steps.units
        )
        if size.mapped:
            again = _reads_of_wide(job)[name] * size.bytes
            bytes_read += again
            seconds += again / steps.read_speed
    return [{"work": "turning", "flops": flops, "bytes": bytes_read, "seconds": seconds}]


def _goes_by_tiles(job: _Job) -> bool:
    names = dict.fromkeys(name for couple in job.couples for name in couple)
    units = [job.sizes[name].units for name in names]
    pairs = [(job.sizes[a].units, job.sizes[b].units) for a, b in job.couples]
    alone = not job.permutations and all(_own(metric) is not None for metric in _families(job))
    held = bytes_held(units, job.scored, job.drawn)
    return alone and held <= job.memory and are_cheaper(units, pairs, job.scored, job.drawn)


def _of_tiles(job: _Job, known: Mapping[Any, Steps]) -> Costs:
    """Products of samples instead of units: of each narrow system with itself, and of all systems' tiles."""
    names = dict.fromkeys(name for couple in job.couples for name in couple)
    units = [job.sizes[name].units for name in names]
    steps = _of(job, known, next(iter(names)))
    second = steps.product / (2.0 * steps.units**2)
    multiplied = sum(job.sizes[name].units for name in names if name not in job.wide)
    products = float(job.scored) ** 2 * (multiplied + len(units) ** 2)
    shares = 2.0 * job.scored * job.drawn * len(units) ** 2
    # Checked and averaged; then every block of rows once, and with every one behind it.
    blocks = -(-job.scored // SIDE)
    reads = dict.fromkeys(names, 1 + _ordered(job) + (1 + 1 + (blocks + 1) / 2) * job.scored / job.samples)
    table = pd.DataFrame(
        [
            _reading(job, reads, known),
            *_turning(job, known),
            {"work": "products", "flops": products, "bytes": 0.0, "seconds": products * second},
            {"work": "intervals", "flops": shares, "bytes": 0.0, "seconds": SMALL * shares * second},
            _rest(job, known),
        ]
    )
    held = bytes_held(units, job.scored, job.drawn)
    return Costs(
        table, reads | _reads_of_wide(job), LITTLE + FLOAT * DESIGNED * job.samples + max(held, CHECKED), held, 1
    )


def _of(job: _Job, known: Mapping[Any, Steps], name: str) -> Steps:
    size = job.sizes[name]
    return known[size.units, size.dtype]


def _families(job: _Job) -> list[MomentMetric]:
    """Return one metric for each set of sums that metrics share."""
    planned = planned_for_rounds(job.metrics, job.rounds)
    return list({metric.family: metric for metric in planned}.values())


def _reads(job: _Job) -> dict[str, float]:
    """Checked, averaged and ordered once, summed once a group, rows once a pair and direction, all in each null."""
    grouped = Counter(name for some in job.groups for name in {name for couple in some for name in couple})
    paired = Counter(name for couple in job.couples for name in couple)
    # In one reading for each direction.
    ways = max((1 + metric.directed for metric in _families(job) if metric.influence is not None), default=0)
    drawn = ways * job.drawn / job.samples
    again = 1 + job.permutations if job.permutations else 0
    averaged = 1 + job.scored / job.samples + _ordered(job)
    return {name: averaged + grouped[name] + paired[name] * (drawn + again) for name in job.sizes if paired[name]}


def _ordered(job: _Job) -> float:
    """Return what part of the samples is looked at for their order, where folds are drawn."""
    return min(SAMPLES, job.samples) / job.samples if job.rounds > 1 else 0.0


def _reading(job: _Job, reads: Mapping[str, float], known: Mapping[Any, Steps]) -> dict[str, Any]:
    seconds = bytes_read = 0.0
    for name, times in reads.items():
        size, steps = job.sizes[name], _of(job, known, name)
        wider = size.units / steps.units * size.samples
        seconds += wider * (steps.check + (times - 2) * steps.read)
        if size.mapped:
            bytes_read += times * size.bytes
            seconds += times * size.bytes / steps.read_speed
    return {"work": "reading", "flops": 0.0, "bytes": bytes_read, "seconds": seconds}


def _products(job: _Job, known: Mapping[Any, Steps]) -> dict[str, Any]:
    """One product a pair, and one a system."""
    names = list(dict.fromkeys(name for couple in job.couples for name in couple))
    flops = seconds = 0.0
    for a, b in (*job.couples, *((name, name) for name in names)):
        steps, both = _of(job, known, a), job.sizes[a].units * job.sizes[b].units
        flops += 2.0 * job.samples * both
        seconds += job.samples * steps.product * both / steps.units**2
    return {"work": "products", "flops": flops, "bytes": 0.0, "seconds": seconds}


def _factors(job: _Job, known: Mapping[Any, Steps]) -> dict[str, Any]:
    """A Cholesky factor a fold and predictor: once, or for each pair where there is no room to keep it.

    What chooses penalties takes eigenvectors of each inner fit, and two products for each fold that it is tried on.
    """
    paired = Counter(name for couple in job.couples for name in couple)
    room = _factor_bytes(job) <= job.memory / FACTORS
    flops = seconds = 0.0
    for metric in filter(lambda metric: metric.family.split, _families(job)):
        fits, tried, share = job.inner_fits(metric)
        for name, pairs in paired.items():
            steps, units = _of(job, known, name), job.sizes[name].units
            times = 1 if room else pairs
            flops += times * (job.rounds / 3 + EIGENVECTORS * fits + 4 * tried) * units**3
            seconds += times * job.rounds * share * steps.factored[metric.family] * (units / steps.units) ** 3
    return {"work": "factors", "flops": flops, "bytes": 0.0, "seconds": seconds}


def _factor_bytes(job: _Job) -> int:
    """Return the bytes of all systems' factors and of what chooses penalties, in the precision of their products."""
    paired = Counter(name for couple in job.couples for name in couple)
    further = max(paired.values()) > 1 or job.permutations > 0
    inner = sum(sum(job.inner_fits(m)[:2]) for m in _families(job) if m.family.split and further)
    return int(sum((job.rounds + inner) * size.working_bytes * size.units**2 for size in job.sizes.values()))


def _solutions(job: _Job, known: Mapping[Any, Steps]) -> dict[str, Any]:
    """What metrics make of the sums: a solution a fold and direction, or a few passes over the sums."""
    flops = seconds = 0.0
    for a, b in job.couples:
        for metric in _families(job):
            for x, y in _ways(metric, a, b):
                counted, taken = _solution(job, known, metric, x, y)
                flops += counted
                seconds += taken
    return {"work": "solutions", "flops": flops, "bytes": 0.0, "seconds": seconds}


def _ways(metric: MomentMetric, a: str, b: str) -> list[tuple[str, str]]:
    return [(a, b), (b, a)] if metric.directed else [(a, b)]


def _solution(job: _Job, known: Mapping[Any, Steps], metric: MomentMetric, x: str, y: str) -> tuple[float, float]:
    steps = _of(job, known, x)
    p, q = job.sizes[x].units, job.sizes[y].units
    if _own(metric) is not None:
        # A function of squared sums: passes over what is summed.
        return 2.0 * (p * p + p * q + q * q), steps.solved[metric.family] * p * q / steps.units**2
    rounds = job.rounds if metric.family.split else 1
    fits, tried, share = job.inner_fits(metric)
    # Two products with triangles, and one that evaluates the weights; of each inner fit, its weights and their squares.
    counted = (4.0 * rounds + 4.0 * fits + 2.0 * tried) * p * p * q
    return counted, rounds * share * steps.solved[metric.family] * p * p * q / steps.units**3


def _intervals(job: _Job, known: Mapping[Any, Steps]) -> dict[str, Any]:
    """A product of the drawn rows a pair and direction, and one a system where its share is kept for all its pairs.

    What predicts takes half a product more, of the predictors with themselves, and solutions of its own in every round:
    for each kind of score.
    """
    flops = seconds = 0.0
    planned = [metric for metric in planned_for_rounds(job.metrics, job.rounds) if metric.influence is not None]
    for metric in {rows_key(metric): metric for metric in planned}.values():
        half = 0.5 if metric.family.split else 0.0
        for a, b in job.couples:
            for x, y in _ways(metric, a, b):
                steps, p, q = _of(job, known, x), job.sizes[x].units, job.sizes[y].units
                both = p * (q + half * p)
                flops += 2.0 * job.drawn * both
                seconds += job.drawn * steps.shared[metric.family] * both / ((1 + half) * steps.units**2)
                if metric.family.split:
                    flops += _forms(job, p, q)
                    seconds += job.rounds * steps.ready[metric.family] * p * p * q / steps.units**3
                else:
                    seconds += steps.ready[metric.family] * p * q / steps.units**2
    for metric in _families(job):
        if metric.influence is None:
            continue
        if _own(metric) is not None:
            for name, times in _own_shares(job).items():
                steps, units = _of(job, known, name), job.sizes[name].units
                flops += 2.0 * times * job.drawn * units**2
                seconds += times * job.drawn * steps.own[metric.family] * (units / steps.units) ** 2
    return {"work": "intervals", "flops": flops, "bytes": 0.0, "seconds": seconds}


def _forms(job: _Job, p: int, q: int) -> float:
    """Return the operations of the forms that rows take: in each round that rows train in, evaluating and solving."""
    scored = 2.0 * p * p * q
    return job.rounds * (scored + (3 * scored if job.rounds > 1 else 0.0))


def _own_shares(job: _Job) -> dict[str, int]:
    """Return how often what rows add to own sums is taken: once, or for each pair where it cannot be kept."""
    paired = Counter(name for couple in job.couples for name in couple)
    return dict.fromkeys(paired, 1) if shares_held(len(paired), job.drawn, job.memory) else dict(paired)


def _nulls(job: _Job, known: Mapping[Any, Steps]) -> dict[str, Any]:
    """For each permutation, the rows again, one product, and what metrics make of it."""
    flops = seconds = 0.0
    for a, b in job.couples if job.permutations else ():
        steps, p, q = _of(job, known, a), job.sizes[a].units, job.sizes[b].units
        flops += 2.0 * job.samples * p * q
        rows = steps.product * p * q / steps.units**2 + steps.read * p / steps.units + steps.gather * q / steps.units
        seconds += job.samples * rows
        for metric in _families(job):
            for x, y in _ways(metric, a, b):
                counted, taken = _solution(job, known, metric, x, y)
                flops += counted
                seconds += taken * steps.permuted[metric.family] / steps.solved[metric.family]
    return {
        "work": "nulls",
        "flops": job.permutations * flops,
        "bytes": 0.0,
        "seconds": job.permutations * seconds,
    }


def _rest(job: _Job, known: Mapping[Any, Steps]) -> dict[str, Any]:
    """The design, influences of rows, and whatever else a pair takes."""
    planned = planned_for_rounds(job.metrics, job.rounds)
    seconds = job.samples * next(iter(known.values())).sample
    for a, b in job.couples:
        steps = _of(job, known, a)
        rows = sum(steps.influence[metric.name] * len(_ways(metric, a, b)) for metric in planned)
        seconds += steps.pair + job.drawn * rows
    return {"work": "rest", "flops": 0.0, "bytes": 0.0, "seconds": seconds}


def _sums_held(job: _Job) -> int:
    names = {name for couple in job.couples for name in couple}
    own = sum(job.sizes[name].units ** 2 for name in names)
    crossed = max(sum(job.sizes[a].units * job.sizes[b].units for a, b in some) for some in job.groups)
    return FLOAT * job.folds * (own + crossed)


def _peak(job: _Job, sums: int) -> int:
    """The sums, the rows of a chunk, which allocators keep when they are done with, and what one pair takes."""
    designed = FLOAT * (DESIGNED + (PERMUTED if job.permutations else 0)) * job.samples
    widest = max(size.units for size in job.sizes.values())
    chunk = max(_chunk(job, some) for some in job.groups)
    rounds = job.rounds
    trained = 0 if rounds == 1 else TRAINED * max(size.working_bytes for size in job.sizes.values()) / FLOAT
    solving = FLOAT * widest**2 * (SOLVING + (SUMMED + trained) * rounds)
    regressed = any(metric.family.split for metric in _families(job))
    # Two systems in hand may take some beside what is kept of others.
    factors = min(_factor_bytes(job), int(job.memory / FACTORS * (1 + 2 / SHELVES))) if regressed else 0
    numbers = CROSSED + INFLUENCE + (2 * PREDICTED if regressed else 0)
    shares = FLOAT * job.drawn * (numbers + 2 * len(job.sizes) * shares_held(len(job.sizes), job.drawn, job.memory))
    one = (solving if regressed else KERNEL * FLOAT * widest**2) + shares
    making = FLOAT * DESIGNING * job.samples
    return int(LITTLE + designed + max(making, CHECKED, sums + factors + chunk + one))


def _chunk(job: _Job, some: Sequence[tuple[str, str]]) -> int:
    """Return the bytes of the rows that are read at once, and of one product of them."""
    sizes = [job.sizes[name] for name in {name for couple in some for name in couple}]
    # Equal parts of a fold.
    fold = max(job.samples - job.scored, job.scored / job.rounds)
    rows = fold / max(1, -(-fold // rows_of([size.units for size in sizes])))
    product = max(size.units for size in sizes) ** 2 * max(size.working_bytes for size in sizes)
    return int(sum(rows * size.units * size.working_bytes for size in sizes) + product)


def _own(metric: MomentMetric) -> Any:
    """Return what gives each row's part in a system's own sums, which some families share among pairs."""
    return metric.influence and metric.influence.own
