"""The plain sentences: what rose, what fell, what explains a rise as well, and what was not asked."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from superpose.messages.wording import p_number, p_value
from superpose.report.plots import comparable, metric_name

LEVEL = 0.05
# Scores closer than this are called equal, whatever their intervals say.
SMALLEST = 0.01
# A corrected score this close to that of untrained dictionaries says nothing of what training found.
NEAR_UNTRAINED = 0.05
OPEN = (
    "A rise alone is no evidence of superposition: selecting shared content, a nonlinear encoder and the identity of "
    "the stimuli raise it too."
)
# What a rise must be held against: the space or control that shows it was, and what to call it where it was not.
HELD_AGAINST = {
    "the nonlinear prediction": ("space", "nonlinear"),
    "linear selection at equal variance explained": ("space", "linear_selection"),
    "independent dictionaries": ("space", "two_seeds"),
    "permutation within labels": ("control", "within_labels"),
}

# What sentences are about.
MAIN = "ridge_r"
CEILED = {"ridge_r": "held-out r", "cka_debiased": "debiased CKA"}


def sentences(table: pd.DataFrame, permutations: int | None = None) -> list[str]:
    """Return what each pair of systems shows, and a last sentence on what a rise leaves open, if any rose.

    Parameters
    ----------
    table : pandas.DataFrame
        As `superpose.analyse` returns it.
    permutations : int, optional
        How many the nulls of raw scores are made of: of few, no p-value can be small.

    Returns
    -------
    list of str
        One sentence per pair, further ones where a line or a correction was measured and bears on it.
    """
    said, rose = [], False
    for (a, b), rows in _by_pair(table):
        text, up = _sentence(a, b, rows, permutations)
        said += [text, *_ceilings(rows)]
        if up:
            said += _lines(a, b, rows)
        said += _correction(a, b, rows)
        rose |= up
    return [*said, _left_open(table)] if rose else said


def _by_pair(table: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Return the rows of each pair that was asked for: not of the copies and twins that controls make."""
    recovered = table[(table.space == "latent") & (table.control == "none")]
    # The first fit is the one asked for; a control may have fitted others.
    other = recovered[recovered.fit != recovered.fit.iloc[0]].index if len(recovered) else recovered.index
    asked = table.drop(other)
    raw = asked[(asked.space == "raw") & (asked.control == "none")]
    pairs: dict[frozenset[str], tuple[str, str]] = {}
    for pair in zip(raw.system_a, raw.system_b, strict=True):
        pairs.setdefault(frozenset(pair), pair)
    return [(pair, asked[asked.system_a.isin(pair) & asked.system_b.isin(pair)]) for pair in pairs.values()]


def _sentence(a: str, b: str, rows: pd.DataFrame, permutations: int | None) -> tuple[str, bool]:
    raw = _score(rows, "raw")
    if raw is None:
        return f"{a} and {b}: no raw score could be computed ({_reason(rows, 'raw')}).", False
    metric = _main(rows)
    opening = f"{a} and {b}: {'held-out r' if metric == MAIN else metric_name(metric)} is {_directions(raw, a, b)} raw"
    related = _related(rows, permutations)
    if not ((rows.space == "latent") & (rows.control == "none")).any():
        return f"{opening}{related}.", False
    latent = _score(rows, "latent")
    if latent is None:
        return f"{opening}{related}; in recovered features it could not be computed ({_reason(rows, 'latent')}).", False
    if empty := _explaining_nothing(rows):
        which = f"the dictionar{'y' if len(empty) == 1 else 'ies'} of {' and '.join(empty)}"
        return (
            f"{opening}{related}; recovered features say nothing (r = {_each(latent)}), for {which} "
            f"explain{'s' if len(empty) == 1 else ''} nothing of held-out samples.",
            False,
        )
    shuffled = _score(rows, "latent", control="shuffled_fit")
    control = f" (shuffled pairs: {shuffled.score:.3f})" if shuffled is not None else ""
    if latent.above(raw):
        return f"{opening}{related}; in recovered features {_each(latent)}{control}: it rises.", True
    if raw.above(latent):
        return (
            f"{opening}{related}; in recovered features {_each(latent)}{control}: it falls; the dictionaries "
            "lose more of what is shared than they untangle.",
            False,
        )
    return f"{opening}{related}; in recovered features {_each(latent)}{control}: no clear change.", False


def _ceilings(rows: pd.DataFrame) -> list[str]:
    """Say how near raw scores are to what the noise of repeated trials lets them be, where that was measured."""
    if "ceiling" not in rows:
        return []
    raw = rows[(rows.space == "raw") & (rows.control == "none") & rows.ceiling.notna() & rows.score.notna()]
    said = [
        f"{row.system_a} {'to' if row.directed else 'and'} {row.system_b}: {name} {row.score:.3f} of a ceiling of "
        f"{row.ceiling:.3f}"
        for metric, name in CEILED.items()
        for row in raw[raw.metric == metric].itertuples()
    ]
    return [f"Noise ceilings: {'; '.join(said)}."] if said else []


