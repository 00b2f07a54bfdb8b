"""The tutorials as notebooks: text becomes Markdown, examples become cells, and the outputs are left to be computed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

# Below the sources, where Sphinx finds what a page offers for download.
FOLDER = "_build/notebooks"
UNDERLINES = {"=": "#", "-": "##"}


def notebook(page: str) -> dict[str, Any]:
    """Return the notebook of a page of reStructuredText with examples after >>>."""
    cells: list[dict[str, Any]] = []
    blocks = re.split(r"\n{2,}", page.strip())
    for block in blocks:
        if block.startswith(">>> "):
            lines = [line[4:] for line in block.split("\n") if re.match(r"(>>>|\.\.\.)( |$)", line)]
            cells.append(_cell("code", re.sub(r"  # doctest: .*", "", "\n".join(lines))))
        elif not block.startswith((".. ", "As a notebook")):
            cells.append(_cell("markdown", _markdown(block)))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def write(pages: Path, folder: Path) -> list[Path]:
    """Write a notebook for each tutorial, and return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for page in sorted(pages.glob("*.rst")):
        if page.stem != "index":
            path = folder / f"{page.stem}.ipynb"
            path.write_text(json.dumps(notebook(page.read_text()), indent=1) + "\n")
            written.append(path)
    return written


def _cell(kind: str, source: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": source}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def _markdown(block: str) -> str:
    lines = block.split("\n")
    if len(lines) > 1 and (mark := UNDERLINES.get(lines[1][:1])) and set(lines[1]) == {lines[1][0]}:
        return f"{mark} {lines[0]}"
    if block.startswith("   "):
        return f"```\n{dedent(block)}\n```"
    text = re.sub(r":doc:`/?([^`]+)`", r"`\1`", block)
    return text.replace("``", "`")


def setup(app: Any) -> dict[str, bool]:
    """Write the notebooks before Sphinx reads the pages that link to them."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / "tutorials", Path(app.srcdir) / FOLDER))
    return {"parallel_read_safe": True}
