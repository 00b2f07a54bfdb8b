"""What gives the codes of a system's features: atoms with a penalty, or a dictionary with an encoder of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from superpose.arrays import chunks
from superpose.dictionaries.coding.shrinkage import Shrink, shrunk
from superpose.dictionaries.sae import SparseAutoencoder

Array = NDArray[Any]

# Gradient steps of a code; samples coded at once.
STEPS, ROWS = 100, 4_096


class Encoder(Protocol):
    """Gives codes of activity, (samples, features), in the activity's own units."""

    def __call__(self, x: Array) -> Array:
        """Return the codes of activity, (samples, units)."""
        ...

    def taking(self, order: NDArray[np.int64]) -> Encoder:
        """Return what gives the codes of some features, in that order."""
        ...


@dataclass(frozen=True, eq=False)
class Atoms:
    """Lasso codes in atoms of length 1, (features, units), with a penalty in parts of the activity's scale."""

    atoms: Array
    offset: Array
    scale: float
    penalty: float
    shrink: Shrink

    def __call__(self, x: Array) -> Array:
        """Return the codes of activity, (samples, units)."""
        if not len(self.atoms):
            return np.zeros((len(x), 0), dtype=np.float32)
        directions, limit = torch.as_tensor(self.atoms, dtype=torch.float32), torch.tensor(self.penalty)
        return np.concatenate([self._coded(rows, directions, limit) for _, rows in chunks(x, ROWS)])

    def taking(self, order: NDArray[np.int64]) -> Atoms:
        """Return what gives the codes of some features, in that order."""
        return replace(self, atoms=self.atoms[order])

    def _coded(self, rows: Array, directions: torch.Tensor, limit: torch.Tensor) -> Array:
        y = torch.as_tensor(((rows - self.offset) / self.scale).astype(np.float32))
        return np.asarray(shrunk(y, directions, limit, self.shrink, STEPS).numpy() * np.float32(self.scale))


@dataclass(frozen=True, eq=False)
class Trained:
    """Codes of a trained dictionary, scaled to atoms of length 1 in the units of the activity."""

    dictionary: SparseAutoencoder
    lengths: Array
    order: NDArray[np.int64]

    def __call__(self, x: Array) -> Array:
        """Return the codes of activity, (samples, units)."""
        return np.asarray(self.dictionary.encode(x)[:, self.order] * self.lengths[self.order])

    def taking(self, order: NDArray[np.int64]) -> Trained:
        """Return what gives the codes of some features, in that order."""
        return replace(self, order=self.order[order])
