"""The loss of a dictionary whose first latents must do alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from superpose.dictionaries.losses.auxiliary import AUXILIARY_WEIGHT
from superpose.dictionaries.losses.terms import Weights, on_activity, terms_beside
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.files import DataError


@on_activity
def matryoshka(
    sae: SparseAutoencoder,
    x: Float[Tensor, "*repeats samples units"],
    *,
    prefixes: Sequence[int | float],
    auxiliary_weight: float = AUXILIARY_WEIGHT,
    sparsity_weight: float = 0.0,
) -> Float[Tensor, "..."]:
    """Return the mean error of activity decoded from the first latents alone (Bussmann et al. 2025).

    One code is computed, as for `reconstruction`. Each prefix decodes the activity from the first p latents of that
    code and the decoder's bias. Early latents serve every prefix and late ones only the longest, so that latents
    are ordered from general to specific: a code cut after p latents is a dictionary of p latents.

    Parameters
    ----------
    sae : SparseAutoencoder
        The dictionary.
    x : torch.Tensor, (…, samples, units)
        Activity, in its own units.
    prefixes : sequence of int or float
        Ascending; an integer is a number of latents, a float a share of them. The last is all: 1.0.
    auxiliary_weight : float
        Weight of `auxiliary`, which takes what all latents together leave over.
    sparsity_weight : float
        Weight of the penalty of the dictionary's sparsity, as in `reconstruction`.

    Returns
    -------
    torch.Tensor, (…)
        One value per repeat: the mean over prefixes of what `reconstruction` measures.

    Raises
    ------
    DataError
        If the prefixes do not ascend to all latents, or `sparsity_weight` is not 0 and the sparsity has no penalty.

    References
    ----------
    Bussmann, Nabeshima, Karvonen and Nanda, Learning multi-level features with Matryoshka sparse autoencoders
    (2025), who sum over prefixes.

    Examples
    --------
    >>> import functools, torch
    >>> from superpose.dictionaries.losses import matryoshka
    >>> from superpose.dictionaries.sae import SparseAutoencoder
    >>> from superpose.dictionaries.sparsity import TopK
    >>> sae = SparseAutoencoder(16, 64, TopK(4), repeats=(3,))
    >>> loss = functools.partial(matryoshka, prefixes=(0.125, 0.25, 0.5, 1.0))
    >>> loss(sae, torch.randn(10, 16)).shape
    torch.Size([3])
    """
    counts = _counts(prefixes, sae.latents)
    y = sae.standardise(x)
    codes = sae(y)
    order = torch.arange(sae.latents, device=y.device).unsqueeze(-1)
    errors = [codes.error(sae.dictionary * (order < p), sae.decoder_bias, y) for p in counts]
    _, residual = errors[-1]
    mean = torch.stack([error for error, _ in errors]).mean(0)
    return mean + terms_beside(sae, y, codes, residual, Weights(auxiliary_weight, sparsity_weight))


def _counts(prefixes: Sequence[int | float], latents: int) -> list[int]:
    counts = [_count(p, latents) for p in prefixes]
    if counts != sorted(set(counts)) or not counts or counts[0] < 1 or counts[-1] != latents:
        raise DataError(
            f"prefixes are {tuple(prefixes)}, that is {tuple(counts)} of {latents} latents; expected ascending numbers "
            "(integers) or shares (floats) of latents that end with all of them, as (0.25, 0.5, 1.0)."
        )
    return counts


def _count(prefix: int | float, latents: int) -> int:
    if isinstance(prefix, int | np.integer):
        return int(prefix)
    return round(prefix * latents) if 0 < prefix <= 1 else 0
