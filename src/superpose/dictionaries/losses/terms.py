"""What losses of activity are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from torch import Tensor

from superpose.dictionaries.losses.auxiliary import auxiliary
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.dictionaries.sparsity import Codes
from superpose.files import DataError

Loss = TypeVar("Loss", bound=Callable[..., Tensor])


class Weights(NamedTuple):
    """How much each term beside the error counts."""

    auxiliary: float
    sparsity: float


def on_activity(loss: Loss) -> Loss:
    """Mark a loss whose data are activity: `fit` then standardises it and keeps dictionary rows at unit norm."""
    loss.on_activity = True  # type: ignore[attr-defined]
    return loss


def own_terms(sae: SparseAutoencoder, y: Tensor, codes: Codes, weights: Weights) -> Tensor:
    """Return the error of one system's activity, decoded from its own code, and what is weighted beside it."""
    error, residual = codes.error(sae.dictionary, sae.decoder_bias, y)
    return error + terms_beside(sae, y, codes, residual, weights)


def terms_beside(sae: SparseAutoencoder, y: Tensor, codes: Codes, residual: Tensor, weights: Weights) -> Tensor:
    """Return the weighted terms that come to a system's error."""
    terms = residual.new_zeros(())
    if weights.auxiliary:
        terms = terms + weights.auxiliary * auxiliary(sae, y, residual)
    if weights.sparsity:
        terms = terms + weights.sparsity * penalty(sae, codes)
    return terms


def penalty(sae: SparseAutoencoder, codes: Codes) -> Tensor:
    """Return what the sparsity of a dictionary charges for codes."""
    charge: Callable[[Codes], Tensor] | None = getattr(sae.sparsity, "penalty", None)
    if charge is None:
        raise DataError(
            f"{sae.sparsity!r} has no penalty, as it bounds the active latents itself; leave sparsity_weight at 0."
        )
    return charge(codes)
