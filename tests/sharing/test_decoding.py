"""What another system holds of features, against pairs whose shared features are known."""

from dataclasses import replace

import numpy as np
import pytest

import superpose as sp
from superpose.files import DataError
from superpose.sharing import decode, decoder, side
from superpose.sharing.packing import packing_of
from superpose.statistics import false_discovery

SHARED, PRIVATE, ACTIVE = 20, 12, 2


def latents(samples, seed, count=SHARED + 2 * PRIVATE):
    draw = np.random.default_rng(seed)
    return (draw.random((samples, count)) < ACTIVE / (SHARED + PRIVATE)) * draw.random((samples, count))


def packed(z, units, seed):
    return z @ np.random.default_rng(seed).normal(size=(z.shape[1], units))


@pytest.fixture(scope="module")
def pair():
    """Two systems that share 20 of 32 features, given as their true atoms, and one that shares none."""
    z = latents(4_000, 0)
    own = {"a": np.r_[:SHARED, SHARED : SHARED + PRIVATE], "b": np.r_[:SHARED, SHARED + PRIVATE : z.shape[1]]}
    sides, shared = {}, {}
    for number, (name, columns) in enumerate(own.items()):
        atoms = np.random.default_rng(number + 1).normal(size=(20, len(columns)))
        x = z[:, columns] @ atoms.T
        found = sp.features(x, dictionary=atoms)
        sides[name] = side(name, x, found)
        which = (found.dictionary.T @ (atoms / np.linalg.norm(atoms, axis=0))).argmax(axis=1)
        shared[name] = which < SHARED
    stranger = packed(latents(4_000, 9), 20, 5)
    sides["c"] = side("c", stranger, sp.features(stranger, dictionary=np.eye(20)))
    return sides, shared


def test_shared_features_are_held_and_private_ones_are_not(pair):
    sides, shared = pair
    for name, other in (("a", "b"), ("b", "a")):
        table = decode(sides[name], sides[other], permutations=0).table
        ratio = table.ratio.to_numpy()
        above = (ratio[shared[name]][:, None] > ratio[~shared[name]]).mean()
        assert above > 0.99
        assert table.assessable.all()
        assert (table.held.to_numpy() == shared[name]).all()
        assert table.p.isna().all()


def test_independent_systems_hold_nothing(pair):
    sides, _ = pair
    table = decode(sides["a"], sides["c"]).table
    assert not table.held.any()
    assert (table.q < 0.05).sum() == 0
    assert 0.2 < table.p.mean() < 0.8


def test_dependence_is_significant_where_features_are_shared(pair):
    sides, shared = pair
    table = decode(sides["a"], sides["b"]).table
    assert (table.q[shared["a"]] < 0.01).all()
    again = decode(sides["a"], sides["b"]).table
    assert again.equals(table)


def test_the_ceiling_is_the_systems_own_prediction(pair):
    sides, _ = pair
    table = decode(sides["a"], sides["a"], permutations=0).table
    np.testing.assert_allclose(table.ratio, 1)
    np.testing.assert_allclose(table.r_self, sides["a"].own)
    np.testing.assert_allclose(table.effect, table.effect_self)


def test_effect_is_the_share_of_the_others_variance(pair):
    sides, shared = pair
    table = decode(sides["a"], sides["b"], permutations=0).table
    assert table.effect[shared["a"]].sum() == pytest.approx(SHARED / (SHARED + PRIVATE), abs=0.1)
    assert table.effect[~shared["a"]].sum() == pytest.approx(0, abs=0.02)
    assert table.effect[~shared["a"]].min() < 0
    assert table.effect_self.sum() == pytest.approx(1, abs=0.1)


def test_directions_are_the_others_own_atoms(pair):
    sides, shared = pair
    found = decode(sides["a"], sides["b"], permutations=0)
    directions = found.directions[shared["a"]]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    partner = found.table.partner.to_numpy()[shared["a"]]
    atoms = sides["b"].features.dictionary.T[partner]
    assert np.median((directions * atoms).sum(axis=1)) > 0.95
    assert np.median(found.table.partner_r[shared["a"]]) > 0.7
    assert np.abs(found.table.partner_r[~shared["a"]]).max() < 0.3


def test_scale_rotation_and_order_of_units_do_not_matter(pair):
    sides, _ = pair
    expected = decode(sides["a"], sides["b"], permutations=0).table
    x, found = sides["b"].activity, sides["b"].features
    order = np.random.default_rng(3).permutation(x.shape[1])
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(20, 20)))[0]
    for changed in (5 * x + 2, x[:, order], x @ turn):
        again = side("b", changed, sp.features(changed, dictionary=np.eye(20), test=found.held_out))
        table = decode(sides["a"], again, permutations=0).table
        assert np.abs(table.ratio - expected.ratio).max() < 0.2
        assert (table.held == expected.held).all()


