"""What every step of one analysis shares: paired rows, held-out ones last, and how they belong together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import check_paired, group_labels
from superpose.comparison import (
    INTERVALS,
    Progress,
    checked_draw,
    checked_pairs,
    checked_seed,
    checked_systems,
    silent,
)
from superpose.files import DataError
from superpose.metrics import Metric, PredictiveMetric
from superpose.metrics.metric import constant_units
from superpose.metrics.splits import marked
from superpose.permutations import Permutations, permutations
from superpose.progress import progress_lines
from superpose.statistics import Drawn, draw

Array = NDArray[Any]


@dataclass(frozen=True)
class Job:
    """Systems, the pairs to compare, and the one split; held-out rows are the last ones."""

    arrays: dict[str, Array]
    pairs: list[tuple[str, str]]
    held_out: NDArray[np.bool_]
    groups: NDArray[np.int64] | None
    labels: NDArray[np.int64] | None
    fit: str
    metrics: tuple[Metric, ...]
    interval_samples: int | None
    seed: int
    memory: int | str | None
    progress: Progress

    @property
    def training(self) -> int:
        """How many rows, the first ones, dictionaries and regressions are fitted on."""
        return int((~self.held_out).sum())

    @property
    def predictive(self) -> list[PredictiveMetric]:
        """Those of the metrics that predict one system from another."""
        return [metric for metric in self.metrics if isinstance(metric, PredictiveMetric)]

    @property
    def correlations(self) -> list[str]:
        """The names of the predictive metrics that are correlations, the pooled one first."""
        of = sorted(self.predictive, key=lambda metric: metric.kind[1] != "pooled")
        return [metric.name for metric in of if metric.kind[0] == "r"]

    @property
    def exchange(self) -> Permutations:
        """The permutations of samples, or of whole groups, within training and within held-out rows."""
        return permutations(len(self.held_out), self.held_out.astype(np.int64), self.groups)

    @property
    def repairable(self) -> bool:
        """Whether there is enough to re-pair on either side of the split for a shuffled control to mean anything."""
        return self.exchange.enough([0]) and self.exchange.enough([1])

    @property
    def drawn(self) -> Drawn:
        """The held-out rows that the width of intervals is estimated from: those that `superpose.compare` draws."""
        folds = self.held_out.astype(np.int64)
        return draw(np.arange(self.training, len(folds)), folds, self.groups, self.interval_samples, self.seed)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that every score follows from."""
        return {
            "pairs": [list(pair) for pair in self.pairs],
            "groups": None if self.groups is None else int(self.groups.max()) + 1,
            "labels": None if self.labels is None else int(self.labels.max()) + 1,
            "training_samples": self.training,
            "test_samples": int(self.held_out.sum()),
            "interval_samples": self.interval_samples,
            "metrics": [metric.name for metric in self.metrics],
            "ridge": "penalty chosen inside the training samples",
            "seed": self.seed,
        }

    def within(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """Return the pairs to compare whose systems are both among `names`."""
        present = set(names)
        return [pair for pair in self.pairs if present.issuperset(pair)]

    def partners(self, name: str) -> list[str]:
        """Return the systems that one is compared with."""
        return [b if a == name else a for a, b in self.pairs if name in (a, b)]

    def only(self, names: Sequence[str]) -> Job:
        """Return the job of the named systems, in that order."""
        return replace(self, arrays={name: self.arrays[name] for name in names}, pairs=self.within(names))

    def of(self, arrays: dict[str, Array], pairs: list[tuple[str, str]]) -> Job:
        """Return the same rows and split with other systems."""
        return replace(self, arrays=arrays, pairs=pairs)

    def rows(self, index: NDArray[np.int64]) -> Job:
        """Return the job of the chosen rows, which ascend."""
        chosen = {name: x[index] for name, x in self.arrays.items()}
        groups, labels = (None if part is None else part[index] for part in (self.groups, self.labels))
        return replace(self, arrays=chosen, held_out=self.held_out[index], groups=groups, labels=labels)

    def quiet(self) -> Job:
        """Return the job with nobody listening to its progress."""
        return replace(self, progress=silent)


def prepare(
    systems: Mapping[str, ArrayLike],
    *,
    pairs: Sequence[tuple[str, str]] | None,
    fit: str,
    metrics: Sequence[Metric],
    groups: ArrayLike | None,
    labels: ArrayLike | None,
    test: float | ArrayLike,
    interval_samples: int | None = INTERVALS,
    seed: int,
    memory: int | str | None = None,
    progress: Progress | None,
) -> tuple[Job, dict[str, list[int]]]:
    """Return what every step shares, and which constant units of each system were dropped."""
    arrays, dropped = varying(checked_systems(systems))
    samples = check_paired(arrays)
    checked_seed(seed)
    checked_draw(interval_samples)
    group_of = None if groups is None else group_labels(groups, samples)
    label_of = None if labels is None else group_labels(labels, samples, "labels")
    held_out = marked(samples, test, group_of, seed)
    # Held-out rows last: either side of the split is then a view of every array.
    order = np.argsort(held_out, kind="stable")
    if (np.diff(order) < 0).any():
        arrays = {name: x[order] for name, x in arrays.items()}
        held_out = held_out[order]
        group_of, label_of = (None if part is None else part[order] for part in (group_of, label_of))
    chosen = checked_pairs(arrays, pairs)
    job = Job(
        arrays=arrays,
        pairs=chosen,
        held_out=held_out,
        groups=group_of,
        labels=label_of,
        fit=fit,
        metrics=tuple(metrics),
        interval_samples=interval_samples,
        seed=seed,
        memory=memory,
        progress=progress or progress_lines(),
    )
    return job, dropped


def varying(arrays: dict[str, Array]) -> tuple[dict[str, Array], dict[str, list[int]]]:
    """Drop units that are constant over the samples, and say which."""
    kept, dropped = {}, {}
    for name, x in arrays.items():
        if x.ndim != 2:
            raise DataError(f"{name} has shape {x.shape}; expected (samples, units). Repeats are analysed one by one.")
        constant = constant_units(x)
        kept[name] = x[:, ~constant] if constant.any() else x
        if constant.any():
            dropped[name] = np.flatnonzero(constant).tolist()
    return kept, dropped
