"""How samples are split, grouped, drawn and permuted, the same for every pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import (
    group_labels,
)
from superpose.comparison.checks import bytes_of, checked_draw, checked_seed
from superpose.files import DataError, argument
from superpose.metrics import GroupedMetric, Metric, PredictiveMetric
from superpose.metrics.splits import Plan, split_of
from superpose.permutations import Permutations, permutations
from superpose.progress import progress_lines
from superpose.statistics import Drawn, draw

Array = NDArray[Any]

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

    @property
    def count(self) -> int:
        """How many samples are scored."""
        return len(self.tested)

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
        progress=progress or progress_lines(),
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


def silent(what: str, done: int, total: int) -> None:
    """Take no notice of progress."""
