"""The directive `claims`: a table of claims and verdicts, as `superpose reproduce` writes them, in plain words."""

import csv
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

HEADINGS = ("verdict", "claim", "number", "asked for", "what the number is", "source")


class Claims(Directive):
    """`.. claims:: NAME` shows figures/NAME-claims.csv."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table; its cells are text and never markup."""
        environment = self.state.document.settings.env
        path = Path(environment.srcdir) / "figures" / f"{self.arguments[0]}-claims.csv"
        environment.note_dependency(str(path))
        with path.open(newline="", encoding="utf-8") as file:
            rows = [tuple(_cells(row)) for row in csv.DictReader(file)]
        group = nodes.tgroup(cols=len(HEADINGS))
        group += [nodes.colspec(colwidth=1) for _ in HEADINGS]
        group += nodes.thead("", _row(HEADINGS))
        group += nodes.tbody("", *map(_row, rows))
        return [nodes.table("", group)]


def _cells(row: dict[str, str]) -> list[str]:
    number, low, high = (f"{float(row[name] or 'nan'):.3g}" for name in ("number", "low", "high"))
    verdict = ": ".join(filter(None, (row["verdict"], row.get("why"))))
    return [verdict, row["claim"], number, f"{low} to {high}", row["quantity"], row["source"]]


def _row(texts: tuple[str, ...]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=text)) for text in texts))


def setup(app: Any) -> None:
    """Register the directive."""
    app.add_directive("claims", Claims)
