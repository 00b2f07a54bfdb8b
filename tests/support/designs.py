"""Simulated recordings as studies have them: many images, or clips of a film, seen by a model and by noisy units.

The spectra of images and units fall as 1/rank. Two layers of a model are drawn from one distribution, so that neither
is closer to the units. In clips, ten frames share most of what they show.
"""

from dataclasses import dataclass

import numpy as np

import superpose as sp
from superpose.arrays import contiguous_folds, group_folds
from superpose.comparison.targets import scored_with
from superpose.metrics import CKA_DEBIASED, CKA_GROUPED, OLS_R, OLS_R2, RSA
from superpose.statistics import two_sided_p

LATENTS, TARGETS, FRAMES = 60, 60, 10
# Of the variance: what a clip's frames share, and what a layer shares with the images' latents.
WITHIN, SHARED = 0.8, 0.7


@dataclass(frozen=True)
class Experiment:
    """How many images or frames, how many units a layer has, and whether frames come in clips."""

    samples: int
    units: int
    clips: bool

    @property
    def groups(self):
        """The clip of each frame, or None."""
        return np.arange(self.samples) // FRAMES if self.clips else None

    def vectors(self, draw, width):
        """Independent normal coordinates, of which frames of a clip share most."""
        own = draw.normal(size=(self.samples, width))
        if not self.clips:
            return own
        clips = np.repeat(draw.normal(size=(self.samples // FRAMES, width)), FRAMES, axis=0)
        return np.sqrt(WITHIN) * clips + np.sqrt(1 - WITHIN) * own

    def signal(self, draw):
        """Return the latents of the images, and what the units answer without noise: of total variance Σ 1/rank."""
        latents = self.vectors(draw, LATENTS)
        mixing = np.random.default_rng(99).normal(size=(LATENTS, TARGETS)) / np.sqrt(TARGETS)
        return latents, (latents * spectrum(LATENTS)) @ mixing

    def draw(self, seed):
        """Return two exchangeable layers and the units, whose noise has the variance of their signal."""
        draw = np.random.default_rng((seed, self.samples))
        latents, signal = self.signal(draw)
        noise = np.sqrt(np.square(spectrum(LATENTS)).sum() / TARGETS)
        layers = {}
        for name in ("one", "other"):
            layer = self.vectors(draw, self.units)
            width = min(self.units, LATENTS)
            layer[:, :width] = np.sqrt(SHARED) * latents[:, :width] + np.sqrt(1 - SHARED) * layer[:, :width]
            layers[name] = rotated(layer * spectrum(self.units))
        return {**layers, "units": signal + noise * draw.normal(size=signal.shape)}


def rotated(layer):
    """Return the same layer on as many axes as it has samples: no metric here sees a rotation of its units."""
    return layer if layer.shape[1] <= len(layer) else layer @ np.linalg.qr(layer.T)[0]


def spectrum(width):
    """Standard deviations whose squares fall as 1/rank."""
    return np.arange(1, width + 1) ** -0.5


@dataclass(frozen=True)
class Measured:
    """Over data sets: scores and standard errors of both layers, their intervals, and p of no difference."""

    scores: np.ndarray
    errors: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray

    @property
    def row(self):
        """Mean score, its spread over data sets, mean standard error over spread, coverage, and shares of p."""
        truth, spread = self.scores.mean(), self.scores.std(axis=0, ddof=1).mean()
        tested = np.isfinite(self.p)
        return {
            "score": round(float(truth), 3),
            "spread": round(float(spread), 4),
            "ratio": round(float(self.errors.mean() / spread), 2),
            "coverage": round(float(np.mean((self.low <= truth) & (truth <= self.high))), 3),
            "positives": round(float(np.mean(self.p[tested] < 0.05)), 3) if tested.any() else float("nan"),
            "untested": round(float(np.mean(~tested)), 3),
        }


def measured(experiment, metrics, seeds):
    """Return what `compare` and `contrast` say of data sets with such seeds, by metric."""
    found = {metric.name: [] for metric in metrics}
    for seed in seeds:
        result = scored_with(
            experiment.draw(seed), "units", metrics, cv=5, test=None, groups=experiment.groups, memory=None,
            progress=None,
        )  # fmt: skip
        for metric in result.metrics:
            pair = [result.outcomes[name][metric.name] for name in ("one", "other")]
            if any(outcome.influence is None for outcome in pair):
                found[metric.name].append(np.full((3, 4), np.nan))
                continue
            sure = [result.design.drawn.uncertainty(one.score, one.influence, metric.bounds) for one in pair]
            difference, influence = pair[0].score - pair[1].score, pair[0].influence - pair[1].influence
            apart = result.design.drawn.uncertainty(difference, influence, (-np.inf, np.inf))
            p = two_sided_p(difference, apart.error, apart.groups)
            rows = [(one.score, s.error, s.low, s.high) for one, s in zip(pair, sure, strict=True)]
            found[metric.name].append([*rows, (p, *[np.nan] * 3)])
    arrays = {name: np.array(values) for name, values in found.items()}
    return {name: Measured(*np.moveaxis(x[:, :2], -1, 0), x[:, 2, 0]) for name, x in arrays.items()}


def tables_agree(experiment, metric, seed=0):
    """Say whether `measured` gives the numbers of `compare` and `contrast`."""
    (found,) = measured(experiment, [metric], [seed]).values()
    systems, groups = experiment.draw(seed), experiment.groups
    row = sp.compare(systems, metrics=[metric], pairs=[("one", "units")], groups=groups, permutations=0).iloc[0]
    contrast = sp.contrast(systems, target="units", metrics=[metric], groups=groups).iloc[0]
    ours = (found.scores[0, 0], found.errors[0, 0], found.low[0, 0], found.high[0, 0], found.p[0])
    return np.allclose(ours, (row.score, row.error, row.low, row.high, contrast.p), rtol=1e-10)


TRIALS = 4


def ceilings_measured(experiment, seeds):
    """Return the mean ceiling of scores and how often its interval holds the score that it bounds, by metric.

    That is, over data sets, the mean score of two systems of equal signals; of regressions, what the signal of the
    units reaches in the same folds.
    """
    groups, samples = experiment.groups, experiment.samples
    kernels = (CKA_DEBIASED, RSA, CKA_GROUPED)
    metrics = (*kernels, OLS_R, OLS_R2)
    folds = contiguous_folds(samples, 5) if groups is None else group_folds(groups, 5)
    found, reached = {m.name: [] for m in metrics}, {m.name: [] for m in metrics}
    for seed in seeds:
        draw = np.random.default_rng((seed, samples, 1))
        signal = experiment.signal(draw)[1]
        noise = np.sqrt(TRIALS * np.square(spectrum(LATENTS)).sum() / TARGETS)
        systems = {name: signal + noise * draw.normal(size=(TRIALS, *signal.shape)) for name in ("one", "other")}
        table = sp.ceilings.of_pairs(systems, pairs=[("one", "other")], metrics=metrics, cv=folds, groups=groups)
        means = {name: x.mean(axis=0) for name, x in systems.items()}
        scores = sp.compare(means, pairs=[("one", "other")], metrics=kernels, groups=groups, permutations=0)
        for row in table.groupby("metric").first().itertuples():
            found[row.Index].append((row.ceiling, row.ceiling_low, row.ceiling_high))
        for row in scores.itertuples():
            reached[row.metric].append(row.score)
        for name, score in zip(("ols_r", "ols_r2"), known(signal, means["other"], folds), strict=True):
            reached[name].append(score)
    rows = {}
    for name, values in found.items():
        ceiling, low, high = np.transpose(values)
        truth = float(np.mean(reached[name]))
        covered = float(np.mean((low <= truth) & (truth <= high)))
        rows[name] = {"ceiling": round(float(ceiling.mean()), 3), "reached": round(truth, 3), "coverage": covered}
    return rows


def known(signal, mean, folds):
    """Return r and R² of a signal as the prediction of a mean over trials, fold by fold."""
    found = []
    for fold in np.unique(folds):
        p, t = signal[folds == fold], mean[folds == fold]
        about_p, about_t = p - p.mean(axis=0), t - t.mean(axis=0)
        r = np.sum(about_p * about_t) / np.linalg.norm(about_p) / np.linalg.norm(about_t)
        found.append((r, 1 - np.square(t - p).sum() / np.square(about_t).sum()))
    return np.mean(found, axis=0)
