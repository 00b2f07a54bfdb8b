"""What the networks of Figure 5 see, and what their layers do: activations, kept between runs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.arrays import choose
from superpose.examples.corpora import CLIPART, clipart, python_help, wordnet
from superpose.examples.encoders import L6, LONGEST, PADDING_CLASS_SEPARATOR, language_layers, packaged, vision_layers
from superpose.files import DataError
from superpose.models import PREPARATIONS, Images, tokenize
from superpose.models.activations import LABELS
from superpose.store import paths, read

# Rows of a picture: 7 x 7 places.
PLACES = 49

Array = NDArray[Any]


class Inputs(NamedTuple):
    """Layers that saw the same samples, how those belong together, and which of them are held out.

    Attributes
    ----------
    systems : dict of str to numpy.ndarray, (samples, units)
    groups : numpy.ndarray, (samples,)
        The sentence or picture of every sample.
    labels : numpy.ndarray, (samples,)
        The word piece that every sample is; or its place in the picture, together with what that is about.
    test : numpy.ndarray of bool, (samples,)
    """

    systems: dict[str, Array]
    groups: Array
    labels: Array
    test: NDArray[np.bool_]


def load(inputs: str, samples: int, held_out: int, recorded: Sequence[str] = ()) -> Inputs:
    """Return the layers' activations on at least so many samples to train on and others to score on.

    They are computed once, and then read from `cache_folder()`; recorded ones are read from their stores.

    Raises
    ------
    DataError
        For an unknown kind of inputs, or one that cannot be had here or is too short; for stores of different samples.
    """
    if recorded:
        return _recorded(samples, held_out, stores=tuple(recorded))
    return choose(INPUTS, "inputs", inputs)(samples, held_out)


def listed(paths: str) -> list[str]:
    """Return the paths in a setting of a cell, which is plain text."""
    return paths.split(os.pathsep) if paths else []


def recorded_layers(stores: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the layers in folders that `superpose extract` wrote: {FOLDER.layer: (folder, array)}.

    Raises
    ------
    DataError
        If a folder holds no finished store, two are named alike, or a name has a blank in it.
    """
    found: dict[str, tuple[str, str]] = {}
    for folder in stores:
        made = {f"{Path(folder).name}.{array}": (folder, array) for array in paths(folder) if array not in LABELS}
        if any(" " in name for name in made) or made.keys() & found.keys() or not made:
            raise DataError(
                f"{folder} gives the layers {', '.join(made) or 'none'}; expected a finished store, whose name differs "
                "from those of the others and is without blanks."
            )
        found |= made
    return found


def cache_folder() -> Path:
    """Return the folder of what is computed once: SUPERPOSE_CACHE, or superpose in the user's cache folder."""
    own = os.environ.get("SUPERPOSE_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "superpose"


@cache
def _language(samples: int, held_out: int, *, text: Callable[[], list[str]], encoders: tuple[str, ...]) -> Inputs:
    """Record encoders token by token, on whole sentences in an order that their content decides."""
    ordered = sorted(text(), key=lambda sentence: hashlib.sha256(sentence.encode()).digest())
    training, unseen = _enough(ordered, samples, held_out)
    with _recording() as folder:
        found = language_layers(folder, ordered[: training + unseen], encoders=encoders)
    return Inputs(found.systems, found.groups, found.tokens, found.groups >= training)


@cache
def _vision(samples: int, held_out: int) -> Inputs:
    """Record encoders place by place, on whole drawings in an order that their content decides."""
    drawings = clipart()
    training, unseen = (-(-rows // PLACES) for rows in (samples, held_out))
    if training + unseen > len(drawings):
        raise DataError(f"{CLIPART} holds {len(drawings)} pictures; expected at least {training} + {unseen}.")
    shown = tuple(drawings[: training + unseen])
    with _recording() as folder:
        systems = vision_layers(folder, Images(CLIPART, shown, PREPARATIONS["dinov2"]), tokens="grid")
    subjects = np.unique([name.split("/")[0] for name in shown], return_inverse=True)[1]
    groups = np.repeat(np.arange(len(shown)), PLACES)
    labels = np.repeat(subjects, PLACES) * PLACES + np.tile(np.arange(PLACES), len(shown))
    return Inputs(systems, groups, labels, groups >= training)


@cache
def _recorded(samples: int, held_out: int, *, stores: tuple[str, ...]) -> Inputs:
    """Map stores of the same samples; which of these are held out is drawn, whole groups together."""
    contents = {folder: read(folder) for folder in stores}
    first = contents[stores[0]]
    if any(not np.array_equal(some[label], first[label]) for some in contents.values() for label in LABELS):
        raise DataError(f"{' and '.join(stores)} hold different samples; record the same inputs, and the same tokens.")
    systems = {name: contents[folder][array] for name, (folder, array) in recorded_layers(stores).items()}
    groups = np.unique(first["groups"], return_inverse=True)[1]
    rank = np.random.default_rng(0).permutation(int(groups.max()) + 1)[groups]
    before = np.cumsum(np.bincount(rank))
    training = int(np.searchsorted(before, samples)) + 1
    unseen = int(np.searchsorted(before, before[min(training, len(before)) - 1] + held_out)) + 1
    if unseen > len(before):
        raise DataError(f"{stores[0]} holds {before[-1]} rows; expected at least {samples} + {held_out}.")
    test = rank >= training
    if unseen == len(before):
        return Inputs(systems, groups, first["ids"], test)
    kept = np.flatnonzero(rank < unseen)
    return Inputs({name: x[kept] for name, x in systems.items()}, groups[kept], first["ids"][kept], test[kept])


@contextmanager
def _recording() -> Iterator[Path]:
    """Yield the folder of activations; processes that need the same ones wait for the one that records them."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "activations.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder / "activations"


def _enough(ordered: Sequence[str], samples: int, held_out: int) -> tuple[int, int]:
    """Return how many of the sentences hold as many word pieces to train on, and how many of the next to score on."""
    with warnings.catch_warnings(action="ignore"):  # they are cut as those that are recorded
        ids = tokenize(packaged(L6)["tokenizer.json"], ordered, length=LONGEST)["input_ids"]
    pieces = np.cumsum((~np.isin(ids, PADDING_CLASS_SEPARATOR)).sum(axis=1))
    training = int(np.searchsorted(pieces, samples)) + 1
    if training >= len(pieces) or pieces[-1] - pieces[training - 1] < held_out:
        raise DataError(f"the text has {pieces[-1]} word pieces; expected at least {samples} + {held_out}.")
    unseen = int(np.searchsorted(pieces, pieces[training - 1] + held_out)) + 1 - training
    return training, unseen


INPUTS: dict[str, Callable[[int, int], Inputs]] = {
    "language": partial(_language, text=python_help, encoders=("L6", "L3")),
    "glosses": partial(_language, text=wordnet, encoders=("L6", "L3")),
    "twin": partial(_language, text=python_help, encoders=("L6", "SRE")),
    "vision": _vision,
}
