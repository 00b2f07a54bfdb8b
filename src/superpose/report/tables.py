"""Tables of HTML that are complete without scripts, and sort, search and export with them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import accumulate

from superpose.report.cells import Cell, Column, Row

FILTER = " data-filter"


def table(name: str, caption: str, columns: Sequence[Column], rows: Sequence[Row], most: int, kept: str = "") -> str:
    """Return rows as a table under a caption, as many as fit into `most` bytes; the caption says if some are left out.

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
    most : int
        Bytes of all rows together.
    kept : str
        Where all rows are, said where some are left out.
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
    fitting = sum(size <= most for size in accumulate(len(line.encode()) for line in lines))
    meanings = "".join(
        f"<dt>{escape(column.heading)}</dt><dd>{escape(column.meaning)}</dd>" for column, _ in shown if column.meaning
    )
    explained = (
        f"<details class='meanings'><summary>What the columns of these {escape(caption)} are</summary>"
        f"<dl>{meanings}</dl></details>"
    )
    said = escape(_said(fitting, len(lines), caption, kept))
    return (
        f'<div class="grid" data-name="{escape(name)}">'
        f'<div class="scroll" role="region" aria-label="{said}" tabindex="0">'
        f"<table><caption><span>{said}</span></caption><thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{chr(10).join(lines[:fitting])}\n</tbody></table></div>{explained if meanings else ''}</div>"
    )


def _cell(column: Column, cell: Cell, *, head: bool) -> str:
    value = "" if cell.value is None else f' data-v="{cell.value:g}"'
    kind = f' class="{column.kind}"' if column.kind != "number" else ""
    if head:
        return f'<th scope="row"{kind}{value}>{cell.html}</th>'
    return f"<td{kind}{value}>{cell.html}</td>"


def _said(shown: int, total: int, what: str, kept: str) -> str:
    if shown < total:
        return f"The first {shown:,} of {total:,} {what}{'; ' if kept else ''}{kept}."
    return f"{total:,} {what if total != 1 else what.removesuffix('s')}."
