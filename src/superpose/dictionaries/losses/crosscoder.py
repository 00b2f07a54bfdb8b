"""One code of several systems together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from superpose.arrays import as_responses, check_paired, chunks
from superpose.arrays.labels import check_rows
from superpose.dictionaries.losses.terms import Weights, penalty
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.dictionaries.sparsity import Codes
from superpose.files import DataError


def shared_code(saes: nn.ModuleList | Sequence[SparseAutoencoder], *xs: ArrayLike | Tensor) -> ArrayLike | Tensor:
    """Return the one code of several systems, c = sparsity(Σ_s (W_s y_s + b_s)) (Lindsey et al. 2024).

    The code that `joint` trains in the mode "crosscoder"; `saes[s].decode` gives each system's activity from it. All
    systems have this same code, so their latents align by construction: an alignment of 1 that is no evidence of
    anything. `saes[s].encode` remains the code of system s alone, which the mode does not train.

    Parameters
    ----------
    saes : torch.nn.ModuleList or sequence of SparseAutoencoder
        One a system, of any widths, with equal sparsity.
    *xs : torch.Tensor or array-like, (…, samples, units of that system)
        Activity of each system for the same samples, in its own units. Arrays, which may be mapped from files, are
        read by rows.

    Returns
    -------
    torch.Tensor or numpy.ndarray, (…, samples, latents)
        A tensor with gradients where all systems are tensors, else an array.

    Raises
    ------
    DataError
        If systems and dictionaries differ in number or widths, the systems in samples, or the dictionaries in
        latents, repeats or sparsity.

    References
    ----------
    Lindsey et al., Sparse crosscoders for cross-layer features and model diffing (2024).

    Examples
    --------
    >>> import torch
    >>> from superpose.dictionaries.losses import shared_code
    >>> from superpose.dictionaries.sae import SparseAutoencoder
    >>> from superpose.dictionaries.sparsity import TopK
    >>> saes = [SparseAutoencoder(units, 64, TopK(4)) for units in (12, 16)]
    >>> codes = shared_code(saes, torch.randn(10, 12), torch.randn(10, 16))
    >>> codes.shape, saes[1].decode(codes).shape
    (torch.Size([10, 64]), torch.Size([10, 16]))
    """
    dictionaries: list[SparseAutoencoder] = list(saes)  # type: ignore[arg-type]
    check_dictionaries(dictionaries, xs)
    check_rows({f"system {i}": x for i, x in enumerate(xs)})
    arrays = [as_responses(x, f"system {i}") for i, x in enumerate(xs)]
    check_paired({f"system {i}": x for i, x in enumerate(arrays)})
    for i, (sae, x) in enumerate(zip(dictionaries, arrays, strict=True)):
        if x.shape[-1] != sae.units:
            raise DataError(f"system {i} has {x.shape[-1]} units; its dictionary expects {sae.units}.")
    tensors = [x for x in xs if isinstance(x, Tensor)]
    if len(tensors) == len(xs):
        return _inferred(dictionaries, tensors).to(tensors[0].device)
    rows = min(next(iter(chunks(x)))[1].shape[-2] for x in arrays)
    with torch.no_grad():
        parts = [
            _inferred(dictionaries, [torch.from_numpy(np.array(part, dtype=np.float32)) for _, part in together])
            for together in zip(*(chunks(x, rows) for x in arrays), strict=True)
        ]
    return torch.cat(parts, -2).cpu().numpy()


def crosscoder_terms(saes: Sequence[SparseAutoencoder], ys: Sequence[Tensor], weights: Weights) -> Tensor:
    """Return the errors of all systems, each decoded from the code they share."""
    codes: Codes = _rule(saes).encode(*_joined(saes, ys))
    errors = [codes.error(sae.dictionary, sae.decoder_bias, y)[0] for sae, y in zip(saes, ys, strict=True)]
    loss = torch.stack(errors).sum(0)
    return loss + weights.sparsity * penalty(saes[0], codes) if weights.sparsity else loss


def check_dictionaries(saes: Sequence[SparseAutoencoder], xs: Sequence[ArrayLike | Tensor]) -> None:
    """Raise a DataError unless there is one dictionary per system, and all have equally many latents and repeats."""
    if len(saes) < 2:
        raise DataError(f"joint training got {len(saes)} dictionary; expected at least two. reconstruction trains one.")
    if len(saes) != len(xs):
        raise DataError(f"{len(saes)} dictionaries and {len(xs)} systems; expected one dictionary per system.")
    latents, repeats = [sae.latents for sae in saes], [sae.repeats for sae in saes]
    if len(set(latents)) > 1:
        raise DataError(f"the dictionaries have {latents} latents; joint training needs the same number in each.")
    if len(set(repeats)) > 1:
        raise DataError(f"the dictionaries have {repeats} repeats; joint training needs the same in each.")


def _inferred(saes: Sequence[SparseAutoencoder], xs: Sequence[Tensor]) -> Tensor:
    """Return dense codes of activity, by the rule as it is in use."""
    rule = _rule(saes)
    ys = [sae.standardise(x) for sae, x in zip(saes, xs, strict=True)]
    codes: Codes = getattr(rule, "infer", rule.encode)(*_joined(saes, ys))
    return codes.dense()


def _rule(saes: Sequence[SparseAutoencoder]) -> Any:
    """Return the sparsity of the shared code: the first dictionary's, and what that learns is kept there."""
    rules = [repr(sae.sparsity) for sae in saes]
    if len(set(rules)) > 1:
        raise DataError(f"the dictionaries follow {', '.join(rules)}; one code for all needs one sparsity.")
    return saes[0].sparsity


def _joined(saes: Sequence[SparseAutoencoder], ys: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return activity, encoder and bias of all systems as of one, whose units are those of all side by side."""
    weight = torch.cat([sae.encoder for sae in saes], -1)
    bias = torch.stack([sae.encoder_bias for sae in saes]).sum(0)
    return torch.cat(list(ys), -1), weight, bias
