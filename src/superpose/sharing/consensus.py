"""Features that two disjoint halves of one system's samples both show: what a dictionary finds twice.

Two dictionaries are learned at once, one a half, by rounds of lasso codes and least-squares atoms, from a high penalty
(few active latents) to a low one. A feature is an atom that both halves find, and that others do not make up for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from superpose.dictionaries.coding.learning import alternate, unit
from superpose.dictionaries.coding.shrinkage import Shrink, amounts, shrunk
from superpose.sharing.encoding import STEPS
from superpose.sharing.pruning import pruned, settled

# Penalties, as parts of the activity's standard deviation over all units: what an atom must explain to be active.
# Where these find less than the part `LITTLE` of the latents, fewer than `WIDE`, the last.
PENALTIES, LAST, LITTLE = (0.4, 0.3, 0.2, 0.15, 0.1), 0.07, 0.15
# An atom of one half is that of the other beyond this cosine; two consensus atoms are one; two others make up a third.
SAME, MERGED, COMPOUND = 0.9, 0.85, 0.95
# Codes are taken at this part of the penalty that the dictionary was learned with: less shrunk, hardly more active.
# They are compared on so many samples.
CODING, COMPARED = 0.5, 2_000
# Latents at first, as multiples of the units, and at most; doubled while more than the part `FULL` of them is found
# and, below `WIDE`, while what is found explains less than the part `POOR` of the variance: the work grows as their
# cube. Where more than `FULL` is found but not `TIGHT`, the larger set must be this much larger: spare latents add a
# few that are combinations.
FIRST, MOST, FULL, POOR, WIDE, TIGHT, WIDER = 2, 8, 0.5, 0.7, 512, 0.75, 1.15
# Samples of a half, at least in all and a latent, and rounds of a block; how many of them renew poor atoms.
ROWS, ROWS_A_LATENT, ROUNDS, RENEWED, RELAXATION = 1_500, 4, 12, 7, 1.7
# The last blocks: on more samples, without relaxation, until the consensus grows by less than this.
SETTLING_ROWS, SETTLING_ROWS_A_LATENT, SETTLING_ROUNDS, SETTLING, GROWTH = 3_000, 10, 10, 12, 1.03
# Blocks at the lowest penalty: at most, and those that may pass without growth beyond `GROWING` while fewer than `FEW`
# atoms are found; none where more than the part `MANY` of the latents is. Where the lowest penalty finds less than the
# part `FAR` of what another does, that one is taken.
BLOCKS, PATIENCE, GROWING, FEW, MANY, FAR = 20, 3, 1.2, 8, 0.3, 0.6
# Samples of a half, at least in all and a latent, that atoms are weighed against one another on.
WEIGHING_ROWS, WEIGHING_ROWS_A_LATENT = 3_000, 10
# Atoms that come this near to one of the other half stay when the dictionaries are cut, and so many more beside them.
NEAR, ROOM = 0.7, 1.25


class Step(NamedTuple):
    """What was found with how many latents at one penalty."""

    latents: int
    penalty: float
    active: float
    unexplained: float
    found: int


@dataclass
class Halves:
    """Dictionaries of two halves, while they are learned, and the atoms that both have found.

    `samples` are the activity of each half, `scale` its standard deviation over all units.
    """

    samples: Sequence[Tensor]
    scale: Tensor
    atoms: Tensor
    offset: Tensor
    shrink: Shrink
    generator: torch.Generator
    codes: Tensor
    found: Tensor
    cosines: Tensor
    heard: Callable[[], None]

    @property
    def latents(self) -> int:
        """How many latents each half's dictionary has."""
        return self.atoms.shape[-2]

    def search(self, penalty: float) -> Step:
        """Learn a block that leaves poor atoms soon."""
        rows = max(ROWS, ROWS_A_LATENT * self.latents)
        return self._block(penalty, rows=rows, rounds=ROUNDS, renewed=RENEWED, relaxation=RELAXATION)

    def settle(self, penalty: float) -> Step:
        """Learn a block that comes as near to the best atoms as the samples allow."""
        rows = max(SETTLING_ROWS, SETTLING_ROWS_A_LATENT * self.latents)
        return self._block(penalty, rows=rows, rounds=SETTLING_ROUNDS, renewed=0, relaxation=1.0)

    def widen(self, latents: int) -> None:
        """Add samples as atoms until there are so many latents."""
        more = [self.drawn(half, latents - self.latents) for half in self.samples]
        self.atoms = torch.cat([self.atoms, unit(torch.stack(more))], dim=1)

    def cut(self) -> None:
        """Keep the atoms that come near to one of the other half, and those beside them that carry most."""
        cosines = _alike(self.atoms[0], self.atoms[1], self.shrink)
        near = torch.stack([cosines.amax(dim=1), cosines.amax(dim=0)]) > NEAR
        kept = min(self.latents, int(ROOM * int(near.sum(dim=1).max())) + FEW)
        energy = self.codes.square().mean(dim=1)
        rank = near * (1 + energy.amax()) + energy
        chosen = rank.topk(kept, dim=1).indices.sort(dim=1).values
        self.atoms = torch.take_along_dim(self.atoms, chosen[..., None], dim=1)

    def _block(self, penalty: float, *, rows: int, rounds: int, renewed: int, relaxation: float) -> Step:
        """Learn some rounds on samples of each half that are drawn once; return what was found."""
        rows = min(rows, *map(len, self.samples))
        y = torch.stack([self.drawn(half, rows) for half in self.samples])
        self.atoms, self.offset, self.codes = alternate(
            y,
            self.atoms,
            self.offset,
            penalty * self.scale,
            rounds=rounds,
            shrink=self.shrink,
            renewed=renewed,
            relaxation=relaxation,
            generator=self.generator,
        )
        left = y - self.offset[:, None] - self.codes @ self.atoms
        unexplained = left.square().sum() / (y - y.mean(dim=1, keepdim=True)).square().sum()
        active = (self.codes != 0).sum(dim=-1).float().mean()
        self.found, self.cosines = shared_atoms(self.atoms, self.shrink)
        self.heard()
        return Step(self.latents, penalty, float(active), float(unexplained), len(self.found))

    def drawn(self, half: Tensor, rows: int) -> Tensor:
        """Return so many samples, in random order."""
        order = torch.randperm(len(half), generator=self.generator)[:rows]
        return half[order.to(half.device)]


