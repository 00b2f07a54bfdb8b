"""Atoms that others make up for: combinations of features that come together by chance, found by both halves.

The lasso prefers one atom for two features that are often active at once, since the sizes of codes are what it counts.
A penalty that grows with the logarithm of a code counts active latents instead, and gains nothing from combinations.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from superpose.dictionaries.coding.learning import unit, update
from superpose.dictionaries.coding.shrinkage import Shrink, shrunk

# Rounds of a dictionary on new samples and after atoms are left out; gradient steps of a round and of the first.
ROUNDS, SETTLING, STEPS, FIRST = 20, 10, 6, 18
# Samples that atoms are weighed on.
WEIGHED = 3_000
# Codes without an atom: how often penalties are weighted anew, and gradient steps for each.
REWEIGHTED, RECODING = 2, 10
# An atom of whose energy others leave more than this share is none of theirs, however little it would cost to miss it.
UNEXPLAINED = 0.25
# Of two redundant atoms with a larger cosine than this one is left out first: the other may then be needed.
ALIKE = 0.5
# Samples that are coded at once.
CHUNK = 8_192


class Lean(NamedTuple):
    """A dictionary, (latents, units), its offset, codes of samples with the penalty of each, and whose atoms it has."""

    atoms: Tensor
    offset: Tensor
    codes: Tensor
    penalties: Tensor
    kept: Tensor


def pruned(y: Tensor, atoms: Tensor, offset: Tensor, penalty: float, shrink: Shrink) -> Lean:
    """Return a dictionary without redundant atoms.

    An atom is redundant where the others describe the samples it is active in nearly as well, and at the price of less
    than one further active latent each. Codes minimise ½‖y − cA‖² + λ² Σ log(1 + |c|/λ), by a lasso whose penalties are
    weighted anew (Candès, Wakin & Boyd 2008).

    Parameters
    ----------
    y : torch.Tensor, (samples, units)
        In random order.
    atoms : torch.Tensor, (latents, units)
        Of length 1.
    offset : torch.Tensor, (units,)
    penalty : float
        λ, as part of the activity's standard deviation over all units.
    shrink : callable
        `shrinkage.amounts` or `shrinkage.either_sign`.

    References
    ----------
    Candès, E. J., Wakin, M. B. & Boyd, S. P. (2008). Enhancing sparsity by reweighted l1 minimization. Journal of
    Fourier Analysis and Applications 14, 877-905.
    """
    if not len(atoms):
        return Lean(atoms, offset, *(y.new_zeros(len(y), 0),) * 2, torch.arange(0, device=y.device))
    limit = _limit(y, penalty)
    found = _settled(y, _begun(y, atoms, offset, limit, shrink), limit, shrink, ROUNDS)
    while len(redundant := _redundant(y[:WEIGHED], found, limit, shrink)) and len(found.atoms) > 1:
        left = torch.ones(len(found.atoms), dtype=torch.bool, device=y.device)
        left[_apart(redundant, found.atoms)] = False
        fewer = Lean(found.atoms[left], found.offset, found.codes[:, left], found.penalties[:, left], found.kept[left])
        found = _settled(y, fewer, limit, shrink, SETTLING)
    return found


def settled(y: Tensor, start: Lean, penalty: float, shrink: Shrink) -> Tensor:
    """Return the atoms of a dictionary after it has settled on other samples, under the penalty of `pruned`."""
    if not len(start.atoms):
        return start.atoms
    limit = _limit(y, penalty)
    return _settled(y, _begun(y, start.atoms, start.offset, limit, shrink), limit, shrink, ROUNDS).atoms


def _limit(y: Tensor, penalty: float) -> float:
    return penalty * float(y.var(dim=0, correction=0).sum().sqrt())


def _begun(y: Tensor, atoms: Tensor, offset: Tensor, limit: float, shrink: Shrink) -> Lean:
    codes = shrunk(y - offset, atoms, y.new_tensor(limit), shrink, FIRST)
    return Lean(atoms, offset, codes, _penalties(codes, limit), torch.arange(len(atoms), device=y.device))


def _settled(y: Tensor, start: Lean, limit: float, shrink: Shrink, rounds: int) -> Lean:
    """Alternate codes, whose penalties follow from those before, and least-squares atoms."""
    atoms, offset, codes, penalties, kept = start
    for _ in range(rounds):
        codes = shrunk(y - offset, atoms, penalties, shrink, STEPS, codes)
        penalties = _penalties(codes, limit)
        found, offset = update(y, codes)
        used = (codes != 0).sum(dim=0) > 2
        atoms = torch.where(used[:, None], unit(found), atoms)
    return Lean(atoms, offset, codes, penalties, kept)


def _penalties(codes: Tensor, limit: float) -> Tensor:
    return limit**2 / (codes.abs() + limit)


def _prices(codes: Tensor, limit: float) -> Tensor:
    return limit**2 * torch.log1p(codes.abs() / limit)


def _redundant(y: Tensor, of: Lean, limit: float, shrink: Shrink) -> Tensor:
    """Return the atoms whose part others take over for less than one more active latent a sample, the cheapest first.

    A weak feature costs hardly more than its price, so that missing it would be cheap: others must explain it as well.
    """
    codes = of.codes[: len(y)]
    lost, left = _weighed(y - of.offset, of.atoms, codes, limit, shrink)
    price, energy = _prices(codes, limit).sum(dim=0), codes.square().sum(dim=0)
    order = (lost / price.clamp_min(1e-12)).argsort(stable=True)
    return order[((lost < price) & (left <= UNEXPLAINED * energy) | (energy == 0))[order]]


def _apart(redundant: Tensor, atoms: Tensor) -> list[int]:
    """Return the first of redundant atoms, half of them at most, that are unlike one another."""
    chosen: list[int] = []
    for atom in redundant.tolist():
        if not (atoms[chosen] @ atoms[atom]).abs().gt(ALIKE).any():
            chosen.append(atom)
        if 2 * len(chosen) >= len(redundant):
            break
    return chosen


def _weighed(y: Tensor, atoms: Tensor, codes: Tensor, limit: float, shrink: Shrink) -> tuple[Tensor, Tensor]:
    """Return what leaving each atom out adds to the cost of the samples it is active in, and to what is unexplained."""
    lost, left = atoms.new_zeros(2, len(atoms))
    error = (y - codes @ atoms).square().sum(dim=-1)
    before = error / 2 + _prices(codes, limit).sum(dim=-1)
    # Each sample comes once for each atom that is active in it, and is coded without that one.
    for pairs in codes.nonzero().split(CHUNK):
        sample, atom = pairs.unbind(dim=1)
        each = torch.arange(len(pairs), device=y.device)
        without, target = codes[sample], y[sample]
        without[each, atom] = 0
        for _ in range(REWEIGHTED):
            penalties = _penalties(without, limit)
            penalties[each, atom] = torch.inf
            without = shrunk(target, atoms, penalties, shrink, RECODING, without)
        missed = (target - without @ atoms).square().sum(dim=-1)
        left.index_add_(0, atom, missed - error[sample])
        lost.index_add_(0, atom, missed / 2 + _prices(without, limit).sum(dim=-1) - before[sample])
    return lost, left
