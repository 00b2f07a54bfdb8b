"""Codes of activity in a dictionary that is known or was learned."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from superpose.arrays import chunks, like_input
from superpose.dictionaries.coding.problem import CHUNK, ROUNDING, check_within, given_codes, normalised, problem

Array = NDArray[Any]
Rule = Callable[[Array], Array]

# Squared distance of a unit vector from the span of others below which normal equations lose too many digits.
NEAR = 1e-6

# Rounds in which nearly all rows of a non-negative fit settle; the few that do not are then solved one by one.
EXCHANGES = 20


@like_input
def omp(y: ArrayLike, dictionary: ArrayLike, active: int) -> Any:
    """Return sparse codes by orthogonal matching pursuit (Pati, Rezaiifar & Krishnaprasad 1993).

    Each step adds the column of largest |cosine| with what is left of the sample, and refits all columns chosen so
    far by least squares. This is Batch-OMP (Rubinstein, Zibulevsky & Elad 2008): correlations are updated from
    the Gram matrix (latents × latents, held in memory) and a Cholesky factor that grows by one row per step, for
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
    >>> from superpose.dictionaries.coding import omp
    >>> dictionary = [[1.0, 0.0, 2.0], [0.0, 1.0, 2.0]]
    >>> omp([[3.0, 0.0], [4.0, 5.0]], dictionary, 1)
    array([[3.  , 0.  , 0.  ],
           [0.  , 0.  , 2.25]])
    """
    responses, columns = problem(y, dictionary)
    check_within("active", active, min(columns.shape[-2:]))
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
    >>> from superpose.dictionaries.coding import nonnegative_omp, omp
    >>> y, dictionary = [[-3.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]
    >>> omp(y, dictionary, 1), nonnegative_omp(y, dictionary, 1)
    (array([[-3.,  0.]]), array([[0., 1.]]))
    """
    responses, columns = problem(y, dictionary)
    check_within("active", active, min(columns.shape[-2:]))
    repeats = np.broadcast_shapes(responses.shape[:-2], columns.shape[:-2])
    responses, columns = _spread(responses, repeats), _spread(columns, repeats)
    codes = np.zeros((*responses.shape[:-1], columns.shape[-1]), dtype=responses.dtype)
    rows = max(1, CHUNK // (codes.shape[-1] + active * (responses.shape[-1] + active)))
    for repeat in np.ndindex(repeats):
        atoms, lengths = normalised(columns[repeat].T.astype(np.float64))
        for start, part in chunks(responses[repeat], rows):
            directions, sizes = normalised(part.astype(np.float64))
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
    >>> from superpose.dictionaries.coding import refit
    >>> dictionary = [[1.0, 0.0, 2.0], [0.0, 1.0, 2.0]]
    >>> refit([[3.0, 0.0], [4.0, 5.0]], dictionary, [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    array([[3., 0., 0.],
           [0., 1., 2.]])
    """
    responses, columns = problem(y, dictionary)
    given = given_codes(codes, responses, columns)
    repeats = np.broadcast_shapes(responses.shape[:-2], columns.shape[:-2], given.shape[:-2])
    responses, columns, given = (_spread(x, repeats) for x in (responses, columns, given))
    fitted = np.zeros(given.shape, dtype=responses.dtype)
    units, latents = columns.shape[-2:]
    for repeat in np.ndindex(repeats):
        atoms, lengths = normalised(columns[repeat].T.astype(np.float64))
        widest = max(1, *(int(np.count_nonzero(part, axis=-1).max()) for _, part in chunks(given[repeat])))
        rows = max(1, CHUNK // (latents + widest * (units + widest)))
        for start, part in chunks(responses[repeat], rows):
            active = given[repeat][start : start + rows] != 0
            support = np.argpartition(~active, widest - 1, axis=-1)[:, :widest]
            used = np.take_along_axis(active, support, axis=-1)
            directions, sizes = normalised(part.astype(np.float64))
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
    >>> from superpose.dictionaries.coding import matched_filter
    >>> matched_filter([[3.0, 1.0]], [[2.0, 0.0, 1.0], [0.0, 1.0, 1.0]], 2)
    array([[1.5, 0. , 2. ]])
    """
    responses, columns = problem(y, dictionary)
    check_within("active", active, columns.shape[-1])
    return _encode(responses, columns, active, lambda _: partial(_strongest, active))


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
        atoms, lengths = normalised(dictionary[repeat].T)
        rule = prepare(atoms)
        for start, part in chunks(y[repeat], rows):
            directions, sizes = normalised(part)
            codes[repeat][start : start + rows] = rule(directions @ atoms.T) * sizes / lengths.T
    return codes


def _spread(x: Array, repeats: tuple[int, ...]) -> Array:
    return np.broadcast_to(x, (*repeats, *x.shape[-2:]))
