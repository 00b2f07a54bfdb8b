"""The loss of a system whose latents are known."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from superpose.dictionaries.sae import SparseAutoencoder


def supervised(sae: SparseAutoencoder, z: Float[Tensor, "*repeats samples latents"]) -> Float[Tensor, "..."]:
    """Return the error of latents that went through the units and back, Eq. (7).

    y = D z + d, then ẑ = sparsity(W y + b); the loss is the mean over samples of the squared norm of z - ẑ.

    Parameters
    ----------
    sae : SparseAutoencoder
        Its dictionary plays the part of the projection A.
    z : torch.Tensor, (…, samples, latents)
        True latents.

    Returns
    -------
    torch.Tensor, (…)
        One value per repeat, in squared units of z.

    Examples
    --------
    >>> import torch
    >>> from superpose.dictionaries.losses import supervised
    >>> from superpose.dictionaries.sae import SparseAutoencoder
    >>> from superpose.dictionaries.sparsity import TopK
    >>> sae = SparseAutoencoder(16, 64, TopK(4), repeats=(3,))
    >>> supervised(sae, torch.zeros(10, 64))
    tensor([0., 0., 0.], grad_fn=<_DistanceBackward>)
    """
    z = z.to(sae.dictionary)
    y = z @ sae.dictionary + sae.decoder_bias.unsqueeze(-2)
    return sae(y).distance(z)
