"""Linear centred kernel alignment, as published and debiased."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.metrics.about import About
from superpose.metrics.kernels import (
    KERNELS,
    VANISHING,
    KernelRows,
    KernelSums,
    cosine_influence,
    cross_rows,
    own_rows,
    pair_influence,
)
from superpose.metrics.metric import STILL, Influence, MomentMetric
from superpose.moments import Moments

Array = NDArray[Any]


def cka(x: ArrayLike, y: ArrayLike, *, debiased: bool = False) -> Any:
    """Linear centred kernel alignment of two systems: the cosine of their centred Gram matrices (Eqs. (19)–(25)).

    For y = A z with white latents it tends to the Gram cosine of the projections (Theorem 3.2), which
    `superpose.theory.cka` gives. With few samples the published form is biased upward: unrelated systems
    score well above 0. The debiased form is centred on 0 there.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Responses of one system; units of any scale.
    y : array or tensor, (…, samples, units_y)
        Responses of the other to the same samples.
    debiased : bool
        Use the unbiased estimators of HSIC (at least 4 samples) instead of the published biased ones. Samples that come
        in groups bias these too: see `superpose.metrics.grouped_cka`.

    Returns
    -------
    array or tensor, (…)
        In [0, 1]; debiased also below 0, and NaN where a system's debiased variance is not positive.

    Raises
    ------
    DataError
        For values that are not finite real numbers, unpaired samples, too few samples or constant systems.

    References
    ----------
    Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019 (biased).
    Song et al., Feature Selection via Dependence Maximization, JMLR 13, 2012, Eq. (5) (debiased).

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(50, 20))
    >>> y = np.random.default_rng(1).normal(size=(50, 20))
    >>> round(float(sp.cka(x, y)), 2), round(float(sp.cka(x, y, debiased=True)), 2)
    (0.28, 0.01)
    """
    return (CKA_DEBIASED if debiased else CKA)(x, y)


def _biased(sums: KernelSums) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((sums.aa > 0) & (sums.bb > 0), sums.ab / np.sqrt(sums.aa * sums.bb), np.nan)


def uncentred_cka(moments: Moments) -> Array:
    """Return the biased CKA of responses whose mean is not removed: Eq. (19) without its centring matrix H."""
    raw = moments.uncentred()
    ab, aa, bb = (np.square(sums[0]).sum((-2, -1)) for sums in (raw.cross.product, raw.x.square, raw.y.square))
    return np.asarray(ab / np.sqrt(aa * bb))


def hsic(n: int, product: Array, diagonals: Array, d: Array, e: Array) -> Array:
    """Return the unbiased HSIC (Song et al. 2012, Eq. (5)) from sums over the kernels of n centred rows, 4 or more."""
    return (product - n / (n - 2) * diagonals + d * e / ((n - 1) * (n - 2))) / (n * (n - 3))


def _unbiased(sums: KernelSums) -> tuple[Array, Array, Array]:
    n = sums.samples
    if n < 4:
        missing = np.full_like(sums.ab, np.nan)
        return missing, missing, missing
    return (
        hsic(n, sums.ab, sums.de, sums.d, sums.e),
        hsic(n, sums.aa, sums.dd, sums.d, sums.d),
        hsic(n, sums.bb, sums.ee, sums.e, sums.e),
    )


def _debiased(sums: KernelSums) -> Array:
    ab, aa, bb = _unbiased(sums)
    floor = VANISHING / sums.samples**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((aa > floor * sums.aa) & (bb > floor * sums.bb), ab / np.sqrt(aa * bb), np.nan)


def _biased_influence(sums: KernelSums, rows: KernelRows) -> Array:
    cross, x, y = rows
    parts = (cross.product, x.square, y.square)
    return cosine_influence(sums.samples, _biased(sums), (sums.ab, sums.aa, sums.bb), parts)


def _debiased_influence(sums: KernelSums, rows: KernelRows) -> Array:
    # To first order the debiased sums are those over pairs of distinct samples.
    return pair_influence(_debiased(sums), sums, rows)


def _still(sums: KernelSums) -> str:
    return STILL


def _too_few(sums: KernelSums) -> str:
    if sums.samples < 4:
        return f"needs ≥ 4 samples; have {sums.samples}"
    if not (sums.aa > 0 and sums.bb > 0):
        return _still(sums)
    return "a system's debiased variance is not positive: too few samples for its dimension"


CKA = MomentMetric(
    name="cka",
    about=About("CKA", "centred Gram matrices, by their cosine", "N p q", "Kornblith et al. 2019"),
    directed=False,
    invariances=frozenset({"rotation", "scale", "permutation", "translation"}),
    minimum_samples=3,
    family=KERNELS,
    score=_biased,
    why=_still,
    # Over permutations Σ_ij KL averages Σd Σe / (N − 1).
    null_mean=lambda sums: sums.d * sums.e / (sums.samples - 1) / np.sqrt(sums.aa * sums.bb),
    influence=Influence(cross_rows, _biased_influence, own_rows),
    bounds=(0.0, 1.0),
)
CKA_DEBIASED = MomentMetric(
    name="cka_debiased",
    about=About(
        "debiased CKA",
        "centred Gram matrices, less what few samples add",
        "N p q",
        "Kornblith et al. 2019; Song et al. 2012",
    ),
    directed=False,
    invariances=CKA.invariances,
    minimum_samples=4,
    family=KERNELS,
    score=_debiased,
    why=_too_few,
    null_mean=lambda sums: np.zeros_like(sums.ab),
    influence=Influence(cross_rows, _debiased_influence, own_rows),
    bounds=(-1.0, 1.0),
)
