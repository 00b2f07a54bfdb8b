"""All pairs of systems under all metrics, as one tidy table with an interval and a null for every score."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import combinations
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import (
    as_responses,
    check_moderate,
    check_paired,
    group_folds,
    group_labels,
)
from superpose.files import DataError
from superpose.kernel_tiles import SIDE, are_cheaper, bytes_held, kernel_tiles
from superpose.metrics import DEFAULT, Metric, MomentMetric, PredictiveMetric
from superpose.metrics.kernels import cross_rows, kernel_sums
from superpose.metrics.metric import is_constant
from superpose.metrics.regression import Plan, split_plan
from superpose.moments import (
    CACHE_BYTES,
    Cross,
    Moments,
    Own,
    Precision,
    RowReader,
    accumulate_about_means,
    chunk_rows,
    compact,
    mean_of,
    reader,
    row_blocks,
)
from superpose.statistics import FEWEST, Drawn, Repairings, draw, familywise, interval, p_value, repairings

Array = NDArray[Any]
Progress = Callable[[str, int, int], None]
Found = TypeVar("Found")
Systems = Mapping[str, ArrayLike]
# A fold, and the rows of one chunk of it.
Block = tuple[int, slice | NDArray[np.int64]]
# Samples that the width of an interval is estimated from, where there are more.
INTERVALS = 5_000
# Sums of one pair, own or crossed, that a regression has in hand at once.
SOLVING = 12
# Bytes of a row's share in a system's own sums, and the part of the memory that such shares may take.
ROW, SHARE = 16, 16
# So many rows of a product cost little more, each, than many more.
SHARED_ROWS = 512
# What drawn rows add to a system's own sums, by system and by what takes it.
OwnRows = dict[tuple[str, Callable[..., Any]], Any]

IDENTITY = ("system_a", "system_b", "metric", "directed")
OF_NULL = ("null", "null_low", "null_high", "p", "p_adjusted", "calibrated")
SCORES = ("score", "low", "high", "error", *OF_NULL)
SIZES = ("samples", "units_a", "units_b")
COLUMNS = (*IDENTITY, *SCORES, *SIZES, "why")
REPAIRED_NULL = "null: {} re-pairings of {} within folds"
EXACT_NULL = "null: exact mean over all re-pairings of samples, folds and groups aside"


def compare(
    systems: Systems,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    metrics: Sequence[Metric] = DEFAULT,
    folds: int | ArrayLike | None = 5,
    test: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    permutations: int = 0,
    interval_samples: int | None = INTERVALS,
    seed: int = 0,
    memory: int | str | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Score every pair of systems under every metric.

    Parameters
    ----------
    systems : mapping of str to array or tensor, (…, samples, units)
        At least two systems that saw the same samples. Leading axes are repeats, equal in all systems, scored
        one by one and numbered in the column `repeat`.
    pairs : sequence of (name, name), optional
        The pairs to score; None takes all.
    metrics : sequence of Metric
        Objects of `superpose.metrics`, or your own callables with `name`, `directed`, `invariances` and
        `minimum_samples`.
    folds : int, integer array (samples,) or None
        As in `superpose.regression`. With `groups` and an integer, folds keep groups whole.
    test : boolean array, (samples,), optional
        One fixed split: regressions are fitted where False; every score is taken where True.
    groups : array-like, (samples,), optional
        Which samples belong together (sentence, trial, photograph, session): folds, intervals and
        re-pairings take groups whole.
    permutations : int
        How many re-pairings the null is made of; 0 gives the exact mean over all re-pairings of samples, folds
        and groups aside, where that has a closed form. With groups, the order of the groups is permuted and
        rows are paired in that order: approximate where group sizes differ.
    interval_samples : int, optional
        From how many of the scored samples, drawn at random in whole groups and at least 1,000 of those, the width of
        intervals is estimated; None takes all. From 5,000 independent samples it is known to one or two per cent.
    seed : int
        Seed of the re-pairings and of that draw.
    memory : int or str, optional
        How many bytes sums may take, as 2_000_000_000 or "2GB"; None is a quarter of this machine's memory. Rows are
        read by chunks, from the disk where they are mapped; what does not fit is done by groups of pairs, and each
        system is read once a group.
    progress : callable, optional
        Called with (what, done, total).

    Returns
    -------
    pandas.DataFrame
        One row a pair for a symmetric metric, two for a directed one (system_a predicts system_b). `score`;
        `low`, `high`, `error`: 95 % interval and standard error from influence values; `null`, `null_low`, `null_high`:
        mean, 2.5 % and 97.5 % of the scores of re-paired samples, the regression fitted anew on each; `p` =
        (1 + b)/(1 + B), one-sided; `p_adjusted`: the same for all pairs of a metric at once
        (`superpose.statistics.familywise`); `calibrated`: where the score lies between its null mean, 0, and that of
        identical systems, 1; `samples` scored; `why`: the reason for a NaN and which null was taken.

    Raises
    ------
    DataError
        For fewer than two systems, unusable or unpaired responses, a constant system, or folds and groups
        that do not fit the samples.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(100, 8))
    >>> table = sp.compare({"x": x, "mixed": x @ np.random.default_rng(1).normal(size=(8, 8))})
    >>> table.query("metric == 'regression_r'").score.round(3).tolist()
    [1.0, 1.0]
    """
    if not isinstance(permutations, int | np.integer) or permutations < 0:
        raise DataError(f"permutations is {permutations!r}; expected an integer of at least 0.")
    arrays, couples, design = prepared(
        systems,
        pairs=pairs,
        folds=folds,
        test=test,
        groups=groups,
        interval_samples=interval_samples,
        seed=seed,
        memory=memory,
        progress=progress,
    )
    design = replace(design, permutations=int(permutations))
    planned = planned_for(metrics, design)
    repeats = next(iter(arrays.values())).shape[:-2]
    if any(x.shape[:-2] != repeats for x in arrays.values()):
        raise DataError(
            f"the systems have repeats {sorted({x.shape[:-2] for x in arrays.values()})}; expected the same leading "
            "axes in all."
        )
    tables = []
    for number, index in enumerate(np.ndindex(repeats)):
        table = _table({name: x[index] for name, x in arrays.items()}, couples, planned, design)
        tables.append(table.assign(**({"repeat": number} if repeats else {})))
    return pd.concat(tables, ignore_index=True)


