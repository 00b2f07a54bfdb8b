"""Scores over permutations of the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.comparison.design import Design
from superpose.comparison.pairs import Pair, Part, Way, score_of, stands_still, sums_of
from superpose.metrics import MomentMetric
from superpose.moments import Cross, Moments, RowReader
from superpose.statistics import p_value

Array = NDArray[Any]


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
    for number, index in enumerate(design.exchange.draw(design.permutations, design.seed)):
        cross = _crossed(pair, index, norms[0], norms[1][index])
        if few:
            back = np.empty_like(index)
            back[index] = np.arange(len(index))
            cross = replace(cross, partners=(every[1][index], every[0][back]))
        moments = Moments(pair.moments.x, pair.moments.y, cross)
        # Permutations inside folds leave the systems' own sums as they are.
        scored = Moments(pair.scored.x, pair.scored.y, cross.merged(design.plan.held_out))
        forward = (moments, scored)
        backward = (moments.swapped(), scored.swapped())
        for way, (direction, (whole, held_out)) in enumerate(zip(directions, (forward, backward), strict=True)):
            shared: dict[Any, Any] = {}
            for metric in (m for m, ways in metrics if way in ways):
                if isinstance(metric, MomentMetric):
                    family = metric.family
                    if family not in shared:
                        terms = whole if family.split else held_out
                        shared[family] = family.permuted(sums_of(direction, metric), terms)
                    value = float(metric.score(shared[family]))
                else:
                    again = (originals[0][design.scored], originals[1][index][design.scored])
                    value = float(metric(*(again[::-1] if way else again)))
                scores.setdefault((metric.name, way), []).append(value)
        design.progress(f"null {pair.names[0]} {pair.names[1]}", number + 1, design.permutations)
    return {key: np.array(values) for key, values in scores.items()}


def _all_rows(take: RowReader, pair: Pair) -> Array:
    """Return all rows about their mean, in the order of the samples."""
    parts = [(index, take(index).copy()) for _, index in pair.blocks]
    rows = np.empty((sum(len(part) for _, part in parts), parts[0][1].shape[1]), parts[0][1].dtype)
    for index, part in parts:
        rows[index] = part
    return rows


def _crossed(pair: Pair, index: NDArray[np.int64], norm_x: Array, norm_y: Array) -> Cross:
    """Return the crossed products of permuted rows by fold; centred rows need no other crossed sum."""
    crossed = np.zeros_like(pair.moments.cross.product)
    norms = np.zeros(len(crossed))
    take_x, take_y = pair.read
    for fold, rows in pair.blocks:
        crossed[fold] += take_x(rows).T @ take_y(index[rows])
        norms[fold] += np.multiply(norm_x[rows], norm_y[rows], dtype=np.float64).sum()
    empty = np.zeros((len(crossed), 0))
    return Cross(crossed, norms, empty, empty)


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
