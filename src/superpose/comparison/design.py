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
    group_folds,
    group_labels,
)
from superpose.comparison.checks import Systems, bytes_of, checked_draw, checked_pairs, checked_seed, checked_systems
from superpose.files import DataError
from superpose.metrics import GroupedMetric, Metric, PredictiveMetric
from superpose.metrics.splits import Plan, split_plan
from superpose.permutations import Permutations, check_whole, permutations
from superpose.statistics import Drawn, draw

Array = NDArray[Any]

Progress = Callable[[str, int, int], None]

# Samples that the width of an interval is estimated from, where there are more.
INTERVALS = 5_000


@dataclass(frozen=True)
class Design:
    """How samples are split, grouped, drawn and permuted, the same for every pair."""

    folds: NDArray[np.int64]
    plan: Plan
    groups: NDArray[np.int64] | None
    drawn: Drawn
    permutations: int
    seed: int
    memory: int
    progress: Progress

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

    @property
    def scored(self) -> slice:
        """The samples that are scored."""
        return scored_of(self.folds, self.plan)

    @property
    def count(self) -> int:
        """How many samples are scored."""
        return self.scored.stop - self.scored.start


def scored_of(folds: NDArray[np.int64], plan: Plan) -> slice:
    """Return the samples that are scored: one slice, as folds lie end to end and the last, or all, are held out."""
    return slice(int(np.searchsorted(folds, min(plan.held_out))), len(folds))


def split_of(
    samples: int, *, folds: int | ArrayLike | None, test: ArrayLike | None, groups: ArrayLike | None
) -> tuple[NDArray[np.int64], Plan, NDArray[np.int64] | None]:
    """Return each sample's fold, which folds train for which, and each sample's group, of which none is in two folds.

    Raises
    ------
    DataError
        For folds, a test or groups that do not fit the samples, or a group in two folds.
    """
    kept = None if groups is None else group_labels(groups, samples)
    if test is None and kept is not None and isinstance(folds, int | np.integer):
        folds = group_folds(kept, int(folds))
    labels, plan = split_plan(samples, folds, test)
    labels = np.zeros(samples, dtype=np.int64) if labels is None else labels
    if kept is not None:
        check_whole(kept, labels)
        # Groups of one are samples.
        plan = replace(plan, grouped=bool(np.bincount(kept).max() > 1))
    return labels, plan, kept


def prepared(
    systems: Systems,
    *,
    pairs: Sequence[tuple[str, str]] | None,
    folds: int | ArrayLike | None,
    test: ArrayLike | None,
    groups: ArrayLike | None,
    interval_samples: int | None = INTERVALS,
    permutations: int = 0,
    seed: int = 0,
    memory: int | str | None,
    progress: Progress | None,
) -> tuple[dict[str, Array], list[tuple[str, str]], Design]:
    """Return checked systems with their folds end to end, the chosen pairs, and how samples are split and grouped."""
    arrays = checked_systems(systems)
    samples = check_paired(arrays)
    couples = checked_pairs(arrays, pairs)
    checked_seed(seed)
    checked_draw(interval_samples)
    labels, plan, kept = split_of(samples, folds=folds, test=test, groups=groups)
    if (np.diff(labels) < 0).any():
        # Folds end to end: each is then a slice, read in place by every product below.
        order = np.argsort(labels, kind="stable")
        arrays = {name: x[..., order, :] for name, x in arrays.items()}
        labels, kept = labels[order], kept if kept is None else kept[order]
    design = Design(
        folds=labels,
        plan=plan,
        groups=kept,
        drawn=draw(scored_of(labels, plan), labels, kept, interval_samples, seed),
        permutations=permutations,
        seed=seed,
        memory=bytes_of(memory),
        progress=progress or silent,
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
