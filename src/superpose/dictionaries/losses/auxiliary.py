"""The term that revives dead latents."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from superpose.dictionaries.sae import SparseAutoencoder
from superpose.numerics.topk import largest

AUXILIARY_WEIGHT = 1 / 32
DEAD_AFTER = 20_000
REVIVED = 64


def auxiliary(
    sae: SparseAutoencoder,
    y: Float[Tensor, "... samples units"],
    residual: Float[Tensor, "... samples units"],
) -> Float[Tensor, "..."]:
    """Return how badly dead latents explain what the living left over (AuxK).

    A latent is dead when it was active in none of the last 20,000 training rows. Of the dead, the 64 with the
    largest pre-activations code each sample's residual through their own rows of the dictionary, without its bias,
    which the residual already excludes. Gradients reach dead latents and nothing else.

    Parameters
    ----------
    sae : SparseAutoencoder
        Its `steps_since_active` says which latents are dead.
    y : torch.Tensor, (…, samples, units)
        Standardised activity.
    residual : torch.Tensor, (…, samples, units)
        y minus its reconstruction; held constant.

    Returns
    -------
    torch.Tensor, (…)
        The mean squared error over samples and units, one value per repeat; 0 where no latent is dead.

    References
    ----------
    Gao et al., Scaling and evaluating sparse autoencoders (2024), Appendix A.2.

    Examples
    --------
    >>> import torch
    >>> from superpose.dictionaries.losses import auxiliary
    >>> from superpose.dictionaries.sae import SparseAutoencoder
    >>> from superpose.dictionaries.sparsity import TopK
    >>> y = torch.randn(10, 16)
    >>> auxiliary(SparseAutoencoder(16, 64, TopK(4)), y, y)
    tensor(0.)
    """
    dead = sae.steps_since_active >= DEAD_AFTER
    most = int(dead.sum(-1).max())
    if not most:
        return residual.new_zeros(sae.repeats)
    some = dead.float().topk(most, dim=-1).indices
    listed = dead.gather(-1, some).unsqueeze(-2)
    weight, rows = (_rows(parameter, some) for parameter in (sae.encoder, sae.dictionary))
    values = y @ weight.mT + sae.encoder_bias.gather(-1, some).unsqueeze(-2)
    values = torch.where(listed, values.relu(), 0.0)
    if most > REVIVED:
        chosen = largest(values, REVIVED)
        values = torch.zeros_like(values).scatter(-1, chosen, values.gather(-1, chosen))
    return (values @ rows - residual.detach()).square().mean((-2, -1)) * dead.any(-1)


def _rows(parameter: Tensor, indices: Tensor) -> Tensor:
    """Return the rows of (…, latents, units) at (…, some): (…, some, units)."""
    return parameter.gather(-2, indices.unsqueeze(-1).expand(*indices.shape, parameter.shape[-1]))