def prepared(
    systems: Systems,
    *,
    pairs: Sequence[tuple[str, str]] | None,
    folds: int | ArrayLike | None,
    test: ArrayLike | None,
    groups: ArrayLike | None,
    interval_samples: int | None = INTERVALS,
    seed: int = 0,
    memory: int | str | None,
    progress: Progress | None,
) -> tuple[dict[str, Array], list[tuple[str, str]], Design]:
    """Return checked systems with their folds end to end, the chosen pairs, and how samples are split and grouped."""
    arrays = checked_systems(systems)
    samples = check_paired(arrays)
    couples = checked_pairs(arrays, pairs)
    checked_seed(seed)
    checked_draw(interval_samples)
    kept = None if groups is None else group_labels(groups, samples)
    if test is None and kept is not None and isinstance(folds, int | np.integer):
        folds = group_folds(kept, int(folds))
    labels, plan = split_plan(samples, folds, test)
    labels = np.zeros(samples, dtype=np.int64) if labels is None else labels
    if (np.diff(labels) < 0).any():
        # Folds end to end: each is then a slice, read in place by every product below.
        order = np.argsort(labels, kind="stable")
        arrays = {name: x[..., order, :] for name, x in arrays.items()}
        labels, kept = labels[order], kept if kept is None else kept[order]
    design = Design(
        folds=labels,
        plan=plan,
        groups=kept,
        drawn=draw(scored_of(labels, plan), labels, kept, interval_samples, seed),
        repairings=repairings(samples, labels, kept),
        permutations=0,
        seed=seed,
        memory=bytes_of(memory),
        progress=progress or _silent,
    )
    return arrays, couples, design


def planned_for(metrics: Sequence[Metric], design: Design) -> list[Any]:
    """Return the metrics for the folds of a design, each of a name of its own."""
    names = [m.name for m in metrics]
    if len(set(names)) < len(names):
        raise DataError(f"two metrics have the same name, among {', '.join(names)}; give each its own.")
    return [m.planned(design.plan) if isinstance(m, PredictiveMetric) else m for m in metrics]


