"""What a dictionary is trained for: functions of modules and activity, one value a repeat.

Squared errors of activity are means over samples and units of standardised activity, so that each is a fraction of
variance, and systems of different widths weigh alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from superpose.files import DataError
from superpose.sae import SparseAutoencoder
from superpose.selection import largest
from superpose.sparsity import Codes

Loss = TypeVar("Loss", bound=Callable[..., Tensor])

AUXILIARY_WEIGHT = 1 / 32
DEAD_AFTER = 20_000
REVIVED = 64


def on_activity(loss: Loss) -> Loss:
    """Mark a loss whose data are activity: `fit` then standardises it and keeps dictionary rows at unit norm."""
    loss.on_activity = True  # type: ignore[attr-defined]
    return loss


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
        One value a repeat, in squared units of z.

    Examples
    --------
    >>> import torch
    >>> from superpose.losses import supervised
    >>> from superpose.sae import SparseAutoencoder
    >>> from superpose.sparsity import TopK
    >>> sae = SparseAutoencoder(16, 64, TopK(4), repeats=(3,))
    >>> supervised(sae, torch.zeros(10, 64))
    tensor([0., 0., 0.], grad_fn=<MeanBackward1>)
    """
    z = z.to(sae.dictionary)
    y = z @ sae.dictionary + sae.decoder_bias.unsqueeze(-2)
    return (z - sae(y).dense()).square().sum(-1).mean(-1)


@on_activity
def reconstruction(
    sae: SparseAutoencoder, x: Float[Tensor, "*repeats samples units"], *, auxiliary_weight: float = AUXILIARY_WEIGHT
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

    Returns
    -------
    torch.Tensor, (…)
        One value a repeat: Eq. (8) divided by the number of units, which Adam does not notice.

    Examples
    --------
    >>> import torch
    >>> from superpose.losses import reconstruction
    >>> from superpose.sae import SparseAutoencoder
    >>> from superpose.sparsity import TopK
    >>> sae = SparseAutoencoder(16, 64, TopK(4), repeats=(3,))
    >>> reconstruction(sae, torch.randn(10, 16)).shape
    torch.Size([3])
    """
    y = sae.standardise(x)
    return _own(sae, y, sae(y), auxiliary_weight)


@on_activity
def joint(
    saes: nn.ModuleList | Sequence[SparseAutoencoder],
    *xs: Tensor,
    mode: str = "detached",
    auxiliary_weight: float = AUXILIARY_WEIGHT,
) -> Tensor:
    """Return the error of several systems whose codes share one index space, Eq. (9).

    Each system is encoded by its own encoder, c_s = sparsity(W_s y_s + b_s). To every system's own error come the
    cross terms, the error of y_t decoded by system t's dictionary from c_s, averaged over the other systems.

    Parameters
    ----------
    saes : torch.nn.ModuleList or sequence of SparseAutoencoder
        One a system, of any widths.
    *xs : torch.Tensor, (…, samples, units of that system)
        Activity of each system for the same samples, in its own units.
    mode : {"detached", "cross", "separate"}
        "cross": Eq. (9) as published; cross terms train encoder s and dictionary t. "detached": the dictionary of
        t is held constant in the cross terms, so that they train encoders only; a system keeps content that the
        others lack. "separate": no cross terms; each system on its own.
    auxiliary_weight : float
        Weight of `auxiliary` in each system's own term.

    Returns
    -------
    torch.Tensor, (…)
        One value a repeat.

    Raises
    ------
    DataError
        If the mode is unknown, the systems and modules differ in number, or the modules in latents.

    Examples
    --------
    >>> import torch
    >>> from superpose.losses import joint
    >>> from superpose.sae import SparseAutoencoder
    >>> from superpose.sparsity import TopK
    >>> saes = torch.nn.ModuleList(SparseAutoencoder(units, 64, TopK(4)) for units in (12, 16, 20))
    >>> xs = [torch.randn(10, units) for units in (12, 16, 20)]
    >>> joint(saes, *xs).shape
    torch.Size([])
    """
    dictionaries: list[SparseAutoencoder] = list(saes)  # type: ignore[arg-type]
    _check_joint(dictionaries, xs, mode)
    ys = [sae.standardise(x) for sae, x in zip(dictionaries, xs, strict=True)]
    codes = [sae(y) for sae, y in zip(dictionaries, ys, strict=True)]
    own = [_own(sae, y, c, auxiliary_weight) for sae, y, c in zip(dictionaries, ys, codes, strict=True)]
    return torch.stack(own).sum(0) + MODES[mode](dictionaries, ys, codes)


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
        The mean squared error over samples and units, one value a repeat; 0 where no latent is dead.

    References
    ----------
    Gao et al., Scaling and evaluating sparse autoencoders (2024), Appendix A.2.

    Examples
    --------
    >>> import torch
    >>> from superpose.losses import auxiliary
    >>> from superpose.sae import SparseAutoencoder
    >>> from superpose.sparsity import TopK
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


def _own(sae: SparseAutoencoder, y: Tensor, codes: Codes, auxiliary_weight: float) -> Tensor:
    loss, residual = codes.error(sae.dictionary, sae.decoder_bias, y)
    return loss + auxiliary_weight * auxiliary(sae, y, residual) if auxiliary_weight else loss


def _separate(saes: Sequence[SparseAutoencoder], ys: Sequence[Tensor], codes: Sequence[Codes]) -> Tensor:
    return ys[0].new_zeros(())


def _cross(saes: Sequence[SparseAutoencoder], ys: Sequence[Tensor], codes: Sequence[Codes]) -> Tensor:
    return _between([(sae.dictionary, sae.decoder_bias) for sae in saes], ys, codes)


def _detached(saes: Sequence[SparseAutoencoder], ys: Sequence[Tensor], codes: Sequence[Codes]) -> Tensor:
    return _between([(sae.dictionary.detach(), sae.decoder_bias.detach()) for sae in saes], ys, codes)


def _between(decoders: Sequence[tuple[Tensor, Tensor]], ys: Sequence[Tensor], codes: Sequence[Codes]) -> Tensor:
    """Return the error of each system decoded from each other system's codes, over the number of others."""
    errors = [codes[s].error(*decoders[t], ys[t])[0] for s, t in permutations(range(len(ys)), 2)]
    return torch.stack(errors).sum(0) / (len(ys) - 1)


def _rows(parameter: Tensor, indices: Tensor) -> Tensor:
    """Return the rows of (…, latents, units) at (…, some): (…, some, units)."""
    return parameter.gather(-2, indices.unsqueeze(-1).expand(*indices.shape, parameter.shape[-1]))


def _check_joint(saes: Sequence[SparseAutoencoder], xs: Sequence[Tensor], mode: str) -> None:
    if mode not in MODES:
        raise DataError(f"mode is {mode!r}; expected one of {', '.join(map(repr, MODES))}.")
    if len(saes) < 2:
        raise DataError(f"joint training got {len(saes)} dictionary; expected at least two. reconstruction trains one.")
    if len(saes) != len(xs):
        raise DataError(f"{len(saes)} dictionaries and {len(xs)} systems; expected one dictionary a system.")
    latents = [sae.latents for sae in saes]
    if len(set(latents)) > 1:
        raise DataError(f"the dictionaries have {latents} latents; joint training needs the same number in each.")


MODES = {"separate": _separate, "cross": _cross, "detached": _detached}
