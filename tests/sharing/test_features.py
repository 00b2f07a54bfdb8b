"""Features of one system, against systems whose features are known."""

import pickle
import re
import sys

import numpy as np
import pytest
import torch

import superpose as sp
from superpose.dictionaries.coding.shrinkage import amounts, either_sign
from superpose.files import DataError
from superpose.sharing import verdict
from superpose.sharing.consensus import shared_atoms
from superpose.sharing.reduction import why_reduced


def system(units=24, latents=40, active=3, samples=4_000, *, signed=False, noise=0.0, seed=0):
    """Return activity of a sparse system, its latents and its projection."""
    draw = np.random.default_rng(seed)
    z = (draw.random((samples, latents)) < active / latents) * draw.random((samples, latents))
    if signed:
        z *= draw.choice([-1, 1], size=z.shape)
    a = draw.normal(size=(units, latents))
    y = z @ a.T
    return (y + noise * y.std() * draw.normal(size=y.shape)).astype(np.float32), z, a


def cosines(features, a):
    return features.dictionary.T @ (a / np.linalg.norm(a, axis=0))


@pytest.fixture(scope="module")
def known():
    x, z, a = system()
    return x, z, a, sp.features(x)


def test_all_features_are_found_and_no_others(known):
    _, _, a, found = known
    assert len(found) == pytest.approx(40, rel=0.05)
    assert (cosines(found, a).max(axis=0) > 0.9).mean() >= 0.95


def test_codes_are_the_latents(known):
    x, z, a, found = known
    codes, held = found.codes(x), found.held_out
    which = cosines(found, a).argmax(axis=1)
    r = [np.corrcoef(codes[held, i], z[held, j])[0, 1] for i, j in enumerate(which)]
    assert np.median(r) > 0.97
    assert codes.min() >= 0
    assert not found.settings["signed"]


def test_decoded_codes_are_the_activity(known):
    x, _, _, found = known
    left = x - found.decode(found.codes(x))
    assert np.square(left[found.held_out]).sum() < 0.05 * np.square(x - x.mean(axis=0))[found.held_out].sum()
    assert found.settings["explained"] > 0.95


