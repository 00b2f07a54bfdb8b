"""Health of the dictionaries behind latent scores: what they explain, and how many of their latents are used."""

from __future__ import annotations

from html import escape

import pandas as pd

from superpose.dictionaries.diagnostics import LITTLE_EXPLAINED, MANY_DEAD, MANY_RARE
from superpose.messages.wording import percent
from superpose.report.cells import Cell, Column, Row, figure, missing, number, rounded, text
from superpose.report.marks import scale
from superpose.report.tables import table

QUALITY = ("fvu", "dead", "rare", "l0", "units")
# Sentences, one a system, at most; the table holds all.
SAID = 6
SOUND = "sound"


def section(rows: pd.DataFrame) -> str:
    """Return what is known of the dictionaries as a part of the page, or nothing where there are none."""
    found = dictionaries(rows)
    if found.empty:
        return ""
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences(found))
    return said + table("dictionaries", "dictionaries", COLUMNS, found.to_dict("records"))


def dictionaries(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per dictionary: its system, what it was trained with, and its quality on held-out samples.

    Parameters
    ----------
    rows : pandas.DataFrame
        Rows of `superpose.report.plots.tidy`.
    """
    if "fvu_a" not in rows:
        return pd.DataFrame()
    latent = rows[(rows["space"] == "latent") & (rows["control"] == "none")]
    columns = ["system", "other", "fit", "seed", *QUALITY]
    sides = [
        latent.rename(columns={f"system_{one}": "system", f"system_{other}": "other"})
        .rename(columns={f"{name}_{one}": name for name in QUALITY})
        .reindex(columns=columns)
        for one, other in ("ab", "ba")
    ]
    both = pd.concat(sides, ignore_index=True)
    found = both[both["fvu"].notna()]
    # A dictionary of one system, or of all, is the same in every pair.
    found = found.assign(other=found["other"].where(found["fit"] == "pairwise", ""))
    order = {name: place for place, name in enumerate(dict.fromkeys(found["system"]))}
    found = found.drop_duplicates(["system", "other", "fit", "seed"])
    found = found.sort_values("system", key=lambda names: names.map(order), kind="stable")
    return found.assign(state=[state(row) for row in found.to_dict("records")])


def state(row: Row) -> str:
    """Return the gravest fault of a dictionary in two or three words, or that there is none."""
    if row["fvu"] >= 1:
        return "explains nothing"
    if row["fvu"] > LITTLE_EXPLAINED:
        return "explains little"
    if row["dead"] > MANY_DEAD:
        return "many dead latents"
    if row["rare"] > MANY_RARE:
        return "under-trained"
    return SOUND


def sentences(found: pd.DataFrame) -> list[str]:
    """Return how many dictionaries are sound, and one sentence per system on what its dictionaries explain and use."""
    count, sound = len(found), int((found["state"] == SOUND).sum())
    faults = found["state"][found["state"] != SOUND].value_counts()
    listed = ", ".join(f"{fault} ({many:,})" for fault, many in faults.items())
    head = (
        f"{sound:,} of {count:,} dictionaries {'is' if sound == 1 else 'are'} sound{listed and f'; faults: {listed}'}."
    )
    systems = [_system(str(name), rows) for name, rows in found.groupby("system", sort=False)]
    return [head, *systems[:SAID]]


def _system(name: str, rows: pd.DataFrame) -> str:
    one = len(rows) == 1
    said = f"{name}: its {'dictionary explains' if one else f'{len(rows)} dictionaries explain'} "
    said += f"{_range(1 - rows['fvu'], '.0%')} of the variance of held-out samples"
    if rows["dead"].notna().any():
        said += f"; {_range(rows['dead'], '.0%')} of its latents are never active"
    if rows["l0"].notna().any():
        said += f"; {_range(rows['l0'], '.0f')} are active in a sample on average"
    return f"{said}."


def _range(values: pd.Series, form: str) -> str:
    low, high = (number(value, form) for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _explained(row: Row) -> Cell:
    share = 1 - row["fvu"]
    drawing = scale([("raw", share)])
    return Cell(f'<span class="beside"><span>{number(share, ".0%")}</span>{drawing}</span>', rounded(share))


def _with(row: Row) -> Cell:
    words = {"all": "all systems", "independent": "nothing else", "given": "not known"}
    return Cell(escape(str(row["other"]) or words.get(str(row["fit"]), "")))


def _latents(row: Row) -> Cell:
    return Cell() if missing(row["units"]) else Cell(number(row["units"], ",.0f"), rounded(row["units"]))


COLUMNS = (
    Column("System", "whose activity it describes", text("system"), "text", filtered=True),
    Column("Trained with", "the other system that shared it", _with, "text", filtered=True),
    Column(
        "State",
        f"sound: explains over {percent(1 - LITTLE_EXPLAINED)} of the variance, at most {percent(MANY_DEAD)} of its "
        f"latents are never active, and at most {percent(MANY_RARE)} are active a "
        "hundredth as often as the mean",
        text("state"),
        "text",
        filtered=True,
    ),
    Column("Explained", "share of the variance of held-out samples (1 − FVU)", _explained, "picture"),
    Column("Never active", "share of dead latents", figure("dead", ".1%")),
    Column("Rarely active", "share of latents active a hundredth as often as the mean", figure("rare", ".1%")),
    Column("Active per sample", "mean number of active latents (L0)", figure("l0", ".1f")),
    Column("Latents", "how many it has", _latents),
    Column("Fit", "how it was trained", text("fit"), "text"),
    Column("Seed", "of the training", figure("seed", ".0f")),
)
