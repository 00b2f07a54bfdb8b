"""Recordings: responses with the stimuli that caused them, pairing by stimulus id, readers of common files."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays import as_responses, to_numpy
from superpose.files import DataError

LABELS = {
    "stimuli": ("stimulus", "stimuli", "id", "__index_level_0__"),
    "groups": ("group", "groups"),
    "repeats": ("repeat", "repeats"),
}


@dataclass(frozen=True, eq=False)
class Recording:
    """Responses of one system, with the stimulus behind every row.

    Parameters
    ----------
    name : str
        The system's name, as it will stand in tables.
    responses : array-like, (samples, units)
        Real numbers; one row a stimulus, or one row a trial when `repeats` is given.
    stimuli : array-like, (samples,)
        The stimulus id of every row: integers or text. They are kept as text, so that 7 and "7" are one id.
    repeats : array-like, (samples,), optional
        The trial of every row: integers or text. (stimulus, repeat) must be unique.
    groups : array-like, (samples,), optional
        What makes rows dependent (sentence, photograph, session), kept whole by folds, intervals and nulls.

    Raises
    ------
    DataError
        If the responses are not a real (samples, units) array, if a label is missing or is not one a row, or
        if a stimulus occurs twice without repeats that tell its trials apart.

    Examples
    --------
    >>> from superpose.recordings import Recording
    >>> Recording("V1", [[1.0, 2.0], [3.0, 4.0]], stimuli=["cat", "dog"]).responses.shape
    (2, 2)
    """

    name: str
    responses: NDArray[Any]
    stimuli: NDArray[Any]
    repeats: NDArray[Any] | None = None
    groups: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        responses = _two_dimensional(as_responses(self.responses, self.name), self.name)
        samples = len(responses)
        columns = {"responses": responses, "stimuli": _labels(self.stimuli, samples, f"{self.name}: stimuli")}
        for what in ("repeats", "groups"):
            if (given := getattr(self, what)) is not None:
                columns[what] = _labels(given, samples, f"{self.name}: {what}")
        for what, column in columns.items():
            object.__setattr__(self, what, column)
        self._refuse_duplicates()

    def _refuse_duplicates(self) -> None:
        trials = self.stimuli if self.repeats is None else np.stack([self.stimuli, self.repeats], axis=1)
        values, counts = np.unique(trials, axis=0, return_counts=True)
        if counts.max() == 1:
            return
        first = values[counts.argmax()]
        what = f"{first}" if self.repeats is None else f"{first[0]}, repeat {first[1]}"
        raise DataError(
            f"{self.name} has {counts.max()} rows of stimulus {what}; expected one. Label the trials of a stimulus "
            "with repeats= (a number or text that differs between them)."
        )


class Matched(NamedTuple):
    """Systems whose rows are the same stimuli in the same order."""

    systems: dict[str, NDArray[Any]]
    stimuli: NDArray[Any]
    groups: NDArray[Any] | None


def match(recordings: Iterable[Recording]) -> Matched:
    """Pair recordings by stimulus id: the stimuli that all of them share, in the order of the first.

    Where a recording has repeats, its trials are averaged for each stimulus before pairing.

    Parameters
    ----------
    recordings : iterable of Recording
        At least one, with different names.

    Returns
    -------
    Matched
        `systems` {name: (shared stimuli, units)}; `stimuli` (shared stimuli,), text; `groups` (shared
        stimuli,), or None where no recording has any. Recordings that have groups must group the shared
        stimuli alike.

    Raises
    ------
    DataError
        If there is nothing to pair, two recordings have one name, the trials of one stimulus lie in different
        groups, or two recordings group the shared stimuli differently.

    Examples
    --------
    >>> from superpose.recordings import Recording, match
    >>> eye = Recording("eye", [[1.0], [2.0], [3.0]], ["a", "b", "c"])
    >>> ear = Recording("ear", [[30.0], [10.0], [20.0]], ["c", "a", "a"], repeats=[0, 0, 1])
    >>> matched = match([eye, ear])
    >>> matched.stimuli.tolist(), matched.systems["ear"].tolist()
    (['a', 'c'], [[15.0], [30.0]])
    """
    recordings = list(recordings)
    names = [recording.name for recording in recordings]
    if not names or len(set(names)) < len(names):
        raise DataError(f"match was given recordings named {names}; expected at least one, each name once.")
    means = [_mean_of_trials(recording) for recording in recordings]
    shared = set(means[0].stimuli.tolist()).intersection(*(mean.stimuli.tolist() for mean in means[1:]))
    if not shared:
        examples = "; ".join(f"{mean.name}: {', '.join(mean.stimuli[:3])} …" for mean in means)
        raise DataError(
            f"no stimulus id is shared by all of {', '.join(names)} ({examples}); use the same ids in each."
        )
    stimuli = np.array([stimulus for stimulus in means[0].stimuli.tolist() if stimulus in shared])
    rows = [_rows(mean.stimuli, stimuli) for mean in means]
    systems = {mean.name: mean.responses[row] for mean, row in zip(means, rows, strict=True)}
    grouped = [(mean.name, mean.groups[row]) for mean, row in zip(means, rows, strict=True) if mean.groups is not None]
    return Matched(systems, stimuli, _one_grouping(grouped))


def _rows(have: NDArray[Any], want: NDArray[Any]) -> NDArray[np.int64]:
    place = {stimulus: row for row, stimulus in enumerate(have.tolist())}
    return np.array([place[stimulus] for stimulus in want.tolist()], dtype=np.int64)


def _mean_of_trials(recording: Recording) -> Recording:
    if recording.repeats is None:
        return recording
    stimuli, first, which, trials = np.unique(
        recording.stimuli, return_index=True, return_inverse=True, return_counts=True
    )
    total = np.zeros((len(stimuli), recording.responses.shape[1]))
    np.add.at(total, which, recording.responses)
    order = np.argsort(first)
    mean = (total / trials[:, None])[order].astype(recording.responses.dtype)
    groups = recording.groups
    if groups is not None:
        split = groups != groups[first][which]
        if split.any():
            raise DataError(
                f"{recording.name}: the trials of stimulus {recording.stimuli[split][0]} lie in different groups; "
                "expected one group a stimulus, because trials are averaged."
            )
        groups = groups[first][order]
    return Recording(recording.name, mean, stimuli[order], groups=groups)


def _one_grouping(grouped: list[tuple[str, NDArray[Any]]]) -> NDArray[Any] | None:
    if not grouped:
        return None
    (first, groups), *others = grouped
    for name, other in others:
        pairs = len(set(zip(groups.tolist(), other.tolist(), strict=True)))
        if not len(set(groups.tolist())) == pairs == len(set(other.tolist())):
            raise DataError(
                f"{first} and {name} group the shared stimuli differently; keep the groups that folds must not split "
                "in one recording, and leave them out of the others."
            )
    return groups


def _labels(values: ArrayLike, samples: int, what: str) -> NDArray[Any]:
    labels = np.asarray(to_numpy(values))
    if labels.shape != (samples,):
        raise DataError(f"{what} have shape {labels.shape}; expected one label a row, ({samples},).")
    if labels.dtype.kind not in "iubUO":
        raise DataError(f"{what} are of type {labels.dtype}; expected integers or text. Convert them with astype(int).")
    if labels.dtype.kind == "O":
        missing = [row for row, value in enumerate(labels) if value is None or value != value]
        if missing:
            raise DataError(f"{what}: {len(missing)} missing, the first at row {missing[0]}; label every row.")
    return labels.astype(str)


def _two_dimensional(array: NDArray[Any], what: str) -> NDArray[Any]:
    if array.ndim != 2:
        raise DataError(
            f"{what} has {array.ndim} dimensions, shape {array.shape}; expected two, (samples, units). Keep each "
            "repeat in a file or recording of its own."
        )
    return array


def read(path: str | os.PathLike[str]) -> NDArray[Any] | Recording:
    """Read responses from a file, by its suffix: .npy, .npz, .csv, .tsv, .parquet or .safetensors.

    Nothing is ever unpickled. A .npy file stays on disk, memory-mapped. A file of several arrays gives the
    one named `responses`, or the one asked for as "file.npz:name".

    A table (csv, tsv, parquet) has one row a sample and one column a unit, with or without a header row. The
    columns stimulus (or stimuli, id, or a table's unnamed index), group(s) and repeat(s) are labels; so are
    the arrays `stimuli`, `groups` and `repeats` beside `responses` in .npz and .safetensors. A file with
    labels is a Recording named after it; rows without stimulus ids are numbered from 0.

    Parameters
    ----------
    path : path-like
        The file; for .npz and .safetensors optionally followed by ":" and the name of an array.

    Returns
    -------
    numpy.ndarray, (samples, units), or Recording
        Real floating numbers; NaN where a table has an empty cell.

    Raises
    ------
    DataError
        One line that names the file and the cause, whatever is wrong with it.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from superpose.recordings import read
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/layer.npy", np.zeros((5, 3), dtype=np.float32))
    ...     read(f"{folder}/layer.npy").shape
    (5, 3)
    """
    file, key = existing(path)
    with readable(file):
        columns = READERS[file.suffix.lower()](file, key)
        responses = _native(_two_dimensional(as_responses(columns.pop("responses"), str(file)), str(file)))
        if not columns:
            return responses
        if "stimuli" not in columns:
            if "repeats" in columns:
                raise DataError(f"{file} labels repeats but no stimuli; add a stimulus column.")
            columns["stimuli"] = np.arange(len(responses))
        return Recording(file.stem, responses, **columns)


def existing(path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Return a file of responses that is there, and the name of the array in it that is asked for.

    Raises
    ------
    DataError
        If it is not there, or nothing that can be read.
    """
    file, key = _split_key(path)
    suffix = file.suffix.lower()
    if suffix not in READERS:
        raise DataError(f"{file} has the suffix {suffix!r}; expected one of {', '.join(READERS)}.")
    if not os.path.exists(file):
        raise DataError(f"{file} does not exist; check the path.")
    if not os.path.isfile(file):
        raise DataError(f"{file} is a directory or a device; expected a file of responses.")
    if os.path.getsize(file) == 0:
        raise DataError(f"{file} is empty (0 bytes); write it again.")
    return file, key


def _split_key(path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    file, colon, key = os.fspath(path).rpartition(":")
    if colon and not os.path.exists(path) and Path(file).suffix.lower() in SEVERAL:
        return Path(file), key
    return Path(path), None


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Turn whatever a parser raises on a damaged file into one line, without its warnings on the way."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DataError as error:
        cause = " ".join(str(error).split())
        raise DataError(cause if str(file) in cause else f"{file}: {cause}") from None
    except MemoryError:
        raise DataError(
            f"{file} announces more data than fits in memory; it is damaged, or should be a .npy."
        ) from None
    except Exception as error:
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{file} cannot be read ({cause}); expected an undamaged {file.suffix} file of real numbers."
        ) from None


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """Return native float16, float32 or float64, which every consumer (torch included) takes."""
    size = min(array.dtype.itemsize, 8)
    dtype = np.dtype(f"=f{size}")
    return array if array.dtype == dtype else array.astype(dtype)


def _read_npy(file: Path, key: str | None) -> dict[str, Any]:
    array = np.lib.format.open_memmap(file, mode="r")
    announced, size = array.offset + array.nbytes, file.stat().st_size
    if announced != size:
        raise DataError(f"{file} has {size} bytes where its header announces {announced}; write it again.")
    return {"responses": array}


def _read_npz(file: Path, key: str | None) -> dict[str, Any]:
    # Opened here, because numpy leaves the file of a broken archive open.
    with open(file, "rb") as source:
        if source.read(2) != b"PK":
            raise DataError(f"{file} is not a zip archive, as a .npz file is; write it with numpy.savez.")
        source.seek(0)
        with np.load(source, allow_pickle=False) as archive:
            return choose_array(file, key, archive.files, archive.__getitem__)


def _read_safetensors(file: Path, key: str | None) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as tensors:
        return choose_array(file, key, list(tensors.keys()), lambda name: _tensor(file, tensors, name))


def _tensor(file: Path, tensors: Any, name: str) -> Any:
    if not tensors.get_slice(name).get_dtype().startswith(("BF", "F8")):
        return tensors.get_tensor(name)
    # NumPy has no such numbers; torch widens them.
    from safetensors import safe_open

    with safe_open(file, framework="pt") as widened:
        return widened.get_tensor(name).float()


def choose_array(file: Path, key: str | None, names: list[str], get: Callable[[str], Any]) -> dict[str, Any]:
    """Return what `get` makes of the responses, the only array or the one asked for, and of the labels beside them."""
    if key is not None:
        if key not in names:
            raise DataError(f"{file} has no array {key!r}; it has {_listed(names[:8])}.")
        return {"responses": get(key)}
    if "responses" in names:
        return {name: get(name) for name in ("responses", "stimuli", "repeats", "groups") if name in names}
    if len(names) == 1:
        return {"responses": get(names[0])}
    raise DataError(
        f"{file} holds {len(names)} arrays ({_listed(names[:8])}{' …' if len(names) > 8 else ''}); say which, as "
        f"{file.name}:name, or name one of them responses."
    )


def _read_csv(file: Path, key: str | None, delimiter: str = ",") -> dict[str, Any]:
    from pyarrow import csv as arrow

    with open(file, encoding="utf-8-sig", newline="") as text:
        named = _is_header(file, next((row for row in csv.reader(text, delimiter=delimiter) if row), [""]))
    table = arrow.read_csv(
        file,
        read_options=arrow.ReadOptions(autogenerate_column_names=not named),
        parse_options=arrow.ParseOptions(delimiter=delimiter),
    )
    return _columns(file, table, named=named)


def _read_tsv(file: Path, key: str | None) -> dict[str, Any]:
    return _read_csv(file, key, delimiter="\t")


def _read_parquet(file: Path, key: str | None) -> dict[str, Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(file) as source:
        return _columns(file, source.read(), named=True)


def _is_header(file: Path, first: list[str]) -> bool:
    """Tell names from a first sample, and refuse what could be either."""
    numbers = [_is_number(cell) for cell in first]
    labelled = any(cell.strip().lower() in names for cell in first for names in LABELS.values())
    counts = [str(i) for i in range(len(first))]
    if labelled or not any(numbers) or first == ["", *counts[:-1]]:
        return True
    if not all(numbers) or (len(first) > 1 and first == counts):
        raise DataError(
            f"{file}: the first row ({_listed(first[:4])} …) may be a header or a sample; give every column a name "
            "that is not a number, or write no header and nan for what is missing."
        )
    return False


def _listed(names: list[str]) -> str:
    """Return names, or cells, as a message can show them, however long and unprintable a file has them."""
    return ", ".join("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in n[:40]) for n in names)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _columns(file: Path, table: Any, *, named: bool) -> dict[str, Any]:
    """Part a table into labels and a matrix of units."""
    names = [name.strip().lower() for name in table.column_names] if named else []
    names[:1] = ["id" if name == "" else name for name in names[:1]]
    found: dict[str, Any] = {}
    labels: set[int] = set()
    for kind, spellings in LABELS.items():
        at = [i for i, name in enumerate(names) if name in spellings]
        if len(at) > 1:
            raise DataError(f"{file} has {len(at)} columns for {kind}; expected one of {', '.join(spellings[:2])}.")
        if at:
            found[kind] = np.array(table.column(at[0]).to_pylist(), dtype=object)
        labels.update(at)
    units = [i for i in range(table.num_columns) if i not in labels]
    if not units or not table.num_rows:
        raise DataError(f"{file} has {table.num_rows} rows of {len(units)} units; expected at least one of each.")
    responses = np.empty((table.num_rows, len(units)))
    for unit, i in enumerate(units):
        responses[:, unit] = _unit_column(file, table.column_names[i], table.column(i))
    return {"responses": responses, **found}


def _unit_column(file: Path, name: str, column: Any) -> NDArray[Any]:
    from pyarrow import float64, types

    numeric = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    if not any(is_kind(column.type) for is_kind in numeric):
        example = next((value for value in column.to_pylist() if value is not None), None)
        raise DataError(
            f"{file}: column {name[:40]!r} holds {str(column.type)[:40]} ({str(example)[:40]!r}); expected numbers. "
            "Columns of labels are named stimulus, group or repeat."
        )
    values: NDArray[Any] = column.cast(float64(), safe=False).to_numpy()
    return values


READERS: Mapping[str, Callable[[Path, str | None], dict[str, Any]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
    ".safetensors": _read_safetensors,
}
SEVERAL = (".npz", ".safetensors")
