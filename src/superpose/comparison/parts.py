"""Means over the units of a wide target, part by part of these: predictors turned, targets in their own units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.comparison.design import Design
from superpose.comparison.pairs import Pair, Part, Way, rows_key, sums_of
from superpose.comparison.responses import Responses
from superpose.comparison.sums import Sums, take_rows
from superpose.metrics import MomentMetric
from superpose.metrics.metric import Family, Shares
from superpose.metrics.prediction import joined_units
from superpose.moments import Cross, Moments, Own, Precision, mean_of

Array = NDArray[Any]

# What a part of the units may take, and that part of the memory at most.
PART_BYTES, SHARE = 2**27, 8
# Numbers of a predictor and a target in each round that a part takes: weights, their derivatives and products.
SOLVED = 4


def in_parts(
    couple: tuple[str, str], way: int, metrics: Sequence[MomentMetric], responses: Responses, design: Design
) -> Part:
    """Return the scores of one direction of a pair whose target is wide.

    What is chosen for all units at once is chosen on the target turned; then each part of its units is scored, and
    weighs as many units as its score is a mean over.
    """
    for precision in (None, np.float64):
        parts = _Parts(couple, way, responses, design, precision)
        pair = parts.scored(metrics)
        if not any(sums_of(pair, metric).blurred for metric in metrics):
            break
    originals = (responses.own(couple[0]), responses.own(couple[1]))
    ways = [(metric, (way,)) for metric in metrics]
    return Part(couple, (pair, pair), originals, ways, parts.permuted)


class _Parts:
    """One direction of a pair: the predictors, turned, with the target turned, or some of its units."""

    def __init__(
        self, couple: tuple[str, str], way: int, responses: Responses, design: Design, precision: Precision | None
    ) -> None:
        self.way, self.design, self.precision = way, design, precision
        self.names = couple[::-1] if way else couple
        self.units = {name: responses.units(name) for name in couple}
        source, target = self.names
        self.predictors = responses.turned(source, precision)
        self.turned, self.targets = responses.turned(target, precision), responses.own(target)
        self.known: dict[str, Own] = {}

    def scored(self, metrics: Sequence[MomentMetric]) -> Pair:
        """Return the pair with the sums of all units, and what each row adds to them."""
        settled = _settled(metrics, self._all().moments)
        sums: list[dict[Any, Any]] = []
        rows: list[dict[Any, tuple[int, Array]]] = []
        for units in self._parts():
            pair = self._some(units)
            take_rows([pair], [(part, (0,)) for part in settled], self.design, len(self.design.folds), {})
            both = list(zip(metrics, settled, strict=True))
            # Weights of all units together have no room.
            sums.append({metric.family: replace(sums_of(pair, part), fitted=()) for metric, part in both})
            rows.append(
                {
                    rows_key(metric): (_counted(metric, sums_of(pair, part)), pair.row_sums[rows_key(part)].values)
                    for metric, part in both
                    if rows_key(part) in pair.row_sums
                }
            )
        joined = replace(pair, sums={key: joined_units([one[key] for one in sums]) for key in sums[0]}, row_sums={})
        for key in {key for one in rows for key in one}:
            counts, values = zip(*(one[key] for one in rows if key in one), strict=True)
            joined.row_sums[key] = Shares(np.average(values, axis=0, weights=counts))
        return joined

    def permuted(self, metrics: Sequence[MomentMetric]) -> dict[Way, Array]:
        """Return each metric's scores over the permutations."""
        whole = self._all()
        chosen = [_settled(metrics, self._exchanged(whole, index)) for index in self._permutations()]
        totals, counts = ({metric.name: np.zeros(len(chosen)) for metric in metrics} for _ in range(2))
        for units in self._parts():
            pair = self._some(units)
            for number, (index, settled) in enumerate(zip(self._permutations(), chosen, strict=True)):
                moments = self._exchanged(pair, index)
                found = {family: family.sums(moments) for family in dict.fromkeys(part.family for part in settled)}
                for metric, part in zip(metrics, settled, strict=True):
                    if count := _counted(metric, found[part.family]):
                        totals[metric.name][number] += count * float(metric.score(found[part.family]))
                        counts[metric.name][number] += count
            self.design.progress(f"null {' '.join(self.names)}", units.stop, self.units[self.names[1]])
        with np.errstate(invalid="ignore"):
            return {(name, self.way): total / counts[name] for name, total in totals.items()}

    def _all(self) -> Pair:
        return self._beside(self.turned, ())

    def _some(self, units: slice) -> Pair:
        return self._beside(self.targets[:, units], self.names[1:])

    def _beside(self, target: Array, unsquared: Sequence[str]) -> Pair:
        """Return the pair of the predictors and some targets."""
        arrays = dict(zip(self.names, (self.predictors, target), strict=True))
        means = {name: mean_of(x, self.design.scored) for name, x in arrays.items()}
        sums = Sums(arrays, [self.names], self.design, means, self.precision, self.known, unsquared)
        self.known = {self.names[0]: sums.own[self.names[0]]}
        return sums.directions(*self.names, self.units)[0]

    def _parts(self) -> Iterator[slice]:
        """Yield units that take what a part may."""
        folds, rounds = int(self.design.folds.max()) + 1, len(self.design.plan.rounds)
        one = 8 * self.predictors.shape[-1] * (folds + SOLVED * rounds)
        some = max(1, int(min(PART_BYTES, self.design.memory / SHARE)) // one)
        total = self.units[self.names[1]]
        for start in range(0, total, some):
            yield slice(start, min(start + some, total))

    def _permutations(self) -> Iterator[NDArray[np.int64]]:
        return self.design.exchange.draw(self.design.permutations, self.design.seed)

    def _exchanged(self, pair: Pair, index: NDArray[np.int64]) -> Moments:
        """Return the moments after the samples of the second system of the couple are permuted."""
        product = np.zeros_like(pair.moments.cross.product)
        for fold, rows in pair.blocks:
            x, y = (index[rows], rows) if self.way else (rows, index[rows])
            product[fold] += pair.read[0](x).T @ pair.read[1](y)
        empty = np.zeros((len(product), 0))
        return replace(pair.moments, cross=Cross(product, np.zeros(len(product)), empty, empty))


def _settled(metrics: Sequence[MomentMetric], moments: Moments) -> list[MomentMetric]:
    """Return the metrics of any part of the targets, with what is chosen for all of them."""
    made: dict[Family, Family] = {}
    for metric in metrics:
        if metric.family not in made and metric.in_parts is not None and metric.in_parts.settled is not None:
            made[metric.family] = replace(metric.family, sums=metric.in_parts.settled(moments))
    return [replace(metric, family=made[metric.family]) for metric in metrics]


def _counted(metric: MomentMetric, sums: Any) -> int:
    assert metric.in_parts is not None
    return metric.in_parts.counted(sums)
