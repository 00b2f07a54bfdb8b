"""Tables: .csv, .tsv and .parquet, one row per sample and one column per unit; a large .parquet is read by rows."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.arrays.labels import title_of_column
from superpose.files import DataError, check_utf8, lines
from superpose.recordings.asked import Asked
from superpose.recordings.choice import listed
from superpose.recordings.columns import Level, check_no_counter, columns_of, index_stimuli, title_of
from superpose.recordings.labels import KINDS, plain, written
from superpose.recordings.unpacking import at_once, filled, is_large, report

# A name of several levels, each text or a number.
LEVEL = r"(?:'[^'\\]*'|-?\d+(?:\.\d+)?)"
TUPLE = re.compile(rf"\({LEVEL}(?:, {LEVEL})+\)")


def read_csv(file: Path, asked: Asked, delimiter: str = ",") -> dict[str, Any]:
    """Read a table of text, its labels as they are written."""
    from pyarrow import csv as arrow
    from pyarrow import string

    check_utf8(file)
    try:
        with open(file, encoding="utf-8-sig", newline="") as text:
            first = next((row for row in csv.reader(text, delimiter=delimiter) if row), [""])
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not text in UTF-8 ({error}); save it as UTF-8.") from None
    if delimiter == "," and _by_semicolons(first):
        raise DataError(
            f"{file}: cells stand between semicolons; save it with commas between cells and points in numbers "
            f"(pandas.read_csv({file.name!r}, sep=';', decimal=',').to_csv({file.name!r}, index=False))."
        )
    if len(first) == 1:
        _check_blank(file)
    titles = first if _is_header(file, first) else []
    of = columns_of(str(file), titles, len(first))
    table = arrow.read_csv(
        file,
        read_options=arrow.ReadOptions(autogenerate_column_names=not titles),
        parse_options=arrow.ParseOptions(delimiter=delimiter),
        convert_options=arrow.ConvertOptions(
            column_types={titles[i]: string() for i in (*of.labels.values(), *of.levels)}
        ),
    )
    return _parted(file, titles, {}, table.num_columns, table.num_rows, [table], partial(_written, asked.missing))


def read_tsv(file: Path, asked: Asked) -> dict[str, Any]:
    """Read a table of text between tabs."""
    return read_csv(file, asked, delimiter="\t")


def read_parquet(file: Path, asked: Asked) -> dict[str, Any]:
    """Read a table of columns."""
    from pyarrow import Table, parquet

    # Mapped, because a group of rows, often all of them, would be read at once.
    with parquet.ParquetFile(file, memory_map=True) as source:
        schema, rows = source.schema_arrow, source.metadata.num_rows
        names = titles_of(schema.metadata, schema.names)
        index, counted = pandas_index(schema.metadata, names, rows)
        if not is_large((rows, len(names)), np.dtype(np.float64)):
            return _parted(file, names, index, len(names), rows, [source.read()], _stored, counted)
        batches = source.iter_batches(at_once(8 * len(names)), use_threads=False)
        parts = (Table.from_batches([batch]) for batch in batches)
        return _parted(file, names, index, len(names), rows, parts, _stored, counted)


def titles_of(metadata: Mapping[bytes, bytes] | None, names: list[str]) -> list[str]:
    """Return the names of columns, which pandas writes as tuples where they have several levels."""
    said = json.loads((metadata or {}).get(b"pandas", b"{}"))
    if len(said.get("column_indexes", ())) < 2:
        return names
    return [title_of_column(ast.literal_eval(name)) if TUPLE.fullmatch(name) else name for name in names]


def pandas_index(
    metadata: Mapping[bytes, bytes] | None, names: list[str], rows: int
) -> tuple[dict[str, int], list[Level]]:
    """Return the columns that pandas says are a table's index, by their names in it, and levels that are a range."""
    said = json.loads((metadata or {}).get(b"pandas", b"{}"))
    called = {column.get("field_name"): column.get("name") for column in said.get("columns", ())}
    index, counted = {}, []
    for level in said.get("index_columns", ()):
        if isinstance(level, dict) and level.get("kind") == "range":
            start, stop, step = (int(level[part]) for part in ("start", "stop", "step"))
            # A program that drops rows and keeps the metadata leaves a range of another length.
            if rows == max(0, -(-(stop - start) // step)):
                counted.append(Level(level.get("name") or "", plain(np.arange(start, stop, step))))
        elif level in names:
            index[called.get(level) or level] = names.index(level)
    return index, counted


def _check_blank(file: Path) -> None:
    """Refuse a blank line between the samples of a single unit: it may be one that is missing, or none."""
    rows = "\n".join(lines(file)).strip("\n").split("\n")
    if "" in rows[1:]:
        raise DataError(f"{file}: line {rows.index('') + 1} is blank; write nan for a missing number, or leave it out.")


def _is_header(file: Path, first: list[str]) -> bool:
    """Tell names from a first sample, and refuse what could be either."""
    numbers = [_is_number(cell) for cell in first]
    labelled = any(cell.strip().lower() in KINDS for cell in first)
    counts = [str(i) for i in range(len(first))]
    if labelled or not any(numbers) or first == ["", *counts[:-1]]:
        return True
    if not all(numbers) or (len(first) > 1 and first == counts):
        raise DataError(
            f"{file}: the first row ({listed(first[:4])} …) may be a header or a sample; give every column a name "
            "that is not a number, or write no header and nan for what is missing."
        )
    return False


def _by_semicolons(first: list[str]) -> bool:
    """Say whether a first row, parted at its commas, was meant to be parted at semicolons: names, or decimal commas."""
    cells = ",".join(first).split(";")
    return len(cells) > 1 and (len(first) == 1 or all(_is_number(cell.replace(",", ".")) for cell in cells))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parted(
    file: Path,
    titles: list[str],
    index: Mapping[str, int],
    count: int,
    rows: int,
    parts: Iterable[Any],
    texts: Callable[[str, list[Any]], NDArray[Any]],
    counted: Collection[Level] = (),
) -> dict[str, Any]:
    """Part a table, which comes by rows, into labels and a matrix of units.

    `index` are columns of an index by name, `counted` levels of it that are no columns, and `texts` makes labels of
    the parts of a column.
    """
    called = {i: name for name, i in index.items()}
    of = columns_of(str(file), [called.get(i, title) for i, title in enumerate(titles)], count, index.values())
    if not of.units or not rows:
        raise DataError(f"{file} has {rows} rows of {len(of.units)} units; expected at least one of each.")
    found: dict[int, list[Any]] = {i: [] for i in (*of.labels.values(), *of.levels)}

    def fill(out: NDArray[Any]) -> None:
        start = 0
        for part in parts:
            stop = start + part.num_rows
            for unit, i in enumerate(of.units):
                out[start:stop, unit] = _unit_column(file, part.column_names[i], part.column(i))
            for i, chunks in found.items():
                chunks.append(part.column(i))
            start = stop
            report(file, start * out[0].nbytes, out.nbytes)
        if start < rows:
            raise DataError(f"{file} announces {rows} rows and has {start}; write it again.")

    responses = filled(str(file), (rows, len(of.units)), np.dtype(np.float64), fill)

    def label(i: int) -> NDArray[Any]:
        return texts(f"{file}: labels in column {titles[i][:40]!r}", found[i])

    labels = {kind: label(i) for kind, i in of.labels.items()}
    sources = {kind: titles[i].strip() for kind, i in of.labels.items()}
    levels = [*(Level(title_of(called.get(i, titles[i])), label(i)) for i in of.levels), *counted]
    level = index_stimuli(str(file), levels, labels)
    if level is not None:
        labels["stimuli"], sources["stimuli"] = level.labels, level.name
    elif "stimuli" not in labels and titles and len(of.units) > 1:
        check_no_counter(str(file), titles[of.units[0]], responses[:, 0])
    return {"responses": responses, **labels, "sources": sources}


def _written(missing: Collection[str] | None, name: str, column: list[Any]) -> NDArray[Any]:
    return written((cell for part in column for cell in part.to_pylist()), missing, name)


def _stored(name: str, column: list[Any]) -> NDArray[Any]:
    from pyarrow import chunked_array

    chunks = [chunk for part in column for chunk in part.chunks]
    # Whole numbers beside a missing one would become floating ones.
    return plain(chunked_array(chunks, column[0].type).to_pandas(integer_object_nulls=True), name)


def _unit_column(file: Path, name: str, column: Any) -> NDArray[Any]:
    from pyarrow import float64, types

    numeric = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    if not any(is_kind(column.type) for is_kind in numeric):
        example = next((value for value in column.to_pylist() if value is not None), None)
        raise DataError(
            f"{file}: column {name[:40]!r} holds {str(column.type)[:40]} ({str(example)[:40]!r}); expected numbers. "
            "Columns of labels are named stimulus, image, id, group, session, repeat, trial or their like; names stand "
            "in one row (join several: V1_unit0)."
        )
    values: NDArray[Any] = column.cast(float64(), safe=False).to_numpy()
    return values
