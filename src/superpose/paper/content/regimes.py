"""The regimes of the study: from which settings a pair is drawn, what is done to it, and which verdicts are wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from superpose.paper.content.latents import KINDS
from superpose.paper.content.pairs import Draw, Pair, Setting, simulate
from superpose.theory import critical_units

# Shared fraction by class of truth.
CLASSES = {"same": (0.9, 1.0), "different": (0.0, 0.5), "between": (0.5, 0.9)}
# What most pairs are drawn from; dedicated units are a regime of their own.
PROJECTIONS = ("gaussian", "correlated", "learned")
EVERY = ("same", "a among b", "b among a", "in part", "different")
# A truth that "same" and "different" are both wrong of; and the shares that make "among" right.
MIDDLE, AMONG = (0.6, 0.8), (0.9, 0.8)

Drawn = Callable[[Setting, Draw], Setting]


def _as_drawn(setting: Setting, draw: Draw) -> Setting:
    return setting


def _unchanged(pair: Pair, draw: Draw) -> Pair:
    return pair


@dataclass(frozen=True)
class Regime:
    """Which settings of the core are changed, and how, and a pair after it is drawn.

    Attributes
    ----------
    setting : callable
        (setting of the core, draw) → setting.
    pair : callable
        (pair, draw) → pair.
    truths : tuple of str
        Classes of truth that pairs are drawn from, in turn.
    wrong : tuple of str, optional
        Verdicts that are wrong of any pair; None judges them by the truth.
    """

    setting: Drawn = _as_drawn
    pair: Callable[[Pair, Draw], Pair] = _unchanged
    truths: tuple[str, ...] = tuple(CLASSES)
    wrong: tuple[str, ...] | None = None


def drawn(regime: str, number: int, draw: Draw) -> tuple[Setting, Pair]:
    """Draw pair `number` of a regime.

    Parameters
    ----------
    regime : str
        Of `REGIMES`.
    number : int
        Classes of truth follow one another by it.
    draw : numpy.random.Generator
    """
    of = REGIMES[regime]
    setting = of.setting(_core(of.truths[number % len(of.truths)], draw), draw)
    return setting, of.pair(simulate(setting, draw), draw)


def is_wrong(regime: str, verdict: str, truth: float, of_a: float, of_b: float) -> bool:
    """Return whether a verdict is wrong of a pair.

    Parameters
    ----------
    regime, verdict : str
    truth, of_a, of_b : float
        Shared features as a share of both systems' (geometric mean), of a's and of b's.
    """
    wrong = REGIMES[regime].wrong
    if wrong is not None:
        return verdict in wrong
    if verdict.endswith(("a among b", "b among a")):
        inner, outer = (of_a, of_b) if verdict == "a among b" else (of_b, of_a)
        return inner < AMONG[0] or outer > AMONG[1]
    middle = MIDDLE[0] <= truth <= MIDDLE[1]
    if verdict == "same":
        return truth <= CLASSES["different"][1] or middle
    # Of nested content "different" is wrong whatever the geometric mean.
    return verdict == "different" and (truth >= CLASSES["same"][0] or middle or max(of_a, of_b) >= AMONG[0])


def is_told(verdict: str, truth: float) -> bool:
    """Return whether a verdict tells something: "in part" does not of a truth above .95 or below .3."""
    return verdict != "cannot tell" and not (verdict == "in part" and not 0.3 <= truth <= 0.95)


def _core(truth: str, draw: Draw) -> Setting:
    """Draw a setting in which features can be found, of a class of truth."""
    features = int(draw.choice([48, 64, 96, 128]))
    active = float(np.exp(draw.uniform(*np.log([0.03, 0.15]))))
    low, high = CLASSES[truth]
    setting = Setting(
        samples=int(draw.choice([5_000, 10_000])),
        features_a=features,
        features_b=features,
        shared=int(draw.integers(np.ceil(low * features), np.floor(high * features) + 1)),
        units_a=0,
        units_b=0,
        active=active,
        kind=str(draw.choice(list(KINDS))),
        projection=str(draw.choice(PROJECTIONS)),
        noise=float(draw.choice([0.0, 0.1, 0.3])),
    )
    return _sized(setting, (2, 6), (2, 6), draw)


def _sized(setting: Setting, of_a: tuple[float, float], of_b: tuple[float, float], draw: Draw) -> Setting:
    """Draw numbers of units between multiples of the critical numbers, at least .15 and at most 1 a feature."""
    a, b = (
        _units(features, setting.active, *of, draw)
        for features, of in ((setting.features_a, of_a), (setting.features_b, of_b))
    )
    return replace(setting, units_a=a, units_b=b)


def _units(features: int, active: float, low: float, high: float, draw: Draw) -> int:
    critical = float(critical_units(features, active * features))
    least = min(max(low * critical, 0.15 * features), features)
    most = max(min(high * critical, features), least)
    return round(float(np.exp(draw.uniform(np.log(least), np.log(most)))))


def _few_units(setting: Setting, draw: Draw) -> Setting:
    a, b = (round(critical * draw.uniform(1.0, 1.5)) for critical in setting.critical)
    return replace(setting, units_a=a, units_b=b)


def _few_samples(setting: Setting, draw: Draw) -> Setting:
    return replace(setting, samples=int(draw.choice([1_000, 1_500, 2_000])))


def _dense_codes(setting: Setting, draw: Draw) -> Setting:
    features = int(draw.choice([128, 256]))
    shared = round(setting.shared / setting.features_a * features)
    wider = replace(
        setting,
        features_a=features,
        features_b=features,
        shared=shared,
        active=draw.uniform(0.15, 0.2),
        samples=10_000,
    )
    return _sized(wider, (2, 4), (2, 4), draw)


def _nested(setting: Setting, draw: Draw) -> Setting:
    inner, outer = 64, int(draw.choice([128, 256]))
    return _sized(replace(setting, features_a=inner, features_b=outer, shared=inner), (2, 6), (2, 6), draw)


def _unequal_units(setting: Setting, draw: Draw) -> Setting:
    return _sized(replace(setting, active=draw.uniform(0.03, 0.06)), (4, 8), (1.0, 1.2), draw)


def _weaker_private(setting: Setting, draw: Draw) -> Setting:
    size, rate = [(1 / 3, 1.0), (1.0, 1 / 3)][int(draw.integers(2))]
    return replace(setting, size=size, rate=rate)


def _copies(setting: Setting, draw: Draw) -> Setting:
    return replace(
        setting, shared=setting.features_a, copied=float(draw.choice([0.8, 0.6, 0.4])), noise=min(setting.noise, 0.1)
    )


def _noisy(setting: Setting, draw: Draw) -> Setting:
    return replace(setting, shared=setting.features_a, noise=float(draw.choice([1.0, 2.0, 4.0])))


def _dense_private(setting: Setting, draw: Draw) -> Setting:
    return replace(setting, shared=setting.features_a, dense=0.6)


def _dense_shared(setting: Setting, draw: Draw) -> Setting:
    return replace(setting, shared=0, dense=0.6, common=True)


def _functions(pair: Pair, draw: Draw) -> Pair:
    """Give the second system maxima of two of the first one's features each."""
    z, (a, b) = pair.latents[0], pair.projections
    order = draw.permutation(z.shape[1])
    second = np.maximum(z[:, order], z[:, np.roll(order, 1)])
    y = (second @ b[:, : second.shape[1]].T).astype(np.float32)
    return replace(pair, activity=(pair.activity[0], y), latents=(z, second), projections=(a, b), shared=0)


