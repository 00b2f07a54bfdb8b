"""Do 95 % intervals hold the truth in 95 % of experiments? Simulated ones, of which the truth is known.

Two systems y = A z + e. The truth of debiased CKA and RSA is their population value: Theorem 3.2 with the covariance of
the features, and the noise. That of held-out regression is the mean population score of models that were fitted on
N (1 − 1/5) samples: of the weights of each experiment, in closed form, averaged over experiments. R² takes the targets'
variance about the mean of the held-out fold, which is less than that of the population.
"""

import time
from dataclasses import dataclass

import numpy as np
import pytest
from proof import proved
from scipy.stats import kstest

import superpose as sp
from superpose.arrays import group_folds, shuffled_folds
from superpose.metrics import CKA_DEBIASED, CKA_GROUPED, OLS_R, OLS_R2, RSA

METRICS = (CKA_DEBIASED, CKA_GROUPED, RSA, OLS_R, OLS_R2)
ALLOWED = {
    "cka_debiased": (0.93, 0.97),
    "cka_grouped": (0.93, 0.98),
    "rsa": (0.93, 0.97),
    "ols_r": (0.92, 0.98),
    "ols_r2": (0.92, 0.98),
}
# Pairs of samples within a group bias scores that count them, the more the fewer groups: what the documentation says.
SHORT = {("groups", 200): (0.76, 0.9), ("groups", 2000): (0.91, 0.96)}
BIASED = ("cka_debiased", "rsa")
UNITS, FEATURES, ACTIVE, NOISE = (12, 10), 24, 3, 0.5
# Rows that one feature vector is seen in.
SCENARIOS = {"gaussian": 1, "sparse": 1, "groups": 4}


@dataclass(frozen=True)
class World:
    """Two projections, and the covariance of what they see."""

    a: np.ndarray
    b: np.ndarray
    sparse: bool
    rows: int

    @classmethod
    def of(cls, scenario):
        a, b = (
            np.random.default_rng(i).normal(size=(units, FEATURES)) / FEATURES**0.5 for i, units in enumerate(UNITS)
        )
        return cls(a, b, scenario != "gaussian", SCENARIOS[scenario])

    def draw(self, samples, draw):
        """Return two systems, and the group of each sample."""
        vectors = samples // self.rows
        z = draw.normal(size=(vectors, FEATURES))
        if self.sparse:
            # Signed and independent of each other, so that their covariance is a multiple of the identity.
            z *= (draw.random((vectors, FEATURES)) < ACTIVE / FEATURES) * (FEATURES / ACTIVE) ** 0.5
        z = np.repeat(z, self.rows, axis=0)
        x, y = (z @ p.T + NOISE * draw.normal(size=(samples, len(p))) for p in (self.a, self.b))
        return x, y, np.repeat(np.arange(vectors), self.rows)

    @property
    def covariances(self):
        """Those of x, of x with y, and of y."""
        noise = NOISE**2
        return (
            self.a @ self.a.T + noise * np.eye(len(self.a)),
            self.a @ self.b.T,
            self.b @ self.b.T + noise * np.eye(len(self.b)),
        )

    @property
    def alignment(self):
        """Population CKA, and with it RSA."""
        xx, xy, yy = self.covariances
        return np.square(xy).sum() / np.linalg.norm(xx) / np.linalg.norm(yy)

    def regression(self, x, y, folds):
        """Mean population r and R² of the weights fitted without each fold."""
        xx, xy, yy = self.covariances
        found = []
        for fold in np.unique(folds):
            train = folds != fold
            design = np.column_stack([np.ones(train.sum()), x[train]])
            intercept, *w = np.linalg.lstsq(design, y[train])[0]
            fit, prediction = np.sum(w * xy), np.trace(np.transpose(w) @ xx @ w)
            residual = np.trace(yy) - 2 * fit + prediction + intercept @ intercept
            found.append((fit / np.sqrt(prediction * np.trace(yy)), 1 - residual / np.trace(yy)))
        r, r2 = np.mean(found, axis=0)
        # Share of the targets' variance that the mean of a fold takes with it.
        share = (np.square(self.b).sum() / np.trace(yy) * (1 - 1 / self.rows) + 1 / self.rows) / (
            len(x) / self.rows / 5
        )
        return r, 1 - (1 - r2) / (1 - share)


def covered(scenario, samples, experiments):
    """Return the coverage of the intervals, by metric."""
    world = World.of(scenario)
    intervals, fitted = {metric.name: [] for metric in METRICS}, []
    for number in range(experiments):
        x, y, groups = world.draw(samples, np.random.default_rng((samples, number)))
        grouped = {"groups": groups} if world.rows > 1 else {}
        table = sp.compare({"x": x, "y": y}, metrics=METRICS, permutations=0, **grouped)
        for row in table[table.system_a == "x"].itertuples():
            intervals[row.metric].append((row.low, row.high))
        fitted.append(world.regression(x, y, group_folds(groups, 5, seed=0) if grouped else shuffled_folds(samples, 5)))
    r, r2 = np.mean(fitted, axis=0)
    truth = dict.fromkeys(ALLOWED, world.alignment) | {"ols_r": r, "ols_r2": r2}
    return {
        name: float(np.mean([low <= truth[name] <= high for low, high in found])) for name, found in intervals.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_intervals_hold_the_truth(scenario):
    # A few hundred groups, of whatever size.
    found = covered(scenario, 400 * SCENARIOS[scenario], 150)
    for name, share in found.items():
        low, high = ALLOWED[name]
        # Standard error of a share of .95 among 150 is .018.
        assert low - 3 * 0.018 <= share <= min(high + 3 * 0.018, 1), (name, share)


@pytest.mark.prove
@pytest.mark.slow
@pytest.mark.parametrize("samples", [200, 2000])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_intervals_hold_the_truth_in_full(scenario, samples):
    started = time.monotonic()
    found = covered(scenario, samples, 1000)
    shares = {name: round(share, 3) for name, share in found.items()}
    proved("intervals", time.monotonic() - started, engine=f"{scenario}, {samples} samples", experiments=1000, **shares)
    for name, share in found.items():
        low, high = ALLOWED[name]
        if (scenario, samples) in SHORT:
            # The intervals of regressions are wide rather than narrow with few groups.
            short = dict.fromkeys(BIASED, SHORT[scenario, samples])
            low, high = (low, 1.0) if name.startswith("regression") else short.get(name, (low, high))
        assert low <= share <= high, (name, share)


def uniform(experiments, permutations):
    """Return the p-value of the hypothesis that permutation p is uniform under the null, by metric."""
    draw = np.random.default_rng(0)
    found = {metric.name: [] for metric in METRICS}
    for _ in range(experiments):
        x, y = draw.normal(size=(2, 60, 3))
        table = sp.compare({"x": x, "y": y}, metrics=METRICS, permutations=permutations)
        for row in table[table.system_a == "x"].itertuples():
            found[row.metric].append(row.p)
            assert row.p >= 1 / (1 + permutations)
    return {name: float(kstest(p, "uniform").pvalue) for name, p in found.items()}


@pytest.mark.prove
@pytest.mark.slow
def test_p_is_uniform_in_full():
    started = time.monotonic()
    found = {name: round(p, 3) for name, p in uniform(100, 999).items()}
    proved("null", time.monotonic() - started, experiments=100, re_pairings=999, **found)
    assert min(found.values()) > 0.001
