"""The systems of several pairs, each prepared once for all its partners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.sharing.decoding import Side, side
from superpose.sharing.features import Features
from superpose.sharing.halves import Halves

Array = NDArray[Any]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sides:
    """Systems with their features, to be predicted from each other.

    A pair is compared at some rows: those of the stimuli that both systems repeat, across halves of the trials, or all
    samples (None).

    Attributes
    ----------
    arrays : mapping of str to ndarray, (samples, units)
        The systems.
    features : mapping of str to Features
        Of each.
    split : mapping of str to Halves
        Two measurements of the systems that were repeated.
    groups, labels : ndarray of int, (samples,) or None
        What samples belong to, and what they show.
    seed : int
        Draws training rows and Fourier features.
    """

    arrays: Mapping[str, Array]
    features: Mapping[str, Features]
    split: Mapping[str, Halves]
    groups: Index | None
    labels: Index | None
    seed: int
    _prepared: dict[tuple[str, bytes], tuple[Side, float]] = field(default_factory=dict)

    def at(self, name: str, rows: Index | None) -> Side:
        """Return one side of a pair that is compared at some rows."""
        return self._known(name, rows)[0]

    def residual(self, name: str, other: str, rows: Index | None) -> float:
        """Return how well another system predicts what features leave, over how well their own does, from 0 to 1."""
        own = self._known(name, rows)[1]
        explained = self.at(other, rows).decoder.explained
        # What is left is computed anew for each pair: kept for all, it would double the memory.
        left = self._left(name, rows, self.at(name, rows).codes)
        return float(np.clip(explained(left) / own, 0, 1)) if own > 0 else 0.0

    def _known(self, name: str, rows: Index | None) -> tuple[Side, float]:
        key = name, b"" if rows is None else rows.tobytes()
        if key not in self._prepared:
            one = self._side(name, rows)
            self._prepared[key] = one, one.decoder.explained(self._left(name, rows, one.codes))
        return self._prepared[key]

    def _side(self, name: str, rows: Index | None) -> Side:
        features = self.features[name]
        if rows is None:
            return side(name, self.arrays[name], features, groups=self.groups, labels=self.labels, seed=self.seed)
        measured = self.split[name].at(rows)
        groups, labels = (None if of is None else of[rows] for of in (self.groups, self.labels))
        return side(
            name,
            measured.first,
            replace(features, held_out=features.held_out[rows]),
            repeat=measured.second,
            groups=groups,
            labels=labels,
            seed=self.seed,
        )

    def _left(self, name: str, rows: Index | None, codes: Array) -> Array:
        activity = self.arrays[name] if rows is None else self.split[name].at(rows).first
        return np.asarray(activity - self.features[name].decode(codes))
