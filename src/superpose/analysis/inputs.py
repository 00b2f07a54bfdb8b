"""Files on a command line, as paired systems with names, groups and digests."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.analysis.extracted import expanded, handed_on, named, unnamed
from superpose.arrays import as_responses
from superpose.ceilings import Trials, lone, repeated_trials
from superpose.dictionaries.formats import digest
from superpose.dictionaries.formats import read as read_foreign
from superpose.dictionaries.sae import SparseAutoencoder, load
from superpose.files import DataError, lines, sha256, sha256_of_folder
from superpose.recordings import Recording, read
from superpose.recordings.labels import labelled, written
from superpose.recordings.matching import Notes, joined, named_labels
from superpose.recordings.reading import read_times
from superpose.recordings.scaling import standardised
from superpose.recordings.unpacking import Progress

Array = NDArray[Any]


class Systems(NamedTuple):
    """Paired files: means over trials, their groups and names, what to record and to say, and trials if any repeat.

    `times` are the arrays of the file that was asked for at all its times, {time: name}.
    """

    arrays: dict[str, Array]
    groups: Array | None
    inputs: dict[str, Any]
    trials: dict[str, Trials] | None
    notes: Notes
    stimuli: list[str] | None
    times: dict[Any, str]


def read_systems(
    files: Sequence[Path], progress: Progress | None = None, *, timed: str | None = None, **how: Any
) -> Systems:
    """Return the systems that files hold, paired by stimulus id or by position; progress is told of unpacking.

    `how` is what `superpose.read` is told of the files; the file of the name `timed` may have an axis of times.

    Raises
    ------
    DataError
        For fewer than two files, an unreadable one, or files of which only some carry stimulus ids.
    """
    files, left_out = expanded(files)
    if len(files) < 2:
        raise DataError(f"{len(files)} file(s) given; expected at least two to compare.")
    contents, inputs, places, times = _read(files, timed, progress, how)
    renamed: list[str] = []
    if any(isinstance(content, Recording) and not content.numbered for content in contents.values()):
        contents, renamed = _with_names(contents, places)
    recordings = [replace(r, name=name) for name, r in contents.items() if isinstance(r, Recording)]
    if not recordings:
        arrays = {name: np.asarray(x) for name, x in contents.items()}
        groups, used = handed_on(files)
        return Systems(arrays, groups, inputs, None, Notes(used, [], left_out), _named(named(files[0])), times)
    bare = {name: np.asarray(x) for name, x in contents.items() if not isinstance(x, Recording)}
    labelled = [recording.name for recording in recordings if not recording.numbered]
    if bare and labelled:
        raise DataError(
            f"{', '.join(bare)} {'has' if len(bare) == 1 else 'have'} no stimulus ids but {labelled[0]} has; give all "
            f"files ids, or none, to pair rows by position.{unnamed([places[name] for name in bare])}"
        )
    matched, notes = joined(recordings)
    notes = notes._replace(labels=[*renamed, *notes.labels], lost=[*left_out, *notes.lost])
    arrays = {name: bare[name] if name in bare else matched.systems[name] for name in contents}
    trials = repeated_trials(recordings, matched.stimuli, arrays)
    return Systems(arrays, matched.groups, inputs, trials, notes, _named(matched.stimuli if labelled else None), times)


def _named(stimuli: Array | None) -> list[str] | None:
    return None if stimuli is None else [str(name) for name in stimuli]


def zscored(systems: Systems) -> Systems:
    """Return systems whose units have mean 0 and standard deviation 1 over all rows, and their trials scaled alike."""
    scaled = {name: standardised(x, name) for name, x in systems.arrays.items()}
    if systems.trials is None:
        return systems._replace(arrays=scaled)
    trials = {
        name: own.standardised() if own.repeated else lone(scaled[name], name) for name, own in systems.trials.items()
    }
    return systems._replace(arrays=scaled, trials=trials)


def _with_names(contents: Mapping[str, Any], places: Mapping[str, Path]) -> tuple[dict[str, Any], list[str]]:
    """Return extracted layers as recordings of the samples that their folder names, to be paired with others', and why.

    Where others label pictures without folders and endings, layers are paired under such names.
    """
    labels = {
        stimulus for x in contents.values() if isinstance(x, Recording) and not x.numbered for stimulus in x.stimuli
    }
    found, said = dict(contents), []
    for name, content in contents.items():
        names = None if isinstance(content, Recording) else named(places[name])
        if names is None:
            continue
        stems = np.array([Path(one).stem for one in names.tolist()])
        if labels.isdisjoint(names.tolist()) and labels & set(stems.tolist()) and len(set(stems)) == len(names):
            names = stems
            said.append(f"{name}: stimuli are names of files without folders and endings.")
        found[name] = Recording(name, content, names)
    return found, said


def read_files(
    files: Sequence[Path], progress: Progress | None = None, **how: Any
) -> tuple[dict[str, Array], dict[str, Any], Notes, dict[str, Array]]:
    """Return {name: array} of files as they are, their rows not paired, and what to record and to say of each file.

    Last come the groups of the rows of files that have some: what they label as such, or the trials of a stimulus.

    Raises
    ------
    DataError
        For no file, or an unreadable one.
    """
    files, left_out = expanded(files)
    if not files:
        raise DataError("no file given; expected at least one file of activity, (samples, units).")
    contents, inputs, _, _ = _read(files, None, progress, how)
    arrays = {name: c.responses if isinstance(c, Recording) else c for name, c in contents.items()}
    made = [note for c in contents.values() if isinstance(c, Recording) for note in named_labels(c)]
    groups = {
        name: c.stimuli if c.groups is None else c.groups
        for name, c in contents.items()
        if isinstance(c, Recording) and not (c.groups is None and c.repeats is None)
    }
    return {name: as_responses(x, name) for name, x in arrays.items()}, inputs, Notes(made, [], left_out), groups


def read_dictionary(path: Path) -> SparseAutoencoder:
    """Return a dictionary: other packages keep theirs in a folder, in a .pt file, or with a cfg.json beside it."""
    if path.is_dir() or path.suffix == ".pt" or path.with_name("cfg.json").exists():
        return read_foreign(path)
    return load(path)


def read_dictionaries(named: Sequence[str]) -> tuple[dict[str, SparseAutoencoder], dict[str, Any]]:
    """Return {system: dictionary} of texts SYSTEM=PATH, and what to record of each.

    Raises
    ------
    DataError
        For a text without "=", a system that is named twice, or an unreadable dictionary.
    """
    found: dict[str, SparseAutoencoder] = {}
    record: dict[str, Any] = {}
    for text in named:
        name, equals, place = text.partition("=")
        if not (name and equals and place) or name in found:
            raise DataError(f"a dictionary is given as {text!r}; expected SYSTEM=PATH, each system once.")
        path = Path(place)
        found[name] = read_dictionary(path)
        record[name] = recorded(path)
    return found, record


def recorded(path: Path) -> dict[str, Any]:
    """Return what is recorded of the file or folder of a dictionary."""
    return {"path": str(path), "sha256": sha256(path) if path.is_file() else digest(path)}


def read_groups(path: Path, option: str = "--groups", missing: Collection[str] | None = None) -> Array:
    """Return one label per row: from a .npy of one axis, or from a text file with one label per line.

    Raises
    ------
    DataError
        For a file that cannot be read, or a row without a label.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; {option} expects a .npy or a text file with one label per row.")
    what = f"{path}: labels"
    if path.suffix.lower() != ".npy":
        return written(lines(path), missing, what).astype(str)
    try:
        with warnings.catch_warnings(action="ignore"):
            stored = np.asarray(np.load(path, allow_pickle=False))
    except Exception as error:  # what a damaged header raises has no end
        raise DataError(f"{path} cannot be read as group labels: {' '.join(str(error).split())[:200]}.") from None
    if stored.ndim != 1:
        raise DataError(f"{path} has shape {stored.shape}; {option} expects one label per row.")
    return labelled(stored, len(stored), what)


