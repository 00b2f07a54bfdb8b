"""The shape rule, validation, folds and groups."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from superpose.arrays import (
    as_responses,
    check_finite,
    check_paired,
    chunks,
    contiguous_folds,
    group_folds,
    group_labels,
    like_input,
)
from superpose.arrays.tensors import to_numpy
from superpose.files import DataError


@like_input
def doubled(x, *, plus=0.0):
    return 2 * x + plus, np.float64(x.sum()), "text"


class TestLikeInput:
    def test_arrays_stay_arrays(self):
        twice, total, text = doubled(np.ones((2, 3)))
        assert isinstance(twice, np.ndarray)
        assert isinstance(total, np.float64)
        assert text == "text"

    def test_tensors_come_back_on_their_device_with_the_type_of_the_result(self):
        twice, total, text = doubled(torch.ones(2, 3, dtype=torch.float32))
        assert isinstance(twice, torch.Tensor)
        assert twice.dtype == torch.float32
        assert total == 6
        assert isinstance(total, torch.Tensor)
        assert text == "text"

    def test_a_tensor_among_the_keywords_counts(self):
        twice, _, _ = doubled(np.ones((2, 3)), plus=torch.ones(3))
        assert isinstance(twice, torch.Tensor)
        assert twice.device.type == "cpu"

    def test_gradients_are_detached_and_bfloat16_is_widened(self):
        assert to_numpy(torch.ones(2, requires_grad=True)).tolist() == [1, 1]
        assert to_numpy(torch.ones(2, dtype=torch.bfloat16)).dtype == np.float32

    def test_cpu_tensors_share_their_memory(self):
        tensor = torch.zeros(4)
        to_numpy(tensor)[0] = 5
        assert tensor[0] == 5

    def test_anything_else_passes_unchanged(self):
        thing = object()
        assert to_numpy(thing) is thing


class TestAsResponses:
    @pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
    def test_floats_stay_as_they_are(self, kind):
        x = np.ones((3, 2), dtype=kind)
        assert as_responses(x) is x

    @pytest.mark.parametrize("kind", [bool, np.int8, np.int64, np.uint16])
    def test_integers_and_booleans_become_float64(self, kind):
        assert as_responses(np.ones((3, 2), dtype=kind)).dtype == np.float64

    def test_lists_and_tensors_are_taken(self):
        assert as_responses([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
        assert as_responses(torch.ones(3, 2)).dtype == np.float32

    def test_memory_maps_stay_mapped(self, tmp_path):
        np.save(tmp_path / "x.npy", np.ones((3, 2), dtype=np.float32))
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
        assert np.shares_memory(as_responses(mapped), mapped)

    @pytest.mark.parametrize(
        ("bad", "words"),
        [
            (np.ones((3, 2), dtype=complex), "name holds complex numbers; expected real numbers"),
            (np.array([["a", "b"]]), "name holds text; expected real numbers"),
            (np.array([[b"a", b"b"]]), "name holds text"),
            (np.array([[1, None]], dtype=object), "name holds Python objects"),
            (np.array([["2020-01-01"]], dtype="datetime64[D]"), "values of type datetime64"),
            (np.ones(3), r"name has 1 dimension\(s\), shape \(3,\); expected \(samples, units\)"),
            (1.0, r"name has 0 dimension\(s\)"),
            (np.ones((0, 3)), r"name is empty, shape \(0, 3\); expected at least one sample and one unit"),
            (np.ones((3, 0)), r"name is empty, shape \(3, 0\)"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, bad, words):
        with pytest.raises(DataError, match=words):
            as_responses(bad, "name")


class TestFinite:
    def test_finite_values_pass(self):
        check_finite(np.zeros((3, 2)))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
    def test_the_first_is_placed_and_all_are_counted(self, value, kind):
        x = np.zeros((400, 5), dtype=kind)
        x[321, 3] = x[350, 0] = value
        with pytest.raises(DataError, match=r"^v4 has 2 NaN or infinite value\(s\), the first .* at row 321, unit 3"):
            check_finite(x, "v4")

    def test_the_place_is_right_beyond_the_first_chunk_and_in_a_repeat(self):
        x = np.zeros((2, 70_000, 20))
        x[1, 69_999, 19] = np.nan
        with pytest.raises(DataError, match=r"1 NaN or infinite .* row 69999, unit 19"):
            check_finite(x)


def test_unpaired_systems_say_both_counts():
    systems = {"v1": np.ones((5, 2)), "v4": np.ones((5, 3)), "it": np.ones((6, 2))}
    with pytest.raises(DataError, match="v1 has 5 samples and it has 6; every system must have seen the same stimuli"):
        check_paired(systems)
    assert check_paired({"v1": np.ones((2, 5, 3)), "it": np.ones((5, 1))}) == 5


@pytest.mark.parametrize("rows", [None, 1, 3, 100])
def test_chunks_cover_every_row_once(rows):
    x = np.arange(40.0).reshape(2, 10, 2)
    pieces = list(chunks(x, rows))
    assert np.array_equal(np.concatenate([piece for _, piece in pieces], axis=-2), x)
    assert [start for start, _ in pieces] == np.cumsum([0] + [p.shape[-2] for _, p in pieces[:-1]]).tolist()


class TestFolds:
    @given(st.integers(2, 9), st.integers(0, 60))
    def test_contiguous_folds_are_those_of_array_split(self, folds, extra):
        samples = 2 * folds + extra
        label = contiguous_folds(samples, folds)
        for fold, rows in enumerate(np.array_split(np.arange(samples), folds)):
            assert np.array_equal(np.flatnonzero(label == fold), rows)

    @pytest.mark.parametrize("folds", [1, 0, -3, 2.0, "five"])
    def test_folds_must_be_an_integer_of_at_least_two(self, folds):
        with pytest.raises(DataError, match=r"cv is .*; expected an integer of at least 2, or None"):
            contiguous_folds(20, folds)

    def test_samples_must_fill_the_folds(self):
        with pytest.raises(DataError, match="9 samples are too few for 5 folds; expected at least two a fold"):
            contiguous_folds(9, 5)

    @given(st.lists(st.integers(0, 8), min_size=4, max_size=60), st.integers(2, 4))
    def test_group_folds_never_split_a_group(self, groups, folds):
        groups = np.array(groups)
        distinct = len(np.unique(groups))
        if distinct < folds:
            with pytest.raises(DataError, match=rf"cv is {folds} with {distinct} group\(s\)"):
                group_folds(groups, folds)
            return
        label = group_folds(groups, folds)
        assert set(label) == set(range(folds))
        assert all(len(np.unique(label[groups == g])) == 1 for g in np.unique(groups))

    def test_group_folds_are_balanced(self):
        groups = np.repeat(np.arange(100), np.random.default_rng(0).integers(1, 20, 100))
        sizes = np.bincount(group_folds(groups, 5))
        assert sizes.max() - sizes.min() <= 19

    @pytest.mark.parametrize("folds", [1, 4, 2.5])
    def test_group_folds_need_between_two_folds_and_the_number_of_groups(self, folds):
        with pytest.raises(DataError, match=r"with 3 group\(s\); expected an integer from 2 to the number of groups"):
            group_folds(["a", "b", "c"], folds)


class TestGroupLabels:
    def test_labels_count_from_zero_in_order_of_appearance(self):
        assert group_labels(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]
        assert group_labels([7, 7, 3]).tolist() == [0, 0, 1]
        assert group_labels(np.array(["s1", "s2", "s1"], dtype=object)).tolist() == [0, 1, 0]
        assert group_labels(torch.tensor([5, 4, 5])).tolist() == [0, 1, 0]

    @pytest.mark.parametrize("groups", [[1, 2, 3], [[1], [2]], 4])
    def test_one_label_a_sample(self, groups):
        with pytest.raises(DataError, match=r"groups has shape .*; expected one label per sample, \(2,\)"):
            group_labels(groups, 2)

    def test_missing_labels_are_counted(self):
        with pytest.raises(DataError, match=r"groups has 2 missing label\(s\) \(NaN\); give every sample one"):
            group_labels([1.0, np.nan, np.nan])

    @pytest.mark.parametrize(
        "groups",
        [
            np.array(["a", None, float("nan")], dtype=object),
            ["a", None, float("nan")],
            ("a", float("nan"), np.float32("nan")),
            np.array([1, "NaT", "NaT"], dtype="m8[s]"),
            np.array(["a", np.nan, np.nan], dtype=np.dtypes.StringDType(na_object=np.nan)),
        ],
    )
    def test_missing_labels_of_other_types_are_counted(self, groups):
        with pytest.raises(DataError, match=r"groups has 2 missing label\(s\)"):
            group_labels(groups)
