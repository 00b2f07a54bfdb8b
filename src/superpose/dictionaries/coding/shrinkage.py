"""Codes by the lasso: a penalty on the sum of a code's sizes in place of a limit on how many are active."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from superpose.dictionaries.coding.problem import CHUNK, problem
from superpose.files import DataError

# Takes a threshold from values, which it overwrites: the proximal step of the penalty.
Shrink = Callable[[Tensor, Tensor], Tensor]


def lasso(y: ArrayLike, dictionary: ArrayLike, penalty: float, *, steps: int = 100) -> Any:
    """Return the codes c that minimise ½‖y − Dc‖² + λ‖c‖₁, by accelerated proximal gradient (Beck & Teboulle 2009).

    As many latents are active in a sample as its activity asks for; `omp` gives every sample the same number. All
    samples are coded at once by products of matrices, on the device of the tensors.

    Parameters
    ----------
    y : array-like, (…, samples, units)
        Activity, taken as it is: no mean is removed.
    dictionary : array-like, (…, units, latents)
        Columns of any length; leading axes are repeats and broadcast against those of `y`.
    penalty : float
        λ, in the units of y: what a column of length 1 must explain of a sample before it is active.
    steps : int
        Gradient steps. Codes of a few active latents settle in fewer than 100.

    Returns
    -------
    array or tensor, (…, samples, latents)
        Of the kind that came in; float32 if neither input is wider, else float64.

    Raises
    ------
    DataError
        If the inputs are not finite numbers of shapes that fit, or the penalty or the number of steps is not positive.

    References
    ----------
    Tibshirani, R. (1996). Regression shrinkage and selection via the lasso. Journal of the Royal Statistical Society B
    58, 267-288.

    Beck, A. & Teboulle, M. (2009). A fast iterative shrinkage-thresholding algorithm for linear inverse problems. SIAM
    Journal on Imaging Sciences 2, 183-202.

    Examples
    --------
    >>> from superpose.dictionaries.coding import lasso
    >>> lasso([[3.0, -0.5], [0.5, -4.0]], [[1.0, 0.0], [0.0, 2.0]], 1.0)
    array([[ 2. ,  0. ],
           [ 0. , -1.5]])
    """
    return _coded(y, dictionary, penalty, steps, either_sign)


def nonnegative_lasso(y: ArrayLike, dictionary: ArrayLike, penalty: float, *, steps: int = 100) -> Any:
    """Return the codes c ≥ 0 that minimise ½‖y − Dc‖² + λ Σc, by accelerated proximal gradient.

    As `lasso`, for latents that are amounts.

    Parameters
    ----------
    y, dictionary, penalty, steps
        As in `lasso`.

    Returns
    -------
    array or tensor, (…, samples, latents)
        As in `lasso`.

    Raises
    ------
    DataError
        As in `lasso`.

    References
    ----------
    Beck, A. & Teboulle, M. (2009). A fast iterative shrinkage-thresholding algorithm for linear inverse problems. SIAM
    Journal on Imaging Sciences 2, 183-202.

    Examples
    --------
    >>> from superpose.dictionaries.coding import nonnegative_lasso
    >>> nonnegative_lasso([[3.0, -0.5], [0.5, -4.0]], [[1.0, 0.0], [0.0, 2.0]], 1.0)
    array([[2., 0.],
           [0., 0.]])
    """
    return _coded(y, dictionary, penalty, steps, amounts)


def either_sign(values: Tensor, threshold: Tensor) -> Tensor:
    """Bring values nearer to 0 by a threshold, to 0 within it; return them."""
    return values.sub_(torch.minimum(torch.maximum(values, -threshold), threshold))


def amounts(values: Tensor, threshold: Tensor) -> Tensor:
    """Take a threshold from values, and make 0 what is negative; return them."""
    return values.sub_(threshold).clamp_min_(0)


def shrunk(
    y: Tensor, atoms: Tensor, penalty: Tensor, shrink: Shrink, steps: int, start: Tensor | None = None
) -> Tensor:
    """Return lasso codes of samples, (…, samples, units), in atoms of length 1, (…, latents, units), from a start."""
    products, gram = y @ atoms.mT, atoms @ atoms.mT
    # The smaller of the two Gram matrices has the same largest eigenvalue; 1 % more for rounding.
    smaller = gram if atoms.shape[-2] <= atoms.shape[-1] else atoms.mT @ atoms
    rate = 1 / (1.01 * torch.linalg.eigvalsh(smaller)[..., -1, None, None].clamp_min(1e-6))
    step = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device) - rate * gram
    pull, threshold = rate * products, rate * penalty
    codes = torch.zeros_like(products) if start is None else start
    ahead, momentum = codes, 1.0
    # Arrays of the codes' size cost as much as the product where they are made anew.
    moved, spare, beyond = (torch.empty_like(products) for _ in range(3))
    for _ in range(steps):
        shrink(torch.matmul(ahead, step, out=moved).add_(pull), threshold)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = torch.lerp(codes, moved, 1 + (momentum - 1) / following, out=beyond)
        codes, moved, spare, momentum = moved, spare, moved, following
    return codes


def _coded(y: Any, dictionary: Any, penalty: float, steps: int, shrink: Shrink) -> Any:
    for name, value in (("penalty", penalty), ("steps", steps)):
        if not value > 0:
            raise DataError(f"{name} is {value!r}; expected a positive number.")
    first = next((x for x in (y, dictionary) if isinstance(x, Tensor)), None)
    device = None if first is None else first.device
    responses, columns = (torch.as_tensor(x, device=device) for x in problem(y, dictionary))
    repeats = np.broadcast_shapes(responses.shape[:-2], columns.shape[:-2])
    lengths = columns.norm(dim=-2, keepdim=True)
    lengths = torch.where(lengths > 0, lengths, 1)
    atoms = (columns / lengths).mT
    rows = max(1, CHUNK // (4 * atoms.shape[-2] * prod(repeats)))
    limit = torch.tensor(penalty, dtype=responses.dtype, device=device)
    parts = [shrunk(part, atoms, limit, shrink, steps) for part in responses.split(rows, dim=-2)]
    codes = torch.cat(parts, dim=-2) / lengths
    return codes.numpy() if first is None else codes
