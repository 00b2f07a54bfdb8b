"""Systems × systems: matrices of scores, whose cells open what was found of a pair."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from itertools import chain, takewhile
from typing import Any

import numpy as np
import pandas as pd

from superpose.report.cells import Row, missing, number
from superpose.report.content import badge, decomposition, kind, sign
from superpose.report.features import OF_PAIR as FEATURES_OF_PAIR
from superpose.report.features import placed
from superpose.report.marks import scatter
from superpose.report.packed import packed
from superpose.report.plots import comparable, metric_name
from superpose.report.scores import MAIN_METRICS, OF_PAIR
from superpose.report.stimuli import Kept, Shown, illustrated, samples
from superpose.report.tables import table

Couple = tuple[str, str]
Point = tuple[float, float, bool]

# Points of a scatter, and rows of a pair's strongest features each way: the most, and what is tried in turn until all
# panels together, packed, take less than so many bytes.
POINTS = 100
DETAILS, PANELS = ((POINTS, 5), (50, 5), (20, 2), (10, 0)), 850_000
# Up to so many pairs are on the page as they are; more are packed, and shown one at a time.
LISTED = 12
# Up to so many systems, every metric has its matrix; of more, the main ones.
EVERY_MATRIX = 12
# Letters from which on a start that all names share is left out of the heads of matrices.
LONG = 8
MAIN_MATRICES = ("Raw debiased CKA", "Raw held-out r, row")


@dataclass(frozen=True)
class Pairs:
    """All pairs of a report, by their two names: their content, scores, and points and top of each side's features."""

    couples: list[Couple]
    systems: list[str]
    content: dict[Couple, Row]
    scores: dict[Couple, list[Row]]
    points: dict[Couple, list[Point]]
    strongest: dict[Couple, list[Row]]

    def scores_of(self, pair: Couple) -> list[Row]:
        """Return the rows of scores of a pair, in whichever order it stands there."""
        return self.scores.get(pair) or self.scores.get(pair[::-1]) or []


def pairs_of(content: pd.DataFrame | None, scores: pd.DataFrame, features: pd.DataFrame | None) -> Pairs:
    """Return what there is of each pair; copies and twins that controls make are no pairs.

    Parameters
    ----------
    content, features : pandas.DataFrame or None
        As `superpose.content` gives them.
    scores : pandas.DataFrame
        Rows of `superpose.report.plots.tidy`.
    """
    rows = [] if content is None else content.to_dict("records")
    known = {(str(row["system_a"]), str(row["system_b"])): row for row in rows}
    scored: dict[Couple, list[Row]] = {}
    for row in comparable(scores).to_dict("records"):
        scored.setdefault(row["pair"], []).append(row)
    asked = {pair for pair, of in scored.items() if any(_measured(row) for row in of)}
    reverse = {pair[::-1] for pair in known}
    couples = list(dict.fromkeys([*known, *(pair for pair in scored if pair in asked - reverse)]))
    systems = list(dict.fromkeys(name for pair in couples for name in pair))
    if features is None:
        return Pairs(couples, systems, known, scored, {}, {})
    by_strength = placed(features.sort_values("variance", ascending=False, kind="stable"))
    strongest: dict[Couple, list[Row]] = {}
    for row in by_strength.groupby(["system", "other"], sort=False).head(DETAILS[0][1]).to_dict("records"):
        strongest.setdefault((str(row["system"]), str(row["other"])), []).append(row)
    return Pairs(couples, systems, known, scored, _points(by_strength), strongest)


def _measured(row: Row) -> bool:
    return bool(row["space"] == "raw" and row["control"] == "none")


def _points(features: pd.DataFrame) -> dict[Couple, list[Point]]:
    """Return the points of each direction, in the order of the rows."""
    columns = features[features["r_self"].notna() & features["r_other"].notna()]
    found: dict[Couple, list[Point]] = {}
    names = ("system", "other", "r_self", "r_other", "held")
    for system, other, own, there, held in zip(*(columns[name].tolist() for name in names), strict=True):
        found.setdefault((str(system), str(other)), []).append((own, there, bool(held)))
    return found


