"""Sparse latents of five kinds, and projections of three, that pairs of known content are made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from superpose.systems import sparse_latents

Array = NDArray[np.floating]
Draw = np.random.Generator

# Features that come together, and how often one does when its group does; how alike directions of a group are.
GROUP, TOGETHER, ALIKE = 4, 0.5, 0.3
# A feature is active in half of the samples at most.
OFTENEST = 0.5
# Steps, samples a step and rate of learned projections.
STEPS, BATCH, RATE = 400, 512, 0.02


def bernoulli(samples: int, latents: int, active: float, draw: Draw) -> Array:
    """Return latents that are active independently, by amounts that are uniform on [0, 1]."""
    return _amounts((draw.random((samples, latents)) < active), draw)


def exponential(samples: int, latents: int, active: float, draw: Draw) -> Array:
    """Return latents that are active independently, by exponential amounts."""
    return np.where(draw.random((samples, latents)) < active, draw.exponential(size=(samples, latents)), 0)


def largest(samples: int, latents: int, active: float, draw: Draw) -> Array:
    """Return latents of which each sample has equally many, the largest of uniform ones, as in the paper."""
    count = max(1, round(active * latents))
    generator = torch.Generator().manual_seed(int(draw.integers(2**62)))
    z: Array = sparse_latents(samples, latents, count, generator=generator).double().numpy()
    return z


def groups(samples: int, latents: int, active: float, draw: Draw) -> Array:
    """Return latents that come together in groups of four, whichever system holds them."""
    of = draw.permutation(latents) // GROUP
    together = draw.random((samples, int(of.max()) + 1)) < active / TOGETHER
    return _amounts(together[:, of] & (draw.random((samples, latents)) < TOGETHER), draw)


def zipf(samples: int, latents: int, active: float, draw: Draw) -> Array:
    """Return latents whose rates fall as one over their rank, from a half at most, in random order."""
    rates = 1 / np.arange(1, latents + 1)
    rates = np.minimum(rates * active / rates.mean(), OFTENEST)
    return _amounts(draw.random((samples, latents)) < draw.permutation(rates), draw)


def gaussian(units: int, latents: Array, draw: Draw) -> Array:
    """Return a projection with independent normal entries, Eq. (6)."""
    return draw.normal(size=(units, latents.shape[1]))


def correlated(units: int, latents: Array, draw: Draw) -> Array:
    """Return a projection whose columns have something in common in groups of eight."""
    features = latents.shape[1]
    common = draw.normal(size=(units, -(-features // 8)))[:, draw.permutation(features) // 8]
    return np.sqrt(1 - ALIKE) * draw.normal(size=(units, features)) + np.sqrt(ALIKE) * common


def learned(units: int, latents: Array, draw: Draw) -> Array:
    """Return the projection A, columns of length √units, from which ReLU(AᵀA z + b) tells latents best.

    References
    ----------
    Elhage, N. et al. (2022). Toy models of superposition. Transformer Circuits Thread.
    """
    z = torch.as_tensor(latents / np.maximum(latents.std(axis=0), 1e-12), dtype=torch.float32)
    a = torch.as_tensor(draw.normal(size=(units, z.shape[1])) / np.sqrt(units), dtype=torch.float32).requires_grad_()
    b = torch.zeros(z.shape[1], requires_grad=True)
    optimiser = torch.optim.Adam([a, b], lr=RATE)
    for _ in range(STEPS):
        rows = z[torch.as_tensor(draw.integers(0, len(z), BATCH))]
        loss = (torch.relu(rows @ a.mT @ a + b) - rows).square().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    found = a.detach().double().numpy()
    return np.asarray(found * np.sqrt(units) / np.maximum(np.linalg.norm(found, axis=0), 1e-12))


def dedicated(units: int, latents: Array, draw: Draw) -> Array:
    """Return a projection in which each unit holds one feature, by a gain of its own."""
    rows = np.eye(units, latents.shape[1])
    return np.asarray(draw.permutation(rows) * draw.uniform(0.5, 2.0, (units, 1)))


KINDS: dict[str, Callable[[int, int, float, Draw], Array]] = {
    "bernoulli": bernoulli,
    "exponential": exponential,
    "largest": largest,
    "groups": groups,
    "zipf": zipf,
}
PROJECTIONS: dict[str, Callable[[int, Array, Draw], Array]] = {
    "gaussian": gaussian,
    "correlated": correlated,
    "learned": learned,
    "dedicated": dedicated,
}


def _amounts(active: NDArray[np.bool_], draw: Draw) -> Array:
    return np.where(active, draw.random(active.shape), 0)
