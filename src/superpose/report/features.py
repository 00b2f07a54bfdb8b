"""The feature browser: shared and private features of each system, the strongest ones where there are many."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from superpose.messages.wording import p_number
from superpose.report.cells import Cell, Column, Row, figure, missing, number, rounded, text
from superpose.report.marks import scale
from superpose.report.stimuli import samples

# Up to so many systems and others, each feature has a row for every other system; beyond, one row for all of them.
APART = 30
# Rows of the browser, at most.
ROWS = 2_000


def browsable(features: pd.DataFrame) -> pd.DataFrame:
    """Return the features that the browser shows, those of most variance first, with `where` each is held.

    Of many systems, one row per feature instead of one per feature and other system: how many of the others hold it,
    and the one that predicts it best.
    """
    sides = features.groupby(["system", "other"], sort=False).ngroups
    rows = placed(features) if sides <= APART else _over_others(features)
    each = rows.groupby([name for name in ("system", "other") if sides <= APART or name == "system"], sort=False)
    most = max(1, ROWS // max(1, each.ngroups))
    rank = each["variance"].rank(method="first", ascending=False)
    return rows[rank <= most].sort_values("variance", ascending=False, kind="stable")


def placed(features: pd.DataFrame) -> pd.DataFrame:
    """Return features with `where` each is held: shared, private or not assessable."""
    where = np.where(~features["assessable"], "not assessable", np.where(features["held"], "shared", "private"))
    return features.assign(where=where)


def _over_others(features: pd.DataFrame) -> pd.DataFrame:
    grouped = features.groupby(["system", "feature"], sort=False)
    best = features.loc[grouped["r_other"].idxmax().dropna()].set_index(["system", "feature"])
    holding, others = grouped["held"].sum(), grouped["other"].size()
    best["others"] = [f"{int(holding[key])} of {int(others[key])}" for key in best.index]
    best["holding"] = [int(holding[key]) for key in best.index]
    return placed(best.reset_index())


def _ratio(row: Row) -> Cell:
    drawing = scale([("raw", row["ratio"])])
    shown = f'<span class="beside"><span>{number(row["ratio"], ".2f")}</span>{drawing}</span>'
    return Cell(shown if drawing else "", rounded(row["ratio"]))


def _partner(row: Row) -> Cell:
    if missing(row.get("partner")) or row["partner"] < 0:
        return Cell()
    return Cell(f"{row['partner']:.0f} (r = {number(row['partner_r'], '.2f')})", rounded(row["partner_r"]))


def _latent(row: Row) -> Cell:
    if missing(row.get("latent")) or row["latent"] < 0:
        return Cell()
    return Cell(f"{row['latent']:.0f}", float(row["latent"]))


def _samples(row: Row) -> Cell:
    return Cell(samples(row))


COLUMNS = (
    Column("Feature", "column of the dictionary, largest variance first", figure("feature", ".0f")),
    Column("Latent", "its number in the dictionary that was given", _latent),
    Column("System", "whose feature it is", text("system"), "text", filtered=True),
    Column(
        "Where",
        "shared: the other system predicts it at least half as well as its own; private: less well",
        text("where"),
        "text",
        filtered=True,
    ),
    Column("Strength", "share of the system's held-out variance that is lost without it", figure("variance", ".1%")),
    Column("Strongest samples", "samples with the largest code, either sign", _samples, "note"),
    Column(
        "Other",
        "the system that may hold it; of many, the one that predicts it best",
        text("other"),
        "text",
        filtered=True,
    ),
    Column(
        "Held by",
        "how many of the other systems hold it",
        lambda row: Cell(text("others")(row).html, rounded(row.get("holding"))),
    ),
    Column("Active", "share of samples in which it is active", figure("active", ".1%")),
    Column("Stability", "cosine between the two halves' atoms", figure("halves", ".2f")),
    Column(
        "r, own", "held-out correlation of its code with the prediction from its own system", figure("r_self", ".2f")
    ),
    Column("r, other", "the same, predicted from the other system", figure("r_other", ".2f")),
    Column("Ratio", "r, other divided by r, own; held above .5", _ratio, "picture"),
    Column("Within label", "the ratio for the deviation from the mean of its label", figure("within_label", ".2f")),
    Column("Partner", "the other's own feature that correlates best with it", _partner),
    Column("Effect there", "share of the other's variance that it carries", figure("effect", ".1%")),
    Column(
        "q",
        "false discovery rate of the test that the other system is independent of it",
        lambda row: Cell(escape(p_number(row.get("q"))), rounded(row.get("q"))),
    ),
)

# Of one pair, below its scores.
OF_PAIR = tuple(
    column._replace(meaning="", filtered=False)
    for column in COLUMNS
    if column.heading in ("Feature", "Latent", "System", "Where", "Strength", "Strongest samples", "Ratio")
)
