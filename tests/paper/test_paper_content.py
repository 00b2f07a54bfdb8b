"""The study of content: pairs are what they are said to be, and verdicts are judged by the truth."""

import numpy as np
import pandas as pd
import pytest

from superpose.paper.claims import judge
from superpose.paper.content import CLAIMS, FIGURE, draw, measure, study, summary
from superpose.paper.content.latents import KINDS, PROJECTIONS
from superpose.paper.content.regimes import REGIMES, drawn, is_told, is_wrong
from superpose.paper.content.summary import inverted
from superpose.theory import critical_units


@pytest.mark.parametrize("kind", KINDS)
def test_latents_are_active_as_often_as_asked(kind):
    z = KINDS[kind](20_000, 40, 0.1, np.random.default_rng(0))
    assert z.shape == (20_000, 40)
    assert z.min() == 0
    # 800,000 entries that come in groups of four at most: a standard error of .0007. Rates of "zipf" end at a half.
    asked = np.minimum(0.1 / np.arange(1, 41) / np.mean(1 / np.arange(1, 41)), 0.5).mean() if kind == "zipf" else 0.1
    assert (z > 0).mean() == pytest.approx(asked, abs=0.003)


@pytest.mark.parametrize("kind", ["bernoulli", "exponential", "zipf"])
def test_independent_latents_are_uncorrelated(kind):
    r = np.corrcoef(KINDS[kind](20_000, 20, 0.1, np.random.default_rng(1)), rowvar=False)
    assert np.abs(r - np.eye(20)).max() < 5 / np.sqrt(20_000)


def test_latents_of_a_group_come_together():
    z = KINDS["groups"](20_000, 40, 0.1, np.random.default_rng(1)) > 0
    r = np.corrcoef(z, rowvar=False) - np.eye(40)
    assert ((r > 0.2).sum(axis=0) == 3).all()


@pytest.mark.parametrize("name", PROJECTIONS)
def test_projections_keep_their_shape_and_hold_every_feature(name):
    random = np.random.default_rng(2)
    z = KINDS["bernoulli"](2_000, 24, 0.1, random)
    a = PROJECTIONS[name](24 if name == "dedicated" else 12, z, random)
    assert a.shape[1] == 24
    assert (np.linalg.norm(a, axis=0) > 0).all()


def test_learned_projections_interfere_less_than_random_ones():
    random = np.random.default_rng(3)
    z = KINDS["bernoulli"](2_000, 24, 0.05, random)

    def interference(name):
        a = PROJECTIONS[name](12, z, random)
        a = a / np.linalg.norm(a, axis=0)
        return np.maximum(a.T @ a - np.eye(24), 0).sum()

    assert interference("learned") < 0.7 * interference("gaussian")


@pytest.mark.parametrize("number", range(10))
def test_core_pairs_are_within_their_bounds(number):
    setting, pair = drawn("core", number, np.random.default_rng(number))
    low, high = {0: (0.9, 1), 1: (0, 0.5), 4: (0.5, 0.9)}[{0: 0, 2: 0, 1: 1, 3: 1, 4: 4}[number % 5]]
    assert low <= pair.truth <= high
    for units, z, activity in zip((setting.units_a, setting.units_b), pair.latents, pair.activity, strict=True):
        features = z.shape[1]
        assert 2 * critical_units(features, setting.active * features) - 1 <= units <= features
        assert activity.shape == (setting.samples, units)
    shared = slice(None, pair.shared)
    np.testing.assert_array_equal(pair.latents[0][:, shared], pair.latents[1][:, shared])


@pytest.mark.parametrize("regime", [name for name in REGIMES if name not in ("dense codes", "nested")])
def test_every_regime_gives_pairs(regime):
    _, pair = drawn(regime, 0, np.random.default_rng(5))
    x, y = pair.activity
    assert len(x) == len(y)
    assert np.isfinite(x).all()
    assert np.isfinite(y).all()
    assert 0 <= pair.truth <= 1


def test_a_rotated_copy_has_the_distances_of_the_original():
    _, pair = drawn("rotated", 0, np.random.default_rng(6))
    x, y = (one[:200] for one in pair.activity)
    np.testing.assert_allclose(x @ x.T, y @ y.T, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(pair.projections[0].T @ pair.projections[0], pair.projections[1].T @ pair.projections[1])


@pytest.mark.parametrize(
    ("regime", "verdict", "truth", "of_a", "of_b", "wrong"),
    [
        ("core", "same", 0.4, 0.4, 0.4, True),
        ("core", "same", 0.7, 0.7, 0.7, True),
        ("core", "same", 0.95, 0.95, 0.95, False),
        ("core", "different", 0.95, 0.95, 0.95, True),
        ("core", "different", 0.7, 0.7, 0.7, True),
        ("core", "different", 0.2, 0.2, 0.2, False),
        ("core", "in part", 0.2, 0.2, 0.2, False),
        ("core", "cannot tell", 0.95, 0.95, 0.95, False),
        ("nested", "different", 0.5, 1.0, 0.25, True),
        ("nested", "a among b", 0.5, 1.0, 0.25, False),
        ("nested", "b among a", 0.5, 1.0, 0.25, True),
        ("graded copies", "same", 1.0, 1.0, 1.0, True),
        ("gaussian", "different", 0.0, 0.0, 0.0, True),
    ],
)
def test_wrong_verdicts(regime, verdict, truth, of_a, of_b, wrong):
    assert is_wrong(regime, verdict, truth, of_a, of_b) is wrong


def test_in_part_tells_nothing_of_all_or_nothing():
    assert is_told("in part", 0.5)
    assert not is_told("in part", 0.97)
    assert not is_told("in part", 0.1)
    assert not is_told("cannot tell", 0.5)


def test_pairs_in_the_wrong_raw_order_are_found():
    table = pd.DataFrame(
        {
            "truth": [1.0, 0.4, 0.8],
            "raw": [0.2, 0.5, 0.9],
            "shared": [0.98, 0.45, 0.9],
            "verdict": ["same", "in part", "cannot tell"],
        }
    )
    found = inverted(table)
    assert found.told.tolist() == [True, False]
    assert found[found.told].right.tolist() == [True]


@pytest.mark.slow
def test_what_is_measured_of_a_pair(tmp_path):
    row = measure(3, regime="core", number=0)
    assert row["truth"] >= 0.9
    assert row["shared"] == pytest.approx(row["truth"], abs=0.1)
    assert not row["wrong"]
    assert row == measure(3, regime="core", number=0)
    table = pd.DataFrame([{"regime": "core", "number": 0, **row}])
    assert summary(table).pairs.tolist() == [1]
    assert len(judge(CLAIMS, table)) == len(CLAIMS)
    assert draw(table).axes


def test_more_pairs_leave_the_others_as_they_are():
    few, more = (study(core=core, hard=1, seed=4) for core in (2, 5))
    assert {job.key for job in few.jobs()} < {job.key for job in more.jobs()}
    assert len(FIGURE.at("paper").cells) == 500 + 30 * (len(REGIMES) - 1)
