"""Responses from files, by suffix."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.arrays import as_responses
from superpose.arrays.tensors import as_array
from superpose.files import DataError
from superpose.recordings.asked import Asked
from superpose.recordings.axes import roles, samples_by_units, two_dimensional
from superpose.recordings.h5ad import read_h5ad
from superpose.recordings.hdf5 import read_hdf5
from superpose.recordings.matlab import read_matlab
from superpose.recordings.netcdf import read_netcdf
from superpose.recordings.numpyfiles import read_npy, read_npz
from superpose.recordings.nwb import read_nwb
from superpose.recordings.recording import Recording
from superpose.recordings.tables import read_csv, read_parquet, read_tsv
from superpose.recordings.tensors import read_safetensors
from superpose.recordings.unpacking import Progress, kept, told, unpacked
from superpose.recordings.zarrs import read_zarr

READERS: Mapping[str, Callable[[Path, Asked], dict[str, Any]]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".safetensors": read_safetensors,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".zarr": read_zarr,
    ".nc": read_netcdf,
    ".nwb": read_nwb,
    ".h5ad": read_h5ad,
    ".mat": read_matlab,
}
SINGLE = (".npy", ".csv", ".tsv", ".parquet")
FOLDERS = (".zarr",)


def read(
    path: str | os.PathLike[str],
    *,
    axes: Sequence[str] | None = None,
    missing: Collection[str] | None = None,
    progress: Progress | None = None,
) -> NDArray[Any] | Recording:
    """Read responses from a file, by its suffix: .npy, .npz, .csv, .tsv, .parquet, .safetensors, .h5, .zarr, .nc, …

    Nothing is ever unpickled. A .npy file, and a dataset that lies in one piece of an HDF5 file (.h5, .hdf5, .nc, .nwb,
    .h5ad, .mat of version 7.3), stay on disk, memory-mapped; chunked or packed arrays are read whole or, beyond 256
    MiB, unpacked into an anonymous temporary file in TMPDIR, which is removed with the array. A file of several arrays
    gives the one named `responses`, its only matrix, or the one asked for as "file.npz:name", "file.h5:group/name";
    "file.h5:group" looks in a group.

    A table (csv, tsv, parquet) has one row per sample and one column per unit, with or without a header row. Columns,
    coordinates, and arrays of one value per row beside the one that is read are labels, if their name is one of
    `LABELS`: stimuli (stimulus, stimulus_id, image_id, id, …, or a table's unnamed index), groups (group, session, …)
    and repeats (repeat, repetition, trial, …). A file with labels is a Recording named after it; rows without stimulus
    ids are numbered from 0.

    Formats of the field: .nc is an assembly with an axis of units ("neuroid"), BrainIO's among them; .nwb gives
    the spikes of its units counted in the trials, or in the intervals of "file.nwb:TABLE/COLUMN" with that column of
    stimulus ids, or a matrix by its path; .h5ad is X, or the layer or embedding asked for, with labels from obs.

    Parameters
    ----------
    path : path-like
        The file, or folder of a .zarr; where it may hold several arrays, optionally followed by ":" and a name.
    axes : sequence of str, optional
        Order of the axes of an array, such as ("stimuli", "repeats", "units"), if the file does not name them:
        each trial becomes a row, stimuli and repeats are numbered unless they are labelled, and a trial that is NaN in
        every unit is missing.
    missing : collection of str, optional
        Text that marks a missing label in text files, besides blank cells: None means NaN, NA, n/a and similar
        (`superpose.recordings.MISSING`); an empty list, nothing else. A row without a label is refused.
    progress : callable, optional
        Called with (what, done, total) while a large array is unpacked.

    Returns
    -------
    numpy.ndarray, (samples, units), or Recording
        Real floating numbers; NaN where a table has an empty cell.

    Raises
    ------
    DataError
        One line that names the file and the cause, whatever is wrong with it; of the kind `StorageError` where the
        folder of temporary files has no room for what has to be unpacked.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from superpose.recordings import read
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/layer.npy", np.zeros((5, 3), dtype=np.float32))
    ...     read(f"{folder}/layer.npy").shape
    (5, 3)
    """
    with _columns(path, axes, missing, progress) as (file, columns):
        if "times" in columns:
            raise DataError(columns["times"].refusal)
        return _recording(file, columns)


def read_times(
    path: str | os.PathLike[str],
    *,
    axes: Sequence[str] | None = None,
    missing: Collection[str] | None = None,
    progress: Progress | None = None,
) -> dict[Any, NDArray[Any] | Recording]:
    """Read responses by time, from an assembly with an axis of times; under None from any other file.

    Parameters
    ----------
    path, axes, missing, progress
        As in `read`.

    Returns
    -------
    dict
        What `read` would return of each time alone, by the coordinate of the axis: the start of a bin where there is
        "time_bin_start", its number where there is none.

    Raises
    ------
    DataError
        As `read`; and for a time that comes twice.

    Examples
    --------
    >>> import tempfile, numpy as np, xarray
    >>> from superpose.recordings.reading import read_times
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     moving = xarray.DataArray(np.zeros((5, 3, 2)), dims=("presentation", "neuroid", "time"))
    ...     moving.assign_coords(time=[50, 100]).to_netcdf(f"{folder}/V4.nc")
    ...     {time: rows.shape for time, rows in read_times(f"{folder}/V4.nc").items()}
    {50: (5, 3), 100: (5, 3)}
    """
    with _columns(path, axes, missing, progress) as (file, columns):
        times = columns.pop("times", None)
        if times is None:
            return {None: _recording(file, columns)}
        if len(set(times.labels)) < len(times.labels):
            raise DataError(f"{file} names a time twice; expected each once.")
        rows = columns.pop("responses")
        return {
            time: _recording(file, {**columns, "responses": np.ascontiguousarray(rows[..., place])})
            for place, time in enumerate(times.labels)
        }


@contextmanager
def _columns(
    path: str | os.PathLike[str],
    axes: Sequence[str] | None,
    missing: Collection[str] | None,
    progress: Progress | None,
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Give a file and what its reader found in it; what goes wrong meanwhile is said of the file."""
    file, key = existing(path)
    asked = Asked(key, None if axes is None else roles(axes), missing)
    with told(progress), readable(file):
        columns = READERS[file.suffix.lower()](file, asked)
        columns["responses"] = as_responses(_kept(file, columns["responses"]), str(file))
        yield file, {**columns, "axes": asked.axes}


def _recording(file: Path, columns: dict[str, Any]) -> NDArray[Any] | Recording:
    columns = samples_by_units(file, columns, columns.pop("axes"))
    responses = two_dimensional(columns.pop("responses"), str(file))
    sources = columns.pop("sources", {})
    if not columns:
        return responses
    if "stimuli" not in columns:
        if "repeats" in columns:
            raise DataError(f"{file} labels repeats but no stimuli; add a stimulus column.")
        columns["stimuli"], sources["stimuli"] = np.arange(len(responses)), ""
    return Recording(file.stem, responses, sources=dict(sources), **columns)


def existing(path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Return a file of responses that is there, and the name of the array in it that is asked for.

    Raises
    ------
    DataError
        If it is not there, or nothing that can be read.
    """
    file, key = _split_key(path)
    suffix = file.suffix.lower()
    if suffix not in READERS and file.is_dir():
        raise DataError(
            f"{file} is a folder that superpose extract did not write; give its files instead, layers in the order of "
            f"depth: {file / '*.npy'}."
        )
    if suffix not in READERS:
        raise DataError(f"{file} has the suffix {suffix!r}; expected one of {', '.join(READERS)}.")
    if not os.path.exists(file):
        raise DataError(f"{file} does not exist; check the path.")
    if suffix in FOLDERS and not os.path.isdir(file):
        raise DataError(f"{file} is a file; expected a folder of chunks, as a {suffix} store is.")
    if suffix not in FOLDERS and not os.path.isfile(file):
        raise DataError(f"{file} is a directory or a device; expected a file of responses.")
    if suffix not in FOLDERS and os.path.getsize(file) == 0:
        raise DataError(f"{file} is empty (0 bytes); write it again.")
    return file, key


def _split_key(path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    file, colon, key = os.fspath(path).rpartition(":")
    if colon and not os.path.exists(path) and Path(file).suffix.lower() in READERS.keys() - SINGLE:
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
        cause = " ".join(error.message.split())
        raise type(error)(cause if str(file) in cause else f"{file}: {cause}") from None
    except MemoryError:
        raise DataError(
            f"{file} announces more data than fits in memory; it is damaged, or should be a .npy."
        ) from None
    except Exception as error:
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{file} cannot be read ({cause}); expected an undamaged {file.suffix} file of real numbers."
        ) from None


def _kept(file: Path, responses: Any) -> NDArray[Any]:
    """Return numbers as floating ones in this machine's byte order, which every consumer (torch included) takes."""
    array = as_array(responses, str(file))
    dtype = kept(array.dtype)
    return array if array.dtype == dtype else unpacked(file, "responses", array, (1,) * array.ndim, dtype)
