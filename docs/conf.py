"""How Sphinx builds the documentation: `make docs`, with warnings as errors."""

import re
import sys
from pathlib import Path
from typing import Any

from superpose import __version__ as version
from superpose.paper import FIGURES

sys.path.insert(0, str(Path(__file__).parent))

project = "superpose"
author = "The superpose developers"
project_copyright = "2026, the superpose developers"
release = version

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
    "claims",
    "metrics",
    "notebooks",
    "plans",
    "proofs",
]
exclude_patterns = ["_build"]
default_role = "code"
# Every cross reference resolves; shapes of arrays are types of no page.
nitpicky = True
nitpick_ignore_regex = [("py:class", r"jaxtyping\..*")]
html_theme = "pydata_sphinx_theme"
html_title = "superpose"
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "data-flow": [], "figures": []}

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True}
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False


# In docstrings (*repeats, samples) and |x|² are mathematics: no emphasis and no substitution begins there.
_markup = re.compile(r"(?<=\()\*(?=\w)|\|(?=\w+\|)")


def escape(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep reStructuredText from reading shapes and norms as markup; code lines stay as they are."""
    lines[:] = [line if line.lstrip().startswith((">>>", "...")) else _markup.sub(r"\\\g<0>", line) for line in lines]


def list_figures(app: Any, page: str, source: list[str]) -> None:
    """Give each figure a section of the page about reproduction."""
    if page == "api/reproduce":
        for module in (f"superpose.paper.{name}" for name in FIGURES):
            source[0] += f"\n{module}\n{'-' * len(module)}\n\n.. automodule:: {module}\n"


def setup(app: Any) -> None:
    app.connect("source-read", list_figures)
    # Before numpydoc, whose priority is 500.
    app.connect("autodoc-process-docstring", escape, priority=400)