def test_the_table_describes_held_out_codes(known):
    x, _, _, found = known
    codes = found.codes(x[found.held_out])
    table = found.table
    assert table.columns.tolist() == ["feature", "active", "sd", "halves", "variance", "latent"]
    np.testing.assert_allclose(table.active, (codes != 0).mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(table.sd, codes.std(axis=0), rtol=1e-3)
    assert (table.halves > 0.9).all()
    assert table.variance.is_monotonic_decreasing
    assert 0.7 < table.variance.sum() < 1.3
    for name in ("features", "latents", "active", "signed", "unexplained", "penalty", "samples", "training", "units"):
        assert name in found.settings
    assert found.path.found.iloc[-1] == pytest.approx(len(found), abs=2)


def test_the_variance_of_a_feature_is_what_is_lost_without_it(known):
    x, _, _, found = known
    y = np.asarray(x[found.held_out], dtype=np.float64)
    codes = found.codes(y).astype(np.float64)

    def left(kept):
        rest = y - codes[:, kept] @ found.dictionary.T[kept]
        return np.square(rest - rest.mean(axis=0)).sum()

    every = np.arange(len(found))
    total = np.square(y - y.mean(axis=0)).sum()
    for feature in (0, 7):
        lost = (left(every[every != feature]) - left(every)) / total
        assert found.table.variance[feature] == pytest.approx(lost, rel=1e-3)


def test_equal_seeds_give_equal_bits(known):
    x, _, _, found = known
    again = sp.features(x)
    assert np.array_equal(again.dictionary, found.dictionary)
    assert np.array_equal(again.codes(x[:50]), found.codes(x[:50]))
    other = pickle.loads(pickle.dumps(found))
    assert np.array_equal(other.codes(x[:50]), found.codes(x[:50]))


def test_a_rotated_scaled_and_moved_copy_has_the_same_features(known):
    x, _, a, found = known
    q = np.linalg.qr(np.random.default_rng(1).normal(size=(24, 24)))[0]
    copy = sp.features(7 * x @ q.T + 3)
    assert len(copy) == pytest.approx(len(found), abs=2)
    assert (cosines(copy, q @ a).max(axis=0) > 0.9).mean() >= 0.95


def test_the_order_of_units_does_not_matter(known):
    x, _, a, _ = known
    order = np.random.default_rng(2).permutation(24)
    found = sp.features(x[:, order])
    assert (cosines(found, a[order]).max(axis=0) > 0.9).mean() >= 0.95


def test_signed_latents_are_two_amounts_or_one_signed_code():
    x, _, a = system(units=16, latents=20, active=2, samples=2_000, signed=True)
    found = sp.features(x)
    directions = 1 if found.settings["signed"] else 2
    assert len(found) == pytest.approx(20 * directions, rel=0.05)
    assert (np.abs(cosines(found, a)).max(axis=0) > 0.9).mean() >= 0.95
    assert (found.codes(x).min() < 0) == found.settings["signed"]
    assert directions == 1 or found.settings["antipodes"] > 0.9


def test_dense_activity_has_no_features():
    found = sp.features(np.random.default_rng(3).normal(size=(3_000, 16)))
    assert len(found) == 0
    assert found.codes(np.ones((2, 16))).shape == (2, 0)
    assert found.settings["explained"] == 0
    assert len(found.table) == 0


def test_halves_and_test_samples_never_split_a_group(known):
    x, _, _, _ = known
    groups = np.repeat(np.arange(400), 10)
    found = sp.features(x, groups=groups)
    assert len(np.unique(groups[found.held_out])) + len(np.unique(groups[~found.held_out])) == 400
    assert len(found) == pytest.approx(40, rel=0.05)


def test_copies_within_groups_do_not_make_features():
    draw = np.random.default_rng(4)
    x = np.repeat(draw.normal(size=(150, 8)), 10, axis=0)
    groups = np.repeat(np.arange(150), 10)
    assert len(sp.features(x, groups=groups)) == 0


def test_chosen_test_samples_are_held_out(known):
    x, _, _, _ = known
    mask = np.arange(len(x)) >= 3_000
    assert np.array_equal(sp.features(x, test=mask).held_out, mask)


def test_given_atoms(known):
    x, z, a = (of[:1_500] if len(of) > 100 else of for of in known[:3])
    found = sp.features(x, dictionary=3 * a)
    which = cosines(found, a).argmax(axis=1)
    assert sorted(which) == list(range(40))
    assert found.settings["source"] == "given"
    assert not found.settings["signed"]
    r = [np.corrcoef(found.codes(x)[:, i], z[:, j])[0, 1] for i, j in enumerate(which)]
    assert np.median(r) > 0.9
    x, _, a = system(samples=1_000, signed=True)
    assert sp.features(x, dictionary=a).settings["signed"]


def test_given_autoencoder(known):
    x = known[0][:600]
    sae = sp.SparseAutoencoder(24, 48, sp.TopK(3), generator=torch.Generator().manual_seed(0))
    sp.fit(sae, sp.losses.reconstruction, x, steps=50)
    found = sp.features(x, dictionary=sae)
    np.testing.assert_allclose(found.decode(found.codes(x)), sae.decode(sae.encode(x)), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(found.dictionary, axis=0), 1, atol=1e-5)
    assert found.settings["latents"] == 48
    assert found.table.halves.isna().all()


def test_many_units_are_reduced_to_components(known):
    x, _, a, _ = known
    wide = np.random.default_rng(5).normal(size=(24, 500)) / 5
    noise = 0.02 * np.random.default_rng(6).normal(size=(len(x), 500))
    found = sp.features(x @ wide + noise)
    assert re.search("500 units are more than a tenth of 3200 training samples", found.settings["reduced"])
    assert 24 <= found.settings["components"] <= 27
    assert found.dictionary.shape == (500, len(found))
    assert (cosines(found, wide.T @ a).max(axis=0) > 0.9).mean() >= 0.9


def test_a_dominant_unit_is_said():
    x = np.random.default_rng(7).normal(size=(300, 4)) * [1, 1, 9, 1]
    assert why_reduced(x) == "unit 2 has 96 % of the variance"
    assert why_reduced(x[:, [0, 1, 3]]) == ""


def test_shared_atoms_are_merged_and_compounds_left_out():
    e = torch.eye(4)
    compound = torch.nn.functional.normalize(e[0] + e[1], dim=0)
    near = torch.nn.functional.normalize(e[2] + 0.3 * e[3], dim=0)
    half = torch.stack([e[0], e[1], e[2], compound, near])
    shared, between = shared_atoms(torch.stack([half, half]), amounts)
    np.testing.assert_allclose(between, 1, atol=1e-6)
    assert {tuple(row) for row in shared.tolist()} == {tuple(row) for row in e[:3].tolist()}
    flipped, _ = shared_atoms(torch.stack([e[:2], -e[:2]]), either_sign)
    assert len(flipped) == 2
    assert len(shared_atoms(torch.stack([e[:2], -e[:2]]), amounts)[0]) == 0


def test_features_in_opposite_directions_stay_two():
    draw = np.random.default_rng(5)
    z = (draw.random((6_000, 24)) < 0.08) * draw.random((6_000, 24))
    a = draw.normal(size=(20, 24))
    a[:, 1::2] = -a[:, ::2]
    found = sp.features(z @ a.T + 0.05 * draw.normal(size=(6_000, 20)))
    assert len(found) == 24
    assert not found.settings["signed"]
    assert found.settings["antipodes"] == 1


def test_amounts_that_explain_little_give_way_to_signed_codes(monkeypatch):
    x, _, a = system(units=16, latents=20, active=2, samples=2_000, signed=True)
    monkeypatch.setattr(sys.modules["superpose.sharing.features"], "HALF", 1.0)
    found = sp.features(x)
    assert found.settings["signed"] == (len(found) == 20)
    assert (np.abs(cosines(found, a)).max(axis=0) > 0.9).mean() >= 0.95


def test_numbers_that_mean_nothing_are_refused(known):
    x, _, _, found = known
    for make, words in [
        (lambda: sp.features(x[None]), r"x has shape \(1, 4000, 24\); expected \(samples, units\), one system"),
        (lambda: sp.features(x[:90]), "72 training samples; expected at least 100"),
        (lambda: sp.features(np.ones((500, 3))), "x is constant over the training samples"),
        (lambda: sp.features(np.where(x > 9, np.nan, x) * np.nan), "NaN or infinite"),
        (lambda: sp.features(x, groups=np.arange(4_000) % 2), r"2 group\(s\); expected at least three"),
        (lambda: sp.features(x, dictionary=np.ones((9, 4))), r"dictionary has shape \(9, 4\) .*with the 24 units of x"),
        (lambda: sp.features(x, dictionary=np.zeros((24, 4))), "columns that are zero or not finite"),
        (
            lambda: sp.features(x, dictionary=sp.SparseAutoencoder(9, 4, sp.TopK(1))),
            r"the repeats \(\) and 9 units; expected none, and the 24 units of x",
        ),
        (lambda: found.codes(x[:, :5]), r"x has shape \(4000, 5\); expected \(samples, 24\)"),
    ]:
        with pytest.raises(DataError, match=words):
            make()


@pytest.mark.slow
def test_dense_activity_of_unequal_variance_has_hardly_any_features():
    """Both halves may find directions of most variance: mostly none, and fewer than a verdict takes."""
    counts = []
    for seed in range(8):
        draw = np.random.default_rng(seed)
        counts.append(len(sp.features(draw.normal(size=(3_000, 16)) @ draw.normal(size=(16, 16)))))
    assert max(counts) < verdict.FEWEST
    assert np.median(counts) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("units", "latents", "active", "noise", "signed"),
    [(32, 64, 4, 0.0, False), (32, 64, 4, 0.3, False), (64, 96, 10, 0.1, False), (28, 64, 4, 0.0, True)],
)
def test_the_number_of_features_is_that_of_the_latents(units, latents, active, noise, signed):
    """At twice the critical number of units or more, within 5 %."""
    x, _, a = system(units, latents, active, 8_000, noise=noise, signed=signed, seed=11)
    found = sp.features(x)
    # A signed latent that amounts describe is two features, one a direction.
    assert len(found) == pytest.approx(latents * (2 if signed and not found.settings["signed"] else 1), rel=0.05)
    assert (np.abs(cosines(found, a)).max(axis=0) > 0.9).mean() >= 0.95
