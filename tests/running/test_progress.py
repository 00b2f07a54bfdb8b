"""Progress of long calls in Python: on standard error of a terminal or notebook, and nowhere else."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

import superpose as sp
from superpose.running import progress

X, Y = np.random.default_rng(0).exponential(size=(2, 200, 4))
PAIRS = {f"layer{i}": X + i * Y for i in range(4)}


def square(seed, *, number):
    return {"square": number**2}


CALLS = {
    "compare": lambda folder: sp.compare(PAIRS, permutations=0),
    "features": lambda folder: sp.features(X),
    "content": lambda folder: sp.content({"a": X, "b": Y}, dictionaries={"b": np.eye(4)}, permutations=0),
    "layers": lambda folder: sp.layers(PAIRS, target=Y, permutations=9),
    "study": lambda folder: sp.Study("squares", square, sp.grid(number=range(3))).run(folder),
}


@pytest.fixture
def slow(monkeypatch):
    """A clock by which a minute passes between any two readings."""
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=itertools.count(0, 60).__next__))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("watched", [True, False])
def test_it_is_shown_where_someone_watches(name, watched, slow, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(progress, "watched", lambda: watched)
    CALLS[name](tmp_path)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert (" left)" in printed.err) == watched
    assert watched or printed.err == ""


def test_a_pipe_is_not_watched_and_a_notebook_is(monkeypatch):
    monkeypatch.setattr(progress.sys, "stderr", SimpleNamespace(isatty=lambda: False))
    monkeypatch.delitem(progress.sys.modules, "ipykernel", raising=False)
    assert not progress.watched()
    monkeypatch.setitem(progress.sys.modules, "ipykernel", SimpleNamespace())
    assert progress.watched()
