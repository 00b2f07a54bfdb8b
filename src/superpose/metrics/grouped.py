"""Debiased CKA of samples that come in groups: over pairs of samples of different groups."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import group_labels, like_input
from superpose.files import DataError
from superpose.metrics.about import About
from superpose.metrics.cka import CKA_DEBIASED
from superpose.metrics.kernels import VANISHING
from superpose.metrics.metric import paired
from superpose.metrics.pairwise import PairwiseMetric
from superpose.moments import Labels
from superpose.moments.wide import compact

Array = NDArray[Any]

# A tuple of different groups has one for each of the four samples that an unbiased HSIC is made of.
FEWEST = 4
NOT_POSITIVE = "a system's debiased variance is not positive: too few groups for its dimension"
# Values of the kernels within groups, or of their products, that are held at a time.
PIECE = 2**22


def grouped_cka(x: ArrayLike, y: ArrayLike, groups: ArrayLike) -> Any:
    """Debiased linear CKA over samples of different groups, and each group's influence on it.

    Samples of one group (tokens of a sentence, trials of a photograph) are alike: pairs of them look like agreement of
    the systems, and bias the score the more the fewer groups there are. Here the means over samples 1 to 4 that make
    HSIC unbiased, of K₁₂L₁₂ + K₁₂L₃₄ − 2 K₁₂L₁₃, are over samples of groups that all differ. With one sample a group it
    is `superpose.cka` with `debiased=True`.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Responses of one system; units of any scale.
    y : array or tensor, (…, samples, units_y)
        Responses of the other to the same samples.
    groups : array-like, (samples,)
        Which samples belong together: at least 4 groups.

    Returns
    -------
    score : array or tensor, (…)
        1 for systems that differ by a rotation and a scale; NaN where a system's debiased variance is not positive.
    influence : array or tensor, (…, groups)
        Of each group, in order of first appearance: what `superpose.statistics.uncertainty` makes an interval of.

    Raises
    ------
    DataError
        For unusable or unpaired responses, labels that do not fit them, or fewer than 4 groups.

    References
    ----------
    Song et al., Feature Selection via Dependence Maximization, JMLR 13, 2012, Theorem 1; Hoeffding, A class of
    statistics with asymptotically normal distribution, Annals of Mathematical Statistics 19, 1948.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> from superpose.statistics import uncertainty
    >>> draw = np.random.default_rng(0)
    >>> x, y = np.repeat(draw.normal(size=(2, 20, 8)), 10, axis=1)  # unrelated, ten trials of 20 photographs
    >>> score, influence = sp.metrics.grouped_cka(x, y, np.repeat(np.arange(20), 10))
    >>> round(float(sp.cka(x, y, debiased=True)), 2), round(float(score), 2)
    (0.35, 0.09)
    >>> low, high, *_ = uncertainty(score, influence, (-1.0, 1.0))
    >>> bool(low < 0 < high)
    True
    """
    return like_input(_grouped)(x, y, groups)


@dataclass(frozen=True)
class GroupedMetric:
    """Debiased CKA over samples of different groups, as a metric: `grouped` turns it into that of given groups.

    Without groups each sample is one of its own, and the score that of `CKA_DEBIASED`.
    """

    name: ClassVar[str] = "cka_grouped"
    about: ClassVar[About] = About(
        "debiased CKA between groups",
        "Gram matrices, over pairs of samples of different groups",
        "N p q, and N times a group (p + q)",
        "Song et al. 2012",
    )
    directed: ClassVar[bool] = False
    invariances: ClassVar[frozenset[str]] = CKA_DEBIASED.invariances
    minimum_samples: ClassVar[int] = FEWEST

    def __call__(self, x: ArrayLike, y: ArrayLike) -> Any:
        """Score paired responses, (…, samples, units_x) and (…, samples, units_y), to (…)."""
        return self.grouped(None)(x, y)

    def grouped(self, groups: Labels | None) -> PairwiseMetric:
        """Return the metric of samples of such groups, each sample of its own for None."""
        count = None if groups is None else len(np.unique(groups))
        few = count is not None and count < FEWEST
        return PairwiseMetric(
            name=self.name,
            invariances=self.invariances,
            minimum_samples=self.minimum_samples,
            score=_missing if few else partial(_score, groups=groups),
            why=f"needs ≥ {FEWEST} groups; have {count}" if few else NOT_POSITIVE,
            influence=partial(_influence, groups=groups),
            null_mean=0.0,
            bounds=CKA_DEBIASED.bounds,
        )


CKA_GROUPED = GroupedMetric()


def _missing(x: Array, y: Array) -> float:
    return np.nan


def grouped_hsic(x: Array, y: Array, groups: Labels) -> tuple[float, Array]:
    """Return the HSIC over samples of different groups of two responses, and what it is without each group."""
    labels = group_labels(groups, len(x))
    sizes = np.bincount(labels)
    order, place = np.lexsort((labels, sizes[labels])), np.argsort(sizes, kind="stable")
    first, second = (_centred(compact(part))[order] for part in (x, y))
    value, influence = _hsic(first, second, sizes[place])
    without = np.empty_like(influence)
    without[place] = _left(value, influence, sizes[place])
    return float(value), without


def _score(x: Array, y: Array, groups: Labels | None) -> float:
    return float(_of_rows(x, y, _labels(len(x), groups))[0])


def _influence(x: Array, y: Array, groups: Labels | None) -> Array:
    """Return each sample's influence: its group's is shared out among the samples of it."""
    labels = _labels(len(x), groups)
    return shared_out(_of_rows(x, y, labels)[1], labels)


def shared_out(influence: Array, labels: Labels) -> Array:
    sizes = np.bincount(labels)
    of_samples: Array = influence / sizes * sizes.mean()
    return of_samples[labels]


def _labels(samples: int, groups: Labels | None) -> Labels:
    return np.arange(samples) if groups is None else group_labels(groups, samples)


def _grouped(x: ArrayLike, y: ArrayLike, groups: ArrayLike) -> tuple[Array, Array]:
    first, second = paired(x, y, FEWEST)
    labels = group_labels(groups, first.shape[-2])
    if labels.max() + 1 < FEWEST:
        raise DataError(f"{labels.max() + 1} group(s) are too few for a debiased score; expected at least {FEWEST}.")
    return _of_rows(_centred(compact(first)), _centred(compact(second)), labels)


def _of_rows(x: Array, y: Array, labels: Labels) -> tuple[Array, Array]:
    """Return the score of centred rows, and each group's influence on it."""
    sizes = np.bincount(labels)
    # Groups of one size end to end: what is within them is taken for many at once.
    order, place = np.lexsort((labels, sizes[labels])), np.argsort(sizes, kind="stable")
    a, b, sizes = x[..., order, :], y[..., order, :], sizes[place]
    (ab, of_ab), (aa, of_aa), (bb, of_bb) = (_hsic(*pair, sizes) for pair in ((a, b), (a, a), (b, b)))
    aa, bb = (np.where((aa > 0) & (bb > 0), part, np.nan) for part in (aa, bb))
    score = ab / np.sqrt(aa * bb)
    influence = np.empty_like(of_aa)
    influence[..., place] = _without((ab, aa, bb), (of_ab, of_aa, of_bb), sizes)
    return score, influence


