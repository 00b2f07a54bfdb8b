"""Sparse recovery with a given dictionary, and how well conditioned the dictionary is for it (Section 2.1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from superpose.arrays import as_responses, check_finite, chunks, like_input
from superpose.files import DataError
from superpose.theory.algebra import at_least

Array = NDArray[Any]
Rule = Callable[[Array], Array]

# What remains of a unit vector after a projection, in rounding errors, below which it is taken as nothing.
ROUNDING = 64

# Squared distance of a unit vector from the span of others below which normal equations lose too many digits.
NEAR = 1e-6

# Rounds in which nearly all rows of a non-negative fit settle; the few that do not are then solved one by one.
EXCHANGES = 20

# Values held at once by a step that works through samples, supports or columns: 32 MiB in float64.
CHUNK = 2**22


@like_input
def coherence(dictionary: ArrayLike) -> Any:
    """Return the mutual coherence: the largest |cosine| between two columns (Donoho & Elad 2003).

    Parameters
    ----------
    dictionary : array-like, (…, units, latents)
        One column a latent, of any length; leading axes are repeats. A zero column counts as orthogonal to all.

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
    >>> from superpose.coding import coherence
    >>> float(coherence([[1.0, 0.0, 3.0], [0.0, 1.0, 4.0]]))
    0.8
    """
    columns = _dictionary(dictionary)
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
    >>> from superpose.coding import welch_bound
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
    >>> from superpose.coding import coherence_guarantee
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
    >>> from superpose.coding import restricted_isometry
    >>> round(float(restricted_isometry([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]], 2, draws=50)), 6)
    0.8
    >>> float(restricted_isometry(2 * np.eye(8), 3))
    0.0
    """
    columns = _dictionary(dictionary).astype(np.float64)
    _within("active", active, columns.shape[-1])
    _within("draws", draws)
    if not columns.any(axis=(-2, -1)).all():
        raise DataError("dictionary is zero; expected columns that are not all zero.")
    root = _root(generator)
    repeats = columns.shape[:-2]
    found = [
        _isometry(columns[repeat], active, draws, np.random.default_rng((root, r)))
        for r, repeat in enumerate(np.ndindex(repeats))
    ]
    return np.array(found).reshape(repeats)[()]


@like_input
def omp(y: ArrayLike, dictionary: ArrayLike, active: int) -> Any:
    """Return sparse codes by orthogonal matching pursuit (Pati, Rezaiifar & Krishnaprasad 1993).

    Each step adds the column of largest |cosine| with what is left of the sample, and refits all columns chosen so
    far by least squares. This is Batch-OMP (Rubinstein, Zibulevsky & Elad 2008): correlations are updated from
    the Gram matrix (latents × latents, held in memory) and a Cholesky factor that grows by a row a step, for
    many samples at a time.

    A sample that is explained to within rounding gets no further columns. Columns that are zero, or to within
    rounding combinations of those chosen, are not chosen.

    Parameters
    ----------
    y : array-like, (…, samples, units)
        Activity, taken as it is: no mean is removed.
    dictionary : array-like, (…, units, latents)
        Columns of any length; leading axes are repeats and broadcast against those of `y`.
    active : int
        Columns a sample, at most; from 1 to the smaller of `units` and `latents`.

    Returns
    -------
    array or tensor, (…, samples, latents)
        float32 if neither input is wider, else float64.

    Raises
    ------
    DataError
        If the inputs are not finite numbers of shapes that fit, or `active` is out of its range.

    References
    ----------
    Rubinstein, R., Zibulevsky, M. & Elad, M. (2008). Efficient implementation of the K-SVD algorithm using batch
    orthogonal matching pursuit. Technical report CS-2008-08, Technion.

    Pati, Y. C., Rezaiifar, R. & Krishnaprasad, P. S. (1993). Orthogonal matching pursuit: recursive function
    approximation with applications to wavelet decomposition. Asilomar Conference on Signals, Systems and
    Computers, 40-44.

    Examples
    --------
    >>> from superpose.coding import omp
    >>> dictionary = [[1.0, 0.0, 2.0], [0.0, 1.0, 2.0]]
    >>> omp([[3.0, 0.0], [4.0, 5.0]], dictionary, 1)
    array([[3.  , 0.  , 0.  ],
           [0.  , 0.  , 2.25]])
    """
    responses, columns = _problem(y, dictionary)
    _within("active", active, min(columns.shape[-2:]))
    return _encode(responses, columns, active, lambda atoms: partial(_pursue, atoms @ atoms.T, active))


