"""The table of scores: one row per score, drawn on a scale beside its interval, null and ceiling."""

from __future__ import annotations

from html import escape

import pandas as pd

from superpose.messages.wording import p_number
from superpose.report.cells import Cell, Column, Row, figure, interval, number, pair_name, pair_of, rounded, text
from superpose.report.marks import scale
from superpose.report.plots import SPACES, metric_name

MAIN_METRICS = ("cka_debiased", "ridge_r")
CONTROL = "control"


def arranged(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows pair by pair, main metrics first, with the spaces of one score below each other."""
    pairs = {pair: i for i, pair in enumerate(dict.fromkeys(rows["pair"]))}
    metrics = {name: i for i, name in enumerate(dict.fromkeys([*MAIN_METRICS, *rows["metric"]]))}
    spaces = {name: i for i, name in enumerate(dict.fromkeys([*SPACES, *rows["space"]]))}
    keys = pd.DataFrame(
        {
            "pair": rows["pair"].map(pairs),
            "metric": rows["metric"].map(metrics),
            "backward": ~rows["forward"].astype(bool),
            "space": rows["space"].map(spaces),
            "control": rows["control"] != "none",
        }
    )
    return rows.loc[keys.sort_values([*map(str, keys)], kind="stable").index]


def drawn(row: Row) -> str:
    """Return a score with its interval, null band and ceiling as a picture."""
    space = str(row["space"]) if row["space"] in SPACES else "other"
    kind = space if row["control"] == "none" else CONTROL
    return scale(
        [(kind, row["score"])],
        span=(row.get("low"), row.get("high")),
        null=(row.get("null_low"), row.get("null_high")),
        ceiling=row.get("ceiling"),
    )


def _score(row: Row) -> Cell:
    return Cell(number(row["score"]) or "NaN", rounded(row["score"]))


def _with_range(name: str, heading: str, meaning: str) -> Column:
    def cell(row: Row) -> Cell:
        parts = (number(row.get(name)), interval(row.get(f"{name}_low"), row.get(f"{name}_high")))
        return Cell(" ".join(filter(None, parts)), rounded(row.get(name)))

    return Column(heading, meaning, cell, "null")


def _p(name: str, heading: str, meaning: str) -> Column:
    return Column(heading, meaning, lambda row: Cell(escape(p_number(row.get(name))), rounded(row.get(name))))


def _why(row: Row) -> Cell:
    unknown = "" if number(row["score"]) else "Not computed; no reason was recorded."
    return Cell(escape(str(row["why"]) or unknown))


def _control(row: Row) -> Cell:
    return Cell("" if row["control"] == "none" else escape(str(row["control"])))


SYSTEMS = Column("Systems", "a → b: a predicts b; a – b: symmetric", lambda row: Cell(escape(pair_name(row))), "text")
METRIC = Column(
    "Metric", "what is measured", lambda row: Cell(escape(metric_name(str(row["metric"])))), "text", filtered=True
)
SPACE = Column("Space", "raw units, reconstruction, predicted or latent", text("space"), "text", filtered=True)
LINK = Column("Control", "how a control changed the pairing or the dictionaries", _control, "text", filtered=True)
DRAWN = Column(
    "Plot",
    "the score from 0 to 1, its interval, the band of its null in grey, its ceiling",
    lambda row: Cell(drawn(row)),
    "picture",
)
NUMBERS = (
    Column("Score", "rounded to three decimals", _score),
    Column("Interval", "95 % interval of the score", lambda row: Cell(interval(row.get("low"), row.get("high")))),
    _with_range("ceiling", "Ceiling", "noise ceiling and its interval"),
    _with_range("null", "Null", "mean of the permutation null and its interval"),
    _p("p", "p", "permutation p-value"),
)
NOTE = Column("Note", "why a score, an interval or a null is missing", _why, "note")

# Of one pair, whose systems are known; what the columns are is said beside the table of all scores.
OF_PAIR = tuple(
    column._replace(meaning="", filtered=False)
    for column in (
        Column("Metric", "", lambda row: Cell(escape(f"{metric_name(str(row['metric']))}{_direction(row)}")), "text"),
        SPACE,
        LINK,
        DRAWN,
        *NUMBERS,
        NOTE,
    )
)
COLUMNS = (
    SYSTEMS,
    METRIC,
    SPACE,
    LINK,
    DRAWN,
    *NUMBERS,
    _p("p_adjusted", "p, all pairs", "adjusted for all pairs of this metric"),
    Column("FVU a, b", "fraction of variance that the dictionaries leave unexplained", pair_of("fvu", ".3f")),
    Column("Dead a, b", "share of dictionary latents that are never active", pair_of("dead", ".1%")),
    Column("L0 a, b", "mean number of active latents", pair_of("l0", ".1f")),
    Column("Same index", "share of matched latents with the same index in both codes", figure("same_index")),
    NOTE,
    Column("Kind of null", "what the score is compared with", text("null_kind"), "text"),
    Column("Split", "training and test samples", text("split"), "text"),
    Column("Fit", "how the dictionaries were trained", text("fit"), "text"),
    Column("Seed", "of the dictionaries", figure("seed", ".0f")),
    Column("Units a, b", "units of the two systems in this space", pair_of("units", ",.0f")),
    Column("Predictors", "units of the predicting system", figure("predictors", ",.0f")),
    Column("Samples", "samples that are scored", figure("samples", ",.0f")),
    Column(
        "Training samples",
        "samples that dictionaries and regressions are trained on",
        figure("training_samples", ",.0f"),
    ),
)


def _direction(row: Row) -> str:
    return f", {row['system_a']} → {row['system_b']}" if row["directed"] else ""