def _without(
    values: tuple[Array, Array, Array], influences: tuple[Array, Array, Array], sizes: NDArray[np.int64]
) -> Array:
    """Return each group's influence on ab/√(aa·bb): that of leaving the group out.

    Each group of few makes up much of a variance: to first order errors came out a sixth too small with thirty groups.
    """
    ab, aa, bb = (_left(*part, sizes) for part in zip(values, influences, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        without = np.where((aa > 0) & (bb > 0), ab / np.sqrt(aa * bb), np.nan)
    return left_out(without)


def left_out(without: Array) -> Array:
    """Return each group's influence on a score from what that is without it: the jackknife."""
    influence: Array = (without.shape[-1] - 1) * (without.mean(axis=-1, keepdims=True) - without)
    return influence


def _left(value: Array, influence: Array, sizes: NDArray[np.int64]) -> Array:
    """Return a mean over pairs of samples of different groups without each group, from its influence on it."""
    pairs = sizes * (sizes.sum() - sizes)
    # Of all pairs, those that a group is in are twice its own with the others.
    without: Array = value[..., None] - influence / (len(sizes) * (1 - 2 * pairs / float(pairs.sum())))
    return without


def _centred(x: Array) -> Array:
    rows: Array = np.subtract(x, x.mean(axis=-2, keepdims=True, dtype=np.float64), dtype=np.float64)
    return rows


def _hsic(x: Array, y: Array, sizes: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return the HSIC of centred rows, groups of such sizes end to end, and each group's influence, to first order.

    About the mean, sums over triples and quadruples are of higher order than that over pairs.
    """
    starts = np.cumsum(sizes) - sizes
    totals_x, totals_y = (np.add.reduceat(part, starts, axis=-2) for part in (x, y))
    product, between = _products(x, y), _products(totals_x, totals_y)
    within, rows_within = _within(x, y, sizes)
    shares = np.add.reduceat(_inner(x @ product, y), starts, axis=-1) - within
    square_x, square_y = _inner(totals_x, totals_x), _inner(totals_y, totals_y)
    pairs, triples, quadruples = _tuples(sizes)
    # Rows sum to zero over all, hence over other groups to less their own group's total.
    of_pairs = shares.sum(-1) / pairs
    of_triples = (2 * rows_within.sum(-1) - (between * product).sum((-2, -1))) / triples
    of_quadruples = (
        square_x.sum(-1) * square_y.sum(-1) + 2 * np.square(between).sum((-2, -1)) - 6 * _inner(square_x, square_y)
    ) / quadruples
    n = sizes.sum()
    influence = 2 * len(sizes) / pairs * (shares - of_pairs[..., None] * sizes * (n - sizes))
    hsic = of_pairs + of_quadruples - 2 * of_triples
    rounding = VANISHING * np.square(product).sum((-2, -1)) / n**2
    return np.where(np.abs(hsic) > rounding, hsic, 0.0), influence


def _tuples(sizes: NDArray[np.int64]) -> tuple[float, float, float]:
    """Return how many pairs, triples and quadruples of samples there are of groups that all differ."""
    n = sizes.astype(np.float64)
    rest, second, fourth = n.sum() - n, np.square(n).sum(), (n**4).sum()
    pairs = n @ rest
    triples = n @ (rest**2 - (second - n**2))
    # All pairs of pairs, less those that meet in a group.
    return float(pairs), float(triples), float(pairs**2 - 4 * (n**2 @ rest**2) + 2 * (second**2 - fourth))


def _within(x: Array, y: Array, sizes: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return of each group the sum of K_ij L_ij over its pairs of rows, and of its rows the products of their sums."""
    found = []
    units = (x.shape[-1], y.shape[-1])
    for size, start, count in zip(*np.unique(sizes, return_index=True, return_counts=True), strict=True):
        kernel = size**2 if size <= min(units) else units[0] * units[1]
        held = max(1, PIECE // int(max(kernel, size * max(units))))
        first = int(sizes[:start].sum())
        for begin in range(0, int(count), held):
            many = min(held, int(count) - begin)
            rows = slice(first + begin * int(size), first + (begin + many) * int(size))
            a, b = (part[..., rows, :].reshape(*part.shape[:-2], many, size, part.shape[-1]) for part in (x, y))
            found.append(_of_groups(a, b))
    pairs, rows_of = (np.concatenate(parts, axis=-1) for parts in zip(*found, strict=True))
    return pairs, rows_of


def _of_groups(x: Array, y: Array) -> tuple[Array, Array]:
    sums = (_inner(part, part.sum(axis=-2, keepdims=True)) for part in (x, y))
    if x.shape[-2] > min(x.shape[-1], y.shape[-1]):
        pairs = np.square(_products(x, y)).sum((-2, -1))
    else:
        kernels = (part @ np.swapaxes(part, -1, -2) for part in (x, y))
        pairs = np.einsum("...ij,...ij->...", *kernels)
    return pairs, _inner(*sums)


def _products(x: Array, y: Array) -> Array:
    product: Array = np.swapaxes(x, -1, -2) @ y
    return product


def _inner(x: Array, y: Array) -> Array:
    products: Array = np.einsum("...j,...j->...", x, y)
    return products
