"""Scores of pairs of layers, out of the table of Figure 5: what is drawn and judged."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

DIRECTED = ["system_a", "system_b"]
RESAMPLES = 2_000


def scores(
    table: pd.DataFrame, space: str, fit: str = "", control: str = "none", metric: str = "regression_r"
) -> pd.Series[float]:
    """Return the mean score over seeds of each pair, in both directions where the metric has two."""
    chosen = table[
        (table["space"] == space) & (table["fit"] == fit) & (table["control"] == control) & (table["metric"] == metric)
    ]
    return chosen.groupby(DIRECTED, sort=False)["score"].mean().dropna()


def beside(first: pd.Series[float], second: pd.Series[float]) -> pd.DataFrame:
    """Return two scores of the pairs that have both: columns x and y."""
    return pd.concat({"x": first, "y": second}, axis=1, join="inner")


def share_above(points: pd.DataFrame) -> tuple[float, float, float]:
    """Return the share of points whose y exceeds x, with a 95 % interval.

    Pairs that share a layer are no independent observations: layers are resampled, and a pair counts as often as both
    of its layers were drawn together (the pigeonhole bootstrap of Owen 2007).

    Examples
    --------
    >>> import pandas as pd
    >>> from superpose.paper.figure5.points import share_above
    >>> index = pd.MultiIndex.from_tuples([("a", "b"), ("b", "c"), ("a", "c")])
    >>> share_above(pd.DataFrame({"x": 0.5, "y": [0.6, 0.7, 0.8]}, index=index))
    (1.0, 1.0, 1.0)
    """
    above = (points["y"] > points["x"]).to_numpy(dtype=float)
    codes, layers = pd.factorize(np.array([list(pair) for pair in points.index]).ravel())
    ends = codes.reshape(-1, 2)
    draw = np.random.default_rng(0)
    counts = draw.multinomial(len(layers), np.full(len(layers), 1 / len(layers)), size=RESAMPLES)
    weights = counts[:, ends[:, 0]] * counts[:, ends[:, 1]]
    drawn = weights.sum(axis=1) > 0
    shares = (weights[drawn] @ above) / weights[drawn].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(above.mean()), float(low), float(high)


def kind(a: str, b: str, depths: dict[str, int]) -> str:
    """Return how two layers are related: of one network, of two at the same relative depth, or of two."""
    (one, i), (other, j) = named(a), named(b)
    if one == other:
        return "one network"
    return "two, same depth" if i * depths[other] == j * depths[one] else "two networks"


def depths(names: Iterable[str]) -> dict[str, int]:
    """Return the number of the last layer of each network."""
    found: dict[str, int] = {}
    for network, number in map(named, names):
        found[network] = max(found.get(network, 0), number)
    return found


def named(layer: str) -> tuple[str, int]:
    """Return the network and the number of a layer called L6_3, or of a recorded one called CLIP.resid_post_3.

    Recorded layers are counted from 0, and here from 1 as the others; one without a number is the first.

    Examples
    --------
    >>> from superpose.paper.figure5.points import named
    >>> named("L6_3"), named("CLIP.mlp_out_0")
    (('L6', 3), ('CLIP', 1))
    """
    number = re.search(r"_(\d+)$", layer)
    if "." in layer:
        return layer.split(".")[0], 1 + int(number[1]) if number else 1
    return layer.rsplit("_", 1)[0], int(number[1]) if number else 1
