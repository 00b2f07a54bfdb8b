"""Data frames, xarray's arrays and recordings in Python calls: paired by their labels, or refused."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
import xarray as xr

import superpose as sp
from superpose.analysis import raw, with_ceilings
from superpose.files import DataError
from superpose.metrics import CKA
from superpose.recordings import Recording
from superpose.recordings.systems import paired, stimuli_of

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(60, 5))
Y = X @ DRAW.normal(size=(5, 6)) + DRAW.normal(size=(60, 6))
IDS = [f"image{i}" for i in range(60)]
ORDER = DRAW.permutation(60)


def as_index(x, ids):
    return pd.DataFrame(x, index=ids)


def as_named_index(x, ids):
    return pd.DataFrame(x, index=pd.Index(ids, name="photograph"))


def as_column(x, ids):
    return pd.DataFrame(x).add_prefix("u").assign(image_id=ids)


def as_recording(x, ids):
    return Recording("other", x, ids)


def as_assembly(x, ids):
    return xr.DataArray(x, dims=("presentation", "neuroid"), coords={"image_id": ("presentation", ids)})


def as_transposed(x, ids):
    return xr.DataArray(x.T, dims=("neuroid", "image"), coords={"image": ids})


def as_electrodes(x, ids):
    return xr.DataArray(x.T, dims=("electrode", "stimulus"), coords={"stimulus": ids})


def as_multiindex(x, ids):
    index = pd.MultiIndex.from_arrays([ids, ["a"] * len(ids)], names=["image_id", "object_name"])
    coords = xr.Coordinates.from_pandas_multiindex(index, "presentation")
    return xr.DataArray(x, dims=("presentation", "neuroid"), coords=coords)


KINDS = [as_index, as_named_index, as_column, as_recording, as_assembly, as_transposed, as_electrodes, as_multiindex]
BRIEF = {"steps": 2}
CALLS = {
    "compare": lambda systems: sp.compare(systems, metrics=[CKA], permutations=0).score[0],
    "raw": lambda systems: raw(systems, permutations=0).table.score[0],
    "analyse": lambda systems: sp.analyse(systems, latents=6, active=2, training=BRIEF, permutations=0).table.score[0],
    "contrast": lambda systems: sp.contrast({**systems, "c": next(iter(systems.values()))}, target="a").score_a[0],
    "partition": lambda systems: sp.partition({**systems, "c": next(iter(systems.values()))}, target="a").score[0],
    "costs": lambda systems: sp.costs.predict(systems, permutations=0).flops,
}


def ordered(make, x, order=ORDER):
    return make(x[order], [IDS[i] for i in order])


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("make", KINDS)
def test_rows_are_paired_by_their_labels(call, make):
    score = CALLS[call]({"a": make(X, IDS), "b": ordered(make, Y)})
    assert score == CALLS[call]({"a": X, "b": Y})


@pytest.mark.parametrize("other", KINDS)
@pytest.mark.parametrize("make", KINDS)
def test_whatever_carries_them(make, other):
    arrays, groups = paired({"a": make(X, IDS), "b": ordered(other, Y)})
    np.testing.assert_array_equal(arrays["a"], X)
    np.testing.assert_array_equal(arrays["b"], Y)
    assert groups is None


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("make", KINDS)
def test_labels_beside_none_are_refused(call, make):
    for bare in (Y, torch.as_tensor(Y), pd.DataFrame(Y)):
        with pytest.raises(DataError, match=r"label(s its|s them|s) .*(does not|only numbers|image0)"):
            CALLS[call]({"a": make(X, IDS), "b": bare})


@pytest.mark.parametrize("make", KINDS)
def test_other_labels_are_refused(make):
    with pytest.raises(DataError, match=r"a has 2 stimuli that not every other system has .*; superpose.match keeps"):
        paired({"a": make(X, IDS), "b": make(Y[:58], IDS[:58])})
    with pytest.raises(DataError, match="no stimulus id is shared"):
        paired({"a": make(X, IDS), "b": make(Y, [f"other{i}" for i in range(60)])})


def test_an_index_that_numbers_the_rows_is_no_label():
    counted = xr.DataArray(X, coords={"presentation": range(60), "unit": range(5)})
    for one in (pd.DataFrame(X), xr.DataArray(X), counted):
        arrays, _ = paired({"a": one, "b": Y, "c": torch.as_tensor(Y)})
        np.testing.assert_array_equal(arrays["a"], X)
        assert CALLS["compare"]({"a": one, "b": Y}) == CALLS["compare"]({"a": X, "b": Y})
    with pytest.raises(DataError, match="a has 60 samples and b has 50; every system must have seen the same stimuli"):
        sp.compare({"a": pd.DataFrame(X), "b": pd.DataFrame(Y[:50])})


def test_a_frame_and_itself_in_another_order():
    frame = pd.DataFrame(X)
    for other in (frame[::-1], frame.sample(frac=1, random_state=0)):
        np.testing.assert_array_equal(paired({"a": frame, "b": other})[0]["b"], X)


def test_columns_that_are_no_units():
    frame = pd.DataFrame(X).add_prefix("u")
    for other in (frame.reset_index(), frame.assign(**{"Unnamed: 0": range(60)}), frame.reset_index().reset_index()):
        np.testing.assert_array_equal(paired({"a": other, "b": Y})[0]["a"], X)
    with pytest.raises(DataError, match=r"column 'name' holds .*; expected numbers. Columns of labels are named"):
        paired({"a": frame.assign(name="x"), "b": Y})
    with pytest.raises(DataError, match="has an index of several levels"):
        paired({"a": frame.set_index([pd.Index(["a", "b"] * 30), pd.Index(np.arange(60) + 7)]), "b": Y})
    with pytest.raises(DataError, match="a has stimuli in its index 'image' and in a column"):
        paired({"a": frame.set_index(pd.Index(IDS, name="image")).assign(stimulus=IDS), "b": frame})
    with pytest.raises(DataError, match="a has 60 rows of 0 units"):
        paired({"a": pd.DataFrame({"stimulus": IDS}), "b": Y})
    with pytest.raises(DataError, match="the first column, 'photo', numbers the rows from 0"):
        paired({"a": frame.rename_axis("photo").reset_index(), "b": Y})


def test_trials_are_averaged_with_a_warning_and_groups_are_kept():
    trials = np.repeat(X, 2, axis=0) + np.tile([[1.0], [-1.0]], (60, 1))
    frame = pd.DataFrame(trials, index=np.repeat(IDS, 2)).assign(session=np.repeat(np.arange(20), 6))
    with pytest.warns(UserWarning, match="a: 120 trials of 60 stimuli are averaged, 2 of each"):
        arrays, groups = paired({"a": frame, "b": ordered(as_index, Y)})
    np.testing.assert_allclose(arrays["a"], X, atol=1e-12)
    np.testing.assert_array_equal(arrays["b"], Y)
    assert groups.tolist() == np.repeat(np.arange(20), 3).astype(str).tolist()
    assert paired({"a": frame, "b": ordered(as_index, Y)}, groups=[1] * 60)[1] == [1] * 60


def test_groups_with_labels_follow_the_rows():
    groups = pd.Series(np.arange(60) // 3, index=IDS)
    pairing = {"a": as_index(X, IDS), "b": ordered(as_index, Y)}
    assert paired(pairing, groups.iloc[ORDER])[1].tolist() == groups.tolist()
    assert paired(pairing, groups.reset_index(drop=True))[1].tolist() == groups.tolist()
    for other in (groups.iloc[1:], pd.concat([groups, groups.iloc[:1]])):
        with pytest.raises(DataError, match=r"groups names the rows .* name them image0, image1, image2 …; exp"):
            paired(pairing, other)


def as_series(values, index):
    return pd.Series(values, index=index)


def as_coordinate(values, index):
    return xr.DataArray(values, dims="presentation", coords={"presentation": np.asarray(index)})


def as_column_of_an_assembly(values, index):
    coords = {"image_id": ("presentation", np.asarray(index)), "object": ("presentation", values)}
    return xr.DataArray(np.zeros(len(values)), dims="presentation", coords=coords)["object"]


@pytest.mark.parametrize("make", [as_series, as_coordinate, as_column_of_an_assembly])
def test_groups_follow_the_rows_whatever_their_index(make):
    groups = np.arange(60) // 3
    default, tens = pd.RangeIndex(60), pd.RangeIndex(10, 70)
    frames = {"a": pd.DataFrame(X), "b": pd.DataFrame(Y)}
    labelled = {"a": as_index(X, tens), "b": as_index(Y, tens)}
    for order in (ORDER, np.arange(60)[::-1]):
        for systems, index, expected in (
            (frames, default, groups),
            ({"a": frames["a"][::-1], "b": frames["b"]}, default, groups[::-1]),
            (labelled, tens, groups),
        ):
            given = make(groups[order], index[order])
            assert np.asarray(paired(systems, given)[1]).tolist() == expected.tolist()
    # Beside labels, numbers of the rows are none.
    assert np.asarray(paired(labelled, make(groups, default))[1]).tolist() == groups.tolist()
    given = make(groups, IDS)
    assert paired({"a": X, "b": Y}, given)[1] is given
    for systems in (frames, labelled):
        with pytest.raises(
            DataError, match=r"groups names the rows image0, .*; expected .*or an array \(.to_numpy\(\)\)"
        ):
            paired(systems, given)


def test_labels_masks_and_folds_with_labels_follow_the_rows():
    """In the order of the rows or in another, a Series says the same of the same stimuli."""
    systems = {"a": as_index(X, IDS), "b": ordered(as_index, Y), "c": as_index(X + Y[:, :5], IDS)}
    said = {
        "labels": pd.Series(np.arange(60) % 3, index=IDS),
        "test": pd.Series(np.arange(60) % 4 == 0, index=IDS),
        "cv": pd.Series(np.arange(60) // 12, index=IDS),
    }
    calls = {
        "compare": lambda **options: sp.compare(systems, metrics=["ridge_r"], permutations=0, **options).score,
        "raw": lambda **options: raw(systems, metrics=["ridge_r"], permutations=0, **options).table.score,
        "contrast": lambda **options: sp.contrast(systems, target="a", metrics=["ridge_r"], **options).difference,
        "partition": lambda **options: sp.partition(systems, target="a", **options).score,
    }
    for name, values in said.items():
        for call in calls.values():
            expected = call(**{name: values.to_numpy()})
            np.testing.assert_array_equal(call(**{name: values.iloc[ORDER]}), expected)
        with pytest.raises(DataError, match=f"{name} names the rows .*; expected one value of each row"):
            sp.compare(systems, **{name: values.iloc[1:]})
    sizes = {"latents": 6, "active": 2, "training": {"steps": 2}, "permutations": 0, "controls": []}
    expected = sp.analyse(systems, test=said["test"].to_numpy(), **sizes).table.score
    np.testing.assert_array_equal(sp.analyse(systems, test=said["test"].iloc[ORDER], **sizes).table.score, expected)


def test_axes_of_repeats():
    cube = np.stack([X + 1, X - 1])
    array = xr.DataArray(cube, dims=("repetition", "image", "neuroid"), coords={"image": IDS})
    with pytest.warns(UserWarning, match="120 trials of 60 stimuli are averaged"):
        np.testing.assert_allclose(paired({"a": array, "b": ordered(as_index, Y)})[0]["a"], X, atol=1e-12)
    plain = xr.DataArray(cube)
    assert paired({"a": plain, "b": cube})[0]["a"].shape == (2, 60, 5)
    with pytest.raises(DataError, match="a has the axes time, image, neuroid; expected one of samples"):
        paired({"a": array.rename(repetition="time"), "b": array})
    with pytest.raises(DataError, match="a has the axes image, time, unit; expected one of samples"):
        paired({"a": xr.DataArray(cube, dims=("image", "time", "unit")), "b": cube})


def test_missing_labels_are_refused():
    with pytest.raises(DataError, match="a: stimuli: 1 missing, the first at row 0"):
        paired({"a": pd.DataFrame(X, index=[None, *IDS[1:]]), "b": as_index(Y, IDS)})


def as_polars(frame):
    """A table of a library that shares its columns as Arrow does, as polars."""
    shared = pa.Table.from_pandas(frame, preserve_index=False)
    return type("Shared", (), {"columns": shared.column_names, "__arrow_c_stream__": shared.__arrow_c_stream__})()


def as_pivot(frame):
    """A table of one response per row, as pandas pivots it."""
    long = frame.melt(id_vars="image_id", var_name="unit").assign(area="V1")
    wide = long.pivot(index="image_id", columns=["area", "unit"], values="value")
    return wide.loc[frame.image_id].reset_index()


@pytest.mark.parametrize("make", [pa.Table.from_pandas, as_polars, as_pivot])
def test_labels_of_other_tables_are_no_units(make):
    frame = as_column(X, 1000 - np.arange(60))
    np.testing.assert_array_equal(paired({"a": make(frame[::-1]), "b": frame})[0]["b"], X[::-1])
    np.testing.assert_array_equal(paired({"a": frame, "b": make(frame[::-1])})[0]["b"], X)
    with pytest.raises(DataError, match="x has the column 'image_id' of labels among its units"):
        sp.cka(make(frame), Y)


def test_complex_numbers_of_a_frame_are_refused():
    frame = pd.DataFrame(X + 1j)
    for systems in ({"a": frame, "b": Y}, {"a": frame.assign(last=1.0).astype({"last": "Float64"}), "b": Y}):
        with pytest.raises(DataError, match="column '0' holds complex128; expected numbers"):
            paired(systems)
        with pytest.raises(DataError, match=r"x holds (complex numbers|Python objects); expected real numbers"):
            sp.cka(*systems.values())


def test_numbers_of_a_frame_keep_their_type():
    for dtype in ("float32", "float64", "Float64", "Int64", "int8", "bool"):
        arrays, _ = paired({"a": pd.DataFrame(np.round(X) > 0).astype(dtype), "b": Y})
        assert arrays["a"].dtype == {"Float64": "f8", "Int64": "i8"}.get(dtype, dtype) or arrays["a"].dtype.kind == "f"
        np.testing.assert_array_equal(arrays["a"], np.round(X) > 0)


PAIRS = {
    "cka": sp.cka,
    "rsa": sp.rsa,
    "regression": sp.regression,
    "cca": sp.cca,
    "procrustes": sp.procrustes,
    "mknn": sp.metrics.mutual_knn,
}


@pytest.mark.parametrize("score", PAIRS)
def test_scores_of_two_refuse_labels_in_another_order(score):
    call = PAIRS[score]
    np.testing.assert_allclose(call(as_index(X, IDS), as_index(Y, IDS)), call(X, Y), rtol=1e-12)
    np.testing.assert_allclose(call(pd.DataFrame(X), Y), call(X, Y), rtol=1e-12)
    with pytest.raises(DataError, match=r"x labels its rows image0, image1, image2 …, and y image.*; put them in"):
        call(as_index(X, IDS), ordered(as_index, Y))
    with pytest.raises(
        DataError, match=r"x labels its rows \(image0.*\) and y does not; label both, as superpose.Recording"
    ):
        call(as_index(X, IDS), Y)
    with pytest.raises(DataError, match=r"x has the column 'image_id' of labels among its units; make it the index"):
        call(as_column(X, list(range(60))), Y)
    with pytest.raises(DataError, match="x has the axes electrode, stimulus; expected units last: transpose it"):
        sp.cka(as_electrodes(X, IDS), as_electrodes(Y, IDS))
    with pytest.raises(DataError, match="x has the axes neuroid, image; expected units last: transpose it"):
        call(as_transposed(X, IDS), Y)
    with pytest.raises(DataError, match="put them in one order"):
        call(as_assembly(X, IDS), ordered(as_assembly, Y))


OTHERS = {
    "fvu": sp.diagnostics.fvu,
    "match_latents": sp.diagnostics.match_latents,
    "mcc": sp.diagnostics.mcc,
    "split_latents": sp.diagnostics.split_latents,
    "of_pairs": lambda x, y: sp.ceilings.of_pairs({"x": x, "y": y}),
    "with_ceilings": lambda x, y: with_ceilings(raw({"x": X, "y": X}, permutations=0), {"x": x, "y": y}),
}


@pytest.mark.parametrize("call", OTHERS)
def test_nothing_else_pairs_against_labels(call):
    with pytest.raises(DataError, match=r"labels its rows .*; put them in one order"):
        OTHERS[call](as_index(X, IDS), ordered(as_index, X))
    with pytest.raises(DataError, match="has the column 'image_id' of labels among its units"):
        OTHERS[call](as_column(X, list(range(60))), X)


def test_labels_are_no_units_of_one_system():
    frame = as_column(X, list(range(60)))
    sae = sp.SparseAutoencoder(6, 8, sp.TopK(2))
    for call in (sae.encode, sp.diagnostics.l0, sp.ceilings.as_trials):
        with pytest.raises(DataError, match="has the column 'image_id' of labels among its units; make it the index"):
            call(frame)


def test_joint_dictionaries_refuse_labels_in_another_order():
    from superpose.dictionaries.losses import joint

    pair = torch.nn.ModuleList(sp.SparseAutoencoder(x.shape[1], 4, sp.TopK(2)) for x in (X, Y))
    with pytest.raises(DataError, match=r"label.* rows .*; put them in one order"):
        sp.fit(pair, joint, as_index(X, IDS), ordered(as_index, Y), steps=1)


OF_MATCHED = {
    "compare": lambda systems, **how: sp.compare(systems, metrics=[CKA], permutations=9, **how),
    "raw": lambda systems, **how: raw(systems, metrics=[CKA], permutations=9, **how).table,
    "contrast": lambda systems, **how: sp.contrast(systems, target="b", metrics=[CKA], **how),
    "partition": lambda systems, **how: sp.partition(systems, target="b", **how),
    "layers": lambda systems, **how: sp.layers(systems, target="b", metrics=[CKA], permutations=9, **how).table,
}


class TestMatched:
    """What `match` returns goes where systems go: paired already, with the groups and the names of its rows."""

    @pytest.fixture
    def matched(self):
        groups = np.arange(60) // 3
        first = Recording("a", X, IDS, groups=groups)
        second = Recording("b", Y[ORDER], np.array(IDS)[ORDER], groups=groups[ORDER])
        return sp.match([first, second, Recording("c", Y[:, :4], IDS, groups=groups)])

    @pytest.mark.parametrize("call", OF_MATCHED.values(), ids=OF_MATCHED)
    def test_it_is_its_systems_with_their_groups(self, matched, call):
        pd.testing.assert_frame_equal(call(matched), call(matched.systems, groups=matched.groups))
        other = call(matched, groups=np.arange(60))
        assert not other.equals(call(matched))

    def test_features_name_its_stimuli(self, matched):
        assert stimuli_of(matched, 60) == IDS

    def test_it_says_its_sizes(self, matched):
        assert repr(matched).startswith("60 stimuli in 20 groups of a (5 units), b (6 units), c (4 units)")
        assert matched._repr_html_().startswith("<p><b>60 stimuli in 20 groups")

    def test_series_are_matched_by_its_stimuli(self, matched):
        labels = pd.Series(np.arange(60) % 2, index=IDS)
        expected = sp.compare(matched, metrics=[CKA], permutations=0, labels=labels.to_numpy())
        pd.testing.assert_frame_equal(
            sp.compare(matched, metrics=[CKA], permutations=0, labels=labels.sample(frac=1, random_state=0)), expected
        )

    def test_a_target_without_labels_is_not_paired_by_position(self, matched):
        with pytest.raises(DataError, match=r"label both, as .* or pass both as arrays"):
            sp.layers(matched, target=Y)
