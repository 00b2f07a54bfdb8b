"""The responses of systems as they are, and wide ones turned onto as many directions as samples, each read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.moments import Precision
from superpose.moments.wide import is_wide, turned

Array = NDArray[Any]


@dataclass(frozen=True)
class Responses:
    """Paired responses by name, of all samples or of some `rows`; turned ones are `made` when they are asked for."""

    systems: Mapping[str, Array]
    rows: NDArray[np.int64] | None = None
    made: dict[tuple[str, Precision | None], Array] = field(default_factory=dict)

    def own(self, name: str) -> Array:
        """Return a system in its own units."""
        return self._chosen(self.systems[name])

    def turned(self, name: str, precision: Precision | None = None) -> Array:
        """Return what has a wide system's inner products about the mean in fewer directions, or a narrow system."""
        x = self.systems[name]
        if not is_wide(x):
            return self._chosen(x)
        if x.dtype.itemsize >= 8:
            precision = None
        if (name, precision) not in self.made:
            self.made[name, precision] = turned(x, precision)
        return self._chosen(self.made[name, precision])

    def units(self, name: str) -> int:
        """Return how many units a system has."""
        return int(self.systems[name].shape[-1])

    def directions(self, name: str) -> int:
        """Return how many directions a system has once it is turned."""
        return min(self.systems[name].shape[-2:])

    def wide(self, name: str) -> bool:
        """Return whether a system has more units than samples."""
        return is_wide(self.systems[name])

    def of(self, rows: NDArray[np.int64]) -> Responses:
        """Return the responses to some of all samples."""
        return replace(self, rows=rows)

    def _chosen(self, x: Array) -> Array:
        return x if self.rows is None else x[self.rows]