@dataclass(frozen=True)
class Design:
    """How samples are split, grouped and re-paired, the same for every pair."""

    folds: NDArray[np.int64]
    plan: Plan
    groups: NDArray[np.int64] | None
    drawn: Drawn
    repairings: Repairings
    permutations: int
    seed: int
    memory: int
    progress: Progress

    @property
    def scored(self) -> slice:
        """The samples that are scored."""
        return scored_of(self.folds, self.plan)

    @property
    def count(self) -> int:
        """How many samples are scored."""
        return self.scored.stop - self.scored.start


def scored_of(folds: NDArray[np.int64], plan: Plan) -> slice:
    """Return the samples that are scored: one slice, as folds lie end to end and the last, or all, are held out."""
    return slice(int(np.searchsorted(folds, min(plan.held_out))), len(folds))


def checked_systems(systems: Systems) -> dict[str, Array]:
    """Return at least two systems as real, finite arrays that vary, or raise a DataError that names the culprit."""
    if not isinstance(systems, Mapping) or len(systems) < 2:
        raise DataError("expected at least two systems, as {name: array}.")
    arrays = {str(name): as_responses(x, str(name)) for name, x in systems.items()}
    for name, x in arrays.items():
        check_moderate(x, name)
        if is_constant(x):
            raise DataError(
                f"{name} does not vary: every unit is constant over the samples, so there is nothing to compare."
            )
    return arrays


def bytes_of(memory: int | str | None) -> int:
    """Return a limit in bytes: a number, text such as 512MB, or a quarter of this machine's memory for None.

    Raises
    ------
    DataError
        For anything else.

    Examples
    --------
    >>> from superpose.comparison import bytes_of
    >>> bytes_of("512MB"), bytes_of("2 GiB")
    (512000000, 2147483648)
    """
    if memory is None:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(B|[KMGT]i?B)?", str(memory))
    if not found or not float(found[1]):
        raise DataError(f"memory is {memory!r}; expected a number of bytes, or text such as 512MB.")
    unit = found[2] or "B"
    return int(float(found[1]) * (1024 if "i" in unit else 1000) ** "BKMGT".index(unit[0]))


def checked_seed(seed: int) -> None:
    """Raise a DataError unless the seed is an integer of at least 0."""
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise DataError(f"seed is {seed!r}; expected an integer of at least 0.")


def checked_draw(samples: int | None) -> None:
    """Raise a DataError unless intervals come from all samples (None) or at least two."""
    if samples is not None and (not isinstance(samples, int | np.integer) or samples < 2):
        raise DataError(f"interval_samples is {samples!r}; expected an integer of at least 2, or None for all.")


def checked_pairs(systems: Mapping[str, Any], pairs: Sequence[tuple[str, str]] | None) -> list[tuple[str, str]]:
    """Return the chosen pairs of systems, or all, or raise a DataError that names an unknown one."""
    if pairs is None:
        return list(combinations(systems, 2))
    if not pairs or len(set(map(frozenset, pairs))) < len(pairs):
        raise DataError(f"pairs is {pairs!r}; expected at least one pair of systems, each once.")
    for pair in pairs:
        if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= set(systems):
            raise DataError(f"{pair!r} is no pair of two systems; expected two of {', '.join(systems)}.")
    return [(a, b) for a, b in pairs]


@dataclass
class Pair:
    """One ordered pair: its names, readers of rows about their means, moments, and the sums that metrics share.

    `over` are the moments of all folds and of those that are scored; without them, all sums that will be asked for are
    there.
    """

    names: tuple[str, str]
    read: tuple[RowReader, RowReader]
    units: tuple[int, int]
    over: tuple[Moments, Moments] | None
    sums: dict[Any, Any] = field(default_factory=dict)
    row_sums: dict[Any, Any] = field(default_factory=dict)

    def swapped(self) -> Pair:
        """Return the pair in the other direction."""
        over = None if self.over is None else (self.moments.swapped(), self.scored.swapped())
        return Pair(self.names[::-1], self.read[::-1], self.units[::-1], over)

    @property
    def moments(self) -> Moments:
        """The moments of all folds."""
        assert self.over is not None
        return self.over[0]

    @property
    def scored(self) -> Moments:
        """The moments of the folds that are scored."""
        assert self.over is not None
        return self.over[1]


