"""Results on standard output: for a reader on a terminal, tab-separated into a pipe, or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from superpose.analysis import Analysis
    from superpose.costs import Costs
    from superpose.depth import Layers


def show_analysis(
    analysis: Analysis, *, as_json: bool, wide: bool = False, said: Collection[str] = (), then: str = ""
) -> None:
    """Print the sentences and the table: for a reader on a terminal, tab-separated into a pipe, or as JSON.

    Parameters
    ----------
    analysis : Analysis
    as_json : bool
    wide : bool
        On a terminal, all rows and columns.
    said : collection of str
        Warnings that a terminal has shown already.
    then : str
        The command to try next, for a reader on a terminal.
    """
    if as_json:
        import json

        rows = json.loads(analysis.table.to_json(orient="records"))
        shown = {"table": rows, "sentences": analysis.sentences, "warnings": list(analysis.warnings)}
        if analysis.content is not None:
            shown["content"] = json.loads(analysis.content.table.to_json(orient="records"))
        print(json.dumps(shown, indent=2))
        return
    if not sys.stdout.isatty():
        analysis.table.to_csv(sys.stdout, sep="\t", index=False, na_rep="nan")
        for line in (*analysis.sentences, *(f"Warning: {text}" for text in analysis.warnings)):
            print(f"# {line}")
        return
    from superpose.cli.terminal import show

    show(analysis, wide=wide, said=said, then=then)


def show_claims(claims: pd.DataFrame, *, as_json: bool) -> None:
    """Print claims and verdicts: for a reader on a terminal, tab-separated into a pipe, or as JSON."""
    if as_json:
        print(claims.to_json(orient="records", indent=2))
        return
    if not sys.stdout.isatty():
        claims.to_csv(sys.stdout, sep="\t", index=False)
        return
    from rich.console import Console

    console = Console()
    styles = {"holds": "green", "does not hold": "red", "not tested": "yellow"}
    for claim in claims.to_dict(orient="records"):
        verdict = claim["verdict"]
        console.print(f"[{styles[verdict]}]{verdict}[/]: {claim['claim']} ({claim['source']})", highlight=False)
        found = f"{claim['number']:.4g}: {claim['quantity']} (asked for: {claim['low']:g} to {claim['high']:g})"
        for line in filter(None, (found, claim["why"])):
            console.print(f"    {line}", markup=False, highlight=False)


def show_costs(costs: pd.DataFrame) -> None:
    """Print what work costs, tab-separated, and its sum in words on standard error."""
    costs.to_csv(sys.stdout, sep="\t", index=False, float_format="%.4g")
    if "hours" in costs:
        total = costs.sum(numeric_only=True)
        print(
            f"{total.cells:.0f} cells, {total.flops:.3g} floating-point operations: about {total.hours:.2g} hours of "
            "one core of this machine, fewer by the number of processes; with an NVIDIA H100 for training and coding, "
            f"and scoring on one core here, {total.hours_gpu:.2g}.",
            file=sys.stderr,
        )


def show_table(table: pd.DataFrame, shown: pd.DataFrame, sentences: Sequence[str], *, as_json: bool) -> None:
    """Print a table and what it means: the texts `shown` for a reader on a terminal, else all of it.

    Into a pipe tab-separated, with the sentences behind "#"; or as JSON.
    """
    if as_json:
        import json

        rows = json.loads(table.to_json(orient="records"))
        print(json.dumps({"table": rows, "sentences": list(sentences)}, indent=2))
    elif not sys.stdout.isatty():
        table.to_csv(sys.stdout, sep="\t", index=False, na_rep="nan")
        for sentence in sentences:
            print(f"# {sentence}")
    else:
        from superpose.cli.terminal import paragraphs

        paragraphs(sentences)
        show_rows([dict(zip(map(str, shown), row, strict=True)) for row in shown.to_numpy()], as_json=False)


def show_layers(found: Layers, warnings: Sequence[str], *, as_json: bool, said: Collection[str] = ()) -> None:
    """Print layers and what they mean, as `show_table` does; JSON has all tables.

    On a terminal, warnings that it has shown already (`said`) are left out.
    """
    if as_json:
        import json

        tables = {"table": found.table, "best": found.best, "differences": found.differences, "units": found.units}
        shown = {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}
        print(json.dumps(shown | {"sentences": found.sentences, "warnings": list(warnings)}, indent=2))
        return
    piped = not sys.stdout.isatty()
    lines = [*found.sentences, *(f"Warning: {text}" for text in warnings if piped or text not in said)]
    if piped:
        return show_table(found.table, found.table, lines, as_json=False)
    from superpose.cli.terminal import paragraphs

    paragraphs(lines)
    show_rows([_layer(row) for row in found.table.to_dict("records")], as_json=False)


def _layer(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what fits on a terminal of a layer's row."""
    from superpose.messages.wording import p_number
    from superpose.report.plots import metric_name, shorten

    between = f"{_three(row['low'])} to {_three(row['high'])}" if row["low"] == row["low"] else ""
    return ({"time": row["time"]} if "time" in row else {}) | {
        "score of": shorten(metric_name(str(row["metric"])), 14),
        "layer": shorten(str(row["layer"])),
        "score": _three(row["score"]),
        "95 %": between,
        "ceiling": _three(row["ceiling"]),
        "ratio": _three(row["ratio"]),
        "p": p_number(row["p_adjusted"]),
        "best p": p_number(row["best_p"]),
    }


def _three(value: float) -> str:
    return "" if value != value else f"{value:.3f}"


def show_comparison(costs: Costs, *, as_json: bool) -> None:
    """Print what a comparison will cost: by kind of work, or as JSON with its readings of each file."""
    rows = costs.table.to_dict(orient="records")
    total = {"flops": costs.flops, "bytes": costs.bytes, "seconds": costs.seconds, "memory": costs.memory}
    if as_json:
        import json

        print(json.dumps({"work": rows, "reads": costs.reads, "groups": costs.groups, **total}, indent=2))
        return
    show_rows([{str(key): short(value) for key, value in row.items()} for row in rows], as_json=False)
    print(
        f"{costs.flops:.3g} floating-point operations and {costs.bytes:.3g} bytes read: about {costs.seconds:.2g} "
        f"seconds of one core of this machine, within {costs.memory / 1e9:.2g} GB beside the files, each read up to "
        f"{max(costs.reads.values()):.3g} times. Dictionaries are not counted; --raw leaves them out.",
        file=sys.stderr,
    )


def short(value: Any) -> Any:
    """Return a number to three digits, and anything else as it is."""
    return f"{value:.3g}" if isinstance(value, float) else value


def show_rows(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print rows of equal columns: for a reader on a terminal, tab-separated into a pipe, or as JSON."""
    if as_json:
        import json

        print(json.dumps(rows, indent=2))
        return
    names = list(rows[0]) if rows else []
    texts = [["" if row[name] is None else str(row[name]) for name in names] for row in rows]
    if not sys.stdout.isatty():
        for line in (names, *texts) if rows else ():
            print("\t".join(line))
        return
    from superpose.cli.terminal import grid

    grid(names, texts)
