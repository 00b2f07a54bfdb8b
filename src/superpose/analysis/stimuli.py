"""What samples are, for a report: files of pictures, or sentences with the token that a row is of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.analysis.extracted import INPUTS, RECORD, SPANS, Extracted, around, expanded
from superpose.files import lines
from superpose.recordings.numpyfiles import STIMULI
from superpose.report import Passage

Array = NDArray[Any]
Stimuli = dict[str, Path | Passage]


def pictures_of(folder: Path) -> dict[str, Path]:
    """Return the pictures of a folder by their paths in it, and by their names with and without ending.

    Raises
    ------
    DataError
        For what is no folder, or holds no picture.
    """
    from superpose.models import PREPARATIONS, images

    found = {name: folder / name for name in images(folder, PREPARATIONS["clip"]).names}
    paths = list(found.values())
    for shorter in (_name, _stem):
        count = Counter(map(shorter, paths))
        found |= {shorter(path): path for path in paths if count[shorter(path)] == 1}
    return found


def row_names(files: Sequence[Path], stimuli: list[str] | None, labels: Array | None) -> list[str] | None:
    """Return what a report calls rows: their stimuli, else number and label; None where layers know their inputs."""
    if stimuli is not None or labels is None or any(around(path) is not None for path in expanded(files)[0]):
        return stimuli
    return [f"{row}: {label}" for row, label in enumerate(labels)]


def stimuli_of(
    files: Sequence[Path], needed: Collection[str], *, labelled: bool, pictures: Mapping[str, Path]
) -> Stimuli:
    """Return what the needed samples are, as far as it is known.

    Parameters
    ----------
    files : sequence of path
        What was compared: layers that `superpose extract` wrote know their inputs.
    needed : collection of str
        Names of samples; where systems label none, numbers of rows.
    labelled : bool
        Whether samples are named by their stimuli.
    pictures : mapping of str to path
        Pictures by name, which come before what files know.
    """
    given: Stimuli = {name: pictures[name] for name in needed if name in pictures} if labelled else {}
    layers = expanded(files)[0]
    known = next((own for path in layers if (own := around(path)) is not None and path in own.layers), None)
    if known is None:
        return given
    try:
        return _extracted(known, needed, labelled=labelled) | given
    except (OSError, ValueError, TypeError, IndexError, AttributeError):
        # A page that names samples is better than none: the record beside the layers is damaged.
        return given


def _extracted(own: Extracted, needed: Collection[str], *, labelled: bool) -> Stimuli:
    """Return what the rows of extracted layers show, by number or by the name of their sample."""
    sources = own.folder / INPUTS if (own.folder / INPUTS).is_file() else own.folder / STIMULI
    if not (sources.is_file() and (own.folder / RECORD).is_file()):
        return {}
    record = json.loads((own.folder / RECORD).read_text(encoding="utf-8"))
    # Of stores of old, which say no location, the path as it was typed.
    location = Path(record.get("location", record.get("inputs", "")))
    inputs, samples = lines(sources), own.samples
    rows = _rows(own, needed, labelled=labelled)
    if location.suffix.lower() == ".txt":
        kept = (own.folder / SPANS).is_file()
        spans = np.load(own.folder / SPANS, allow_pickle=False) if kept else np.full((len(samples), 2), -1)
        return {name: Passage(inputs[samples[row]], *map(int, np.maximum(spans[row], 0))) for name, row in rows.items()}
    places = {name: location / inputs[samples[row]] for name, row in rows.items()}
    return {name: path for name, path in places.items() if path.is_file()}


def _rows(own: Extracted, needed: Collection[str], *, labelled: bool) -> dict[str, int]:
    """Return the row of each needed name."""
    if not labelled:
        return {name: int(name) for name in needed}
    names = [] if own.names is None else own.names.tolist()
    rows = {shown: row for shown_as in (_stem, str) for row, name in enumerate(names) if (shown := shown_as(name))}
    return {name: rows[name] for name in needed if name in rows}


def _stem(path: Path | str) -> str:
    return Path(path).stem


def _name(path: Path) -> str:
    return path.name
