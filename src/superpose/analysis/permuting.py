"""Ways to permute the rows of systems on either side of the split, to see what a score owes to the right pairing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from superpose.analysis.job import Job
from superpose.analysis.spaces import derived_seed
from superpose.files import DataError

Permuting = Callable[[Job], Job]


def as_they_are(job: Job) -> Job:
    """Leave the pairing alone."""
    return job


def shuffled(job: Job) -> Job:
    """Permute every system but the first, within training and within held-out rows: groups, and the rows of each.

    Rows that cannot take part, as those by which a group is larger than others, are left out.
    """
    exchange = job.exchange
    kept = job.rows(exchange.kept) if exchange.partial else job
    first, *others = kept.arrays
    arrays = {first: kept.arrays[first]}
    for name in others:
        index = exchange.scramble(derived_seed(job.design.seed, f"shuffle {name}"))
        arrays[name] = kept.arrays[name][index]
    return kept.of(arrays, kept.pairs)


def within_labels(job: Job) -> Job:
    """Permute every system but the first with rows of the same label in other groups, on either side of the split.

    Within a label, rows are ordered by group, the groups at random, and system number s takes the row s · m places
    on, with m the rows of the label's largest group: no row then meets a row of its own group. A label that has
    fewer than m rows per system, such as one that occurs once, cannot be permuted so, and its rows are left out.
    Without labels all rows share one; without groups each row is its own.

    Raises
    ------
    DataError
        If no label can be permuted on one side of the split.
    """
    labels = job.design.labels if job.design.labels is not None else np.zeros(len(job.held_out), dtype=np.int64)
    count = len(job.arrays)
    sides = [np.flatnonzero(~job.held_out), np.flatnonzero(job.held_out)]
    generator = np.random.default_rng(derived_seed(job.design.seed, "within labels"))
    groups = np.arange(len(job.held_out)) if job.design.groups is None else job.design.groups
    partners = [_partners(rows, labels, groups, count, generator) for rows in sides]
    kept = np.concatenate([rows for rows, _ in partners])
    for (rows, _), side in zip(partners, ("training", "held-out"), strict=True):
        if not len(rows):
            raise DataError(
                f"no label has rows in {count} or more groups of equal size among the {side} rows, so that nothing can "
                "be permuted within labels; give broader labels, or leave out the control 'within_labels'."
            )
    order = np.argsort(kept)
    arrays = {}
    for number, (name, x) in enumerate(job.arrays.items()):
        index = np.concatenate([found[number] for _, found in partners])
        arrays[name] = x[index[order]]
    chosen = job.rows(kept[order])
    return chosen.of(arrays, job.pairs)


def _partners(
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    count: int,
    generator: np.random.Generator,
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Return the rows that can be permuted, and for each of `count` systems the rows that it takes instead."""
    rank = generator.permutation(int(groups.max()) + 1)[groups[rows]]
    # By label, by group in random order, and in random order within a group.
    rows = rows[np.lexsort((generator.permutation(len(rows)), rank, labels[rows]))]
    ends = np.flatnonzero(np.diff(labels[rows])) + 1
    kept: list[NDArray[np.int64]] = []
    taken: list[list[NDArray[np.int64]]] = [[] for _ in range(count)]
    for part in np.split(rows, ends):
        largest = int(np.unique(groups[part], return_counts=True)[1].max(initial=0))
        if largest and len(part) >= count * largest:
            kept.append(part)
            for number in range(count):
                taken[number].append(np.roll(part, -number * largest))
    empty = np.zeros(0, dtype=np.int64)
    return np.concatenate([empty, *kept]), [np.concatenate([empty, *part]) for part in taken]
