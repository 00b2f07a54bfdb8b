"""What the paper says of Figure 4, what else is so, and the numbers that decide it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from superpose.paper.claims import Claim, some
from superpose.paper.figure4.shares import ACTIVITY, SETTING, undone
from superpose.paper.summary import off_theory, over_draws, smallest_step
from superpose.theory import critical_units

# Dictionaries of fewer steps are too far from trained to tell what training gives.
STEPS = 1_000


def _trained(table: pd.DataFrame) -> pd.DataFrame:
    return some(table[table["steps"] >= STEPS], f"dictionaries of {STEPS:,} training steps or more")


def _means(table: pd.DataFrame, metric: str = "r") -> pd.DataFrame:
    """Return mean scores of trained dictionaries and of their activity, as `_wide` does."""
    return _wide(_trained(table), metric)


def _wide(table: pd.DataFrame, metric: str = "r") -> pd.DataFrame:
    """Return mean scores over draws, a column a kind, and `ratio`, units over m*."""
    here = table[table["metric"] == metric]
    wide = here.pivot_table(index=SETTING, columns="kind", values="score").reset_index()
    return wide.assign(ratio=wide["units"] / critical_units(wide["latents"].to_numpy(), wide["active"].to_numpy()))


def _within(table: pd.DataFrame, low: float, high: float, metric: str = "r") -> pd.DataFrame:
    """Return mean scores for low ≤ m/m* ≤ high, below m = n, where activity holds everything."""
    wide = _means(table, metric)
    within = wide["ratio"].between(low, high) & (wide["units"] < wide["latents"])
    return some(wide[within], f"sizes from {low:g} to {high:g} m*, below m = n")


def _least_lead(better: str, worse: str, low: float, high: float = np.inf) -> Callable[[pd.DataFrame], float]:
    def number(table: pd.DataFrame) -> float:
        wide = _within(table, low, high)
        return float((wide[better] - wide[worse]).min())

    return number


def _most_lead(better: str, worse: str, low: float, high: float = np.inf) -> Callable[[pd.DataFrame], float]:
    def number(table: pd.DataFrame) -> float:
        wide = _within(table, low, high)
        return float((wide[better] - wide[worse]).max())

    return number


def _lowest(kind: str, low: float) -> Callable[[pd.DataFrame], float]:
    def number(table: pd.DataFrame) -> float:
        wide = _means(table)
        return float(some(wide[wide["ratio"] >= low], f"sizes of {low:g} m* or more")[kind].min())

    return number


def _between(table: pd.DataFrame) -> float:
    above, below = (_least_lead(*pair, 1)(table) for pair in (("unsupervised", "raw"), ("supervised", "unsupervised")))
    return min(above, below)


def _fall(*kinds: str) -> Callable[[pd.DataFrame], float]:
    def number(table: pd.DataFrame) -> float:
        here = table[(table["metric"] == "r") & table["kind"].isin(kinds)]
        return smallest_step(over_draws(here, [*SETTING, "kind"]), "units", ["active", "kind"])

    return number


def _degraded(table: pd.DataFrame) -> float:
    """Return the smallest fall of a curve from its lowest mean for m ≥ m* to its highest for m < m*."""
    falls = []
    for _, wide in _means(table).groupby("active"):
        above, below = (
            some(wide[side], "sizes on both sides of m*") for side in (wide["ratio"] >= 1, wide["ratio"] < 1)
        )
        falls += [above[kind].min() - below[kind].max() for kind in ("raw_learned", "supervised", "unsupervised")]
    return float(np.min(falls))


def _least_undone(table: pd.DataFrame) -> float:
    trained = _trained(table)
    found = undone(trained[trained["units"] >= critical_units(trained["latents"], trained["active"])])
    return float(some(found[found["kind"] == "unsupervised"], "deflation beyond 3 standard errors")["share"].min())


def _off_law(table: pd.DataFrame) -> float:
    here = table[(table["metric"] == "r") & table["kind"].isin(["raw", "raw_learned"])]
    return off_theory(over_draws(here, [*SETTING, "kind"]))


def _margin(
    kind: str, floors: dict[int, float], means: Callable[[pd.DataFrame], pd.DataFrame] = _means
) -> Callable[[pd.DataFrame], float]:
    """Return the smallest distance of a mean score from its floor, at n = 64 and k = 4."""

    def number(table: pd.DataFrame) -> float:
        wide = means(table)
        same = wide[(wide["latents"] == 64) & (wide["active"] == 4)]
        return min(
            float(some(same[same["units"] == units], f"{units} units, n = 64 and k = 4")[kind].item()) - floor
            for units, floor in floors.items()
        )

    return number


def _lowest_match(table: pd.DataFrame) -> float:
    wide = _means(table, "mcc_dictionary")
    return float(some(wide[wide["units"] >= wide["latents"] / 4], "a unit for 4 latents")["unsupervised"].min())


def _most_dead(kind: str) -> Callable[[pd.DataFrame], float]:
    return lambda table: float(_means(table, "dead")[kind].max())


def _overfit(table: pd.DataFrame) -> float:
    kinds = ["supervised", *ACTIVITY]
    return float((_means(table, "r_train")[kinds] - _means(table)[kinds]).abs().max().max())


LEAD = "smallest lead of a mean r over m* ≤ m < n"

CLAIMS = (
    Claim(
        "Raw-activation alignment decreases with compression, of learned and of Gaussian projections.",
        "Sections 5 and 6",
        "smallest step of mean r between neighbouring sizes, plus 3 standard errors",
        _fall("raw_learned", "raw"),
        low=0,
    ),
    Claim(
        "It is consistent with Section 3, for the projections that were learned.",
        "Section 5",
        "largest |mean of r − Theorem 3.3 with the latents' covariance|, beyond 3 standard errors",
        _off_law,
        0,
        0.01,
    ),
    Claim(
        "Reconstructed-latent alignment remains near 1 throughout the CS regime.",
        "Section 5",
        "smallest mean r of supervised latents, m ≥ m*",
        _lowest("supervised", 1),
        low=0.95,
    ),
    Claim(
        "The unsupervised curve sits between raw activity and supervised latents in the CS regime.",
        "Section 6",
        f"{LEAD}: unsupervised over raw, or supervised over unsupervised",
        _between,
        low=0,
    ),
    Claim(
        "In the CS regime it is substantially above raw activity: by 0.05.",
        "Section 6",
        f"{LEAD}: unsupervised over raw",
        _least_lead("unsupervised", "raw", 1),
        low=0.05,
    ),
    Claim(
        "The cost of identifying the latent basis is small in the CS regime: at most 0.1.",
        "Section 6",
        "largest lead of a mean r over m* ≤ m < n: supervised over unsupervised",
        _most_lead("supervised", "unsupervised", 1),
        high=0.1,
    ),
    Claim(
        "Outside the CS regime all three curves degrade.",
        "Section 6",
        "smallest fall of a curve, from its lowest mean r for m ≥ m* to its highest for m < m*",
        _degraded,
        low=0,
    ),
    Claim(
        "Unsupervised dictionaries recover most of the deflated alignment, in the CS regime.",
        "Section 9",
        "smallest share of the deflation undone, m* ≤ m < n",
        _least_undone,
        low=0.5,
    ),
    Claim(
        "From 2.8 m* on, supervised latents align near 1.",
        "beyond the paper",
        "smallest mean r of supervised latents, m ≥ 2.8 m*",
        _lowest("supervised", 2.8),
        low=0.95,
    ),
    Claim(
        "Up to 1.5 m*, unsupervised latents align no better than the activity that they were found in.",
        "beyond the paper",
        "largest lead of a mean r over m ≤ 1.5 m*: unsupervised over raw",
        _most_lead("unsupervised", "raw", 0, 1.5),
        high=0.02,
    ),
    Claim(
        "From 2.8 m* on, unsupervised latents align better than activity, by 0.08.",
        "beyond the paper",
        "smallest lead of a mean r over 2.8 m* ≤ m < n: unsupervised over raw",
        _least_lead("unsupervised", "raw", 2.8),
        low=0.08,
    ),
    Claim(
        "Matching pursuit on the dictionary that was found lifts its latents, from 2.8 m* on.",
        "beyond the paper",
        "smallest lead of a mean r over 2.8 m* ≤ m < n: recoded over unsupervised",
        _least_lead("recoded", "unsupervised", 2.8),
        low=0,
    ),
    Claim(
        "Values estimated anew on the support of each code lift unsupervised latents, from 2 m* on.",
        "beyond the paper",
        "smallest lead of a mean r over 2 m* ≤ m < n: refitted over unsupervised",
        _least_lead("refitted", "unsupervised", 2),
        low=0,
    ),
    Claim(
        "Up to 2 m*, learned projections are recovered better than Gaussian ones are by matching pursuit.",
        "beyond the paper",
        "smallest lead of a mean r over m ≤ 2 m*: supervised latents over OMP",
        _least_lead("supervised", "omp", 0, 2),
        low=0,
    ),
    Claim(
        "Up to 3 m*, learned projections are easier to invert without supervision than Gaussian ones.",
        "beyond the paper",
        "smallest lead of a mean r over m* ≤ m ≤ 3 m*: unsupervised, learned over Gaussian",
        _least_lead("unsupervised_learned", "unsupervised", 1, 3),
        low=0,
    ),
    Claim(
        "Supervised dictionaries are trained well enough: r reaches 0.88, 0.96 and 0.98 at m = 24, 32 and 48.",
        "beyond the paper",
        "smallest mean r above its floor (n = 64, k = 4)",
        _margin("supervised", {24: 0.88, 32: 0.96, 48: 0.98}),
        low=0,
    ),
    Claim(
        "Unsupervised dictionaries are: r reaches 0.72, 0.82 and 0.94 at m = 24, 32 and 48.",
        "beyond the paper",
        "smallest mean r above its floor (n = 64, k = 4)",
        _margin("unsupervised", {24: 0.72, 32: 0.82, 48: 0.94}),
        low=0,
    ),
    Claim(
        "The ceiling is that of compressed sensing: matching pursuit reaches 0.95 and 0.99 at m = 32 and 48.",
        "beyond the paper",
        "smallest mean r above its floor (n = 64, k = 4)",
        _margin("omp", {32: 0.95, 48: 0.99}, _wide),
        low=0,
    ),
    Claim(
        "Unsupervised dictionaries find the true projection for m ≥ n/4.",
        "beyond the paper",
        "smallest mean |cosine| of matched columns",
        _lowest_match,
        low=0.85,
    ),
    Claim(
        "At most a tenth of their latents are dead, on Gaussian activity.",
        "beyond the paper",
        "largest mean share of dead latents",
        _most_dead("unsupervised"),
        high=0.1,
    ),
    Claim(
        "At most a tenth of their latents are dead, on learned activity.",
        "beyond the paper",
        "largest mean share of dead latents",
        _most_dead("unsupervised_learned"),
        high=0.1,
    ),
    Claim(
        "Dictionaries hold for new samples.",
        "beyond the paper",
        "largest |mean r on training samples − on new ones|, of any dictionary and size",
        _overfit,
        0,
        0.02,
    ),
)
