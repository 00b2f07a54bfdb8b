"""Labels: one text for one stimulus, whatever keeps it; none is lost, made up or merged."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest
import torch

from superpose.analysis.inputs import read_groups
from superpose.files import DataError, lines
from superpose.recordings import Recording
from superpose.recordings.labels import MISSING, labelled, plain, written

NAT = np.datetime64("NaT")


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([1, 2], ["1", "2"]),
        ([1.0, 2.0], ["1", "2"]),
        ([0.0, 22.0, 22.5, 45.0], ["0.0", "22.0", "22.5", "45.0"]),
        (np.float32([22.0, 22.1]), ["22.0", "22.1"]),
        (np.float16([1, 2]), ["1", "2"]),
        ([1.0, np.nan], ["1", None]),
        ([22.5, np.nan], ["22.5", None]),
        (np.uint64([2**64 - 1]), ["18446744073709551615"]),
        ([True, False], ["True", "False"]),
        (["1.10", "007", "nan", ""], ["1.10", "007", "nan", None]),
        (["a", np.nan, 1, 2.5], ["a", None, "1", "2.5"]),
        ((b"a", np.float32("nan"), "b"), ["a", None, "b"]),
        ([b"caf\xc3\xa9", b""], ["café", None]),
        (np.array(["a", None], dtype=object), ["a", None]),
        (np.array([b"a", "a"], dtype=object), ["a", "a"]),
        (np.array([1, "a", 2.5, np.nan], dtype=object), ["1", "a", "2.5", None]),
        (np.array([12345678901234567890, 7], dtype=object), ["12345678901234567890", "7"]),
        (np.array([1.0, None], dtype=object), ["1", None]),
        (np.array([decimal.Decimal("1.10"), pd.NA], dtype=object), ["1.10", None]),
        (np.array([datetime.date(2020, 1, 1)], dtype=object), ["2020-01-01"]),
        (np.array(["2020-01-01", NAT], dtype="M8[ns]"), ["2020-01-01", None]),
        (np.array(["2020-01-01", "2020-01-01T10:00"], dtype="M8[ns]"), ["2020-01-01 00:00:00", "2020-01-01 10:00:00"]),
        (np.array(["a", "b"], dtype=np.dtypes.StringDType()), ["a", "b"]),
        (np.ma.masked_array([1, 2, 3], [False, True, False]), ["1", None, "3"]),
        (np.ma.masked_array([1.0, -9999.5], [False, True]), ["1.0", None]),
        (pd.array([1, None, 2], dtype="Int64"), ["1", None, "2"]),
        (pd.array(["a", None], dtype="string"), ["a", None]),
        (pd.Categorical(["b", None, "a"]), ["b", None, "a"]),
        (pd.Categorical([2, None, 1]), ["2", None, "1"]),
        (pd.Series([1.0, 2.0], index=[5, 6]), ["1", "2"]),
        (torch.tensor([1.0, 2.0]), ["1", "2"]),
    ],
)
def test_labels_of_every_type(stored, expected):
    labels = plain(stored)
    assert labels.tolist() == expected
    assert plain(labels).tolist() == expected


@pytest.mark.parametrize(
    "column",
    [
        [0.0, 22.0, 22.5],
        np.float32([22.0, 22.1]),
        [True, False],
        pd.to_datetime(["2020-01-01", "2020-01-02"]),
        pd.to_datetime(["2020-01-01 00:00", "2020-01-02 10:00"]),
        pd.to_timedelta([1, 2], unit="h"),
        pd.to_timedelta([0.5, 1], unit="s"),
        *(pd.to_datetime([500, 1000], unit="ms", utc=zone) for zone in (False, True)),
        pd.date_range("2020-01-01", periods=2, tz="Europe/Berlin"),
        pd.Categorical(["b", "a"]),
        [1e-7, 123456.789],
        [1.0, 2.0],
        [10**17 + 1, 10**17],
        ["1.10", "1.1"],
    ],
)
def test_stored_labels_are_those_that_pandas_writes(column):
    text = pd.Series(column).to_csv(index=False, header=False).splitlines()
    assert plain(column).tolist() == written(text).tolist()


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1.0", "2.0"], ["1", "2"]),
        (["1.0", "2"], ["1.0", "2"]),
        (["1.1", "1.10"], ["1.1", "1.10"]),
        (["v1.0", "v2.0"], ["v1.0", "v2.0"]),
        (["-0.0", "1.0"], ["0", "1"]),
        (["1e3", "true", "12:30", " a"], ["1e3", "true", "12:30", " a"]),
    ],
)
def test_labels_of_files_of_text(cells, expected):
    assert written(cells).tolist() == expected


@pytest.mark.parametrize("cell", ["", " ", "NA", "n/a", "NaN", " nan ", "<NA>", None])
def test_missing_labels_of_files_of_text(cell):
    with pytest.raises(DataError, match=r"ids: 2 missing, the first at row 1.*; label every row"):
        written(["a", cell, "b", cell], what="ids")


def test_spellings_of_missing_labels_can_be_others_or_none():
    assert written(["NA", "nan", "-"], []).tolist() == ["NA", "nan", "-"]
    with pytest.raises(DataError, match=r"1 missing, the first at row 1 \('-'\); label every row, or say that '-' is"):
        written(["NA", "-"], ["-"])
    assert "NULL" not in MISSING


@pytest.mark.parametrize(
    ("stored", "cause"),
    [
        ([2.0**53, 1.0], r"hold 9007199254740992.0 as float64, which tells whole numbers apart below 90071992"),
        (np.float32([2**24, 1]), r"as float32, which tells whole numbers apart below 16777216; store labels as"),
        ([b"\xff"], r"hold b'\\xff', which is not UTF-8"),
        (np.array([{"a": 1}], dtype=object), r"hold dict .*; expected one number, text or date a row"),
        (np.array([[1, 2], [3]], dtype=object), r"hold list"),
        (np.array([object()], dtype=object), r"hold object"),
        (np.zeros(2, dtype=[("a", "f4")]), r"are of type .*; expected numbers, text or dates"),
    ],
)
def test_what_is_no_label(stored, cause):
    with pytest.raises(DataError, match=cause):
        plain(stored)


def test_a_row_without_a_label_is_refused():
    with pytest.raises(DataError, match="ids: 2 missing, the first at row 1; label every row"):
        labelled(["a", "", "b", None], 4, "ids")
    with pytest.raises(DataError, match="a: groups: 1 missing, the first at row 0"):
        Recording("a", np.ones((2, 2)), ["a", "b"], groups=[np.nan, 1.0])


def test_trials_without_repeats_are_numbered():
    found = Recording("a", np.ones((5, 2)), ["x", "y", "x", "x", "y"])
    assert found.repeats.tolist() == ["0", "0", "1", "2", "1"]


TEXT = "one\ntwo\u2028three\n fo\x85ur\x0c\n"
LINES = ["one", "two\u2028three", " fo\x85ur\x0c"]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("last", ["", "\n"])
def test_lines_are_those_of_every_system(tmp_path, ends, encoding, last):
    path = tmp_path / "a.txt"
    path.write_bytes((TEXT[:-1] + last).replace("\n", ends).encode(encoding))
    assert lines(path) == LINES
    assert read_groups(path).tolist() == LINES


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_text_of_other_encodings_is_refused(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("one\ntwo\n".encode(encoding))
    with pytest.raises(DataError, match="is not text in UTF-8, but in UTF-16 or none; save it as UTF-8"):
        read_groups(tmp_path / "a.txt")


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=r"is not text in UTF-8 .*; save it as UTF-8"):
        read_groups(tmp_path / "a.txt")


@pytest.mark.parametrize("content", ["a\n\nb\n", "a\nNA\nb\n"])
def test_groups_of_a_row_may_not_be_missing(tmp_path, content):
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(DataError, match=r"a.txt: labels: 1 missing, the first at row 1.*; label every row"):
        read_groups(tmp_path / "a.txt")
    np.save(tmp_path / "a.npy", [1.0, np.nan])
    with pytest.raises(DataError, match=r"a.npy: labels: 1 missing, the first at row 1; label every row"):
        read_groups(tmp_path / "a.npy")


def test_groups_have_one_axis(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    with pytest.raises(DataError, match=r"has shape \(2, 2\); --groups expects one label per row"):
        read_groups(tmp_path / "a.npy")