def test_repeats_leave_noise_out():
    z = latents(4_000, 1, 16)
    draw = np.random.default_rng(0)
    atoms = draw.normal(size=(24, 16))
    first, second, other, again = (z @ atoms.T + 0.8 * draw.normal(size=(4_000, 24)) for _ in range(4))
    found = {"a": sp.features(first, dictionary=atoms), "b": sp.features(other, dictionary=atoms)}
    once = decode(side("a", first, found["a"]), side("b", other, found["b"]), permutations=0).table
    with_repeats = decode(
        side("a", first, found["a"], repeat=second), side("b", other, found["b"], repeat=again), permutations=0
    ).table
    assert once.ratio.median() < 0.9
    assert with_repeats.ratio.median() == pytest.approx(1, abs=0.05)


def test_what_remains_within_a_label():
    """One feature is the label, the other is not."""
    draw = np.random.default_rng(2)
    labels = draw.integers(0, 8, 4_000)
    of_label, apart = (labels < 2).astype(float), (draw.random(4_000) < 0.2) * draw.random(4_000)
    x = np.column_stack([of_label, apart]) + 0.01 * draw.normal(size=(4_000, 2))
    y = np.column_stack([of_label + apart, of_label - apart]) + 0.01 * draw.normal(size=(4_000, 2))
    a = side("a", x, sp.features(x, dictionary=np.eye(2)), labels=labels)
    b = side("b", y, sp.features(y, dictionary=np.eye(2)))
    table = decode(a, b, permutations=0).table
    label, other = (int(np.argmax([np.corrcoef(c, of)[0, 1] for c in a.codes.T])) for of in (of_label, apart))
    assert table.ratio.min() > 0.9
    assert table.within_other[other] > 0.9
    assert table.within_label[other] > 0.9
    assert table.within_other[label] < 0.7
    without = decode(side("a", x, a.features), b, permutations=0).table
    assert without.within_label.isna().all()


def test_labels_seen_once_in_training_are_left_out():
    x = np.random.default_rng(3).exponential(size=(600, 3))
    found = sp.features(x, dictionary=np.eye(3))
    labels = np.where(np.arange(600) < 300, "often", np.arange(600).astype(str))
    within = side("a", x, found, labels=labels).within
    assert np.isfinite(within[:300]).all()
    assert np.isnan(within[300:]).all()
    with pytest.raises(DataError, match="labels occur once each among the training samples"):
        side("a", x, found, labels=np.arange(600))


def test_groups_are_permuted_whole():
    """Copies of samples within groups would make chance look significant."""
    draw = np.random.default_rng(4)
    groups = np.repeat(np.arange(60), 20)
    small = 0
    for _ in range(5):
        x, y = (
            np.repeat(draw.exponential(size=(60, 3)), 20, axis=0) + 0.01 * draw.normal(size=(1_200, 3)) for _ in "ab"
        )
        found = [sp.features(of, dictionary=np.eye(3), groups=groups) for of in (x, y)]
        a, b = (side(n, of, f, groups=groups) for n, of, f in zip("ab", (x, y), found, strict=True))
        small += int((decode(a, b, permutations=199).table.p < 0.05).sum())
    assert small <= 4


def test_a_system_without_features():
    x = np.random.default_rng(3).normal(size=(3_000, 16))
    nothing = side("a", x, sp.features(x))
    other = np.random.default_rng(4).exponential(size=(3_000, 3))
    b = side("b", other, sp.features(other, dictionary=np.eye(3)))
    assert len(decode(nothing, b).table) == 0
    table = decode(b, nothing, permutations=0).table
    assert (table.partner == -1).all()
    assert table.partner_r.isna().all()


def test_a_latent_that_is_never_active_is_not_assessable():
    x = np.abs(np.random.default_rng(5).normal(size=(1_000, 2))) @ np.eye(2, 3) + np.array([0, 0, 1])
    found = sp.features(x, dictionary=np.eye(3))
    a = side("a", x, found)
    table = decode(a, a).table
    dead = table.assessable == (found.table.active == 0)
    assert not table.assessable[found.table.active == 0].any()
    assert table.q[found.table.active == 0].isna().all()
    assert not dead.all()