def _rotated(pair: Pair, draw: Draw) -> Pair:
    x, (a, _) = pair.activity[0], pair.projections
    q = np.linalg.qr(draw.normal(size=(x.shape[1], x.shape[1])))[0]
    y = (x @ q.T).astype(np.float32)
    return Pair((x, y), (a, q @ a), (pair.latents[0],) * 2, pair.latents[0].shape[1])


def _permuted(pair: Pair, draw: Draw) -> Pair:
    order = draw.permutation(len(pair.activity[0]))
    return replace(
        pair,
        activity=(pair.activity[0], pair.activity[1][order]),
        latents=(pair.latents[0], pair.latents[1][order]),
        shared=0,
    )


def _gaussian(pair: Pair, draw: Draw) -> Pair:
    """Return dense Gaussian systems: a rotated copy, or others, with the units' variances."""
    x = draw.normal(size=pair.activity[0].shape) * draw.uniform(0.5, 2.0, pair.activity[0].shape[1])
    q = np.linalg.qr(draw.normal(size=(x.shape[1], x.shape[1])))[0]
    copy = draw.integers(2)
    y = x @ q.T if copy else draw.normal(size=x.shape) * draw.uniform(0.5, 2.0, x.shape[1])
    return replace(pair, activity=(x.astype(np.float32), y.astype(np.float32)))


REGIMES: dict[str, Regime] = {
    "core": Regime(truths=("same", "different", "same", "different", "between")),
    "few units": Regime(_few_units),
    "few samples": Regime(_few_samples),
    "dense codes": Regime(_dense_codes),
    "noise": Regime(lambda of, draw: replace(of, noise=0.5)),
    "rectified": Regime(lambda of, draw: replace(of, rectified=True)),
    "dedicated units": Regime(
        lambda of, draw: replace(of, units_a=of.features_a, units_b=of.features_b, projection="dedicated")
    ),
    "signed": Regime(lambda of, draw: replace(of, signed=True)),
    "nested": Regime(_nested, truths=("same",)),
    "unequal units": Regime(_unequal_units),
    "weak private": Regime(_weaker_private, truths=("different", "between")),
    "graded copies": Regime(_copies, truths=("same",), wrong=("same",)),
    "private noise": Regime(_noisy, truths=("same",), wrong=("different",)),
    "functions": Regime(pair=_functions, truths=("same",), wrong=("same",)),
    "private dense": Regime(_dense_private, truths=("same",), wrong=("same", "different")),
    "shared dense": Regime(_dense_shared, truths=("different",), wrong=("same", "different")),
    "rotated": Regime(pair=_rotated, truths=("same",)),
    "permuted": Regime(pair=_permuted),
    "gaussian": Regime(pair=_gaussian, truths=("same",), wrong=EVERY),
}
