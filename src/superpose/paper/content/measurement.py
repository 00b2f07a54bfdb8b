"""What one cell of the study measures: a pair of known content, what is found in it, and whether that is right."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.paper.content.pairs import Pair, Setting
from superpose.paper.content.regimes import drawn, is_told, is_wrong
from superpose.sharing import Content, content

Array = NDArray[Any]

# An atom is a feature's direction beyond this cosine.
SAME = 0.8
# A feature is discovered below this rate of false discoveries.
DISCOVERY = 0.05


def measure(seed: int, *, regime: str, number: int) -> dict[str, Any]:
    """Return one row: what was drawn, what is true, what was found, and whether the verdict is wrong."""
    draw = np.random.default_rng(seed)
    setting, pair = drawn(regime, number, draw)
    found = content({"a": pair.activity[0], "b": pair.activity[1]}, seed=int(draw.integers(2**31)))
    row = found.table.iloc[0].drop(["system_a", "system_b"]).to_dict()
    held = pair.shared / pair.latents[0].shape[1], pair.shared / pair.latents[1].shape[1]
    return {
        **{f"drawn_{name}": value for name, value in asdict(setting).items()},
        "multiple": _multiple(setting),
        "truth": pair.truth,
        "truth_a": held[0],
        "truth_b": held[1],
        "truth_content": pair.alike,
        **{str(name): _plain(value) for name, value in row.items()},
        **_by_feature(pair, found),
        "wrong": is_wrong(regime, row["verdict"], pair.truth, *held),
        "told": is_told(row["verdict"], pair.truth),
    }


def _multiple(of: Setting) -> float:
    """Return the smaller of the two systems' units, in critical numbers of units."""
    a, b = of.critical
    return min(of.units_a / a, of.units_b / b)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else (float(value) if np.isfinite(value) else None)


def _by_feature(pair: Pair, found: Content) -> dict[str, Any]:
    """Return how shared and private features are told apart, over both directions.

    `told_apart` is the share of pairs of a shared and a private feature of which the shared one is predicted better
    (the area under the curve of true and false positives); `discoveries` and `false` are the features of significant
    dependence, and the private ones among them.
    """
    discoveries = false = 0
    areas, weights = [], []
    for name, projection in zip(("a", "b"), pair.projections, strict=True):
        table = found.features[found.features.system == name]
        atoms = found.found[name].dictionary
        if not len(table):
            continue
        cosines = np.abs(atoms.T @ projection) / np.maximum(np.linalg.norm(projection, axis=0), 1e-12)
        best = cosines.argmax(axis=1)
        known = cosines.max(axis=1) > SAME
        shared = best < pair.shared
        ratio = np.nan_to_num(table.ratio.to_numpy())
        discovered = (table.q < DISCOVERY).to_numpy() & known
        discoveries += int(discovered.sum())
        false += int((discovered & ~shared).sum())
        one, other = ratio[known & shared], ratio[known & ~shared]
        if len(one) and len(other):
            above = (one[:, None] > other).mean() + (one[:, None] == other).mean() / 2
            areas.append(float(above))
            weights.append(len(one) * len(other))
    return {
        "told_apart": float(np.average(areas, weights=weights)) if areas else None,
        "discoveries": discoveries,
        "false": false,
    }
