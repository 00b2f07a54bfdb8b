"""A sparse re-coding that recovers nothing: the largest principal components of each sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.analysis.job import Job
from superpose.analysis.scores import described, scored
from superpose.dictionaries.diagnostics import fvu, l0

Array = NDArray[Any]


def principal_codes(job: Job, *, active: int) -> pd.DataFrame:
    """Score codes of as few active entries as a dictionary's, in a basis that knows nothing of sparsity.

    Parameters
    ----------
    job : Job
    active : int
        Entries of a code that are not zero.
    """
    parts = {name: largest_components(x, job.training, active) for name, x in job.arrays.items() if job.partners(name)}
    codes = {name: code for name, (code, _) in parts.items()}
    table = described(scored(job, codes), job, space="pca_code", fit="")
    unseen = slice(job.training, None)
    left = {name: float(fvu(job.arrays[name][unseen], rebuilt[unseen])) for name, (_, rebuilt) in parts.items()}
    used = {name: float(l0(code[unseen])) for name, code in codes.items()}
    for side in ("a", "b"):
        names = table[f"system_{side}"]
        table = table.assign(**{f"fvu_{side}": names.map(left), f"l0_{side}": names.map(used)})
    return table


def largest_components(x: Array, training: int, active: int) -> tuple[Array, Array]:
    """Return each sample's principal components of largest magnitude, zero elsewhere, and what they give back.

    Parameters
    ----------
    x : ndarray, (samples, units)
        Activity, training rows first.
    training : int
        How many rows the components are fitted on.
    active : int
        How many are kept a sample; all, where there are no more.

    Returns
    -------
    codes, rebuilt : ndarray, (samples, units)
        The codes, and the activity that they stand for.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.analysis.principal import largest_components
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> codes, rebuilt = largest_components(x, 40, 1)
    >>> int((codes != 0).sum(axis=1).max()), bool(np.allclose(largest_components(x, 40, 4)[1], x))
    (1, True)
    """
    kind = np.promote_types(x.dtype, np.float32)
    mean = x[:training].mean(axis=0, dtype=np.float64)
    rows = np.subtract(x, mean.astype(kind), dtype=kind)
    _, vectors = np.linalg.eigh((rows[:training].T @ rows[:training]).astype(np.float64))
    basis = vectors.astype(kind)
    codes = rows @ basis
    if active < codes.shape[-1]:
        small = np.argpartition(np.abs(codes), -active, axis=-1)[:, :-active]
        np.put_along_axis(codes, small, 0, axis=-1)
    return codes, codes @ basis.T + mean.astype(kind)
