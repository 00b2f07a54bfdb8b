"""Calls as people write them: two arrays, lists, names of metrics; matrices of systems; warnings of order."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import superpose as sp
from superpose.comparison.order import neighbour_correlation
from superpose.metrics import CKA, CKA_DEBIASED, NAMES, OLS_R, RIDGE_R, resolved


@pytest.fixture(scope="module")
def systems():
    draw = np.random.default_rng(0)
    z = draw.normal(size=(80, 6))
    units = {"a": 5, "b": 7, "c": 4}
    return {name: z @ draw.normal(size=(6, m)) + draw.normal(size=(80, m)) for name, m in units.items()}


class TestSystems:
    def test_two_arrays_and_a_list_are_a_mapping(self, systems):
        x, y, z = systems.values()
        expected = sp.compare({"x": x, "y": y}, metrics=[CKA, RIDGE_R], permutations=0)
        pd.testing.assert_frame_equal(sp.compare(x, y, metrics=[CKA, RIDGE_R], permutations=0), expected)
        pd.testing.assert_frame_equal(sp.compare([x, y], metrics=[CKA, RIDGE_R], permutations=0), expected)
        table = sp.compare(x, y, z, metrics=[CKA], permutations=0)
        assert table.system_a.tolist() == ["x", "x", "y"]
        assert sp.compare([x, y, z, x + 1], metrics=[CKA], permutations=0).system_b.iloc[-1] == "system 4"

    def test_recordings_bring_their_names(self, systems):
        ids = [f"s{i}" for i in range(80)]
        one, other = (sp.Recording(name, systems[name], ids) for name in "ab")
        table = sp.compare(one, other, metrics=[CKA], permutations=0)
        assert (table.system_a[0], table.system_b[0]) == ("a", "b")
        with pytest.raises(sp.DataError, match="two systems have one name, among a, a; pass a mapping"):
            sp.compare(one, one)

    def test_a_mapping_stands_alone(self, systems):
        with pytest.raises(sp.DataError, match=r"one mapping {name: array}, or one after the other; not both"):
            sp.compare(systems, systems["a"])

    @pytest.mark.parametrize("alone", [np.ones((5, 2)), [np.ones((5, 2))]], ids=["array", "list"])
    def test_one_is_too_few(self, alone):
        with pytest.raises(sp.DataError, match="expected at least two systems"):
            sp.compare(alone)


class TestMetrics:
    def test_names_and_functions_are_the_objects(self, systems):
        by_object = sp.compare(systems, metrics=[CKA, RIDGE_R, OLS_R], permutations=0)
        pd.testing.assert_frame_equal(
            sp.compare(systems, metrics=["cka", "ridge_r", sp.regression], permutations=0), by_object
        )
        alone = sp.compare(systems, metrics="cka", permutations=0)
        pd.testing.assert_frame_equal(alone, by_object[by_object.metric == "cka"].reset_index(drop=True))
        assert resolved(list(NAMES)) == list(NAMES.values())
        assert {name: metric.name for name, metric in NAMES.items()} == {name: name for name in NAMES}

    def test_others_take_names_too(self, systems):
        contrast = sp.contrast(systems, target="c", metrics=["cka_debiased"])
        pd.testing.assert_frame_equal(contrast, sp.contrast(systems, target="c", metrics=[CKA_DEBIASED]))

    def test_unknown_ones(self, systems):
        with pytest.raises(sp.DataError, match=r"metrics is 'cka_debiasd'; .* Did you mean 'cka_debiased'"):
            sp.compare(systems, metrics=["cka_debiasd"])
        with pytest.raises(sp.DataError, match=r"is no metric; expected an object of superpose.metrics, its name"):
            sp.compare(systems, metrics=[np.mean])


class TestDirections:
    def test_predictors_and_targets_are_rows_of_the_whole(self, systems):
        whole = sp.compare(systems, metrics=[CKA, RIDGE_R], permutations=9)
        one_way = sp.compare(systems, predictors=["a", "b"], targets=["c"], metrics=[CKA, RIDGE_R], permutations=9)
        assert list(zip(one_way.system_a, one_way.system_b, one_way.metric, strict=False)) == [
            ("a", "c", "cka"), ("a", "c", "ridge_r"), ("b", "c", "cka"), ("b", "c", "ridge_r"),
        ]  # fmt: skip
        keys = ["system_a", "system_b", "metric"]
        same = whole.set_index(keys).loc[list(one_way.set_index(keys).index)].reset_index()
        for column in ("score", "low", "high", "null", "p"):
            np.testing.assert_allclose(one_way[column], same[column], rtol=1e-9)

    def test_one_side_alone_takes_all_others(self, systems):
        table = sp.compare(systems, targets=["c"], metrics=[RIDGE_R], permutations=0)
        assert table.system_a.tolist() == ["a", "b"]
        assert sp.compare(systems, predictors=["c"], metrics=[RIDGE_R], permutations=0).system_b.tolist() == ["a", "b"]

    def test_refusals(self, systems):
        with pytest.raises(sp.DataError, match="expected pairs, or the systems of predictors and targets; not both"):
            sp.compare(systems, pairs=[("a", "b")], targets=["c"])
        with pytest.raises(sp.DataError, match="targets is 'c'; expected a list of some of a, b, c"):
            sp.compare(systems, targets="c")
        with pytest.raises(sp.DataError, match=r"predictors is \['d'\]; expected a list of some of a, b, c"):
            sp.compare(systems, predictors=["d"])


class TestMatrix:
    def test_entries_are_the_scores(self, systems):
        table = sp.compare(systems, metrics=[CKA, RIDGE_R], permutations=0)
        symmetric, directed = sp.matrix(table, "cka"), sp.matrix(table, "ridge_r")
        for row in table.itertuples():
            found = directed if row.directed else symmetric
            assert found.loc[row.system_a, row.system_b] == row.score
        np.testing.assert_array_equal(symmetric, symmetric.T)
        assert np.isnan(np.diag(directed)).all()
        assert list(directed.index) == list(directed.columns) == ["a", "b", "c"]
        assert sp.matrix(table, "cka", "error").loc["a", "b"] == table.error[0]

    def test_refusals(self, systems):
        table = sp.compare(systems, metrics=[CKA], permutations=0)
        with pytest.raises(sp.DataError, match="metric is 'ckas'"):
            sp.matrix(table, "ckas")
        with pytest.raises(sp.DataError, match="column is 'scores'; expected one of"):
            sp.matrix(table, "cka", "scores")
        with pytest.raises(sp.DataError, match="the table has cka of a pair more than once; choose one repeat"):
            sp.matrix(pd.concat([table, table]), "cka")


class TestOrder:
    def test_against_the_correlation_of_neighbours(self):
        x = np.cumsum(np.random.default_rng(0).normal(size=(300, 1)), axis=0)
        c = x[:, 0] - x.mean()
        found, pairs = neighbour_correlation(x, None, None)
        assert (pairs, found) == (299, pytest.approx((c[1:] * c[:-1]).mean() / np.square(c).mean()))

    def test_groups_and_labels_explain(self):
        draw = np.random.default_rng(0)
        groups = np.repeat(np.arange(30), 10)
        x = draw.normal(size=(30, 5))[groups] + 0.1 * draw.normal(size=(300, 5))
        assert neighbour_correlation(x, None, None)[0] > 0.7
        assert abs(neighbour_correlation(x, groups, None)[0]) < 5 / np.sqrt(29)
        assert abs(neighbour_correlation(x, None, groups)[0]) < 0.2

    def test_it_is_said(self, systems):
        walk = {name: np.cumsum(x, axis=0) for name, x in systems.items()}
        with pytest.warns(UserWarning, match="a: samples next to each other are alike") as said:
            sp.compare(walk, metrics=[CKA], permutations=0)
        assert len(said) == 3
        # At the line of the caller, through whatever of ours it came.
        assert {Path(one.filename) for one in said} == {Path(__file__)}
        with pytest.warns(UserWarning, match="a: samples next to each other are alike") as said:
            sp.contrast(walk, target="a", metrics=[CKA_DEBIASED])
        assert {Path(one.filename) for one in said} == {Path(__file__)}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sp.compare(systems, metrics=[CKA], permutations=0)
            sp.compare(walk, metrics=[CKA], cv=None, permutations=0)
