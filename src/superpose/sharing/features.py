"""Features of one system: found without looking at any other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import as_responses, check_moderate, chunks, group_folds, group_labels, shuffled_folds
from superpose.arrays.tensors import as_array
from superpose.dictionaries.coding.shrinkage import amounts, either_sign
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.files import DataError
from superpose.messages.notebook import counted, html, text
from superpose.messages.wording import percent
from superpose.metrics.splits import marked
from superpose.running.progress import shown
from superpose.sharing.consensus import CODING, WIDE, Consensus, Step, consensus
from superpose.sharing.encoding import Atoms, Encoder, Trained
from superpose.sharing.reduction import reproduced_components, why_reduced

Array = NDArray[Any]
Mask = NDArray[np.bool_]

# Strongest samples that are named of each feature.
STRONGEST = 5
# With fewer training samples no half can show a feature twice.
FEWEST = 100
# Rounds of learning that most searches take.
EXPECTED = 10
# Amounts that explain less than this part of the variance give way to codes of either sign that explain more.
HALF = 0.5
# Features whose directions have a smaller cosine than this are antipodes.
ANTIPODE = -0.9
# Of given atoms, as part of the activity's standard deviation over all units.
GIVEN = 0.1
# Signed codes of given atoms must leave less than this part of what amounts leave.
SIGNED = 0.5


class TooFew(DataError):
    """Samples or groups are too few to look for features in."""


@dataclass(frozen=True, eq=False)
class Features:
    """Features of one system, with the encoder of their codes.

    Activity is `codes @ dictionary.T + offset` plus a residual.

    Attributes
    ----------
    dictionary : ndarray, (units, features)
        One column per feature, of length 1: its direction among the units, as `theory` and `coding` take dictionaries.
    offset : ndarray, (units,)
        The activity at codes of 0, in the units of the activity.
    table : pandas.DataFrame
        One row per feature, in decreasing order of variance, from held-out samples: `feature`; `active`, the share of
        samples in which it is active; `sd` of its code, in the units of the activity; `halves`, the cosine between the
        two halves' atoms (NaN for given dictionaries); `variance`, the share of the activity's variance that is lost
        without it; `latent`, its number in a given dictionary, -1 for features that were found.
    settings : dict
        What was chosen from the data. `features`: how many were found; `latents` of each half's dictionary; `active`:
        mean number in a sample; `combinations`: number of further atoms found in both halves that were dropped as
        combinations of others; `signed`; `antipodes`: share of features that have one in the opposite direction, as
        both directions of a signed latent have; `explained`: share of the held-out variance; `unexplained`: what the
        halves' own dictionaries leave of their samples; `penalty`; `reduced`: why units were reduced to `components`,
        "" where they were not; `source`: "found" or "given". Beside these `samples`, `training`, `units` and `seed`.
    path : pandas.DataFrame
        One row per step of the search: latents, penalty, active, unexplained, and how many features both halves found.
        A fall of `found` as more latents are active shows where the description is no longer reproducible.
    held_out : ndarray of bool, (samples,)
        Samples not used to learn dictionaries; `sharing.decode` scores on them.
    encode : callable
        Returns the codes of valid activity.
    """

    dictionary: Array
    offset: Array
    table: pd.DataFrame
    settings: dict[str, Any]
    path: pd.DataFrame
    held_out: Mask
    encode: Encoder

    def __repr__(self) -> str:
        """Return how many there are and what they explain, in words."""
        return text(self._head, (), ".dictionary .codes(x) .decode(codes) .table .settings .path")

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the same, and the strongest features."""
        return html(self._head, (), self.table)

    @property
    def _head(self) -> str:
        of = self.settings
        where = "found in both halves of the samples" if of["source"] == "found" else "given"
        return (
            f"{counted(len(self), 'feature')} of {counted(of['units'], 'unit')}, {where}: {of['active']:.3g} active in "
            f"a sample, {percent(of['explained'])} of the held-out variance explained"
        )

    def __len__(self) -> int:
        """How many features there are."""
        return int(self.dictionary.shape[1])

    def codes(self, x: ArrayLike) -> Array:
        """Return the codes of activity, (samples, features), float32.

        Parameters
        ----------
        x : array-like, (samples, units)
            Activity of the same units, in the same units of measure.

        Raises
        ------
        DataError
            For another number of units, or values that are not finite numbers.
        """
        activity = as_responses(x)
        if activity.ndim != 2 or activity.shape[1] != len(self.offset):
            raise DataError(
                f"x has shape {activity.shape}; expected (samples, {len(self.offset)}), the units of these features."
            )
        check_moderate(activity)
        return self.encode(activity)

    def decode(self, codes: Array) -> Array:
        """Return the activity that codes stand for, (samples, units)."""
        return codes @ self.dictionary.T.astype(codes.dtype) + self.offset.astype(codes.dtype)


