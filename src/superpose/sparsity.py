"""Which latents a dictionary may use for a sample: modules that turn pre-activations into sparse codes.

A sparsity module has `encode(y, weight, bias)`, which gives codes that a dictionary can be read with, `forward`,
which does the same to pre-activations at hand, and `rule()`, the settings that rebuild it.

Codes are kept as (values, indices) where the gradient allows it: with k of n latents active, decoding and every
gradient then cost k / n of the dense products.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from superpose.files import DataError
from superpose.products import matmul
from superpose.selection import largest


@dataclass(frozen=True)
class Support:
    """Which latents each sample uses, and the three products with rows that follow from it.

    Parameters
    ----------
    indices : torch.Tensor, (…, samples, active), int64
        The latents of each sample, each at most once.
    latents : int
        How many latents there are.
    """

    indices: Tensor
    latents: int

    @functools.cached_property
    def flat(self) -> Tensor:
        """The indices, (repeats · samples, active), into the latents of all repeats in one row of numbers."""
        *_, samples, active = self.indices.shape
        flat = self.indices.reshape(-1, samples, active)
        if len(flat) > 1:
            flat = flat + self.latents * torch.arange(len(flat), device=flat.device)[:, None, None]
        return flat.reshape(-1, active)

    @functools.cached_property
    def by_latent(self) -> tuple[Tensor, Tensor]:
        """The entries of `flat` ordered by latent, and where each latent's entries start."""
        entries, total = self.flat.reshape(-1), self.flat.shape[0] // self.indices.shape[-2] * self.latents
        order = _stable_order(entries, total)
        counts = torch.bincount(entries, minlength=total)
        return order, counts.cumsum(0) - counts

    def gather(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return, for each sample, the sum of its latents' rows, weighted: (…, samples, width)."""
        summed = F.embedding_bag(
            self.flat, rows.reshape(-1, rows.shape[-1]), per_sample_weights=values.reshape(self.flat.shape), mode="sum"
        )
        return summed.reshape(*self.indices.shape[:-1], rows.shape[-1])

    def spread(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return, for each latent, the sum of its samples' rows, weighted: (…, latents, width)."""
        order, starts = self.by_latent
        summed = F.embedding_bag(
            order // self.indices.shape[-1],
            rows.reshape(-1, rows.shape[-1]),
            starts,
            per_sample_weights=values.reshape(-1)[order],
            mode="sum",
        )
        return summed.reshape(*self.indices.shape[:-2], self.latents, rows.shape[-1])

    def total(self, values: Tensor) -> Tensor:
        """Return, for each latent, the sum of its values: (…, latents)."""
        size = self.flat.shape[0] // self.indices.shape[-2] * self.latents
        summed = values.new_zeros(size).index_add_(0, self.flat.reshape(-1), values.reshape(-1))
        return summed.reshape(*self.indices.shape[:-2], self.latents)


@dataclass(frozen=True)
class SparseCodes:
    """Codes as the values of the active latents; gradients reach those entries and no others.

    Parameters
    ----------
    values : torch.Tensor, (…, samples, active)
        The value of each active latent.
    support : Support
        Which latents they are.
    """

    values: Tensor
    support: Support

    def dense(self) -> Tensor:
        """Return the codes as (…, samples, latents)."""
        shape = (*self.values.shape[:-1], self.support.latents)
        return self.values.new_zeros(shape).scatter(-1, self.support.indices, self.values)

    def error(self, rows: Tensor, bias: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean squared error of `codes @ rows + bias` against `y`, and the residual, held constant.

        Parameters
        ----------
        rows : torch.Tensor, (…, latents, units)
            A dictionary, one row a latent.
        bias : torch.Tensor, (…, units)
            Its bias.
        y : torch.Tensor, (…, samples, units)
            What the codes stand for; it receives no gradient.

        Returns
        -------
        error : torch.Tensor, (…)
            The mean over samples and units.
        residual : torch.Tensor, (…, samples, units)
            y minus its reconstruction.
        """
        error, residual = _Error.apply(self.values, rows, bias, y.detach(), self.support)
        return error, residual

    def fired(self) -> Tensor:
        """Return which latents have a value above zero in some sample: (…, latents), boolean."""
        return self.support.total((self.values.detach() != 0).float()) > 0


@dataclass(frozen=True)
class DenseCodes:
    """Codes as (…, samples, latents), for sparsity whose gradient reaches inactive latents."""

    values: Tensor

    def dense(self) -> Tensor:
        """Return the codes as they are."""
        return self.values

    def error(self, rows: Tensor, bias: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean squared error of `codes @ rows + bias` against `y`, and the residual, held constant."""
        residual = y.detach() - matmul(self.values, rows) - bias.unsqueeze(-2)
        return residual.square().mean((-2, -1)), residual.detach()

    def fired(self) -> Tensor:
        """Return which latents have a value other than zero in some sample: (…, latents), boolean."""
        return (self.values.detach() != 0).any(-2)


Codes = SparseCodes | DenseCodes


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
    >>> from superpose.sparsity import TopK
    >>> TopK(2)(torch.tensor([[3.0, -1.0, 2.0, 1.0], [1.0, -2.0, -3.0, -4.0]]))
    tensor([[3., 0., 2., 0.],
            [1., 0., 0., 0.]])
    """

    def __init__(self, k: int, gradient: str = "mask") -> None:
        super().__init__()
        if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 1:
            raise DataError(f"k is {k!r}; expected a positive integer, the number of latents a sample may use.")
        if gradient not in _ENCODE:
            raise DataError(f"gradient is {gradient!r}; expected one of {', '.join(map(repr, _ENCODE))}.")
        self.k = int(k)
        self.gradient = gradient

    def forward(self, preactivations: Tensor) -> Tensor:
        """Return dense codes, (…, samples, latents), from pre-activations of the same shape."""
        self._check(preactivations.shape[-1])
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
        self._check(weight.shape[-2])
        return _ENCODE[self.gradient](y, weight, bias, self.k)

    def rule(self) -> dict[str, int | str]:
        """Return the settings that rebuild this module."""
        return {"k": self.k, "gradient": self.gradient}

    def extra_repr(self) -> str:
        """Return the settings as text."""
        return f"{self.k}, gradient={self.gradient!r}"

    def _check(self, latents: int) -> None:
        if self.k > latents:
            raise DataError(f"TopK keeps {self.k} latents and there are {latents}; lower k, or raise latents.")


def preactivations(y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return y @ weight.mT + bias, (…, samples, latents), with the repeats of any operand broadcast."""
    return matmul(y, weight.mT).add_(bias.unsqueeze(-2))


def _encode_masked(y: Tensor, weight: Tensor, bias: Tensor, k: int) -> SparseCodes:
    with torch.no_grad():
        every = preactivations(y, weight, bias)
        support = Support(largest(every, k), every.shape[-1])
        values = every.gather(-1, support.indices)
    if torch.is_grad_enabled():
        repeats = every.shape[:-2]
        values = _Chosen.apply(
            values, y.expand(*repeats, *y.shape[-2:]), weight.expand(*repeats, *weight.shape[-2:]),
            bias.expand(*repeats, bias.shape[-1]), support,
        )  # fmt: skip
    return SparseCodes(values.relu(), support)


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


class _Chosen(torch.autograd.Function):
    """The chosen pre-activations as functions of activity, weight and bias, their values being at hand.

    With value_ij = weight_j · y_i + bias_j on the support and zero gradient elsewhere, each gradient is a product
    over the support alone.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, y: Tensor, weight: Tensor, bias: Tensor, support: Support) -> Tensor:
        ctx.save_for_backward(y, weight)
        ctx.support = support
        return values.view_as(values)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        y, weight = ctx.saved_tensors
        support: Support = ctx.support
        _, for_y, for_weight, for_bias, _ = ctx.needs_input_grad
        return (
            None,
            support.gather(gradient, weight) if for_y else None,
            support.spread(gradient, y) if for_weight else None,
            support.total(gradient) if for_bias else None,
            None,
        )


class _Error(torch.autograd.Function):
    """The mean squared error of decoded codes: with r = c D + d - y, its gradients are products with r alone.

    d/dc = 2 r D.mT, on the support; d/dD = 2 c.mT r; d/dd = 2 sum of r, each over the number of entries of r.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, rows: Tensor, bias: Tensor, y: Tensor, support: Support
    ) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():  # the bag's own graph gives the gradient of its weights without a dense product
            weights = values.detach().requires_grad_(values.requires_grad)
            decoded = support.gather(weights, rows.detach())
        residual = (y - bias.unsqueeze(-2)).sub_(decoded.detach())
        ctx.bag, ctx.support = (decoded, weights), support
        ctx.save_for_backward(residual)
        ctx.mark_non_differentiable(residual)
        ctx.set_materialize_grads(False)
        return torch.linalg.vector_norm(residual, dim=(-2, -1)).square() / residual.shape[-2:].numel(), residual

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        if gradient is None:
            return (None,) * 5
        (residual,) = ctx.saved_tensors
        decoded, weights = ctx.bag
        support: Support = ctx.support
        for_values, for_rows, for_bias, *_ = ctx.needs_input_grad
        factor = (-2 / residual.shape[-2:].numel() * gradient)[..., None, None]
        return (
            factor * torch.autograd.grad(decoded, weights, residual, retain_graph=True)[0] if for_values else None,
            factor * support.spread(weights.detach(), residual) if for_rows else None,
            factor[..., 0] * residual.sum(-2) if for_bias else None,
            None,
            None,
        )


def _stable_order(entries: Tensor, total: int) -> Tensor:
    if entries.device.type != "cpu":
        return entries.argsort(stable=True)
    # 16-bit keys are sorted by radix: several times faster than any comparison sort
    keys = entries.numpy().astype(np.uint16 if total <= 2**16 else np.int64)
    return torch.from_numpy(np.argsort(keys, kind="stable"))


_ENCODE: dict[str, Callable[[Tensor, Tensor, Tensor, int], Codes]] = {
    "mask": _encode_masked,
    "straight_through": _encode_straight_through,
}
_FORWARD: dict[str, Callable[[Tensor, int], Tensor]] = {"mask": _masked, "straight_through": _StraightThrough.apply}
