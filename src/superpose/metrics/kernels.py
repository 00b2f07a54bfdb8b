"""Linear-kernel sums: the ten numbers that linear CKA, its debiased form and dot-product RSA are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.metrics.metric import Family
from superpose.moments import Cross, Moments, Own
from superpose.moments.blocks import as_type, inner

Array = NDArray[Any]

# Rows of a product that stay in cache while they are centred.
BLOCK = 64

# A variance below this share of the terms it is a difference of is rounding.
VANISHING = 1e-12


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
class CrossRows:
    """One row's share of a pair's sum: h_i = Σ_j K_ij L_ij over all j."""

    product: Array


@dataclass(frozen=True)
class OwnRows:
    """One row's share of a system's own sums: `square` Σ_j K_ij² over all j, and the diagonal d_i."""

    square: Array
    diagonal: Array


# Those of a pair, and of either system.
KernelRows = tuple[CrossRows, OwnRows, OwnRows]


def kernel_sums(moments: Moments) -> KernelSums:
    """Return the sums of a pair: ‖X'Y‖² = Σ_ij K_ij L_ij, and likewise for the rest."""
    whole = moments.merged()
    x, y = whole.x, whole.y
    ab, de = _about_means(whole.cross, x, y)
    aa, dd = _about_means(x.crossed, x, x)
    bb, ee = _about_means(y.crossed, y, y)
    d, e = (own.norm[0] - (own.total[0] ** 2).sum(-1) / own.samples[0] for own in (x, y))
    return KernelSums(int(x.samples[0]), ab=ab, aa=aa, bb=bb, d=d, e=e, dd=dd, ee=ee, de=de)


def _about_means(sums: Cross, x: Own, y: Own) -> tuple[Array, Array]:
    """Return ‖X'Y‖² and Σ d_i e_i for rows about their means, from sums about any shift.

    The products lose u w' by blocks of rows, which costs a fraction of forming the centred matrix.
    """
    n = x.samples[0]
    u, w = x.total[0] / n, y.total[0] / n
    product = sums.product[0]
    square = np.zeros(product.shape[:-2])
    for start in range(0, product.shape[-2], BLOCK):
        rows = slice(start, start + BLOCK)
        square += _square_norm(product[..., rows, :] - n * u[..., rows, None] * w[..., None, :])
    uu, ww = (u * u).sum(-1), (w * w).sum(-1)
    diagonals = (
        sums.norms[0]
        - 2 * (w * sums.norm_y[0]).sum(-1)
        - 2 * (u * sums.norm_x[0]).sum(-1)
        + 4 * (u * (product @ w[..., None])[..., 0]).sum(-1)
        + ww * x.norm[0]
        + uu * y.norm[0]
        - 3 * n * uu * ww
    )
    return square, diagonals


def permuted_sums(sums: KernelSums, moments: Moments) -> KernelSums:
    """Return the sums after a permutation of rows that are about their means: only two of them change."""
    cross = moments.merged().cross
    return replace(sums, ab=_square_norm(cross.product[0]), de=cross.norms[0])


KERNELS = Family(kernel_sums, permuted_sums)


def cross_rows(moments: Moments, sums: KernelSums) -> Callable[[Array, Array, Array], CrossRows]:
    """Return what gives each row's share, from rows about the means: h_i = x_i'(X'Y) y_i."""
    whole = moments.merged()
    form = _form(whole.cross.product[0], whole.x, whole.y)
    return lambda x, y, folds: CrossRows(form(x, y))


def own_rows(own: Own) -> Callable[[Array], OwnRows]:
    """Return what gives each row's share of its own system's sums, from rows about the means: x_i'(X'X) x_i."""
    form = _form(own.square[0], own, own)
    return lambda x: OwnRows(form(x, x), inner(x, x))


def _form(product: Array, x: Own, y: Own) -> Callable[[Array, Array], Array]:
    """Return what gives x_i' P y_i of rows, with P the product about the means."""
    centred = product - x.total[0][:, None] * (y.total[0] / y.samples[0])
    # Of size 1, so that products of three float32 responses stay within its range.
    size = float(np.abs(centred).max()) or 1.0
    unit = as_type(centred / size)
    return lambda a, b: inner(a @ unit(a.dtype), b) * size


def cosine_influence(n: int, score: Array, parts: tuple[Array, Array, Array], rows: Iterable[Array]) -> Array:
    """Return each row's influence on ab/√(aa·bb), sums over pairs of samples, given its share in each.

    A sum over pairs has first-order influence 2 (row share − mean share) (Hoeffding 1948). That of ab is not taken
    relative to ab itself: a score that is unbiased by further terms may be far from ab/√(aa·bb) where both are near 0.
    """
    (ab, aa, bb), (share, own_x, own_y) = parts, rows
    influence: Array = 2 * (n * share - ab) / np.sqrt(aa * bb) - score * (n * own_x / aa + n * own_y / bb - 2)
    return influence


def pair_parts(s: KernelSums) -> tuple[Array, Array, Array]:
    """Return covariance and variances over pairs of centred inner products."""
    n = s.samples
    return (
        pair_part(n, s.ab, s.de, s.d, s.e),
        pair_part(n, s.aa, s.dd, s.d, s.d),
        pair_part(n, s.bb, s.ee, s.e, s.e),
    )


def pair_part(n: int, product: Array, diagonals: Array, d: Array, e: Array) -> Array:
    """Return the sum over i ≠ j of centred inner products of two systems: the mean of each is −Σd / (N (N − 1))."""
    return product - diagonals - d * e / (n * (n - 1))


def pair_influence(score: Array, sums: KernelSums, rows: KernelRows) -> Array:
    """Return each row's influence on a score that correlates inner products over pairs of distinct samples."""
    n = sums.samples
    cross, x, y = rows
    parts = (
        (cross.product, (x.diagonal, y.diagonal), (sums.d, sums.e)),
        (x.square, (x.diagonal, x.diagonal), (sums.d, sums.d)),
        (y.square, (y.diagonal, y.diagonal), (sums.e, sums.e)),
    )
    return cosine_influence(n, score, pair_parts(sums), (pair_share(n, *part) for part in parts))


def pair_share(n: int, h: Array, diagonals: tuple[Array, Array], totals: tuple[Array, Array]) -> Array:
    """Return each row's sum over j ≠ i of (K_ij − mean K)(L_ij − mean L): its share in `pair_part`.

    `h` is its sum of K_ij L_ij over all j; a row of K sums to −d_i off its diagonal.
    """
    (p, q), (total_p, total_q) = diagonals, totals
    pairs = n * (n - 1)
    share: Array = h - p * q - (p * total_q + q * total_p) / pairs + (n - 1) * total_p * total_q / pairs**2
    return share


def _square_norm(matrix: Array) -> Array:
    result: Array = np.einsum("...ij,...ij->...", matrix, matrix)
    return result
