"""Units of mean 0 and standard deviation 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import as_responses, chunks
from superpose.recordings.unpacking import filled

Array = NDArray[Any]

# A unit that varies by less than this part of its mean does not.
STILL = 1e-12


def standardised(x: ArrayLike, name: str = "x") -> Array:
    """Return responses whose units have mean 0 and standard deviation 1 over all samples.

    Means and deviations are those of all samples, held-out ones among them: a scaling of each unit that knows nothing
    of another system. It changes which units weigh in a score. What does not vary is 0. Large responses are written to
    an anonymous temporary file in TMPDIR, by chunks.

    Parameters
    ----------
    x : array-like, (samples, units)
    name : str
        For messages.

    Returns
    -------
    ndarray, (samples, units)
        In the type of `x`, at least float32.

    Examples
    --------
    >>> from superpose.recordings.scaling import standardised
    >>> standardised([[1.0, 5.0, 0.0], [3.0, 5.0, 4.0]]).tolist()
    [[-1.0, 0.0, -1.0], [1.0, 0.0, 1.0]]
    """
    values = as_responses(x, name)
    centre, spread = standard(values)
    dtype = np.result_type(values.dtype, np.float32)

    def fill(out: Array) -> None:
        for start, rows in chunks(values):
            out[start : start + len(rows)] = (rows - centre) / spread

    return filled(name, values.shape, dtype, fill)


def standard(x: Array) -> tuple[Array, Array]:
    """Return the mean and standard deviation of each unit over samples, in float64; infinity for one that is still."""
    total, square = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for _, rows in chunks(x):
        total += rows.sum(axis=0, dtype=np.float64)
    centre = total / len(x)
    for _, rows in chunks(x):
        square += np.square(rows - centre).sum(axis=0)
    spread = np.sqrt(square / len(x))
    return centre, np.where(spread > STILL * np.abs(centre), spread, np.inf)
