"""A folder of results: whole or not at all, and the record of how it was made."""

import errno
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import superpose.analysis.results as results
from superpose.analysis import raw
from superpose.files import DataError
from superpose.running.folders import check_free

FILES = ["alignment.csv", "alignment.parquet", "alignment.png", "alignment.svg", "report.html", "run.json"]


@pytest.fixture(scope="module")
def analysis():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(60, 4))
    return raw({"x": x, "y": x @ draw.normal(size=(4, 3)) + draw.normal(size=(60, 3))}, permutations=3)


@pytest.fixture(scope="module")
def written(analysis, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "new" / "folder"
    results.write(analysis, folder, {"inputs": {"x": {"sha256": "0" * 64}}, "seconds": 1.5}, title="x and y")
    return folder


def test_every_file_is_there_and_nothing_else(written):
    assert sorted(os.listdir(written)) == FILES


def test_both_tables_are_the_table(written, analysis):
    pd.testing.assert_frame_equal(pd.read_parquet(written / "alignment.parquet"), analysis.table, check_dtype=False)
    text = pd.read_csv(written / "alignment.csv", keep_default_na=False, na_values={"score": "", "low": "", "high": ""})
    numbers = ["score", "low", "high"]
    pd.testing.assert_frame_equal(text[numbers], analysis.table[numbers], check_exact=False, rtol=1e-15)
    words = ["system_a", "system_b", "metric", "space", "fit", "control", "why"]
    assert text[words].to_numpy().tolist() == analysis.table[words].to_numpy().tolist()


def test_pictures_and_page(written):
    assert (written / "alignment.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (written / "alignment.svg").read_text(encoding="utf-8")
    page = (written / "report.html").read_text(encoding="utf-8")
    assert "<h1>x and y</h1>" in page
    assert "0" * 64 in page


def test_the_record(written, analysis):
    record = json.loads((written / "run.json").read_text(encoding="utf-8"))
    assert record["settings"] == analysis.settings
    assert record["inputs"] == {"x": {"sha256": "0" * 64}}
    assert record["seconds"] == 1.5
    assert record["sentences"] == analysis.sentences
    assert record["warnings"] == list(analysis.warnings)
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record["versions"]["numpy"] == np.__version__
    assert {"scipy", "torch", "pandas"} <= set(record["versions"])
    import torch

    assert record["threads"]["torch"]["threads"] == torch.get_num_threads()
    assert all(pool["threads"] >= 1 for pool in record["threads"].values())


def test_the_same_analysis_gives_the_same_bytes(analysis, tmp_path):
    for name in ("one", "two"):
        results.write(analysis, tmp_path / name, {})
    for file in FILES:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


STEPS = ["to_parquet", "to_csv", "save", "report", "record"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("older", [False, True])
def test_a_failure_in_the_middle_leaves_whole_files_and_no_record(analysis, tmp_path, monkeypatch, step, older):
    if older:
        results.write(analysis, tmp_path, {})
    before = {file: (tmp_path / file).read_bytes() for file in os.listdir(tmp_path)}

    def fail(*given, **options):
        """Write half of a file, then stop as a full disk does."""
        for part in given:
            if isinstance(part, Path):
                part.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    if step in ("to_parquet", "to_csv"):
        monkeypatch.setattr(pd.DataFrame, step, fail)
    elif step == "save":
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    elif step == "report":
        monkeypatch.setattr("superpose.report.document.page", fail)
    else:
        monkeypatch.setattr("superpose.running.folders.json", SimpleNamespace(dumps=fail))
    with pytest.raises(OSError, match="No space left"):
        results.write(analysis, tmp_path, {})
    monkeypatch.undo()
    left = os.listdir(tmp_path)
    assert "run.json" not in left
    assert not [file for file in left if "partial" in file]
    if not older:
        assert len(left) == {"to_parquet": 0, "to_csv": 1, "save": 2, "report": 4, "record": 5}[step]
        results.write(analysis, tmp_path / "again", {})
        before = {file: (tmp_path / "again" / file).read_bytes() for file in FILES}
    for file in left:
        if file != "again":
            assert (tmp_path / file).read_bytes() == before[file], file
    # What is left without a record is no run, and is replaced without being asked.
    assert check_free(tmp_path) == tmp_path


def test_an_interruption_does_the_same(analysis, tmp_path, monkeypatch):
    def interrupt(self, path, **options):
        Path(path).write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", interrupt)
    with pytest.raises(KeyboardInterrupt):
        results.write(analysis, tmp_path, {})
    assert os.listdir(tmp_path) == ["alignment.parquet"]
    pd.read_parquet(tmp_path / "alignment.parquet")


def test_a_run_is_not_replaced_unless_asked(written):
    with pytest.raises(
        DataError, match=r"already holds a run \(run\.json\); choose another --out, or pass --overwrite"
    ):
        check_free(written)
    assert check_free(written, overwrite=True) == written


def test_a_folder_is_checked_without_being_made(tmp_path):
    place = tmp_path / "deep" / "down"
    assert check_free(place) == place
    assert os.listdir(tmp_path) == []


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match="file is a file; expected a directory for the results"):
            check_free(place)


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(DataError, match="cannot be written to; choose another directory"):
        check_free(tmp_path / "out")


def test_other_files_in_the_folder_stay(analysis, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    results.write(analysis, check_free(tmp_path), {})
    assert sorted(os.listdir(tmp_path)) == sorted([*FILES, "notes.txt"])
    assert (tmp_path / "notes.txt").read_text() == "mine"
