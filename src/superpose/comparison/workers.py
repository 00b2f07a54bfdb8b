"""Pairs in groups, scored by several processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from numpy.typing import NDArray

from superpose.comparison.design import Design, planned_for, silent
from superpose.comparison.nulls import null_distributions
from superpose.comparison.routes import over_pairs
from superpose.comparison.scores import Scored, joined, rows_and_nulls, score_rows, with_nulls
from superpose.engines import engine
from superpose.metrics import Metric

Array = NDArray[Any]
Couple = tuple[str, str]
# Blocks of systems for each process, so that groups of pairs are several times as many as processes.
BLOCKS = 2


def scored_by(
    workers: int, arrays: dict[str, Array], couples: Sequence[Couple], metrics: Sequence[Metric], design: Design
) -> dict[Couple, list[Scored]]:
    """Return what is found of each pair, by so many processes that share memory and cores and map large arrays."""
    share = replace(design, memory=design.memory // workers, progress=silent)
    score = partial(scored, arrays=arrays, metrics=metrics, design=share)
    found: dict[Couple, list[Scored]] = {}
    for rows in engine(f"local:{workers}")(score, groups(couples, BLOCKS * workers)):
        found |= rows
        design.progress("pairs", len(found), len(couples))
    return found


def groups(couples: Sequence[Couple], blocks: int) -> list[list[Couple]]:
    """Return the pairs in groups, the largest first: blocks of systems, each with itself and with each other.

    A process takes the own sums of a group's systems once, for many more pairs.

    Examples
    --------
    >>> from superpose.comparison.workers import groups
    >>> pairs = [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]
    >>> groups(pairs, 2)
    [[('a', 'c'), ('a', 'd'), ('b', 'c'), ('b', 'd')], [('a', 'b')], [('c', 'd')]]
    """
    names = list(dict.fromkeys(name for couple in couples for name in couple))
    found: dict[tuple[int, ...], list[Couple]] = {}
    for couple in couples:
        place = tuple(sorted(names.index(name) * blocks // len(names) for name in couple))
        found.setdefault(place, []).append(couple)
    return sorted(found.values(), key=len, reverse=True)


def scored(
    couples: Sequence[Couple], *, arrays: dict[str, Array], metrics: Sequence[Metric], design: Design
) -> dict[Couple, list[Scored]]:
    """Return what is found of each pair, by this process: metric by metric, and both ways where it is directed."""
    planned = planned_for(metrics, design)
    if design.permutations and design.exchange.partial:
        rows = dict(over_pairs(arrays, couples, planned, design, score_rows))
        taking_part = {name: x[design.exchange.kept] for name, x in arrays.items()}
        again = planned_for(metrics, design.exchanged)
        nulls = dict(over_pairs(taking_part, couples, again, design.exchanged, null_distributions))
        both = {pair: with_nulls(rows[pair], nulls[pair]) for pair in couples}
    else:
        both = dict(over_pairs(arrays, couples, planned, design, rows_and_nulls))
    return {pair: [one for m in planned for one in joined(m, *both[pair][m.name], design)] for pair in couples}
