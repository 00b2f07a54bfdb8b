"""Debiased CKA of samples in groups: against sums over all tuples of samples, the jackknife, and the truth."""

import numpy as np
import pytest
import torch
from conftest import related
from numpy.testing import assert_allclose
from test_coverage import World

import superpose as sp
from superpose.analysis import grouping, raw
from superpose.files import DataError
from superpose.metrics import CKA_GROUPED, grouped, grouped_cka
from superpose.statistics import standard_error, uncertainty

UNEQUAL = np.array([0, 0, 0, 1, 1, 2, 3, 3, 4, 5, 5, 5])


def hsic(x, y, groups):
    """Song et al. 2012, Theorem 1, over tuples of samples of groups that all differ."""
    k, l, apart = x @ x.T, y @ y.T, groups[:, None] != groups
    three = apart[:, :, None] & apart[:, None, :] & apart[None, :, :]
    four = three[..., None] & apart[:, None, None, :] & apart[None, :, None, :] & apart[None, None, :, :]
    return (
        (k * l)[apart].mean()
        + (k[:, :, None, None] * l[None, None])[four].mean()
        - 2 * (k[:, :, None] * l[:, None, :])[three].mean()
    )


def brute(x, y, groups):
    x, y = x - x.mean(0), y - y.mean(0)
    return hsic(x, y, groups) / np.sqrt(hsic(x, x, groups) * hsic(y, y, groups))


def in_groups(count, size, seed=0, units=(4, 3)):
    """Return systems of which part is shared, each in groups of rows that are alike."""
    draw = np.random.default_rng(seed)
    z = np.repeat(draw.normal(size=(count, 5)), size, axis=0)
    x, y = (z @ draw.normal(size=(5, n)) + draw.normal(size=(count * size, n)) for n in units)
    return x, y, np.repeat(np.arange(count), size)


@pytest.mark.parametrize(
    "groups", [UNEQUAL, UNEQUAL[::-1], UNEQUAL[[3, 0, 9, 6, 1, 4, 5, 2, 7, 8]], np.arange(12) // 2]
)
@pytest.mark.parametrize("units", [(4, 3), (2, 2), (40, 1)])
def test_it_is_the_sum_over_tuples_of_different_groups(groups, units):
    x, y = related(len(groups), *units, seed=2)
    assert_allclose(grouped_cka(x, y, groups)[0], brute(x, y, groups), rtol=1e-9)


def test_pieces_change_nothing(monkeypatch):
    x, y, groups = in_groups(30, 3)
    whole = grouped_cka(x, y, groups)
    monkeypatch.setattr(grouped, "PIECE", 1)
    for one, other in zip(grouped_cka(x, y, groups), whole, strict=True):
        assert_allclose(one, other, rtol=1e-12)


def test_of_single_samples_it_is_debiased_cka():
    x, y = related(40, 6, 5, seed=0)
    score, influence = grouped_cka(x, y, np.arange(40))
    assert_allclose(score, sp.cka(x, y, debiased=True), rtol=1e-10)
    error = sp.compare({"x": x, "y": y}, metrics=[sp.metrics.CKA_DEBIASED], permutations=0).error[0]
    assert standard_error(influence) == pytest.approx(error, rel=0.1)


def test_repeats_and_tensors():
    x, y, groups = in_groups(12, 3)
    both, single = grouped_cka(np.stack([x, 2 * x[::-1] + 1]), y, groups), grouped_cka(x, y, groups)
    assert both[0].shape == (2,)
    assert both[1].shape == (2, 12)
    for found, one in zip(both, single, strict=True):
        assert_allclose(found[0], one, rtol=1e-10)
    score, influence = grouped_cka(torch.from_numpy(x), torch.from_numpy(y), groups)
    assert isinstance(score, torch.Tensor)
    assert_allclose(influence.numpy(), single[1], rtol=1e-10)


def test_order_scale_rotation_and_translation_change_nothing():
    x, y, groups = in_groups(15, 3)
    order = np.random.default_rng(0).permutation(45)
    turned = 3 * x[order] @ np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0] + 7
    score, influence = grouped_cka(x, y, groups)
    again, moved = grouped_cka(turned, y[order], groups[order])
    assert_allclose(again, score, rtol=1e-9)
    _, first = np.unique(groups[order], return_index=True)
    assert_allclose(moved, influence[groups[order][np.sort(first)]], rtol=1e-7, atol=1e-12)
    assert_allclose(grouped_cka(x, 2 * x, groups)[0], 1, rtol=1e-12)
    assert np.abs(grouped_cka(x, 2 * x, groups)[1]).max() < 1e-9


