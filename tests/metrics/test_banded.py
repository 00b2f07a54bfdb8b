"""Banded ridge against scikit-learn on every weight, against himalaya, and what partition says of them."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from oracles import QUARTER_DECADES, centred, chosen_by_loops, mean_score

import superpose as sp
from superpose.arrays import shuffled_folds
from superpose.files import DataError
from superpose.metrics import BANDED_R2, banded_ridge, ridge
from superpose.metrics.banded import REACH, _Search
from superpose.metrics.splits import Plan
from superpose.report.differences import partition_sentences


def spaces(seed, widths=(4, 30), samples=60):
    """Return systems of total variance 1, of which the first says most, and targets."""
    draw = np.random.default_rng(seed)
    systems = [draw.normal(size=(samples, width)) + 2 for width in widths]
    systems = [x / np.sqrt(x.var(axis=0).sum()) for x in systems]
    signal = 2 * systems[0] @ draw.normal(size=(widths[0], 3)) + 0.5 * systems[1] @ draw.normal(size=(widths[1], 3))
    return systems, signal + 2 * draw.normal(size=(samples, 3))


def weighed(systems, levels):
    return np.hstack([x * 10.0 ** (level / 2) for x, level in zip(systems, levels, strict=True)])


def nested_error(x, y, train, label):
    """The least squared error over the penalties of the grid, each training fold left out in turn."""
    from sklearn.linear_model import Ridge

    def error(fraction):
        total = 0.0
        for left_out in np.unique(label[train]):
            rows, out = train & (label != left_out), label == left_out
            alpha = fraction * (centred(x[rows]) ** 2).sum() / min(rows.sum(), x.shape[1])
            total += ((Ridge(alpha=alpha, solver="svd").fit(x[rows], y[rows]).predict(x[out]) - y[out]) ** 2).sum()
        return total

    return min(map(error, QUARTER_DECADES[20:45]))


@pytest.mark.slow
@pytest.mark.parametrize("widths", [(4, 30), (3, 80)], ids=["few units", "more units than samples"])
def test_no_weight_of_two_systems_predicts_the_training_folds_better(widths):
    """Steps from equal weights end where a search of all weights does: quarters of a decade, ten decades wide."""
    systems, y = spaces(0, widths)
    label = shuffled_folds(60, 5)
    train = label != 0
    levels = [(min(0, d / 4), min(0, -d / 4)) for d in range(-16, 17)]
    errors = [nested_error(weighed(systems, one), y, train, label) for one in levels]
    search = searched(systems, y, label)
    found, fraction = search.best((1, 2, 3, 4))
    assert found == levels[int(np.argmin(errors))]
    assert search.tried((1, 2, 3, 4), found)[0] == pytest.approx(min(errors), rel=1e-9)
    assert fraction in QUARTER_DECADES


def searched(systems, y, label):
    from superpose.moments import of_pair

    rounds = tuple((fold, tuple(f for f in range(5) if f != fold)) for fold in range(5))
    moments = of_pair(np.hstack(systems), y, label, targets=("y",))
    return _Search(moments, Plan(rounds), tuple(x.shape[1] for x in systems), tuple(QUARTER_DECADES))


def by_scikit_learn(systems, y, label, fold, levels, fraction):
    (part,) = chosen_by_loops(weighed(systems, levels), y, label, grid=[fraction], held_out=fold)
    return part[:2]


def by_himalaya(systems, y, label, fold, levels, fraction):
    from himalaya.ridge import GroupRidgeCV
    from sklearn.model_selection import PredefinedSplit

    train, x = label != fold, weighed(systems, levels)
    alpha = fraction * (centred(x[train]) ** 2).sum() / min(train.sum(), x.shape[1])
    given = {"n_iter": 10.0 ** np.array([levels]), "alphas": np.array([alpha]), "local_alpha": False}
    model = GroupRidgeCV(
        groups=np.repeat([0, 1], [x.shape[1] for x in systems]), fit_intercept=True, cv=PredefinedSplit(label[train]),
        solver_params=given | {"progress_bar": False, "warn": False},
    )  # fmt: skip
    return y[~train], model.fit(np.hstack(systems)[train], y[train]).predict(np.hstack(systems)[~train])


@pytest.mark.parametrize("peer", [by_scikit_learn, by_himalaya])
def test_scores_are_those_of_others_under_the_penalties_that_are_chosen(peer):
    systems, y = spaces(1)
    label = shuffled_folds(60, 5)
    search = searched(systems, y, label)
    chosen = [search.best(tuple(f for f in range(5) if f != fold)) for fold in range(5)]
    assert len({levels for levels, _ in chosen}) > 1
    parts = [peer(systems, y, label, fold, *chosen[fold]) for fold in range(5)]
    both = dict(zip("ab", systems, strict=True))
    for score in ("r", "r2"):
        for average in ("pooled", "units", None):
            expected = mean_score(parts, score, average)
            assert_allclose(banded_ridge(both, y, score=score, average=average), expected, atol=1e-7)


def test_one_system_is_ridge():
    systems, y = spaces(4)
    assert_allclose(banded_ridge({"a": systems[1]}, y), ridge(systems[1], y, score="r2"), rtol=1e-9)
    with pytest.raises(DataError, match="banded_r2 is of several systems together; expected ridge_r2"):
        sp.compare({"x": systems[0], "y": y}, metrics=[BANDED_R2])


@pytest.mark.parametrize("split", [{"test": np.arange(60) % 4 == 0}, {"cv": np.arange(60) % 3}], ids=["test", "folds"])
def test_scale_rotation_and_order_of_systems_change_nothing(split):
    systems, y = spaces(5)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 30)))[0]
    score = banded_ridge({"a": systems[0], "b": systems[1]}, y, **split)
    assert_allclose(banded_ridge({"b": 9 * systems[1] @ turn, "a": systems[0] + 3}, y, **split), score, rtol=1e-6)


def test_parts_with_a_penalty_each():
    """A wide system of noise costs ridge with one penalty more than four times what it costs banded ridge."""
    draw = np.random.default_rng(0)
    shape, noise = draw.normal(size=(150, 5)), draw.normal(size=(150, 200))
    systems = {"shape": shape, "noise": noise, "V4": shape @ draw.normal(size=(5, 8)) + 4 * draw.normal(size=(150, 8))}
    table = sp.partition(systems, target="V4", metrics=["ridge_r2", "banded_r2"])
    scores = table.set_index(["metric", "part"]).score
    costs = {metric: -scores[metric, "noise beyond the rest"] for metric in ("ridge_r2", "banded_r2")}
    assert 0 < 4 * costs["banded_r2"] < costs["ridge_r2"]
    assert scores["banded_r2", "shape + noise"] == pytest.approx(scores["banded_r2", "shape"], abs=0.02)
    rows = table.set_index(["metric", "part"]).loc["banded_r2"]
    assert rows[["low", "p"]].notna().all(axis=1).tolist() == [True, True, False, False, False, False]
    assert rows.why[2:].str.contains("shape + noise: no interval: how the penalties", regex=False).all()
    pd.testing.assert_frame_equal(rows[:2], table.set_index(["metric", "part"]).loc["ridge_r2"][:2], rtol=1e-9)
    said = partition_sentences(table)[1]
    assert "noise adds -0.0" in said
    assert "beyond the rest (no p-value)" in said
    assert "no interval: how the penalties" in said
    for model, of in {"shape + noise": ["shape", "noise"], "all but noise": ["shape"]}.items():
        part = model if model in scores["banded_r2"] else "shape"
        assert_allclose(scores["banded_r2", part], banded_ridge({name: systems[name] for name in of}, systems["V4"]))
    alone = sp.partition(systems, target="V4", metrics="banded_r2")
    company = table[table.metric == "banded_r2"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, company, rtol=1e-12)


def test_systems_that_cannot_be_paired():
    systems, y = spaces(6)
    with pytest.raises(DataError, match="a has 60 samples and y has 50"):
        banded_ridge({"a": systems[0]}, y[:50])
    with pytest.raises(DataError, match=r"a has shape \(2, 60, 4\); expected \(samples, units\)"):
        banded_ridge({"a": np.stack([systems[0]] * 2)}, y)
    assert np.isnan(banded_ridge({"a": systems[0], "b": systems[1]}, y, cv=2))


def test_a_system_without_variance_is_weighed_down_to_nothing_that_matters():
    systems, y = spaces(7)
    both = {"a": systems[0], "still": np.ones((60, 3))}
    assert_allclose(banded_ridge(both, y), banded_ridge({"a": systems[0]}, y), rtol=1e-6)
    assert REACH >= 4
