"""Sparse codes: which latents each sample uses, and products that cost no more than those.

Codes are kept as (values, indices) where the gradient allows it: with k of n latents active, decoding and every
gradient then cost k / n of the dense products.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from superpose.numerics.products import matmul


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

    @property
    def shape(self) -> torch.Size:
        """The axes of the samples and those before: (…, samples)."""
        return self.indices.shape[:-1]

    @functools.cached_property
    def starts(self) -> Tensor:
        """Where each sample's entries start: (repeats · samples,)."""
        return torch.arange(0, self.indices.numel(), self.indices.shape[-1], device=self.indices.device)

    @functools.cached_property
    def owners(self) -> Tensor:
        """The sample of each entry, counted through all repeats: (entries,)."""
        entries = torch.arange(self.indices.numel(), device=self.indices.device)
        return entries // self.indices.shape[-1]

    @functools.cached_property
    def flat(self) -> Tensor:
        """The latent of each entry, counted through all repeats: (entries,)."""
        flat = self.indices.reshape(-1)
        if len(self.shape) > 1:
            flat = flat + self.latents * (self.owners // self.shape[-1])
        return flat

    @functools.cached_property
    def by_latent(self) -> tuple[Tensor, Tensor]:
        """The entries of `flat` ordered by latent, and where each latent's entries start."""
        order = _stable_order(self.flat, self._total)
        counts = torch.bincount(self.flat, minlength=self._total)
        return order, counts.cumsum(0) - counts

    def gather(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return, for each sample, the sum of its latents' rows, weighted: (…, samples, width)."""
        summed = _bags(self.flat, rows, self.starts, values.reshape(-1))
        return summed.reshape(*self.shape, rows.shape[-1])

    def spread(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return, for each latent, the sum of its samples' rows, weighted: (…, latents, width)."""
        order, starts = self.by_latent
        summed = _bags(self.owners[order], rows, starts, values.reshape(-1)[order])
        return summed.reshape(*self.shape[:-1], self.latents, rows.shape[-1])

    def total(self, values: Tensor) -> Tensor:
        """Return, for each latent, the sum of its values: (…, latents)."""
        summed = values.new_zeros(self._total).index_add_(0, self.flat, values.reshape(-1))
        return summed.reshape(*self.shape[:-1], self.latents)

    def scale(self, values: Tensor, factor: Tensor) -> Tensor:
        """Return the values times one number a repeat, (…, 1, 1)."""
        return factor * values

    @functools.cached_property
    def places(self) -> Tensor:
        """Where each entry lies in dense codes, counted through all samples: (entries,)."""
        return self.owners * self.latents + self.indices.reshape(-1)

    def dense(self, values: Tensor) -> Tensor:
        """Return the values in their places and zero elsewhere: (…, samples, latents)."""
        return (
            values.new_zeros(self.shape.numel() * self.latents)
            .scatter(0, self.places, values.reshape(-1))
            .reshape(*self.shape, self.latents)
        )

    @property
    def _total(self) -> int:
        return self.shape[:-1].numel() * self.latents


@dataclass(frozen=True)
class RaggedSupport(Support):
    """A support whose samples use different numbers of latents.

    Parameters
    ----------
    indices : torch.Tensor, (entries,), int64
        The latents of the first sample, then those of the next, through all repeats.
    latents : int
        How many latents there are.
    counts : torch.Tensor, (…, samples), int64
        How many latents each sample uses.
    """

    counts: Tensor

    @property
    def shape(self) -> torch.Size:
        """The axes of the samples and those before: (…, samples)."""
        return self.counts.shape

    @functools.cached_property
    def starts(self) -> Tensor:
        """Where each sample's entries start: (repeats · samples,)."""
        counts = self.counts.reshape(-1)
        return counts.cumsum(0) - counts

    @functools.cached_property
    def owners(self) -> Tensor:
        """The sample of each entry, counted through all repeats: (entries,)."""
        counts = self.counts.reshape(-1)
        return torch.arange(len(counts), device=counts.device).repeat_interleave(counts)

    def scale(self, values: Tensor, factor: Tensor) -> Tensor:
        """Return the values times one number a repeat, (…, 1, 1)."""
        return factor.reshape(-1)[self.owners // self.shape[-1]] * values


@dataclass(frozen=True)
class SparseCodes:
    """Codes as the values of the active latents; gradients reach those entries and no others.

    Parameters
    ----------
    values : torch.Tensor, of the shape of the support's indices
        The value of each active latent.
    support : Support
        Which latents they are.
    """

    values: Tensor
    support: Support

    def dense(self) -> Tensor:
        """Return the codes as (…, samples, latents)."""
        return self.support.dense(self.values)

    def error(self, rows: Tensor, bias: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean squared error of `codes @ rows + bias` against `y`, and the residual, held constant.

        Parameters
        ----------
        rows : torch.Tensor, (…, latents, units)
            A dictionary, one row per latent.
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

    def distance(self, z: Tensor) -> Tensor:
        """Return the squared distance from other codes, dense and held constant: the mean over samples, (…)."""
        return _Distance.apply(self.values, z.detach(), self.support)

    def fired(self) -> Tensor:
        """Return which latents have a value above zero in some sample: (…, latents), boolean."""
        return self.support.total((self.values.detach() != 0).float()) > 0


@dataclass(frozen=True)
class DenseCodes:
    """Codes as (…, samples, latents), none below zero, for sparsity that is dense or whose gradient is."""

    values: Tensor

    def dense(self) -> Tensor:
        """Return the codes as they are."""
        return self.values

    def error(self, rows: Tensor, bias: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean squared error of `codes @ rows + bias` against `y`, and the residual, held constant."""
        error, residual = _DenseError.apply(self.values, rows, bias, y.detach())
        return error, residual

    def distance(self, z: Tensor) -> Tensor:
        """Return the squared distance from other codes, held constant: the mean over samples, (…)."""
        return _DenseDistance.apply(self.values, z.detach())

    def fired(self) -> Tensor:
        """Return which latents have a value above zero in some sample: (…, latents), boolean."""
        return self.values.detach().amax(-2) > 0


Codes = SparseCodes | DenseCodes


def preactivations(y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return y @ weight.mT + bias, (…, samples, latents), with the repeats of any operand broadcast."""
    return matmul(y, weight.mT).add_(bias.unsqueeze(-2))


def attach(values: Tensor, y: Tensor, weight: Tensor, bias: Tensor, support: Support) -> Tensor:
    """Return pre-activations on a support, found without gradients, as functions of what they were computed from."""
    if not torch.is_grad_enabled():
        return values
    repeats = support.shape[:-1]
    return _Attached.apply(
        values, y.expand(*repeats, *y.shape[-2:]), weight.expand(*repeats, *weight.shape[-2:]),
        bias.expand(*repeats, bias.shape[-1]), support,
    )  # fmt: skip


def keep(values: Tensor, mask: Tensor) -> Tensor:
    """Return values where a mask of zeros and ones, of their type, has a one, and zero elsewhere."""
    return _Kept.apply(values, mask)


def _bags(indices: Tensor, rows: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    rows = rows.reshape(-1, rows.shape[-1])
    return F.embedding_bag(indices, rows, starts, per_sample_weights=weights, mode="sum")


class _Attached(torch.autograd.Function):
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


class _Kept(torch.autograd.Function):
    """Values where a mask of zeros and ones has a one; the gradient reaches those and no others."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(mask)
        return values * mask

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return gradient * mask, None


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
        return _mean_square(ctx, residual)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        if gradient is None:
            return (None,) * 5
        (residual,) = ctx.saved_tensors
        decoded, weights = ctx.bag
        support: Support = ctx.support
        for_values, for_rows, for_bias, *_ = ctx.needs_input_grad
        factor = _factor(gradient, residual)
        return (
            support.scale(torch.autograd.grad(decoded, weights, residual, retain_graph=True)[0], factor)
            if for_values
            else None,
            factor * support.spread(weights.detach(), residual) if for_rows else None,
            factor[..., 0] * residual.sum(-2) if for_bias else None,
            None,
            None,
        )


class _DenseError(torch.autograd.Function):
    """The same of dense codes, with dense products."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Tensor, bias: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        residual = (y - bias.unsqueeze(-2)).sub_(matmul(values, rows))
        ctx.save_for_backward(values, rows, residual)
        return _mean_square(ctx, residual)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        if gradient is None:
            return (None,) * 4
        values, rows, residual = ctx.saved_tensors
        for_values, for_rows, for_bias, _ = ctx.needs_input_grad
        scaled = _factor(gradient, residual) * residual
        return (
            matmul(scaled, rows.mT) if for_values else None,
            matmul(values.mT, scaled) if for_rows else None,
            scaled.sum(-2) if for_bias else None,
            None,
        )


class _Distance(torch.autograd.Function):
    """The squared norm of codes minus z, averaged over samples: its gradient is twice that difference, on the support.

    Codes are subtracted in place: no dense copy of them is ever made.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, z: Tensor, support: Support) -> Tensor:
        residual = z.expand(*support.shape, support.latents).clone(memory_format=torch.contiguous_format)
        residual.view(-1).index_add_(0, support.places, values.detach().reshape(-1), alpha=-1)
        ctx.support = support
        ctx.save_for_backward(residual)
        return torch.linalg.vector_norm(residual, dim=(-2, -1)).square() / residual.shape[-2]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (residual,) = ctx.saved_tensors
        support: Support = ctx.support
        missed = residual.view(-1)[support.places].reshape(support.indices.shape)
        return support.scale(missed, (-2 / residual.shape[-2] * gradient)[..., None, None]), None, None


class _DenseDistance(torch.autograd.Function):
    """The same of dense codes, whose gradient is dense."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, z: Tensor) -> Tensor:
        residual = values - z
        ctx.save_for_backward(residual)
        return torch.linalg.vector_norm(residual, dim=(-2, -1)).square() / residual.shape[-2]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (residual,) = ctx.saved_tensors
        return (2 / residual.shape[-2] * gradient)[..., None, None] * residual, None


def _mean_square(ctx: Any, residual: Tensor) -> tuple[Tensor, Tensor]:
    ctx.mark_non_differentiable(residual)
    ctx.set_materialize_grads(False)
    return torch.linalg.vector_norm(residual, dim=(-2, -1)).square() / residual.shape[-2:].numel(), residual


def _factor(gradient: Tensor, residual: Tensor) -> Tensor:
    """Return the derivative of a mean square by minus its residual, over that residual: (…, 1, 1)."""
    return (-2 / residual.shape[-2:].numel() * gradient)[..., None, None]


def _stable_order(entries: Tensor, total: int) -> Tensor:
    if entries.device.type != "cpu":
        return entries.argsort(stable=True)
    # 16-bit keys are sorted by radix: several times faster than any comparison sort
    keys = entries.numpy().astype(np.uint16 if total <= 2**16 else np.int64)
    return torch.from_numpy(np.argsort(keys, kind="stable"))
