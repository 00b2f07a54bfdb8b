"""How the features of two systems are packed: what packing makes of content, and what raw activity then scores."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.sharing.decoding import Decoded, Side
from superpose.statistics import jackknife_variance
from superpose.theory import cka

Array = NDArray[Any]

# Shared features that packing is told of, at least.
FEWEST = 4
# Blocks of features that are left out in turn, behind the interval of a Gram cosine; its normal quantile.
BLOCKS, QUANTILE = 40, 1.645


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
        Draws the blocks of features behind the interval.
    """
    if not (len(a.features) and len(b.features)):
        return UNKNOWN
    ways = [_seen_from(a, b, ab, ba), _seen_from(b, a, ba, ab)]
    # Where a holds all of b's features and b none of a's, b answers to no latent as a sees it.
    told = [float(cka(*way)) for way in ways if all(side.any() for side in way[:2])]
    packed = float(np.mean(told)) if told else np.nan
    shared = [_shared(a, ab), _shared(b, ba)]
    if min(len(part[2]) for part in shared) < FEWEST:
        return Packing(packed, np.nan, np.nan, np.nan)
    alike, variance = np.mean([_jackknifed(*part, seed) for part in shared], axis=0)
    half = QUANTILE * float(np.sqrt(variance))
    return Packing(packed, float(alike), max(float(alike) - half, 0.0), min(float(alike) + half, 1.0))


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


def _jackknifed(first: Array, second: Array, covariance: Array, seed: int) -> tuple[float, float]:
    """Return the Gram cosine of features, and its variance over which features there are (Tukey's jackknife)."""
    count = len(covariance)
    order = np.random.default_rng((seed, 4)).permutation(count)
    blocks = np.array_split(order, min(BLOCKS, count))
    left = np.array([float(cka(*_without(first, second, covariance, block))) for block in blocks])
    return float(cka(first, second, covariance)), jackknife_variance(left)


def _without(first: Array, second: Array, covariance: Array, block: Array) -> tuple[Array, Array, Array]:
    kept = np.setdiff1d(np.arange(len(covariance)), block)
    return first[:, kept], second[:, kept], covariance[np.ix_(kept, kept)]
