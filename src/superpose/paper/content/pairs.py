"""Pairs of systems whose content is known: what is drawn, and what is true of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superpose.metrics.cka import cka
from superpose.paper.content.latents import KINDS, PROJECTIONS
from superpose.theory import critical_units

Array = NDArray[np.floating]
Draw = np.random.Generator


@dataclass(frozen=True)
class Setting:
    """What a pair is drawn from.

    Attributes
    ----------
    samples, features_a, features_b, shared, units_a, units_b : int
    active : float
        The share of features that are active in a sample, on average.
    kind, projection : str
        Of `KINDS` and `PROJECTIONS`.
    noise : float
        Standard deviation over that of the signal.
    rectified, signed : bool
        Whether units are rectified, and whether latents take both signs.
    copied : float
        The share of a shared feature's values that b has from a; the others it draws anew.
    size, rate : float
        Size and rate of private features over those of shared ones.
    dense : float
        Share of the variance that is dense Gaussian activity, of as many dimensions as half of the units.
    common : bool
        Whether dense activity is the same in both systems.
    """

    samples: int
    features_a: int
    features_b: int
    shared: int
    units_a: int
    units_b: int
    active: float
    kind: str
    projection: str
    noise: float
    rectified: bool = False
    signed: bool = False
    copied: float = 1.0
    size: float = 1.0
    rate: float = 1.0
    dense: float = 0.0
    common: bool = False

    @property
    def critical(self) -> tuple[float, float]:
        """Critical numbers of units, Eq. (38), of both systems."""
        a, b = (float(critical_units(n, self.active * n)) for n in (self.features_a, self.features_b))
        return a, b


@dataclass(frozen=True, eq=False)
class Pair:
    """Two systems' activity, their projections (units, features), their latents, and how many features they share.

    The first `shared` features of both are the same ones.
    """

    activity: tuple[Array, Array]
    projections: tuple[Array, Array]
    latents: tuple[Array, Array]
    shared: int

    @property
    def truth(self) -> float:
        """The shared fraction of features, n_s / √(n_a n_b)."""
        return self.shared / float(np.sqrt(self.latents[0].shape[1] * self.latents[1].shape[1]))

    @property
    def alike(self) -> float:
        """The debiased CKA of the latents themselves."""
        return float(cka(*self.latents, debiased=True))


def simulate(of: Setting, draw: Draw) -> Pair:
    """Draw a pair of systems: one set of latents, a part of which each holds, packed by a projection of its own."""
    union = of.features_a + of.features_b - of.shared
    z = KINDS[of.kind](of.samples, union, of.active, draw)
    private = slice(of.shared, None)
    z[:, private] *= of.size
    z[:, private] *= draw.random((of.samples, union - of.shared)) < of.rate
    if of.signed:
        z *= draw.choice([-1.0, 1.0], z.shape)
    first = z[:, : of.features_a]
    second = np.hstack([z[:, : of.shared], z[:, of.features_a :]])
    if of.copied < 1:
        anew = KINDS[of.kind](of.samples, of.shared, of.active, draw)
        second[:, : of.shared] = np.where(draw.random(anew.shape) < of.copied, first[:, : of.shared], anew)
    a, b = (PROJECTIONS[of.projection](m, z, draw) for m, z in ((of.units_a, first), (of.units_b, second)))
    dense = [draw.normal(size=(of.samples, max(of.units_a, of.units_b) // 2)) for _ in range(2 - of.common)]
    x, y = _recorded(first @ a.T, dense[0], of, draw), _recorded(second @ b.T, dense[-1], of, draw)
    return Pair((x, y), (a, b), (first, second), of.shared)


def _recorded(signal: Array, dense: Array, of: Setting, draw: Draw) -> Array:
    """Return what is recorded of a signal: beside dense activity, rectified, with noise."""
    if of.dense:
        beside = dense @ draw.normal(size=(dense.shape[1], signal.shape[1]))
        signal = signal + beside * np.sqrt(of.dense / (1 - of.dense) * signal.var() / beside.var())
    if of.rectified:
        signal = np.maximum(signal, 0)
    return np.asarray(signal + of.noise * signal.std() * draw.normal(size=signal.shape), dtype=np.float32)
