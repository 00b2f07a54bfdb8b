"""Scores of re-paired samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.comparison.design import Design
from superpose.comparison.pairs import Block, Pair, repaired_key, stands_still, sums_of
from superpose.metrics import MomentMetric
from superpose.moments import (
    Cross,
    Moments,
)
from superpose.statistics import p_value

Array = NDArray[Any]

REPAIRED_NULL = "null: {} re-pairings of {} within folds"


def null_distributions(
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
    held = (originals[0][design.scored], originals[1][design.scored])
    able = [m for m in metrics if design.count >= m.minimum_samples and not stands_still(m, held)]
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
                    key = repaired_key(metric)
                    if key not in shared:
                        terms = whole if metric.split else held_out
                        shared[key] = metric.repaired(sums_of(direction, metric), terms)
                    value = float(metric.score(shared[key]))
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


def null_columns(score: float, null: Array, sign: float, design: Design, why: list[str]) -> dict[str, float]:
    """Return what the table says of a score's null, and note which null it was."""
    known = null[np.isfinite(null)]
    if not len(known):
        why.append("no null: no re-paired score exists")
        return {}
    what = "samples" if design.groups is None else "groups"
    why.append(REPAIRED_NULL.format(len(known), what))
    low, high = np.quantile(known, [0.025, 0.975])
    result = {"null": float(known.mean()), "null_low": float(low), "null_high": float(high)}
    return result | {"p": p_value(sign * score, sign * known)}
