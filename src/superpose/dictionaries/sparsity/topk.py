"""The k largest pre-activations of each sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from superpose.dictionaries.sparsity.codes import Codes, DenseCodes, SparseCodes, Support, attach, keep, preactivations
from superpose.files import DataError
from superpose.numerics.topk import largest, positive_mask

# With fewer latents for each active one, dense products cost less than sparse ones.
CROWDED = 8
# Pre-activations found and chosen from at once, for each repeat: few enough to stay in cache.
PIECE = 2**21


class TopK(nn.Module):
    """Keep the k largest pre-activations of each sample; what is negative among them becomes zero.

    One rule serves both uses of Eqs. (7) and (8): latents are amounts, none below zero, so a code is the k
    largest pre-activations followed by a rectifier. Wherever k pre-activations are positive, the rectifier
    changes nothing.

    Parameters
    ----------
    k : int
        How many latents a sample may use.
    gradient : {"mask", "straight_through"}
        "mask": the gradient reaches the pre-activations that were kept and are positive, the derivative of the
        function as it is. "straight_through": the gradient of the identity, so that every pre-activation learns;
        it is dense, and several times slower where k is small beside the number of latents.

    Raises
    ------
    DataError
        For a `k` that is not a positive integer, an unknown gradient, or fewer than k latents to choose from.

    References
    ----------
    Eqs. (7) and (8). Makhzani and Frey, k-sparse autoencoders (2013); Gao et al., Scaling and evaluating sparse
    autoencoders (2024). Bengio, Léonard and Courville (2013) for the straight-through estimator.

    Examples
    --------
    >>> import torch
    >>> from superpose.dictionaries.sparsity import TopK
    >>> TopK(2)(torch.tensor([[3.0, -1.0, 2.0, 1.0], [1.0, -2.0, -3.0, -4.0]]))
    tensor([[3., 0., 2., 0.],
            [1., 0., 0., 0.]])
    """

    def __init__(self, k: int, gradient: str = "mask") -> None:
        super().__init__()
        if gradient not in _ENCODE:
            raise DataError(f"gradient is {gradient!r}; expected one of {', '.join(map(repr, _ENCODE))}.")
        self.k = amount(k)
        self.gradient = gradient

    def forward(self, preactivations: Tensor) -> Tensor:
        """Return dense codes, (…, samples, latents), from pre-activations of the same shape."""
        check_latents("TopK", self.k, preactivations.shape[-1])
        return _FORWARD[self.gradient](preactivations, self.k)

    def encode(self, y: Tensor, weight: Tensor, bias: Tensor) -> Codes:
        """Return the codes of `y @ weight.mT + bias`.

        Parameters
        ----------
        y : torch.Tensor, (…, samples, units)
            Activity.
        weight : torch.Tensor, (…, latents, units)
            The encoder.
        bias : torch.Tensor, (…, latents)
            Its bias.
        """
        check_latents("TopK", self.k, weight.shape[-2])
        return _ENCODE[self.gradient](y, weight, bias, self.k)

    def rule(self) -> dict[str, int | str]:
        """Return the settings that rebuild this module."""
        return {"k": self.k, "gradient": self.gradient}

    def extra_repr(self) -> str:
        """Return the settings as text."""
        return f"{self.k}, gradient={self.gradient!r}"


def amount(k: int) -> int:
    """Return k, or raise a DataError where it is no number of latents."""
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 1:
        raise DataError(f"k is {k!r}; expected a positive integer, the number of latents a sample may use.")
    return int(k)


def check_latents(rule: str, k: int, latents: int) -> None:
    """Raise a DataError where there are fewer than k latents."""
    if k > latents:
        raise DataError(f"{rule} keeps {k} latents and there are {latents}; lower k, or raise latents.")


def _encode_masked(y: Tensor, weight: Tensor, bias: Tensor, k: int) -> Codes:
    return (_encode_crowded if weight.shape[-2] <= CROWDED * k else _encode_sparsely)(y, weight, bias, k)


def _encode_crowded(y: Tensor, weight: Tensor, bias: Tensor, k: int) -> DenseCodes:
    every = preactivations(y, weight, bias)
    return DenseCodes(keep(every, positive_mask(every, k)))


def _encode_sparsely(y: Tensor, weight: Tensor, bias: Tensor, k: int) -> SparseCodes:
    latents = weight.shape[-2]
    with torch.no_grad():
        pieces = [_chosen(rows, weight, bias, k) for rows in y.split(max(1, PIECE // latents), dim=-2)]
        values, indices = (torch.cat(parts, dim=-2) for parts in zip(*pieces, strict=True))
    support = Support(indices, latents)
    return SparseCodes(attach(values, y, weight, bias, support).relu(), support)


def _chosen(y: Tensor, weight: Tensor, bias: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the values of the k largest pre-activations of each sample, and which they are."""
    every = preactivations(y, weight, bias)
    indices = largest(every, k)
    return every.gather(-1, indices), indices


def _encode_straight_through(y: Tensor, weight: Tensor, bias: Tensor, k: int) -> DenseCodes:
    return DenseCodes(_StraightThrough.apply(preactivations(y, weight, bias), k))


def _masked(values: Tensor, k: int) -> Tensor:
    indices = largest(values, k)
    return torch.zeros_like(values).scatter(-1, indices, values.gather(-1, indices).relu())


class _StraightThrough(torch.autograd.Function):
    """The codes forwards, the identity backwards."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, k: int) -> Tensor:
        return _masked(values, k)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


_ENCODE: dict[str, Callable[[Tensor, Tensor, Tensor, int], Codes]] = {
    "mask": _encode_masked,
    "straight_through": _encode_straight_through,
}
_FORWARD: dict[str, Callable[[Tensor, int], Tensor]] = {"mask": _masked, "straight_through": _StraightThrough.apply}
