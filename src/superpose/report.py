"""One self-contained HTML page: what was found, its warnings, a chart, every score and how it was made."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from html import escape
from itertools import accumulate
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import pandas as pd

from superpose.files import whole
from superpose.plots import CONTROLS, METRICS, OTHER_COLOUR, SPACES, comparable, tidy

MAIN_METRICS = ("cka_debiased", "ridge_r")
SHAPES = {
    "raw": "circle",
    "reconstruction": "square",
    "predicted": "diamond",
    "latent": "triangle-up",
    "linear_selection": "triangle-left",
    "nonlinear": "triangle-right",
    "latent_to_raw": "wedge",
    "closed_form": "diamond",
    "two_seeds": "circle",
    "corrected": "square",
    "pca_code": "arrow",
}
DIAGONAL_CROSS = "M-1,-.7L-.7,-1L0,-.3L.7,-1L1,-.7L.3,0L1,.7L.7,1L0,.3L-.7,1L-1,.7L-.3,0Z"
CONTROL_SHAPES = {"shuffled_fit": DIAGONAL_CROSS, "untrained": "cross"}
OTHER_SHAPE = "triangle-down"
CONTROL_COLOUR = "#333333"

Row = dict[Any, Any]
Look = tuple[str, str]

# The libraries of the chart take 0.9 MB; these two keep a page of any table under 2 MB.
TABLE_BYTES = 600_000
CHART_ROWS = 1_200
TOOLTIP = [
    ("pair", "N", "systems"),
    ("shown", "N", "shown"),
    ("score", "Q", "score"),
    ("low", "Q", "low"),
    ("high", "Q", "high"),
    ("null", "Q", "null"),
    ("p", "Q", "p"),
    ("why", "N", "note"),
]


def write(
    path: str | os.PathLike[str],
    *,
    title: str,
    sentences: Sequence[str],
    warnings: Sequence[str],
    table: pd.DataFrame,
    settings: Mapping[str, Any],
) -> Path:
    """Write the page of `page` to a file, whole or not at all, and return its path.

    Parameters
    ----------
    path : path-like
        The HTML file. Its directory must exist.
    title, sentences, warnings, table, settings
        As in `page`.

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
    text = page(title=title, sentences=sentences, warnings=warnings, table=table, settings=settings)
    target = Path(path)
    with whole(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target


def page(
    *,
    title: str,
    sentences: Sequence[str],
    warnings: Sequence[str],
    table: pd.DataFrame,
    settings: Mapping[str, Any],
) -> str:
    """Return the report as HTML that refers to nothing outside itself.

    All text given here is shown as text, never read as HTML. The page forbids the browser to load anything,
    and to run any script but the three that it was written with. Every score is in its table, rounded to
    three decimals; one that is NaN is shown with the reason in the column `why`.

    Parameters
    ----------
    title : str
        The heading.
    sentences : sequence of str
        What was found, in plain words: one paragraph each.
    warnings : sequence of str
        What to keep in mind; an empty sequence is shown as "No warnings."
    table : pandas.DataFrame
        One row a score, as `superpose.compare` and `superpose.analyse` return it.
    settings : mapping
        Settings and provenance; nested mappings are shown with dotted names.

    Returns
    -------
    str
        The page, at most 2 MB. A table of more than about 1,000 rows is cut short, and says so.

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
    rows = _arranged(tidy(table))
    main = comparable(_main(rows))
    drawn = main.head(CHART_ROWS)
    scripts = {
        "library": _library(),
        "chart": f"window.chart = {_json(chart(drawn) if len(drawn) else None)};",
        "start": START,
    }
    return PAGE.substitute(
        policy=" ".join(f"'sha256-{_digest(script)}'" for script in scripts.values()),
        style=STYLE,
        title=escape(title),
        sentences="\n".join(f"<p>{escape(text)}</p>" for text in sentences),
        warnings=_warnings(warnings),
        tone="warnings" if warnings else "calm",
        chart_note=_cut(len(drawn), len(main)),
        table=_table(rows),
        settings="\n".join(
            f"<tr><th scope='row'>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in _flat(settings)
        ),
        **scripts,
    )


def chart(rows: pd.DataFrame) -> dict[str, Any]:
    """Return the Vega-Lite specification of the interactive chart, one block a metric, with its data inside.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of `superpose.plots.tidy`.

    Returns
    -------
    dict
        The specification, without the address of its schema.
    """
    import altair as alt

    points = [_point(row) for row in rows.to_dict("records")]
    spaces = {point["lane"]: point["space"] for point in sorted(points, key=lambda point: _rank(point["space"]))}
    lanes = list(spaces)
    looks = {lane: _space_look(space) for lane, space in spaces.items()} | {
        point["shown"]: _control_look(point["control"]) for point in points if point["control"] != "none"
    }
    scale = alt.Scale(domain=list(looks), range=[colour for colour, _ in looks.values()])
    colour = alt.Color("shown:N", scale=scale)
    shape = alt.Shape("shown:N", scale=alt.Scale(domain=list(looks), range=[form for _, form in looks.values()]))
    pick = alt.selection_point(name="pick", fields=["shown"], bind="legend")

    def block(metric: str) -> Any:
        part = [point for point in points if point["metric"] == metric]
        pairs = list(dict.fromkeys(point["pair"] for point in part))
        base = alt.Chart(alt.InlineData(values=part)).encode(
            y=alt.Y("pair:N", sort=pairs, title=None, scale=alt.Scale(paddingInner=0.2, paddingOuter=0.1)),
            yOffset=alt.YOffset("lane:N", scale=alt.Scale(domain=lanes)),
            opacity=alt.when(pick).then(alt.value(1)).otherwise(alt.value(0.08)),
            tooltip=[alt.Tooltip(f"{field}:{kind}", title=title) for field, kind, title in TOOLTIP],
        )
        measured = base.transform_filter("datum.control == 'none'")
        missing = base.transform_filter("!isValid(datum.score)")
        layers = [
            measured.mark_bar(size=9, color="#c8c8c8").encode(x="null_low:Q", x2="null_high:Q"),
            measured.mark_tick(size=12, thickness=1, color=CONTROL_COLOUR).encode(x="null:Q"),
            measured.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", color=colour),
            base.mark_point(filled=True, size=70, opacity=1).encode(
                x=alt.X("score:Q", title="score", axis=alt.Axis(tickCount=6, format=".2~f")),
                shape=shape,
                color=colour,
            ),
            missing.mark_text(align="left", dx=24, fontSize=11).encode(
                x=alt.datum(0),
                text=alt.value("not computed"),
                color=colour,
            ),
        ]
        height = 14 * len(lanes) * len(pairs) + 10
        return alt.layer(*layers).properties(title=_name(metric), width=760, height=height)

    first, *others = map(block, dict.fromkeys(rows["metric"]))
    specification = (
        alt.vconcat(first.add_params(pick), *others)
        .configure(font="system-ui, sans-serif")
        .configure_axis(labelFontSize=12, titleFontSize=12, labelLimit=260)
        .configure_legend(labelFontSize=12, title=None, orient="top", labelLimit=260)
        .configure_title(fontSize=13, anchor="start")
        .configure_view(stroke="#cccccc")
        .to_dict()
    )
    specification.pop("$schema")
    return specification


def _point(row: Row) -> Row:
    """Return what the chart needs of one row; JSON has no NaN, so that missing numbers become null."""
    numbers = {name: _rounded(row.get(name)) for name in ("score", "low", "high", "null", "null_low", "null_high", "p")}
    lane = f"{row['space']} ({row['fit']})" if row["fit"] else str(row["space"])
    control = str(row["control"])
    return numbers | {
        "pair": _systems(row),
        "metric": str(row["metric"]),
        "space": str(row["space"]),
        "lane": lane,
        "shown": lane if control == "none" else CONTROLS.get(control, ("", control))[1],
        "control": control,
        "why": str(row["why"]),
    }


def _rank(space: str) -> int:
    return list(SPACES).index(space) if space in SPACES else len(SPACES)


def _space_look(space: str) -> Look:
    return SPACES.get(space, ("", OTHER_COLOUR))[1], SHAPES.get(space, OTHER_SHAPE)


def _control_look(control: str) -> Look:
    return CONTROL_COLOUR, CONTROL_SHAPES.get(control, OTHER_SHAPE)


def _rounded(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")


def _name(metric: str) -> str:
    return METRICS.get(metric, metric).replace("$", "").replace("^2", "²")


def _systems(row: Row) -> str:
    return f"{row['system_a']} {'→' if row['directed'] else '–'} {row['system_b']}"


def _arranged(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows pair by pair, main metrics first, with the spaces of one score below each other."""
    pairs = {pair: i for i, pair in enumerate(dict.fromkeys(rows["pair"]))}
    metrics = {name: i for i, name in enumerate(dict.fromkeys([*MAIN_METRICS, *rows["metric"]]))}
    keys = pd.DataFrame(
        {
            "pair": rows["pair"].map(pairs),
            "metric": rows["metric"].map(metrics),
            "backward": ~rows["forward"].astype(bool),
            "space": rows["space"].map(_rank),
            "control": rows["control"] != "none",
        }
    )
    return rows.loc[keys.sort_values([*map(str, keys)], kind="stable").index]


def _main(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the main metrics, or all of them where the table has no main metric."""
    main = rows[rows["metric"].isin(MAIN_METRICS)]
    return main if len(main) else rows


class Column(NamedTuple):
    """A column of the table; one that is empty in all rows is left out."""

    heading: str
    meaning: str
    fill: Callable[[Row], str]
    kind: str = "number"


def _number(name: str, form: str = ".3f") -> Callable[[Row], str]:
    return lambda row: _text(row.get(name), form)


def _text(value: Any, form: str) -> str:
    """Return a number in a fixed form with a true minus sign, and nothing for NaN."""
    if value is None or pd.isna(value):
        return ""
    text = format(value, form)
    return text.replace("-", "−") if text.strip("-0.%") else text.lstrip("-")


def _control(row: Row) -> str:
    return "" if row["control"] == "none" else str(row["control"])


def _both(name: str, form: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        values = [_text(row.get(f"{name}_{side}"), form) for side in "ab"]
        return ", ".join(value or "–" for value in values) if any(values) else ""

    return cell


def _range(low: str, high: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        values = [_text(row.get(name), ".3f") for name in (low, high)]
        return f"[{values[0]},\u00a0{values[1]}]" if all(values) else ""

    return cell


def _null(row: Row) -> str:
    return " ".join(filter(None, (_text(row["null"], ".3f"), _range("null_low", "null_high")(row))))


def _ceiling(row: Row) -> str:
    return " ".join(filter(None, (_text(row.get("ceiling"), ".3f"), _range("ceiling_low", "ceiling_high")(row))))


def _score(row: Row) -> str:
    return _text(row["score"], ".3f") or "NaN"


def _word(name: str) -> Callable[[Row], str]:
    return lambda row: str(row.get(name) or "")


def _why(row: Row) -> str:
    missing = "" if _text(row["score"], ".3f") else "Not computed; no reason was recorded."
    return str(row["why"]) or missing


COLUMNS = [
    Column("Systems", "a → b: a predicts b; a – b: symmetric", _systems, "text"),
    Column("Metric", "what is measured", lambda row: _name(str(row["metric"])), "text"),
    Column("Space", "on what it is measured", lambda row: str(row["space"]), "text"),
    Column("Control", "how the link between the systems was broken, if it was", _control, "text"),
    Column("Score", "rounded to three decimals", _score),
    Column("Interval", "of the score", _range("low", "high")),
    Column("Ceiling", "the most that noise lets the score be, and its interval", _ceiling),
    Column("Null", "mean of the null and its interval", _null, "null"),
    Column("p", "permutation p-value", _number("p", ".3g")),
    Column("p, all pairs", "the same for all pairs of this metric at once", _number("p_adjusted", ".3g")),
    Column("FVU a, b", "fraction of variance that the dictionaries leave unexplained", _both("fvu", ".3f")),
    Column("Dead a, b", "share of dictionary latents that are never active", _both("dead", ".1%")),
    Column("L0 a, b", "mean number of active latents", _both("l0", ".1f")),
    Column("Same index", "share of matched latents with the same index in both codes", _number("same_index")),
    Column("Note", "why a score, an interval or a null is missing", _why, "note text"),
    Column("Kind of null", "what the score is compared with", _word("null_kind"), "text"),
    Column("Split", "how samples are split into fitted and scored ones", _word("split"), "text"),
    Column("Fit", "how the dictionaries were trained", lambda row: str(row["fit"]), "text"),
    Column("Seed", "of the dictionaries", _number("seed", ".0f")),
    Column("Units a, b", "units of the two systems in this space", _both("units", ",.0f")),
    Column("Predictors", "units of the predicting system", _number("predictors", ",.0f")),
    Column("Samples", "samples that are scored", _number("samples", ",.0f")),
    Column(
        "Training samples",
        "samples that dictionaries and regressions are fitted on",
        _number("training_samples", ",.0f"),
    ),
]


def _table(rows: pd.DataFrame) -> str:
    """Return the scores as an HTML table, as many rows as its share of the page allows."""
    records = rows.to_dict("records")
    filled = [(column, [escape(column.fill(row)) for row in records]) for column in COLUMNS]
    (_, systems), *others = [(column, cells) for column, cells in filled if any(cells)] or filled
    head = "".join(
        f'<th scope="col" class="{column.kind}" title="{escape(column.meaning)}">{escape(column.heading)}</th>'
        for column, _ in [filled[0], *others]
    )
    body = [
        f'<tr><th scope="row">{name}</th>'
        + "".join(f'<td class="{column.kind}">{cells[i]}</td>' for column, cells in others)
        + "</tr>"
        for i, name in enumerate(systems)
    ]
    fitting = sum(size <= TABLE_BYTES for size in accumulate(len(line.encode()) for line in body))
    return (
        f"<table><caption>{_cut(fitting, len(body))}</caption><thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{chr(10).join(body[:fitting])}\n</tbody></table>"
    )


def _cut(shown: int, total: int) -> str:
    rows = f"{total:,} score{'s' * (total != 1)}."
    return rows if shown == total else f"The first {shown:,} of {total:,} scores; the saved table holds all of them."


def _warnings(warnings: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in warnings)
    return f"<ul>{items}</ul>" if items else "<p>No warnings.</p>"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, value as text) of nested settings, in their order."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield (
                f"{prefix}{name}",
                ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value),
            )


def _json(value: Any) -> str:
    """Return JSON that is safe inside a script element: no character of it can end or open an element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _library() -> str:
    """Return Vega-Lite, Vega and Vega-Embed as one script without the addresses of their web sites."""
    import vl_convert

    return re.sub(r"https?://(?!www\.w3\.org/)[\w.-]+", "", vl_convert.javascript_bundle())  # type: ignore[call-arg]


START = """
const note = document.getElementById("chart-note");
const actions = {export: true, source: false, compiled: false, editor: false};
if (window.chart) {
  vegaEmbed("#chart", window.chart, {mode: "vega-lite", renderer: "svg", ast: true, actions})
    .catch(error => { note.textContent = "The chart could not be drawn: " + error; console.error(error); });
}
"""

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0; }
main { max-width: 84rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { max-width: 46rem; margin: .5rem 0; overflow-wrap: anywhere; }
.finding p { font-size: 1.1rem; }
.warnings { border-left: .3rem solid #D55E00; background: #fdf4ec; padding: .1rem 1rem .6rem; }
.warnings h2 { margin-top: .6rem; }
.warnings ul { margin: 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
figure { margin: 0; }
figcaption, caption { color: #555; font-size: .9rem; text-align: left; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .55rem; border-bottom: 1px solid #ddd; }
th, td { text-align: right; vertical-align: top; white-space: nowrap; }
thead th { border-bottom: 2px solid #888; vertical-align: bottom; }
th:first-child, .text, .settings td { text-align: left; }
tbody th { font-weight: 600; }
td.null { white-space: normal; min-width: 7rem; }
td.note { white-space: normal; min-width: 12rem; }
tbody th, .settings td { white-space: normal; overflow-wrap: anywhere; min-width: 7rem; }
dt { font-weight: 600; }
dd { margin: 0 0 .5rem; max-width: 46rem; }
@media print {
  main { max-width: none; padding: 0; }
  .scroll { overflow: visible; }
  table { font-size: 6.5pt; }
  th, td { padding: .1rem .2rem; white-space: normal; }
  td.note, tbody th, .settings td { min-width: 0; }
  tr, figure { break-inside: avoid; }
  thead { display: table-header-group; }
  details { display: none; }
}
"""

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; base-uri 'none'; form-action 'none';
 img-src data: blob:; style-src 'unsafe-inline'; script-src $policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<h1>$title</h1>
<section class="finding" aria-label="What was found">
$sentences
</section>
<section class="$tone" aria-labelledby="warnings">
<h2 id="warnings">Warnings</h2>
$warnings
</section>
<section aria-labelledby="scores-drawn">
<h2 id="scores-drawn">Scores, drawn</h2>
<figure>
<div class="scroll"><div id="chart"></div></div>
<figcaption><span id="chart-note">$chart_note</span> Bars are intervals, grey bands the permutation null,
crosses the controls. Click a name in the legend to single it out; point at a mark for its numbers.
<noscript>The chart needs JavaScript; the table below holds the same scores.</noscript></figcaption>
</figure>
</section>
<section aria-labelledby="how-to-read">
<h2 id="how-to-read">How to read the spaces</h2>
<dl>
<dt>raw</dt>
<dd>The units as they were recorded.</dd>
<dt>reconstruction</dt>
<dd>What the sparse dictionaries give back of those units: what is lost here is lost by the dictionaries, not by
the other system.</dd>
<dt>predicted</dt>
<dd>What these packings would make of equal content: the closed form, on the learned decoders. It is a reference,
not a correction.</dd>
<dt>latent</dt>
<dd>The sparse codes themselves. A score above the raw one can come from superposition, but also from selection
(the dictionaries keep what is shared), from their nonlinearity, or from labels such as the identity of a token;
a score below it can come from the dictionaries' own noise. The difference of the two does not measure
superposition.</dd>
<dt>linear_selection, nonlinear, latent_to_raw, pca_code</dt>
<dd>What may explain a rise without superposition: the linear part that both systems share, as much of it as the
dictionaries keep; kernel regression from units to units; and, against it, latents that predict units; and the
largest principal components of each sample.</dd>
<dt>two_seeds, corrected</dt>
<dd>How well two dictionaries of one system agree, and latent scores with that noise divided out. Read the second
beside the same of untrained dictionaries only.</dd>
<dt>closed_form</dt>
<dd>The CKA of reconstructions by theory, from decoders and codes: it must equal the measured one.</dd>
<dt>shuffled pairing</dt>
<dd>The same dictionaries, trained and scored after the samples of one system were re-paired at random. It should
lie at zero.</dd>
</dl>
</section>
<section aria-labelledby="scores">
<h2 id="scores">Scores</h2>
<div class="scroll" role="region" aria-labelledby="scores" tabindex="0">
$table
</div>
</section>
<section aria-labelledby="settings">
<h2 id="settings">Settings and provenance</h2>
<table class="settings"><tbody>
$settings
</tbody></table>
</section>
</main>
<script>$library</script>
<script>$chart</script>
<script>$start</script>
</body>
</html>
""")
