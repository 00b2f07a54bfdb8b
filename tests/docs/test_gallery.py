"""The gallery: its lines run, and draw the pictures that the page shows."""

import doctest
import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"
SHOWN = DOCS / "images" / "gallery"


def likeness(a, b):
    """Return the correlation of two pictures' greys."""
    return np.corrcoef(a[..., :3].mean(-1).ravel(), b[..., :3].mean(-1).ravel())[0, 1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_pictures_are_those_that_the_lines_draw(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = DOCS / "gallery.rst"
    ran = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert ran.failed == 0
    drawn = sorted(path.name for path in tmp_path.glob("*.png"))
    assert len(drawn) >= 8
    assert drawn == sorted(re.findall(r"images/gallery/(\S+)", page.read_text()))
    assert drawn == sorted(path.name for path in SHOWN.iterdir())
    pictures = {
        name: (matplotlib.image.imread(tmp_path / name), matplotlib.image.imread(SHOWN / name)) for name in drawn
    }
    assert {name: made.shape for name, (made, _) in pictures.items()} == {
        name: kept.shape for name, (_, kept) in pictures.items()
    }
    # Another processor may move a point by a pixel.
    assert {name for name, (made, kept) in pictures.items() if likeness(made, kept) < 0.95} == set()
    # A picture of another part of the page would be told apart.
    assert likeness(pictures["contrast.png"][0][:300], pictures["partition.png"][1][:300]) < 0.95
