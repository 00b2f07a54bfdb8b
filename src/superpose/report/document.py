"""The page: verdicts and pictures first, then tables of everything, how it was done, and the settings behind it."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Any

import pandas as pd

from superpose.files import whole
from superpose.report import closeness, health, methods, scores
from superpose.report import content as contents
from superpose.report import features as browser
from superpose.report.pairs import LISTED, chosen, listed, matrices, pairs_of
from superpose.report.plots import tidy
from superpose.report.reading import SPACES_READ
from superpose.report.stimuli import Passage, Shown, illustrated, thumbnails
from superpose.report.tables import table as table_of

# Up to so many pairs are laid out in full, one below the other; sentences, at most, before the rest is folded.
LAID_OUT, SAID = 3, 6
LEGEND = (
    "Select a cell to open its pair; arrow keys move between cells. Verdicts: = the same features, ⊂ one "
    "system's among the other's, ≈ shared in part, ≠ different, ? cannot tell."
)
HEALTH = (
    "Latent scores describe only what the dictionaries explain. A sound dictionary explains most of the variance of "
    "held-out samples and uses nearly all of its latents."
)
NO_SCORES = pd.DataFrame(columns=["system_a", "system_b", "metric", "directed", "score"])


def write(
    path: str | os.PathLike[str], *, stimuli: Mapping[str, Path | Passage] = MappingProxyType({}), **parts: Any
) -> Path:
    """Write the page of `page` to a file, whole or not at all, and return its path.

    Parameters
    ----------
    path : path-like
        The HTML file. Its directory must exist.
    stimuli : mapping of str to pathlib.Path or Passage, optional
        What samples are, by their names: files of pictures, of which thumbnails go to a folder beside the page, called
        after it, or texts. Without pictures, the page is one file.
    **parts
        As `page` takes them.

    Raises
    ------
    DataError
        If the table lacks a column that every table of scores has.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from superpose import report
    >>> row = {"system_a": "x", "system_b": "y", "metric": "cka_debiased", "directed": False, "score": 0.4}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = report.write(
    ...         f"{folder}/report.html",
    ...         title="x and y", sentences=["Alike."], warnings=[], table=pd.DataFrame([row]), settings={},
    ...     )
    ...     written.stat().st_size < 2_000_000
    True
    """
    target = Path(path)
    text = page(**parts, shown=thumbnails(stimuli, target) if stimuli else None)
    with whole(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target


def page(
    *,
    title: str,
    sentences: Sequence[str],
    warnings: Sequence[str],
    table: pd.DataFrame | None = None,
    settings: Mapping[str, Any],
    content: pd.DataFrame | None = None,
    features: pd.DataFrame | None = None,
    contrasts: pd.DataFrame | str | os.PathLike[str] | None = None,
    partition: pd.DataFrame | str | os.PathLike[str] | None = None,
    layers: pd.DataFrame | None = None,
    beside: Mapping[str, Sequence[str]] = MappingProxyType({}),
    shown: Shown | None = None,
) -> str:
    """Return the report as HTML that refers to nothing outside itself.

    All text given here is shown as text, never read as HTML. The page forbids the browser to load anything but
    thumbnails beside it, and to run any script but the one that it was written with. Without that, the verdicts, the
    first matrix and the first rows of each table can still be read.

    Parameters
    ----------
    title : str
        The heading.
    sentences : sequence of str
        What the scores show, in plain words: one paragraph each.
    warnings : sequence of str
        What to keep in mind; an empty sequence is shown as "No warnings."
    table : pandas.DataFrame, optional
        One row per score, as `superpose.compare` and `superpose.analyse` return it.
    settings : mapping
        Settings and provenance; nested mappings are shown with dotted names. Those of content are under "features".
    content : pandas.DataFrame, optional
        One row per pair, the table of `superpose.content`; a column `told` holds the sentences of each pair.
    features : pandas.DataFrame, optional
        One row per feature and other system, `features` of `superpose.content`.
    contrasts, partition : pandas.DataFrame or path-like, optional
        The tables of `superpose.contrast` and `superpose.partition`, or the .parquet files that hold them.
    layers : pandas.DataFrame, optional
        One row per layer and metric, the table of `superpose.layers`.
    beside : mapping of str to sequence of str, optional
        Names of the files beside the page that hold its whole tables, for links: "scores", "content", "features",
        "contrast", "partition", "layers".
    shown : callable, optional
        Returns what shows a sample by its name, a `Passage`, a `Thumbnail` or None, for the samples in which features
        are strongest.

    Returns
    -------
    str
        The page. Tables of very many rows are cut short, and say so.

    Raises
    ------
    DataError
        If the table lacks a column that every table of scores has.

    Examples
    --------
    >>> import pandas as pd
    >>> from superpose.report import page
    >>> row = {"system_a": "<b>", "system_b": "y", "metric": "rsa", "directed": False, "score": 0.4}
    >>> text = page(title="Two", sentences=[], warnings=[], table=pd.DataFrame([row]), settings={"seed": 0})
    >>> "&lt;b&gt; – y" in text, "<b>" in text
    (True, False)
    """
    rows = scores.arranged(tidy(NO_SCORES if table is None else table))
    pairs = pairs_of(content, rows, features)
    laid_out = len(pairs.couples) <= LAID_OUT
    panels = listed(pairs, opened=laid_out) if len(pairs.couples) <= LISTED else chosen(pairs, shown or _unknown)
    closer, explained, depth = _read(contrasts), _read(partition), _read(layers)
    said = methods.paragraph(content, rows, settings, closer, explained, depth)
    script = _part("page.js")
    parts = [
        _section("Systems × systems", matrices(pairs), LEGEND, name="matrices"),
        "" if laid_out else _section("Pairs", panels),
        _section("Content of pairs", _content(content, beside.get("content", ()))),
        _section("Which system is closer", closeness.contrasts(closer, sentences, beside.get("contrast", ()))),
        _section("What each system explains", closeness.partition(explained, sentences, beside.get("partition", ()))),
        _section("Layers, in the order of depth", closeness.layers(depth, beside.get("layers", ()))),
        _section("Features, shared and private", _features(features, shown or _unknown, beside.get("features", ()))),
        _section("Scores", _scores(rows, beside.get("scores", ()))),
        _section("Dictionaries", health.section(rows), HEALTH),
        _section("How to read the spaces", _reading(rows)),
        _section("Methods paragraph", _methods(said, content)),
    ]
    return Template(_part("page.html")).substitute(
        images="'none'" if shown is None else "'self' file:",
        policy=f"'sha256-{_digest(script)}'",
        style=_part("style.css"),
        script=script,
        title=escape(title),
        answer="\n".join(filter(None, [panels if laid_out else _counted(content), _said(sentences)])),
        warnings=_warnings(warnings),
        tone="warnings" if warnings else "calm",
        parts="\n".join(filter(None, parts)),
        settings="\n".join(
            f"<tr><th scope='row'>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in _flat(settings)
        ),
    )


def _unknown(name: str) -> None:
    """Know of no sample what it shows."""


def _read(table: pd.DataFrame | str | os.PathLike[str] | None) -> pd.DataFrame:
    """Return a table that is given as it is, or as the .parquet file that holds it; none has no rows."""
    if table is None:
        return pd.DataFrame()
    return table if isinstance(table, pd.DataFrame) else pd.read_parquet(table)


def _section(heading: str, inner: str, note: str = "", name: str = "") -> str:
    if not inner:
        return ""
    place = name or heading.split(",")[0].split()[0].lower()
    said = f"<p class='note'>{escape(note)}</p>" if note else ""
    return f'<section aria-labelledby="{place}"><h2 id="{place}">{escape(heading)}</h2>{said}\n{inner}\n</section>'


def _counted(content: pd.DataFrame | None) -> str:
    """Return how many pairs got each verdict, and the sentences of the first of them."""
    if content is None or not len(content):
        return ""
    kinds = content["verdict"].map(lambda verdict: verdict if verdict in contents.SIGNS else "one among the other")
    counted = ", ".join(f"{count:,} {kind}" for kind, count in kinds.value_counts().items())
    return f"<p>Features of {len(content):,} pairs: {escape(counted)}. Each pair is shown below.</p>"


def _said(sentences: Sequence[str]) -> str:
    first, rest = sentences[:SAID], sentences[SAID:]
    shown = "\n".join(f"<p>{escape(text)}</p>" for text in first)
    if not rest:
        return shown
    more = "\n".join(f"<p>{escape(text)}</p>" for text in rest)
    return f"{shown}\n<details><summary>{len(rest):,} more sentences</summary>{more}</details>"


def _content(content: pd.DataFrame | None, kept: Sequence[str]) -> str:
    if content is None or not len(content):
        return ""
    return table_of("content", "pairs", contents.COLUMNS, content.to_dict("records"), kept)


def _features(features: pd.DataFrame | None, stimulus: Shown, kept: Sequence[str]) -> str:
    if features is None or not len(features):
        return ""
    shown = browser.browsable(features)
    rows = illustrated(shown.to_dict("records"), stimulus)
    table = table_of("features", "features", browser.COLUMNS, rows, kept)
    if len(shown) == len(features):
        return table
    note = f"The strongest features, of {len(features):,} rows in all: one row per feature and other system."
    return f"<p class='note'>{note}</p>{table}"


def _scores(rows: pd.DataFrame, kept: Sequence[str]) -> str:
    if not len(rows):
        return ""
    return table_of("scores", "scores", scores.COLUMNS, rows.to_dict("records"), kept)


def _reading(rows: pd.DataFrame) -> str:
    there = {*rows["space"], *rows["control"]}
    return (
        "".join(
            f"<dt>{name}</dt><dd>{escape(meaning)}</dd>" for name, meaning in SPACES_READ.items() if name in there
        ).join(("<dl>", "</dl>"))
        if len(rows)
        else ""
    )


def _methods(said: str, content: pd.DataFrame | None) -> str:
    shown = {"Methods": said, "Caption": methods.caption(content), "References": "\n".join(methods.citations(said))}
    return "".join(
        f'<div class="paste"><h3>{name}</h3><p>{escape(text)}</p></div>' for name, text in shown.items() if text
    )


def _warnings(warnings: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in warnings)
    return f"<ul>{items}</ul>" if items else "<p>No warnings.</p>"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, value as text) of nested settings, in their order."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield (f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))


def _part(name: str) -> str:
    return files("superpose.report").joinpath(name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