def _lines(a: str, b: str, rows: pd.DataFrame) -> list[str]:
    """Say which lines a rise does not clear; what latents say of raw activity has the nonlinear line's own targets."""
    latent, targeted = _score(rows, "latent"), _score(rows, "latent_to_raw")
    nonlinear, selection = _score(rows, "nonlinear"), _score(rows, "linear_selection")
    compared = [
        (latent, "recovered features give", selection, "linear selection at equal variance explained"),
        (latent, "recovered features give", nonlinear, "nonlinear regression on raw activity"),
        (targeted, "raw activity predicted from recovered features gives", nonlinear, "nonlinearly from raw activity"),
    ]
    said = [
        f"{what} {score.score:.3f}, {line_name} {line.score:.3f}"
        for score, what, line, line_name in compared
        if score is not None and line is not None and not score.above(line)
    ]
    return [f"{a} and {b}: {'; '.join(said)}: not evidence of superposition."] if said else []


def _correction(a: str, b: str, rows: pd.DataFrame) -> list[str]:
    """Say what dividing out the dictionaries' noise gives, and that it gives as much to untrained ones, if it does."""
    corrected, untrained = _score(rows, "corrected"), _score(rows, "corrected", control="untrained")
    if corrected is None or untrained is None:
        return []
    near = abs(corrected.score - untrained.score) <= NEAR_UNTRAINED
    ending = ": the correction does not depend on training." if near else "."
    return [
        f"{a} and {b}: independent dictionaries, their own noise divided out, give {corrected.score:.3f}, untrained "
        f"ones {untrained.score:.3f}{ending}"
    ]


def _left_open(table: pd.DataFrame) -> str:
    missing = [name for name, (column, value) in HELD_AGAINST.items() if not (table[column] == value).any()]
    if not missing:
        return OPEN
    return f"{OPEN} Not run here: {', '.join(missing[:-1])}{', and ' if len(missing) > 1 else ''}{missing[-1]}."


class _Mean(NamedTuple):
    """A score over both directions and all seeds, half the width of its interval, and the score of each direction."""

    score: float
    half: float
    each: dict[tuple[str, str], float]

    def above(self, other: _Mean) -> bool:
        """Whether it is higher by more than both intervals leave open."""
        return self.score - other.score > max(SMALLEST, float(np.hypot(self.half, other.half)))


def _score(rows: pd.DataFrame, space: str, control: str = "none") -> _Mean | None:
    chosen = _select(comparable(rows), space, control)
    known = chosen[np.isfinite(chosen.score)]
    if known.empty:
        return None
    half = ((known.high - known.low) / 2).mean()
    directed = known[known.directed.astype(bool)]
    each = {
        (str(a), str(b)): float(rows.score.mean())
        for (a, b), rows in directed.groupby(["system_a", "system_b"], sort=False)
    }
    return _Mean(float(known.score.mean()), float(half) if np.isfinite(half) else 0.0, each)


def _each(score: _Mean) -> str:
    return " and ".join(f"{value:.3f}" for value in score.each.values()) or f"{score.score:.3f}"


def _directions(score: _Mean, a: str, b: str) -> str:
    """Return a score of each direction that there is, with its name; one that has no direction alone."""
    if not score.each:
        return f"{score.score:.3f}"
    if len(score.each) == 2:
        return f"{score.each[a, b]:.3f} from {a} to {b} and {score.each[b, a]:.3f} back,"
    ((one, other), value) = next(iter(score.each.items()))
    return f"{value:.3f} from {one} to {other},"


def _select(rows: pd.DataFrame, space: str, control: str = "none") -> pd.DataFrame:
    return rows[(rows.metric == _main(rows)) & (rows.space == space) & (rows.control == control)]


def _main(rows: pd.DataFrame) -> str:
    """Return the metric that sentences are about: the first one where nobody asked for the usual."""
    return MAIN if rows.empty or (rows.metric == MAIN).any() else str(rows.metric.iloc[0])


def _explaining_nothing(rows: pd.DataFrame) -> list[str]:
    """Return the systems whose dictionary leaves all that it has not seen unexplained."""
    latent = _select(rows, "latent")
    both = pd.concat(
        [latent.reindex(columns=[f"system_{side}", f"fvu_{side}"]).set_axis(["system", "fvu"], axis=1) for side in "ab"]
    )
    return list(dict.fromkeys(both.system[both.fvu >= 1]))


def _related(rows: pd.DataFrame, permutations: int | None) -> str:
    """Return what the raw scores' nulls say, if they were run."""
    p = _select(rows, "raw").p.dropna()
    if not len(p):
        return ""
    said = p_value(p.max(), permutations)
    if p.max() <= LEVEL:
        return f" ({said})"
    if permutations and 1 / (1 + permutations) > LEVEL:
        least = p_number(1 / (1 + permutations))
        return f" ({p_value(p.max())}, and {permutations} permutations give no less than {least})"
    return f" ({said}: not significant)"


def _reason(rows: pd.DataFrame, space: str) -> str:
    reasons = [why for why in rows[(rows.space == space) & (rows.control == "none")].why if why]
    return reasons[0] if reasons else "no row"
