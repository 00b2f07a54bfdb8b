"""Neurodata Without Borders: spikes of every unit counted in intervals, or a recorded matrix as it is.

Read by the schema (https://nwb-schema.readthedocs.io) with h5py: `pynwb` would build an object of everything in a file,
and needs the extensions that the file was written with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.asked import Asked
from superpose.recordings.axes import two_dimensional
from superpose.recordings.choice import listed
from superpose.recordings.hdf5 import datasets, labels, opened, values, whole
from superpose.recordings.heaps import check_heaps
from superpose.recordings.labels import LABELS, plain
from superpose.recordings.unpacking import filled, kept, tiles

Array = NDArray[Any]

# Seconds by which edges may differ that are meant to be the same.
ROUNDING = 1e-6


def read_nwb(file: Path, asked: Asked) -> dict[str, Any]:
    """Read spike counts, (intervals, units), with the labels of a table of intervals, or one dataset."""
    with opened(file) as source:
        found = datasets(source)
        matrices = {name: dataset for name, dataset in found.items() if dataset.ndim > 1}
        for name in (asked.key, f"{asked.key}/data"):
            if name in matrices:
                return {"responses": _series(file, found, name, asked.axes)}
        table, column = _table(file, asked.key, found, list(matrices))
        return {"responses": _counts(file, found, table), **_labels(file, found, table, column)}


def _series(file: Path, found: Mapping[str, Any], name: str, axes: Sequence[str] | None) -> Array:
    """Return a matrix in the units that it says: times its conversion, and that of each channel, plus its offset."""
    dataset = found[name]
    check_heaps(file)
    stored = two_dimensional(values(file, dataset), str(file), axes)
    scale, offset = np.asarray(dataset.attrs.get("conversion", 1.0)), np.asarray(dataset.attrs.get("offset", 0.0))
    channels = f"{name.rpartition('/')[0]}/channel_conversion"
    if channels in found:
        scale = scale * whole(file, found[channels])
    if (scale == 1).all() and offset == 0:
        return stored
    if scale.shape not in ((), stored.shape[1:]):
        raise DataError(f"{file}: {channels} has shape {scale.shape}; expected one number for each channel.")

    def fill(out: Array) -> None:
        for part, _ in tiles(out.shape, (1, out.shape[1]), out.itemsize):
            out[part] = stored[part] * scale + offset

    return filled(f"{file}: {name}", stored.shape, kept(stored.dtype), fill)


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
    """Return how many spikes every unit has in each interval, from its start until before its stop.

    NaN where the unit was not observed for the whole of it.
    """
    start, stop = (_numbers(file, found, f"{table}/{edge}_time") for edge in ("start", "stop"))
    times, ends = (_numbers(file, found, f"units/spike_times{part}") for part in ("", "_index"))
    if start.shape != stop.shape or not (start <= stop).all():
        raise DataError(f"{file}: {table} has intervals that do not stop after they start; drop or correct them.")
    limits = _limits(file, ends, len(times), "spike_times")
    watched = _watched(file, found, len(ends))

    def fill(counts: Array) -> None:
        for unit, (first, last) in enumerate(pairwise(limits)):
            spikes = np.sort(times[first:last])
            counts[:, unit] = np.searchsorted(spikes, stop) - np.searchsorted(spikes, start)
            counts[~_observed(start, stop, watched[unit]), unit] = np.nan

    return filled(f"{file}: {table}", (len(start), len(ends)), np.dtype(np.float64), fill)


def _limits(file: Path, ends: Array, count: int, column: str) -> Array:
    """Return where the values of each unit start and end in a column that has several for each."""
    limits = np.concatenate([[0], ends]).astype(np.int64)
    if (np.diff(limits) < 0).any() or limits[-1] != count:
        raise DataError(
            f"{file}: units/{column}_index does not part the {count} {column.replace('_', ' ')}; write it again."
        )
    return limits


def _watched(file: Path, found: Mapping[str, Any], units: int) -> list[Array]:
    """Return the intervals in which each unit was observed, (intervals, 2); none where the file does not say."""
    if "units/obs_intervals" not in found:
        return [np.empty((0, 2))] * units
    edges, ends = (_numbers(file, found, f"units/obs_intervals{part}") for part in ("", "_index"))
    if edges.shape != (len(edges), 2) or len(ends) != units:
        raise DataError(f"{file}: units/obs_intervals has shape {edges.shape}; expected starts and stops of each unit.")
    return [edges[first:last] for first, last in pairwise(_limits(file, ends, len(edges), "obs_intervals"))]


def _observed(start: Array, stop: Array, watched: Array) -> Array:
    """Return which intervals lie in what a unit was observed in, which may adjoin; all where that is not known."""
    if not len(watched):
        return np.ones(len(start), bool)
    starts, stops = watched[np.argsort(watched[:, 0])].T
    reached = np.maximum.accumulate(stops)
    fresh = np.concatenate([[True], starts[1:] > reached[:-1] + ROUNDING])
    ends = reached[np.concatenate([fresh[1:], [True]])]
    at = np.searchsorted(starts[fresh], start + ROUNDING, side="right") - 1
    return (at >= 0) & (stop <= ends[at] + ROUNDING)


def _numbers(file: Path, found: Mapping[str, Any], name: str) -> Array:
    if name not in found:
        raise DataError(f"{file} has no {name}, which the schema asks for; write it again with pynwb.")
    return whole(file, found[name])


def _labels(file: Path, found: Mapping[str, Any], table: str, column: str | None) -> dict[str, Any]:
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
    sources = {kind: name for kind, name in chosen.items() if name is not None}
    read = {kind: plain(_column(file, columns[name])) for kind, name in sources.items()}
    return {"repeats": np.arange(rows), **read, "sources": sources}


def _column(file: Path, column: Any) -> Array:
    """Return a column of a table: as it is, or of categories that are listed elsewhere."""
    check_heaps(file)
    kind = str(column.attrs.get("neurodata_type", ""))
    if kind == "DynamicTableRegion":
        raise DataError(
            f"{file}: {column.name} refers to rows of another table; expected labels. Add a column that names them."
        )
    if kind != "EnumData":
        return labels(file, column)
    names, codes = labels(file, column.file[column.attrs["elements"]]), whole(file, column)
    return np.array([names[code] if code < len(names) else None for code in codes.tolist()], dtype=object)