def features(
    x: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    dictionary: SparseAutoencoder | ArrayLike | None = None,
    test: float | ArrayLike = 0.2,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
) -> Features:
    """Find the features that are present in both of two disjoint halves of a system's samples.

    Each half learns a sparse dictionary of its own, by rounds of non-negative lasso codes and least-squares atoms; a
    feature is an atom that both find (cosine over .9) and that others do not make up for. How many latents, how many of
    them are active, and whether they are signed are chosen from the data and reported in `settings`. Activity without
    sparse structure gives none.

    Parameters
    ----------
    x : array-like, (samples, units)
        Activity of one system.
    groups : array-like, (samples,), optional
        Which samples belong together (sentence, trial, photograph); halves and test samples never split a group.
    dictionary : SparseAutoencoder or array-like (units, features), optional
        Existing features: a trained dictionary with its own encoder, or atoms in columns. None finds them.
    test : float or array of bool (samples,)
        The hold-out: a share of samples, drawn at random, or the samples themselves.
    seed : int
        Draws the split and the first atoms. The same seed and number of threads give the same bits.
    device : str or torch.device
        Where dictionaries are learned.
    progress : callable, optional
        Called with (what, rounds of learning done, rounds expected); None is as in `superpose.compare`.

    Returns
    -------
    Features

    Raises
    ------
    DataError
        For values that are not finite numbers, other than two axes, constant activity, fewer than 100 training
        samples, fewer than three groups, or a dictionary of another number of units.

    References
    ----------
    Olshausen, B. A. & Field, D. J. (1997). Sparse coding with an overcomplete basis set: a strategy employed by V1?
    Vision Research 37, 3311-3325.

    Examples
    --------
    >>> import torch, superpose as sp
    >>> draw = torch.Generator().manual_seed(0)
    >>> z = sp.systems.sparse_latents(4_000, 24, 2, generator=draw)
    >>> x = sp.systems.respond(z, sp.systems.gaussian_projection(16, 24, generator=draw))
    >>> found = sp.features(x)
    >>> len(found), found.dictionary.shape, found.codes(x).shape
    (24, (16, 24), (4000, 24))
    """
    activity = _checked(x)
    labels = None if groups is None else group_labels(groups, len(activity))
    if labels is not None and labels.max() < 2:
        raise TooFew(
            f"{int(labels.max()) + 1} group(s); expected at least three, one for each half and one to test on."
        )
    held_out = marked(len(activity), test, labels, seed)
    training = np.flatnonzero(~held_out)
    if len(training) < FEWEST:
        raise TooFew(f"{len(training)} training samples; expected at least {FEWEST} to find features twice.")
    mean = activity[training].mean(axis=0, dtype=np.float64)
    scale = float(np.sqrt(_total(activity[training], mean)))
    if not scale > 1e-12 * max(1.0, float(np.abs(mean).max())):
        raise DataError("x is constant over the training samples; expected activity that varies.")
    if dictionary is not None:
        return _given(activity, held_out, dictionary, mean, scale, seed)
    half = _halves(training, labels, seed)
    y = ((activity - mean) / scale).astype(np.float32)
    pair = (y[training[half == 0]], y[training[half == 1]])
    reduced = why_reduced(y[training])
    basis = reproduced_components(pair).astype(np.float32) if reduced else np.eye(y.shape[1], dtype=np.float32)
    parts = [torch.as_tensor(part @ basis if reduced else part, device=device) for part in pair]
    best = _best(parts, seed, _rounds(progress or shown()))
    return _described(activity, held_out, best, basis, mean, scale, reduced, seed)


