"""What a reader of the scores must know about the data and the fits behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.arrays import chunks
from superpose.statistics import FEWEST

Array = NDArray[Any]

NEAR_ZERO = 0.03
QUALITY = ["system", "fvu", "dead"]


def caveats(
    table: pd.DataFrame, arrays: Mapping[str, Array], dropped: Mapping[str, list[int]], latents: int
) -> Iterator[str]:
    """Yield every warning that the data and the table call for, the gravest first.

    `arrays` are without the units that `dropped` lists by system.
    """
    training = int(table.training_samples.iloc[0])
    yield from _nulls(table)
    yield from _controls(table)
    yield from _reconstructions(table)
    yield from _rows(training, latents, arrays)
    yield from _dominant_units(arrays, dropped)
    for name, units in dropped.items():
        shown = ", ".join(map(str, units[:8])) + (" …" if len(units) > 8 else "")
        yield f"{name}: {len(units)} unit(s) are constant over the samples and were dropped: {shown}."


def _nulls(table: pd.DataFrame) -> Iterator[str]:
    shuffled = table[(table.control == "shuffled_fit") & table.metric.isin(["cka_debiased", "rsa", "regression_r"])]
    beyond = (shuffled.score.abs() > NEAR_ZERO) & ((shuffled.low > 0) | (shuffled.high < 0))
    for row in shuffled[beyond].itertuples():
        yield (
            f"{row.system_a} and {row.system_b}: {row.metric} of the {row.space} space is {row.score:.3f} with "
            "shuffled pairs, not near zero: part of its score needs no shared content."
        )


def _controls(table: pd.DataFrame) -> Iterator[str]:
    recovered = table[(table.space == "latent") & table.score.notna()]
    if len(recovered) and "shuffled_fit" not in set(recovered.control):
        yield (
            f"Fewer than {FEWEST} re-pairings of the training or of the held-out groups: there is no shuffled control, "
            "and nothing shows what joint training alone does. Name smaller groups, or give more of them."
        )


def _reconstructions(table: pd.DataFrame) -> Iterator[str]:
    own = table[(table.control == "none") & (table.space == "latent")]
    sides = [own[[f"{what}_{side}" for what in ("system", "fvu", "dead")]].set_axis(QUALITY, axis=1) for side in "ab"]
    for name, rows in pd.concat(sides).groupby("system", sort=False):
        fvu, dead = rows.fvu.max(), rows.dead.max()
        if fvu > 0.5:
            yield (
                f"{name}: its dictionary leaves {fvu:.0%} of the variance of held-out rows unexplained; the latent "
                "scores are about the rest only."
            )
        if dead > 0.2:
            yield f"{name}: {dead:.0%} of its latents are never active; use fewer, or train longer."


def _rows(training: int, latents: int, arrays: Mapping[str, Array]) -> Iterator[str]:
    if 2 * latents <= training < 16 * latents:
        yield (
            f"{training} training rows for {latents} latents (fewer than 16 a latent): dictionaries fit noise; take "
            "the latent scores as lower bounds, or use fewer latents."
        )
    for name, x in arrays.items():
        if x.shape[-1] > training / 4:
            yield (
                f"{name}: {x.shape[-1]} units with {training} training rows; held-out regression from it is low for "
                "want of rows, not for want of shared content."
            )


def _dominant_units(arrays: Mapping[str, Array], dropped: Mapping[str, list[int]]) -> Iterator[str]:
    for name, x in arrays.items():
        variance = _variances(x)
        share = variance / variance.sum()
        if x.shape[-1] > 2 and share.max() > 0.5:
            gone = dropped.get(name, [])
            unit = np.delete(np.arange(len(share) + len(gone)), gone)[share.argmax()]
            yield (
                f"{name}: unit {unit} carries {share.max():.0%} of the variance and dominates every "
                "score; compare standardised units as well."
            )


def _variances(x: Array) -> Array:
    mean = x.mean(axis=0, dtype=np.float64)
    total = np.zeros(x.shape[-1])
    for _, rows in chunks(x):
        total += np.square(rows - mean).sum(axis=0)
    return total
