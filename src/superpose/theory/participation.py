"""How many dimensions latents spread over, and how far random projections lower their alignment for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from superpose.arrays import like_input
from superpose.files import DataError
from superpose.theory.algebra import above, as_covariance, at_least, norm2, trace


@like_input
def participation_ratio(covariance: ArrayLike, sigma: ArrayLike = 0.0) -> Any:
    """Return the number of dimensions that a covariance spreads over: (tr S)² / ‖S‖².

    n for n white latents, 1 for a single direction. Independent noise of variance σ² in every unit raises it
    to (tr S + σ²)² / ‖S‖², as far as the expected similarity of random projections goes: it adds σ² to what
    each unit varies, and nothing to what units share.

    Parameters
    ----------
    covariance : array-like, (…, latents, latents)
    sigma : float or array
        Standard deviation of the noise of a unit.

    Returns
    -------
    float or array, (…)

    Raises
    ------
    DataError
        If `covariance` is not square and symmetric, not finite, or zero; or `sigma` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose import theory
    >>> float(theory.participation_ratio(np.eye(5)))
    5.0
    """
    s = as_covariance(covariance, None)
    return (trace(s) + np.square(at_least("sigma", sigma, 0))) ** 2 / norm2(s)


@like_input
def deflation(units_a: ArrayLike, units_b: ArrayLike, participation_a: ArrayLike, participation_b: ArrayLike) -> Any:
    """Return the factor by which random projections lower the alignment of the latents they mix.

    √(m_a m_b / ((m_a + 1 + PR_a)(m_b + 1 + PR_b))), with PR the participation ratios of the latents of each
    system: the ratio of the expectations of Section 3.1, for independent Gaussian projections of latents of
    any covariance. Raw alignment is expected to be this times the CKA of the latents themselves. It is low by
    up to .04 for participation ratios near 5, where the ratio of expectations is a rougher guide.

    Parameters
    ----------
    units_a, units_b : number or array
    participation_a, participation_b : number or array
        `participation_ratio` of the latents.

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        If a unit count is under 1 or a participation ratio is not positive.

    Examples
    --------
    >>> from superpose import theory
    >>> round(float(theory.deflation(8, 8, 64, 64)), 4)
    0.1096
    """
    m_a, m_b = at_least("units_a", units_a, 1), at_least("units_b", units_b, 1)
    p_a, p_b = above("participation_a", participation_a, 0), above("participation_b", participation_b, 0)
    return np.sqrt(m_a / (m_a + 1 + p_a) * m_b / (m_b + 1 + p_b))


@like_input
def latent_cka(
    raw: ArrayLike,
    units_a: ArrayLike,
    units_b: ArrayLike,
    participation_a: ArrayLike,
    participation_b: ArrayLike,
) -> Any:
    """Return the CKA of latents that a raw CKA points to if projections are random: raw / deflation.

    The expectation of Section 3.1 inverted. It assumes independent Gaussian projections; for trained networks
    it is a reference line and not a correction. Values over 1 say that the assumption fails, or that the
    estimate is noisy.

    Parameters
    ----------
    raw : number or array
        Debiased CKA, or RSA, of the activity.
    units_a, units_b : number or array
    participation_a, participation_b : number or array
        Participation ratios of the latents, not of the activity: `participation_ratio` of their covariance,
        or `latent_participation` of the activity.

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        As in `deflation`.

    Examples
    --------
    >>> from superpose import theory
    >>> raw = theory.expected_cka(16, 24, 64, overlap=0.5)
    >>> round(float(theory.latent_cka(raw, 16, 24, 64, 64)), 6)
    0.5
    """
    return np.asarray(raw, dtype=np.float64) / deflation(units_a, units_b, participation_a, participation_b)


@like_input
def latent_participation(units: ArrayLike, activity_participation: ArrayLike) -> Any:
    """Return the participation ratio of latents from that of their activity under a random projection.

    PR = ((m + 1) PR_y − 2) / (m − PR_y), from E ‖C‖² = m ‖S‖² (m + 1 + PR) and E (tr C)² = (m tr S)² + 2m ‖S‖²
    for a Gaussian projection (Section 3.1). Where m is far below PR, activity fills all m dimensions and says
    nothing about how many latents there are: that is refused. Below about 32 units the ratio of expectations is rough:
    for latents of few effective dimensions PR comes out too high.

    Parameters
    ----------
    units : number or array
        Units m of the system.
    activity_participation : number or array
        Participation ratio PR_y of the activity's covariance, estimated without bias.

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        If a value is under 1, or m / PR_y − 1 is under 0.05.

    Examples
    --------
    >>> from superpose import theory
    >>> round(float(theory.latent_participation(16, (16 * 64 + 2) / 81)), 6)
    64.0
    """
    m = at_least("units", units, 1)
    ratio = at_least("activity_participation", activity_participation, 1)
    room = m / ratio - 1
    if np.any(room < 0.05):
        raise DataError(
            f"units / activity_participation - 1 is {np.min(room):.3g}; expected at least 0.05. The "
            "activity fills its units, so it does not tell how many latents there are: record more units, or give the "
            "participation ratio of the latents."
        )
    return (m + 1 - 2 / ratio) / room
