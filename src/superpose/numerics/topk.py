"""The exact k largest values of each row, faster than sorting would find them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def largest(values: torch.Tensor, k: int) -> torch.Tensor:
    """Return the indices of the k largest of the last axis, in no particular order: (…, k).

    On the CPU a partition finds each row's k-th value; where a row has ties there, torch chooses among them.

    Examples
    --------
    >>> import torch
    >>> from superpose.numerics.topk import largest
    >>> largest(torch.tensor([[3.0, 1.0, 2.0]]), 2)
    tensor([[0, 2]])
    """
    kept = _by_partition(values, k)
    if kept is None:
        return values.topk(k, sorted=False).indices
    indices = np.flatnonzero(kept) % values.shape[-1]
    return torch.from_numpy(indices).reshape(*values.shape[:-1], k)


def is_largest(values: torch.Tensor, k: int) -> torch.Tensor:
    """Return where the k largest of the last axis are, as booleans of the shape of `values`; ties as in `largest`.

    Examples
    --------
    >>> import torch
    >>> from superpose.numerics.topk import is_largest
    >>> is_largest(torch.tensor([[3.0, 1.0, 2.0]]), 2)
    tensor([[ True, False,  True]])
    """
    kept = _by_partition(values, k)
    if kept is not None:
        return torch.from_numpy(kept)
    chosen = values.topk(k, sorted=False).indices
    return torch.zeros_like(values, dtype=torch.bool).scatter_(-1, chosen, True)


def positive_mask(values: torch.Tensor, k: int) -> torch.Tensor:
    """Return ones where the k largest of the last axis are, if above zero, else zeros: of the type of `values`.

    Examples
    --------
    >>> import torch
    >>> from superpose.numerics.topk import positive_mask
    >>> positive_mask(torch.tensor([[3.0, 1.0, 2.0], [-3.0, -1.0, 2.0]]), 2)
    tensor([[1., 0., 1.],
            [0., 0., 1.]])
    """
    kept = _by_partition(values, k)
    if kept is None:
        return (is_largest(values, k) & (values > 0)).to(values.dtype)
    # Through NumPy: torch turns booleans into numbers one by one.
    return torch.from_numpy((kept & (values.detach().numpy() > 0)).view(np.uint8)).to(values.dtype)


def _by_partition(values: torch.Tensor, k: int) -> NDArray[np.bool_] | None:
    """Return where each row's k largest are, or None where a partition cannot say."""
    latents = values.shape[-1]
    if values.device.type != "cpu" or k == latents:
        return None
    array = values.detach().numpy()
    kept: NDArray[np.bool_] = array >= np.partition(array, latents - k, axis=-1)[..., latents - k, None]
    return kept if np.count_nonzero(kept) == values.numel() // latents * k else None
