"""The table of scores of some systems, pairs and metrics under one design: what every door makes its rows by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.comparison.design import Design, planned_for
from superpose.comparison.nulls import Null, null_distributions
from superpose.comparison.pairs import Way
from superpose.comparison.responses import Responses
from superpose.comparison.room import check_room
from superpose.comparison.routes import kernels_alone, over_pairs
from superpose.comparison.scores import COLUMNS, Scored, closer_sign, joined, score_rows, unscored
from superpose.metrics import Metric
from superpose.metrics.metric import is_constant
from superpose.running.engines import engine
from superpose.running.progress import silent
from superpose.statistics import familywise

Array = NDArray[Any]
Couple = tuple[str, str]

# Blocks of systems for each process, so that groups of pairs are several times as many as processes.
BLOCKS = 2


def table_of(
    systems: Mapping[str, Array],
    pairs: Sequence[tuple[str, str]],
    metrics: Sequence[Metric],
    design: Design,
    workers: int = 1,
) -> pd.DataFrame:
    """Return the rows of `superpose.compare`: of each pair and metric, with all pairs' p-values adjusted at once.

    Parameters
    ----------
    systems : mapping of str to ndarray, (samples, units)
        Finite, and paired row by row.
    pairs : sequence of (name, name)
    metrics : sequence of Metric
        Of different names.
    design : Design
        How samples are split, grouped, drawn and permuted.
    workers : int
        So many processes score groups of pairs.
    """
    arrays = {name: systems[name] for name in dict.fromkeys(chain.from_iterable(pairs))}
    planned = planned_for(metrics, design)
    samples = len(design.folds)
    check_room(samples, {name: x.shape[-1] for name, x in arrays.items()}, pairs, planned, design)
    still = {name for name, x in arrays.items() if is_constant(x)}
    found = {pair: _of_still(pair, still, arrays, metrics, design) for pair in pairs if not still.isdisjoint(pair)}
    able = [pair for pair in pairs if pair not in found]
    responses = Responses(arrays)
    directions = {name: responses.directions(name) for pair in able for name in pair}
    several = workers > 1 and len(able) > 1
    if several and not kernels_alone(able, planned, directions, design):
        # Once for all groups of pairs.
        for name in directions:
            responses.turned(name)
        found |= scored_by(workers, responses, able, metrics, design)
    elif able:
        found |= scored(able, responses=responses, metrics=metrics, design=design)
    every = [one for pair in pairs for one in found[pair]]
    table = pd.DataFrame([one.row for one in every], columns=COLUMNS)
    for metric in metrics:
        known = [
            (place, one.null)
            for place, one in enumerate(every)
            if one.row["metric"] == metric.name and one.null is not None
        ]
        if known:
            sign, nulls = closer_sign(metric), [null for _, null in known]
            scores = sign * np.array([null.score for null in nulls])
            adjusted = familywise(scores, sign * np.stack([null.permuted for null in nulls]))
            table.loc[[place for place, _ in known], "p_adjusted"] = adjusted
    return table


def _of_still(
    pair: tuple[str, str],
    still: Set[str],
    arrays: Mapping[str, Array],
    metrics: Sequence[Metric],
    design: Design,
) -> list[Scored]:
    a, b = pair
    units = (arrays[a].shape[-1], arrays[b].shape[-1])
    why = f"{' and '.join(name for name in pair if name in still)}: the same in all rows"
    return [Scored(row) for row in unscored(pair, units, metrics, design, why)]


def scored_by(
    workers: int, responses: Responses, couples: Sequence[Couple], metrics: Sequence[Metric], design: Design
) -> dict[Couple, list[Scored]]:
    """Return what is found of each pair, by so many processes that share memory and cores and map large arrays."""
    share = replace(design, memory=design.memory // workers, progress=silent)
    score = partial(scored, responses=responses, metrics=metrics, design=share)
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
    >>> from superpose.comparison.table import groups
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
    couples: Sequence[Couple], *, responses: Responses, metrics: Sequence[Metric], design: Design
) -> dict[Couple, list[Scored]]:
    """Return what is found of each pair, by this process: metric by metric, and both ways where it is directed."""
    planned = planned_for(metrics, design)
    apart = bool(design.permutations) and design.exchange.partial
    rows: defaultdict[Couple, dict[Way, Any]] = defaultdict(dict)
    nulls: defaultdict[Couple, dict[Way, Any]] = defaultdict(dict)
    for part in over_pairs(responses, couples, planned, design):
        rows[part.pair] |= score_rows(part, design)
        if not apart:
            nulls[part.pair] |= null_distributions(part, design)
    for pair, some in nulls_apart(responses, couples, metrics, design) if apart else ():
        nulls[pair] |= some
    return {
        pair: [
            joined(metric, rows[pair][metric.name, way], nulls[pair].get((metric.name, way)), design)
            for metric in planned
            for way in design.ways(metric)
        ]
        for pair in couples
    }


def nulls_apart(
    responses: Responses, couples: Sequence[Couple], metrics: Sequence[Metric], design: Design
) -> Iterator[tuple[Couple, dict[Way, Null]]]:
    """Yield what permutations make of pairs where only some of the rows may be exchanged: from those alone."""
    among = design.exchanged
    for part in over_pairs(responses.of(design.exchange.kept), couples, planned_for(metrics, among), among):
        yield part.pair, null_distributions(part, among)
