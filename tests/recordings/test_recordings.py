import os

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from superpose.files import DataError
from superpose.recordings import Recording, match, read

VALUES = np.random.default_rng(0).normal(size=(6, 3))


def recording(name="a", stimuli=("x", "y", "z"), **labels):
    rows = np.arange(2.0 * len(stimuli)).reshape(len(stimuli), 2)
    return Recording(name, rows, stimuli, **labels)


def write_npy(path, values):
    np.save(path, values)


def write_npz(path, values):
    np.savez(path, values)


def write_csv(path, values):
    pd.DataFrame(values).to_csv(path, index=False, header=False)


def write_tsv(path, values):
    pd.DataFrame(values).to_csv(path, index=False, header=False, sep="\t")


def write_parquet(path, values):
    pd.DataFrame(values, columns=[f"u{i}" for i in range(values.shape[1])]).to_parquet(path, index=False)


def write_safetensors(path, values):
    save_file({"layer": np.ascontiguousarray(values)}, path)


WRITERS = {
    ".npy": write_npy,
    ".npz": write_npz,
    ".csv": write_csv,
    ".tsv": write_tsv,
    ".parquet": write_parquet,
    ".safetensors": write_safetensors,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_numbers_back(tmp_path, suffix):
    path = tmp_path / f"layer{suffix}"
    WRITERS[suffix](path, VALUES)
    np.testing.assert_array_equal(read(path), VALUES)
    assert np.asarray(read(str(path))).shape == (6, 3)


def test_npy_takes_its_stimuli_from_the_text_beside_it(tmp_path):
    x = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "conv1.npy", x)
    (tmp_path / "stimuli.txt").write_text("owl\ncat\n007\n")
    found = read(tmp_path / "conv1.npy")
    assert found.stimuli.tolist() == ["owl", "cat", "007"]
    np.testing.assert_array_equal(found.responses, x)
    (tmp_path / "stimuli.txt").write_text("owl\nNA\n-\n")
    with pytest.raises(DataError, match=r"1 missing, the first at row 1 \('NA'\); label every row, or .*missing=\[\]"):
        read(tmp_path / "conv1.npy")
    assert read(tmp_path / "conv1.npy", missing=[]).stimuli.tolist() == ["owl", "NA", "-"]
    (tmp_path / "stimuli.txt").write_text("owl\n")
    with pytest.raises(
        DataError, match=r"stimuli.txt has 1 line\(s\) and .*conv1.npy has shape \(3, 2\); expected one sti"
    ):
        read(tmp_path / "conv1.npy")
    # Of a store, a line is a sample, not a row.
    (tmp_path / "manifest.json").write_text("{}")
    np.testing.assert_array_equal(read(tmp_path / "conv1.npy"), x)


def test_a_folder_of_somebody_elses_says_what_to_give(tmp_path):
    with pytest.raises(DataError, match=r"a folder that superpose extract did not write; give its files instead"):
        read(tmp_path)


def test_npy_stays_on_disk_and_read_only(tmp_path):
    np.save(tmp_path / "a.npy", VALUES.astype(np.float32))
    array = read(tmp_path / "a.npy")
    assert isinstance(array.base, np.memmap)
    assert array.dtype == np.float32
    assert not array.flags.writeable


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("<f2", "f2"), (">f4", "f4"), (">f8", "f8"), ("<i4", "f8"), ("?", "f8"), ("<f8", "f8"), ("g", "f8")],
)
def test_numbers_arrive_in_a_type_that_torch_takes(tmp_path, dtype, expected):
    whole = np.arange(6).reshape(3, 2) % 2
    np.save(tmp_path / "a.npy", whole.astype(dtype))
    array = read(tmp_path / "a.npy")
    assert array.dtype == np.dtype(expected)
    assert torch.as_tensor(np.array(array)).tolist() == whole.tolist()


def test_fortran_order(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(VALUES))
    np.testing.assert_array_equal(read(tmp_path / "a.npy"), VALUES)


