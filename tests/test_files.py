"""Whole-file writes and digests."""

import hashlib
import os
import stat

import pytest

from superpose.files import DataError, sha256, whole


def test_data_error_is_a_value_error():
    assert issubclass(DataError, ValueError)


def test_a_finished_file_appears_with_the_usual_permissions(tmp_path):
    target = tmp_path / "table.csv"
    with whole(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".csv"
        assert not target.exists()
        temporary.write_text("a,b\n")
        assert not target.exists()
    assert target.read_text() == "a,b\n"
    assert os.listdir(tmp_path) == ["table.csv"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(KeyError), whole(target) as temporary:  # noqa: PT012
        temporary.write_text("half of the n")
        raise KeyError("the writer failed")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_an_interrupt_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole(tmp_path / "x") as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_finished_file_replaces_the_old_one(tmp_path):
    target = tmp_path / "x"
    target.write_text("old")
    with whole(str(target)) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_writing_into_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole(tmp_path / "missing" / "x"):
        pass


def test_sha256_is_that_of_the_bytes(tmp_path):
    target = tmp_path / "x"
    content = os.urandom(3_000_001)
    target.write_bytes(content)
    assert sha256(target) == hashlib.sha256(content).hexdigest()
