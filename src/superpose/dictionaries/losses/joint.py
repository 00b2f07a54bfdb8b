"""The loss of several systems whose codes share one index space, and its modes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations, permutations

import torch
from torch import Tensor, nn

from superpose.arrays import choose
from superpose.dictionaries.losses.auxiliary import AUXILIARY_WEIGHT
from superpose.dictionaries.losses.crosscoder import check_dictionaries, crosscoder_terms
from superpose.dictionaries.losses.terms import Weights, on_activity, own_terms
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.dictionaries.sparsity import Codes

Dictionaries = Sequence[SparseAutoencoder]
Mode = Callable[[Dictionaries, Sequence[Tensor], Weights], Tensor]


@on_activity
def joint(
    saes: nn.ModuleList | Dictionaries,
    *xs: Tensor,
    mode: str = "detached",
    auxiliary_weight: float = AUXILIARY_WEIGHT,
    sparsity_weight: float = 0.0,
) -> Tensor:
    """Return the error of several systems whose codes share one index space, Eq. (9).

    Each system is encoded by its own encoder, c_s = sparsity(W_s y_s + b_s), and its own error is that of
    `reconstruction`. What comes to the sum of those binds the codes of the systems together.

    Parameters
    ----------
    saes : torch.nn.ModuleList or sequence of SparseAutoencoder
        One a system, of any widths.
    *xs : torch.Tensor, (…, samples, units of that system)
        Activity of each system for the same samples, in its own units.
    mode : {"detached", "cross", "separate", "agreement", "crosscoder"}
        "cross": Eq. (9) as published: the error of y_t decoded by system t's dictionary from c_s, averaged over the
        other systems; it trains encoder s and dictionary t. "detached": the dictionary of t is held constant in
        those cross terms, so that they train encoders only; a system keeps content that the others lack.
        "separate": no more terms; each system on its own. "agreement": the squared distance of two systems' codes,
        ‖c_s / √units_s - c_t / √units_t‖², averaged over samples and pairs of systems. Rows of a dictionary have
        unit norm, so that codes grow with the root of the units: divided by it, they are of one scale whatever the
        widths, and for equal widths the distance is ‖c_s - c_t‖² per unit, as the errors are.
        "crosscoder": one code for all, c = sparsity(Σ_s (W_s y_s + b_s)), from which every system is decoded. Use
        `shared_code` for that code. The latents of all systems then coincide, so that their alignment is 1 by
        construction: it must never be scored as evidence. `SCORABLE_MODES` are the others.
    auxiliary_weight : float
        Weight of `auxiliary` in each system's own term. A crosscoder has none: dead latents are counted by each
        system's own code, which it does not use.
    sparsity_weight : float
        Weight of the penalty of the sparsity in each system's own term (once, on their sum, in a crosscoder).

    Returns
    -------
    torch.Tensor, (…)
        One value per repeat.

    Raises
    ------
    DataError
        If the mode is unknown, the systems and modules differ in number, the modules in latents or repeats (in a
        crosscoder, in sparsity), or `sparsity_weight` is not 0 and the sparsity has no penalty.

    References
    ----------
    Eq. (9); for the crosscoder, Lindsey et al., Sparse crosscoders for cross-layer features and model diffing (2024).

    Examples
    --------
    >>> import torch
    >>> from superpose.dictionaries.losses import joint
    >>> from superpose.dictionaries.sae import SparseAutoencoder
    >>> from superpose.dictionaries.sparsity import TopK
    >>> saes = torch.nn.ModuleList(SparseAutoencoder(units, 64, TopK(4)) for units in (12, 16, 20))
    >>> xs = [torch.randn(10, units) for units in (12, 16, 20)]
    >>> joint(saes, *xs).shape
    torch.Size([])
    """
    terms = choose(MODES, "mode", mode)
    dictionaries: list[SparseAutoencoder] = list(saes)  # type: ignore[arg-type]
    check_dictionaries(dictionaries, xs)
    ys = [sae.standardise(x) for sae, x in zip(dictionaries, xs, strict=True)]
    return terms(dictionaries, ys, Weights(auxiliary_weight, sparsity_weight))


def _separate(saes: Dictionaries, ys: Sequence[Tensor], weights: Weights) -> Tensor:
    return _each(saes, ys, _codes(saes, ys), weights)


def _cross(saes: Dictionaries, ys: Sequence[Tensor], weights: Weights) -> Tensor:
    codes = _codes(saes, ys)
    decoders = [(sae.dictionary, sae.decoder_bias) for sae in saes]
    return _each(saes, ys, codes, weights) + _between(decoders, ys, codes)


def _detached(saes: Dictionaries, ys: Sequence[Tensor], weights: Weights) -> Tensor:
    codes = _codes(saes, ys)
    decoders = [(sae.dictionary.detach(), sae.decoder_bias.detach()) for sae in saes]
    return _each(saes, ys, codes, weights) + _between(decoders, ys, codes)


def _agreement(saes: Dictionaries, ys: Sequence[Tensor], weights: Weights) -> Tensor:
    codes = _codes(saes, ys)
    scaled = [c.dense() / math.sqrt(sae.units) for sae, c in zip(saes, codes, strict=True)]
    distances = [(a - b).square().sum(-1).mean(-1) for a, b in combinations(scaled, 2)]
    return _each(saes, ys, codes, weights) + torch.stack(distances).mean(0)


def _codes(saes: Dictionaries, ys: Sequence[Tensor]) -> list[Codes]:
    return [sae(y) for sae, y in zip(saes, ys, strict=True)]


def _each(saes: Dictionaries, ys: Sequence[Tensor], codes: Sequence[Codes], weights: Weights) -> Tensor:
    """Return the sum over systems of each one's own terms."""
    return torch.stack([own_terms(sae, y, c, weights) for sae, y, c in zip(saes, ys, codes, strict=True)]).sum(0)


def _between(decoders: Sequence[tuple[Tensor, Tensor]], ys: Sequence[Tensor], codes: Sequence[Codes]) -> Tensor:
    """Return the error of each system decoded from each other system's codes, over the number of others."""
    errors = [codes[s].error(*decoders[t], ys[t])[0] for s, t in permutations(range(len(ys)), 2)]
    return torch.stack(errors).sum(0) / (len(ys) - 1)


SCORABLE_MODES: dict[str, Mode] = {
    "separate": _separate,
    "cross": _cross,
    "detached": _detached,
    "agreement": _agreement,
}
"""The modes in which each system has a code of its own activity alone, so that alignment of codes is a finding."""

MODES: dict[str, Mode] = SCORABLE_MODES | {"crosscoder": crosscoder_terms}
