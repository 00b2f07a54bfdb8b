"""The verdict on a pair: same features, some of them among the other's, different ones, or that it cannot be told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superpose.messages.notebook import counted
from superpose.messages.wording import percent
from superpose.sharing.packing import Packing
from superpose.sharing.shares import Share

# Features that must be found and assessable on each side.
FEWEST = 8
# Features of middling ratio, as a part of all, from which the shares mean little; and the ratios that are middling.
MIDDLING, AMBIGUOUS = 0.4, (0.35, 0.6)
# The features of the other system that are not held must be independent of it, but for this part of all features.
WEAK = 0.25
# A share that is surely above the first is all of them, and one surely below the second is not.
ALL, NOT_ALL = 0.85, 0.8
# Bounds of "in part", and how wide its interval may be; "different" is surely below this.
PART, WIDEST, DIFFERENT = (0.3, 0.95), 0.3, 0.6
# Held features of the same content are predicted about as well as the own system predicts them.
FAITHFUL = 0.8
# A plain verdict is about at least this part of the variance on both sides, or of what repeats leave of it.
EXPLAINED = 0.5
# What the features leave must be as shared, or as private, as the features.
RESIDUAL = 0.5
# The other system must be able to hold anything: the median prediction of its own features.
ABLE = 0.7
# Packed alike surely above, differently surely below.
ALIKE, UNLIKE = 0.8, 0.6


@dataclass(frozen=True)
class Evidence:
    """What a verdict follows from: for each of two systems, or of the pair.

    Attributes
    ----------
    names : two str
    found, assessable : two int
        Features found in each system, and those that its own activity predicts.
    held : two Share
        Of the first system's features by the second, and the reverse.
    shared : Share
    median_ratio : float
        Of the features that are held.
    middling : float
        The part of all assessable features whose ratio is middling.
    weak : float
        The part that the other system does not hold, though it is not independent of them.
    able : two float
        The median prediction of each system's features by itself.
    explained : two float
        The part of each system's held-out variance that its features explain.
    residual : two float
        How well the other system predicts what they leave, over how well the system itself does.
    packing : Packing
    repeated : bool
        Whether ratios are of independent repeats, so that noise lowers none.
    """

    names: tuple[str, str]
    found: tuple[int, int]
    assessable: tuple[int, int]
    held: tuple[Share, Share]
    shared: Share
    median_ratio: float
    middling: float
    weak: float
    able: tuple[float, float]
    explained: tuple[float, float]
    residual: tuple[float, float]
    packing: Packing
    repeated: bool = False


@dataclass(frozen=True)
class Verdict:
    """What can be told of a pair's content and packing, and why no more can."""

    content: str
    packing: str
    why: str


def verdict_of(found: Evidence) -> Verdict:
    """Return the first that holds: cannot tell, one among the other, same, in part, different.

    Parameters
    ----------
    found : Evidence
    """
    content, why = _content(found)
    return Verdict(content, _packing(found), why)


def _content(found: Evidence) -> tuple[str, str]:
    a, b = found.names
    if why := _unassessable(found):
        return "cannot tell", why
    held_a, held_b = found.held
    among = [
        f"{one} among {other}"
        for one, other, share, back in ((a, b, held_a, held_b), (b, a, held_b, held_a))
        if share.low >= ALL and back.high <= NOT_ALL
    ]
    if among:
        why = "" if min(found.explained) >= EXPLAINED else _little(found)
        return ("cannot tell", why) if why else (among[0], "")
    if found.shared.low >= ALL:
        why = _not_plainly_same(found)
        return ("cannot tell", why) if why else ("same", "")
    low, high = found.shared.low, found.shared.high
    if low >= PART[0] and high <= PART[1] and high - low <= WIDEST:
        return "in part", ""
    if high <= DIFFERENT:
        why = _not_plainly_different(found)
        return ("cannot tell", why) if why else ("different", "")
    return "cannot tell", f"the shared part lies between {low:.2f} and {high:.2f}"


def _unassessable(found: Evidence) -> str:
    for name, count, assessable in zip(found.names, found.found, found.assessable, strict=True):
        if count < FEWEST:
            return (
                f"both halves of {name} find {counted(count, 'feature')}, and it takes {FEWEST}: more samples, or more "
                "units for as many features, would help"
            )
        if assessable < FEWEST:
            return f"{name} itself predicts {assessable} of its {count} features, and it takes {FEWEST}"
    if found.middling > MIDDLING:
        return f"{percent(found.middling)} of the features are held by half" + (
            ", as graded copies are"
            if found.repeated
            else ": graded copies and private noise look alike; repeats of the stimuli would tell them apart"
        )
    return ""


def _not_plainly_same(found: Evidence) -> str:
    if min(found.explained) < EXPLAINED:
        return _little(found)
    for name, explained, residual in zip(found.names, found.explained, found.residual, strict=True):
        # What is left counts by how much it is.
        if explained + residual * (1 - explained) < EXPLAINED + RESIDUAL * (1 - EXPLAINED):
            return (
                f"the features are shared, but explain {percent(explained)} of {name}, and of the rest the other "
                f"system predicts {percent(residual)} of what can be"
            )
    if found.median_ratio < FAITHFUL:
        return (
            f"the features are shared, but predicted {found.median_ratio:.2f} times as well as each system predicts "
            "its own: "
            + ("graded copies" if found.repeated else "copies, or noise of the recordings; repeats would tell")
        )
    return ""


def _not_plainly_different(found: Evidence) -> str:
    for name, able in zip(found.names, found.able, strict=True):
        if able < ABLE:
            return f"{name} predicts its own features at r = {able:.2f}, too little to hold those of another"
    if found.weak > WEAK:
        return f"{percent(found.weak)} of the features are predicted weakly, but surely: " + (
            "they are held in small part, or come together with others"
            if found.repeated
            else "private noise hides shared content, or features come together; repeats would tell"
        )
    for name, explained, residual in zip(found.names, found.explained, found.residual, strict=True):
        if residual >= RESIDUAL and explained < 1 - RESIDUAL / 10:
            return (
                f"the features differ, but of what they leave of {name} ({percent(1 - explained)}) the other system "
                f"predicts {percent(residual)} of what can be"
            )
    return ""


def _little(found: Evidence) -> str:
    return " and ".join(
        f"the features explain {percent(explained)} of {name}"
        for name, explained in zip(found.names, found.explained, strict=True)
        if explained < EXPLAINED
    )


def _packing(found: Evidence) -> str:
    packing = found.packing
    if not np.isfinite(packing.alike):
        return ""
    if packing.low >= ALIKE:
        return "alike"
    return "differently" if packing.high <= UNLIKE else "cannot tell"
