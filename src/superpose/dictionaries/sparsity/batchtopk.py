"""The largest pre-activations of a batch, however many fall to each sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from superpose.dictionaries.sparsity.codes import Codes, DenseCodes, RaggedSupport, SparseCodes, attach, preactivations
from superpose.dictionaries.sparsity.topk import amount, check_latents
from superpose.numerics.topk import is_largest

FORGETTING = 0.05  # weight of the newest batch in the threshold: a memory of some twenty batches


class BatchTopK(nn.Module):
    """Keep, of a batch of samples, as many of the largest pre-activations as k a sample would be.

    Samples share the batch's places: a hard one may use more latents than an easy one. Of each repeat the
    batch · k largest are kept, those of them that are positive. That is for training, as torch means it: while
    `training` is true, `encode` and `forward` select within the batch, and each call moves the threshold, a running
    mean of the smallest value kept.

    In use a code must not depend on the samples beside it: `infer`, which `SparseAutoencoder.encode` always calls,
    and `encode` and `forward` after `eval()`, keep pre-activations above the threshold and leave it as it is. It is
    0 until the first batch: an untrained rule keeps every positive pre-activation.

    By itself a rule has one threshold. A dictionary takes its settings and has a threshold for each repeat: it
    shares none.

    Parameters
    ----------
    k : int
        How many latents a sample may use on average.

    Attributes
    ----------
    threshold : torch.Tensor, (*repeats,)
        The running mean, in units of the pre-activations.

    Raises
    ------
    DataError
        For a `k` that is not a positive integer, or fewer than k latents to choose from.

    References
    ----------
    Bussmann, Leask and Nanda, BatchTopK sparse autoencoders (2024).

    Examples
    --------
    >>> import torch
    >>> from superpose.dictionaries.sparsity import BatchTopK
    >>> rule = BatchTopK(1)
    >>> rule(torch.tensor([[3.0, -1.0, 2.0], [1.0, 0.5, -2.0]]))
    tensor([[3., 0., 2.],
            [0., 0., 0.]])
    >>> rule.threshold
    tensor(2.)
    """

    threshold: Tensor

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = amount(k)
        self.register_buffer("threshold", torch.zeros(()))

    def bind(self, repeats: tuple[int, ...], latents: int) -> BatchTopK:
        """Return a rule of the same settings with a threshold of its own for each repeat."""
        check_latents("BatchTopK", self.k, latents)
        bound = type(self)(**self.rule())
        bound.threshold = self.threshold.new_zeros(repeats)
        return bound

    def forward(self, preactivations: Tensor) -> Tensor:
        """Return dense codes, (…, samples, latents), from pre-activations of the same shape."""
        kept = self._in_batch(preactivations.detach()) if self.training else self._above(preactivations)
        return torch.where(kept, preactivations, 0.0)

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
        if not self.training:
            return self.infer(y, weight, bias)
        with torch.no_grad():
            every = preactivations(y, weight, bias)
            kept = self._in_batch(every)
            support = RaggedSupport(kept.nonzero()[:, -1], every.shape[-1], kept.sum(-1))
            values = every[kept]
        return SparseCodes(attach(values, y, weight, bias, support), support)

    def infer(self, y: Tensor, weight: Tensor, bias: Tensor) -> DenseCodes:
        """Return the codes of `y @ weight.mT + bias` by the threshold, whatever `training` says."""
        every = preactivations(y, weight, bias)
        return DenseCodes(torch.where(self._above(every), every, 0.0))

    def rule(self) -> dict[str, int]:
        """Return the settings that rebuild this module."""
        return {"k": self.k}

    def extra_repr(self) -> str:
        """Return the settings as text."""
        return f"{self.k}"

    def _above(self, every: Tensor) -> Tensor:
        return every > self.threshold[..., None, None]

    def _in_batch(self, every: Tensor) -> Tensor:
        """Return what the batch keeps, and move the threshold towards the smallest of it."""
        *_, samples, latents = every.shape
        check_latents("BatchTopK", self.k, latents)
        kept = is_largest(every.flatten(-2), samples * self.k).reshape(every.shape) & (every > 0)
        self._learn(every.masked_fill(~kept, torch.inf).amin((-2, -1)))
        return kept

    def _learn(self, smallest: Tensor) -> None:
        """Average over a batch's smallest kept values, from the first on; a repeat that kept none learns nothing."""
        smallest = smallest.reshape(-1, *self.threshold.shape).mean(0).to(self.threshold)
        moved = torch.where(self.threshold > 0, self.threshold.lerp(smallest, FORGETTING), smallest)
        self.threshold.copy_(torch.where(smallest.isfinite(), moved, self.threshold))