def test_bfloat16_safetensors(tmp_path):
    values = torch.tensor([[1.5, -2.0], [0.25, 3.0]])
    save_torch({"x": values.bfloat16()}, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(read(tmp_path / "a.safetensors"), values.numpy())


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_one_of_several_arrays(tmp_path, suffix):
    path = tmp_path / f"layers{suffix}"
    arrays = {"first": VALUES, "second": 2 * VALUES}
    save_file(arrays, path) if suffix == ".safetensors" else np.savez(path, **arrays)
    with pytest.raises(DataError, match=rf"holds 2 arrays \(first, second\); say which, as layers{suffix}:name"):
        read(path)
    np.testing.assert_array_equal(read(f"{path}:second"), 2 * VALUES)
    with pytest.raises(DataError, match="has no array 'third'; it has first, second"):
        read(f"{path}:third")


def test_npz_with_labels_is_a_recording(tmp_path):
    np.savez(tmp_path / "v1.npz", responses=VALUES, stimuli=np.arange(6), groups=list("aabbcc"), rate=1.0)
    found = read(tmp_path / "v1.npz")
    assert (found.name, found.stimuli.tolist(), found.groups.tolist()) == ("v1", list("012345"), list("aabbcc"))
    np.testing.assert_array_equal(found.responses, VALUES)


@pytest.mark.parametrize("separator", [",", "\t"])
def test_table_with_header_ids_groups_and_repeats(tmp_path, separator):
    path = tmp_path / ("v1.csv" if separator == "," else "v1.tsv")
    rows = ["Stimulus,repeat,u1,group,u2", "cat,1,1,p,2", "cat,2,3,p,4.5", "dog,1,-1e3,q,"]
    path.write_text("\n".join(rows).replace(",", separator))
    found = read(path)
    assert found.stimuli.tolist() == ["cat", "cat", "dog"]
    assert found.repeats.tolist() == ["1", "2", "1"]
    assert found.groups.tolist() == ["p", "p", "q"]
    np.testing.assert_array_equal(found.responses, [[1, 2], [3, 4.5], [-1000, np.nan]])


@pytest.mark.parametrize("index", [list("pqrstu"), range(10, 16)])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_data_frame_s_index_is_its_stimuli(tmp_path, index, suffix):
    frame = pd.DataFrame(VALUES, index=pd.Index(index), columns=["a", "b", "c"])
    path = tmp_path / f"v1{suffix}"
    frame.to_csv(path) if suffix == ".csv" else frame.to_parquet(path, index=True)
    found = read(path)
    assert found.stimuli.tolist() == [str(i) for i in index]
    np.testing.assert_allclose(found.responses, VALUES, rtol=1e-15)


def test_unnamed_columns_of_a_data_frame_beside_its_index(tmp_path):
    pd.DataFrame(VALUES).to_csv(tmp_path / "a.csv")
    np.testing.assert_allclose(read(tmp_path / "a.csv").responses, VALUES, rtol=1e-15)


def test_header_without_labels_and_byte_order_mark(tmp_path):
    (tmp_path / "a.csv").write_bytes("\ufeffa,b\n1,2\n3,4\n".encode())
    np.testing.assert_array_equal(read(tmp_path / "a.csv"), [[1, 2], [3, 4]])


def test_groups_without_stimuli_number_the_rows(tmp_path):
    (tmp_path / "a.csv").write_text("group,u\np,1\nq,2\n")
    assert read(tmp_path / "a.csv").stimuli.tolist() == ["0", "1"]


BAD_TABLES = {
    "cat,1,2\ndog,3,4\n": r"first row \(cat, 1, 2 …\) may be a header or a sample",
    "0,1,2\n.1,.2,.3\n": r"first row \(0, 1, 2 …\) may be a header or a sample",
    "1,,2\n3,4,5\n": "may be a header or a sample",
    "a,b\n1,2\n3\n": "cannot be read .*Expected 2 columns, got 1",
    "1,2\n3,4,5\n": "cannot be read .*Expected 2 columns, got 3",
    "a,b\n1,2\n3,dog\n": "column 'b' holds string .*'2'.*; expected numbers",
    "a,b\n1,2020-01-01\n": "column 'b' holds",
    "1;2\n3;4\n": "cells stand between semicolons",
    "a,b\n": "has 0 rows of 2 units",
    "id,group\n1,2\n": "has 1 rows of 0 units",
    "id,stimulus,u\n1,2,3\n": "has 2 columns for stimuli; expected one of stimulus, stimuli",
    "repeat,u\n1,2\n": "labels repeats but no stimuli",
    "id,repeat,u\ncat,0,1\ncat,0,2\n": "has 2 rows of stimulus cat, repeat 0; expected one. Label the trials",
    'id,repeat,u\n"c\n t",0,1\n"c\n t",0,2\n': "has 2 rows of stimulus c t, repeat 0; expected one",
    "id,u\n,1\n7,2\n": "labels in column 'id': 1 missing, the first at row 0",
    "\n\n": "cannot be read|rows of",
}


@pytest.mark.parametrize("text", BAD_TABLES)
def test_tables_that_cannot_be_used(tmp_path, text):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=BAD_TABLES[text]) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("missing.npy", "does not exist; check the path"),
        ("folder.npy", "is a directory or a device"),
        ("empty.csv", r"is empty \(0 bytes\)"),
        (
            "a.xls",
            "has the suffix '.xls'; expected one of .npy, .npz, .csv, .tsv, .parquet, .safetensors, .h5, .hdf5, ",
        ),
        ("line.npy", r"1 dimension\(s\)"),
        ("cube.npy", r"3 dimensions, shape \(2, 2, 2\); expected two"),
        ("complex.npy", "complex numbers"),
        ("text.npy", "holds text"),
        ("table.npy", "records"),
        ("none.npy", r"is empty, shape \(0, 3\)"),
        ("short.npy", "cannot be read"),
        ("long.npy", "has 281 bytes where its header announces 272"),
        ("zip.npy", "cannot be read"),
        ("raw.npz", "is not a zip archive"),
        ("zeros.safetensors", "cannot be read"),
        ("text.parquet", "cannot be read"),
        ("list.parquet", "column 'a' holds list"),
        ("x" * 5000 + ".npy", "does not exist"),
        ("nul\0.npy", "does not exist"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, name, cause):
    (tmp_path / "folder.npy").mkdir()
    for empty in ("empty.csv", "a.xls"):
        (tmp_path / empty).write_bytes(b"")
    np.save(tmp_path / "line.npy", np.ones(3))
    np.save(tmp_path / "cube.npy", np.ones((2, 2, 2)))
    np.save(tmp_path / "complex.npy", np.ones((2, 2)) * 1j)
    np.save(tmp_path / "text.npy", np.array([["a", "b"]]))
    np.save(tmp_path / "table.npy", np.zeros((2, 2), dtype=[("a", "f4")]))
    np.save(tmp_path / "none.npy", np.ones((0, 3)))
    np.save(tmp_path / "short.npy", VALUES)
    whole = (tmp_path / "short.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(whole[:-1])
    (tmp_path / "long.npy").write_bytes(whole + b"extra nul")
    np.savez(tmp_path / "zip.npz", VALUES)
    (tmp_path / "zip.npz").rename(tmp_path / "zip.npy")
    (tmp_path / "raw.npz").write_bytes(whole)
    (tmp_path / "zeros.safetensors").write_bytes(bytes(100))
    (tmp_path / "text.parquet").write_text("a,b\n1,2\n")
    pd.DataFrame({"a": [[1, 2], [3]]}).to_parquet(tmp_path / "list.parquet")
    with pytest.raises(DataError, match=cause) as caught:
        read(os.path.join(tmp_path, name))
    assert "\n" not in str(caught.value)


def test_a_recording_keeps_labels_as_text():
    found = recording(stimuli=[3, 1, 2], groups=[True, False, True])
    assert found.stimuli.tolist() == ["3", "1", "2"]
    assert found.groups.tolist() == ["True", "False", "True"]
    assert found.repeats is None


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (
            lambda: Recording("a", np.ones((2, 3)), ["x"]),
            r"a: stimuli have shape \(1,\); expected one label per row, \(2,\)",
        ),
        (lambda: recording(groups=[1, 2]), "a: groups have shape"),
        (lambda: recording(stimuli=[1j, 2j, 3j]), "stimuli are of type complex128; expected numbers, text or dates"),
        (lambda: recording(stimuli=np.array(["x", None], dtype=object)), "1 missing, the first at row 1"),
        (lambda: recording(stimuli=list("xx"), repeats=[1, 1]), "2 rows of stimulus x, repeat 1; expected one"),
        (lambda: Recording("a", np.ones((2, 2, 2)), ["x", "y"]), "3 dimensions"),
    ],
)
def test_recordings_that_cannot_be_made(make, cause):
    with pytest.raises(DataError, match=cause):
        make()


