"""Folders that `superpose extract` wrote: their layers are systems, and rows of one sample belong together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError, lines
from superpose.recordings.numpyfiles import STIMULI
from superpose.store import MANIFEST
from superpose.store import paths as paths_of_store

Array = NDArray[Any]

RECORD = "extract.json"
# The files or sentences of samples that go by other ids, and where the token of each row stands in its sentence.
INPUTS, SPANS = "inputs.txt", "spans.npy"


class Extracted(NamedTuple):
    """The files of one folder: of its layers, and what stands beside them."""

    folder: Path
    layers: list[Path]
    groups: Path
    others: list[Path]

    @property
    def samples(self) -> Array:
        """The number of the sample that each row is of, (rows,)."""
        return np.asarray(np.load(self.groups, allow_pickle=False))

    @property
    def names(self) -> Array | None:
        """The name of the sample that each row is of, (rows,), where the folder names them."""
        file = self.folder / STIMULI
        if not file.is_file():
            return None
        names, samples = np.array(lines(file)), self.samples
        if len(names) != samples.max() + 1:
            raise DataError(
                f"{file} has {len(names)} line(s) for {samples.max() + 1} samples; expected one for each. Repeat the "
                "command that extracted them, which writes it again."
            )
        return names[samples]


def opened(folder: Path) -> Extracted | None:
    """Return what a folder holds, or None if no layers were extracted to it.

    Raises
    ------
    DataError
        For a folder that is damaged, or not finished.
    """
    if not (folder / MANIFEST).is_file():
        return None
    files = paths_of_store(folder)
    if not files:
        raise DataError(f"{folder} is not finished; repeat the command that extracted it, which resumes.")
    if not {"groups", "ids"} <= files.keys():
        return None
    layers = [path for name, path in files.items() if name not in ("groups", "ids")]
    beside = [files["ids"], *(folder / name for name in (STIMULI, INPUTS, SPANS, RECORD, MANIFEST))]
    return Extracted(folder, layers, files["groups"], [files["groups"], *beside])


def around(file: Path) -> Extracted | None:
    """Return what the folder of a file holds, as `opened` does; a manifest of somebody else's is none of ours."""
    try:
        return opened(file.parent)
    except DataError:
        if (file.parent / RECORD).exists():
            raise
        return None


def expanded(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the files of layers in place of folders, without what stands beside them, and what to say of that.

    A pattern such as FOLDER/* also meets the groups, ids and names of samples of such a folder: none is a system.
    """
    known = cache(opened)
    beside_it = cache(around)
    found: list[Path] = []
    beside: dict[Path, list[str]] = {}
    for path in paths:
        own = known(path) if path.is_dir() else beside_it(path)
        if own is not None and path.is_dir():
            found += own.layers
        elif own is not None and path in own.others:
            beside.setdefault(own.folder, []).append(path.name)
        else:
            found.append(path)
    said = [f"{', '.join(names)} in {folder} are no layers, and are left out" for folder, names in beside.items()]
    return found, said


def handed_on(files: Sequence[Path]) -> tuple[Array | None, list[str]]:
    """Return the sample that each row of extracted layers is of, where samples have several rows, and what to say.

    Raises
    ------
    DataError
        For folders whose rows are of different samples, in number, order or name.
    """
    folders = {path.parent: own for path in files if (own := around(path)) is not None and path in own.layers}
    if not folders:
        return None, []
    first, *others = folders.values()
    samples, names = first.samples, first.names
    for other in others:
        _check_alike(first, samples, names, other)
    count = len(np.unique(samples))
    if count == len(samples):
        return None, []
    return samples, [f"rows belong together by sample: {first.groups}, {len(samples)} rows of {count} samples"]


def named(path: Path) -> Array | None:
    """Return the name of the sample that each row of a file is of, or None where it is not known or not one a row."""
    own = around(path)
    names = None if own is None or path not in own.layers else own.names
    return names if names is not None and len(np.unique(names)) == len(names) else None


def unnamed(files: Sequence[Path]) -> str:
    """Return a sentence on how a file among some without ids gets one id per row, or nothing."""
    for path in files:
        own = around(path)
        if own is None and path.suffix == ".npy":
            return f" To label {path}, write one id per line to {path.with_name(STIMULI)}."
        if own is None:
            return f" To label {path}, keep one id per row in it, as `stimuli` (a column, or another array)."
        if path not in own.layers or named(path) is not None:
            continue
        if own.names is None:
            return f" Extract {own.folder} again with --stimuli, a file of one id per sample."
        return f" {own.folder} has several rows per sample; extract it again with --tokens mean, one row per sample."
    return ""


def _check_alike(first: Extracted, samples: Array, names: Array | None, other: Extracted) -> None:
    rows, told = other.samples, other.names
    whose = f"{first.folder} and {other.folder}"
    same = names is None or told is None or set(names) == set(told)
    if len(samples) != len(rows) or not np.array_equal(samples, rows):
        if same and samples[-1:] == rows[-1:]:
            raise DataError(
                f"{whose} have {len(samples)} and {len(rows)} rows of the same {int(samples.max()) + 1} samples: they "
                "split them into different tokens. Extract both with --tokens mean, one row per sample."
            )
        raise DataError(f"{whose} hold rows of different samples; extract the same inputs, with the same --tokens.")
    if names is not None and told is not None and (unlike := np.flatnonzero(names != told)).size:
        row = int(unlike[0])
        raise DataError(
            f"{whose} hold rows of different samples, as row {row}, {str(names[row])!r} and {str(told[row])!r}; "
            "extract the same inputs, in the same order."
        )
