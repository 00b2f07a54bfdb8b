"""Tables: .csv, .tsv and .parquet, one row a sample and one column a unit; a large .parquet is read by rows."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.choice import listed
from superpose.recordings.labels import LABELS
from superpose.recordings.unpacking import at_once, filled, is_large, report


def read_csv(file: Path, key: str | None, delimiter: str = ",") -> dict[str, Any]:
    """Read a table of text."""
    from pyarrow import csv as arrow

    with open(file, encoding="utf-8-sig", newline="") as text:
        named = _is_header(file, next((row for row in csv.reader(text, delimiter=delimiter) if row), [""]))
    table = arrow.read_csv(
        file,
        read_options=arrow.ReadOptions(autogenerate_column_names=not named),
        parse_options=arrow.ParseOptions(delimiter=delimiter),
    )
    return _columns(file, table.column_names if named else [], table.num_columns, table.num_rows, [table])


def read_tsv(file: Path, key: str | None) -> dict[str, Any]:
    """Read a table of text between tabs."""
    return read_csv(file, key, delimiter="\t")


def read_parquet(file: Path, key: str | None) -> dict[str, Any]:
    """Read a table of columns."""
    from pyarrow import Table, parquet

    # Mapped, because a group of rows, often all of them, would be read at once.
    with parquet.ParquetFile(file, memory_map=True) as source:
        names, rows = source.schema_arrow.names, source.metadata.num_rows
        if not is_large((rows, len(names)), np.dtype(np.float64)):
            return _columns(file, names, len(names), rows, [source.read()])
        batches = source.iter_batches(at_once(8 * len(names)), use_threads=False)
        parts = (Table.from_batches([batch]) for batch in batches)
        return _columns(file, names, len(names), rows, parts)


def _is_header(file: Path, first: list[str]) -> bool:
    """Tell names from a first sample, and refuse what could be either."""
    numbers = [_is_number(cell) for cell in first]
    labelled = any(cell.strip().lower() in names for cell in first for names in LABELS.values())
    counts = [str(i) for i in range(len(first))]
    if labelled or not any(numbers) or first == ["", *counts[:-1]]:
        return True
    if not all(numbers) or (len(first) > 1 and first == counts):
        raise DataError(
            f"{file}: the first row ({listed(first[:4])} …) may be a header or a sample; give every column a name "
            "that is not a number, or write no header and nan for what is missing."
        )
    return False


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _columns(file: Path, titles: list[str], count: int, rows: int, parts: Iterable[Any]) -> dict[str, Any]:
    """Part a table, which comes by rows, into labels and a matrix of units."""
    names = [name.strip().lower() for name in titles]
    names[:1] = ["id" if name == "" else name for name in names[:1]]
    labels: dict[str, int] = {}
    for kind, spellings in LABELS.items():
        at = [i for i, name in enumerate(names) if name in spellings]
        if len(at) > 1:
            raise DataError(f"{file} has {len(at)} columns for {kind}; expected one of {', '.join(spellings[:2])}.")
        if at:
            labels[kind] = at[0]
    units = [i for i in range(count) if i not in labels.values()]
    if not units or not rows:
        raise DataError(f"{file} has {rows} rows of {len(units)} units; expected at least one of each.")
    found: dict[str, list[Any]] = {kind: [] for kind in labels}

    def fill(out: NDArray[Any]) -> None:
        start = 0
        for part in parts:
            stop = start + part.num_rows
            for unit, i in enumerate(units):
                out[start:stop, unit] = _unit_column(file, part.column_names[i], part.column(i))
            for kind, i in labels.items():
                found[kind] += part.column(i).to_pylist()
            start = stop
            report(file, start * out[0].nbytes, out.nbytes)
        if start < rows:
            raise DataError(f"{file} announces {rows} rows and has {start}; write it again.")

    responses = filled(str(file), (rows, len(units)), np.dtype(np.float64), fill)
    return {"responses": responses, **{kind: np.array(column, dtype=object) for kind, column in found.items()}}


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
