"""Centred kernel alignment with a Gaussian kernel, in tiles."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.files import DataError
from superpose.metrics.about import About
from superpose.metrics.pairwise import PairwiseMetric, squared_distances, tiles
from superpose.metrics.rbf_influence import Width, kernel_influence, without_diagonal
from superpose.metrics.rsa import RANKED_PAIRS, pair_pieces

Array = NDArray[Any]


def cka_rbf(x: ArrayLike, y: ArrayLike, *, width: float = 1.0, debiased: bool = False) -> Any:
    """Centred kernel alignment of two systems under a Gaussian kernel exp(−|x_i − x_j|² / 2σ²).

    σ is `width` times the median distance between samples, of each system by itself: over all pairs, or above 8
    million (about 4,000 samples) over that many drawn at random. A small width compares neighbours, a large one tends
    to the linear `cka`.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Responses of one system.
    y : array or tensor, (…, samples, units_y)
        Responses of the other to the same samples; at least 4.
    width : float
        Of the kernel, in median distances.
    debiased : bool
        Use the unbiased estimators of HSIC: unrelated systems then score about 0, instead of well above.

    Returns
    -------
    array or tensor, (…)
        In [0, 1]; debiased also below 0, and NaN where a system's debiased variance is not positive. NaN where more
        than half the samples of a system are equal, so that the median distance is 0.

    Raises
    ------
    DataError
        For unusable responses, too few samples, or a width that is not a positive number.

    References
    ----------
    Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019.
    Song et al., Feature Selection via Dependence Maximization, JMLR 13, 2012, Eq. (5) (debiased).

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x, y = np.random.default_rng(0).normal(size=(2, 100, 5))
    >>> round(float(sp.metrics.cka_rbf(x, 1 - 2 * x)), 6)
    1.0
    >>> bool(abs(sp.metrics.cka_rbf(x, y, debiased=True)) < 0.05 < sp.metrics.cka_rbf(x, y))
    True
    """
    if isinstance(width, bool) or not isinstance(width, float | int | np.floating | np.integer) or not 0 < width < 1e6:
        raise DataError(f"width is {width!r}; expected a number of median distances, above 0 and below a million.")
    return replace(CKA_RBF, score=partial(_alignment, width=float(width), hsic=_unbiased if debiased else _biased))(
        x, y
    )


def _biased(samples: int, product: float, row_products: float, sum_x: float, sum_y: float) -> float:
    """Return tr(KHLH) from sums over i ≠ j of kernels whose diagonals are 1."""
    n = samples
    # The diagonals add 1 to each row's sum, and n to the product.
    rows = row_products + sum_x + sum_y + n
    return product + n - 2 / n * rows + (sum_x + n) * (sum_y + n) / n**2


def _unbiased(samples: int, product: float, row_products: float, sum_x: float, sum_y: float) -> float:
    """Return N (N − 3) HSIC by its U-statistic, from sums over i ≠ j."""
    n = samples
    return product + sum_x * sum_y / ((n - 1) * (n - 2)) - 2 / (n - 2) * row_products


def _alignment(x: Array, y: Array, width: float, hsic: Any) -> float:
    samples = len(x)
    scales = [2 * (width * _median(z)) ** 2 for z in (x, y)]
    if min(scales) <= 0:
        return np.nan
    products = np.zeros(3)
    row_sums = np.empty((2, samples))
    for rows in tiles(samples):
        k, l = (_kernel(z, rows, scale) for z, scale in zip((x, y), scales, strict=True))
        row_sums[:, rows] = k.sum(axis=1), l.sum(axis=1)
        products += [np.einsum("ij,ij->", a, b) for a, b in ((k, l), (k, k), (l, l))]
    r, s = row_sums
    xy, xx, yy = (
        hsic(samples, product, float(a @ b), float(a.sum()), float(b.sum()))
        for product, (a, b) in zip(products, ((r, s), (r, r), (s, s)), strict=True)
    )
    return xy / np.sqrt(xx * yy) if xx > 0 and yy > 0 else np.nan


def _influence(x: Array, y: Array, width: float, hsic: Any) -> Array:
    widths = []
    for z in (x, y):
        low, median, high = (float(q) for q in _quantiles(z, (0.4, 0.5, 0.6)))
        widths.append(Width(width * median, median, low, high))
    return kernel_influence(x, y, (widths[0], widths[1]), hsic)


def _kernel(x: Array, rows: NDArray[np.int64], scale: float) -> Array:
    return without_diagonal(np.exp(-squared_distances(x, rows) / scale), rows)


def _median(x: Array) -> float:
    return float(_quantiles(x, (0.5,))[0])


def _quantiles(x: Array, shares: tuple[float, ...]) -> Array:
    """Return quantiles of the distance over pairs of samples, or over a random sample of the pairs of many."""
    samples = len(x)
    if samples * (samples - 1) // 2 <= RANKED_PAIRS:
        squares = [squared_distances(x, rows)[np.arange(samples) > rows[:, None]] for rows in tiles(samples)]
    else:
        gaps = (x[i] - x[j] for i, j in pair_pieces(samples, x.shape[1]))
        squares = [np.einsum("ij,ij->i", gap, gap) for gap in gaps]
    found: Array = np.quantile(np.sqrt(np.concatenate(squares)), shares)
    return found


CKA_RBF = PairwiseMetric(
    name="cka_rbf",
    about=About(
        "Gaussian CKA",
        "Gaussian kernels as wide as the median distance",
        "N² (p + q), in tiles",
        "Kornblith et al. 2019",
    ),
    invariances=frozenset({"rotation", "scale", "permutation", "translation"}),
    minimum_samples=4,
    score=partial(_alignment, width=1.0, hsic=_biased),
    why="more than half the samples of a system are equal, or its debiased variance is not positive",
    influence=partial(_influence, width=1.0, hsic=_biased),
    no_interval="no interval: without one of the samples a system's kernel does not vary",
    bounds=(0.0, 1.0),
)
CKA_RBF_DEBIASED = replace(
    CKA_RBF,
    name="cka_rbf_debiased",
    about=About(
        "debiased Gaussian CKA",
        "Gaussian kernels, less what few samples add",
        "N² (p + q), in tiles",
        "Kornblith et al. 2019; Song et al. 2012",
    ),
    score=partial(_alignment, width=1.0, hsic=_unbiased),
    influence=partial(_influence, width=1.0, hsic=_unbiased),
    bounds=(-1.0, 1.0),
)