def test_match_pairs_by_id_in_the_order_of_the_first():
    a = recording("a", ["d", "b", "a", "c"], groups=[1, 1, 2, 2])
    b = recording("b", ["a", "b", "e", "d"])
    systems, stimuli, groups = match([a, b])
    assert stimuli.tolist() == ["d", "b", "a"]
    assert groups.tolist() == ["1", "1", "2"]
    np.testing.assert_array_equal(systems["a"], a.responses[[0, 1, 2]])
    np.testing.assert_array_equal(systems["b"], b.responses[[3, 1, 0]])


def test_match_takes_integers_and_text_for_the_same_id():
    assert match([recording("a", [1, 2]), recording("b", ["2", "3"])]).stimuli.tolist() == ["2"]


def test_match_averages_the_trials_of_each_stimulus():
    rng = np.random.default_rng(1)
    stimuli, repeats = rng.permutation(np.repeat(np.arange(5), 4)), np.arange(20)
    responses = rng.normal(size=(20, 3)).astype(np.float32)
    found = match([Recording("a", responses, stimuli, repeats, groups=stimuli // 2)])
    ids = list(dict.fromkeys(stimuli.tolist()))
    expected = [responses[stimuli == i].mean(axis=0) for i in ids]
    assert found.stimuli.tolist() == [str(i) for i in ids]
    assert found.groups.tolist() == [str(i // 2) for i in ids]
    np.testing.assert_allclose(found.systems["a"], expected, rtol=1e-6, atol=1e-6)
    assert found.systems["a"].dtype == np.float32


def test_match_without_anything_to_pair():
    with pytest.raises(DataError, match=r"no stimulus id is shared by all of a, b \(a: x, y, z …; b: p, q …\)"):
        match([recording("a"), recording("b", ["p", "q"])])
    with pytest.raises(DataError, match=r"recordings named \['a', 'a'\]; expected at least one, each name once"):
        match([recording(), recording()])
    with pytest.raises(DataError, match=r"recordings named \[\]"):
        match([])


def test_match_refuses_groups_that_disagree():
    a = recording("a", groups=[1, 1, 2])
    same = recording("b", groups=list("ppq"))
    assert match([a, same]).groups.tolist() == ["1", "1", "2"]
    for other in ([1, 2, 2], [1, 1, 1], [1, 2, 3]):
        with pytest.raises(DataError, match="a and b group the shared stimuli differently"):
            match([a, recording("b", groups=other)])
    with pytest.raises(DataError, match="trials of stimulus x lie in different groups"):
        match([recording(stimuli=list("xxy"), repeats=[1, 2, 1], groups=[1, 2, 2])])


def test_match_says_what_it_lost():
    a = recording("a", ["café", "x", "y", "z"], sources={"stimuli": "image_id"})
    b = recording("b", ["cafe\u0301", "x", "Y ", "w"])
    with pytest.warns(UserWarning, match="a: stimuli are image_id") as said:
        match([a, b])
    why = r"look like those of b, and differ in Unicode form, blanks, case or how a number is written"
    assert [str(note.message) for note in said] == [
        "a: stimuli are image_id.",
        f"a: 3 of 4 stimuli are not in every other system and are left out (café, y, z; 2 {why}).",
        "b: 3 of 4 stimuli are not in every other system and are left out (cafe\u0301, Y , w; 2 "
        f"{why.replace('of b', 'of a')}).",
    ]


def test_match_says_what_it_averaged_and_what_looks_alike():
    with pytest.warns(UserWarning, match="are averaged") as said:
        match([recording("a", ["é", "e\u0301", "x", "x", "x"])])
    assert [str(note.message) for note in said] == [
        "a: 5 trials of 3 stimuli are averaged, 1 to 3 of each.",
        "a: 1 stimuli differ from others in Unicode form or blanks alone ('\\xe9' and 'e\\u0301'), and are taken for "
        "stimuli of their own.",
    ]


def test_match_of_labels_that_look_alike_only():
    with pytest.raises(DataError, match=r"no stimulus id is shared .*; 3 look like those of b, and differ in Unicode"):
        match([recording("a", ["1", "2", "3"]), recording("b", ["1.0", "2.0", "03"])])


def test_match_pairs_rows_that_are_only_numbered_by_position():
    def numbered(name, labels):
        return recording(name, labels, sources={"stimuli": ""})

    assert match([numbered("a", range(4)), numbered("b", range(4))]).stimuli.tolist() == list("0123")
    assert match([numbered("a", range(4)), numbered("b", [3, 2, 0, 1])]).systems["b"].tolist() == [
        [4, 5], [6, 7], [2, 3], [0, 1]
    ]  # fmt: skip
    with pytest.raises(DataError, match="a has 4 rows and b has 3, and neither labels them; expected the same stimuli"):
        match([numbered("a", range(4)), numbered("b", range(3))])
    for other in (recording("b", [3, 2, 1, 0]), numbered("b", [1, 2, 3, 4])):
        with pytest.raises(DataError, match=r"a only numbers its rows, and b labels them \(.*\); give all"):
            match([numbered("a", range(4)), other])