def strongest(codes: Array, names: Sequence[Any] | NDArray[Any]) -> list[list[str]]:
    """Return the names of the samples in which each feature is strongest, either sign, the strongest first.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.sharing.features import strongest
    >>> strongest(np.array([[0.1, -3.0], [2.0, 0.0], [1.0, 0.5]]), ["cat", "dog", "owl"])
    [['dog', 'owl', 'cat'], ['cat', 'owl', 'dog']]
    """
    order = np.argsort(-np.abs(codes), axis=0)[:STRONGEST]
    return [[str(names[row]) for row in order[:, place]] for place in range(codes.shape[1])]


def _checked(x: Any) -> Array:
    activity = as_responses(x)
    if activity.ndim != 2:
        raise DataError(
            f"x has shape {activity.shape}; expected (samples, units), one system without repeats in front."
        )
    check_moderate(activity)
    return activity


def _halves(training: NDArray[np.int64], labels: NDArray[np.int64] | None, seed: int) -> NDArray[np.int64]:
    if labels is None:
        return shuffled_folds(len(training), 2, seed=seed)
    return group_folds(group_labels(labels[training]), 2, seed=seed)


def _total(x: Array, mean: Array) -> float:
    """Return the variance of all units together."""
    return sum(float(np.square(rows - mean).sum(dtype=np.float64)) for _, rows in chunks(x)) / len(x)


def _rounds(progress: Callable[[str, int, int], None]) -> Callable[[], None]:
    """Return what counts rounds of learning aloud; how many it will take is not known beforehand."""
    count = itertools.count(1)

    def heard() -> None:
        done = next(count)
        progress("features", done, max(done + 1, EXPECTED))

    return heard


def _best(halves: list[torch.Tensor], seed: int, heard: Callable[[], None]) -> Consensus:
    """Return what the halves share as amounts or, where that explains little, signed if this explains more.

    A signed latent and two features in opposite directions that seldom come together are the same activity. As two
    features they can be shared one by one, so that amounts are preferred where they describe it. Wide systems are not
    searched twice: it would take minutes.
    """
    found = consensus(halves, seed=seed, heard=heard)
    explained = found.explained(halves[0])
    if explained >= HALF or found.path[0].latents >= WIDE:
        return found
    signed = consensus(halves, shrink=either_sign, seed=seed, heard=heard)
    return signed if signed.explained(halves[0]) > max(HALF, explained) else found


def _described(
    activity: Array,
    held_out: Mask,
    found: Consensus,
    basis: Array,
    mean: Array,
    scale: float,
    reduced: str,
    seed: int,
) -> Features:
    atoms = found.atoms.cpu().numpy() @ basis.T
    offset = mean + scale * (found.offset.cpu().numpy() @ basis.T)
    settings = {
        "latents": found.path[-1].latents,
        "penalty": found.penalty,
        "combinations": found.combinations,
        "signed": found.shrink is either_sign,
        "antipodes": float(((atoms @ atoms.T).min(axis=1, initial=0) < ANTIPODE).mean()) if len(atoms) else 0.0,
        "unexplained": found.path[-1].unexplained,
        "components": basis.shape[1],
        "reduced": reduced,
        "source": "found",
        "seed": seed,
    }
    encode = Atoms(atoms, offset, scale, CODING * found.penalty, found.shrink)
    path = pd.DataFrame(found.path)
    return _made(activity, held_out, atoms, offset, encode, found.cosines.cpu().numpy(), settings, path)


