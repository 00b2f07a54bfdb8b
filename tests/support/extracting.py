"""A folder of layers, as `superpose extract` writes it."""

import numpy as np

from superpose import store


def extracted(folder, per_sample, *, layers=("first", "second"), names=True, seed=0, samples=40):
    """Write layers as the command does: `per_sample` rows per sample."""
    groups = np.repeat(np.arange(samples), per_sample)
    draw = np.random.default_rng(seed)
    arrays = {name: draw.normal(size=(len(groups), 5)).astype(np.float32) for name in layers}
    store.build(folder, {"seed": seed}, 1, lambda i: {**arrays, "groups": groups, "ids": np.full(len(groups), -1)})
    if names:
        (folder / "stimuli.txt").write_text("\n".join(f"s{i}" for i in range(samples)) + "\n")
        (folder / "extract.json").write_text("{}")
    return folder