def listed(pairs: Pairs, *, opened: bool) -> str:
    """Return all that was found of each pair, as parts of the page that open."""
    return "\n".join(
        f'<details class="pair"{" open" if opened else ""}><summary><h3>{_head(pairs, pair)}</h3></summary>'
        f'<div id="pair-{place}" tabindex="-1">{_found(pairs, pair, POINTS)}</div></details>'
        for place, pair in enumerate(pairs.couples)
    )


def chosen(pairs: Pairs, shown: Shown) -> str:
    """Return all that was found of each pair, packed: the script shows the pair that is chosen."""
    for points, top in DETAILS:
        data = packed(_panels(pairs, shown, points, top), "pairs-packed")
        if len(data) <= PANELS:
            break
    return (
        "<noscript><p>Scripts are off: panels of pairs are not shown. The tables hold the same numbers.</p></noscript>"
        f'<div class="pair" id="pair" tabindex="-1" hidden></div>{data}'
    )


def _panels(pairs: Pairs, shown: Shown, points: int, top: int) -> dict[str, Any]:
    """Return the panel of each pair, with so many points a scatter and strongest features each way."""
    numbers = {name: place for place, name in enumerate(pairs.systems)}
    # A feature is strongest in the same samples whatever the other system is: each list of them is kept once.
    lists: dict[str, int] = {}
    panels = [
        "".join(
            [
                f"<h3>{_head(pairs, pair)}</h3>",
                _found(pairs, pair, points),
                _strongest(pairs, pair, shown, top, lists),
            ]
        )
        for pair in pairs.couples
    ]
    couples = [[numbers[name] for name in pair] for pair in pairs.couples]
    return {"systems": pairs.systems, "couples": couples, "panels": panels, "samples": list(lists)}


def _head(pairs: Pairs, pair: Couple) -> str:
    row = pairs.content.get(pair)
    name = escape(f"{pair[0]} and {pair[1]}")
    return name if row is None else f"{name} {badge(row)}"


def _found(pairs: Pairs, pair: Couple, points: int) -> str:
    row = pairs.content.get(pair)
    parts = []
    if row is not None:
        parts += [f"<p>{escape(text)}</p>" for text in row.get("told", ())]
        if not missing(row["content"]):
            parts.append(decomposition(row))
        parts.append(_scatters(pairs, pair, points))
    if rows := pairs.scores_of(pair):
        main = [one for one in rows if one["metric"] in MAIN_METRICS] or rows
        parts.append(table(f"scores of {pair[0]} and {pair[1]}", "scores of this pair", OF_PAIR, main))
    return "".join(parts)


def _strongest(pairs: Pairs, pair: Couple, shown: Shown, top: int, lists: dict[str, int]) -> str:
    rows = illustrated([row for side in (pair, pair[::-1]) for row in pairs.strongest.get(side, [])[:top]], shown)
    rows = [row | {"samples": Kept(lists.setdefault(samples(row), len(lists)))} for row in rows]
    name = f"features of {pair[0]} and {pair[1]}"
    return table(name, "strongest features of this pair", FEATURES_OF_PAIR, rows) if rows else ""


def _scatters(pairs: Pairs, pair: Couple, most: int) -> str:
    drawn = []
    for one, other in (pair, pair[::-1]):
        if not (points := pairs.points.get((one, other))):
            continue
        shown = points[:most]
        held = sum(holds for _, _, holds in shown)
        strongest = "" if len(shown) == len(points) else "strongest "
        drawn.append(
            scatter(
                shown,
                f"{len(shown)} {strongest}features of {one}: {held} held by {other} (dots), {len(shown) - held} not "
                f"(squares). x: held-out r from {one} itself; y: from {other}; both 0 to 1. Above the dashed line, "
                "y is over half of x: held.",
            )
        )
    return f'<div class="scatters">{"".join(drawn)}</div>' if drawn else ""


