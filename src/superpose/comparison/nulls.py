"""Scores over permutations of the samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.comparison.design import Design
from superpose.comparison.pairs import Pair, Part, Way, score_of, stands_still, sums_of
from superpose.metrics import MomentMetric
from superpose.moments import Cross, Moments, RowReader
from superpose.statistics import p_value

Array = NDArray[Any]

# Permutations whose products are worked on at once, and the bytes that those may take.
MOST_AT_ONCE, BYTES_AT_ONCE = 64, 2**23


@dataclass(frozen=True)
class Null:
    """A score on the samples that take part in permutations, and that score over the permutations."""

    score: float
    permuted: Array


def null_distributions(part: Part, design: Design) -> dict[Way, Null]:
    """Return the null of each metric and direction; all samples of the design take part."""
    if not design.permutations or not design.exchange.enough(design.plan.held_out):
        return {}
    held = (part.originals[0][design.scored], part.originals[1][design.scored])
    able = [
        (metric, ways)
        for metric, ways in part.metrics
        if design.count >= metric.minimum_samples and not stands_still(metric, held)
    ]
    scores = part.permuted([metric for metric, _ in able]) if part.permuted else _permuted(part, able, design)
    return {
        (metric.name, way): Null(
            score_of(part.directions[way], metric, part.originals[::-1] if way else part.originals, design)[0],
            scores[metric.name, way],
        )
        for metric, ways in able
        for way in ways
    }


def _permuted(part: Part, metrics: Sequence[tuple[Any, Sequence[int]]], design: Design) -> dict[Way, Array]:
    directions, originals = part.directions, part.originals
    pair = directions[0]
    norms = [np.empty(len(design.folds)) for _ in pair.read]
    for square, take in zip(norms, pair.read, strict=True):
        for _, index in pair.blocks:
            rows = take(index)
            square[index] = np.einsum("ij,ij->i", rows, rows)
    few = any(own.rows is not None for own in (pair.moments.x, pair.moments.y)) if pair.over else False
    every = [_all_rows(take, pair) for take in pair.read] if few else []
    scores: dict[Way, list[float]] = {}
    for some in _batches(design, pair):
        crosses = [_crossed(pair, index, norms, every) for index in some]
        for way, direction in enumerate(directions):
            asked = [metric for metric, ways in metrics if way in ways]
            of_moments = [metric for metric in asked if isinstance(metric, MomentMetric)]
            several = [metric for metric in of_moments if metric.family.several]
            alone = [metric for metric in of_moments if not metric.family.several]
            of_rows = [metric for metric in asked if not isinstance(metric, MomentMetric)]
            found: dict[str, list[float]] = {}
            if several:
                together = _moments(pair.moments, stacked(crosses), way)
                # Where there is no score, it is one NaN for all.
                for name, value in _scores(direction, several, together, together).items():
                    found[name] = np.broadcast_to(value, len(some)).tolist()
            for cross in crosses if alone else ():
                # Permutations inside folds leave the systems' own sums as they are.
                whole = _moments(pair.moments, cross, way)
                scored = _moments(pair.scored, cross.merged(design.plan.held_out), way)
                for name, value in _scores(direction, alone, whole, scored).items():
                    found.setdefault(name, []).append(float(value))
            for index in some if of_rows else ():
                again = (originals[0][design.scored], originals[1][index][design.scored])
                for metric in of_rows:
                    found.setdefault(metric.name, []).append(float(metric(*(again[::-1] if way else again))))
            for name, values in found.items():
                scores.setdefault((name, way), []).extend(values)
        done = len(next(iter(scores.values()))) if scores else design.permutations
        design.progress(f"null {pair.names[0]} {pair.names[1]}", done, design.permutations)
    return {key: np.array(values) for key, values in scores.items()}


def _batches(design: Design, pair: Pair) -> Iterator[list[NDArray[np.int64]]]:
    """Yield permutations, as many as are taken at once."""
    draws = design.exchange.draw(design.permutations, design.seed)
    while some := list(islice(draws, at_once(pair.moments.cross, len(design.folds)))):
        yield some


def at_once(cross: Cross, samples: int) -> int:
    """Return how many permutations are taken at once: their products lie in cache, whatever they are taken for."""
    folds, p, q = cross.product.shape
    return max(1, min(MOST_AT_ONCE, BYTES_AT_ONCE // (8 * max(folds * p * q, samples * (p + q)))))


def _moments(of: Moments, cross: Cross, way: int) -> Moments:
    moments = Moments(of.x, of.y, cross)
    return moments.swapped() if way else moments


def _scores(pair: Pair, metrics: Sequence[MomentMetric], whole: Moments, scored: Moments) -> dict[str, Array]:
    """Return each metric's score over permutations, from the sums of all folds or of those scored."""
    first = {metric.family: metric for metric in metrics}
    sums = {
        family: family.permuted(sums_of(pair, metric), whole if family.split else scored)
        for family, metric in first.items()
    }
    return {metric.name: metric.score(sums[metric.family]) for metric in metrics}


