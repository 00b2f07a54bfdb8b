"""Units as a sample: the CKA of the populations that recorded units are drawn from, however many were recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import as_responses, check_moderate, group_folds, group_labels, shuffled_folds
from superpose.files import DataError
from superpose.statistics import jackknife_variance

Array = NDArray[Any]

# Blocks of units and of samples that are left out in turn; the normal quantile of a 90 % interval.
BLOCKS, QUANTILE = 20, 1.645
# Fewer units of a system say nothing of a population; fewer samples leave squared covariances without estimate.
FEWEST_UNITS, FEWEST_SAMPLES = 4, 10
# Units of equal number that resemble each other by so many standard errors more than others share a basis.
SHARED_BASIS = 4.0
# Squared covariances of all units of wider systems take minutes and gigabytes.
WIDEST = 1_024
WITHOUT = "units of a system hardly covary: nothing tells what they are drawn from"


class Population(NamedTuple):
    """CKA of two populations of units with its 90 % interval, NaN with the reason why where there is none."""

    value: float
    low: float
    high: float
    why: str = ""


def cka_units(x: ArrayLike, y: ArrayLike, *, groups: ArrayLike | None = None, seed: int = 0) -> Population:
    """Return the CKA of the populations of units that two systems' units are drawn from.

    The CKA of two systems depends on how many of their units were recorded. Where units are independent draws from a
    population, squared covariances of different units have the population's expectation, those of a unit with itself do
    not. The score takes the first alone, each without bias over samples.

    Parameters
    ----------
    x, y : array-like, (samples, units)
        At least four units each, and ten samples.
    groups : array-like, (samples,), optional
        Which samples belong together: left out together for the interval.
    seed : int
        Draws the blocks of units and samples that are left out in turn.

    Returns
    -------
    Population
        Value and a 90 % interval (jackknife over blocks of either system's units and of samples; variances add up).
        Without a value where the assumption is refuted: the interval lies above 1, or units of the same number in both
        systems resemble each other more than others do (layers of one residual stream share a basis).

    Raises
    ------
    DataError
        For arrays that cannot be paired, or fewer units or samples than it takes.

    References
    ----------
    Chun, C. et al. (2025). Estimating neural representation alignment from sparsely sampled inputs and features.
    arXiv 2502.15104.

    Examples
    --------
    >>> import torch, superpose as sp
    >>> from superpose.sharing import cka_units
    >>> draw = torch.Generator().manual_seed(0)
    >>> z = torch.randn(2_000, 64, generator=draw)
    >>> a, b = sp.systems.gaussian_projection(24, 64, repeats=(2,), generator=draw)
    >>> found = cka_units(z @ a.T, z @ b.T)
    >>> float(sp.cka(z @ a.T, z @ b.T, debiased=True)) < 0.4, found.low < 1 < found.high
    (True, True)
    """
    a, b = _paired(x, y)
    blocks = sample_blocks(len(a), None if groups is None else group_labels(groups, len(a)), seed=seed)
    return population(a, b, (own_units(a, blocks), own_units(b, blocks)), blocks, seed=seed)


def populations(
    systems: Mapping[str, Array],
    pairs: Sequence[tuple[str, str]],
    *,
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> dict[tuple[str, str], Population]:
    """Return `cka_units` of pairs of systems, each system's own part taken once; a refusal is its reason."""
    blocks = sample_blocks(len(next(iter(systems.values()))), groups, seed=seed)
    # The pairs of a system follow one another.
    activity = lru_cache(maxsize=2)(lambda name: checked_units(systems[name], name))
    own = cache(lambda name: own_units(activity(name), blocks))
    scores = {}
    for a, b in pairs:
        if max(systems[name].shape[1] for name in (a, b)) > WIDEST:
            scores[a, b] = Population(np.nan, np.nan, np.nan, f"a system has more than {WIDEST:,} units")
            continue
        try:
            x, y = activity(a), activity(b)
        except DataError as error:
            scores[a, b] = Population(np.nan, np.nan, np.nan, str(error).rstrip("."))
            continue
        scores[a, b] = population(x, y, (own(a), own(b)), blocks, seed=seed)
    return scores


class OwnUnits(NamedTuple):
    """What the units of one system give to the score of every pair: taken once.

    `squares` (units, units) are their squared covariances without bias, and `left` (blocks,) the mean of those of
    different units without each block of samples. `first`, `second` (blocks, units) are sums of activity and of its
    squares over each block.
    """

    squares: Array
    left: Array
    first: Array
    second: Array


def own_units(a: Array, blocks: Sequence[Array]) -> OwnUnits:
    """Return what the units of a system, as `checked_units` gives them, have among themselves."""
    first, second, fourth = np.zeros((3, len(blocks), a.shape[1]))
    for place, block in enumerate(blocks):
        squared = np.square(a[block])
        first[place], second[place] = a[block].sum(axis=0), squared.sum(axis=0)
        fourth[place] = np.einsum("ij,ij->j", squared, squared)
    squares, sums = _between(a, a, ((first, second), (first, second)), blocks)
    n = len(a) - np.array([[len(block)] for block in blocks])
    variances = (second.sum(axis=0) - second - (first.sum(axis=0) - first) ** 2 / n) ** 2
    itself = _unbiased(n, variances, fourth.sum(axis=0) - fourth, variances).sum(axis=1)
    units = a.shape[1]
    return OwnUnits(squares, (sums - itself) / (units * (units - 1)), first, second)


def population(
    a: Array, b: Array, own: tuple[OwnUnits, OwnUnits], blocks: Sequence[Array], *, seed: int = 0
) -> Population:
    """Return `cka_units` of two systems, as `checked_units` gives them, from what each has of its own."""
    between, sums = _between(a, b, tuple((one.first, one.second) for one in own), blocks)
    squares = (between, own[0].squares, own[1].squares)
    value = _score(squares)
    if not np.isfinite(value):
        return Population(np.nan, np.nan, np.nan, "a system does not vary beyond what samples leave unsure")
    if _share_basis(squares):
        why = "units of the same number resemble each other: the systems share a basis, and are no draws of units"
        return Population(np.nan, np.nan, np.nan, why)
    draw = np.random.default_rng((seed, 5))
    lefts = zip(sums / between.size, own[0].left, own[1].left, strict=True)
    parts = [[_ratio(*left) for left in lefts]]
    for side, size in enumerate(between.shape):
        some = np.array_split(draw.permutation(size), min(BLOCKS, size // 2))
        parts.append([_score(_without(squares, block, side)) for block in some])
    half = QUANTILE * float(np.sqrt(sum(jackknife_variance(np.array(left)) for left in parts)))
    if not np.isfinite(half):
        return Population(np.nan, np.nan, np.nan, WITHOUT)
    low, high = max(value - half, 0.0), value + half
    if low > 1:
        why = f"the interval, {low:.2f} to {high:.2f}, lies above 1: units are no draws from one population"
        return Population(np.nan, np.nan, np.nan, why)
    return Population(value, low, high)


def unit_curve(x: ArrayLike, y: ArrayLike, *, draws: int = 50, seed: int = 0) -> pd.DataFrame:
    """Return the debiased CKA of as many units of each system, drawn at random: how it rises with the units recorded.

    Parameters
    ----------
    x, y : array-like, (samples, units)
        As in `cka_units`.
    draws : int
        Subsets of each size.
    seed : int
        Draws them.

    Returns
    -------
    pandas.DataFrame
        Columns `units` (powers of two from 4, and the smaller system's number), `score` and `sd`, over draws, and
        `limit`, the value of `cka_units` (NaN where it has none).

    Raises
    ------
    DataError
        As in `cka_units`.

    Examples
    --------
    >>> import torch, superpose as sp
    >>> from superpose.sharing import unit_curve
    >>> draw = torch.Generator().manual_seed(0)
    >>> z = torch.randn(2_000, 64, generator=draw)
    >>> a, b = sp.systems.gaussian_projection(32, 64, repeats=(2,), generator=draw)
    >>> unit_curve(z @ a.T, z @ b.T).score.is_monotonic_increasing
    True
    """
    a, b = _paired(x, y)
    blocks = sample_blocks(len(a), None, seed=seed)
    own = own_units(a, blocks), own_units(b, blocks)
    limit = population(a, b, own, blocks, seed=seed).value
    between = _between(a, b, tuple((one.first, one.second) for one in own), blocks)[0]
    first, second = (one.squares for one in own)
    draw = np.random.default_rng((seed, 6))
    most = min(between.shape)
    sizes = sorted({most, *(2**power for power in range(2, most.bit_length()) if 2**power <= most)})
    rows = []
    for size in sizes:
        scores = []
        for _ in range(draws):
            one, other = (np.sort(draw.permutation(count)[:size]) for count in between.shape)
            spread = first[np.ix_(one, one)].sum() * second[np.ix_(other, other)].sum()
            scores.append(between[np.ix_(one, other)].sum() / np.sqrt(spread) if spread > 0 else np.nan)
        rows.append({"units": size, "score": np.nanmean(scores), "sd": np.nanstd(scores), "limit": limit})
    return pd.DataFrame(rows)


def sample_blocks(samples: int, groups: NDArray[np.int64] | None, *, seed: int) -> list[Array]:
    """Return the samples of each block that is left out in turn, whole groups of them."""
    if groups is None:
        of = shuffled_folds(samples, min(BLOCKS, samples), seed=seed)
    else:
        of = group_folds(groups, min(BLOCKS, int(groups.max()) + 1), seed=seed)
    return [np.flatnonzero(of == block) for block in range(int(of.max()) + 1)]


def _between(
    a: Array, b: Array, powers: tuple[tuple[Array, Array], ...], blocks: Sequence[Array]
) -> tuple[Array, Array]:
    """Return the squared covariance of each unit of a with each of b, and their sum without each block of samples.

    `powers` are sums of activity and of its squares over each block, of a and of b. Squared covariances are without
    bias: HSIC of the units' linear kernels (Song et al. 2012).
    """
    product, fourth = np.zeros((2, a.shape[1], b.shape[1]))
    fourths = np.zeros(len(blocks))
    for place, block in enumerate(blocks):
        x, y = _rows(a, b, block)
        one = np.square(x)
        other = one if y is x else np.square(y)
        product += x.T @ y
        fourth += one.T @ other
        fourths[place] = one.sum(axis=1) @ other.sum(axis=1)

    def covariances(n: int, product: Array, gone: Any = np.s_[:0]) -> tuple[Array, list[Array]]:
        # Of the samples but a block's: products about their means, and each unit's own.
        sums = [first.sum(axis=0) - first[gone].sum(axis=0) for first, _ in powers]
        squares = [second.sum(axis=0) - second[gone].sum(axis=0) for _, second in powers]
        return product - np.outer(*sums) / n, [two - one**2 / n for one, two in zip(sums, squares, strict=True)]

    covariance, spread = covariances(len(a), product)
    squares = _unbiased(len(a), covariance**2, fourth, np.outer(*spread))
    sums = np.zeros(len(blocks))
    for place, block in enumerate(blocks):
        n = len(a) - len(block)
        # The products of a block are taken twice: to keep those of all would take twenty times the memory.
        x, y = _rows(a, b, block)
        covariance, spread = covariances(n, product - x.T @ y, np.s_[place : place + 1])
        fourth_left = fourths.sum() - fourths[place]
        sums[place] = _unbiased(n, np.square(covariance).sum(), fourth_left, spread[0].sum() * spread[1].sum())
    return squares, sums


def _rows(a: Array, b: Array, block: Array) -> tuple[Array, Array]:
    """Return rows of both; of one system the same array twice, whose product BLAS takes as symmetric."""
    x = a[block]
    return x, x if b is a else b[block]


def _unbiased(n: Any, square: Any, fourth: Any, variances: Any) -> Any:
    """Return squared covariances without bias from sums over n samples, each about its mean but the fourth powers."""
    return (square - fourth * n / (n - 2) + variances / ((n - 1) * (n - 2))) / (n * (n - 3))


def _paired(x: Any, y: Any) -> tuple[Array, Array]:
    a, b = checked_units(x, "x"), checked_units(y, "y")
    if len(a) != len(b):
        raise DataError(f"x has {len(a)} samples and y {len(b)}; expected the same samples in both.")
    return a, b


def checked_units(x: Any, name: str) -> Array:
    """Return activity about its mean, of mean square 1; raise `DataError` for too few units or samples."""
    activity = as_responses(x, name)
    if activity.ndim != 2 or activity.shape[0] < FEWEST_SAMPLES or activity.shape[1] < FEWEST_UNITS:
        raise DataError(
            f"{name} has shape {activity.shape}; expected (samples, units), "
            f"at least {FEWEST_SAMPLES} and {FEWEST_UNITS}."
        )
    check_moderate(activity, name)
    centred = activity - activity.mean(axis=0, dtype=np.float64)
    return np.asarray(centred / (np.sqrt(np.square(centred).mean()) or 1.0))


def _score(squares: tuple[Array, Array, Array]) -> float:
    between, *own = squares
    return _ratio(between.mean(), *((one.sum() - np.trace(one)) / (len(one) * (len(one) - 1)) for one in own))


def _ratio(between: float, first: float, second: float) -> float:
    return float(between / np.sqrt(first * second)) if min(first, second) > 0 else np.nan


def _without(squares: tuple[Array, Array, Array], block: Array, side: int) -> tuple[Array, Array, Array]:
    own = [squares[1], squares[2]]
    own[side] = np.delete(np.delete(own[side], block, axis=0), block, axis=1)
    return np.delete(squares[0], block, axis=side), own[0], own[1]


def _share_basis(squares: tuple[Array, Array, Array]) -> bool:
    """Return whether units of the same number have larger squared correlations than others."""
    between, *own = squares
    if between.shape[0] != between.shape[1]:
        return False
    alone = [np.sqrt(np.maximum(np.diagonal(one), 1e-12)) for one in own]
    between = between / np.outer(*alone)
    same = np.diagonal(between)
    others = (between.sum() - same.sum()) / (between.size - len(same))
    error = same.std(ddof=1) / np.sqrt(len(same))
    return bool(same.mean() - others > SHARED_BASIS * error)
