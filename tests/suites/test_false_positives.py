"""Is p at most .05 in 5 % of draws where systems share nothing, whatever the sizes and the order of the groups?

Rows of a group are alike in each system, and nothing relates the systems. The permutation p of `compare`, and the
p of differences (`contrast`) and of parts (`partition`) under nulls of their own.
"""

import time

import numpy as np
import pytest
from proof import proved

import superpose as sp
from superpose.arrays import group_labels
from superpose.metrics import (
    ALL,
    CKA_DEBIASED,
    CKA_GROUPED,
    MORE,
    OLS_R,
    OLS_R2,
    RIDGE_R2,
    RSA,
)

GROUPS = 40
# The sizes of the groups, and how their rows stand.
SIZES = {
    "equal": lambda draw: np.full(GROUPS, 5),
    "3 to 7": lambda draw: draw.integers(3, 8, GROUPS),
    "5 to 25": lambda draw: draw.integers(5, 26, GROUPS),
    "few large": lambda draw: np.r_[np.full(6, 20), np.ones(80, dtype=np.int64)],
    "interleaved": lambda draw: draw.integers(3, 8, GROUPS),
    "sorted": lambda draw: np.sort(draw.integers(3, 8, GROUPS)),
}
FIRST = (CKA_DEBIASED, CKA_GROUPED)
OTHERS = tuple(metric for metric in (*ALL, *MORE) if metric not in FIRST)


def labels(design, draw):
    """Return the group of each row."""
    groups = np.repeat(np.arange(len(sizes := SIZES[design](draw))), sizes)
    return group_labels(draw.permutation(groups)) if design == "interleaved" else groups


def system(groups, draw, common=0.0):
    """Return rows of five units that are alike within groups; `common` is what several systems have of a group."""
    of_group = common + draw.normal(size=(groups.max() + 1, 5))
    return of_group[groups] + 0.3 * draw.normal(size=(len(groups), 5))


def content(groups, draw):
    """Return three features of each group, in five units."""
    return draw.normal(size=(groups.max() + 1, 3)) @ np.random.default_rng(0).normal(size=(3, 5))


def counted(metrics, design, draws, permutations, seed=0):
    """Return how many of the draws have a p, and how many one of at most .05, by metric."""
    have, low = ({metric.name: 0 for metric in metrics} for _ in range(2))
    for number in range(draws):
        draw = np.random.default_rng((seed, number))
        groups = labels(design, draw)
        systems = {name: system(groups, draw) for name in "xy"}
        table = sp.compare(
            systems, metrics=metrics, groups=groups, permutations=permutations, seed=number, interval_samples=2
        )
        for row in table[table.system_a == "x"].itertuples():
            have[row.metric] += row.p >= 0
            low[row.metric] += row.p <= 0.05
    return have, low


def found_related(metric, design, draws, permutations):
    """Return in which share of draws related systems have a p of at most .05."""
    low = 0
    for number in range(draws):
        draw = np.random.default_rng((1, number))
        groups = labels(design, draw)
        common = content(groups, draw)
        systems = {name: system(groups, draw, 0.4 * common) for name in "xy"}
        table = sp.compare(
            systems, metrics=[metric], groups=groups, permutations=permutations, seed=number, interval_samples=2
        )
        low += table.p[0] <= 0.05
    return low / draws


def of_differences(metrics, design, draws):
    """Return in which share of draws p of a difference is at most .05, where two systems are as close to a third."""
    low = {metric.name: 0 for metric in metrics}
    for number in range(draws):
        draw = np.random.default_rng((2, number))
        groups = labels(design, draw)
        common = content(groups, draw)
        systems = {name: system(groups, draw, common) for name in ("a", "b", "to")}
        table = sp.contrast(systems, target="to", metrics=metrics, groups=groups)
        for row in table.itertuples():
            low[row.metric] += row.p <= 0.05
    return {name: count / draws for name, count in low.items()}


def of_parts(design, draws):
    """Return in which share of draws p of a part beyond the rest is at most .05, where a system adds nothing."""
    low = 0
    for number in range(draws):
        draw = np.random.default_rng((3, number))
        groups = labels(design, draw)
        common = content(groups, draw)
        systems = {name: system(groups, draw, common) for name in ("useful", "target")}
        systems["nothing"] = system(groups, draw)
        table = sp.partition(systems, target="target", metrics=RIDGE_R2, groups=groups).set_index("part")
        low += table.p["nothing beyond the rest"] <= 0.05
    return low / draws


