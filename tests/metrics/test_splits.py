"""How samples are split: folds drawn at random, groups whole, labels in balance, and names of one version ago."""

import numpy as np
import pytest
from conftest import related
from pandas.testing import assert_frame_equal

import superpose as sp
from superpose.arrays import group_folds, shuffled_folds
from superpose.cli import main
from superpose.files import DataError
from superpose.metrics import OLS_R, RIDGE_R
from superpose.metrics.splits import split_of

GROUPS = np.random.default_rng(0).permutation(np.repeat(np.arange(30), [2, 3, 4, 5, 6] * 6))
# One label per group, each of ten groups.
LABELS = GROUPS % 3


class TestDrawnFolds:
    @pytest.mark.parametrize("samples", [10, 97, 1000])
    def test_sizes_differ_by_one_at_most_and_the_seed_decides(self, samples):
        first, again, other = (shuffled_folds(samples, 5, seed=seed) for seed in (1, 1, 2))
        assert np.ptp(np.bincount(first, minlength=5)) <= 1
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
        assert not np.array_equal(first, np.sort(first))

    def test_every_fold_has_an_equal_share_of_each_label(self):
        labels = np.repeat(["cat", "dog", "owl"], [40, 33, 7])
        for seed in range(5):
            fold = shuffled_folds(80, 5, labels=labels, seed=seed)
            for label in np.unique(labels):
                assert np.ptp(np.bincount(fold[labels == label], minlength=5)) <= 1
            assert np.ptp(np.bincount(fold)) <= 1

    def test_groups_are_whole_and_the_seed_decides(self):
        first, again, other = (group_folds(GROUPS, 5, seed=seed) for seed in (1, 1, 2))
        assert all(len(set(first[group == GROUPS])) == 1 for group in range(30))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
        assert np.ptp(np.bincount(first)) <= 2

    def test_labels_of_groups_are_in_balance(self):
        for seed in range(5):
            fold = group_folds(GROUPS, 5, labels=LABELS, seed=seed)
            assert all(len(set(fold[group == GROUPS])) == 1 for group in range(30))
            for label in range(3):
                # Groups of 2 to 6 make shares that are known to about one of them.
                assert np.ptp(np.bincount(fold[label == LABELS], minlength=5)) <= 4


class TestSplit:
    def test_folds_in_turn(self):
        split = split_of(100, cv=4, seed=3)
        assert np.array_equal(split.folds, shuffled_folds(100, 4, seed=3))
        assert split.name == "cv=4"
        assert split.training == 75
        assert [training for _, training in split.plan.rounds] == [(1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2)]

    def test_in_sample(self):
        assert split_of(9, cv=None).name == "in-sample"
        assert split_of(9, cv=None).plan.rounds == ((0, (0,)),)

    @pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
    def test_a_share_is_scored_once(self, share):
        split = split_of(200, test=share)
        ((held_out, training),) = split.plan.rounds
        assert (split.folds == held_out).sum() == 200 * share
        assert training == (0, 1, 2, 3, 4)
        assert np.ptp(np.bincount(split.folds[split.folds != held_out])) <= 1
        assert split.name == "test"
        assert split.training == 200 - 200 * share

    def test_groups_are_whole_in_a_share_and_in_the_folds_that_train(self):
        split = split_of(len(GROUPS), test=0.2, groups=GROUPS, labels=LABELS)
        assert all(len(set(split.folds[group == GROUPS])) == 1 for group in range(30))
        assert abs(np.mean(split.folds == 5) - 0.2) < 6 / len(GROUPS)
        assert set(split.folds) == set(range(6))

    def test_a_mask_is_the_test(self):
        mask = np.arange(60) % 4 == 0
        assert np.array_equal(split_of(60, test=mask).folds == 5, mask)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"cv": 1}, "cv is 1; expected an integer of at least 2, or None to score in-sample"),
            ({"cv": 31}, "60 samples are too few for 31 folds; expected at least two a fold. Lower cv, or use None"),
            ({"cv": np.zeros(60)}, r"cv has shape \(60,\) and type float64; expected an integer, or the fold of each"),
            ({"cv": np.zeros(60, dtype=int)}, "cv puts every sample in one fold; expected at least two, or None"),
            ({"test": 1.0}, "test is 1.0; expected a share between 0 and 1, or a boolean for each sample"),
            ({"test": np.zeros(60, dtype=bool)}, "test marks 0 of 60 samples; expected some to score and some to fit"),
            ({"test": np.zeros(9, dtype=bool)}, r"test has shape \(9,\) and type bool; expected booleans, \(60,\), or"),
            ({"groups": np.zeros(60, dtype=int)}, r"cv is 5 with 1 group\(s\); expected an integer from 2 to"),
            (
                {"groups": np.arange(60) // 4, "cv": np.arange(60) % 5},
                "a group has samples in more than one fold",
            ),
            ({"groups": np.arange(60) // 4, "test": np.arange(60) % 2 == 0}, "a group has samples in more than one"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, options, words):
        with pytest.raises(DataError, match=words):
            split_of(60, **options)


@pytest.mark.parametrize(
    "door",
    [
        lambda x, y, **how: sp.compare({"x": x, "y": y}, metrics=[OLS_R, RIDGE_R], permutations=0, **how),
        lambda x, y, **how: sp.contrast({"x": x, "y": y, "z": x + y}, target="z", **how),
        lambda x, y, **how: sp.partition({"x": x, "y": y, "z": x + y}, target="z", **how),
        lambda x, y, **how: sp.regression(x, y, **how),
        lambda x, y, **how: sp.metrics.ridge(x, y, **how),
        lambda x, y, **how: sp.metrics.pls(x, y, **how),
        lambda x, y, **how: sp.ceilings.of_pairs({"x": np.stack([x, y]), "y": np.stack([y, x])}, **how),
    ],
    ids=["compare", "contrast", "partition", "regression", "ridge", "pls", "ceilings"],
)
def test_folds_still_means_cv_and_warns(door):
    x, y = related(80, 4, 4, seed=0)
    with pytest.warns(FutureWarning, match="folds= is now cv=; the next version will not accept the old name"):
        old = door(x, y, folds=4)
    new = door(x, y, cv=4)
    if hasattr(new, "columns"):
        assert_frame_equal(old, new)
    else:
        assert old == new


@pytest.mark.parametrize("name", ["R", "R2", "R_UNITS"])
def test_metrics_under_the_names_that_they_had(name):
    with pytest.warns(FutureWarning, match=f"REGRESSION_{name} is now OLS_{name}, and its scores ols_"):
        metric = getattr(sp.metrics, f"REGRESSION_{name}")
    assert metric is getattr(sp.metrics, f"OLS_{name}")


def test_options_under_the_names_that_they_had(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, x in zip("xy", related(80, 4, 3, seed=0), strict=True):
        np.save(f"{name}.npy", x)
    asked = ["compare", "x.npy", "y.npy", "--permutations", "0"]
    assert main([*asked, "--out", "new", "--raw", "--cv", "4"]) == 0
    new = capsys.readouterr()
    assert main([*asked, "--out", "old", "--no-latents", "--folds", "4"]) == 0
    old = capsys.readouterr()
    assert old.out == new.out
    assert "superpose: --folds is now --cv with --raw, and --test, the share, without." in old.err
    assert "superpose: --no-latents is now --raw." in old.err
