"""What the paper says of Figure 5, what else is so, and the numbers that decide it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from superpose.paper.claims import Claim, some
from superpose.paper.figure5.points import beside, scores, share_above

Number = Callable[[pd.DataFrame], float]
Line = tuple[str, str, str]
JOINT = "pairwise"
RAW: Line = ("raw", "", "none")
LATENT: Line = ("latent", JOINT, "none")


# Fewer samples and steps leave dictionaries, and samples of one label, too far from what training gives.
SAMPLES, STEPS = 10_000, 500


def _sampled(table: pd.DataFrame) -> pd.DataFrame:
    return some(table[table["samples"] >= SAMPLES], f"scores of {SAMPLES:,} training samples or more")


def _trained(table: pd.DataFrame) -> pd.DataFrame:
    return some(_sampled(table)[table["steps"] >= STEPS], f"dictionaries of {STEPS:,} training steps or more")


def _scores(table: pd.DataFrame, line: Line, metric: str = "regression_r") -> pd.Series[float]:
    """Return the scores of a line, with dictionaries that are trained."""
    space, fit, control = line
    found = scores(_trained(table), space, fit, control, metric=metric)
    return some(found, f"scores of {space} ({', '.join(filter(None, (fit, control)))})")


def _share(better: Line, worse: Line, metric: str = "regression_r") -> Number:
    return lambda table: share_above(beside(_scores(table, worse, metric), _scores(table, better, metric)))[0]


def _lead(better: Line, worse: Line) -> Number:
    """Return the smallest lead of one line over another, among pairs that have both: the mean of both directions."""

    def number(table: pd.DataFrame) -> float:
        lines = beside(_scores(table, worse), _scores(table, better))
        unordered = ["-".join(sorted(pair)) for pair in lines.index.to_list()]
        return float((lines["y"] - lines["x"]).groupby(unordered).mean().min())

    return number


def _largest(*lines: Line) -> Number:
    return lambda table: float(pd.concat([_scores(table, line) for line in lines]).abs().max())


def _apart(first: Line, second: Line, metric: str) -> Number:
    def number(table: pd.DataFrame) -> float:
        both = beside(_scores(table, first, metric), _scores(table, second, metric))
        return float((both["x"] - both["y"]).abs().max())

    return number


def _kept_within_labels(table: pd.DataFrame) -> float:
    sampled = _sampled(table)
    both = beside(scores(sampled, *RAW), scores(sampled, "raw", control="within_labels"))
    return float((some(both, "samples permuted within labels")["y"] / both["x"]).max())


def _dropped(table: pd.DataFrame) -> float:
    """Return the largest ratio of a layer's unexplained variance: in joint dictionaries, over one of its own."""
    left, trained = {}, _trained(table)
    for fit in (JOINT, "independent"):
        latent = trained[(trained["space"] == "latent") & (trained["control"] == "none")]
        rows = some(latent[latent["fit"] == fit], f"{fit} dictionaries")
        sides = [rows[[f"system_{side}", f"fvu_{side}"]].set_axis(["layer", "fvu"], axis=1) for side in "ab"]
        left[fit] = pd.concat(sides).groupby("layer")["fvu"].mean()
    return float(np.nanmax(left[JOINT] / left["independent"]))


CLAIMS = (
    Claim(
        "For the majority of pairs and layers, latent alignment exceeds raw alignment.",
        "Section 7",
        "share of directed pairs whose joint latents predict better than activity does (held-out r)",
        _share(LATENT, RAW),
        low=0.5,
    ),
    Claim(
        "So it does for reconstructions, which are in superposition by construction.",
        "Section 7",
        "share of directed pairs whose joint latents predict better than their reconstructions do",
        _share(LATENT, ("reconstruction", JOINT, "none")),
        low=0.5,
    ),
    Claim(
        "In reconstructions the theory must apply: their CKA is the closed form on decoders and codes.",
        "Section 7",
        "largest |CKA of reconstructions − Theorem 3.2 with the codes' covariance|",
        _apart(("reconstruction", JOINT, "none"), ("closed_form", JOINT, "none"), "cka"),
        high=1e-3,
    ),
    Claim(
        "It holds unit by unit as well.",
        "beyond the paper",
        "share of directed pairs whose mean r over latents exceeds that over units",
        _share(LATENT, RAW, "regression_r_units"),
        low=0.5,
    ),
    Claim(
        "It holds for dictionaries that were trained apart.",
        "beyond the paper",
        "share of directed pairs whose independent latents predict better than activity does",
        _share(("latent", "independent", "none"), RAW),
        low=0.5,
    ),
    Claim(
        "It holds for one dictionary of all layers.",
        "beyond the paper",
        "share of directed pairs whose latents predict better than activity does",
        _share(("latent", "all", "none"), RAW),
        low=0.5,
    ),
    Claim(
        "Joint training alone makes nothing alike: shuffled pairs give no alignment.",
        "beyond the paper",
        "largest |r| of latents of dictionaries trained on shuffled pairs",
        _largest(("latent", "all", "shuffled_fit")),
        high=0.03,
    ),
    Claim(
        "Selection of shared directions does not account for it.",
        "beyond the paper",
        "smallest lead of joint latents over linear selection at equal variance explained",
        _lead(LATENT, ("linear_selection", JOINT, "none")),
        low=0,
    ),
    Claim(
        "A nonlinear encoder does not account for it.",
        "beyond the paper",
        "smallest lead, in predicting activity, of joint latents over a nonlinear function of activity",
        _lead(("latent_to_raw", JOINT, "none"), ("nonlinear", "", "none")),
        low=0,
    ),
    Claim(
        "What a sample shows does not account for it: little alignment is left among samples of one label.",
        "beyond the paper",
        "largest share of raw r that is left when samples are permuted within labels (a word; a place and subject)",
        _kept_within_labels,
        high=0.8,
    ),
    Claim(
        "With the noise of the dictionaries divided out, independent latents align better than untrained ones do.",
        "beyond the paper",
        "smallest lead of corrected r over that of untrained dictionaries",
        _lead(("corrected", "independent", "none"), ("corrected", "independent", "untrained")),
        low=0.05,
    ),
    Claim(
        "Trained dictionaries align better than untrained ones.",
        "beyond the paper",
        "smallest lead of joint latents over untrained ones",
        _lead(LATENT, ("latent", JOINT, "untrained")),
        low=0,
    ),
    Claim(
        "Sparse codes align better than as many principal components a sample.",
        "beyond the paper",
        "smallest lead of joint latents over the largest principal components",
        _lead(LATENT, ("pca_code", "", "none")),
        low=0,
    ),
    Claim(
        "Where the premises hold it is superposition: two packings of one layer's codes align better in latents.",
        "beyond the paper",
        "smallest lead of latents over activity, in planted packings",
        _lead(("latent", JOINT, "planted"), ("raw", "", "planted")),
        low=0,
    ),
    Claim(
        "There, raw alignment is what the theory says.",
        "beyond the paper",
        "largest |debiased CKA − Theorem 3.2 with the codes' covariance| of planted packings",
        _apart(("raw", "", "planted"), ("predicted", "", "planted"), "cka_debiased"),
        high=0.02,
    ),
    Claim(
        "Joint dictionaries keep what a layer does not share.",
        "beyond the paper",
        "largest ratio of variance unexplained: jointly over alone",
        _dropped,
        high=1.1,
    ),
    Claim(
        "One dictionary of all layers scores as dictionaries of pairs do.",
        "beyond the paper",
        "largest |r of latents, all layers together − pair by pair|",
        _apart(("latent", "all", "none"), LATENT, "regression_r"),
        high=0.02,
    ),
)