@pytest.mark.slow
@pytest.mark.parametrize("design", SIZES)
def test_unrelated_groups_are_rarely_significant(design):
    draws = 60
    have, low = counted([CKA_DEBIASED, RSA, OLS_R], design, draws, 39)
    for name in have:
        assert have[name] >= 0.95 * draws
        # More than 9 of 60 at a rate of .05: one in 1,000.
        assert low[name] <= 9, name


@pytest.mark.parametrize("design", ["3 to 7", "few large"])
def test_the_score_of_the_null_is_of_the_samples_that_take_part(design):
    from superpose.statistics.permutations import permutations

    draw = np.random.default_rng(0)
    groups = labels(design, draw)
    systems = {name: system(groups, draw) for name in "xy"}
    row = sp.compare(systems, metrics=[CKA_DEBIASED], groups=groups, permutations=39).iloc[0]
    folds = sp.arrays.group_folds(groups, 5, seed=0)
    exchange = permutations(len(groups), folds, groups)
    x, y = (systems[name][exchange.kept] for name in "xy")
    null = np.array([sp.cka(x, y[index], debiased=True) for index in exchange.draw(39, 0)])
    score = float(sp.cka(x, y, debiased=True))
    assert row.p == (1 + np.sum(null >= score)) / 40
    np.testing.assert_allclose([row.null, row.calibrated], [null.mean(), (score - null.mean()) / (1 - null.mean())])
    assert f"are of these {len(x)} of {len(groups)} samples" in row.null_kind
    np.testing.assert_allclose(row.score, sp.cka(systems["x"], systems["y"], debiased=True), rtol=1e-9)


def test_several_pairs_share_the_samples_of_their_nulls():
    draw = np.random.default_rng(1)
    groups = labels("3 to 7", draw)
    systems = {name: system(groups, draw) for name in "xyz"}
    asked = {"metrics": [CKA_DEBIASED, CKA_GROUPED, OLS_R2], "groups": groups, "permutations": 19}
    whole = sp.compare(systems, **asked)
    assert whole.p_adjusted.notna().all()
    assert (whole.p_adjusted >= whole.p).all()
    parts = sp.compare(systems, pairs=[("x", "z")], **asked)
    same = whole[whole.system_a.isin(["x", "z"]) & whole.system_b.isin(["x", "z"])]
    np.testing.assert_array_equal(parts.p, same.p)
    np.testing.assert_allclose(parts.null, same.null, rtol=1e-9)


@pytest.mark.prove
@pytest.mark.slow
@pytest.mark.parametrize("design", SIZES)
@pytest.mark.parametrize(
    ("metrics", "draws", "permutations", "least", "most"),
    [(FIRST, 2000, 99, 0.033, 0.067), (OTHERS, 500, 19, 0.0, 0.08)],
    ids=["debiased", "others"],
)
def test_false_positives_in_full(metrics, draws, permutations, least, most, design, as_installed):
    started = time.monotonic()
    have, low = counted(metrics, design, draws, permutations)
    shares = {name: round(count / draws, 4) for name, count in low.items()}
    engine = design if metrics is FIRST else f"{design}, others"
    counts = {"draws": draws, "permutations": permutations, **shares}
    proved("false positives", time.monotonic() - started, engine=engine, **counts)
    assert min(have.values()) >= 0.95 * draws
    assert all(least <= share <= most for share in shares.values()), shares


@pytest.mark.prove
@pytest.mark.slow
def test_power_with_groups_of_unequal_size_in_full(as_installed):
    """At least .8 times that of equal groups of as many rows."""
    started = time.monotonic()
    power = {design: found_related(CKA_DEBIASED, design, 500, 99) for design in ("equal", "3 to 7", "5 to 25")}
    counts = {design.replace(" ", "_"): share for design, share in power.items()}
    proved("power over groups", time.monotonic() - started, draws=500, **counts)
    assert power["equal"] > 0.3
    assert power["3 to 7"] >= 0.8 * power["equal"]
    assert power["5 to 25"] >= 0.8 * power["equal"]


@pytest.mark.prove
@pytest.mark.slow
@pytest.mark.parametrize("design", SIZES)
def test_false_positives_of_differences_and_parts_in_full(design, as_installed):
    started = time.monotonic()
    draws = 1000
    shares = of_differences((CKA_DEBIASED, RSA, OLS_R, OLS_R2), design, draws)
    shares["part"] = of_parts(design, draws)
    proved("false positives of differences", time.monotonic() - started, engine=design, draws=draws, **shares)
    assert max(shares.values()) <= 0.07, shares
