"""What a reader of the scores must know about the data and the fits behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.arrays import chunks
from superpose.dictionaries.diagnostics import LITTLE_EXPLAINED, MANY_DEAD, MANY_RARE
from superpose.messages.wording import percent
from superpose.report.plots import metric_name
from superpose.statistics.permutations import FEWEST

Array = NDArray[Any]

NEAR_ZERO = 0.03
QUALITY = ["system", "fvu", "dead", "rare"]
# A permutation within labels that keeps more than this share of a score shows that the label carries it.
MOSTLY = 0.8
# A joint dictionary that leaves more than this many times as much unexplained as one alone has dropped content.
DROPPED = 1.1


def caveats(
    table: pd.DataFrame,
    arrays: Mapping[str, Array],
    dropped: Mapping[str, list[int]],
    latents: int,
    asked: Sequence[str] = ("shuffled_fit",),
) -> Iterator[str]:
    """Yield every warning that the data and the table call for, the gravest first.

    `arrays` are without the units that `dropped` lists by system; `asked` are the controls that were to be run.
    """
    training = int(table.training_samples.min())
    yield from _nulls(table)
    if "shuffled_fit" in asked:
        yield from _controls(table)
    yield from _identity(table)
    yield from _selection(table)
    yield from _reconstructions(table)
    yield from _rows(training, latents, arrays)
    yield from _dominant_units(arrays, dropped)
    for name, units in dropped.items():
        shown = ", ".join(map(str, units[:8])) + (" …" if len(units) > 8 else "")
        yield f"{name}: {len(units)} unit(s) are constant over the samples and were dropped: {shown}."


def _nulls(table: pd.DataFrame) -> Iterator[str]:
    shuffled = table[(table.control == "shuffled_fit") & table.metric.isin(["cka_debiased", "rsa", "ridge_r"])]
    beyond = (shuffled.score.abs() > NEAR_ZERO) & ((shuffled.low > 0) | (shuffled.high < 0))
    for row in shuffled[beyond].itertuples():
        yield (
            f"{row.system_a} and {row.system_b}: {metric_name(str(row.metric))} of the {row.space} space is "
            f"{row.score:.3f} with shuffled pairs, not near zero: part of its score needs no shared content."
        )


def _controls(table: pd.DataFrame) -> Iterator[str]:
    recovered = table[(table.space == "latent") & table.score.notna()]
    if len(recovered) and "shuffled_fit" not in set(recovered.control):
        yield (
            f"Fewer than {FEWEST} permutations of the training or of the held-out groups: there is no shuffled "
            "control, and nothing shows what joint training alone does. Name smaller groups, or give more of them."
        )


def _identity(table: pd.DataFrame) -> Iterator[str]:
    """Say where permutation within labels keeps most of a score."""
    rows = table[(table.metric == "ridge_r") & table.space.isin(["raw", "latent"]) & table.score.notna()]
    kept = rows[rows.control == "within_labels"]
    for (space, fit, a, b), permuted in kept.groupby(["space", "fit", "system_a", "system_b"], sort=False):
        same = (rows.space == space) & (rows.fit == fit) & (rows.system_a == a) & (rows.system_b == b)
        own, left = rows[same & (rows.control == "none")].score.mean(), permuted.score.mean()
        if own > 0 and left > MOSTLY * own:
            yield (
                f"{a} to {b}: of r = {own:.3f} in the {space} space, {left:.3f} is left when rows meet others of the "
                "same label: it is mostly the identity of what was shown."
            )


def _selection(table: pd.DataFrame) -> Iterator[str]:
    """Say which systems a joint dictionary explains much less of than one of their own."""
    recovered = table[(table.control == "none") & (table.space == "latent")]
    for name, rows in _by_system(recovered):
        jointly = rows.fit.isin(["pairwise", "all"])
        alone, joint = rows[rows.fit == "independent"].fvu.mean(), rows[jointly].fvu.max()
        if DROPPED * alone < joint < 1:
            yield (
                f"{name}: a joint dictionary leaves {percent(joint, 1)} of the variance unexplained, one of its own "
                f"{percent(alone, 1)}: private content was dropped, which raises latent scores by selection."
            )


def _reconstructions(table: pd.DataFrame) -> Iterator[str]:
    found = list(_by_system(table[(table.control == "none") & (table.space == "latent")]))
    left = {str(name): rows.fvu.max() for name, rows in found}
    if empty := [name for name, fvu in left.items() if fvu >= 1]:
        names = ", ".join(empty)
        yield f"{names}: the dictionary explains nothing of held-out samples; its latent scores mean nothing."
    if partly := [f"{percent(fvu)} of {name}" for name, fvu in left.items() if LITTLE_EXPLAINED < fvu < 1]:
        yield (
            f"Dictionaries leave unexplained {', '.join(partly)} (variance of held-out samples): the latent scores are "
            "about the rest only."
        )
    for name, rows in found:
        dead, rare = rows.dead.max(), rows.rare.max()
        if left[str(name)] >= 1:
            # How often its latents are active does not matter then.
            continue
        if dead > MANY_DEAD:
            yield f"{name}: {percent(dead)} of its latents are never active; use fewer, or train longer."
        elif rare > MANY_RARE:
            yield (
                f"{name}: {percent(rare)} of its latents are active a hundredth as often as the average one, or less: "
                "the dictionary is under-trained; train longer, or use fewer latents."
            )


def _by_system(rows: pd.DataFrame) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Return the quality of the dictionaries of each system, whichever side of a pair it is on."""
    sides = [
        rows[["fit", *(f"{what}_{side}" for what in QUALITY)]].set_axis(["fit", *QUALITY], axis=1) for side in "ab"
    ]
    yield from pd.concat(sides).groupby("system", sort=False)


def _rows(training: int, latents: int, arrays: Mapping[str, Array]) -> Iterator[str]:
    if 2 * latents <= training < 16 * latents:
        yield (
            f"{training} training rows for {latents} latents (fewer than 16 a latent): dictionaries fit noise, and "
            "latent scores say little of what is shared; use fewer latents, or more rows."
        )
    if wide := [f"{x.shape[-1]} units of {name}" for name, x in arrays.items() if x.shape[-1] > training / 4]:
        yield (
            f"{training} training samples are few for {', '.join(wide)}: a low held-out r does "
            "not show that little is shared."
        )


def _dominant_units(arrays: Mapping[str, Array], dropped: Mapping[str, list[int]]) -> Iterator[str]:
    for name, x in arrays.items():
        variance = _variances(x)
        share = variance / variance.sum()
        if x.shape[-1] > 2 and share.max() > 0.5:
            gone = dropped.get(name, [])
            unit = np.delete(np.arange(len(share) + len(gone)), gone)[share.argmax()]
            yield (
                f"{name}: unit {unit} carries {percent(share.max())} of the variance and dominates every "
                "score; compare standardised units as well."
            )


def _variances(x: Array) -> Array:
    mean = x.mean(axis=0, dtype=np.float64)
    total = np.zeros(x.shape[-1])
    for _, rows in chunks(x):
        total += np.square(rows - mean).sum(axis=0)
    return total