Directions = tuple[Pair, Pair]


@dataclass
class Held:
    """What is known of systems, each taken once for all pairs: means, own sums, what rows add to those."""

    means: dict[str, Array]
    sums: dict[str, Own]
    rows: OwnRows


def shares_held(systems: int, rows: int, memory: int) -> bool:
    """Return whether what so many rows of so many systems add to their own sums may be kept for further pairs."""
    return systems * rows * ROW <= memory / SHARE


class Sums:
    """The moments of some systems and pairs, and readers of the same rows, in one precision."""

    def __init__(
        self,
        arrays: Mapping[str, Array],
        couples: Sequence[tuple[str, str]],
        design: Design,
        means: Mapping[str, Array],
        precision: Precision | None = None,
        known: Mapping[str, Own] | None = None,
    ) -> None:
        self.design = design
        self.own, self.cross = accumulate_about_means(
            arrays, couples, design.folds, means, targets=known or (), precision=precision
        )
        self.own |= known or {}
        self.rows = min(chunk_rows(arrays.values()), len(design.folds))
        self.read = {name: reader(x, means[name], self.rows, precision) for name, x in arrays.items()}

    def pair(self, a: str, b: str, units: Mapping[str, int]) -> Pair:
        """Return one pair of them."""
        moments = Moments(self.own[a], self.own[b], self.cross[a, b])
        scored = moments.merged(self.design.plan.held_out)
        return Pair((a, b), (self.read[a], self.read[b]), (units[a], units[b]), (moments, scored))


def _table(
    arrays: dict[str, Array], couples: Sequence[tuple[str, str]], metrics: Sequence[Any], design: Design
) -> pd.DataFrame:
    visit = partial(_scored, metrics=metrics, design=design)
    found = dict(over_pairs(arrays, couples, metrics, design, visit))
    scored = [row for couple in couples for row in found[couple]]
    table = pd.DataFrame([row for row, _ in scored], columns=COLUMNS)
    for metric in metrics:
        nulls = {i: null for i, (row, null) in enumerate(scored) if row["metric"] == metric.name and null is not None}
        if nulls:
            sign, known = _sign(metric), table.score[list(nulls)].to_numpy()
            table.loc[list(nulls), "p_adjusted"] = familywise(sign * known, sign * np.stack(list(nulls.values())))
    return table


def over_pairs(
    arrays: dict[str, Array],
    couples: Sequence[tuple[str, str]],
    metrics: Sequence[Any],
    design: Design,
    visit: Callable[[Directions, tuple[Array, Array], Sequence[Block]], Found],
) -> Iterator[tuple[tuple[str, str], Found]]:
    """Yield each pair with what `visit` makes of it, tile by tile; a system's own sums are taken once."""
    if _kernels_alone(arrays, couples, metrics, design):
        yield from _over_kernels(arrays, couples, design, visit)
        return
    folds = int(design.folds.max()) + 1
    held = Held({}, {}, {})
    done = 0
    for some in tiles(couples, {name: x.shape[-1] for name, x in arrays.items()}, folds, design.memory):
        names = list(dict.fromkeys(name for couple in some for name in couple))
        tile = {name: arrays[name] for name in names}
        for (a, b), directions, blocks in _tile(tile, some, metrics, design, held):
            yield (a, b), visit(directions, (arrays[a], arrays[b]), blocks)
            if not shares_held(len(held.rows), len(design.drawn.index), design.memory):
                held.rows.clear()
            done += 1
            design.progress("pairs", done, len(couples))


