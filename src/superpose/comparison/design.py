"""How samples are split, grouped, drawn and permuted, the same for every pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import (
    check_paired,
    group_labels,
)
from superpose.comparison.checks import Systems, bytes_of, checked_draw, checked_pairs, checked_seed, checked_systems
from superpose.comparison.order import warn_of_order
from superpose.files import DataError
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
        folds, groups = self.folds[kept], None if self.groups is None else self.groups[kept]
        nothing = np.zeros(0, dtype=np.int64)
        return replace(self, folds=folds, groups=groups, drawn=Drawn(nothing, nothing, None, 0, 0))

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


def prepared(
    systems: Systems,
    *,
    pairs: Sequence[tuple[str, str]] | None,
    cv: int | ArrayLike | None,
    test: float | ArrayLike | None,
    groups: ArrayLike | None,
    labels: ArrayLike | None = None,
    interval_samples: int | None = INTERVALS,
    permutations: int = 0,
    one_way: bool = False,
    seed: int = 0,
    memory: int | str | None,
    progress: Progress | None,
) -> tuple[dict[str, Array], list[tuple[str, str]], Design]:
    """Return checked systems, the chosen pairs, and how samples are split and grouped."""
    arrays = checked_systems(systems)
    samples = check_paired(arrays)
    couples = checked_pairs(arrays, pairs)
    checked_seed(seed)
    checked_draw(interval_samples)
    kept = None if groups is None else group_labels(groups, samples)
    shown = None if labels is None else group_labels(labels, samples, "labels")
    split = split_of(samples, cv=cv, test=test, groups=kept, labels=shown, seed=seed)
    if split.name.startswith("cv"):
        chosen = dict.fromkeys(name for couple in couples for name in couple)
        warn_of_order({name: arrays[name] for name in chosen if arrays[name].ndim == 2}, kept, shown)
    scored = np.flatnonzero(np.isin(split.folds, split.plan.held_out))
    design = Design(
        folds=split.folds,
        plan=split.plan,
        split=split.name,
        groups=kept,
        drawn=draw(scored, split.folds, kept, interval_samples, seed),
        permutations=permutations,
        one_way=one_way,
        seed=seed,
        memory=bytes_of(memory),
        progress=progress or progress_lines(),
    )
    return arrays, couples, design


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
