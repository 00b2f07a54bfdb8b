"""Dictionaries by alternation: codes in the present atoms, then the atoms that explain the activity best with them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from superpose.dictionaries.coding.shrinkage import Shrink, amounts, shrunk

# Added to the second moments of the codes, of their mean: atoms that are hardly used stay near what they were.
RIDGE = 0.01
# Penalty on the offset: hardly any where the activity tells it, and enough where it does not.
ANCHOR = 0.1
# Atoms with a cosine beyond this are one atom twice; those used less than this part of the mean, no atoms.
TWICE = 0.97
RARE = 0.1


class Learned(NamedTuple):
    """Atoms of length 1, (dictionaries, latents, units), the activity at codes of 0, and codes of each sample."""

    atoms: Tensor
    offset: Tensor
    codes: Tensor


def update(y: Tensor, codes: Tensor, ridge: float = RIDGE, anchor: float = ANCHOR) -> tuple[Tensor, Tensor]:
    """Return the least-squares atoms and offset for given codes (method of optimal directions, Engan et al. 1999).

    Parameters
    ----------
    y : torch.Tensor, (…, samples, units)
        About its means, where the offset has a penalty.
    codes : torch.Tensor, (…, samples, latents)
    ridge : float
        Added to the diagonal of the codes' second moments, as a part of its mean.
    anchor : float
        Penalty on the offset, as part of the samples' number. Where codes always add up to the same, all atoms can be
        moved against the offset; this keeps it near 0, the mean of centred activity.

    Returns
    -------
    tuple of torch.Tensor
        Atoms, (…, latents, units), of whatever length, and the offset, (…, units).

    References
    ----------
    Engan, K., Aase, S. O. & Husøy, J. H. (1999). Method of optimal directions for frame design. ICASSP, 2443-2446.

    Examples
    --------
    >>> import torch
    >>> from superpose.dictionaries.coding.learning import update
    >>> codes = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0], [1.0, 1.0]])
    >>> atoms, offset = update(codes @ torch.tensor([[3.0, 4.0], [1.0, 2.0]]) + 5, codes, ridge=0, anchor=0)
    >>> atoms.round(decimals=2).tolist(), offset.round(decimals=2).tolist()
    ([[3.0, 4.0], [1.0, 2.0]], [5.0, 5.0])
    """
    mean_code, mean = codes.mean(dim=-2, keepdim=True), y.mean(dim=-2, keepdim=True)
    second = codes.mT @ codes
    level = second.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None].clamp_min(1e-12)
    lift = ((ridge + 1e-6) * level).expand(second.shape[:-1]).diag_embed()
    # What is left of sums about 0 when the offset, with its own penalty, is solved for.
    count = y.shape[-2] / (1 + anchor)
    inner = second - count * mean_code.mT @ mean_code + lift
    outer = codes.mT @ y - count * mean_code.mT @ mean
    atoms = torch.cholesky_solve(outer, torch.linalg.cholesky(inner))
    return atoms, ((mean - mean_code @ atoms) / (1 + anchor)).squeeze(-2)


def alternate(
    y: Tensor,
    atoms: Tensor,
    offset: Tensor,
    penalty: Tensor,
    *,
    rounds: int,
    shrink: Shrink = amounts,
    steps: int = 6,
    relaxation: float = 1.0,
    renewed: int = 0,
    generator: torch.Generator | None = None,
) -> Learned:
    """Improve a dictionary on given activity by rounds of lasso codes and least-squares atoms.

    Codes start from those of the round before, so that a few gradient steps a round are enough.

    Parameters
    ----------
    y : torch.Tensor, (dictionaries, samples, units)
        The activity that each of several dictionaries is learned on, all at once, about its means.
    atoms : torch.Tensor, (dictionaries, latents, units)
        Where to start: given atoms, or rows of activity, of length 1.
    offset : torch.Tensor, (dictionaries, units)
        Where to start, as 0.
    penalty : torch.Tensor, (dictionaries, 1, 1)
        λ of the lasso, in the units of y.
    rounds : int
    shrink : callable
        `shrinkage.amounts` for codes ≥ 0, `shrinkage.either_sign` for signed ones.
    steps : int
        Gradient steps a round; three times as many in the first.
    relaxation : float
        Atoms move this many times as far as least squares takes them. Beyond 1 they leave poor fits sooner, and
        settle less precisely.
    renewed : int
        In so many rounds, atoms that are hardly used and copies of others give way to activity that is explained badly.
    generator : torch.Generator, optional
        Draws what replaces them.

    Returns
    -------
    Learned
        Atoms of length 1, offset and the codes of the last round.
    """
    codes = None
    for number in range(rounds):
        first = codes is None
        codes = shrunk(y - offset[..., None, :], atoms, penalty, shrink, 3 * steps if first else steps, codes)
        found, offset = update(y, codes)
        used = (codes != 0).sum(dim=-2)
        target = torch.where((used > 2)[..., None], unit(found), atoms)
        atoms = unit(atoms + relaxation * (target - atoms))
        if number < renewed:
            atoms, codes = _renewed(y - offset[..., None, :], atoms, codes, used, generator)
    assert codes is not None
    return Learned(atoms, offset, codes)


def unit(rows: Tensor) -> Tensor:
    """Return rows of length 1; a zero row stays."""
    return torch.nn.functional.normalize(rows, dim=-1)


def _renewed(
    y: Tensor, atoms: Tensor, codes: Tensor, used: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    atoms, codes = atoms.clone(), codes.clone()
    for place in range(len(atoms)):
        alike = (atoms[place] @ atoms[place].mT).triu(1) > TWICE
        seldom = used[place] < (RARE * used[place].float().mean()).clamp_min(2)
        poor = (alike.any(dim=0) | seldom).nonzero()[:, 0]
        if not len(poor):
            continue
        left = y[place] - codes[place] @ atoms[place]
        worst = left.square().sum(dim=-1).topk(min(4 * len(poor), len(left))).indices
        drawn = torch.randperm(len(worst), generator=generator).to(worst.device)[: len(poor)]
        poor = poor[: len(drawn)]
        atoms[place, poor] = unit(left[worst[drawn]])
        codes[place, :, poor] = 0
    return atoms, codes
