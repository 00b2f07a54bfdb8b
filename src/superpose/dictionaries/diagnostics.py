"""How good a dictionary is, and whether two of them found the same latents: numbers to stand beside every score."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from superpose.arrays import as_responses, check_paired, chunks, like_input
from superpose.arrays.labels import check_rows
from superpose.files import DataError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# A dictionary that leaves more of the variance unexplained explains little; one of which a larger share of latents is
# never active, or a hundredth as often as the average one, is too large or under-trained.
LITTLE_EXPLAINED, MANY_DEAD, MANY_RARE = 0.5, 0.2, 0.05


@like_input
def fvu(x: ArrayLike, x_hat: ArrayLike) -> Any:
    """Return the fraction of variance that a reconstruction leaves unexplained, pooled over units.

    Parameters
    ----------
    x : array-like, (…, samples, units)
        Activity.
    x_hat : array-like, (…, samples, units)
        Its reconstruction.

    Returns
    -------
    float or array, (…)
        The sum of squared errors over the sum of squares about each unit's mean: 0 is perfect, 1 is what the means
        alone would leave. NaN where every unit is constant.

    Raises
    ------
    DataError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.dictionaries.diagnostics import fvu
    >>> x = np.arange(6.0).reshape(3, 2)
    >>> float(fvu(x, x)), float(fvu(x, x.mean(0, keepdims=True).repeat(3, 0)))
    (0.0, 1.0)
    """
    check_rows({"x": x, "x_hat": x_hat})
    a, b = as_responses(x, "x"), as_responses(x_hat, "x_hat")
    if a.shape != b.shape:
        raise DataError(f"x has shape {a.shape} and x_hat {b.shape}; expected a reconstruction of x's own shape.")
    centre = unit_means(a)[..., None, :]
    error, total = np.zeros(a.shape[:-2]), np.zeros(a.shape[:-2])
    for (_, rows), (_, rows_hat) in zip(chunks(a), chunks(b, _rows_of(a)), strict=True):
        error = error + np.square(rows.astype(np.float64) - rows_hat).sum((-2, -1))
        total = total + np.square(rows - centre).sum((-2, -1))
    return np.divide(error, total, out=np.full_like(total, np.nan), where=total > 0)[()]


@like_input
def l0(codes: ArrayLike) -> Any:
    """Return the mean number of active latents per sample.

    Parameters
    ----------
    codes : array-like, (…, samples, latents)
        Sparse codes; a latent is active where its value is not zero.

    Returns
    -------
    float or array, (…)

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.dictionaries.diagnostics import l0
    >>> float(l0(np.array([[0.0, 2.0, 1.0], [0.0, 0.0, 3.0]])))
    1.5
    """
    z = as_responses(codes, "codes")
    return sum(np.count_nonzero(rows, axis=(-2, -1)) for _, rows in chunks(z)) / np.float64(z.shape[-2])


@like_input
def dead_share(codes: ArrayLike) -> Any:
    """Return the share of latents that are active in none of the samples.

    Parameters
    ----------
    codes : array-like, (…, samples, latents)
        Sparse codes.

    Returns
    -------
    float or array, (…)
        From 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.dictionaries.diagnostics import dead_share
    >>> float(dead_share(np.array([[0.0, 2.0], [0.0, 1.0]])))
    0.5
    """
    z = as_responses(codes, "codes")
    return 1 - np.mean(_active(z), axis=-1)


@like_input
def mcc(codes: ArrayLike, truth: ArrayLike) -> Any:
    """Return how well codes recover true latents: the mean absolute correlation over the best one-to-one matching.

    Parameters
    ----------
    codes : array-like, (…, samples, latents)
        Codes of a dictionary.
    truth : array-like, (…, samples, true latents)
        True latents of the same samples.

    Returns
    -------
    float or array, (…)
        The mean over true latents; one that is left without a partner, or never varies, counts as 0.

    Raises
    ------
    DataError
        If the numbers of samples differ.

    References
    ----------
    Hyvärinen and Morioka, Unsupervised feature extraction by time-contrastive learning (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.dictionaries.diagnostics import mcc
    >>> truth = np.random.default_rng(0).random((100, 4))
    >>> round(float(mcc(-truth[:, [2, 0, 3, 1]], truth)), 6)
    1.0
    """
    correlations = np.abs(_correlations(codes, truth, "codes", "truth"))
    matched = [c[linear_sum_assignment(-c)].sum() for c in _flat(correlations)]
    return (np.reshape(matched, correlations.shape[:-2]) / correlations.shape[-1])[()]


@like_input
def match_latents(codes_a: ArrayLike, codes_b: ArrayLike) -> Any:
    """Return the one-to-one matching of latents that maximises the sum of their correlations.

    Parameters
    ----------
    codes_a, codes_b : array-like, (…, samples, latents)
        Codes of the same samples.

    Returns
    -------
    partner : integer array, (…, latents of a)
        The latent of b that each latent of a is matched with; -1 for those left over where b has fewer.
    correlation : array, (…, latents of a)
        Their correlation; 0 where either never varies or there is no partner.

    Raises
    ------
    DataError
        If the numbers of samples differ.

    References
    ----------
    Li et al., Convergent learning (2016), for matching by correlation; Crouse (2016) for the assignment.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.dictionaries.diagnostics import match_latents
    >>> z = np.random.default_rng(0).random((100, 4))
    >>> partner, correlation = match_latents(z, z[:, [2, 0, 3, 1]])
    >>> partner, correlation.round(6)
    (array([1, 3, 0, 2]), array([1., 1., 1., 1.]))
    """
    correlations = _correlations(codes_a, codes_b, "codes_a", "codes_b")
    shape = correlations.shape[:-1]
    partner = np.full(shape, -1, dtype=np.int64).reshape(-1, shape[-1])
    score = np.zeros(partner.shape)
    for which, c in enumerate(_flat(correlations)):
        rows, columns = linear_sum_assignment(-c)
        partner[which, rows], score[which, rows] = columns, c[rows, columns]
    return partner.reshape(shape), score.reshape(shape)


@like_input
def same_index_share(codes_a: ArrayLike, codes_b: ArrayLike, *, threshold: float = 0.5) -> Any:
    """Return how often latents that belong together carry the same index in both codes.

    Latents are matched by `match_latents`; of the pairs that correlate above the threshold, this is the share whose
    two indices are equal. It needs no true latents: near 1, one index space binds the systems, as joint training
    intends; independent dictionaries give about one over the number of latents.

    Parameters
    ----------
    codes_a, codes_b : array-like, (…, samples, latents)
        Codes of the same samples.
    threshold : float
        The correlation from which a matched pair counts as the same latent.

    Returns
    -------
    float or array, (…)
        From 0 to 1; NaN where no pair passes the threshold.

    Raises
    ------
    DataError
        If the numbers of samples differ.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.dictionaries.diagnostics import same_index_share
    >>> z = np.random.default_rng(0).random((100, 4))
    >>> float(same_index_share(z, z[:, [0, 1, 3, 2]]))
    0.5
    """
    partner, correlation = match_latents(codes_a, codes_b)
    bound = correlation > threshold
    same = bound & (partner == np.arange(partner.shape[-1]))
    counts = bound.sum(-1)
    return np.divide(same.sum(-1), counts, out=np.full(counts.shape, np.nan), where=counts > 0)[()]


@like_input
def stability(codes_a: ArrayLike, codes_b: ArrayLike, *, threshold: float = 0.5) -> Any:
    """Return the share of live latents that a second dictionary found too (Paulo & Belrose 2025).

    Latents are matched one to one by the correlation of their codes (`match_latents`). Of two dictionaries that
    differ in their seed alone, this is how far training decides what is found; of two systems, it is the rate
    that `overlap` corrects.

    Parameters
    ----------
    codes_a, codes_b : array-like, (…, samples, latents)
        Codes of the same samples.
    threshold : float
        The correlation above which a matched pair counts as the same latent.

    Returns
    -------
    float or array, (…)
        Of the latents of a that are active in any sample, the share with a partner in b; from 0 to 1. NaN where
        none is active. It has a direction where a and b have different numbers of live latents.

    Raises
    ------
    DataError
        If the numbers of samples differ.

    References
    ----------
    Paulo, G. & Belrose, N. (2025). Sparse autoencoders trained on the same data learn different features.
    arXiv:2501.16615.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.dictionaries.diagnostics import stability
    >>> z = np.random.default_rng(0).random((100, 4))
    >>> float(stability(z, z[:, [3, 1, 0]]))
    0.75
    """
    a = as_responses(codes_a, "codes_a")
    _, correlation = match_latents(a, codes_b)
    live = np.broadcast_to(_active(a), correlation.shape)
    counts = live.sum(-1)
    found = (live & (correlation > threshold)).sum(-1)
    return np.divide(found, counts, out=np.full(counts.shape, np.nan), where=counts > 0)[()]


@like_input
def overlap(rate_ab: ArrayLike, rate_aa: ArrayLike, rate_bb: ArrayLike) -> Any:
    """Return the share of latents in common, corrected for those that dictionaries miss (Spearman 1904).

    rate_ab / √(rate_aa rate_bb): the correction of a correlation for attenuation, applied to rates of `stability`.
    A dictionary finds a latent of its system only with some probability; the rate between two systems falls by both
    systems' probabilities, the rate between two seeds of one system by its own squared. The ratio is the number of
    common latents over the geometric mean of the two systems' numbers, if seeds miss latents independently, all
    dictionaries have about as many live latents, and the threshold lets no chance pairs through.

    Parameters
    ----------
    rate_ab : number or array
        The rate between dictionaries of two systems, from 0 to 1.
    rate_aa, rate_bb : number or array
        The rates between two seeds of each system, from 0 to 1.

    Returns
    -------
    float or array
        The estimate, which chance can carry above 1. NaN where a system's own rate is 0.

    Raises
    ------
    DataError
        If a rate is not from 0 to 1.

    References
    ----------
    Spearman, C. (1904). The proof and measurement of association between two things. American Journal of
    Psychology 15, 72-101.

    Examples
    --------
    >>> from superpose.dictionaries.diagnostics import overlap
    >>> round(float(overlap(0.48, 0.64, 0.64)), 6)
    0.75
    """
    ab, aa, bb = _rate("rate_ab", rate_ab), _rate("rate_aa", rate_aa), _rate("rate_bb", rate_bb)
    own = np.sqrt(aa * bb)
    return np.divide(ab, own, out=np.full(np.broadcast_shapes(ab.shape, own.shape), np.nan), where=own > 0)[()]


@like_input
def split_latents(codes: ArrayLike, truth: ArrayLike, *, threshold: float = 0.3) -> Any:
    """Return how many true latents are split over several code units (Bricken et al. 2023; Chanin et al. 2024).

    A code unit stands for the true latent that it correlates with most, if above the threshold. A latent is split
    if two units stand for it that share its samples out: of the samples that hold the latent, they are active
    together in fewer than half of those in which the rarer one is. Two copies of one unit are no split.

    Parameters
    ----------
    codes : array-like, (…, samples, code units)
        Codes of a dictionary. Order and positive scale of the units do not matter.
    truth : array-like, (…, samples, true latents)
        True latents of the same samples; present where not zero.
    threshold : float
        A unit that is active in a share s of a latent's samples, and never else, correlates about √s with it: the
        default finds parts down to a tenth.

    Returns
    -------
    int or integer array, (…)

    Raises
    ------
    DataError
        If the numbers of samples differ.

    References
    ----------
    Bricken, T. et al. (2023). Towards monosemanticity: decomposing language models with dictionary learning.
    Transformer Circuits Thread.

    Chanin, D. et al. (2024). A is for absorption: studying feature splitting and absorption in sparse autoencoders.
    arXiv:2409.14507.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.dictionaries.diagnostics import split_latents
    >>> z = np.random.default_rng(0).random((100, 3))
    >>> half = np.arange(100) < 50
    >>> parts = np.where(half, z[:, 0], 0), np.where(half, 0, z[:, 0])
    >>> int(split_latents(z, z)), int(split_latents(np.column_stack([*parts, z[:, 1:]]), z))
    (0, 1)
    """
    return _counted(_split, codes, truth, threshold)


@like_input
def absorbed_latents(codes: ArrayLike, truth: ArrayLike, *, threshold: float = 0.3, share: float = 0.05) -> Any:
    """Return how many true latents are absorbed by code units of others (Chanin et al. 2024).

    A latent that often comes with another ("begins with S" with "snake") may be left out of the code of samples that
    hold both: the other's unit then carries both, and the latent's own unit has holes. A code unit stands for the
    true latent that it correlates with most, if above the threshold; a latent's own unit is that of largest
    correlation among those that stand for it. The latent is absorbed if there is a unit that stands for another
    latent, and stands in for this one:

    1. in at least `share` of the latent's samples, its own unit is silent and the other active;
    2. where the other unit is active and the own one silent, the latent is mostly present;
    3. in the latent's samples, the own unit is active less than half as often beside the other as without it.

    Chanin et al. decide by a probe's direction and the effect of ablations; here the true latents are known. A
    latent for which no unit stands is missed, not absorbed.

    Parameters
    ----------
    codes, truth, threshold
        As in `split_latents`.
    share : float
        The least share of a latent's samples in which another unit stands in.

    Returns
    -------
    int or integer array, (…)

    Raises
    ------
    DataError
        If the numbers of samples differ.

    References
    ----------
    Chanin, D. et al. (2024). A is for absorption: studying feature splitting and absorption in sparse autoencoders.
    arXiv:2409.14507.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.dictionaries.diagnostics import absorbed_latents
    >>> sound, snake = np.arange(100) < 40, np.arange(100) < 10
    >>> truth = np.column_stack([sound, snake]).astype(float)
    >>> codes = np.column_stack([sound & ~snake, snake]).astype(float)
    >>> int(absorbed_latents(truth, truth)), int(absorbed_latents(codes, truth))
    (0, 1)
    """
    return _counted(partial(_absorbed, share=share), codes, truth, threshold)


def unit_means(x: NDArray[Any]) -> Floats:
    """Return the mean of each unit in float64, (…, units); that of a constant unit is its value to the last bit."""
    first = x[..., :1, :].astype(np.float64)
    total = sum((rows - first).sum(-2) for _, rows in chunks(x))
    return first[..., 0, :] + total / x.shape[-2]


def _counted(count: Callable[[Flags, Flags, Floats], Any], codes: Any, truth: Any, threshold: float) -> Any:
    """Return a count a repeat, of what is active in codes and truth and of how far each unit stands for each latent.

    That is their correlation (units, latents), where it is the unit's largest and above the threshold; else 0.
    """
    check_rows({"codes": codes, "truth": truth})
    c, t = as_responses(codes, "codes"), as_responses(truth, "truth")
    correlations = _correlations(c, t, "codes", "truth")
    largest = np.arange(correlations.shape[-1]) == correlations.argmax(-1)[..., None]
    stands = np.where(largest & (correlations > threshold), correlations, 0.0)
    repeats = stands.shape[:-2]
    c, t = (np.broadcast_to(x, (*repeats, *x.shape[-2:])) for x in (c, t))
    return np.reshape([count(c[r] != 0, t[r] != 0, stands[r]) for r in np.ndindex(repeats)], repeats)[()]


def _split(fires: Flags, present: Flags, stands: Floats) -> int:
    latents = 0
    for latent in np.flatnonzero((stands > 0).sum(0) > 1):
        parts = fires[present[:, latent]][:, stands[:, latent] > 0].astype(np.float64)
        together = parts.T @ parts
        alone = together.diagonal()
        latents += bool((2 * together < np.minimum.outer(alone, alone)).any())
    return latents


def _absorbed(fires: Flags, present: Flags, stands: Floats, share: float) -> Any:
    heard = fires[:, stands.argmax(0)]
    # Counts of samples, latents × units: exact in float32 up to 16 million.
    held, held_silent, silent, active = (x.astype(np.float32) for x in (present, present & ~heard, ~heard, fires))
    beside, missed, quiet = held.T @ active, held_silent.T @ active, silent.T @ active
    samples = held.sum(0)[:, None]
    own_beside, own_without = beside - missed, (held - held_silent).sum(0)[:, None] - (beside - missed)
    stands_in = (
        (missed >= np.maximum(1, share * samples))
        & (2 * missed > quiet)
        & (2 * own_beside * (samples - beside) < own_without * beside)
    )
    own = stands > 0
    another = np.any(own, axis=1) & ~own.T
    found = np.any(another & stands_in, axis=1) & np.any(own, axis=0)
    return np.count_nonzero(found)


def _rate(name: str, value: ArrayLike) -> Floats:
    rate = np.asarray(value, dtype=np.float64)
    if np.any((rate < 0) | (rate > 1)):
        raise DataError(
            f"{name} runs from {np.nanmin(rate):g} to {np.nanmax(rate):g}; expected rates from 0 to 1, as `stability` "
            "returns them."
        )
    return rate


def _correlations(x: ArrayLike, y: ArrayLike, name_x: str, name_y: str) -> Floats:
    """Return the correlation of every column of x with every column of y, (…, columns x, columns y).

    Chunks are centred before they are multiplied, in their own precision, and summed in float64. A column that
    never varies correlates 0 with all.
    """
    check_rows({name_x: x, name_y: y})
    a, b = as_responses(x, name_x), as_responses(y, name_y)
    check_paired({name_x: a, name_y: b})
    mean_a, mean_b = (unit_means(z)[..., None, :] for z in (a, b))
    rows = min(_rows_of(a), _rows_of(b))
    cross = np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-1], b.shape[-1]))
    square_a, square_b = np.zeros(_units(a)), np.zeros(_units(b))
    for (_, part_a), (_, part_b) in zip(chunks(a, rows), chunks(b, rows), strict=True):
        part_a, part_b = _about(part_a, mean_a), _about(part_b, mean_b)
        cross += np.swapaxes(part_a, -1, -2) @ part_b
        square_a += np.square(part_a, dtype=np.float64).sum(-2)
        square_b += np.square(part_b, dtype=np.float64).sum(-2)
    norms = np.sqrt(square_a)[..., :, None] * np.sqrt(square_b)[..., None, :]
    return np.divide(cross, norms, out=np.zeros_like(cross), where=norms > 0)


def _about(rows: NDArray[Any], mean: Floats) -> NDArray[Any]:
    return (rows - mean).astype(np.promote_types(rows.dtype, np.float32), copy=False)


def _active(z: NDArray[Any]) -> NDArray[np.bool_]:
    active = np.zeros(_units(z), dtype=bool)
    for _, rows in chunks(z):
        active |= (rows != 0).any(-2)
    return active


def _units(x: NDArray[Any]) -> tuple[int, ...]:
    return (*x.shape[:-2], x.shape[-1])


def _rows_of(x: NDArray[Any]) -> int:
    return int(next(iter(chunks(x)))[1].shape[-2])


def _flat(matrices: Floats) -> Floats:
    return matrices.reshape(-1, *matrices.shape[-2:])