@pytest.mark.parametrize("sizes", [np.full(60, 4), np.arange(60) % 5 + 1])
def test_influence_is_that_of_leaving_a_group_out(sizes):
    x, y, _ = in_groups(60, 5)
    groups = np.repeat(np.arange(60), sizes)
    x, y = x[: len(groups)], y[: len(groups)]
    left_out = np.array([grouped_cka(x[groups != g], y[groups != g], groups[groups != g])[0] for g in range(60)])
    knife = 59 * (left_out.mean() - left_out)
    influence = grouped_cka(x, y, groups)[1]
    assert np.corrcoef(influence, knife)[0, 1] > 0.98
    assert standard_error(influence) == pytest.approx(standard_error(knife), rel=0.1)


def test_it_is_without_bias_and_its_interval_holds_the_truth():
    """50 groups of four rows, as in the documentation: there debiased CKA is half as high again as the truth."""
    world, scores, ungrouped, held = World.of("groups"), [], [], []
    for number in range(1000):
        x, y, groups = world.draw(200, np.random.default_rng((200, number)))
        score, influence = grouped_cka(x, y, groups)
        low, high, *_ = uncertainty(float(score), influence, (-1.0, 1.0))
        scores.append(score)
        ungrouped.append(sp.cka(x, y, debiased=True))
        held.append(low <= world.alignment <= high)
    # A ratio of unbiased estimates keeps a bias of the order of one in 50 groups.
    assert abs(np.mean(scores) - world.alignment) < 3 * np.std(scores) / np.sqrt(1000) + world.alignment / 50
    assert np.mean(ungrouped) > 1.4 * world.alignment
    # Standard error of a share of .95 among 1,000 is .007.
    assert 0.93 <= np.mean(held) <= 0.98


def test_as_a_metric_it_takes_the_groups_of_the_comparison():
    x, y, groups = in_groups(60, 5)
    order = np.random.default_rng(2).permutation(300)
    systems = {"x": x[order], "y": y[order]}
    table = sp.compare(systems, metrics=[CKA_GROUPED], groups=groups[order], permutations=0)
    score, influence = grouped_cka(x, y, groups)
    assert_allclose(table.score, score, rtol=1e-9)
    expected = uncertainty(float(score), influence, (-1.0, 1.0), np.arange(len(influence)))
    assert_allclose(table.loc[0, ["low", "high", "error"]].astype(float), expected[:3], rtol=1e-9)
    assert table.null[0] == 0
    held_out = groups[order] >= 40
    table = sp.compare(systems, metrics=[CKA_GROUPED], groups=groups[order], test=held_out, permutations=19)
    assert_allclose(table.score, grouped_cka(x[200:], y[200:], groups[200:])[0], rtol=1e-9)
    assert table.null_kind[0] == "19 permutations of groups within folds"
    assert table.why[0] == ""
    assert table.p[0] == 1 / 20


def test_as_a_metric_without_groups_it_is_debiased_cka():
    x, y = related(40, 6, 5, seed=0)
    table = sp.compare({"x": x, "y": y}, metrics=[sp.metrics.CKA_DEBIASED, CKA_GROUPED], permutations=0)
    assert table.score[1] == pytest.approx(table.score[0], rel=1e-10)


