"""How well conditioned a dictionary is for sparse recovery."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import like_input
from superpose.dictionaries.coding.problem import CHUNK, ROUNDING, as_dictionary, check_within, normalised
from superpose.files import DataError
from superpose.theory.algebra import at_least

Array = NDArray[Any]


@like_input
def coherence(dictionary: ArrayLike) -> Any:
    """Return the mutual coherence: the largest |cosine| between two columns (Donoho & Elad 2003).

    Parameters
    ----------
    dictionary : array-like, (…, units, latents)
        One column per latent, of any length; leading axes are repeats. A zero column counts as orthogonal to all.

    Returns
    -------
    float or array, (…)
        From 0, for orthogonal columns or a single one, to 1, for two that are parallel.

    Raises
    ------
    DataError
        If the dictionary is not a matrix of finite numbers, or empty.

    References
    ----------
    Donoho, D. L. & Elad, M. (2003). Optimally sparse representation in general (nonorthogonal) dictionaries via
    ℓ1 minimization. PNAS 100, 2197-2202.

    Examples
    --------
    >>> from superpose.dictionaries.coding import coherence
    >>> float(coherence([[1.0, 0.0, 3.0], [0.0, 1.0, 4.0]]))
    0.8
    """
    columns = as_dictionary(dictionary)
    repeats = columns.shape[:-2]
    return np.array([_coherence(columns[repeat]) for repeat in np.ndindex(repeats)]).reshape(repeats)[()]


@like_input
def welch_bound(units: ArrayLike, latents: ArrayLike) -> Any:
    """Return the least coherence that any dictionary of this size can have (Welch 1974).

    √((n − m) / (m (n − 1))) for n latents in m units; 0 where the latents are not more than the units. Not every
    size has a dictionary that reaches it.

    Parameters
    ----------
    units, latents : number or array

    Returns
    -------
    float or array

    Raises
    ------
    DataError
        If a count is under 1.

    References
    ----------
    Welch, L. R. (1974). Lower bounds on the maximum cross correlation of signals. IEEE Transactions on Information
    Theory 20, 397-399.

    Examples
    --------
    >>> from superpose.dictionaries.coding import welch_bound
    >>> float(welch_bound(2, 3)), float(welch_bound(3, 3))
    (0.5, 0.0)
    """
    m, n = at_least("units", units, 1), at_least("latents", latents, 1)
    return np.sqrt(np.maximum(n - m, 0) / (m * np.maximum(n - 1, 1)))


@like_input
def coherence_guarantee(coherence: ArrayLike) -> Any:
    """Return how many active latents are sure to be recovered: the largest k < (1 + 1/μ) / 2 (Tropp 2004).

    With so few, orthogonal matching pursuit (`omp`) and basis pursuit recover every code from noiseless activity.
    The condition is sufficient and far from necessary: random dictionaries recover most codes of many more.

    Parameters
    ----------
    coherence : number or array
        μ, from 0 to 1.

    Returns
    -------
    float or array
        A whole number; 0 for parallel columns, infinity for orthogonal ones. A μ that lies on a bound to within
        rounding gets the smaller number.

    Raises
    ------
    DataError
        If μ is not from 0 to 1.

    References
    ----------
    Tropp, J. A. (2004). Greed is good: algorithmic results for sparse approximation. IEEE Transactions on
    Information Theory 50, 2231-2242.

    Donoho, D. L. & Elad, M. (2003). Optimally sparse representation in general (nonorthogonal) dictionaries via
    ℓ1 minimization. PNAS 100, 2197-2202.

    Examples
    --------
    >>> from superpose.dictionaries.coding import coherence_guarantee
    >>> coherence_guarantee([0.0, 0.125, 0.5, 1.0])
    array([inf,  4.,  1.,  0.])
    """
    mu = np.asarray(coherence, dtype=np.float64)
    if not np.all((mu >= 0) & (mu <= 1)):
        raise DataError(f"coherence runs from {mu.min():g} to {mu.max():g}; expected it between 0 and 1.")
    with np.errstate(divide="ignore"):
        bound = (1 + 1 / mu) / 2
    return np.ceil(bound * (1 - ROUNDING * np.finfo(np.float64).eps)) - 1


@like_input
def restricted_isometry(
    dictionary: ArrayLike, active: int, *, draws: int = 1000, generator: torch.Generator | None = None
) -> Any:
    """Return a lower estimate of the restricted isometry constant δ_k of Section 2.1, from random supports.

    δ_k is the least δ with (1 − δ)‖z‖² ≤ ‖Az‖² ≤ (1 + δ)‖z‖² for every z of k non-zero latents: the largest
    distance of σ² from 1 over the singular values σ of all sub-matrices of k columns. Finding it is NP-hard (Tillmann &
    Pfetsch 2014). This is the largest over `draws` random supports only, so δ_k is this or more: a large value
    shows that a dictionary is badly conditioned, a small value does not prove that it is well conditioned.

    The dictionary is scaled as a whole to a mean squared column norm of 1, as Gaussian entries of variance
    1/units have in expectation; its scale does not matter.

    Parameters
    ----------
    dictionary : array-like, (…, units, latents)
        Leading axes are repeats.
    active : int
        Columns k of a support; from 1 to `latents`. With more than `units`, the result is 1 or more.
    draws : int
        Random supports a repeat. More draws extend fewer, so that the estimate can only rise.
    generator : torch.Generator, optional
        Advanced by one integer; repeat r draws from that integer and r alone, so that more repeats extend
        fewer. None draws fresh entropy.

    Returns
    -------
    float or array, (…)

    Raises
    ------
    DataError
        If the dictionary is not a matrix of finite numbers, or is zero; or a count is out of its range.

    References
    ----------
    Tillmann, A. M. & Pfetsch, M. E. (2014). The computational complexity of the restricted isometry property, the
    nullspace property, and related concepts in compressed sensing. IEEE Transactions on Information Theory 60,
    1248-1259.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.dictionaries.coding import restricted_isometry
    >>> round(float(restricted_isometry([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]], 2, draws=50)), 6)
    0.8
    >>> float(restricted_isometry(2 * np.eye(8), 3))
    0.0
    """
    columns = as_dictionary(dictionary).astype(np.float64)
    check_within("active", active, columns.shape[-1])
    check_within("draws", draws)
    if not columns.any(axis=(-2, -1)).all():
        raise DataError("dictionary is zero; expected columns that are not all zero.")
    root = _root(generator)
    repeats = columns.shape[:-2]
    found = [
        _isometry(columns[repeat], active, draws, np.random.default_rng((root, r)))
        for r, repeat in enumerate(np.ndindex(repeats))
    ]
    return np.array(found).reshape(repeats)[()]


def _coherence(dictionary: Array) -> float:
    atoms, _ = normalised(dictionary.T.astype(np.float64))
    largest = 0.0
    step = max(1, CHUNK // len(atoms))
    for start in range(0, len(atoms), step):
        cosines = np.abs(atoms[start : start + step] @ atoms[start:].T)
        np.fill_diagonal(cosines, 0.0)
        largest = max(largest, float(cosines.max()))
    return min(largest, 1.0)


def _isometry(dictionary: Array, active: int, draws: int, stream: np.random.Generator) -> float:
    units, latents = dictionary.shape
    columns = dictionary.T / np.abs(dictionary).max()
    columns *= np.sqrt(latents) / np.linalg.norm(columns)
    largest = 0.0
    step = max(1, CHUNK // (latents + active * (units + active)))
    for start in range(0, draws, step):
        keys = stream.random((min(step, draws - start), latents))
        chosen = columns[np.argpartition(keys, active - 1, axis=-1)[:, :active]]
        squares = np.linalg.eigvalsh(chosen @ np.swapaxes(chosen, -1, -2))
        largest = max(largest, float(np.abs(squares - 1).max()))
    return largest


def _root(generator: torch.Generator | None) -> int:
    if generator is None:
        return torch.Generator().seed()
    if not isinstance(generator, torch.Generator):
        raise DataError(
            f"generator is {generator!r}; expected a torch.Generator, as torch.Generator().manual_seed(0), "
            "or None for fresh entropy."
        )
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))
