"""What every step of one analysis shares: paired rows, held-out ones last, and how they belong together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import check_paired
from superpose.comparison import Design, checked_pairs, checked_systems, design_of
from superpose.files import DataError
from superpose.metrics import Metric, PredictiveMetric
from superpose.metrics.metric import constant_units
from superpose.running.progress import silent
from superpose.statistics.permutations import Permutations, permutations

Array = NDArray[Any]


@dataclass(frozen=True)
class Job:
    """Systems, the pairs to compare, and the one split of their samples; held-out rows are the last ones."""

    arrays: dict[str, Array]
    pairs: list[tuple[str, str]]
    design: Design
    fit: str
    metrics: tuple[Metric, ...]

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """Which rows are scored, and never trained on."""
        mask: NDArray[np.bool_] = np.isin(self.design.folds, self.design.plan.held_out)
        return mask

    @property
    def training(self) -> int:
        """How many rows, the first ones, dictionaries and regressions are fitted on."""
        return self.design.training

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
        return permutations(len(self.held_out), self.held_out.astype(np.int64), self.design.groups)

    @property
    def permutable(self) -> bool:
        """Whether there is enough to permute on either side of the split for a shuffled control to mean anything."""
        return self.exchange.enough([0]) and self.exchange.enough([1])

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

    def rows(self, index: NDArray[np.int64], held_out: NDArray[np.bool_] | None = None) -> Job:
        """Return the job of the chosen rows, which ascend, on the side of the split that they are on, or as told."""
        chosen = {name: x[index] for name, x in self.arrays.items()}
        groups, labels = (None if part is None else part[index] for part in (self.design.groups, self.design.labels))
        design = design_of(
            len(index),
            test=self.held_out[index] if held_out is None else held_out,
            groups=groups,
            labels=labels,
            interval_samples=self.design.interval_samples,
            seed=self.design.seed,
            memory=self.design.memory,
            progress=self.design.progress,
        )
        return replace(self, arrays=chosen, design=design)

    def quiet(self) -> Job:
        """Return the job with nobody listening to its progress."""
        return replace(self, design=replace(self.design, progress=silent))


def prepare(
    systems: Mapping[str, ArrayLike],
    *,
    pairs: Sequence[tuple[str, str]] | None,
    fit: str,
    metrics: Sequence[Metric],
    **how: Any,
) -> tuple[Job, dict[str, list[int]]]:
    """Return what every step shares, and which constant units of each system were dropped.

    `how` is what `superpose.comparison.design_of` is told of one fixed split.
    """
    arrays, dropped = varying(checked_systems(systems))
    chosen = checked_pairs(arrays, pairs)
    job = Job(arrays, chosen, design_of(check_paired(arrays), **how), fit, tuple(metrics))
    # Held-out rows last: either side of the split is then a view of every array.
    order = np.argsort(job.held_out, kind="stable")
    return (job.rows(order) if (np.diff(order) < 0).any() else job), dropped


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