def test_as_a_metric_of_too_few_groups_it_says_so():
    x, y, groups = in_groups(3, 8)
    (row,) = sp.compare({"x": x, "y": y}, metrics=[CKA_GROUPED], groups=groups, cv=None, permutations=0).itertuples()
    assert np.isnan(row.score)
    assert row.why == "needs ≥ 4 groups; have 3"


class TestWarning:
    """Of unrelated systems that saw each of some photographs ten times."""

    def unrelated(self, photographs):
        draw = np.random.default_rng(0)
        x, y = (np.repeat(draw.normal(size=(photographs, 20)), 10, axis=0) for _ in range(2))
        noise = 0.3 * draw.normal(size=(2, *x.shape))
        return {"x": x + noise[0], "y": y + noise[1]}, np.repeat(np.arange(photographs), 10)

    def test_few_groups_that_look_like_alignment(self):
        systems, groups = self.unrelated(200)
        held_out = groups % 5 == 4
        found = raw(systems, test=held_out, groups=groups, permutations=0)
        plain = found.table.set_index("metric").score["cka_debiased"]
        between = grouped_cka(*(x[held_out] for x in systems.values()), groups[held_out])[0]
        (said,) = [text for text in found.warnings if "groups" in text]
        assert said.startswith(f"x and y: debiased CKA is {plain:.3f}, and {between:.3f} (-")
        assert "rows within the 40 scored groups are alike" in said
        assert plain > 0.2
        assert abs(between) < 0.1

    def test_many_rows_are_drawn_from_and_what_stands_still_is_left_out(self, monkeypatch):
        systems, groups = self.unrelated(200)
        held_out = groups % 5 == 4
        systems["still"] = np.where(held_out[:, None], 1.0, systems["x"])
        (whole,) = [
            text for text in raw(systems, test=held_out, groups=groups, permutations=0).warnings if "groups" in text
        ]
        monkeypatch.setattr(grouping, "ROWS", 160)
        (drawn,) = [
            text for text in raw(systems, test=held_out, groups=groups, permutations=0).warnings if "groups" in text
        ]
        assert whole.startswith("x and y: ")
        assert drawn.startswith("x and y: ")
        assert "within the 40 scored groups" in drawn
        assert drawn != whole

    def test_of_all_rows_where_all_are_scored(self):
        systems, groups = self.unrelated(40)
        (said,) = [text for text in raw(systems, groups=groups, permutations=0).warnings if "groups" in text]
        assert "rows within the 40 scored groups are alike" in said

    def test_none_where_groups_are_many_or_single_rows_or_do_not_matter(self):
        systems, groups = self.unrelated(200)
        many, labels = self.unrelated(5 * grouping.MANY)
        same = {"x": systems["x"], "again": 2 * systems["x"] + 1}
        single = np.arange(2000)
        for given, belonging in ((systems, None), (systems, single), (many, labels), (same, groups)):
            assert not [
                text for text in raw(given, groups=belonging, permutations=0).warnings if "different groups" in text
            ]


def test_what_does_not_exist_is_nan():
    """Of four groups one that differs from the rest is all the variance there is, and none of it is left unbiased."""
    _, y, groups = in_groups(4, 2)
    score, influence = grouped_cka(np.where(groups[:, None] == 1, 5.0, 2.0), y, groups)
    assert np.isnan(score)
    assert np.isnan(influence).all()
    assert np.isnan(uncertainty(float(score), influence, (-1.0, 1.0)).low)


def test_refusals():
    x, y = related(12, 3, 3, seed=0)
    with pytest.raises(DataError, match=r"3 group\(s\) are too few for a debiased score; expected at least 4"):
        grouped_cka(x, y, np.arange(12) // 4)
    with pytest.raises(DataError, match=r"groups has shape \(5,\); expected one label per sample"):
        grouped_cka(x, y, np.arange(5))
    with pytest.raises(DataError, match="every system must have"):
        grouped_cka(x, y[:-1], np.arange(12))
