"""Every positive pre-activation, with a price on their sum."""

from __future__ import annotations

from torch import Tensor, nn

from superpose.dictionaries.sparsity.codes import Codes, DenseCodes, preactivations


class ReLU(nn.Module):
    """Keep every positive pre-activation.

    Codes become sparse by their penalty alone: a loss without it trains a dictionary whose codes are not sparse.

    References
    ----------
    Bricken et al., Towards monosemanticity (2023); Cunningham et al., Sparse autoencoders find highly interpretable
    features in language models (2023).

    Examples
    --------
    >>> import torch
    >>> from superpose.dictionaries.sparsity import ReLU
    >>> ReLU()(torch.tensor([[3.0, -1.0, 2.0, 1.0]]))
    tensor([[3., 0., 2., 1.]])
    """

    def forward(self, preactivations: Tensor) -> Tensor:
        """Return dense codes, (…, samples, latents), from pre-activations of the same shape."""
        return preactivations.relu()

    def encode(self, y: Tensor, weight: Tensor, bias: Tensor) -> DenseCodes:
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
        return DenseCodes(self(preactivations(y, weight, bias)))

    def penalty(self, codes: Codes) -> Tensor:
        """Return the L1 norm of a sample's code, averaged over samples: (…).

        It is a price only for dictionaries whose rows keep their norm, as `fit` keeps them for losses of activity.
        """
        return codes.dense().sum(-1).mean(-1)

    def rule(self) -> dict[str, float]:
        """Return the settings that rebuild this module: none."""
        return {}
