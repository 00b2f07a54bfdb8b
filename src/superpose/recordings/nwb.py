"""Neurodata Without Borders: spikes of every unit counted in intervals, or a recorded matrix as it is.

Read by the schema (https://nwb-schema.readthedocs.io) with h5py: `pynwb` would build an object of everything in a file,
and needs the extensions that the file was written with.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.choice import listed
from superpose.recordings.hdf5 import datasets, labels, opened, values, whole
from superpose.recordings.labels import LABELS, plain
from superpose.recordings.unpacking import filled

Array = NDArray[Any]


def read_nwb(file: Path, key: str | None) -> dict[str, Any]:
    """Read spike counts, (intervals, units), with the labels of a table of intervals, or one dataset."""
    with opened(file) as source:
        found = datasets(source)
        matrices = {name: dataset for name, dataset in found.items() if dataset.ndim > 1}
        for name in (key, f"{key}/data"):
            if name in matrices:
                return {"responses": values(file, matrices[name])}
        table, column = _table(file, key, found, list(matrices))
        return {"responses": _counts(file, found, table), **_labels(file, found, table, column)}


def _table(file: Path, key: str | None, found: Mapping[str, Any], matrices: list[str]) -> tuple[str, str | None]:
    """Return the table of intervals and the column of stimulus ids that are meant, as "TABLE/COLUMN"."""
    tables = [name.split("/")[1] for name in found if name.startswith("intervals/") and name.endswith("/start_time")]
    table, slash, column = ("trials" if key is None else key.removeprefix("intervals/")).partition("/")
    if "units/spike_times" not in found or table not in tables:
        raise DataError(
            f"{file} has no array {listed([key or 'trials'])!r}; expected a table of intervals in which the spikes of "
            f"units are counted ({listed(tables) or 'it has none'}), or a dataset ({listed(matrices[:8]) or 'none'})."
        )
    return f"intervals/{table}", column if slash else None


def _counts(file: Path, found: Mapping[str, Any], table: str) -> Array:
    """Return how many spikes every unit has in each interval, from its start until before its stop."""
    start, stop = (_numbers(file, found, f"{table}/{edge}_time") for edge in ("start", "stop"))
    times, ends = (_numbers(file, found, f"units/spike_times{part}") for part in ("", "_index"))
    if start.shape != stop.shape or not (start <= stop).all():
        raise DataError(f"{file}: {table} has intervals that do not stop after they start; drop or correct them.")
    limits = np.concatenate([[0], ends]).astype(np.int64)
    if (np.diff(limits) < 0).any() or limits[-1] != len(times):
        raise DataError(f"{file}: units/spike_times_index does not part the {len(times)} spike times; write it again.")

    def fill(counts: Array) -> None:
        for unit, (first, last) in enumerate(pairwise(limits)):
            spikes = np.sort(times[first:last])
            counts[:, unit] = np.searchsorted(spikes, stop) - np.searchsorted(spikes, start)

    return filled(f"{file}: {table}", (len(start), len(ends)), np.dtype(np.float64), fill)


def _numbers(file: Path, found: Mapping[str, Any], name: str) -> Array:
    if name not in found:
        raise DataError(f"{file} has no {name}, which the schema asks for; write it again with pynwb.")
    return whole(file, found[name])


def _labels(file: Path, found: Mapping[str, Any], table: str, column: str | None) -> dict[str, Array]:
    # A column whose index lies beside it has several values a row.
    columns = {
        name.removeprefix(f"{table}/"): dataset
        for name, dataset in found.items()
        if name.startswith(f"{table}/") and dataset.ndim == 1 and f"{name}_index" not in found
    }
    # Every table has an id: the number of the row.
    spellings = {**LABELS, "stimuli": tuple(name for name in LABELS["stimuli"] if name != "id")}
    if column is not None:
        spellings["stimuli"] = (column,)
    chosen = {kind: next((name for name in names if name in columns), None) for kind, names in spellings.items()}
    if chosen["stimuli"] is None:
        raise DataError(
            f"{file}: {table} has no column {listed([column or 'stimulus_id'])!r} of stimulus ids; say which it is, as "
            f"{file.name}:{table.removeprefix('intervals/')}/COLUMN ({listed(sorted(columns))})."
        )
    rows = len(found[f"{table}/start_time"])
    read = {kind: plain(labels(file, columns[name])) for kind, name in chosen.items() if name is not None}
    return {"repeats": np.arange(rows), **read}
