"""The tutorials and the short answers: their numbers are computed; the code of tutorials is what notebooks hold."""

import doctest
import json
import sys
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "tutorials"
SLOW = {"models", "recordings"}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if page.stem in SLOW else [])
        for page in [PAGES.parent / "howto.rst", *sorted(PAGES.glob("*.rst"))]
        if page.stem != "index"
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_numbers_of_a_page_are_computed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    found = doctest.testfile(str(page), module_relative=False, optionflags=flags)
    assert found.attempted > 8
    assert found.failed == 0


def test_notebooks_hold_the_code_of_the_pages(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(PAGES.parent))
    from notebooks import write

    written = write(PAGES, tmp_path)
    assert [path.stem for path in written] == ["models", "recordings", "theory"]
    for path in written:
        cells = json.loads(path.read_text())["cells"]
        code = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "code")
        page = doctest.DocTestParser().get_examples((PAGES / f"{path.stem}.rst").read_text())
        assert code.split("\n") == [
            line.split("  # doctest:")[0] for example in page for line in example.source.rstrip("\n").split("\n")
        ]
        assert cells[0]["source"].startswith("# ")
    sys.modules.pop("notebooks")
