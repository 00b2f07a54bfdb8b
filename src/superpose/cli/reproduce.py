"""`superpose reproduce`: the paper's figures and those beyond them, each as a command with the options of its study."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from cyclopts import App, Parameter

import superpose.paper as paper
from superpose.cli.show import show_claims, show_costs
from superpose.paper import FIGURES
from superpose.paper.reproduction import figure, predicted, reproduce, share
from superpose.running.progress import Progress

app = App(
    name="reproduce",
    help="Reproduce a figure of the paper, or one beyond it: its table, its picture, and which claims hold.",
    help_format="markdown",
    help_epilogue="Example: superpose reproduce figure2 --scale laptop --out figures",
    result_action="return_none",
)

COMMON = """
    out
        Directory of the results; several figures may share it. What was finished there is not computed again.
    scale
        smoke: seconds, to see that it works; laptop: about a minute; paper: the paper's number of draws.
    engine
        serial; local:N for N processes on this machine; dask:N, dask://host:port, tls://host:port or slurm:site.toml
        for Dask. The numbers are the same.
    shard
        i/N: compute only that share of the cells, as 1/4. The figure is written once all of them are there.
    json
        Print the claims as JSON.
    dry_run
        Compute nothing, and say how much there is to do: cells, and of figures that take hours the floating-point
        operations and the hours, of one core of this machine and with a GPU."""


def common(
    *,
    out: Path,
    scale: Literal["smoke", "laptop", "paper"] = "laptop",
    engine: str = f"local:{os.cpu_count() or 1}",
    shard: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Take the options that every figure has."""


def command(name: str) -> Callable[..., None]:
    """Return the command of a figure: common options, and those of its study and of its drawing."""
    record = figure(name)
    study, drawing = _options(record.study), _options(record.draw)

    def run(
        *,
        out: Path,
        scale: str = "laptop",
        engine: str = "serial",
        shard: str | None = None,
        json: bool = False,
        dry_run: bool = False,
        **given: Any,
    ) -> None:
        chosen = {key: value for key, value in given.items() if value is not None}
        options = {key: value for key, value in chosen.items() if key in study}
        drawn = {key: value for key, value in chosen.items() if key in drawing}
        if dry_run:
            return show_costs(predicted(name, scale=scale, options=options))
        with Progress() as progress:
            if shard is not None:
                kept, cells = share(name, out, shard, scale=scale, options=options, engine=engine, progress=progress)
                if kept < cells:
                    print(
                        f"Share {shard} of {name} is done; {kept} of {cells} cells are kept in {out / 'cells'}. "
                        "Run the other shares, bring their folders together with `superpose sweep collect` where they "
                        "are apart, then run the same command without --shard: it writes the figure.",
                        file=sys.stderr,
                    )
                    return None
            claims = reproduce(name, out, scale=scale, options=options, drawing=drawn, engine=engine, progress=progress)
        show_claims(claims, as_json=json)
        print(f"Written to {out}: {name}.csv, .parquet, .png, .svg, .json and {name}-claims.csv", file=sys.stderr)

    parameters = [*inspect.signature(common, eval_str=True).parameters.values(), *study.values(), *drawing.values()]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__doc__ = _document(getattr(paper, name).__doc__ or "", record.study.__doc__ or "", record.draw.__doc__ or "")
    return run


def _options(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the keyword options of a function as optional ones: those left out have the value of the scale."""
    # What `draw` returns is imported for type checkers alone.
    hints = get_type_hints(function, localns={"Picture": Any})
    group = Parameter(group="Options that replace those of the scale", consume_multiple=True, negative="")
    return {
        name: parameter.replace(annotation=Annotated[hints[name] | None, group], default=None)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


# Parameters that share a description: "a, b : type", and the deeper lines below.
_ENTRY = re.compile(r"^( *)(\w+(?:, \w+)+) : (.*)\n((?:\1 +.*(?:\n|\Z))+)", re.M)


def _one_by_one(entry: re.Match[str]) -> str:
    indent, names, kind, description = entry.groups()
    return "".join(f"{indent}{name} : {kind}\n{description.rstrip()}\n" for name in names.split(", "))


def _document(summary: str, *sources: str) -> str:
    """Return a docstring of the summary and all parameters."""
    parts = [re.search(r"Parameters\n\s*-+\n(.*?)(?:\n\s*\n|\Z)", source, re.S) for source in sources]
    entries = _ENTRY.sub(_one_by_one, "\n".join(part[1] for part in parts if part))
    return f"{summary}\n\n    Parameters\n    ----------{COMMON}\n{entries}\n"


for figure_name in FIGURES:
    app.command(
        command(figure_name),
        name=figure_name,
        help_epilogue=f"Example: superpose reproduce {figure_name} --scale smoke --out figures",
    )
