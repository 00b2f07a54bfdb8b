"""What is claimed of `superpose.content`, each claim with the number that decides it."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from superpose.paper.claims import Claim, some
from superpose.paper.content.summary import (
    content_errors,
    counted,
    covered,
    errors,
    false_discoveries,
    inverted,
    width,
)

Number = Callable[[pd.DataFrame], float]
SOURCE = "beyond the paper"


# Of fewer, one pair decides a share.
PAIRS = 20


def _of(regime: str, number: Number) -> Number:
    return lambda table: number(some(table[table["regime"] == regime], f"{regime} pairs", least=PAIRS))


def _core(number: Number) -> Number:
    return _of("core", number)


def _wrong(low: float, high: float) -> Number:
    def share(table: pd.DataFrame) -> float:
        there = table[table["truth"].between(low, high)]
        return float(some(there, f"core pairs that share {low:g} to {high:g}", least=PAIRS)["wrong"].mean())

    return _core(share)


def _silent(multiple: float) -> Number:
    def share(table: pd.DataFrame) -> float:
        there = table[table["multiple"] >= multiple]
        return float(
            1 - some(there, f"core pairs of {multiple:g} k log(n/k) units or more", least=PAIRS)["told"].mean()
        )

    return _core(share)


def _worst(table: pd.DataFrame) -> float:
    hard = some(table[table["regime"] != "core"], "pairs beyond the core")
    return float(hard.groupby("regime")["wrong"].sum().max())


def _told(verdict: str, packing: str | None = None) -> Number:
    def share(table: pd.DataFrame) -> float:
        right = table["verdict"] == verdict
        return float((right if packing is None else right & (table["packing"] == packing)).mean())

    return share


def _in_order(table: pd.DataFrame) -> float:
    found = inverted(table)
    return float(
        some(found[found["told"]], "pairs of pairs in the wrong order by raw scores", least=PAIRS)["right"].mean()
    )


def _not_told(table: pd.DataFrame) -> float:
    found = some(inverted(table), "pairs of pairs in the wrong order by raw scores", least=PAIRS)
    return float(1 - found["told"].mean())


CLAIMS = (
    Claim(
        "The shared fraction of features is estimated without bias.",
        SOURCE,
        "core: |mean error|",
        _core(lambda table: abs(float(errors(table).mean()))),
        high=0.01,
    ),
    Claim(
        "It is within .05 of the truth.",
        SOURCE,
        "core: 90 % of absolute errors are below",
        _core(lambda table: float(errors(table).abs().quantile(0.9))),
        high=0.05,
    ),
    Claim(
        "So is the CKA of the latents themselves estimated without bias.",
        SOURCE,
        "core: |mean error|",
        _core(lambda table: abs(float(content_errors(table).mean()))),
        high=0.02,
    ),
    Claim(
        "90 % intervals of the shared fraction hold it.",
        SOURCE,
        "core, truths of .1 to .95: coverage of the intervals",
        _core(lambda table: covered(table, "shared", "truth")),
        low=0.86,
    ),
    Claim(
        "They are narrow.",
        SOURCE,
        "core, truths of .1 to .95: mean width",
        _core(lambda table: width(table, "shared")),
        high=0.15,
    ),
    Claim(
        "90 % intervals of the CKA of latents hold it.",
        SOURCE,
        "core, truths of .1 to .95: coverage of the intervals",
        _core(lambda table: covered(table, "content", "truth_content")),
        low=0.86,
    ),
    Claim(
        "Pairs that share .9 of their features or more get no wrong verdict.",
        SOURCE,
        "core: share of wrong verdicts",
        _wrong(0.9, 1),
        high=0.015,
    ),
    Claim(
        "Pairs that share half of their features or less get no wrong verdict.",
        SOURCE,
        "core: share of wrong verdicts",
        _wrong(0, 0.5),
        high=0.015,
    ),
    Claim("Nor do those between.", SOURCE, "core: share of wrong verdicts", _wrong(0.5, 0.9), high=0.03),
    Claim("Most can be told.", SOURCE, "core: share of pairs that are not told", _silent(0), high=0.15),
    Claim(
        "Nearly all can from three times the critical number of units on.",
        SOURCE,
        "core, units ≥ 3 k log(n/k): share of pairs that are not told",
        _silent(3),
        high=0.08,
    ),
    Claim(
        "The number of features is counted.",
        SOURCE,
        "core: share of systems whose count is within 5 %",
        _core(counted),
        low=0.8,
    ),
    Claim(
        "Shared features are told from private ones.",
        SOURCE,
        "core: mean area under the curve of true and false positives",
        _core(lambda table: float(table["told_apart"].astype(float).mean())),
        low=0.99,
    ),
    Claim(
        "The rate of false discoveries is what it is set to, .05.",
        SOURCE,
        "core, independent latents: share of private features among the significant ones",
        _core(false_discoveries),
        high=0.06,
    ),
    Claim(
        "Where raw scores put two pairs in the wrong order, content puts them in the right one.",
        SOURCE,
        "core, pairs of pairs (truths apart by .1, raw scores by .02): share in the right order, of those told",
        _core(_in_order),
        low=0.95,
    ),
    Claim(
        "And tells most of these.",
        SOURCE,
        "core, the same: share not told",
        _core(_not_told),
        high=0.15,
    ),
    Claim(
        "Beyond the core verdicts are seldom wrong.",
        SOURCE,
        "wrong verdicts in the regime that has most (of 30 at full scale)",
        _worst,
        high=1,
    ),
    Claim(
        "A rotated copy holds the same features, packed alike.",
        SOURCE,
        "share of such verdicts",
        _of("rotated", _told("same", "alike")),
        low=0.85,
    ),
    Claim(
        "Systems that saw other stimuli hold different features.",
        SOURCE,
        "share of such verdicts",
        _of("permuted", _told("different")),
        low=0.85,
    ),
    Claim(
        "Of dense Gaussian activity nothing is told.",
        SOURCE,
        "share of such verdicts",
        _of("gaussian", _told("cannot tell")),
        low=1,
    ),
)
