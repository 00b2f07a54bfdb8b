"""Atoms that others make up for, in dictionaries of known features to which combinations of these were added."""

import numpy as np
import pytest
import torch

import superpose as sp
from superpose.dictionaries.coding.shrinkage import amounts, either_sign
from superpose.paper.content.latents import KINDS, PROJECTIONS
from superpose.sharing.pruning import pruned

UNITS, FEATURES, FREQUENT = 16, 20, 4


def known(signed=False):
    """Return activity of scale 1, its features as atoms, its value at codes of 0; four features are frequent."""
    draw = np.random.default_rng(0)
    rates = np.where(np.arange(FEATURES) < FREQUENT, 0.4, 0.06)
    z = (draw.random((2_000, FEATURES)) < rates) * draw.random((2_000, FEATURES))
    if signed:
        z *= draw.choice([-1, 1], size=z.shape)
    atoms = draw.normal(size=(FEATURES, UNITS))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    y = z @ atoms
    centre, scale = y.mean(axis=0), np.sqrt(y.var(axis=0).sum())
    return tuple(torch.tensor(part, dtype=torch.float32) for part in ((y - centre) / scale, atoms, -centre / scale))


def with_combinations(atoms, signs):
    """Add sums or differences of two features of which one is frequent at least."""
    pairs = [(0, 1), (1, 2), (2, 10), (3, 12)]
    more = torch.stack([atoms[i] + sign * 0.7 * atoms[j] for i, j in pairs for sign in signs])
    return torch.cat([more / more.norm(dim=1, keepdim=True), atoms])


@pytest.mark.parametrize(
    ("shrink", "signed", "signs"), [(amounts, False, (1,)), (amounts, False, (1, -1)), (either_sign, True, (1,))]
)
def test_combinations_go_and_features_stay(shrink, signed, signs):
    y, atoms, offset = known(signed)
    left = pruned(y, with_combinations(atoms, signs), offset, 0.1, shrink)
    assert len(left.atoms) == FEATURES
    assert (left.atoms @ atoms.mT).abs().amax(dim=0).min() > 0.95
    assert left.kept.tolist() == sorted(left.kept.tolist())


@pytest.mark.parametrize(("shrink", "signed"), [(amounts, False), (either_sign, True)])
def test_features_alone_all_stay(shrink, signed):
    y, atoms, offset = known(signed)
    assert len(pruned(y, atoms, offset, 0.1, shrink).atoms) == FEATURES


def test_an_atom_that_comes_twice_stays_once():
    y, atoms, offset = known()
    left = pruned(y, torch.cat([atoms, atoms[5:6]]), offset, 0.1, amounts)
    assert (left.atoms @ atoms.mT).argmax(dim=1).sort().values.tolist() == list(range(FEATURES))


def test_no_atoms_stay_none():
    y, atoms, offset = known()
    assert len(pruned(y, atoms[:0], offset, 0.1, amounts).atoms) == 0


@pytest.mark.slow
@pytest.mark.parametrize("projection", ["gaussian", "correlated", "learned"])
def test_frequent_features_are_counted(projection):
    """Rates that fall from a half as one over the rank, at twice the critical number of units or more."""
    draw = np.random.default_rng(4)
    z = KINDS["zipf"](8_000, 64, 0.08, draw)
    a = PROJECTIONS[projection](44, z, draw)
    found = sp.features(z @ a.T)
    assert len(found) == pytest.approx(64, rel=0.05)
    assert found.settings["combinations"] > 3
    close = (found.dictionary.T @ (a / np.linalg.norm(a, axis=0))).max(axis=0)
    assert (close > 0.9).mean() >= 0.9


def test_a_weak_feature_stays_though_it_is_cheap_to_miss():
    y, atoms, offset = known()
    draw = np.random.default_rng(5)
    extra = torch.tensor(draw.normal(size=UNITS), dtype=torch.float32)
    extra /= extra.norm()
    # Hardly above the penalty, as a private feature of small size is.
    weak = torch.tensor((draw.random(len(y)) < 0.1) * 0.16, dtype=torch.float32)
    y = y + weak[:, None] * extra
    left = pruned(y, torch.cat([atoms, extra[None]]), offset, 0.1, amounts)
    assert FEATURES in left.kept.tolist()
