"""Which system is closer to another, and what each explains of it: sentences and tables of contrasts and partitions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd

from superpose.messages.wording import p_number
from superpose.report.cells import Cell, Column, Row, figure, interval, missing, rounded, text
from superpose.report.differences import LEVEL, contrast_sentences, partition_sentences
from superpose.report.marks import scale, signed
from superpose.report.plots import metric_name
from superpose.report.tables import table as table_of


def contrasts(table: pd.DataFrame, said: Sequence[str], files: Sequence[str]) -> str:
    """Return a table of `superpose.contrast` as a part of the page, under what is not `said` already."""
    if table.empty:
        return ""
    reach = table[["low", "high", "difference"]].abs().max(axis=1).groupby(table["metric"]).transform("max")
    rows = table.assign(reach=reach).to_dict("records")
    return _told(contrast_sentences(table), said) + table_of("contrast", "differences", CONTRAST, rows, files)


def partition(table: pd.DataFrame, said: Sequence[str], files: Sequence[str]) -> str:
    """Return a table of `superpose.partition` as a part of the page, under what is not `said` already."""
    if table.empty:
        return ""
    rows = table.to_dict("records")
    return _told(partition_sentences(table), said) + table_of("partition", "parts", PARTITION, rows, files)


def layers(table: pd.DataFrame, files: Sequence[str]) -> str:
    """Return a table of `superpose.layers` as a part of the page."""
    return "" if table.empty else table_of("layers", "scores", LAYERS, table.to_dict("records"), files)


def _told(sentences: Sequence[str], said: Sequence[str]) -> str:
    return "".join(f"<p>{escape(text)}</p>" for text in sentences if text not in said)


def _difference(row: Row) -> Cell:
    kind = "raw" if row["p_adjusted"] <= LEVEL else "other"
    return Cell(signed(kind, row["difference"], (row["low"], row["high"]), reach=row["reach"]))


def _part(row: Row) -> Cell:
    kind = "raw" if row["p"] <= LEVEL else "other"
    return Cell(scale([(kind, row["score"])], span=(row["low"], row["high"])))


def _layer(row: Row) -> Cell:
    kind = "raw" if row["best_p"] > LEVEL else "other"
    return Cell(
        scale(
            [(kind, row["score"])],
            span=(row["low"], row["high"]),
            null=(row["null_low"], row["null_high"]),
            ceiling=row["ceiling"],
        )
    )


def _p(name: str, heading: str, meaning: str) -> Column:
    return Column(heading, meaning, lambda row: Cell(escape(p_number(row.get(name))), rounded(row.get(name))))


def _pair(row: Row) -> Cell:
    return Cell(escape(f"{row['system_a']} − {row['system_b']}"))


def _why(row: Row) -> Cell:
    return Cell() if missing(row.get("why")) else Cell(escape(str(row["why"])))


METRIC = Column(
    "Metric", "what is measured", lambda row: Cell(escape(metric_name(str(row["metric"])))), "text", filtered=True
)
TARGET = Column("Target", "the system that the others are compared with", text("target"), "text")
INTERVAL = Column("Interval", "95 % interval", lambda row: Cell(interval(row.get("low"), row.get("high"))))
WHY = Column("Note", "why a number is missing", _why, "note")

CONTRAST = (
    Column("Systems", "a − b: above 0 where a has the larger score with the target", _pair, "text"),
    TARGET,
    METRIC,
    Column(
        "Plot",
        "the difference and its interval: 0 in the middle, the widest interval of the metric from end to end; filled "
        f"where p for all rows of the metric is at most {LEVEL:g}",
        _difference,
        "picture",
    ),
    Column("Difference", "score of a less score of b", figure("difference", "+.3f")),
    INTERVAL,
    Column("Score of a", "with the target", figure("score_a")),
    Column("Score of b", "with the target", figure("score_b")),
    _p("p", "p", "two-sided, for no difference"),
    _p("p_adjusted", "p, all rows", "adjusted for all rows of this metric (Holm)"),
    WHY,
)
LAYERS = (
    Column("Layer", "in the order of depth", text("layer"), "text"),
    Column("Time", "of the target", text("time"), "text"),
    TARGET,
    METRIC,
    Column(
        "Plot",
        "the score from 0 to 1, its interval, the band of the permutation null, and the noise ceiling as a stroke; "
        "filled where the layer may be the best",
        _layer,
        "picture",
    ),
    Column("Score", "of the layer with the target", figure("score")),
    INTERVAL,
    Column("Ceiling", "noise ceiling: the highest score to be expected", figure("ceiling")),
    Column("Ratio", "score over ceiling", figure("ratio")),
    _p("p_adjusted", "p, all layers", "permutation p-value, for all layers at once"),
    _p("best_p", "p, best", "tests that no other layer is better: a layer above .05 may be the best"),
    WHY,
)
PARTITION = (
    Column("Part", "part of the target's variance that the systems explain", text("part"), "text"),
    TARGET,
    METRIC,
    Column(
        "Plot",
        f"the part from 0 to 1 and its interval; filled where p is at most {LEVEL:g}",
        _part,
        "picture",
    ),
    Column("Score", "the part in the metric's own units", figure("score")),
    INTERVAL,
    _p("p", "p", "one-sided, for a part of 0 or less"),
    _p("p_adjusted", "p, all rows", "adjusted for all parts beyond the rest (Holm)"),
    WHY,
)
