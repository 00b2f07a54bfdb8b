"""Linear-kernel sums: the ten numbers that linear CKA, its debiased form and dot-product RSA are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.moments import Moments

Array = NDArray[Any]


@dataclass(frozen=True)
class KernelSums:
    """Sums over the N × N kernels K = XX', L = YY' of column-centred rows, without forming them.

    `ab` Σ_ij KL, `aa` Σ_ij KK, `bb` Σ_ij LL (diagonal included); with d, e the diagonals: `d` Σd, `e` Σe,
    `dd` Σd², `ee` Σe², `de` Σde. Each has the shape of the repeats.
    """

    samples: int
    ab: Array
    aa: Array
    bb: Array
    d: Array
    e: Array
    dd: Array
    ee: Array
    de: Array


@dataclass(frozen=True)
class KernelRows:
    """One row's share of the sums: h_i = Σ_j K_ij L_ij over all j (and for KK, LL), and the diagonals d_i, e_i."""

    ab: Array
    aa: Array
    bb: Array
    d: Array
    e: Array


def kernel_sums(moments: Moments) -> KernelSums:
    """Return the sums of a pair: ‖X'Y‖² = Σ_ij K_ij L_ij, and likewise for the rest."""
    centred = moments.centred()
    x, y, cross = centred.x, centred.y, centred.cross
    return KernelSums(
        samples=int(x.samples[0]),
        ab=_square_norm(cross.product[0]),
        aa=_square_norm(x.square[0]),
        bb=_square_norm(y.square[0]),
        d=x.norm[0],
        e=y.norm[0],
        dd=x.norm_square[0],
        ee=y.norm_square[0],
        de=cross.norms[0],
    )


def repaired_sums(sums: KernelSums, moments: Moments) -> KernelSums:
    """Return the sums after a re-pairing of rows that are about their means: only two of them change."""
    cross = moments.merged().cross
    return replace(sums, ab=_square_norm(cross.product[0]), de=cross.norms[0])


def kernel_rows(moments: Moments, sums: KernelSums, x: Array, y: Array, folds: Array) -> KernelRows:
    """Return each row's share: h_i = x_i'(X'Y) y_i."""
    centred = moments.centred()
    kind = x.dtype

    def share(a: Array, product: Array, b: Array) -> Array:
        return np.einsum("ij,ij->i", a @ product.astype(kind), b, dtype=np.float64)

    return KernelRows(
        ab=share(x, centred.cross.product[0], y),
        aa=share(x, centred.x.square[0], x),
        bb=share(y, centred.y.square[0], y),
        d=np.einsum("ij,ij->i", x, x, dtype=np.float64),
        e=np.einsum("ij,ij->i", y, y, dtype=np.float64),
    )


def cosine_influence(n: int, score: Array, parts: tuple[Array, Array, Array], rows: tuple[Array, ...]) -> Array:
    """Return each row's influence on ab/√(aa·bb), sums over pairs of samples, given its share in each.

    A sum over pairs has first-order influence 2 (row share − mean share), so the logarithm of the ratio has
    the difference of the relative ones (Hoeffding 1948).
    """
    relative = [
        2 * (n * share / total - 1) if total else np.zeros_like(share) for share, total in zip(rows, parts, strict=True)
    ]
    return score * (relative[0] - (relative[1] + relative[2]) / 2)


def _square_norm(matrix: Array) -> Array:
    result: Array = np.einsum("...ij,...ij->...", matrix, matrix)
    return result
