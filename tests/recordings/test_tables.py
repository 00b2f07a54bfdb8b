"""Tables as pandas, polars, R and spreadsheets write them: labels as written, the index neither unit nor lost."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from superpose.cli import main
from superpose.files import DataError
from superpose.recordings import Recording, match, read
from superpose.recordings.headers import header
from superpose.recordings.systems import paired

VALUES = np.random.default_rng(0).normal(size=(6, 3))
FRAME = pd.DataFrame(VALUES, columns=["u0", "u1", "u2"])


def to_csv(frame, path):
    frame.to_csv(path.with_suffix(".csv"), index="stimulus" not in frame)
    return path.with_suffix(".csv")


def to_tsv(frame, path):
    frame.to_csv(path.with_suffix(".tsv"), index="stimulus" not in frame, sep="\t")
    return path.with_suffix(".tsv")


def to_parquet(frame, path):
    frame.to_parquet(path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


WRITERS = [to_csv, to_tsv, to_parquet]

IDS = {
    "zeros": (["1.1", "1.10", "1.2", "007", "7", "07"],) * 2,
    "exponents": (["1e3", "2e3", "1000", "1E3", "0x1", "1_0"],) * 2,
    "dates": ([f"2020-01-0{i} 10:00" for i in range(1, 7)],) * 2,
    "times": ([f"1{i}:30" for i in range(6)],) * 2,
    "truth": (["true", "false", "True", "False", "TRUE", "t"],) * 2,
    "long": ([f"1234567890123456789{i}" for i in range(6)],) * 2,
    "whole": ([1.0, 2.0, 3.0, 4.0, 5.0, 7.0], list("123457")),
    "fractional": ([0.0, 22.0, 22.5, 45.0, 67.5, 90.0], ["0.0", "22.0", "22.5", "45.0", "67.5", "90.0"]),
    "half": (np.float32([0.1, 22.1, 0.2, 0.3, 0.4, 0.5]), ["0.1", "22.1", "0.2", "0.3", "0.4", "0.5"]),
    "stamps": (pd.date_range("2020-01-01", periods=6), [f"2020-01-0{i}" for i in range(1, 7)]),
    "hours": (pd.date_range("2020-01-01", periods=6, freq="h"), [f"2020-01-01 0{i}:00:00" for i in range(6)]),
    "categories": (pd.Categorical(list("abcabd")), list("abcabd")),
    "blanks": ([" a", "a", "a ", "b c", "d", "e"],) * 2,
    "unicode": (["é", "e\u0301", "\u2028", "a\x85b", "\U0001f600", "\ufeffa"],) * 2,
    "words": (["null", "none", "None", "-", "NULL", "inf"],) * 2,
}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("place", ["column", "index"])
def test_labels_are_text_as_written(tmp_path, write, ids, place):
    stored, expected = IDS[ids]
    if ids == "unicode":
        expected = [text for text in expected if text.strip()]
        stored = expected
    labels = pd.Index(stored, name="image_id")
    frame = FRAME.iloc[: len(expected)].assign(stimulus=stored) if place == "column" else FRAME.iloc[: len(expected)]
    found = read(write(frame if place == "column" else frame.set_axis(labels), tmp_path / "a"))
    assert found.stimuli.tolist() == expected
    assert found.sources["stimuli"] == ("stimulus" if place == "column" else "image_id")
    np.testing.assert_allclose(found.responses, VALUES[: len(expected)], rtol=1e-15)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("column", ["stimulus", "repeat", "group"])
@pytest.mark.parametrize("missing", [None, np.nan, pd.NaT, ""])
def test_a_row_without_a_label_is_refused(tmp_path, write, column, missing):
    frame = FRAME.assign(stimulus=list("abcdef"))
    frame[column] = pd.Series(["a", missing, "b", "c", "d", "e"], dtype=object)
    path = write(frame.astype({column: "string"}) if missing is pd.NaT else frame, tmp_path / "a")
    with pytest.raises(DataError, match=r"1 missing, the first at row 1.*label every row") as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("write", [to_csv, to_tsv])
@pytest.mark.parametrize("cell", ["NA", "n/a", "NaN"])
def test_spellings_of_missing_labels_in_text(tmp_path, write, cell):
    path = write(FRAME.assign(stimulus=["a", cell, "b", "c", "d", "e"]), tmp_path / "a")
    with pytest.raises(DataError, match=rf"'stimulus': 1 missing, the first at row 1 \('{cell}'\).*missing=\[\]\.$"):
        read(path)
    assert read(path, missing=[]).stimuli[1] == cell
    with pytest.raises(DataError, match=r"1 missing, the first at row 5 \('e'\)"):
        read(path, missing=["e"])


def test_what_is_typed_is_not_spelled(tmp_path):
    path = to_parquet(FRAME.assign(stimulus=["a", "NA", "nan", "c", "d", "e"]), tmp_path / "a")
    assert read(path).stimuli.tolist() == ["a", "NA", "nan", "c", "d", "e"]


INDICES = {
    "default": (FRAME.index, [str(i) for i in range(6)], ""),
    "reversed": (FRAME.index[::-1], [str(i) for i in range(6)][::-1], ""),
    "part": (pd.RangeIndex(10, 22, 2), ["10", "12", "14", "16", "18", "20"], ""),
    "text": (pd.Index(list("pqrstu")), list("pqrstu"), ""),
    "named": (pd.Index([5, 3, 1, 9, 7, 2], name="photograph"), list("531972"), "photograph"),
    "alias": (pd.Index([5, 3, 1, 9, 7, 2], name="Image_ID"), list("531972"), "Image_ID"),
    "named range": (pd.RangeIndex(3, 9, name="photograph"), list("345678"), "photograph"),
}


@pytest.mark.parametrize("index", INDICES)
def test_the_index_of_a_parquet(tmp_path, index):
    labels, expected, source = INDICES[index]
    path = to_parquet(FRAME.set_axis(labels), tmp_path / "a")
    found = read(path)
    assert found.stimuli.tolist() == expected
    assert found.sources == {"stimuli": source}
    assert found.numbered == (index == "default")
    np.testing.assert_array_equal(found.responses, VALUES)
    assert header(path).shape == (6, 3)


@pytest.mark.parametrize("index", [name for name, (_, _, source) in INDICES.items() if source in ("", "Image_ID")])
def test_the_index_of_a_csv(tmp_path, index):
    labels, expected, source = INDICES[index]
    found = read(to_csv(FRAME.set_axis(labels), tmp_path / "a"))
    assert (found.stimuli.tolist(), found.sources) == (expected, {"stimuli": source})
    np.testing.assert_allclose(found.responses, VALUES, rtol=1e-15)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("write", WRITERS)
def test_an_index_that_became_a_column_is_no_unit(tmp_path, write, times):
    frame = FRAME.set_axis([3, 1, 2, 9, 8, 7])
    for _ in range(times):
        frame.to_csv(tmp_path / "again.csv")
        frame = pd.read_csv(tmp_path / "again.csv")
    found = read(write(frame, tmp_path / "a"))
    assert found.stimuli.tolist() == list("312987")
    np.testing.assert_allclose(found.responses, VALUES, rtol=1e-15)
    found = read(to_csv(FRAME.set_axis([3, 1, 2, 9, 8, 7]).reset_index(), tmp_path / "b"))
    assert found.stimuli.tolist() == list("312987")


@pytest.mark.parametrize("write", WRITERS)
def test_a_column_of_stimuli_comes_before_numbers_of_rows(tmp_path, write):
    for index in (FRAME.index, [9, 4, 1, 2, 3, 5]):
        frame = FRAME.set_axis(index).assign(image=list("abcdef"))
        found = read(write(frame, tmp_path / "a"))
        assert (found.stimuli.tolist(), found.responses.shape) == (list("abcdef"), (6, 3))
    with pytest.raises(DataError, match="a column of stimuli and an index without a name; name the index stimulus,"):
        read(write(frame.set_axis(list("pqrstu")), tmp_path / "a"))


def test_the_levels_of_an_index(tmp_path):
    def levels(**named):
        return FRAME.set_axis(pd.MultiIndex.from_arrays(list(named.values()), names=list(named)))

    found = read(to_parquet(levels(image=list("aabbcc"), trial=[0, 1] * 3), tmp_path / "a"))
    assert (found.stimuli.tolist(), found.repeats.tolist()) == (list("aabbcc"), list("010101"))
    found = read(to_parquet(levels(session=list("xxyyzz"), photograph=[4, 5, 6, 7, 8, 9]), tmp_path / "a"))
    assert (found.stimuli.tolist(), found.groups.tolist()) == (list("456789"), list("xxyyzz"))
    for frame in (
        levels(subject=list("aabbcc"), day=[1, 2] * 3),
        FRAME.set_axis(pd.MultiIndex.from_arrays([list("aabbcc"), [1, 2] * 3])),
    ):
        with pytest.raises(DataError, match=r"has an index of several levels \(.*\); name them stimulus, group"):
            read(to_parquet(frame, tmp_path / "a"))
    with pytest.raises(DataError, match="has an index of several levels"):
        read(to_csv(FRAME.set_axis(pd.MultiIndex.from_arrays([list("aabbcc"), [1, 2] * 3])), tmp_path / "a"))
    with pytest.raises(DataError, match="has a column of stimuli and an index 'day'"):
        read(to_parquet(levels(image=list("aabbcc"), day=[1, 2] * 3), tmp_path / "a"))


def test_columns_of_several_levels(tmp_path):
    stimuli = [3, 1, 2, 9, 8, 7]
    wide = FRAME.set_axis(pd.MultiIndex.from_product([["V1"], range(3)], names=["area", "unit"]), axis=1)
    wide = wide.set_axis(pd.Index(stimuli, name="stimulus"))
    for frame in (wide, wide.reset_index()):
        path = to_parquet(frame, tmp_path / "a")
        found = read(path)
        assert (found.stimuli.tolist(), header(path).shape) == (list("312987"), (6, 3))
        np.testing.assert_array_equal(found.responses, VALUES)


LONG = pd.DataFrame({"stimulus": np.repeat(np.arange(6) + 9, 3), "unit": [0, 1, 2] * 6, "rate": VALUES.reshape(-1)})
NO_UNITS = ("unit", "neuroid_id", "cells", "time", "time_bin", "condition", "trial_id", "stimulus_index", "Image ID")


@pytest.mark.parametrize("write", [*WRITERS, None])
@pytest.mark.parametrize("title", NO_UNITS)
def test_what_tells_rows_apart_is_no_unit(tmp_path, write, title):
    frame = LONG.rename(columns={"unit": title})
    with pytest.raises(DataError, match=rf"column '{title.lower()}' tells rows apart by its name, .*frame.pivot\("):
        read(write(frame, tmp_path / "a")) if write else paired({"a": frame, "b": frame})
    wide = LONG.pivot(index="stimulus", columns="unit", values="rate")
    for names in (["unit"], ["unit", "unit.1", "unit.2"], ["time_0", "cell3", "conditional"]):
        systems = wide.iloc[:, : len(names)].set_axis(names, axis=1)
        assert paired({"a": systems, "b": systems})[0]["a"].shape == (6, len(names))


def test_blank_lines_of_a_single_unit(tmp_path):
    (tmp_path / "a.csv").write_text("u\n1\n3\n\n")
    assert read(tmp_path / "a.csv").tolist() == [[1], [3]]
    (tmp_path / "a.csv").write_text("u\n1\n\n3\n")
    with pytest.raises(DataError, match=r"a.csv: line 3 is blank; write nan for a missing number, or leave it out"):
        read(tmp_path / "a.csv")


def test_a_range_of_another_length_than_the_table(tmp_path):
    path = to_parquet(FRAME, tmp_path / "a")
    pq.write_table(pq.read_table(path)[1:4], path)
    assert json.loads(pq.read_schema(path).metadata[b"pandas"])["index_columns"][0]["stop"] == 6
    np.testing.assert_array_equal(read(path), VALUES[1:4])


def test_a_table_that_pandas_did_not_write(tmp_path):
    pq.write_table(pa.table({f"u{i}": x for i, x in enumerate(VALUES.T)}), tmp_path / "a.parquet")
    np.testing.assert_array_equal(read(tmp_path / "a.parquet"), VALUES)


@pytest.mark.parametrize("start", [0, 1])
def test_a_column_that_numbers_the_rows_is_no_unit(tmp_path, start):
    frame = FRAME.set_axis(pd.RangeIndex(start, start + 6, name="photo"))
    with pytest.raises(DataError, match=rf"first column, 'photo', numbers the rows from {start}; name it stimulus"):
        read(to_csv(frame, tmp_path / "a"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_marks_ends_and_separators_in_tables(tmp_path, encoding, ends):
    text = "stimulus,u\na\u2028b,1\nc\x85d,2\ne\x0cf,3\n".replace("\n", ends)
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    found = read(tmp_path / "a.csv")
    assert found.stimuli.tolist() == ["a\u2028b", "c\x85d", "e\x0cf"]
    assert found.responses.tolist() == [[1], [2], [3]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_tables_in_other_encodings_are_refused(tmp_path, encoding):
    (tmp_path / "a.csv").write_bytes("stimulus,u\na,1\n".encode(encoding))
    with pytest.raises(DataError, match=r"a.csv is not text in UTF-8, but in UTF-16 or none; save it as UTF-8"):
        read(tmp_path / "a.csv")


def test_types_that_turn_up_late(tmp_path):
    rows = 120_000
    (tmp_path / "a.csv").write_text("stimulus,u0\n" + "".join(f"{i},0\n" for i in range(rows)) + "catch,0.5\n")
    found = read(tmp_path / "a.csv")
    assert (found.responses[-1, 0], found.stimuli[-1], found.stimuli[7]) == (0.5, "catch", "7")


def test_a_frame_and_itself_in_another_order_are_matched(tmp_path):
    orders = {"a": FRAME, "b": FRAME.iloc[::-1], "c": FRAME.sample(frac=1, random_state=0)}
    found = match([read(to_parquet(frame, tmp_path / name)) for name, frame in orders.items()])
    for x in found.systems.values():
        np.testing.assert_array_equal(x, VALUES)
    assert isinstance(read(tmp_path / "a.parquet"), Recording)


def test_whole_numbers_beside_a_missing_one_stay_exact(tmp_path):
    table = pa.table({"stimulus": pa.array([2**62 + 1, None, 2**62]), "u": [1.0, 2.0, 3.0]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="stimuli: 1 missing, the first at row 1; label every row"):
        read(tmp_path / "a.parquet")
    pq.write_table(table.slice(2), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").stimuli.tolist() == [str(2**62)]


def test_objects_of_an_archive_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", responses=VALUES, stimulus=np.array(list("abcdef"), dtype=object))
    with pytest.raises(DataError, match=r"a.npz: stimulus holds Python objects, .*; save labels as text \(dtype=str\)"):
        read(tmp_path / "a.npz")


def test_tables_in_one_byte_encodings_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes("stimulus,caf\xe9\na,1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a.csv is not text in UTF-8 .*; save it as UTF-8"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "text",
    ["stimulus;u1;u2\na;1,5;2\n", "u1;u2\n1.5;2\n", "1,5;2,5;3\n1;2;3\n", "1;2\n3;4\n"],
    ids=["decimal commas", "points", "no names", "whole numbers"],
)
def test_cells_between_semicolons_are_refused_with_the_remedy(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    words = r"a.csv: cells stand between semicolons; save it with commas .*read_csv\('a.csv', sep=';', decimal=','\)"
    with pytest.raises(DataError, match=words):
        read(tmp_path / "a.csv")


def test_a_name_may_hold_a_semicolon(tmp_path):
    (tmp_path / "a.csv").write_text("unit;1,unit;2\n1,2\n3,4\n")
    assert read(tmp_path / "a.csv").tolist() == [[1, 2], [3, 4]]


def test_names_in_several_rows_are_refused_with_the_remedy(tmp_path):
    (tmp_path / "a.csv").write_text("area,V1,V1,V4\nunit,0,1,2\nimage,,,\ni1,1,2,3\ni2,3,4,4\n")
    with pytest.raises(DataError, match=r"column 'area' holds string .*; names stand in one row \(join several"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("command", ["compare", "contrast", "partition", "train", "encode"])
def test_every_command_says_what_it_read(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(3)
    for name, ids in (("a", range(64)), ("b", range(4, 68)), ("c", range(68))):
        stimuli = np.repeat([f"i{i}" for i in ids] + ["NA"], 2)
        frame = pd.DataFrame(draw.normal(size=(len(stimuli), 3))).add_prefix("u").assign(image_id=stimuli)
        frame.to_csv(f"{name}.csv", index=False)
    paths = ["a.csv", "b.csv", "c.csv"]
    more = {
        "compare": [*paths, "--raw", "--permutations", "9", "--out", "out"],
        "contrast": [*paths, "--target", "a"],
        "partition": [*paths, "--target", "a"],
        "train": [*paths, "--latents", "6", "--steps", "2", "--joint", "detached", "--out", "kept"],
        "encode": ["kept/a.safetensors", "a.csv", "--out", "codes.npy"],
    }
    if command == "encode":
        assert main(["train", *more["train"], "--missing", ""]) == 0
        capsys.readouterr()
    assert main([command, *more[command]]) == 2
    assert "a.csv: labels in column 'image_id': 2 missing, the first at row 128 ('NA')" in capsys.readouterr().err
    assert main([command, *more[command], "--missing", ""]) == 0
    said = capsys.readouterr().err
    assert "a: stimuli are image_id." in said
    if command != "encode":
        assert "a: 130 trials of 65 stimuli are averaged, 2 of each." in said
        assert "a: 4 of 65 stimuli are not in every other system and are left out (i0, i1, i2 …)." in said
        assert "c: 8 of 69 stimuli" in said
