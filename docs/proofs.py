"""The directive `proofs`: what the proofs of the promises counted, the latest of each, with its date."""

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

HEADINGS = ("promise", "counted", "seconds", "date")


class Proofs(Directive):
    """`.. proofs::` shows proofs.jsonl, the lines that `make prove` wrote."""

    def run(self) -> list[nodes.Node]:
        """Return the table; a later line of a promise replaces an earlier one."""
        environment = self.state.document.settings.env
        path = Path(environment.srcdir) / "proofs.jsonl"
        environment.note_dependency(str(path))
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        latest = {_name(line): line for line in lines}
        group = nodes.tgroup(cols=len(HEADINGS))
        group += [nodes.colspec(colwidth=width) for width in (2, 8, 1, 2)]
        group += nodes.thead("", _row(HEADINGS))
        group += nodes.tbody("", *(_row(_cells(latest[promise])) for promise in sorted(latest, key=_number)))
        return [nodes.table("", group)]


def _name(line: dict[str, Any]) -> str:
    return " ".join(filter(None, (line["promise"], line["counts"].get("engine"))))


def _number(promise: str) -> tuple[int, str]:
    digits = "".join(c for c in promise.split()[0] if c.isdigit())
    # What is no numbered promise stands last.
    return int(digits or 99), promise


def _cells(line: dict[str, Any]) -> tuple[str, ...]:
    counted = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in line["counts"].items())
    return line["promise"], counted, f"{line['seconds']:.0f}", line["date"]


def _row(texts: tuple[str, ...]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=text)) for text in texts))


def setup(app: Any) -> None:
    """Register the directive."""
    app.add_directive("proofs", Proofs)
