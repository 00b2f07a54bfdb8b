"""What another system holds of the features of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import as_responses, check_moderate, group_labels
from superpose.files import DataError
from superpose.sharing.decoder import Decoder, correlations, decoder
from superpose.sharing.features import Features
from superpose.sharing.loadings import Loadings, loadings
from superpose.sharing.significance import significance
from superpose.statistics import false_discovery

Array = NDArray[Any]
Index = NDArray[np.int64]

# A feature is assessable where its own system predicts it so well, and held where the other does half as well.
ASSESSABLE, HELD = 0.4, 0.5


@dataclass(frozen=True, eq=False)
class Side:
    """One system of a pair, prepared once for all its partners.

    Attributes
    ----------
    name : str
        The system's name.
    features : Features
        Its features.
    activity : ndarray, (samples, units)
        What other systems' features are looked for in; of a second repeat, where there is one.
    codes : ndarray, (samples, features)
        Codes of its features; of the first repeat, where there are two.
    decoder : Decoder
        Predicts from `activity`.
    own : ndarray, (features,)
        How well its own activity predicts its codes: the ceiling of every other system.
    within : ndarray, (samples, features) or None
        Codes less the mean of what each sample shows, NaN where that is not known.
    own_within : ndarray, (features,)
        The ceiling of those; NaN without labels.
    loadings : Loadings
        What its codes add to an activity.
    effect : ndarray, (features,)
        The share of its own activity's variance that each feature carries.
    groups : ndarray of int, (samples,) or None
        The group of each sample.
    repeated : bool
        Whether `activity` is a repeat of what the codes are of.
    """

    name: str
    features: Features
    activity: Array
    codes: Array
    decoder: Decoder
    own: Array
    within: Array | None
    own_within: Array
    loadings: Loadings
    effect: Array
    groups: Index | None
    repeated: bool = False


@dataclass(frozen=True, eq=False)
class Decoded:
    """What one system holds of another's features.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per feature, as `decode` describes it.
    directions : ndarray, (features, units of the other)
        What one unit of each feature's code adds to the other's activity: the feature's packing there.
    """

    table: pd.DataFrame
    directions: Array


def side(
    name: str,
    x: ArrayLike,
    features: Features,
    *,
    repeat: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    seed: int = 0,
) -> Side:
    """Prepare a system for `decode`: its codes, and the regression from its activity, factorised once.

    Parameters
    ----------
    name : str
        The system's name.
    x : array-like, (samples, units)
        Its activity: the samples that `features` was given, in the same order.
    features : Features
        What `sp.features` found in it.
    repeat : array-like, (samples, units), optional
        Its activity in a second repeat of the same stimuli. Codes are then those of `x`, predicted from `repeat`:
        what a repeat does not share with another is noise, and lowers own and other prediction alike.
    groups : array-like, (samples,), optional
        Which samples belong together: permutations never split groups.
    labels : array-like, (samples,), optional
        What each sample shows (word, category, place), for what remains within a label.
    seed : int
        Draws training rows and Fourier features.

    Raises
    ------
    DataError
        For activity of other units or samples than the features', or labels that never occur twice among the training
        samples.

    Examples
    --------
    >>> import numpy as np
    >>> import superpose as sp
    >>> from superpose.sharing import side
    >>> x = np.random.default_rng(0).exponential(size=(2_000, 4))
    >>> found = sp.features(x, dictionary=np.eye(4))
    >>> side("a", x, found).own.shape
    (4,)
    """
    activity = _checked(x, features, "x")
    codes = features.codes(activity)
    again = activity if repeat is None else _checked(repeat, features, "repeat")
    regression = decoder(again, features.held_out, seed=seed)
    within = None if labels is None else _within(codes, group_labels(labels, len(codes), "labels"), features.held_out)
    nothing = np.full(len(features), np.nan)
    added = loadings(codes, np.flatnonzero(~features.held_out))
    return Side(
        name,
        features,
        again,
        codes,
        regression,
        correlations(regression.predict(codes), codes[regression.held_out]),
        within,
        nothing if within is None else _predicted_within(regression, within),
        added,
        added.of(again)[1],
        None if groups is None else group_labels(groups, len(codes)),
        repeat is not None,
    )


def decode(a: Side, b: Side, *, permutations: int | None = None, seed: int = 0) -> Decoded:
    """Return which features of system a are held by system b.

    One generic regression predicts each feature's code from b's activity, and from a's own as its ceiling. No features
    of b are needed; they are named where there are any.

    Parameters
    ----------
    a, b : Side
        As `side` prepares them, with the same samples held out.
    permutations : int, optional
        How often held-out codes are permuted, in whole groups, with the maps fixed. None takes the larger of 999 and
        20 a feature; 0 tests nothing.
    seed : int
        Draws the permutations.

    Returns
    -------
    Decoded
        Columns of its table, one row per feature:

        - `system`, `other`, `feature`: a, b and the column of a's dictionary;
        - `r_self`, `r_other`: held-out correlation of the code with its prediction from a's and from b's activity;
        - `ratio`: the second over the first; `held`: whether that is over .5; `assessable`: whether `r_self` is .4 or
          more, as what a does not tell of its own feature says nothing of b;
        - `effect`, `effect_self`: the share of b's and of a's variance that the feature carries: products of two
          halves' coefficients, without bias and so below 0 at times;
        - `partner`: the feature of b whose code correlates best on training samples (-1 where b has none);
          `partner_r`: how much it does on held-out ones;
        - `within_self`, `within_other`, `within_label`: as `r_self`, `r_other` and `ratio`, of what the code adds to
          the mean of its label; NaN without labels;
        - `p` of a permutation test, and `q`, the false discovery rate over the features (Benjamini & Hochberg 1995).

        `q` tests whether b's activity is independent of the feature; a private feature that co-occurs with shared ones
        is not. `held` says how much of it b holds.

    Raises
    ------
    DataError
        If the two sides hold out other samples, or have other groups.

    Examples
    --------
    >>> import numpy as np
    >>> import superpose as sp
    >>> from superpose.sharing import decode, side
    >>> x = np.random.default_rng(0).exponential(size=(2_000, 4))
    >>> a = side("a", x, sp.features(x, dictionary=np.eye(4)))
    >>> b = side("b", x[:, :2], sp.features(x[:, :2], dictionary=np.eye(2)))
    >>> table = decode(a, b).table.sort_values("feature")
    >>> int(table.held.sum()), int((table.q < 0.05).sum())
    (2, 2)
    """
    if not np.array_equal(a.features.held_out, b.features.held_out):
        raise DataError(
            f"{a.name} and {b.name} hold out different samples; find the features of both with the same test, groups "
            "and seed."
        )
    if not np.array_equal(_grouped(a), _grouped(b)):
        raise DataError(f"{a.name} and {b.name} have different groups; give both the same.")
    predicted, truth = b.decoder.predict(a.codes), a.codes[b.decoder.held_out]
    other = correlations(predicted, truth)
    nothing = np.full(len(other), np.nan)
    within = nothing if a.within is None else _predicted_within(b.decoder, a.within)
    training = np.flatnonzero(~a.features.held_out)
    directions, effect = a.loadings.of(b.activity)
    partner, partner_r = _partners(a, b, training)
    groups = None if a.groups is None else group_labels(a.groups[b.decoder.held_out])
    p = significance(predicted, truth, groups, permutations, seed)
    table = pd.DataFrame(
        {
            "system": a.name,
            "other": b.name,
            "feature": np.arange(len(other)),
            "r_self": a.own,
            "r_other": other,
            "ratio": _ratio(other, a.own),
            "held": _ratio(other, a.own) > HELD,
            "assessable": a.own >= ASSESSABLE,
            "effect": effect,
            "effect_self": a.effect,
            "partner": partner,
            "partner_r": partner_r,
            "within_self": a.own_within,
            "within_other": within,
            "within_label": _ratio(within, a.own_within),
            "p": p,
            "q": false_discovery(p),
        }
    )
    return Decoded(table, directions)


def _grouped(of: Side) -> Index:
    return np.arange(len(of.codes)) if of.groups is None else of.groups


def _checked(x: Any, features: Features, name: str) -> Array:
    activity = as_responses(x, name)
    expected = (len(features.held_out), len(features.offset))
    if activity.shape != expected:
        raise DataError(
            f"{name} has shape {activity.shape}; expected {expected}, the samples and units of its features."
        )
    check_moderate(activity, name)
    return activity


def _ratio(other: Array, own: Array) -> Array:
    """Return other over own, NaN where a system does not predict its own."""
    return np.where(own > 0, np.maximum(other, 0) / np.where(own > 0, own, 1), np.nan)


def _within(codes: Array, labels: Index, held_out: NDArray[np.bool_]) -> Array:
    """Return codes less the training mean of their label; NaN where that label occurs less than twice in training."""
    count = int(labels.max()) + 1
    training = ~held_out
    times = np.bincount(labels[training], minlength=count)
    if not (times > 1).any():
        raise DataError("labels occur once each among the training samples; expected some that occur twice or more.")
    sums = np.zeros((count, codes.shape[1]))
    np.add.at(sums, labels[training], codes[training])
    means = np.where(times[:, None] > 1, sums / np.maximum(times, 1)[:, None], np.nan)
    # A training sample takes part in the mean that it is held against, which makes what is left of it smaller.
    grown = np.where(training, times[labels] / np.maximum(times[labels] - 1, 1), 1.0)
    return np.asarray((codes - means[labels]) * np.sqrt(grown)[:, None])


def _predicted_within(regression: Decoder, within: Array) -> Array:
    known = np.asarray(np.isfinite(within).all(axis=1))
    filled = np.where(known[:, None], within, 0.0)
    held = known[regression.held_out]
    if not held.any():
        return np.full(within.shape[1], np.nan)
    return correlations(regression.predict(filled)[held], filled[regression.held_out][held])


def _partners(a: Side, b: Side, training: Index) -> tuple[Index, Array]:
    """Return the feature of b that correlates most with each of a's in training samples, and how much held out."""
    features = len(a.features)
    if not len(b.features):
        return np.full(features, -1), np.full(features, np.nan)

    def standard(codes: Array) -> Array:
        centred = codes - codes.mean(axis=0, dtype=np.float64)
        return centred / np.maximum(np.linalg.norm(centred, axis=0), 1e-12)

    best = np.argmax(standard(a.codes[training]).T @ standard(b.codes[training]), axis=1)
    held = a.features.held_out
    return best, correlations(a.codes[held], b.codes[held][:, best])