@dataclass(frozen=True, eq=False)
class Consensus:
    """Atoms of length 1 that both halves find, (features, units), their cosines between the halves, and the search.

    `combinations` is how many more both halves find that others make up for.
    """

    atoms: Tensor
    cosines: Tensor
    offset: Tensor
    penalty: float
    shrink: Shrink
    path: list[Step]
    combinations: int = 0

    def explained(self, y: Tensor) -> float:
        """Return the share of the variance of some samples, (samples, units), that codes of these atoms explain."""
        if not len(self.atoms):
            return 0.0
        rows = y[:COMPARED]
        scale = rows.var(dim=0, correction=0).sum().sqrt()
        codes = shrunk(rows - self.offset, self.atoms, CODING * self.penalty * scale, self.shrink, STEPS)
        left = rows - self.offset - codes @ self.atoms
        return 1 - float(left.var(dim=0, correction=0).sum() / scale.square())


def consensus(
    halves: Sequence[Tensor], *, shrink: Shrink = amounts, seed: int = 0, heard: Callable[[], None] = lambda: None
) -> Consensus:
    """Return the atoms that dictionaries of two halves of a system's samples share.

    Parameters
    ----------
    halves : two torch.Tensor, (samples, units)
        Disjoint samples of the same activity, centred, of equal rank.
    shrink : callable
        `shrinkage.amounts` or `shrinkage.either_sign`.
    seed : int
        Draws samples and first atoms.
    heard : callable
        Called after each round of learning.
    """
    units, most = halves[0].shape[1], max(1, 2 * min(map(len, halves)) // 10)
    learner = _begun(halves, min(FIRST * units, most), shrink, seed, heard)
    path: list[Step] = []
    penalty = _searched(learner, path)
    size = learner.latents
    best = _settled(learner, penalty, path)
    while size < min(MOST * units, most):
        few = len(best.atoms) <= FULL * size
        if few and (size >= WIDE or best.explained(halves[0]) >= POOR):
            break
        needed = GROWTH if len(best.atoms) > TIGHT * size else WIDER
        learner.widen(min(2 * learner.latents, MOST * units, most))
        size = learner.latents
        path.append(learner.search(penalty))
        grown = 0
        while few and path[-1].found > GROWING * grown:
            grown = path[-1].found
            path.append(learner.search(penalty))
        wider = _settled(learner, penalty, path)
        if len(wider.atoms) <= needed * len(best.atoms):
            break
        best = wider
    return _single(learner, best)


def _searched(learner: Halves, path: list[Step]) -> float:
    """Learn at falling penalties, and at the lowest while more is found; go back to the best penalty and return it."""
    states: list[Halves] = []

    def search(penalty: float) -> int:
        path.append(learner.search(penalty))
        states.append(replace(learner))
        return path[-1].found

    for penalty in PENALTIES:
        found = search(penalty)
    for penalty in (PENALTIES[-1], LAST):
        if penalty == LAST and (found > LITTLE * learner.latents or learner.latents >= WIDE):
            break
        before = waited = 0
        for _ in range(BLOCKS):
            if found > MANY * learner.latents:
                break
            if found <= GROWING * before:
                waited += 1
                if found >= FEW or waited > PATIENCE:
                    break
            before, found = found, search(penalty)
    # The lowest penalty, unless a higher one found far more.
    best = int(np.argmax([step.found for step in path]))
    place = best if found < FAR * path[best].found else len(path) - 1
    learner.atoms, learner.offset, learner.codes = (getattr(states[place], of) for of in ("atoms", "offset", "codes"))
    learner.found, learner.cosines = states[place].found, states[place].cosines
    return path[place].penalty


def _begun(halves: Sequence[Tensor], latents: int, shrink: Shrink, seed: int, heard: Callable[[], None]) -> Halves:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.stack([half.var(dim=0, correction=0).sum().sqrt() for half in halves])[:, None, None]
    nothing = scale.new_zeros(len(halves), 0, halves[0].shape[1])
    offset = scale.new_zeros(len(halves), halves[0].shape[1])
    learner = Halves(halves, scale, nothing, offset, shrink, generator, nothing, nothing[0], scale[0, 0, :0], heard)
    learner.widen(latents)
    return learner


def _settled(learner: Halves, penalty: float, path: list[Step]) -> Consensus:
    """Cut the dictionaries to what the halves nearly share, and let that settle."""
    if len(learner.found) >= FEW // 2:
        learner.cut()
    atoms, cosines = learner.found, learner.cosines
    for _ in range(SETTLING):
        path.append(learner.settle(penalty))
        grown = len(learner.found) > GROWTH * len(atoms)
        if len(learner.found) >= len(atoms):
            atoms, cosines = learner.found, learner.cosines
        if not grown:
            break
    return Consensus(atoms, cosines, learner.offset.mean(dim=0), penalty, learner.shrink, path)


def _single(learner: Halves, found: Consensus) -> Consensus:
    """Leave out atoms that others make up for; where there are none, all stay as found.

    Atoms settle without those that are left out. An atom is taken as it has settled where it does so alike in both
    halves, and as both halves found it elsewhere.
    """
    rows = max(WEIGHING_ROWS, WEIGHING_ROWS_A_LATENT * len(found.atoms))
    halves = [learner.drawn(half, rows) for half in learner.samples]
    y = torch.cat(halves)
    left = pruned(learner.drawn(y, len(y)), found.atoms, found.offset, found.penalty, found.shrink)
    combinations = len(found.atoms) - len(left.atoms)
    if not combinations:
        return found
    one, other = (settled(half, left, found.penalty, found.shrink) for half in halves)
    between = (one * other).sum(dim=-1)
    alike = between > SAME
    atoms = torch.where(alike[:, None], left.atoms, found.atoms[left.kept])
    cosines = torch.where(alike, between, found.cosines[left.kept])
    once = _first_of_each(_alike(atoms, atoms, found.shrink))
    combinations = len(found.atoms) - len(once)
    return replace(found, atoms=atoms[once], cosines=cosines[once], offset=left.offset, combinations=combinations)


def shared_atoms(atoms: Tensor, shrink: Shrink = amounts) -> tuple[Tensor, Tensor]:
    """Return the atoms of two dictionaries that are each other's nearest, averaged, and their cosines.

    Atoms that come twice are merged, and those that two others make up to within rounding of the halves are left out.

    Parameters
    ----------
    atoms : torch.Tensor, (2, latents, units)
        Of length 1.
    shrink : callable
        With `shrinkage.either_sign` the sign of an atom says nothing.

    Returns
    -------
    tuple of torch.Tensor
        (shared, units), of length 1, and (shared,), from the largest cosine down.
    """
    cosines = _alike(atoms[0], atoms[1], shrink)
    nearest, back = cosines.argmax(dim=1), cosines.argmax(dim=0)
    every = torch.arange(len(nearest), device=nearest.device)
    between = cosines[every, nearest]
    mutual = ((back[nearest] == every) & (between > SAME)).nonzero()[:, 0]
    partner = atoms[1, nearest[mutual]]
    # Of signed atoms the partner may be the antipode.
    sign = (atoms[0, mutual] * partner).sum(dim=1, keepdim=True).sign()
    order = between[mutual].argsort(descending=True, stable=True)
    shared, between = unit(atoms[0, mutual] + sign * partner)[order], between[mutual][order]
    single = _first_of_each(_alike(shared, shared, shrink))
    shared, between = shared[single], between[single]
    simple = ~_compound(shared, shrink)
    return shared[simple], between[simple]


def _alike(first: Tensor, second: Tensor, shrink: Shrink) -> Tensor:
    cosines = first @ second.mT
    return cosines if shrink is amounts else cosines.abs()


def _first_of_each(cosines: Tensor) -> Tensor:
    """Return which rows are no copies of one before."""
    copies = (cosines > MERGED).cpu().numpy()
    kept: list[int] = []
    for row in range(len(copies)):
        if not copies[row, kept].any():
            kept.append(row)
    return torch.tensor(kept, dtype=torch.int64, device=cosines.device)


def _compound(atoms: Tensor, shrink: Shrink) -> Tensor:
    """Return which atoms are nearly a sum of two others; of amounts, of positive parts of them."""
    cosines = (atoms @ atoms.mT).double()
    compound = torch.zeros(len(atoms), dtype=torch.bool, device=atoms.device)
    determinant = (1 - cosines.square()).clamp_min(1e-3)
    for number, with_first in enumerate(cosines):
        # Weights of atoms i and j in the projection on their plane; its length is the cosine with it.
        first = (with_first[:, None] - cosines * with_first) / determinant
        projected = first * with_first[:, None]
        length = (projected + projected.mT).clamp_min(0).sqrt()
        able = (first > 0) & (first.mT > 0) if shrink is amounts else torch.ones_like(first, dtype=torch.bool)
        able.fill_diagonal_(False)
        able[number], able[:, number] = False, False
        compound[number] = bool((length * able > COMPOUND).any())
    return compound