def matrices(pairs: Pairs) -> str:
    """Return a matrix of systems for the verdict, the content and each main score, or nothing for a single pair.

    Of many systems, all but the first are packed.
    """
    if len(pairs.systems) < 3:
        return ""
    places = {pair: place for place, pair in enumerate(pairs.couples)}
    places |= {pair[::-1]: place for pair, place in places.items()}
    scores = _of_scores(pairs)
    if len(pairs.systems) > EVERY_MATRIX:
        scores = {name: values for name, values in scores.items() if name.startswith(MAIN_MATRICES)} or scores
    found = {**_of_content(pairs), **scores}
    first, *others = [_matrix(name, values, pairs.systems, places) for name, values in found.items()]
    if len(pairs.systems) <= EVERY_MATRIX:
        return first + "".join(others)
    return first + packed("".join(others), "matrices-packed")


def _of_content(pairs: Pairs) -> dict[str, dict[Couple, Any]]:
    found: dict[str, dict[Couple, Any]] = {
        "Verdict": {},
        "Features of the row that the column holds": {},
        "Content": {},
    }
    for (a, b), row in pairs.content.items():
        found["Verdict"] |= {(a, b): row["verdict"], (b, a): row["verdict"]}
        found["Features of the row that the column holds"] |= {(a, b): row["held_by_b"], (b, a): row["held_by_a"]}
        found["Content"] |= {(a, b): row["content"], (b, a): row["content"]}
    return {name: values for name, values in found.items() if values}


def _of_scores(pairs: Pairs) -> dict[str, dict[Couple, Any]]:
    found: dict[str, dict[Couple, Any]] = {}
    for row in filter(_measured, chain.from_iterable(pairs.scores.values())):
        ends = (str(row["system_a"]), str(row["system_b"]))
        name = metric_name(str(row["metric"])) + (", row predicts column" if row["directed"] else "")
        values = found.setdefault(f"Raw {name}", {})
        for pair in (ends,) if row["directed"] else (ends, ends[::-1]):
            values.setdefault(pair, row["score"])
    return dict(sorted(found.items(), key=lambda item: not item[0].startswith(MAIN_MATRICES)))


def shared_start(names: list[str]) -> str:
    """Return the words that all names begin with, but for the last of them, where they are long enough to leave out.

    Examples
    --------
    >>> from superpose.report.pairs import shared_start
    >>> shared_start(["a deep network, layer 1", "a deep network, layer 12"]), shared_start(["V1", "V4"])
    ('a deep network, ', '')
    """
    # What the first and last in order share, all in between do.
    ends = zip(min(names), max(names), strict=False)
    start = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], ends))
    words = re.match(r"(.*[\W_])[^\W_]+[\W_]", start)
    return words[1] if words and len(words[1]) >= LONG else ""


def _matrix(name: str, values: Mapping[Couple, Any], systems: list[str], places: Mapping[Couple, int]) -> str:
    head = "".join(f'<th scope="col" title="{escape(one)}">{place}</th>' for place, one in enumerate(systems, start=1))
    lines, start = [], shared_start(systems)
    left_out = f"; names omit their common start, “{escape(start.strip())}”" if start else ""
    for place, one in enumerate(systems, start=1):
        cells = "".join(_cell(one, other, values, places) for other in systems)
        short = escape(one.removeprefix(start))
        lines.append(f'<tr><th scope="row" title="{escape(one)}">{place}\u00a0{short}</th>{cells}</tr>')
    return (
        f'<div class="matrix" data-name="{escape(name)}"><div class="scroll" role="region" aria-label="{escape(name)}" '
        f'tabindex="0"><table><caption><span>{escape(name)}{left_out}</span></caption><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></div>"
    )


def _cell(one: str, other: str, values: Mapping[Couple, Any], places: Mapping[Couple, int]) -> str:
    value, place = values.get((one, other)), places.get((one, other))
    if value is None or place is None or missing(value):
        return "<td></td>"
    if isinstance(value, str):
        link = f'<a href="#pair-{place}" aria-label="{escape(value)}">{sign(value)}</a>'
        return f'<td class="{kind(value)}">{link}</td>'
    shade = 100 * float(np.clip(value, 0, 1))
    return f'<td style="--v:{shade:.0f}%"><a href="#pair-{place}">{number(value, ".2f").replace("0.", ".")}</a></td>'