def test_the_decoder_predicts_nonlinear_functions_and_explains_their_variance():
    x = np.random.default_rng(6).normal(size=(3_000, 4))
    held_out = np.arange(3_000) >= 2_400
    found = decoder(x, held_out)
    targets = np.column_stack([x[:, 0] * x[:, 1], x[:, 2]])
    left = targets[held_out] - found.predict(targets)
    spread = targets[held_out] - targets[held_out].mean(axis=0)
    assert found.explained(targets) == pytest.approx(1 - np.square(left).sum() / np.square(spread).sum())
    assert found.explained(targets) > 0.9
    assert found.explained(np.random.default_rng(7).normal(size=(3_000, 1))) < 0.1
    assert np.isnan(found.explained(np.ones((3_000, 1))))


def test_sides_that_do_not_fit_are_refused(pair):
    sides, _ = pair
    a = sides["a"]
    x = a.activity
    elsewhere = sp.features(x, dictionary=np.eye(20), seed=1)
    groups = np.arange(4_000) // 2
    for make, words in [
        (lambda: decode(a, side("d", x, elsewhere)), "a and d hold out different samples"),
        (lambda: decode(a, side("d", x, a.features, groups=groups)), "a and d have different groups"),
        (lambda: side("a", x[:50], a.features), r"x has shape \(50, 20\); expected \(4000, 20\)"),
        (lambda: side("a", x, a.features, repeat=x[:, :2]), r"repeat has shape \(4000, 2\); expected \(4000, 20\)"),
    ]:
        with pytest.raises(DataError, match=words):
            make()


def test_false_discovery_is_benjamini_hochberg():
    from scipy.stats import false_discovery_control

    p = np.random.default_rng(8).random(50) ** 3
    np.testing.assert_allclose(false_discovery(p), false_discovery_control(p))
    assert np.isnan(false_discovery(np.array([np.nan, 0.2]))[0])


@pytest.mark.prove
def test_shares_are_estimated_without_bias():
    """Features found, not given: the share of them that the other holds, over truths from 0 to 1."""
    errors, above = [], []
    for number, share in enumerate(np.linspace(0, 1, 13)):
        count, draw = 48, np.random.default_rng((20, number))
        shared = round(share * count)
        z = latents(8_000, (21, number), 2 * count - shared)
        a, b = draw.normal(size=(28, count)), draw.normal(size=(32, count))
        x, y = z[:, :count] @ a.T, z[:, count - shared :] @ b.T
        found = sp.features(x), sp.features(y)
        table = decode(side("x", x, found[0]), side("y", y, found[1])).table
        which = (found[0].dictionary.T @ (a / np.linalg.norm(a, axis=0))).argmax(axis=1) >= count - shared
        errors.append(table.held[table.assessable].mean() - shared / count)
        if 0 < shared < count:
            ratio = table.ratio.to_numpy()
            above.append((ratio[which][:, None] > ratio[~which]).mean())
    print(f"bias {np.mean(errors):.4f}, largest error {np.abs(errors).max():.3f}, AUC {np.mean(above):.4f}")
    assert abs(np.mean(errors)) <= 0.01
    assert np.quantile(np.abs(errors), 0.9) <= 0.05
    assert np.mean(above) >= 0.99


def test_more_units_than_samples_take_no_product_of_units():
    random = np.random.default_rng(8)
    latents = random.normal(size=(400, 5))
    x = latents @ random.normal(size=(5, 3_000)) + 0.5 * random.normal(size=(400, 3_000))
    found = decoder(x, np.arange(400) >= 300)
    assert found.predictors.shape[1] < 500
    assert found.explained(latents) > 0.9
    # The same inner products: the same regression on the units, and waves of the same law.
    rotated = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    narrow = decoder(rotated[0] * rotated[1], np.arange(400) >= 300)
    assert narrow.explained(latents) == pytest.approx(found.explained(latents), abs=0.05)


def test_packing_where_only_one_system_holds_the_other_s_features(pair):
    """Seen from a, b answers to no latent: those of its own are among a's. What b sees is told all the same."""
    a, b = pair[0]["a"], pair[0]["b"]
    ab, ba = (decode(one, other, permutations=0) for one, other in ((a, b), (b, a)))
    ab, ba = (replace(way, table=way.table.assign(held=held)) for way, held in ((ab, False), (ba, True)))
    found = packing_of(a, b, ab, ba)
    first = np.hstack([b.features.dictionary, np.zeros((20, len(a.features)))])
    second = np.hstack([ba.directions.T, a.features.dictionary])
    seen = sp.theory.cka(first, second, np.cov(np.hstack([b.codes, a.codes]), rowvar=False))
    assert found.packed == pytest.approx(seen, rel=1e-9)
    assert np.isnan(found.alike)
