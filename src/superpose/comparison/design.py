"""What a comparison is given, checked, and how samples are split, grouped, drawn and permuted for every pair."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import (
    as_responses,
    check_moderate,
    group_labels,
)
from superpose.files import DataError, argument, in_python, on_command_line
from superpose.metrics import GroupedMetric, Metric, PredictiveMetric
from superpose.metrics.metric import is_constant
from superpose.metrics.splits import Plan, split_of
from superpose.running.progress import shown as shown_progress
from superpose.statistics import Drawn, draw
from superpose.statistics.permutations import Permutations, permutations

Array = NDArray[Any]

Systems = Mapping[str, Any]


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
        raise DataError(f"{argument('memory')} is {memory!r}; expected a number of bytes, or text such as 512MB.")
    unit = found[2] or "B"
    return int(float(found[1]) * (1024 if "i" in unit else 1000) ** "BKMGT".index(unit[0]))


def checked_seed(seed: int) -> None:
    """Raise a DataError unless the seed is an integer of at least 0."""
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise DataError(f"{argument('seed')} is {seed!r}; expected an integer of at least 0.")


def checked_draw(samples: int | None) -> None:
    """Raise a DataError unless intervals come from all samples (None) or at least two."""
    if samples is not None and (not isinstance(samples, int | np.integer) or samples < 2):
        raise DataError(
            f"{argument('interval_samples')} is {samples!r}; expected an integer of at least 2, or "
            f"{in_python('None for all')}{on_command_line('all')}."
        )


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


Progress = Callable[[str, int, int], None]

# Samples that the width of an interval is estimated from, where there are more.
INTERVALS = 5_000


@dataclass(frozen=True)
class Design:
    """How samples are split, grouped, drawn and permuted, the same for every pair.

    `split` says in words how samples are split; with `one_way`, the first system of a pair predicts the second alone.
    """

    folds: NDArray[np.int64]
    plan: Plan
    split: str
    groups: NDArray[np.int64] | None
    labels: NDArray[np.int64] | None
    interval_samples: int | None
    drawn: Drawn
    one_way: bool
    permutations: int
    seed: int
    memory: int
    progress: Progress

    def ways(self, metric: Metric) -> range:
        """The directions of a pair that a metric is scored in: 0 predicts the second system from the first."""
        return range(2 if metric.directed and not self.one_way else 1)

    @cached_property
    def exchange(self) -> Permutations:
        """The permutations of samples inside folds, with groups kept whole, made when they are asked for."""
        return permutations(len(self.folds), self.folds, self.groups)

    @cached_property
    def exchanged(self) -> Design:
        """The same design over the samples that take part in permutations, for scores without intervals."""
        kept = self.exchange.kept
        groups, labels = (None if part is None else part[kept] for part in (self.groups, self.labels))
        nothing = Drawn(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), None, 0, 0)
        return replace(self, folds=self.folds[kept], groups=groups, labels=labels, drawn=nothing)

    @cached_property
    def tested(self) -> NDArray[np.int64]:
        """The samples that are scored, in order."""
        return np.flatnonzero(np.isin(self.folds, self.plan.held_out))

    @property
    def scored(self) -> slice | NDArray[np.int64]:
        """The samples that are scored, as a slice where these are all: rows are then read in place."""
        return slice(0, len(self.folds)) if self.count == len(self.folds) else self.tested

    @cached_property
    def count(self) -> int:
        """How many samples are scored."""
        return int(np.isin(self.folds, self.plan.held_out).sum())

    @property
    def training(self) -> int:
        """How many samples weights are fitted on, in the round that has the fewest."""
        return min(int(np.isin(self.folds, training).sum()) for _, training in self.plan.rounds)


def design_of(
    samples: int,
    *,
    cv: int | ArrayLike | None = 5,
    test: float | ArrayLike | None = None,
    groups: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    interval_samples: int | None = INTERVALS,
    permutations: int = 0,
    one_way: bool = False,
    seed: int = 0,
    memory: int | str | None = None,
    progress: Progress | None = None,
) -> Design:
    """Return how samples are split, grouped, drawn and permuted.

    Parameters are those of `superpose.compare`; with `one_way`, the first system of a pair predicts the second alone.

    Raises
    ------
    DataError
        For folds, groups or labels that do not fit the samples, or a setting out of range.

    Examples
    --------
    >>> from superpose.comparison import design_of
    >>> design = design_of(100, cv=4)
    >>> design.split, design.count, design.training
    ('cv=4', 100, 75)
    """
    checked_seed(seed)
    checked_draw(interval_samples)
    if not isinstance(permutations, int | np.integer) or permutations < 0:
        raise DataError(f"{argument('permutations')} is {permutations!r}; expected an integer of at least 0.")
    kept = None if groups is None else group_labels(groups, samples)
    shown = None if labels is None else group_labels(labels, samples, "labels")
    split = split_of(samples, cv=cv, test=test, groups=kept, labels=shown, seed=seed)
    scored = np.flatnonzero(np.isin(split.folds, split.plan.held_out))
    return Design(
        folds=split.folds,
        plan=split.plan,
        split=split.name,
        groups=kept,
        labels=shown,
        interval_samples=interval_samples,
        drawn=draw(scored, split.folds, kept, interval_samples, seed),
        permutations=int(permutations),
        one_way=one_way,
        seed=seed,
        memory=bytes_of(memory),
        progress=progress or shown_progress(),
    )


def planned_for(metrics: Sequence[Metric], design: Design) -> list[Any]:
    """Return the metrics for the folds and groups of a design, each of a name of its own."""
    names = [m.name for m in metrics]
    if len(set(names)) < len(names):
        raise DataError(f"two metrics have the same name, among {', '.join(names)}; give each its own.")
    return [_planned(metric, design) for metric in metrics]


def _planned(metric: Metric, design: Design) -> Any:
    if isinstance(metric, PredictiveMetric):
        return metric.planned(design.plan)
    if isinstance(metric, GroupedMetric):
        return metric.grouped(None if design.groups is None else design.groups[design.scored])
    return metric
