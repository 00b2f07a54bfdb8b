"""Dictionaries that an analysis has finished, kept on the disk so that one that was interrupted resumes from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.arrays import chunks
from superpose.dictionaries.sae import SparseAutoencoder, load, save
from superpose.files import DataError
from superpose.running.provenance import versions

Array = NDArray[Any]
Dictionaries = dict[str, SparseAutoencoder]


def kept(
    folder: Path | None, systems: Mapping[str, Array], settings: Mapping[str, Any], train: Callable[[], Dictionaries]
) -> Dictionaries:
    """Return the dictionaries that `train` makes, or those that a folder holds of the same rows and settings.

    Parameters
    ----------
    folder : path-like or None
        Where they are kept, made if missing; None keeps nothing.
    systems : mapping of str to ndarray, (samples, units)
        What they are trained on.
    settings : mapping
        All else that they follow from, as plain JSON.
    train : callable
        Makes {system: dictionary}.
    """
    if folder is None:
        return train()
    content = {"settings": settings, "rows": {name: _digest(x) for name, x in systems.items()}, "by": versions()}
    key = hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:32]
    files = {name: folder / f"{key}-{place}.safetensors" for place, name in enumerate(systems)}
    try:
        if all(file.exists() for file in files.values()):
            return {name: load(file) for name, file in files.items()}
    except DataError:  # damaged: made anew
        pass
    made = train()
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        save(made[name], file)
    return made


def _digest(x: Array) -> str:
    found = hashlib.sha256(repr((x.shape, x.dtype.str)).encode())
    for _, rows in chunks(x):
        found.update(np.ascontiguousarray(rows).data)
    return found.hexdigest()
