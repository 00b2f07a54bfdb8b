"""Text that comes with other software."""

import hashlib

import pytest

from superpose.examples import corpora
from superpose.examples.corpora import python_help, wordnet
from superpose.files import DataError

LINES = """  1 This software and database is being provided to you  
00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which is perceived or known  
00001930 03 n 01 thing 0 001 @ 00001740 n 0000 | a thing; of any kind; "it was a thing"; "another"  
00001931 03 n 01 twin 0 001 @ 00001740 n 0000 | that which is perceived or known  
"""  # noqa: W291


def test_help_is_prose_without_repetition_and_fewer_sentences_are_the_first():
    every, few = python_help(), python_help(100)
    assert len(every) == len(set(every)) > 2000
    assert 100 <= len(few) < 400
    assert every[: len(few)] == few
    assert all(4 <= len(sentence.split()) <= 90 and sentence[-1] in ".:" for sentence in every)
    assert not any(">>>" in sentence or "::=" in sentence for sentence in every)


def test_glosses_are_definitions_without_examples_each_once(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "WORDNET", tmp_path)
    for part in corpora.PARTS:
        (tmp_path / f"data.{part}").write_text(LINES, encoding="latin-1")
    assert wordnet() == ["that which is perceived or known", "a thing; of any kind"]


def test_a_missing_wordnet_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "WORDNET", tmp_path)
    with pytest.raises(DataError, match=r"data\.noun does not exist; install WordNet's files"):
        wordnet()


def test_drawings_come_once_each_in_an_order_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setattr(corpora, "CLIPART", tmp_path)
    with pytest.raises(DataError, match=r"holds no drawings; install them \(Debian: apt-get install openclipart-png\)"):
        corpora.clipart()
    (tmp_path / "animals").mkdir()
    for name, content in (("animals/cat.png", "a"), ("animals/dog.png", "b"), ("tree.png", "c"), ("twin.png", "b")):
        (tmp_path / name).write_text(content)
    found = corpora.clipart()
    assert sorted(found) == ["animals/cat.png", "tree.png", "twin.png"]
    digests = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in found]
    assert digests == sorted(digests)
