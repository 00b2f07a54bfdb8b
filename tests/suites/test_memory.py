"""Input larger than the memory: what `compare` holds of memory-mapped files is bounded, and does not grow with them."""

import sys
import time

import numpy as np
import pytest
from child import told
from proof import proved

MIB = 2**20
LIMIT = 512 * MIB

# Anonymous memory alone: pages of a mapped file are the system's to drop.
CHILD = """
import json, resource, sys
import numpy as np
from machine import memory_watched

resource.setrlimit(resource.RLIMIT_DATA, (2 * 2**30, 2 * 2**30))  # to fail, rather than to starve the machine

with memory_watched() as held:
    import superpose as sp
    systems = {path: np.load(path, mmap_mode="r") for path in sys.argv[1:]}
    table = sp.compare(systems, permutations=0)
print(json.dumps({"peak": held.before + held.peak, "scores": table.score.tolist()}))
"""


def write(path, samples, units, seed):
    """Write float16 responses by pieces: shared latents of this file's own mixing, with noise."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(16, units)).astype(np.float32)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(samples, units))
    for start in range(0, samples, 20_000):
        rows = min(20_000, samples - start)
        z = np.random.default_rng([99, start]).normal(size=(rows, 16)).astype(np.float32)
        out[start : start + rows] = z @ mixing + rng.standard_normal((rows, units), dtype=np.float32)
    out.flush()
    return path


def compared(folder, samples, units):
    """Return the peak of anonymous memory of a process that compares two files of this shape, and their bytes."""
    files = [write(folder / f"{name}.npy", samples, units, seed) for seed, name in enumerate("ab")]
    size = sum(file.stat().st_size for file in files)
    found = told(CHILD, *files)
    assert np.isfinite(found["scores"]).all()
    for file in files:
        file.unlink()
    return found["peak"], size


@pytest.mark.skipif(sys.platform != "linux", reason="RssAnon is read from /proc")
class TestMemory:
    @pytest.mark.slow
    def test_more_input_than_is_held(self, tmp_path):
        small, _ = compared(tmp_path, 20_000, 512)
        large, size = compared(tmp_path, 120_000, 512)
        assert size > 190 * MIB
        assert large < LIMIT
        # Beyond what chunks take, a few numbers a row are held.
        assert large - small < size / 8

    @pytest.mark.slow
    def test_penalties_of_wide_systems(self, tmp_path):
        """Spectra of many folds, 768 × 768 each, are held only where partners will ask for them."""
        assert compared(tmp_path, 40_000, 768)[0] < LIMIT

    @pytest.mark.slow
    @pytest.mark.prove
    def test_p11_memory(self, tmp_path):
        start = time.perf_counter()
        peak, size = compared(tmp_path, 1_350_000, 768)
        assert size >= 4 * 10**9
        proved(
            "P11",
            time.perf_counter() - start,
            input_MiB=size // MIB,
            limit_MiB=LIMIT // MIB,
            peak_RssAnon_MiB=peak // MIB,
        )
        assert peak < LIMIT
