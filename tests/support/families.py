"""Simulated families of layers: what `superpose.layers` says of many data sets of which the truth is known.

Layers differ in width, so that chance takes some of them further than others.
"""

import numpy as np

import superpose as sp
from superpose.metrics import OLS_R
from superpose.statistics import median_interval

SAMPLES, WIDTHS, TARGETS, LATENTS = 60, (3, 5, 8, 12, 20), 5, 4


def unrelated(seed):
    """Layers that share nothing with the target."""
    draw = np.random.default_rng((seed, 1))
    layers = {f"layer{i}": draw.normal(size=(SAMPLES, width)) for i, width in enumerate(WIDTHS)}
    return layers, draw.normal(size=(SAMPLES, TARGETS))


def tied(seed, samples=150):
    """Two exchangeable layers that are the best, one that comes near, and three that are worse."""
    draw = np.random.default_rng((seed, 2))
    z = draw.normal(size=(samples, LATENTS))
    spread = {"one": 1.0, "other": 1.0, "near": 1.15, "third": 1.6, "fourth": 2.5, "fifth": 5.0}
    layers = {name: z + noise * draw.normal(size=z.shape) for name, noise in spread.items()}
    mixing = np.random.default_rng(99).normal(size=(LATENTS, TARGETS))
    return layers, z @ mixing + 2 * draw.normal(size=(samples, TARGETS))


def false_choices(metric, seeds, permutations):
    """Return p of the best layer, and the p that the same layer has on its own, over data sets that share nothing."""
    found = []
    for seed in seeds:
        layers, target = unrelated(seed)
        result = sp.layers(layers, target=target, metrics=[metric], permutations=permutations, progress=quiet)
        (best,) = result.best.itertuples()
        own = result.table.set_index("layer").p[best.layer]
        found.append((best.p, own))
    return np.array(found)


def choices(metric, seeds):
    """Over data sets, say which layers may be the best, and which neighbours differ (p of all at once)."""
    kept, steps, covered = [], [], []
    truth = []
    for seed in seeds:
        layers, target = tied(seed)
        result = sp.layers(layers, target=target, metrics=[metric], permutations=0, progress=quiet)
        kept.append(result.table.best_p.to_numpy() > 0.05)
        first = result.differences.iloc[0]
        steps.append(first.p < 0.05)
        covered.append((result.differences.low, result.differences.high))
        truth.append(result.differences.difference)
    truth = np.mean(truth, axis=0)
    inside = np.mean([(low <= truth) & (truth <= high) for low, high in covered])
    return np.array(kept), float(np.mean(steps)), float(inside)


def silent_units(seeds, share):
    """Return how often units without signal are taken for reliable, with that share of the responses missing."""
    found = []
    for seed in seeds:
        draw = np.random.default_rng((seed, 3))
        trials = draw.normal(size=(4, SAMPLES, TARGETS)) * np.linspace(0.5, 3, TARGETS)
        trials[2:][draw.random((2, SAMPLES, TARGETS)) < share] = np.nan
        found.append(sp.ceilings.of_units(trials).reliable.to_numpy())
    return float(np.mean(found))


def unit_ceilings(seeds):
    """Return how often the interval of a unit's ceiling holds what its signal reaches, on average, in these folds."""
    found, reached = [], []
    gain = np.linspace(0.4, 2, TARGETS)
    for seed in seeds:
        draw = np.random.default_rng((seed, 4))
        signal = gain * draw.normal(size=(3 * SAMPLES, TARGETS))
        trials = signal + 1.5 * draw.normal(size=(4, *signal.shape))
        folds = np.arange(len(signal)) % 5
        table = sp.ceilings.of_units(trials, cv=folds)
        mean = trials.mean(axis=0)
        reached.append(np.mean([_correlation(signal[folds == f], mean[folds == f]) for f in range(5)], axis=0))
        found.append((table.ceiling_low, table.ceiling_high))
    truth = np.mean(reached, axis=0)
    return float(np.mean([(low <= truth) & (truth <= high) for low, high in found]))


def unit_medians(seeds, units):
    """Return how often the interval of the median over units holds that over all units of the same images."""
    found = []
    for seed in seeds:
        draw = np.random.default_rng((seed, 5))
        z = draw.normal(size=(SAMPLES, LATENTS))
        layer = z + draw.normal(size=z.shape)
        every = z @ draw.normal(size=(LATENTS, 4_000)) + draw.gamma(2, 2, size=4_000) * draw.normal(
            size=(SAMPLES, 4_000)
        )
        truth = np.median(sp.regression(layer, every, average=None))
        some = every[:, draw.choice(4_000, units, replace=False)]
        result = sp.layers(
            {"layer": layer, "copy": layer}, target=some, metrics=[OLS_R], permutations=0, progress=quiet
        )
        row = result.table.iloc[0]
        assert (row["median"], row.median_low) == median_interval(result.units.score[: len(some.T)])[:2]
        found.append(row.median_low <= truth <= row.median_high)
    return float(np.mean(found))


def _correlation(x, y):
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return (x * y).sum(axis=0) / np.linalg.norm(x, axis=0) / np.linalg.norm(y, axis=0)


def quiet(what, done, total):
    """Say nothing."""