@like_input
def nonnegative_omp(y: ArrayLike, dictionary: ArrayLike, active: int) -> Any:
    """Return sparse codes of values ≥ 0 by orthogonal matching pursuit (Bruckstein, Elad & Zibulevsky 2008).

    As `omp`, but each step adds the column of largest positive cosine with what is left of the sample, and refits
    the columns chosen so far by non-negative least squares (`refit`). Latents that are amounts have no negative
    values; `omp` does not know that. A column that a later refit sets to 0 stays chosen, so that a sample may end
    with fewer than `active` values. The correlations are computed anew at each step, and no Gram matrix is held.

    Parameters
    ----------
    y, dictionary, active
        As in `omp`.

    Returns
    -------
    array or tensor, (…, samples, latents)
        As in `omp`.

    Raises
    ------
    DataError
        As in `omp`.

    References
    ----------
    Bruckstein, A. M., Elad, M. & Zibulevsky, M. (2008). On the uniqueness of nonnegative sparse solutions to
    underdetermined systems of equations. IEEE Transactions on Information Theory 54, 4813-4820.

    Nguyen, T. T., Idier, J., Soussen, C. & Djermoune, E.-H. (2019). Non-negative orthogonal greedy algorithms. IEEE
    Transactions on Signal Processing 67, 5643-5658.

    Examples
    --------
    >>> from superpose.coding import nonnegative_omp, omp
    >>> y, dictionary = [[-3.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]
    >>> omp(y, dictionary, 1), nonnegative_omp(y, dictionary, 1)
    (array([[-3.,  0.]]), array([[0., 1.]]))
    """
    responses, columns = _problem(y, dictionary)
    _within("active", active, min(columns.shape[-2:]))
    repeats = np.broadcast_shapes(responses.shape[:-2], columns.shape[:-2])
    responses, columns = _spread(responses, repeats), _spread(columns, repeats)
    codes = np.zeros((*responses.shape[:-1], columns.shape[-1]), dtype=responses.dtype)
    rows = max(1, CHUNK // (codes.shape[-1] + active * (responses.shape[-1] + active)))
    for repeat in np.ndindex(repeats):
        atoms, lengths = _normalised(columns[repeat].T.astype(np.float64))
        for start, part in chunks(responses[repeat], rows):
            directions, sizes = _normalised(part.astype(np.float64))
            support, values = _pursue_amounts(atoms, active, directions)
            np.put_along_axis(
                codes[repeat][start : start + rows], support, values * sizes / lengths[support, 0], axis=-1
            )
    return codes


@like_input
def refit(y: ArrayLike, dictionary: ArrayLike, codes: ArrayLike) -> Any:
    """Return codes with their active values estimated anew by non-negative least squares (Lawson & Hanson 1974).

    A sparse encoder finds which latents a sample holds and, less well, how much of each. Here every sample keeps its
    support, where its code is not 0, and gets the values ≥ 0 on it that bring code and dictionary closest to
    the sample. Signs and sizes of the codes do not matter. A value may become 0.

    Rows are solved together, by block pivoting (Portugal, Júdice & Vicente 1994) in float64 on the Gram blocks of
    their supports. Rows of nearly dependent columns, and the few that do not settle, are solved one by one. Where
    columns of a support are dependent the values need not be unique; the fit is.

    Parameters
    ----------
    y : array-like, (…, samples, units)
        Activity, taken as it is: no mean is removed. For codes of a `SparseAutoencoder`, subtract what it decodes
        from codes of 0.
    dictionary : array-like, (…, units, latents)
        Columns of any length.
    codes : array-like, (…, samples, latents)
        Their non-zero entries are the supports, of any sizes. Leading axes of all three are repeats and broadcast.

    Returns
    -------
    array or tensor, (…, samples, latents)
        float32 if neither y nor the dictionary is wider, else float64.

    Raises
    ------
    DataError
        If the inputs are not finite numbers of shapes that fit.

    References
    ----------
    Lawson, C. L. & Hanson, R. J. (1974). Solving Least Squares Problems. Prentice-Hall.

    Portugal, L. F., Júdice, J. J. & Vicente, L. N. (1994). A comparison of block pivoting and interior-point
    algorithms for linear least squares problems with nonnegative variables. Mathematics of Computation 63, 625-643.

    Examples
    --------
    >>> from superpose.coding import refit
    >>> dictionary = [[1.0, 0.0, 2.0], [0.0, 1.0, 2.0]]
    >>> refit([[3.0, 0.0], [4.0, 5.0]], dictionary, [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    array([[3., 0., 0.],
           [0., 1., 2.]])
    """
    responses, columns = _problem(y, dictionary)
    given = _given(codes, responses, columns)
    repeats = np.broadcast_shapes(responses.shape[:-2], columns.shape[:-2], given.shape[:-2])
    responses, columns, given = (_spread(x, repeats) for x in (responses, columns, given))
    fitted = np.zeros(given.shape, dtype=responses.dtype)
    units, latents = columns.shape[-2:]
    for repeat in np.ndindex(repeats):
        atoms, lengths = _normalised(columns[repeat].T.astype(np.float64))
        widest = max(1, *(int(np.count_nonzero(part, axis=-1).max()) for _, part in chunks(given[repeat])))
        rows = max(1, CHUNK // (latents + widest * (units + widest)))
        for start, part in chunks(responses[repeat], rows):
            active = given[repeat][start : start + rows] != 0
            support = np.argpartition(~active, widest - 1, axis=-1)[:, :widest]
            used = np.take_along_axis(active, support, axis=-1)
            directions, sizes = _normalised(part.astype(np.float64))
            values = _amounts(atoms[support], used, directions) * sizes / lengths[support, 0]
            np.put_along_axis(fitted[repeat][start : start + rows], support, values, axis=-1)
    return fitted


@like_input
def matched_filter(y: ArrayLike, dictionary: ArrayLike, active: int) -> Any:
    """Return codes by thresholding the projection on each column alone (Schnass & Vandergheynst 2007).

    ⟨y, d⟩ / ‖d‖² for the `active` columns d of largest cosine with y, of either sign; zero for the others. Unlike
    `omp`, it takes no account of how columns overlap.

    Parameters
    ----------
    y, dictionary
        As in `omp`.
    active : int
        Columns a sample; from 1 to `latents`.

    Returns
    -------
    array or tensor, (…, samples, latents)
        As in `omp`.

    Raises
    ------
    DataError
        As in `omp`.

    References
    ----------
    Schnass, K. & Vandergheynst, P. (2007). Average performance analysis for thresholding. IEEE Signal Processing
    Letters 14, 828-831.

    Examples
    --------
    >>> from superpose.coding import matched_filter
    >>> matched_filter([[3.0, 1.0]], [[2.0, 0.0, 1.0], [0.0, 1.0, 1.0]], 2)
    array([[1.5, 0. , 2. ]])
    """
    responses, columns = _problem(y, dictionary)
    _within("active", active, columns.shape[-1])
    return _encode(responses, columns, active, lambda _: partial(_strongest, active))


def _coherence(dictionary: Array) -> float:
    atoms, _ = _normalised(dictionary.T.astype(np.float64))
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


def _pursue(gram: Array, active: int, correlation: Array) -> Array:
    """Return the codes of samples of length 1 from their correlations with the atoms.

    The row of the Cholesky factor that a step adds is computed for every atom, not for the chosen ones alone: it
    is the new orthonormal direction's product with each atom. So it also gives the next correlations, and how
    much of each atom lies outside the span of the chosen ones.
    """
    samples, latents = correlation.shape
    rounding = ROUNDING * np.finfo(correlation.dtype).eps
    every = np.arange(samples)
    outside = np.tile(gram.diagonal(), (samples, 1))
    factor = np.zeros((active, samples, latents), dtype=correlation.dtype)
    chosen = np.empty((active, samples), dtype=np.intp)
    inverse, share = np.zeros((2, active, samples), dtype=correlation.dtype)
    for step in range(active):
        strength = np.where(outside > rounding, np.abs(correlation), 0.0)
        best = chosen[step] = strength.argmax(axis=-1)
        adds = strength[every, best] > rounding
        inverse[step, adds] = 1 / np.sqrt(outside[every, best][adds])
        row = gram[best] - np.einsum("ts,tsl->sl", factor[:step, every, best], factor[:step])
        row *= inverse[step, :, None]
        share[step] = inverse[step] * correlation[every, best]
        correlation = correlation - share[step, :, None] * row
        outside -= row**2
        factor[step] = row
    codes = np.zeros((samples, latents), dtype=correlation.dtype)
    for step in reversed(range(active)):
        known = np.einsum("sl,sl->s", factor[step], codes)
        # A sample that stopped has an inverse of zero and so adds nothing to whichever atom stands in.
        codes[every, chosen[step]] += inverse[step] * (share[step] - known)
    return codes


def _pursue_amounts(atoms: Array, active: int, samples: Array) -> tuple[Array, Array]:
    """Return the atoms chosen for samples of length 1 and their values, (samples, active); no atom comes twice."""
    rounding = ROUNDING * np.finfo(atoms.dtype).eps
    support = np.empty((len(samples), active), dtype=np.intp)
    used = np.zeros(support.shape, dtype=bool)
    left = samples
    for step in range(1, active + 1):
        gain = left @ atoms.T
        np.put_along_axis(gain, support[:, : step - 1], -np.inf, axis=-1)
        support[:, step - 1], used[:, step - 1] = gain.argmax(axis=-1), gain.max(axis=-1) > rounding
        columns = atoms[support[:, :step]]
        values = _amounts(columns, used[:, :step], samples)
        left = samples - (values[:, None] @ columns)[:, 0]
    return support, values


def _amounts(columns: Array, used: Array, y: Array) -> Array:
    """Return the values ≥ 0 with which each sample's own columns explain it best, (samples, columns).

    Columns, (samples, columns, units), and samples have length 1 or 0. Columns that are not used get the value 0. In
    each round, all values that are negative leave the free ones and all that would reduce the error enter them.
    """
    rounding = ROUNDING * np.finfo(np.float64).eps
    gram = columns @ np.swapaxes(columns, -1, -2)
    target = (columns @ y[..., None])[..., 0]
    values = np.zeros(target.shape)
    lift = columns.shape[1] * rounding * np.eye(columns.shape[1])
    factor: Array = np.linalg.cholesky(_block(gram, used) + lift)
    independent = (factor.diagonal(axis1=-2, axis2=-1) ** 2 > NEAR).all(axis=-1)
    rows, free = np.flatnonzero(independent), used[independent]
    for _ in range(EXCHANGES):
        block, goal = gram[rows], target[rows]
        found = np.linalg.solve(_block(block, free), np.where(free, goal, 0.0)[..., None])
        gain = goal - (block @ found)[..., 0]
        wrong = np.where(free, found[..., 0] < -rounding, used[rows] & (gain > rounding))
        open_ = wrong.any(axis=-1)
        values[rows[~open_]] = np.maximum(found[~open_, :, 0], 0.0)
        rows, free = rows[open_], (free ^ wrong)[open_]
    for row in (*np.flatnonzero(~independent), *rows):
        values[row, used[row]] = nnls(columns[row, used[row]].T, y[row])[0]
    return values


def _block(gram: Array, free: Array) -> Array:
    return np.where(free[:, :, None] & free[:, None, :], gram, np.eye(gram.shape[-1]))


def _strongest(active: int, correlation: Array) -> Array:
    kept = np.argpartition(-np.abs(correlation), active - 1, axis=-1)[:, :active]
    codes = np.zeros_like(correlation)
    np.put_along_axis(codes, kept, np.take_along_axis(correlation, kept, axis=-1), axis=-1)
    return codes


def _encode(y: Array, dictionary: Array, active: int, prepare: Callable[[Array], Rule]) -> Array:
    """Apply to every repeat the rule that `prepare` makes of its unit-norm atoms, (latents, units)."""
    repeats = np.broadcast_shapes(y.shape[:-2], dictionary.shape[:-2])
    y, dictionary = _spread(y, repeats), _spread(dictionary, repeats)
    codes = np.empty((*repeats, y.shape[-2], dictionary.shape[-1]), dtype=y.dtype)
    rows = max(1, CHUNK // (active * codes.shape[-1]))
    for repeat in np.ndindex(repeats):
        atoms, lengths = _normalised(dictionary[repeat].T)
        rule = prepare(atoms)
        for start, part in chunks(y[repeat], rows):
            directions, sizes = _normalised(part)
            codes[repeat][start : start + rows] = rule(directions @ atoms.T) * sizes / lengths.T
    return codes


def _normalised(rows: Array) -> tuple[Array, Array]:
    """Return rows of length 1 and their lengths, (rows, 1), without overflow; a zero row stays, with length 1."""
    largest = np.abs(rows).max(axis=-1, keepdims=True)
    largest = np.where(largest > 0, largest, 1.0)
    scaled = rows / largest
    norm = np.linalg.norm(scaled, axis=-1, keepdims=True)
    norm = np.where(norm > 0, norm, 1.0)
    return scaled / norm, largest * norm


def _problem(y: Any, dictionary: Any) -> tuple[Array, Array]:
    """Return activity and dictionary in one floating type, or raise if they do not fit."""
    responses, columns = as_responses(y, "y"), _dictionary(dictionary)
    check_finite(responses, "y")
    if responses.shape[-1] != columns.shape[-2]:
        raise DataError(
            f"y has {responses.shape[-1]} units and the dictionary {columns.shape[-2]}; expected y of shape "
            "(…, samples, units) and a dictionary of shape (…, units, latents)."
        )
    try:
        np.broadcast_shapes(responses.shape[:-2], columns.shape[:-2])
    except ValueError:
        raise DataError(
            f"y has the repeats {responses.shape[:-2]} and the dictionary {columns.shape[:-2]}; expected leading axes "
            "that broadcast."
        ) from None
    kind = np.result_type(responses, columns)
    return responses.astype(kind, copy=False), columns.astype(kind, copy=False)


def _given(codes: Any, y: Array, dictionary: Array) -> Array:
    """Return codes, or raise if they do not fit activity and dictionary."""
    given = as_responses(codes, "codes")
    check_finite(given, "codes")
    expected = (y.shape[-2], dictionary.shape[-1])
    if given.shape[-2:] != expected:
        raise DataError(
            f"codes have shape {given.shape}; expected (…, {expected[0]}, {expected[1]}), a row for each sample of y "
            "and a column for each of the dictionary."
        )
    repeats = np.broadcast_shapes(y.shape[:-2], dictionary.shape[:-2])
    try:
        np.broadcast_shapes(given.shape[:-2], repeats)
    except ValueError:
        raise DataError(
            f"codes have the repeats {given.shape[:-2]}, y and the dictionary {repeats}; expected leading axes that "
            "broadcast."
        ) from None
    return given


def _spread(x: Array, repeats: tuple[int, ...]) -> Array:
    return np.broadcast_to(x, (*repeats, *x.shape[-2:]))


def _dictionary(value: Any) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "iubf":
        raise DataError(f"dictionary holds values of type {array.dtype}; expected real numbers.")
    if array.ndim < 2 or 0 in array.shape:
        raise DataError(f"dictionary has shape {array.shape}; expected (…, units, latents), none of them empty.")
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise DataError(f"dictionary has {bad} NaN or infinite value(s); expected none.")
    return array.astype(np.float32 if array.dtype in (np.float16, np.float32) else np.float64, copy=False)


def _within(name: str, value: Any, most: int | None = None) -> None:
    fits = isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 1
    if not fits or (most is not None and value > most):
        limit = "of at least 1" if most is None else f"from 1 to {most}"
        raise DataError(f"{name} is {value!r}; expected an integer {limit}.")


def _root(generator: torch.Generator | None) -> int:
    if generator is None:
        return torch.Generator().seed()
    if not isinstance(generator, torch.Generator):
        raise DataError(
            f"generator is {generator!r}; expected a torch.Generator, as torch.Generator().manual_seed(0), "
            "or None for fresh entropy."
        )
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))
