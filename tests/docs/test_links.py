"""Links of the pages: what they point to is there, and addresses are of https. References to the code are Sphinx's."""

import importlib.util
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import superpose

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MARKDOWN = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")]
PAGES = sorted(path for path in DOCS.rglob("*.rst") if not path.is_relative_to(DOCS / "api" / "generated"))
# A page or a file beside it that is written while Sphinx runs.
BUILT = "/_build/"

RST = re.compile(r"^ *\.\. (?:image|figure|literalinclude|include)::\s*(\S+)|^ *:file:\s*(\S+)", re.MULTILINE)
DOC = re.compile(r":doc:`(?:[^`<]*<)?([^`<>]+)>?`")
DOWNLOAD = re.compile(r":download:`(?:[^`<]*<)?([^`<>]+)>?`")
NAMED = re.compile(r"`{1,2}((?:docs|tests|benchmarks|decisions)/[\w./-]+\.\w+)`{1,2}")
# What a page calls by its full name: `sp.theory.cka(…)`, `superpose.paper.claims`.
CODE = re.compile(r"`(?:sp|superpose)((?:\.[A-Za-z_]\w*)+)")
ADDRESS = re.compile(r"\bhttps?:[^\s<>`\"')\]]*|\bwww\.[^\s<>`\"')\]]*")


def short(path):
    return path.relative_to(ROOT).as_posix()


def place(page, target, suffix=""):
    """Return where a target of a page lies: from docs/ after a slash, and else beside the page."""
    return (DOCS / (target[1:] + suffix)) if target.startswith("/") else (page.parent / (target + suffix))


def missing_in_markdown(page):
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    return [target for target in targets if ":" not in target and not (page.parent / target).exists()]


def missing_in_rst(page):
    text = page.read_text()
    files = [image or file for image, file in RST.findall(text)] + DOWNLOAD.findall(text)
    absent = [name for name in files if not name.startswith(BUILT) and not place(page, name).is_file()]
    return absent + [name for name in DOC.findall(text) if not place(page, name, ".rst").is_file()]


def unresolved(text):
    """Return the names of the package that do not exist."""
    return [name for name in sorted(set(CODE.findall(text))) if not exists(superpose, *name.strip(".").split("."))]


def exists(owner, *names):
    for name in names:
        if not hasattr(owner, name) and importlib.util.find_spec(f"{owner.__name__}.{name}") is None:
            return False
        owner = getattr(owner, name, None) or importlib.import_module(f"{owner.__name__}.{name}")
    return True


def malformed(text):
    """Return the addresses that are not https with a host of several parts, or end amid a sentence."""
    bad = []
    for address in ADDRESS.findall(text):
        parts = urlsplit(address.rstrip(".,;:"))
        if parts.scheme != "https" or not re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.hostname or ""):
            bad.append(address)
    return bad


@pytest.mark.parametrize("page", MARKDOWN, ids=short)
def test_links_of_markdown_are_there(page):
    assert missing_in_markdown(page) == []


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_links_of_pages_are_there(page):
    assert missing_in_rst(page) == []


@pytest.mark.parametrize("page", MARKDOWN + PAGES, ids=short)
def test_files_that_are_named_are_there(page):
    assert [name for name in NAMED.findall(page.read_text()) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", [page for page in MARKDOWN + PAGES if page.stem != "CHANGELOG"], ids=short)
def test_names_of_the_package_exist(page):
    assert unresolved(page.read_text()) == []


def test_addresses_are_whole():
    pages = [*MARKDOWN, *PAGES, ROOT / "CITATION.cff"]
    assert {short(page): bad for page in pages if (bad := malformed(page.read_text()))} == {}


def test_every_page_is_in_a_table_of_contents():
    listed = {"index"}
    for page in PAGES:
        for block in re.findall(r"\.\. toctree::\n((?:(?: +.*)?\n)+)", page.read_text() + "\n"):
            names = [line.strip() for line in block.split("\n") if line.strip() and ":" not in line]
            listed |= {(page.parent / name).relative_to(DOCS).as_posix() for name in names}
    assert listed == {page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES}


def test_what_is_broken_is_found(tmp_path):
    page = tmp_path / "page.rst"
    page.write_text("See :doc:`none` and :doc:`words <gone>`.\n\n.. image:: lost.png\n\n:download:`x <data.csv>`\n")
    assert missing_in_rst(page) == ["lost.png", "data.csv", "none", "gone"]
    page.write_text("[a](none.md), [b](page.rst#part), [c](https://a.org) and ![d](gone.png)")
    assert missing_in_markdown(page) == ["none.md", "gone.png"]
    assert unresolved("`sp.theory.cka(a, b)`, `superpose.nowhere`") == [".nowhere"]
    assert malformed("http://a.org, https://a.org/b. https:/c.org www.d.org https://localhost/e") == [
        "http://a.org,",
        "https:/c.org",
        "www.d.org",
        "https://localhost/e",
    ]
