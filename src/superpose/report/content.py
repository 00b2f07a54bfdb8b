"""Content of pairs: the verdict, raw = content × packing drawn and in numbers, and the features that are shared."""

from __future__ import annotations

from html import escape
from typing import Any

from superpose.report.cells import Cell, Column, Row, figure, interval, missing, number, rounded, text
from superpose.report.marks import scale

# What a verdict is called on a badge, and its sign in a matrix.
SIGNS = {"same": "=", "in part": "≈", "different": "≠", "cannot tell": "?"}
AMONG = "⊂"
PACKING = {"alike": "packed alike", "differently": "packed differently", "cannot tell": "packing: cannot tell"}


def sign(verdict: str) -> str:
    """Return the sign of a verdict: = same, ⊂ among, ≈ in part, ≠ different, ? cannot tell."""
    return SIGNS.get(verdict, AMONG)


def kind(verdict: str) -> str:
    """Return the kind of a verdict, whatever systems it names: a word of style.css."""
    return verdict.replace(" ", "-") if verdict in SIGNS else "among"


def badge(row: Row) -> str:
    """Return the verdict on content and packing as two labels."""
    packing = PACKING.get(str(row["packing"]), "")
    verdict = str(row["verdict"])
    labels = [f'<span class="badge {kind(verdict)}">{escape(f"{sign(verdict)} {verdict}")}</span>']
    if packing:
        labels.append(f'<span class="badge">{escape(packing)}</span>')
    return " ".join(labels)


def decomposition(row: Row) -> str:
    """Return raw = content × packing as a picture of four lines, each with its number."""
    lines: list[tuple[str, str, Any, tuple[Any, Any]]] = [
        ("content", "Content: CKA of the features alone", row["content"], (row["content_low"], row["content_high"])),
        ("packed", "Packed: CKA expected from content and packing", row["packed"], (None, None)),
        ("raw", "Raw: debiased CKA of the activity", row["raw"], (None, None)),
    ]
    body = "".join(
        _line(name, scale([(mark, value)], span=span), f"{number(value, '.2f') or 'unknown'}{_within(*span)}")
        for mark, name, value, span in lines
    )
    body += "".join(
        _line(
            f"Features of {row[f'system_{one}']} that {row[f'system_{other}']} holds",
            _bar(row[f"held_by_{other}"]),
            f"{number(row[f'held_by_{other}'], '.0%') or 'unknown'} of {row[f'features_{one}']}",
        )
        for one, other in ("ab", "ba")
    )
    left = number(row["unexplained"], "+.2f")
    rest = f" Unexplained, raw − packed: {left}." if left else ""
    return (
        f'<table class="decomposition"><caption>Raw = content × packing.{rest}</caption><tbody>{body}</tbody></table>'
    )


def _line(name: str, picture: str, value: str) -> str:
    return f'<tr><th scope="row">{escape(name)}</th><td class="picture">{picture}</td><td>{escape(value)}</td></tr>'


def _bar(share: float) -> str:
    return "" if missing(share) else scale([], span=(0.0, share)).replace('"span"', '"span share"')


def _within(low: object, high: object) -> str:
    ends = interval(low, high, ".2f")
    return f" {ends}" if ends else ""


def _verdict(row: Row) -> Cell:
    verdict = str(row["verdict"])
    within = {
        f"{row['system_a']} among {row['system_b']}": "a among b",
        f"{row['system_b']} among {row['system_a']}": "b among a",
    }
    return Cell(escape(within.get(verdict, verdict)))


def _drawn(row: Row) -> Cell:
    marks = [("content", row["content"]), ("packed", row["packed"]), ("raw", row["raw"])]
    return Cell(scale(marks, span=(row["content_low"], row["content_high"])))


def _ranged(name: str, heading: str, meaning: str) -> Column:
    def cell(row: Row) -> Cell:
        return Cell(number(row[name], ".2f") + _within(row[f"{name}_low"], row[f"{name}_high"]), rounded(row[name]))

    return Column(heading, f"{meaning}, and its 90 % interval", cell)


COLUMNS = (
    Column("Pair", "the two systems, a and b", lambda row: Cell(_pair(row)), "text"),
    Column("Verdict", "which features both hold", _verdict, "text", filtered=True),
    Column(
        "Packing", "whether the shared features are packed alike in the units", text("packing"), "text", filtered=True
    ),
    Column("Plot", "content ▲ with its interval, packed ◆, raw ●, from 0 to 1", _drawn, "picture"),
    _ranged("content", "Content", "CKA of the features themselves"),
    Column("Packed", "CKA expected from the packing of the features found (Theorem 3.2)", figure("packed", ".2f")),
    Column("Raw", "debiased CKA of the activity", figure("raw", ".2f")),
    Column("Unexplained", "raw − packed", figure("unexplained", "+.2f")),
    _ranged("shared", "Shared", "shared part of the features, the geometric mean of both shares"),
    Column("a's held by b", "share of a's features that b holds", figure("held_by_b", ".0%")),
    Column("b's held by a", "share of b's features that a holds", figure("held_by_a", ".0%")),
    Column("Features of a", "found in both halves of a's samples, or given", figure("features_a", ",.0f")),
    Column("Features of b", "found in both halves of b's samples, or given", figure("features_b", ",.0f")),
    Column("a explained", "share of a's held-out variance that its features explain", figure("explained_a", ".0%")),
    Column("b explained", "share of b's held-out variance that its features explain", figure("explained_b", ".0%")),
    Column(
        "Rest of a",
        "how well b predicts what a's features leave unexplained, relative to a itself",
        figure("residual_a", ".0%"),
    ),
    Column(
        "Rest of b",
        "how well a predicts what b's features leave unexplained, relative to b itself",
        figure("residual_b", ".0%"),
    ),
    Column("Reason", "why no clear verdict was possible", text("why"), "note"),
)


def _pair(row: Row) -> str:
    return f"{escape(str(row['system_a']))} – {escape(str(row['system_b']))}"
