"""What a reader on a terminal sees: the answer first, then a table that fits, then warnings and what to try next."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from superpose.messages.wording import p_number
from superpose.report.plots import comparable, metric_name, shorten

if TYPE_CHECKING:
    from rich.console import Console

    from superpose.analysis import Analysis

SHOWN = ("cka_debiased", "ridge_r")
# What a line never ends within, and what ties it meanwhile.
TIED, TIE = re.compile(r"\bp [=<] \.?\d|\d %"), "\u00a0"
# Sentences and rows, at most; --wide shows all.
SENTENCES, ROWS = 20, 40
WIDE = ("split", "null", "p_adjusted", "samples", "fvu_a", "fvu_b", "dead_a", "dead_b", "why")


def show(analysis: Analysis, *, wide: bool = False, said: Collection[str] = (), then: str = "") -> None:
    """Print an analysis: what it means, what it rests on, its scores, its warnings, and the command to try next."""
    console = _console()
    sentences = analysis.sentences
    shown = sentences if wide else sentences[:SENTENCES]
    paragraphs(shown)
    if len(shown) < len(sentences):
        paragraphs([f"… and {len(sentences) - len(shown):,} more sentences (--wide, or report.html)"])
    paragraphs([basis(analysis)])
    rows = scores(analysis.table, wide=wide)
    lines = rows if wide else rows[:ROWS]
    grid(list(rows.columns), lines.to_numpy().tolist())
    if len(lines) < len(rows):
        console.print(f"… and {len(rows) - len(lines):,} more rows (--wide, or alignment.csv)", highlight=False)
    for warning in analysis.warnings:
        if warning not in said:
            told = wrapped(f"Warning: {warning}", console.width)
            console.print(f"\n{told}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    if then:
        console.print(f"\nNext: {then}", markup=False, highlight=False, soft_wrap=True)


def paragraphs(texts: Iterable[str]) -> None:
    """Print paragraphs, wrapped between words."""
    console = _console()
    for text in texts:
        console.print(f"{wrapped(text, console.width)}\n", markup=False, highlight=False, soft_wrap=True)


def wrapped(text: str, width: int) -> str:
    """Return a text in lines between words, with a number on one line with its sign or unit.

    Examples
    --------
    >>> from superpose.cli.terminal import wrapped
    >>> print(wrapped("It reaches 91 % of its ceiling (p < .001).", 13))
    It reaches
    91 % of its
    ceiling
    (p < .001).
    """
    tied = TIED.sub(lambda found: found[0].replace(" ", TIE), text)
    lines = textwrap.wrap(tied, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace(TIE, " ")


def grid(names: Sequence[str], lines: Sequence[Sequence[Any]]) -> None:
    """Print a table whose numbers are never cut: where it is too wide, words are folded."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for place, name in enumerate(names):
        numeric = all(_numeric(str(line[place])) for line in lines)
        table.add_column(name, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for line in lines:
        table.add_row(*map(str, line))
    _console().print(table, markup=False, highlight=False)


def _numeric(text: str) -> bool:
    return not any(character.isalpha() for character in text.replace("nan", "").replace("e-", ""))


def _console() -> Console:
    from rich.console import Console

    return Console()


def basis(analysis: Analysis) -> str:
    """Return what the numbers rest on: samples, those held out, folds, groups and permutations."""
    settings, content = analysis.settings, analysis.content
    samples = int(analysis.table.samples.max()) if content is None else content.settings["samples"]
    parts = [f"{samples:,} samples"]
    if content is not None:
        parts[0] += f", of which {content.settings['test_samples']:,} are held out for features"
    if groups := settings.get("groups"):
        parts.append(f"{groups:,} groups, never split")
    split = str(settings.get("split", ""))
    folds = split.removeprefix("cv=")
    how = f"{folds}-fold cross-validation of raw scores" if folds.isdigit() else "raw scores on one split"
    if folds.isdigit() and "test" in set(analysis.table.get("split", ())):
        how = f"scores on the held-out samples (alignment.csv adds {how})"
    parts.append(how)
    if permutations := settings.get("permutations"):
        parts.append(f"{permutations:,} permutations: no p below {p_number(1 / (1 + permutations))}")
    return f"Based on {'; '.join(parts)}."


def scores(table: pd.DataFrame, *, wide: bool = False) -> pd.DataFrame:
    """Return what a terminal shows of a table of scores, as text: few columns, or with `wide` all that matter."""
    main = table[table.metric.isin(SHOWN)]
    rows = table if wide or main.empty else comparable(main)
    found = pd.DataFrame(
        {
            "systems": [
                f"{a} {'→' if directed else '–'} {b}"
                for a, b, directed in zip(rows.system_a, rows.system_b, rows.directed, strict=True)
            ],
            "score of": [metric_name(name) for name in rows.metric],
            "space": [
                ", ".join([space, *(["given"] if fit == "given" else []), *([control] if control != "none" else [])])
                for space, fit, control in zip(rows.space, rows.fit, rows.control, strict=True)
            ],
            "score": [_number(value) or "–" for value in rows.score],
            "95 % interval": _intervals(rows),
            "ceiling": [_number(value) for value in rows.get("ceiling", pd.Series(float("nan"), rows.index))],
            "p": [p_number(value) for value in rows.p],
        },
        dtype=object,
    )
    if wide:
        for name in (name for name in WIDE if name in rows):
            found[name] = [_number(value) if isinstance(value, float) else str(value) for value in rows[name]]
    found = found.loc[:, [bool((found[name] != "").any()) for name in found]]
    return found.drop(columns="space") if set(found.get("space", ())) <= {"raw"} and not wide else found


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """Return what a terminal shows of a table of contrasts, as text; both scores stand in the sentences."""
    return pd.DataFrame(
        {
            "systems": [
                f"{shorten(str(a))} − {shorten(str(b))}" for a, b in zip(table.system_a, table.system_b, strict=True)
            ],
            "score of": map(metric_name, table.metric),
            "difference": map(_number, table.difference),
            "95 % interval": _intervals(table),
            "p": map(p_number, table.p_adjusted),
        },
        dtype=object,
    )


def parts(table: pd.DataFrame) -> pd.DataFrame:
    """Return what a terminal shows of a table of a partition, as text."""
    return pd.DataFrame(
        {
            "score of": map(metric_name, table.metric),
            "part": table.part,
            "score": map(_number, table.score),
            "95 % interval": _intervals(table),
            "p": map(p_number, table.p),
        },
        dtype=object,
    )


def _intervals(table: pd.DataFrame) -> list[str]:
    return [
        f"[{_number(low)}, {_number(high)}]" if low == low else ""
        for low, high in zip(table.low, table.high, strict=True)
    ]


def _number(value: float) -> str:
    return "" if value != value else f"{value:.3f}"
