"""Copies of a system that hold the same content by construction: what a faithful comparison must find equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.analysis.job import Job
from superpose.analysis.lines import RECOVERED
from superpose.analysis.recovery import recover
from superpose.analysis.scores import described, scored
from superpose.analysis.spaces import Recipe, apart, derived_seed
from superpose.comparison import COLUMNS
from superpose.metrics import CKA_DEBIASED
from superpose.numerics.products import matmul
from superpose.theory import cka as cka_of
from superpose.theory import regression as regression_of

Array = NDArray[Any]


def rotated(job: Job, *, name: str, recipe: Recipe, number: int) -> pd.DataFrame:
    """Score a system against a random rotation of itself: raw scores are 1, and latent ones the dictionaries' ceiling.

    Parameters
    ----------
    job : Job
    name : str
        The system.
    recipe : Recipe
    number : int
        Which of several seeds it is.
    """
    x = job.arrays[name]
    draw = np.random.default_rng(derived_seed(job.design.seed, f"rotation {name}"))
    q, r = np.linalg.qr(draw.normal(size=(x.shape[-1], x.shape[-1])))
    # Signs of the triangle's diagonal make the rotation uniform (Mezzadri 2007).
    rotation = (q * np.sign(np.diagonal(r))).astype(np.promote_types(x.dtype, np.float32))
    pair = (name, f"{name}, rotated")
    copies = job.of(dict(zip(pair, (x, x @ rotation), strict=True)), [pair])
    return recover(copies, names=pair, recipe=recipe, number=number, lines=RECOVERED, control="rotated")


def planted(job: Job, *, name: str, recipe: Recipe, number: int) -> pd.DataFrame:
    """Score two Gaussian packings y = A z, y' = B z of one system's own sparse codes z (Def. 2.1), as wide as itself.

    Here the premises of Theorems 3.1 to 3.3 hold, on latents as they come from data: the raw scores are what the
    closed form with the covariance of z says (`space` predicted), and latent ones show what dictionaries of this size
    give back.

    Parameters
    ----------
    job : Job
    name : str
        The system whose codes are packed.
    recipe : Recipe
    number : int
        Which of several seeds it is.
    """
    x = job.arrays[name]
    z = apart({name: x[: job.training]}, recipe)[name].encode(x)
    z = z[:, z[: job.training].any(axis=0)]
    draw = np.random.default_rng(derived_seed(job.design.seed, f"planted {name}"))
    maps = draw.normal(size=(2, x.shape[-1], z.shape[-1])) / np.sqrt(z.shape[-1])
    pair = (f"{name}, packed once", f"{name}, packed twice")
    packed = {copy: matmul(z, np.ascontiguousarray(a.T.astype(z.dtype))) for copy, a in zip(pair, maps, strict=True)}
    copies = job.of(packed, [pair])
    raw = described(scored(copies, packed), copies, space="raw", control="planted", fit="")
    law = described(_law(job, pair, maps, z[job.training :]), copies, space="predicted", control="planted", fit="")
    found = recover(copies, names=pair, recipe=recipe, number=number, lines=RECOVERED, control="planted")
    return pd.concat([raw.assign(seed=number), law.assign(seed=number), found], ignore_index=True)


def _law(job: Job, pair: tuple[str, str], maps: Array, z: Array) -> pd.DataFrame:
    """Return the closed forms of CKA (Theorem 3.2) and of regression (Theorem 3.3) with the latents' covariance."""
    covariance = np.cov(z, rowvar=False)
    a, b = maps
    shared = {
        "samples": len(z),
        "units_a": len(a),
        "units_b": len(b),
        "why": "closed form with the latents' covariance",
    }
    names = {"system_a": pair[0], "system_b": pair[1]}
    swapped = {"system_a": pair[1], "system_b": pair[0]}
    symmetric = {"metric": CKA_DEBIASED.name, "directed": False, "score": float(cka_of(a, b, covariance))}
    rows = [shared | names | symmetric]
    for name in job.correlations[:1]:
        directed = shared | {"metric": name, "directed": True}
        rows.append(directed | names | {"score": float(regression_of(a, b, covariance))})
        rows.append(directed | swapped | {"score": float(regression_of(b, a, covariance))})
    return pd.DataFrame(rows, columns=COLUMNS)
