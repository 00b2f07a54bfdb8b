"""Tables of scores through every door, kept as files: `python tests/support/golden_tables.py` writes them anew.

A difference from the kept tables is a change of what users get: it is explained in the changelog, or mended.
"""

from pathlib import Path

import numpy as np

import superpose as sp
from superpose.analysis import raw

FOLDER = Path(__file__).parent.parent / "golden"
NUMBERS = ["score", "low", "high", "error", "null", "null_low", "null_high", "p", "p_adjusted", "calibrated"]


def systems():
    """Three systems of 150 samples, 30 groups of 3 to 7, from streams that every NumPy version reproduces."""
    stream = np.random.RandomState
    sizes = stream(9).permutation(np.tile([3, 4, 5, 6, 7], 6))
    groups = np.repeat(np.arange(30), sizes)
    latents = stream(0).randn(30, 12)[groups] + stream(1).randn(len(groups), 12)
    units = {"a": 8, "b": 10, "c": 6}
    mixed = {name: latents @ stream(2 + i).randn(12, m) for i, (name, m) in enumerate(units.items())}
    return {name: x + stream(7 + i).randn(*x.shape) for i, (name, x) in enumerate(mixed.items())}, groups


def doors():
    """Each door's table, by name."""
    arrays, groups = systems()
    mask = np.arange(len(groups)) % 5 == 4
    by_group = groups % 5 == 4
    trials = {name: np.stack([x, x + 0.5 * np.random.RandomState(20 + i).randn(*x.shape)])
              for i, (name, x) in enumerate(arrays.items())}  # fmt: skip
    return {
        "compare": sp.compare(arrays, permutations=0),
        "compare_permuted": sp.compare(arrays, permutations=19),
        "compare_grouped": sp.compare(arrays, groups=groups, permutations=19),
        "compare_split": sp.compare(arrays, test=mask, permutations=19),
        "compare_all": sp.compare(arrays, metrics=sp.metrics.ALL, permutations=0),
        "analyse_raw": raw(arrays, test=by_group, groups=groups, permutations=19).table,
        "analyse": sp.analyse(
            arrays, latents=16, active=2, training={"steps": 20}, test=by_group, groups=groups, permutations=0
        ).table,
        "contrast": sp.contrast(arrays, target="c"),
        "partition": sp.partition(arrays, target="c"),
        "ceilings": sp.ceilings.of_pairs(trials),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, table in doors().items():
        table.to_csv(FOLDER / f"{name}.csv", index=False, float_format="%.12g")