def _kernels_alone(
    arrays: Mapping[str, Array], couples: Sequence[tuple[str, str]], metrics: Sequence[Any], design: Design
) -> bool:
    """Say whether nothing but sums of kernels is asked for, and tiles of samples give those for less."""
    if design.permutations or not all(isinstance(m, MomentMetric) and m.sums is kernel_sums for m in metrics):
        return False
    units, drawn = {name: arrays[name].shape[-1] for couple in couples for name in couple}, len(design.drawn.index)
    pairs = [(units[a], units[b]) for a, b in couples]
    fits = bytes_held(list(units.values()), drawn) <= design.memory
    return fits and are_cheaper(list(units.values()), pairs, design.count, drawn)


def _over_kernels(
    arrays: Mapping[str, Array],
    couples: Sequence[tuple[str, str]],
    design: Design,
    visit: Callable[[Directions, tuple[Array, Array], Sequence[Block]], Found],
) -> Iterator[tuple[tuple[str, str], Found]]:
    names = dict.fromkeys(name for couple in couples for name in couple)
    read = {name: reader(arrays[name], mean_of(arrays[name], design.scored), SIDE) for name in names}
    found = kernel_tiles(read, design.scored, design.drawn.index, partial(design.progress, "tiles of samples"))
    for done, (a, b) in enumerate(couples, start=1):
        units = (arrays[a].shape[-1], arrays[b].shape[-1])
        sums, rows = {kernel_sums: found.sums(a, b)}, {cross_rows: found.shares(a, b)}
        pair = Pair((a, b), (read[a], read[b]), units, None, sums, rows)
        yield (a, b), visit((pair, pair), (arrays[a], arrays[b]), [])
        design.progress("pairs", done, len(couples))


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
    free = memory - (len(names) + SOLVING) * square
    block = next((b for b in range(len(names), 1, -1) if b**2 * square <= free), 1)
    if block >= len(names) / 2 and len(couples) * square <= free:
        return [list(couples)]
    place = {name: number // block for number, name in enumerate(names)}
    found: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for a, b in couples:
        low, high = sorted((place[a], place[b]))
        found.setdefault((low, high), []).append((a, b))
    return list(found.values())


def _tile(
    arrays: dict[str, Array],
    couples: Sequence[tuple[str, str]],
    metrics: Sequence[Any],
    design: Design,
    held: Held,
) -> Iterator[tuple[tuple[str, str], Directions, list[Block]]]:
    units = {name: x.shape[-1] for name, x in arrays.items()}
    # A rotation of the units is free only where no metric can see it.
    rotates = all("rotation" in m.invariances for m in metrics if isinstance(m, MomentMetric))
    compacted = {name: compact(x) if rotates else x for name, x in arrays.items()}
    held.means.update({name: mean_of(x, design.scored) for name, x in compacted.items() if name not in held.means})
    known = {name: held.sums[name] for name in arrays if name in held.sums}
    sums = Sums(compacted, couples, design, held.means, known=known)
    held.sums.update(sums.own)
    for a, b in couples:
        pair, rows = sums.pair(a, b, units), sums.rows
        directions = (pair, pair.swapped())
        exact = any(_blurred(direction, metrics) for direction in directions)
        if exact:
            again = Sums({a: compacted[a], b: compacted[b]}, [(a, b)], design, held.means, np.float64)
            pair, rows = again.pair(a, b, units), again.rows
            directions = (pair, pair.swapped())
        blocks = list(row_blocks(len(design.folds), rows, design.folds))
        _take_rows(directions, metrics, design, rows, {} if exact else held.rows)
        yield (a, b), directions, blocks


def _blurred(pair: Pair, metrics: Sequence[Any]) -> bool:
    """Whether a regression of the pair needs products in float64."""
    fitted = (sums_of(pair, m) for m in metrics if isinstance(m, MomentMetric) and m.split)
    return any(sums.blurred for sums in fitted)


def _scored(
    directions: Directions,
    originals: tuple[Array, Array],
    blocks: Sequence[Block],
    *,
    metrics: Sequence[Any],
    design: Design,
) -> list[tuple[dict[str, Any], Array | None]]:
    """Return a row for each metric and direction, and the scores of its re-pairings."""
    nulls = _nulls(directions, originals, metrics, design, blocks)
    scored = []
    for metric in metrics:
        for number, ordered in enumerate(directions if metric.directed else directions[:1]):
            null = nulls.get((metric.name, number))
            given = originals[::-1] if number else originals
            scored.append((_row(ordered, metric, null, given, design), null))
    return scored


def _row(
    pair: Pair,
    metric: Any,
    null: Array | None,
    originals: tuple[Array, Array],
    design: Design,
) -> dict[str, Any]:
    scored = design.count
    row: dict[str, Any] = dict.fromkeys(COLUMNS, np.nan)
    row |= {
        "system_a": pair.names[0],
        "system_b": pair.names[1],
        "metric": metric.name,
        "directed": metric.directed,
        "samples": scored,
        "units_a": pair.units[0],
        "units_b": pair.units[1],
    }
    why: list[str] = []
    if scored < metric.minimum_samples:
        why.append(f"{scored} samples are too few (at least {metric.minimum_samples})")
    elif isinstance(metric, MomentMetric):
        row |= _moment_scores(pair, metric, design, why)
    else:
        row["score"] = float(metric(*(x[design.scored] for x in originals)))
        known = np.isfinite(row["score"])
        why.append("no interval for this metric" if known else getattr(metric, "why", "this metric gave no score"))
    if null is not None and np.isfinite(row["score"]):
        row |= _null_scores(row["score"], null, _sign(metric), design, why)
    if np.isfinite(row["null"]):
        row["calibrated"] = float(calibrated(row["score"], row["null"], 1.0 if _sign(metric) > 0 else 0.0))
    if design.permutations and not design.repairings.enough(design.plan.held_out):
        why.append(f"no null: fewer than {FEWEST} distinct re-pairings of what is scored")
    return row | {"why": "; ".join(why)}


def _moment_scores(pair: Pair, metric: MomentMetric, design: Design, why: list[str]) -> dict[str, float]:
    sums = sums_of(pair, metric)
    score = float(metric.score(sums))
    if not np.isfinite(score):
        why.append(metric.why(sums))
        return {}
    result = {"score": score}
    influence = influence_of(pair, metric)
    if influence is None:
        why.append("no interval for this metric")
    else:
        result["error"], count = design.drawn.error(influence)
        result["low"], result["high"] = interval(score, result["error"], count, metric.bounds)
    if not design.permutations and metric.null_mean is not None:
        result["null"] = float(metric.null_mean(sums))
        why.append(EXACT_NULL)
    return result


def influence_of(pair: Pair, metric: MomentMetric) -> Array | None:
    """Return each drawn row's influence on a score that exists, or None for a metric that has no such values."""
    if metric.influence is None:
        return None
    influence: Array = metric.influence(sums_of(pair, metric), pair.row_sums[metric.row_sums])
    return influence


def calibrated(score: Any, null: Any, best: float = 1.0) -> Any:
    """Return where scores lie between their null, 0, and that of identical systems, 1 (Hubert & Arabie 1985)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(null == best, np.nan, np.subtract(score, null) / np.subtract(best, null))


def _sign(metric: Any) -> float:
    return 1.0 if getattr(metric, "higher_is_closer", True) else -1.0


def _terms(pair: Pair, metric: MomentMetric) -> Moments:
    """Return the sums of all folds where the metric fits on some and scores on others, else of those scored."""
    return pair.moments if metric.split else pair.scored


def _take_rows(
    directions: tuple[Pair, Pair], metrics: Sequence[Any], design: Design, rows: int, shared: OwnRows
) -> None:
    """Keep what each drawn row adds to the sums behind intervals, of both directions in one reading of the rows."""
    wanted: dict[tuple[int, Any], MomentMetric] = {
        (way, metric.row_sums): metric
        for way, pair in enumerate(directions)
        for metric in metrics
        if isinstance(metric, MomentMetric)
        and metric.influence is not None
        and (metric.directed or not way)
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
    for (way, row_sums), metric in wanted.items():
        forward = row_sums(_terms(directions[way], metric), sums_of(directions[way], metric))
        shares.append(_exchanged(forward) if way else forward)
    shares += [_of_one(share, pair.names.index(name)) for (name, _), share in missing.items()]
    if not shares:
        return
    # Fewer rows than products of moments take: here each is at once followed by what reads its result.
    count = min(rows, max(SHARED_ROWS, CACHE_BYTES // (8 * max(pair.units))))
    found = over_rows(shares, pair.read, design.drawn.blocks(count))
    shared |= zip(missing, found[len(wanted) :], strict=True)
    for ((way, row_sums), metric), taken in zip(wanted.items(), found[: len(wanted)], strict=True):
        own = () if metric.own_rows is None else tuple(shared[name, metric.own_rows] for name in pair.names)
        directions[way].row_sums[row_sums] = (taken, *own) if own else taken


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


def sums_of(pair: Pair, metric: MomentMetric) -> Any:
    """Return the sums that a metric is made of, taken once for all that share them."""
    if metric.sums not in pair.sums:
        pair.sums[metric.sums] = metric.sums(_terms(pair, metric))
    return pair.sums[metric.sums]


def _nulls(
    directions: tuple[Pair, Pair],
    originals: tuple[Array, Array],
    metrics: Sequence[Any],
    design: Design,
    blocks: Sequence[Block],
) -> dict[tuple[str, int], Array]:
    """Return each metric's scores over the re-pairings, by name and direction."""
    if not design.permutations or not design.repairings.enough(design.plan.held_out):
        return {}
    pair = directions[0]
    able = [m for m in metrics if design.count >= m.minimum_samples]
    scores: dict[tuple[str, int], list[float]] = {}
    norms = [
        np.concatenate([np.einsum("ij,ij->i", r, r) for r in (take(index) for _, index in blocks)])
        for take in pair.read
    ]
    for number, index in enumerate(design.repairings.draw(design.permutations, design.seed)):
        cross = _crossed(pair, index, norms[0], norms[1][index], design, blocks)
        moments = Moments(pair.moments.x, pair.moments.y, cross)
        # Re-pairing leaves the systems' own sums as they are.
        scored = Moments(pair.scored.x, pair.scored.y, cross.merged(design.plan.held_out))
        forward = (moments, scored)
        backward = (moments.swapped(), scored.swapped())
        for way, (direction, (whole, held_out)) in enumerate(zip(directions, (forward, backward), strict=True)):
            shared: dict[Any, Any] = {}
            for metric in able:
                if way and not metric.directed:
                    continue
                if isinstance(metric, MomentMetric):
                    if metric.repaired not in shared:
                        terms = whole if metric.split else held_out
                        shared[metric.repaired] = metric.repaired(sums_of(direction, metric), terms)
                    value = float(metric.score(shared[metric.repaired]))
                else:
                    again = (originals[0][design.scored], originals[1][index][design.scored])
                    value = float(metric(*(again[::-1] if way else again)))
                scores.setdefault((metric.name, way), []).append(value)
        design.progress(f"null {pair.names[0]} {pair.names[1]}", number + 1, design.permutations)
    return {key: np.array(values) for key, values in scores.items()}


def _crossed(
    pair: Pair, index: NDArray[np.int64], norm_x: Array, norm_y: Array, design: Design, blocks: Sequence[Block]
) -> Cross:
    """Return the crossed products of re-paired rows by fold; centred rows need no other crossed sum."""
    crossed = np.zeros_like(pair.moments.cross.product)
    norms = np.zeros(len(crossed))
    take_x, take_y = pair.read
    for fold, rows in blocks:
        crossed[fold] += take_x(rows).T @ take_y(index[rows])
        norms[fold] += np.multiply(norm_x[rows], norm_y[rows], dtype=np.float64).sum()
    empty = np.zeros((len(crossed), 0))
    return Cross(crossed, norms, empty, empty)


def _null_scores(score: float, null: Array, sign: float, design: Design, why: list[str]) -> dict[str, float]:
    known = null[np.isfinite(null)]
    if not len(known):
        why.append("no null: no re-paired score exists")
        return {}
    what = "samples" if design.groups is None else "groups"
    why.append(REPAIRED_NULL.format(len(known), what))
    low, high = np.quantile(known, [0.025, 0.975])
    result = {"null": float(known.mean()), "null_low": float(low), "null_high": float(high)}
    return result | {"p": p_value(sign * score, sign * known)}


def _silent(what: str, done: int, total: int) -> None:
    pass
