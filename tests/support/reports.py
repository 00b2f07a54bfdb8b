"""Invented tables of content and features of the full shape, for reports of any number of systems."""

import itertools

import numpy as np
import pandas as pd
from plotted import scores

from superpose.sharing.sentences import sentences

KINDS = ("same", "in part", "different", "cannot tell", "among")
PACKINGS = ("alike", "differently", "cannot tell", "")


def pair_row(a, b, draw, count):
    kind, content = draw.choice(KINDS), draw.uniform(0.2, 0.95)
    verdict = f"{a} among {b}" if kind == "among" else str(kind)
    return {
        "system_a": a, "system_b": b, "features_a": count, "features_b": count, "explained_a": 0.9, "explained_b": 0.8,
        "held_by_b": draw.uniform(), "held_by_a": draw.uniform(),
        "shared": content, "shared_low": content - 0.1, "shared_high": content + 0.05,
        "content": content, "content_low": content - 0.1, "content_high": content + 0.05,
        "raw": content / 2, "packed": content / 2 + 0.02, "unexplained": -0.02, "gram_cosine": 0.5,
        "residual_a": 0.5, "residual_b": 0.4, "ratio": 0.9, "verdict": verdict, "packing": str(draw.choice(PACKINGS)),
        "why": "too little is explained" if kind == "cannot tell" else "",
    }  # fmt: skip


def side_rows(system, other, draw, count):
    own = draw.uniform(0.7, 1, count)
    there = own * draw.uniform(0, 1, count)
    return pd.DataFrame(
        {
            "system": system, "other": other, "feature": np.arange(count), "r_self": own, "r_other": there,
            "ratio": there / own, "held": there / own > 0.5, "assessable": True, "effect": 0.02, "effect_self": 0.03,
            "partner": 3, "partner_r": 0.8, "within_self": np.nan, "within_other": np.nan, "within_label": np.nan,
            "p": 0.001, "q": 0.002, "active": 0.05, "sd": 1.0, "halves": 0.99,
            "variance": np.sort(draw.uniform(0, 0.1, count))[::-1],
            "samples": [[f"word {i}", "dog"] for i in range(count)],
        }
    )  # fmt: skip


def invented(names, features=40, seed=0):
    """Return what `superpose.report.page` takes for all pairs of systems of these names."""
    draw = np.random.default_rng(seed)
    pairs = list(itertools.combinations(names, 2))
    content = pd.DataFrame([pair_row(a, b, draw, features) for a, b in pairs])
    sides = [side_rows(one, other, draw, features) for a, b in pairs for one, other in ((a, b), (b, a))]
    return {
        "title": "Invented systems",
        "content": content.assign(told=[sentences(content.iloc[[i]]) for i in range(len(content))]),
        "features": pd.concat(sides, ignore_index=True),
        "table": scores(pairs, spaces=("raw",), control=False),
        "sentences": [f"{a} and {b}: held-out r is 0.5." for a, b in pairs],
        "warnings": ["One unit carries 60 %."],
        "settings": {
            "seed": 0,
            "permutations": 999,
            "split": "cv=5",
            "features": {"samples": 500, "test_samples": 100},
        },
    }