def _read(
    files: Sequence[Path], timed: str | None, progress: Progress | None, how: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Path], dict[Any, str]]:
    """Return what files hold and which file it is of, both by name, what to record of each file, and names by time."""
    contents: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    places: dict[str, Path] = {}
    times: dict[Any, str] = {}
    for name, path in zip(names_of(files), files, strict=True):
        if name == timed:
            found = read_times(path, progress=progress, **how)
            times = {time: name if time is None else f"{name} at {time}" for time in found}
            several = {times[time]: content for time, content in found.items()}
        else:
            several = {name: read(path, progress=progress, **how)}
        contents |= several
        places |= dict.fromkeys(several, path)
        inputs[name] = _record(path, list(several.values()))
    return contents, inputs, places, times


def _record(path: Path, contents: Sequence[Array | Recording]) -> dict[str, Any]:
    """Return what is recorded of a file: its shape with the number of times, where there are several."""
    shape = _shape(contents[0]) + ([len(contents)] if len(contents) > 1 else [])
    return {"path": str(path), "sha256": _digest(_file(path)), "shape": shape}


def _digest(path: Path) -> str:
    return sha256_of_folder(path) if path.is_dir() else sha256(path)


def names_of(files: Sequence[Path]) -> list[str]:
    """Return a name for each file: its stem, or its path where stems are equal."""
    stems = [_file(path).stem for path in files]
    names = stems if len(set(stems)) == len(stems) else [str(path) for path in files]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise DataError(f"{repeated[0]} is given more than once; expected different files.")
    return names


def files_for(folder: Path, names: Sequence[str], suffix: str) -> dict[str, Path]:
    """Return a file of a folder for each system: its name, where that is a path without what parts folders.

    Examples
    --------
    >>> from pathlib import Path
    >>> from superpose.analysis.inputs import files_for
    >>> [path.as_posix() for path in files_for(Path("kept"), ["run1/conv.npy", "run2/conv.npy"], ".txt").values()]
    ['kept/run1-conv.npy.txt', 'kept/run2-conv.npy.txt']
    """
    found = {name: folder / f"{'-'.join(re.split('[/:]+', name)).lstrip('-.')}{suffix}" for name in names}
    if len(set(found.values())) < len(found):
        raise DataError(f"{', '.join(names)} would be written to one file; expected files of different names.")
    return found


def _file(path: Path) -> Path:
    """Return the file of a FILE:NAME path."""
    if path.exists():
        return path
    return Path(os.fspath(path).rpartition(":")[0] or path)


def _shape(content: Array | Recording) -> list[int]:
    return list(content.responses.shape if isinstance(content, Recording) else content.shape)
