"""Each sample's influence on the alignment of two Gaussian kernels whose widths are median distances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.metrics.kernels import VANISHING
from superpose.metrics.pairwise import influence_of_left_out, squared_distances, tiles
from superpose.metrics.ties import ROUNDING, TIED

Array = NDArray[Any]

# (samples, Σ K L over i ≠ j, Σ r s, Σ r, Σ s) → HSIC, with r and s the sums of the rows of K and L.
Hsic = Callable[[int, Any, Any, Any, Any], Any]


@dataclass(frozen=True)
class Width:
    """The width of one system's kernel, σ, its median distance, and the quantiles .4 and .6 of its distances."""

    sigma: float
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class RowSums:
    """What each sample adds to sums over i ≠ j of two kernels, K of x and L of y.

    `products`, (3, samples): Σ_j K L, K K, L L. `sums`, (2, samples): r and s, those of K and of L. `crossed`,
    (2, 2, samples): K r, K s; L r, L s. `slopes`, (2, samples): the derivatives of r and of s to the logarithm of their
    widths. `wider`, (2, 2): those of Σ K L and, one factor alone, of Σ K K to that of K; of Σ K L and Σ L L to that of
    L. `nearer`, (2, samples): the share of distances that are at most the median.
    """

    products: Array
    sums: Array
    crossed: Array
    slopes: Array
    wider: Array
    nearer: Array


def kernel_influence(x: Array, y: Array, widths: tuple[Width, Width], hsic: Hsic) -> Array:
    """Return each sample's influence on the alignment, (samples,): the scores without it, and as it moves the widths.

    NaN where a kernel does not vary without one of the samples.
    """
    rows = row_sums(x, y, widths)
    influence = influence_of_left_out(_left_out(rows, hsic))
    for slope, width, nearer in zip(_by_width(rows, hsic), widths, rows.nearer, strict=True):
        influence += slope * _influence_on_median(nearer, width)
    return influence


def row_sums(x: Array, y: Array, widths: tuple[Width, Width]) -> RowSums:
    """Return what each sample adds, from one pass over tiles of the kernels."""
    samples = len(x)
    found = RowSums(
        products=np.empty((3, samples)),
        sums=np.empty((2, samples)),
        crossed=np.zeros((2, 2, samples)),
        slopes=np.empty((2, samples)),
        wider=np.zeros((2, 2)),
        nearer=np.empty((2, samples)),
    )
    for rows in tiles(samples):
        kernels, derivatives = [], []
        for side, (z, width) in enumerate(zip((x, y), widths, strict=True)):
            exponents = squared_distances(z, rows)
            # Distances that tie with the median are known to their rounding alone.
            reach = (1 + TIED) * width.median**2 + 3 * ROUNDING * np.square(z[rows]).sum(axis=1, keepdims=True)
            found.nearer[side, rows] = (np.count_nonzero(exponents <= reach, axis=1) - 1) / (samples - 1)
            exponents /= 2 * width.sigma**2
            kernels.append(without_diagonal(np.exp(-exponents), rows))
            # −2 K log K, the derivative to the logarithm of the width.
            exponents *= 2 * kernels[side]
            derivatives.append(exponents)
            found.sums[side, rows] = kernels[side].sum(axis=1)
            found.slopes[side, rows] = derivatives[side].sum(axis=1)
        for number, (a, b) in enumerate(((0, 1), (0, 0), (1, 1))):
            found.products[number, rows] = np.einsum("ij,ij->i", kernels[a], kernels[b])
        for side, (kernel, derivative) in enumerate(zip(kernels, derivatives, strict=True)):
            # The kernels are symmetric: rows of them are columns.
            found.crossed[side] += found.sums[:, rows] @ kernel
            found.wider[side] += [np.einsum("ij,ij->", derivative, other) for other in (kernels[1 - side], kernel)]
    return found


def without_diagonal(kernel: Array, rows: NDArray[np.int64]) -> Array:
    """Set each sample's kernel with itself to 0, in place."""
    kernel[np.arange(len(rows)), rows] = 0.0
    return kernel


def _left_out(rows: RowSums, hsic: Hsic) -> Array:
    """Return the scores without each sample, (samples,), at the widths of all.

    Without sample d the sums lose its row and its column, and Σ r s becomes Σ_{i≠d} (r_i − K_id)(s_i − L_id).
    """
    samples = rows.sums.shape[1]

    def between(product: Array, a: int, b: int) -> Array:
        r, s = rows.sums[a], rows.sums[b]
        left = r @ s - r * s - rows.crossed[a, b] - rows.crossed[b, a] + product
        found: Array = hsic(samples - 1, product.sum() - 2 * product, left, r.sum() - 2 * r, s.sum() - 2 * s)
        return found

    xy, xx, yy = (between(p, a, b) for p, (a, b) in zip(rows.products, ((0, 1), (0, 0), (1, 1)), strict=True))
    known = (xx > VANISHING * rows.products[1].sum()) & (yy > VANISHING * rows.products[2].sum())
    scores: Array = np.where(known, xy / np.sqrt(np.where(known, xx * yy, 1.0)), np.nan)
    return scores


def _by_width(rows: RowSums, hsic: Hsic) -> list[float]:
    """Return the derivative of the score to the logarithm of either width."""
    samples = rows.sums.shape[1]
    products = rows.products.sum(axis=1)

    def between(product: float, r: Array, s: Array) -> float:
        return float(hsic(samples, product, r @ s, r.sum(), s.sum()))

    r, s = rows.sums
    xy, xx, yy = between(products[0], r, s), between(products[1], r, r), between(products[2], s, s)
    found = []
    for side, own in enumerate((xx, yy)):
        other, wider = rows.sums[1 - side], rows.sums[side] + rows.slopes[side]
        # HSIC is linear in either kernel; that of a kernel with itself moves by twice this, its root by once.
        of_both = between(products[0] + rows.wider[side, 0], wider, other) - xy
        of_own = between(products[1 + side] + rows.wider[side, 1], wider, rows.sums[side]) - own
        found.append((of_both - xy / own * of_own) / np.sqrt(xx * yy))
    return found


def _influence_on_median(nearer: Array, width: Width) -> Array:
    """Return each sample's influence on the logarithm of the median distance, a quantile over pairs (Serfling 1984).

    From the share of its distances that are less, and the density about the median: a fifth of all pairs lie between
    the quantiles .4 and .6. A median that so many pairs share does not move.
    """
    spread = np.log(width.high / width.low) if width.low > 0 else 0.0
    influence: Array = 2 * (nearer.mean() - nearer) * spread / 0.2
    return influence
