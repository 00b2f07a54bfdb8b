"""How the features of two systems are packed: what packing makes of content, and what raw activity then scores."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.sharing.decoding import Decoded, Side
from superpose.theory import cka

Array = NDArray[Any]

# Draws of features behind the interval of a Gram cosine.
DRAWS = 200


class Packing(NamedTuple):
    """CKA that the found packing gives; the Gram cosine of the shared features alone, and its 90 % interval."""

    packed: float
    alike: float
    low: float
    high: float


UNKNOWN = Packing(np.nan, np.nan, np.nan, np.nan)


def packing_of(a: Side, b: Side, ab: Decoded, ba: Decoded, *, seed: int = 0) -> Packing:
    """Return what the packing of the features found makes of two systems, by Theorem 3.2.

    Latents are the features of one system and those of the other that it does not hold. Their directions are the atoms
    in their own system, and the transported directions in the other. S is the covariance of their codes.

    Parameters
    ----------
    a, b : Side
    ab, ba : Decoded
        What b holds of a's features, and a of b's.
    seed : int
        Draws the features behind the interval.
    """
    if not (len(a.features) and len(b.features)):
        return UNKNOWN
    ways = [_seen_from(a, b, ab, ba), _seen_from(b, a, ba, ab)]
    packed = float(np.mean([cka(*way) for way in ways]))
    shared = [_shared(a, ab), _shared(b, ba)]
    if min(len(part[2]) for part in shared) < 2:
        return Packing(packed, np.nan, np.nan, np.nan)
    draw = np.random.default_rng((seed, 4))
    drawn = [np.mean([_drawn(*part, draw) for part in shared]) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, [0.05, 0.95])
    return Packing(packed, float(np.mean([cka(*part) for part in shared])), float(low), float(high))


def _seen_from(a: Side, b: Side, ab: Decoded, ba: Decoded) -> tuple[Array, Array, Array]:
    """Return both systems' directions of a's features and of those of b's that a does not hold, and the covariance."""
    private = ~ba.table.held.to_numpy()
    first = np.hstack([a.features.dictionary, np.zeros((len(a.features.offset), int(private.sum())))])
    second = np.hstack([ab.directions.T * _held(ab), b.features.dictionary[:, private]])
    return first, second, np.atleast_2d(np.cov(np.hstack([a.codes, b.codes[:, private]]), rowvar=False))


def _shared(a: Side, ab: Decoded) -> tuple[Array, Array, Array]:
    held = _held(ab)
    return (
        a.features.dictionary[:, held],
        ab.directions.T[:, held],
        np.atleast_2d(np.cov(a.codes[:, held], rowvar=False)),
    )


def _held(ab: Decoded) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = ab.table.held.to_numpy()
    return mask


def _drawn(first: Array, second: Array, covariance: Array, draw: np.random.Generator) -> float:
    some = np.unique(draw.integers(0, len(covariance), len(covariance)))
    return float(cka(first[:, some], second[:, some], covariance[np.ix_(some, some)]))
