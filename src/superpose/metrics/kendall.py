"""Representational similarity by ranks: Kendall's tau-a over pairs of entries of two sample-by-sample matrices."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau

from superpose.arrays import choose
from superpose.metrics.about import About
from superpose.metrics.concordance import concordance
from superpose.metrics.pairwise import PairwiseMetric
from superpose.metrics.rsa import CENTRED_RDMS, RDMS, pair_pieces

Array = NDArray[Any]

MATRICES = {"dot": CENTRED_RDMS["dot"], "euclidean": RDMS["euclidean"], "correlation": RDMS["correlation"]}


def rsa_kendall(x: ArrayLike, y: ArrayLike, *, rdm: str = "dot") -> Any:
    """Representational similarity of two systems by Kendall's tau-a: concordant less discordant pairs of entries.

    Over all pairs of entries i < j of the two matrices, ties counted as neither, so that a matrix with many equal
    entries cannot gain from them. Above 8 million entries (about 4,000 samples) over that many drawn at random, with a
    standard error below 5e-4.

    Parameters
    ----------
    x : array or tensor, (…, samples, units_x)
        Responses of one system.
    y : array or tensor, (…, samples, units_y)
        Responses of the other to the same samples; at least 3.
    rdm : {"dot", "euclidean", "correlation"}
        Inner products of centred responses, squared Euclidean distances, or one minus the correlation over units.

    Returns
    -------
    array or tensor, (…)
        In [-1, 1]; with tied entries also of a system with itself below 1. NaN where all entries of a matrix are equal.

    Raises
    ------
    DataError
        For unusable responses, an unknown matrix, or a sample whose units are all equal under "correlation".

    References
    ----------
    Nili et al., A Toolbox for Representational Similarity Analysis, PLoS Comput. Biol. 10, 2014.

    Examples
    --------
    >>> import numpy as np, superpose as sp
    >>> x = np.random.default_rng(0).normal(size=(30, 20))
    >>> round(float(sp.metrics.rsa_kendall(x, 3 * x[:, ::-1] + 1)), 6)
    1.0
    """
    matrix = choose(MATRICES, "rdm", rdm)
    return replace(RSA_KENDALL, rows=matrix.entry_rows, score=partial(_between, ranked=matrix.ranked))(x, y)


def _between(x: Array, y: Array, ranked: Any) -> float:
    pieces = pair_pieces(len(x), max(x.shape[1], y.shape[1]))
    return tau_a(*(ranked(z, pieces) for z in (x, y)))


def _influence(x: Array, y: Array) -> Array:
    """Return each sample's influence on tau-a over inner products of centred responses, (samples,).

    As sample d gains weight so do the entries that it is in, and the mean that is subtracted moves towards it: every
    entry i, j loses (K_id + K_jd)/samples.
    """
    samples = len(x)
    pieces = pair_pieces(samples, max(x.shape[1], y.shape[1]))
    a, b = (MATRICES["dot"].ranked(z, pieces) for z in (x, y))
    found = concordance(a, b)
    count, shares, slope_x, slope_y = np.zeros((4, samples))
    start = 0
    for i, j in pieces:
        cells = found.cells[start : start + len(i)]
        start += len(i)
        for ends in (i, j):
            count += np.bincount(ends, minlength=samples)
            for total, values in ((shares, found.shares), (slope_x, found.slope_a), (slope_y, found.slope_b)):
                total += np.bincount(ends, values[cells], samples)
    # Sampled entries may leave a sample out.
    influence = 4 * shares / np.maximum(count, 1)
    for z, slope in ((x, slope_x), (y, slope_y)):
        influence -= 2 / len(a) * (z @ (z.T @ slope))
    return influence - influence.mean()


def tau_a(a: Array, b: Array) -> float:
    """Return Kendall's tau-a of two lists of numbers, in O(count · log count); NaN where one is constant."""
    # tau-b divides by the pairs that are not tied instead of by all.
    pairs = len(a) * (len(a) - 1) / 2
    untied = [1 - (counts * (counts - 1.0)).sum() / 2 / pairs for counts in (_counts(a), _counts(b))]
    return float(kendalltau(a, b, method="asymptotic").statistic * np.sqrt(untied[0] * untied[1]))


def _counts(a: Array) -> NDArray[np.int64]:
    return np.unique(a, return_counts=True)[1]


RSA_KENDALL = PairwiseMetric(
    name="rsa_kendall",
    about=About(
        "RSA, Kendall's τ", "inner products of samples, by the order of pairs", "N² (p + q + log N)", "Nili et al. 2014"
    ),
    invariances=frozenset({"rotation", "scale", "permutation", "translation"}),
    minimum_samples=3,
    score=partial(_between, ranked=MATRICES["dot"].ranked),
    why="all entries of a system's matrix are equal",
    rows=MATRICES["dot"].entry_rows,
    influence=_influence,
)
