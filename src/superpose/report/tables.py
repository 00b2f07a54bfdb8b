"""Tables of HTML that can be read without scripts, and are complete, sort, search and export with them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import accumulate
from urllib.parse import quote

from superpose.report.cells import Cell, Column, Row
from superpose.report.packed import packed

FILTER = " data-filter"
# Bytes of the rows that stand in a table as they are, and of those behind them that are packed; rows at most.
BYTES, PACKED, ROWS = 120_000, 200_000, 3_000


def table(name: str, caption: str, columns: Sequence[Column], rows: Sequence[Row], files: Sequence[str] = ()) -> str:
    """Return rows as a table under a caption, which says if some are left out.

    Rows beyond the first `BYTES` are packed, as many as `PACKED` bytes hold, and added by the page's script.

    Parameters
    ----------
    name : str
        What an exported file is called.
    caption : str
        What a row is: "scores", "pairs".
    columns : sequence of Column
        Those that are empty in all rows are left out; the first one heads the rows.
    rows : sequence of dict
        As `DataFrame.to_dict("records")` gives them.
    files : sequence of str
        Names of the files beside the page that hold all rows and columns; the caption links to them.
    """
    filled = [(column, [column.cell(row) for row in rows]) for column in columns]
    shown = [filled[0], *((column, cells) for column, cells in filled[1:] if any(cell.html for cell in cells))]
    head = "".join(
        f'<th scope="col" class="{column.kind}"{FILTER * column.filtered}>{escape(column.heading)}</th>'
        for column, _ in shown
    )
    lines = [
        "<tr>"
        + "".join(_cell(column, cells[i], head=place == 0) for place, (column, cells) in enumerate(shown))
        + "</tr>"
        for i in range(len(rows))
    ]
    fitting = sum(size <= BYTES for size in accumulate(len(line.encode()) for line in lines[:ROWS]))
    kept, behind = _packed(lines[:ROWS], fitting)
    longest = max((len(cell.html) for cell in filled[0][1]), default=0)
    meanings = "".join(
        f"<dt>{escape(column.heading)}</dt><dd>{escape(column.meaning)}</dd>" for column, _ in shown if column.meaning
    )
    explained = f"<details class='meanings'><summary>What the columns mean</summary><dl>{meanings}</dl></details>"
    count = _counted(len(kept), len(lines), caption)
    said = escape(count[0].upper() + count[1:]) + _kept(files, whole=len(kept) == len(lines))
    rest = ""
    if fitting < len(kept):
        note = f"Scripts are off: these are the first {fitting:,} of {count}."
        rest = f"<noscript><p class='note'>{escape(note)}</p></noscript>{behind}"
    return (
        f'<div class="grid" data-name="{escape(name)}">'
        f'<div class="scroll" role="region" aria-label="{escape(count)}" tabindex="0">'
        f'<table style="--head:{longest}ch"><caption><span>{said}</span></caption><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(kept[:fitting])}\n</tbody></table></div>{rest}{explained if meanings else ''}</div>"
    )


def _packed(lines: list[str], first: int) -> tuple[list[str], str]:
    """Return as many lines as fit onto the page, and those of them behind the first, packed."""
    while len(data := packed("".join(lines[first:]))) > PACKED:
        lines = lines[: first + int(0.95 * (len(lines) - first) * PACKED / len(data))]
    return lines, data


def _cell(column: Column, cell: Cell, *, head: bool) -> str:
    value = "" if cell.value is None else f' data-v="{cell.value:g}"'
    kind = f' class="{column.kind}"' if column.kind != "number" else ""
    if head:
        return f'<th scope="row"{kind}{value}>{cell.html}</th>'
    return f"<td{kind}{value}>{cell.html}</td>"


def _counted(shown: int, total: int, what: str) -> str:
    if shown < total:
        return f"the first {shown:,} of {total:,} {what}"
    return f"{total:,} {what if total != 1 else what.removesuffix('s')}"


def _kept(files: Sequence[str], *, whole: bool) -> str:
    """Return where all rows are, as HTML that follows their count."""
    links = " and ".join(f'<a href="{quote(name)}">{escape(name)}</a>' for name in files)
    if whole:
        return f", also in {links}." if files else "."
    return f"; all are in {links}." if files else "; the table behind this page holds all."
