"""Pre-activations above a threshold that each latent learns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from superpose.dictionaries.sparsity.codes import DenseCodes, preactivations
from superpose.files import DataError


@dataclass(frozen=True)
class JumpCodes(DenseCodes):
    """Codes with the pre-activations they were cut from, which their penalty needs."""

    preactivations: Tensor


class JumpReLU(nn.Module):
    """Keep pre-activations z above a threshold θ, one a latent: z H(z - θ), with H the unit step.

    The threshold is learned, as its logarithm. Its gradients are those of the paper, which see only pre-activations
    within half a bandwidth ε of it, whether kept or not: d code / dθ = -(θ / ε) K((z - θ) / ε) and, for the penalty,
    d H / dθ = -(1 / ε) K((z - θ) / ε), with K the rectangle of width and height one. Pre-activations receive the
    gradient of what was kept, and none from the penalty.

    By itself a rule has one threshold for all latents. A dictionary takes its settings and has a threshold for each
    latent and repeat: it shares none.

    Parameters
    ----------
    threshold : float
        Where every threshold starts, in units of the pre-activations: on standardised activity, those of a random
        direction have mean square one.
    bandwidth : float
        ε, in the same units: wider is smoother and more biased. The paper's thresholds and bandwidth are far smaller
        (0.001, where a direction's mean square is one over the number of units), and its batches and fits larger.

    Attributes
    ----------
    log_threshold : torch.nn.Parameter, (*repeats, latents)
        The logarithm of θ.

    Raises
    ------
    DataError
        If the threshold or the bandwidth is not a positive number.

    References
    ----------
    Rajamanoharan et al., Jumping ahead: improving reconstruction fidelity with JumpReLU sparse autoencoders (2024).

    Examples
    --------
    >>> import torch
    >>> from superpose.dictionaries.sparsity import JumpReLU
    >>> JumpReLU(threshold=1.5)(torch.tensor([[3.0, -1.0, 2.0, 1.0]]))
    tensor([[3., 0., 2., 0.]], grad_fn=<_JumpBackward>)
    """

    def __init__(self, threshold: float = 1.0, bandwidth: float = 1.0) -> None:
        super().__init__()
        self.start = _positive("threshold", threshold)
        self.bandwidth = _positive("bandwidth", bandwidth)
        self.log_threshold = nn.Parameter(torch.full((1,), math.log(self.start)))

    @property
    def threshold(self) -> Tensor:
        """The threshold of each latent: (*repeats, latents)."""
        return self.log_threshold.exp()

    def bind(self, repeats: tuple[int, ...], latents: int) -> JumpReLU:
        """Return a rule of the same settings with a threshold of its own for each latent and repeat."""
        bound = type(self)(**self.rule())
        bound.log_threshold = nn.Parameter(self.log_threshold.new_full((*repeats, latents), math.log(self.start)))
        return bound

    def forward(self, preactivations: Tensor) -> Tensor:
        """Return dense codes, (…, samples, latents), from pre-activations of the same shape."""
        return _Jump.apply(preactivations, self.threshold.unsqueeze(-2), self.bandwidth)

    def encode(self, y: Tensor, weight: Tensor, bias: Tensor) -> JumpCodes:
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
        every = preactivations(y, weight, bias)
        return JumpCodes(self(every), every)

    def penalty(self, codes: JumpCodes) -> Tensor:
        """Return the number of active latents per sample, averaged over samples: (…). It trains thresholds alone."""
        return _Step.apply(codes.preactivations, self.threshold.unsqueeze(-2), self.bandwidth).sum(-1).mean(-1)

    def rule(self) -> dict[str, float]:
        """Return the settings that rebuild this module."""
        return {"threshold": self.start, "bandwidth": self.bandwidth}

    def extra_repr(self) -> str:
        """Return the settings as text."""
        return f"threshold={self.start}, bandwidth={self.bandwidth}"


class _Jump(torch.autograd.Function):
    """z H(z - θ)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth = bandwidth
        return torch.where(z > threshold, z, 0.0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        z, threshold = ctx.saved_tensors
        for_z, for_threshold, _ = ctx.needs_input_grad
        return (
            torch.where(z > threshold, gradient, 0.0) if for_z else None,
            threshold * _through_step(gradient, z, threshold, ctx.bandwidth) if for_threshold else None,
            None,
        )


class _Step(torch.autograd.Function):
    """H(z - θ)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth = bandwidth
        return (z > threshold).to(z.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        z, threshold = ctx.saved_tensors
        return None, _through_step(gradient, z, threshold, ctx.bandwidth), None


def _through_step(gradient: Tensor, z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Return the sum over samples of -(1 / ε) K((z - θ) / ε), weighted by a gradient."""
    near = (z - threshold).abs() < bandwidth / 2
    return torch.where(near, gradient, 0.0).sum_to_size(threshold.shape) / -bandwidth


def _positive(name: str, value: float) -> float:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not (number and 0 < value < math.inf):
        raise DataError(f"{name} is {value!r}; expected a positive number, in units of the pre-activations.")
    return float(value)