def _given(activity: Array, held_out: Mask, dictionary: Any, mean: Array, scale: float, seed: int) -> Features:
    units = activity.shape[1]
    settings = {"components": units, "combinations": 0, "reduced": "", "source": "given"}
    settings |= {"unexplained": np.nan, "seed": seed}
    encode: Encoder
    if isinstance(dictionary, SparseAutoencoder):
        if dictionary.repeats or dictionary.units != units:
            raise DataError(
                f"dictionary has the repeats {dictionary.repeats} and {dictionary.units} units; expected none, and "
                f"the {units} units of x."
            )
        silent = np.zeros((1, dictionary.latents), dtype=np.float32)
        lengths = dictionary.dictionary.detach().norm(dim=-1) * dictionary.scale
        atoms, offset = dictionary.decoder.mT.cpu().numpy(), dictionary.decode(silent)[0].astype(np.float64)
        encode = Trained(dictionary, lengths.cpu().numpy(), np.arange(dictionary.latents))
        settings |= {"penalty": np.nan, "signed": bool((encode(activity[held_out]) < 0).any())}
    else:
        atoms, offset = _atoms(dictionary, units), mean
        encode = _better(activity[~held_out], Atoms(atoms, mean, scale, GIVEN, amounts))
        settings |= {"penalty": GIVEN, "signed": encode.shrink is either_sign}
    path = pd.DataFrame(columns=list(Step._fields))
    unknown = np.full(len(atoms), np.nan)
    return _made(activity, held_out, atoms, offset, encode, unknown, settings | {"latents": len(atoms)}, path)


def _atoms(dictionary: Any, units: int) -> Array:
    columns = as_array(dictionary, "dictionary")
    if columns.ndim != 2 or columns.shape[0] != units or columns.dtype.kind not in "iuf":
        raise DataError(
            f"dictionary has shape {columns.shape} and type {columns.dtype}; expected real numbers, (units, features) "
            f"with the {units} units of x."
        )
    lengths = np.linalg.norm(columns, axis=0)
    if not (np.isfinite(lengths).all() and lengths.all()):
        raise DataError("dictionary has columns that are zero or not finite; remove them.")
    return np.asarray((columns / lengths).T, dtype=np.float32)


def _better(x: Array, encode: Atoms) -> Atoms:
    """Return codes in given atoms as amounts or, where these leave far more of some samples, signed."""
    rows = x[:: max(1, len(x) // 2_000)]
    signed = replace(encode, shrink=either_sign)
    left, left_signed = (
        float(np.square(rows - way.offset - way(rows) @ way.atoms).sum(dtype=np.float64)) for way in (encode, signed)
    )
    return signed if left_signed < SIGNED * left else encode


def _made(
    activity: Array,
    held_out: Mask,
    atoms: Array,
    offset: Array,
    encode: Encoder,
    halves: Array,
    settings: dict[str, Any],
    path: pd.DataFrame,
) -> Features:
    """Return features from the most variance down, with their table from held-out samples."""
    rows = np.asarray(activity[held_out], dtype=np.float64)
    codes = encode(rows).astype(np.float64)
    centred = codes - codes.mean(axis=0)
    left = rows - offset - codes @ atoms
    left -= left.mean(axis=0)
    total = np.square(rows - rows.mean(axis=0)).sum()
    # By so much grows what is left when a feature's part is taken out of the reconstruction.
    lost = 2 * np.einsum("if,if->f", centred, left @ atoms.T) + np.square(centred).sum(axis=0)
    order = np.argsort(-lost, kind="stable")
    table = pd.DataFrame(
        {
            "feature": np.arange(len(order)),
            "active": (codes != 0).mean(axis=0)[order],
            "sd": codes.std(axis=0)[order],
            "halves": halves[order],
            "variance": lost[order] / total,
            "latent": order if settings["source"] == "given" else np.full(len(order), -1),
        }
    )
    described = {
        "features": len(atoms),
        "active": float((codes != 0).sum(axis=1).mean()),
        "explained": float(1 - np.square(left).sum() / total) if len(atoms) else 0.0,
        "samples": len(activity),
        "training": int((~held_out).sum()),
        "units": activity.shape[1],
    }
    columns = np.ascontiguousarray(atoms[order].T)
    return Features(columns, offset, table, settings | described, path, held_out, encode.taking(order))
