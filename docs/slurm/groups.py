"""All pairs of recorded layers, a group of pairs a cell: `python groups.py 3/40` measures the third of 40 shares."""

import sys
from itertools import combinations
from pathlib import Path

import superpose as sp
from superpose.comparison import bytes_of, tiles

MEMORY = "64GB"


def measure(seed, group):
    """Score the pairs of one group, of which only the layers are read."""
    files = layers()
    pairs = grouped(files)[group]
    systems = {name: sp.read(files[name]) for pair in pairs for name in pair}
    table = sp.compare(systems, pairs=pairs, memory=MEMORY, interval_samples=20_000, seed=seed, permutations=0)
    return table.to_dict(orient="records")


def layers():
    """Return the files by name."""
    return {path.stem: path for path in sorted(Path("layers").glob("*.npy"))}


def grouped(files):
    """Return the groups of pairs whose sums, of five folds, fit into the memory."""
    units = {name: sp.read(path).shape[1] for name, path in files.items()}
    return tiles(list(combinations(files, 2)), units, 5, bytes_of(MEMORY))


if __name__ == "__main__":
    from groups import measure as measurement  # by its module's name, as workers import it

    cells = sp.grid(group=range(len(grouped(layers()))))
    sp.Study("groups", measurement, cells).run("groups", shard=sys.argv[1])
