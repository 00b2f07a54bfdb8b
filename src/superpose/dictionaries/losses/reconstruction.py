"""The loss of one system whose latents are not known."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from superpose.dictionaries.losses.auxiliary import AUXILIARY_WEIGHT
from superpose.dictionaries.losses.terms import Weights, on_activity, own_terms
from superpose.dictionaries.sae import SparseAutoencoder


@on_activity
def reconstruction(
    sae: SparseAutoencoder,
    x: Float[Tensor, "*repeats samples units"],
    *,
    auxiliary_weight: float = AUXILIARY_WEIGHT,
    sparsity_weight: float = 0.0,
) -> Float[Tensor, "..."]:
    """Return the error of activity that went through the code and back, Eq. (8), with what revives dead latents.

    Parameters
    ----------
    sae : SparseAutoencoder
        The dictionary.
    x : torch.Tensor, (…, samples, units)
        Activity, in its own units.
    auxiliary_weight : float
        Weight of `auxiliary`; 0 leaves Eq. (8) alone.
    sparsity_weight : float
        Weight of the penalty of the dictionary's sparsity, for rules that do not bound the active latents themselves.

    Returns
    -------
    torch.Tensor, (…)
        One value per repeat: Eq. (8) divided by the number of units, which Adam does not notice.

    Raises
    ------
    DataError
        If `sparsity_weight` is not 0 and the sparsity has no penalty.

    Examples
    --------
    >>> import torch
    >>> from superpose.dictionaries.losses import reconstruction
    >>> from superpose.dictionaries.sae import SparseAutoencoder
    >>> from superpose.dictionaries.sparsity import TopK
    >>> sae = SparseAutoencoder(16, 64, TopK(4), repeats=(3,))
    >>> reconstruction(sae, torch.randn(10, 16)).shape
    torch.Size([3])
    """
    y = sae.standardise(x)
    return own_terms(sae, y, sae(y), Weights(auxiliary_weight, sparsity_weight))