def _all_rows(take: RowReader, pair: Pair) -> Array:
    """Return all rows about their mean, in the order of the samples."""
    parts = [(index, take(index).copy()) for _, index in pair.blocks]
    rows = np.empty((sum(len(part) for _, part in parts), parts[0][1].shape[1]), parts[0][1].dtype)
    for index, part in parts:
        rows[index] = part
    return rows


def _crossed(pair: Pair, index: NDArray[np.int64], norms: Sequence[Array], every: Sequence[Array]) -> Cross:
    """Return the crossed products of permuted rows by fold; centred rows need no other crossed sum."""
    norm_x, norm_y = norms[0], norms[1][index]
    crossed = np.zeros_like(pair.moments.cross.product)
    both = np.zeros(len(crossed))
    take_x, take_y = pair.read
    for fold, rows in pair.blocks:
        crossed[fold] += take_x(rows).T @ take_y(index[rows])
        both[fold] += np.multiply(norm_x[rows], norm_y[rows], dtype=np.float64).sum()
    empty = np.zeros((len(crossed), 0))
    back = np.empty_like(index)
    back[index] = np.arange(len(index))
    return Cross(crossed, both, empty, empty, (every[1][index], every[0][back]) if every else None)


def stacked(crosses: Sequence[Cross]) -> Cross:
    """Return the products and partners of several permutations along an axis of their own."""
    product = np.stack([cross.product for cross in crosses], axis=1)
    partners = [cross.partners for cross in crosses if cross.partners is not None]
    both = (np.stack([one for one, _ in partners]), np.stack([other for _, other in partners])) if partners else None
    return Cross(product, crosses[0].norms, crosses[0].norm_y, crosses[0].norm_x, both)


def null_columns(null: Null, sign: float, design: Design) -> dict[str, Any]:
    """Return what the table says of a score's null: nothing where no score over permutations exists."""
    known = null.permuted[np.isfinite(null.permuted)]
    if not len(known) or not np.isfinite(null.score):
        return {}
    low, high = np.quantile(known, [0.025, 0.975])
    result = {"null": float(known.mean()), "null_low": float(low), "null_high": float(high)}
    return result | {"p": p_value(sign * null.score, sign * known), "null_kind": kind_of(len(known), design)}


def kind_of(count: int, design: Design) -> str:
    """Return in words which null it was."""
    what = "samples" if design.groups is None else "groups"
    text = f"{count} permutations of {what} within folds"
    if not design.exchange.partial:
        return text
    share = int(np.isin(design.exchange.kept, design.tested).sum())
    return (
        f"{text} among groups of similar size, each with as many of its first samples as the smallest of them has: "
        f"null, p and calibrated are of these {share} of {design.count} samples"
    )
