"""What the simulated figures share: draws by name, the scores of a pair of responses, and their closed forms."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray

from superpose.arrays import choose
from superpose.files import DataError, argument
from superpose.metrics.cka import CKA, CKA_DEBIASED, uncentred_cka
from superpose.metrics.kernels import kernel_sums
from superpose.metrics.regression import OLS_R2
from superpose.metrics.rsa import RSA, uncentred_rsa
from superpose.metrics.splits import Plan
from superpose.moments import of_pair
from superpose.systems import DISTRIBUTIONS, ENTRIES, KURTOSIS, projection, sparse_latents
from superpose.theory import (
    adjusted_r2,
    expected_cka,
    expected_cka_orthonormal,
    expected_cka_unit_norm,
    expected_regression,
    latent_moments,
    limits,
)

Array = NDArray[np.floating]

IN_SAMPLE = OLS_R2.planned(Plan(((0, (0,)),)))


def checked(
    *, distribution: str = "signed", entries: str = "gaussian", latents: int = 1, active: int = 1, **others: object
) -> None:
    """Raise a DataError for settings of a cell that no system can be drawn from."""
    choose(DISTRIBUTIONS, "distribution", distribution)
    choose(ENTRIES, "entries", entries)
    if active > max(latents, 1):
        raise DataError(f"{argument('active')} is {active} with {latents} latents; expected active ≤ latents.")


def stream(seed: int, *names: object) -> torch.Generator:
    """Return the generator of a named draw of a cell: other names, other numbers, whatever else is drawn."""
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@lru_cache(maxsize=1)
def drawn_latents(seed: int, samples: int, latents: int, active: int, distribution: str) -> Array:
    """Return the sparse latents of a seed, (samples, latents); kept, as the sizes of one draw follow each other."""
    z: Array = sparse_latents(
        samples, latents, active, distribution=distribution, generator=stream(seed, "latents")
    ).numpy()
    z.flags.writeable = False
    return z


def projections(seed: int, units: int, latents: int, entries: str) -> tuple[Array, Array]:
    """Return the projections of two systems of equal size, each from a stream of its own."""
    a, b = (
        projection(units, latents, entries=entries, generator=stream(seed, system, entries, units)).numpy()
        for system in ("a", "b")
    )
    return a, b


def scores(x: Array, y: Array) -> dict[str, float]:
    """Return every score of paired responses that the figures show, from one pass over them.

    `rsa`, `cka_debiased` and `r2_adjusted` (for the number of units) estimate the limits of Theorems 3.1 to 3.3
    without bias; `r_adjusted` is the root of the last. `cka` is biased, as published. `rsa_uncentred` and
    `cka_uncentred` are Eqs. (1), (3) and (19) to the letter, on responses whose mean is not removed.
    """
    moments = of_pair(x, y)
    sums, raw = kernel_sums(moments), moments.uncentred()
    r2 = float(IN_SAMPLE.score(IN_SAMPLE.family.sums(moments)))
    adjusted = float(adjusted_r2(r2, *x.shape))
    return {
        "rsa": float(RSA.score(sums)),
        "cka_debiased": float(CKA_DEBIASED.score(sums)),
        "cka": float(CKA.score(sums)),
        "r2_adjusted": adjusted,
        "r_adjusted": math.sqrt(max(adjusted, 0.0)),
        "rsa_uncentred": float(uncentred_rsa(raw)),
        "cka_uncentred": float(uncentred_cka(raw)),
    }


def predictions(a: Array, b: Array, active: int, distribution: str) -> dict[str, float]:
    """Return the closed form of each score for these projections of sparse latents, Theorems 3.1 to 3.3.

    The latents' covariance is (v − c) I + c 11ᵀ. Its root R acts on a projection in units × latents operations,
    and projections A R, B R of white latents have the alignment of A, B.
    """
    latents = a.shape[-1]
    moments = latent_moments(latents, active, distribution)
    own, shared = moments.square - moments.mean**2, moments.product - moments.mean**2
    along, across = math.sqrt(max(own + (latents - 1) * shared, 0.0)), math.sqrt(own - shared)
    a, b = (_stretched(p.astype(np.float64), across, along) for p in (a, b))
    # The mean is along the direction of all ones too, and is divided by the root there.
    mean = np.full(latents, moments.mean / along)
    found = {name: float(value) for name, value in limits(a, b, mean=mean).items()}
    r2 = found.pop("r2")
    return {**found, "cka_debiased": found["cka"], "r2_adjusted": r2, "r_adjusted": math.sqrt(r2)}


def _stretched(projection: NDArray[np.float64], across: float, along: float) -> NDArray[np.float64]:
    """Return the projection after its rows' mean direction is scaled by `along` and the others by `across`."""
    mean = projection.mean(axis=-1, keepdims=True)
    return across * (projection - mean) + along * mean


def expected(units_a: int, units_b: int, latents: int, entries: str) -> dict[str, float]:
    """Return the expectation of each score over random projections of an ensemble, Section 3.1.

    The paper has one expectation for centred responses and for those whose mean is kept.
    """
    similarity = float(EXPECTATIONS[entries](units_a, units_b, latents))
    r2 = float(expected_regression(units_a, units_b, latents, score="r2"))
    same = dict.fromkeys(("rsa", "cka_debiased", "cka", "rsa_uncentred", "cka_uncentred"), similarity)
    return {**same, "r2_adjusted": r2, "r_adjusted": math.sqrt(r2)}


EXPECTATIONS: dict[str, Callable[[int, int, int], float]] = {
    **{name: partial(expected_cka, kurtosis=kurtosis) for name, kurtosis in KURTOSIS.items()},
    "haar": expected_cka_orthonormal,
    "unit_norm": expected_cka_unit_norm,
}
