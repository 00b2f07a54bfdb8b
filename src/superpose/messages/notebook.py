"""What a notebook shows of results: a few lines of text, and the head of a table."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# Sentences, and rows of a table, that are shown at most.
LINES, ROWS = 12, 10


def text(head: str, lines: Iterable[str], members: str) -> str:
    """Return a heading, what was found, and where the rest is, as text."""
    return "\n".join([head, *_few(lines), members])


def html(head: str, lines: Iterable[str], table: pd.DataFrame | None = None, warnings: Iterable[str] = ()) -> str:
    """Return a heading, what was found, the head of a table and warnings, as HTML without styles of its own.

    Examples
    --------
    >>> from superpose.messages.notebook import html
    >>> html("Content of 1 pair", ["<a> and b: the same features."])
    '<p><b>Content of 1 pair</b></p><p>&lt;a&gt; and b: the same features.</p>'
    """
    parts = [f"<p><b>{escape(head)}</b></p>", *(f"<p>{escape(line)}</p>" for line in _few(lines))]
    if table is not None and len(table):
        shown = table.head(ROWS).to_html(index=False, border=0, na_rep="", float_format="{:.3g}".format)
        parts.append(shown if len(table) <= ROWS else f"{shown}<p>… {len(table):,} rows</p>")
    parts += [f"<p>⚠ {escape(warning)}</p>" for warning in warnings]
    return "".join(parts)


def _few(lines: Iterable[str]) -> list[str]:
    known = list(lines)
    return known if len(known) <= LINES else [*known[:LINES], f"… {len(known) - LINES:,} more sentences"]


def counted(count: int, noun: str) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> from superpose.messages.notebook import counted
    >>> counted(1, "pair"), counted(1_200, "score")
    ('1 pair', '1,200 scores')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"
