"""All pairs of systems under all metrics, as one tidy table with an interval and a null for every score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import (
    as_responses,
    check_finite,
    check_paired,
    group_folds,
    group_labels,
    is_mapped,
)
from superpose.files import DataError
from superpose.metrics import DEFAULT, Metric, MomentMetric, RegressionMetric
from superpose.metrics.metric import is_constant
from superpose.metrics.regression import Plan, split_plan
from superpose.moments import Cross, Moments, Own, accumulate, compact, working_type
from superpose.statistics import FEWEST, Repairings, interval, p_value, repairings, standard_error

Array = NDArray[Any]
Progress = Callable[[str, int, int], None]

# Rows of a file that are read at a time.
PIECE = 2048

IDENTITY = ("system_a", "system_b", "metric", "directed")
SCORES = ("score", "low", "high", "null", "null_low", "null_high", "p")
SIZES = ("samples", "units_a", "units_b")
COLUMNS = (*IDENTITY, *SCORES, *SIZES, "why")
REPAIRED_NULL = "null: {} re-pairings of {} within folds"
EXACT_NULL = "null: exact mean over all re-pairings of samples, folds and groups aside"


def compare(
    systems: Mapping[str, ArrayLike],
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    metrics: Sequence[Metric | RegressionMetric] = DEFAULT,
    folds: int | ArrayLike | None = 5,
    test: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    permutations: int = 0,
    seed: int = 0,
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
    seed : int
        Seed of the re-pairings.
    progress : callable, optional
        Called with (what, done, total).

    Returns
    -------
    pandas.DataFrame
        One row a pair for a symmetric metric, two for a directed one (system_a predicts system_b). `score`;
        `low`, `high`: 95 % interval from influence values, with the fitted regression weights taken as given;
        `null`, `null_low`, `null_high`: mean, 2.5 % and 97.5 % of the scores of re-paired samples, the
        regression fitted anew on each; `p` = (1 + b)/(1 + B), one-sided; `samples` scored; `why`: the reason
        for a NaN and which null was taken.

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
    arrays = checked_systems(systems)
    samples = check_paired(arrays)
    if not isinstance(permutations, int | np.integer) or permutations < 0:
        raise DataError(f"permutations is {permutations!r}; expected an integer of at least 0.")
    couples = checked_pairs(arrays, pairs)
    checked_seed(seed)
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
        repairings=repairings(samples, labels, kept),
        permutations=int(permutations),
        seed=seed,
        progress=progress or _silent,
    )
    planned = [m.planned(plan) if isinstance(m, RegressionMetric) else m for m in metrics]
    names = [m.name for m in metrics]
    if len(set(names)) < len(names):
        raise DataError(f"two metrics have the same name, among {', '.join(names)}; give each its own.")
    repeats = next(iter(arrays.values())).shape[:-2]
    if any(x.shape[:-2] != repeats for x in arrays.values()):
        raise DataError(
            f"the systems have repeats {sorted({x.shape[:-2] for x in arrays.values()})}; expected the same leading "
            "axes in all."
        )
    tables = []
    for number, index in enumerate(np.ndindex(repeats)):
        rows = _pairs({name: x[index] for name, x in arrays.items()}, couples, planned, design)
        tables.append(pd.DataFrame(rows, columns=COLUMNS).assign(**({"repeat": number} if repeats else {})))
    return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True)
class Design:
    """How samples are split, grouped and re-paired, the same for every pair."""

    folds: NDArray[np.int64]
    plan: Plan
    groups: NDArray[np.int64] | None
    repairings: Repairings
    permutations: int
    seed: int
    progress: Progress

    @property
    def scored(self) -> slice:
        """The samples that are scored: one slice, as folds lie end to end and the last, or all, are held out."""
        return slice(int(np.searchsorted(self.folds, min(self.plan.held_out))), len(self.folds))

    @property
    def count(self) -> int:
        """How many samples are scored."""
        return self.scored.stop - self.scored.start


def checked_systems(systems: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """Return at least two systems as real, finite arrays that vary, or raise a DataError that names the culprit."""
    if not isinstance(systems, Mapping) or len(systems) < 2:
        raise DataError("expected at least two systems, as {name: array}.")
    arrays = {str(name): as_responses(x, str(name)) for name, x in systems.items()}
    for name, x in arrays.items():
        check_finite(x, name)
        if is_constant(x):
            raise DataError(
                f"{name} does not vary: every unit is constant over the samples, so there is nothing to compare."
            )
    return arrays


def checked_seed(seed: int) -> None:
    """Raise a DataError unless the seed is an integer of at least 0."""
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise DataError(f"seed is {seed!r}; expected an integer of at least 0.")


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


@dataclass(frozen=True)
class MappedRows:
    """Rows of a file about their mean, made as they are asked for: of an array larger than the memory."""

    source: Array
    mean: Array

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> Array:
        return np.subtract(self.source[index], self.mean, dtype=self.mean.dtype)


@dataclass
class Pair:
    """One ordered pair: its names, rows about their means, moments, and the sums that metrics share."""

    names: tuple[str, str]
    rows: tuple[Array | MappedRows, Array | MappedRows]
    units: tuple[int, int]
    moments: Moments
    scored: Moments
    sums: dict[Any, Any] = field(default_factory=dict)
    row_sums: dict[Any, Any] = field(default_factory=dict)

    def swapped(self) -> Pair:
        """Return the pair in the other direction."""
        return Pair(self.names[::-1], self.rows[::-1], self.units[::-1], self.moments.swapped(), self.scored.swapped())


def _pairs(
    arrays: dict[str, Array], couples: Sequence[tuple[str, str]], metrics: Sequence[Any], design: Design
) -> list[dict[str, Any]]:
    units = {name: x.shape[-1] for name, x in arrays.items()}
    # A rotation of the units is free only where no metric can see it.
    rotates = all("rotation" in m.invariances for m in metrics if isinstance(m, MomentMetric))
    compacted = {name: compact(x) if rotates else x for name, x in arrays.items()}
    # Rows about their means make every re-paired sum a centred one.
    rows = {name: _about_mean(x, design) for name, x in compacted.items()}
    own, cross = _accumulated(compacted, couples, design)
    table: list[dict[str, Any]] = []
    for done, (a, b) in enumerate(couples):
        pair = _pair(rows, own, cross, (a, b), units, design)
        directions = (pair, pair.swapped())
        if any(_blurred(direction, metrics) for direction in directions):
            exact = {name: compacted[name].astype(np.float64) for name in (a, b)}
            sharp = {name: _about_mean(x, design) for name, x in exact.items()}
            pair = _pair(sharp, *_accumulated(exact, [(a, b)], design), (a, b), units, design)
            directions = (pair, pair.swapped())
        nulls = _nulls(directions, (arrays[a], arrays[b]), metrics, design)
        for metric in metrics:
            for number, ordered in enumerate(directions if metric.directed else directions[:1]):
                originals = (arrays[ordered.names[0]], arrays[ordered.names[1]])
                table.append(_row(ordered, metric, nulls.get((metric.name, number)), originals, design))
        design.progress("pairs", done + 1, len(couples))
    return table


def _accumulated(systems: Mapping[str, Array], couples: Sequence[tuple[str, str]], design: Design) -> tuple[Any, Any]:
    """Return the moments of rows about their means, without filling the zeros of sparse ones."""
    own, cross = accumulate(systems, couples, design.folds, {name: _mean(x, design) for name, x in systems.items()})
    return {name: replace(sums, shift=np.zeros_like(sums.shift)) for name, sums in own.items()}, cross


def _pair(
    rows: Mapping[str, Array | MappedRows],
    own: Mapping[str, Own],
    cross: Mapping[tuple[str, str], Cross],
    names: tuple[str, str],
    units: Mapping[str, int],
    design: Design,
) -> Pair:
    a, b = names
    moments = Moments(own[a], own[b], cross[names])
    return Pair(names, (rows[a], rows[b]), (units[a], units[b]), moments, moments.merged(design.plan.held_out))


def _blurred(pair: Pair, metrics: Sequence[Any]) -> bool:
    """Whether a regression of the pair needs products in float64."""
    fitted = (_sums(pair, m) for m in metrics if isinstance(m, MomentMetric) and _is_split(m))
    return any(sums.blurred for sums in fitted)


def _about_mean(x: Array, design: Design) -> Array | MappedRows:
    """Return rows about the mean of the scored ones, in the working precision."""
    rows = MappedRows(x, _mean(x, design).astype(working_type(x)))
    return rows if is_mapped(x) else rows[:]


def _mean(x: Array, design: Design) -> Array:
    """Return the mean of the scored rows, as exact as the working precision."""
    mean: Array = x[design.scored].mean(axis=0, dtype=np.float64).astype(working_type(x)).astype(np.float64)
    return mean


def _row(pair: Pair, metric: Any, null: Array | None, originals: tuple[Array, Array], design: Design) -> dict[str, Any]:
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
        row |= _moment_scores(pair, metric, design, why, exact=not design.permutations)
    else:
        row["score"] = float(metric(*(x[design.scored] for x in originals)))
        why.append("no interval for this metric")
    if null is not None and np.isfinite(row["score"]):
        sign = 1.0 if getattr(metric, "higher_is_closer", True) else -1.0
        row |= _null_scores(row["score"], null, sign, design, why)
    if design.permutations and not design.repairings.enough(design.plan.held_out):
        why.append(f"no null: fewer than {FEWEST} distinct re-pairings of what is scored")
    return row | {"why": "; ".join(why)}


def _moment_scores(pair: Pair, metric: MomentMetric, design: Design, why: list[str], exact: bool) -> dict[str, float]:
    sums = _sums(pair, metric)
    score = float(metric.score(sums))
    if not np.isfinite(score):
        why.append(metric.why(sums))
        return {}
    result = {"score": score}
    if metric.influence is not None and metric.row_sums is not None:
        if metric.row_sums not in pair.row_sums:
            pair.row_sums[metric.row_sums] = _row_sums(pair, metric, sums, design)
        influence = metric.influence(sums, pair.row_sums[metric.row_sums])
        groups = None if design.groups is None else design.groups[design.scored]
        if len(influence) > design.count:
            # Rows that were only fitted on have no influence here: rescale to the rows that were scored.
            influence = influence[design.scored] * (design.count / len(influence))
        error = standard_error(influence, groups)
        count = len(influence) if groups is None else len(np.unique(groups))
        result["low"], result["high"] = interval(score, error, count, metric.bounds)
    else:
        why.append("no interval for this metric")
    if exact and metric.null_mean is not None:
        result["null"] = float(metric.null_mean(sums))
        why.append(EXACT_NULL)
    return result


def _is_split(metric: MomentMetric) -> bool:
    """Whether the metric fits on some folds and scores on others, and so needs the moments of all."""
    return metric.directed


def _terms(pair: Pair, metric: MomentMetric) -> Moments:
    return pair.moments if _is_split(metric) else pair.scored


def _row_sums(pair: Pair, metric: MomentMetric, sums: Any, design: Design) -> Any:
    """Return what each row adds to the sums; rows of files are read in pieces."""
    assert metric.row_sums is not None
    terms, (x, y) = _terms(pair, metric), pair.rows
    start = 0 if _is_split(metric) else design.scored.start
    step = PIECE if any(isinstance(rows, MappedRows) for rows in pair.rows) else len(x)
    pieces = [slice(at, min(at + step, len(x))) for at in range(start, len(x), step)]
    found = (metric.row_sums(terms, sums, x[piece], y[piece], design.folds[piece]) for piece in pieces)
    if len(pieces) == 1:
        return next(found)
    # Filled, rather than joined: of rows beyond the memory, even one number a row must not be held twice.
    whole: dict[str, Array] = {}
    for piece, rows in zip(pieces, found, strict=True):
        for part in fields(rows):
            values = getattr(rows, part.name)
            if part.name not in whole:
                whole[part.name] = np.empty(len(x) - start, values.dtype)
            whole[part.name][piece.start - start : piece.stop - start] = values
    return type(rows)(**whole)


def _sums(pair: Pair, metric: MomentMetric) -> Any:
    if metric.sums not in pair.sums:
        pair.sums[metric.sums] = metric.sums(_terms(pair, metric))
    return pair.sums[metric.sums]


def _nulls(
    directions: tuple[Pair, Pair], originals: tuple[Array, Array], metrics: Sequence[Any], design: Design
) -> dict[tuple[str, int], Array]:
    """Return each metric's scores over the re-pairings, by name and direction."""
    if not design.permutations or not design.repairings.enough(design.plan.held_out):
        return {}
    pair = directions[0]
    x, y = (rows[:] for rows in pair.rows)
    able = [m for m in metrics if design.count >= m.minimum_samples]
    scores: dict[tuple[str, int], list[float]] = {}
    norms = [np.einsum("ij,ij->i", r, r) for r in (x, y)]
    for number, index in enumerate(design.repairings.draw(design.permutations, design.seed)):
        cross = _crossed(x, y[index], norms[0], norms[1][index], design)
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
                        terms = whole if _is_split(metric) else held_out
                        shared[metric.repaired] = metric.repaired(_sums(direction, metric), terms)
                    value = float(metric.score(shared[metric.repaired]))
                else:
                    again = (originals[0][design.scored], originals[1][index][design.scored])
                    value = float(metric(*(again[::-1] if way else again)))
                scores.setdefault((metric.name, way), []).append(value)
        design.progress(f"null {pair.names[0]} {pair.names[1]}", number + 1, design.permutations)
    return {key: np.array(values) for key, values in scores.items()}


def _crossed(x: Array, y: Array, norm_x: Array, norm_y: Array, design: Design) -> Cross:
    """Return the crossed products of re-paired rows by fold; centred rows need no other crossed sum."""
    ends = np.cumsum(np.bincount(design.folds))
    count = len(ends)
    product = np.empty((count, x.shape[-1], y.shape[-1]))
    norms = np.empty(count)
    for fold, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        rows = slice(start, end)
        product[fold] = x[rows].T @ y[rows]
        norms[fold] = np.multiply(norm_x[rows], norm_y[rows], dtype=np.float64).sum()
    empty = np.zeros((count, 0))
    return Cross(product, norms, empty, empty)


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
