"""Labels of samples as text, the same of every format: what names them, how they are written, which are missing."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays.labels import KINDS, LABELS
from superpose.arrays.tensors import as_labels
from superpose.files import DataError, in_python, on_command_line

__all__ = ["KINDS", "LABELS", "MISSING", "labelled", "plain", "written"]

# How files of text write that a label is missing, beside leaving it blank.
MISSING = (
    *("NaN", "nan", "NAN", "Nan", "-nan", "NA", "na", "Na", "N/A", "n/a", "N/a"),
    *("#N/A", "#NA", "<NA>", "<na>", "NaT", "nat"),
)
WHOLE = re.compile(r"[+-]?\d+\.0")


def plain(values: ArrayLike, what: str = "labels") -> NDArray[Any]:
    """Return labels as text, None where one is missing: what every reader and every recording makes of stored labels.

    Text stays as it is written. Whole numbers that are stored as floating ones, as MATLAB does and as pandas does
    beside a missing one, are those numbers; where any is fractional, all are written as pandas writes them. Missing are
    None, NaN, NaT, pandas.NA, masked values and blank text. What `plain` returns it returns again as it is.

    Parameters
    ----------
    values : array-like
        Of any shape and type: NumPy's, pandas', tensors.
    what : str
        What they are, for messages.

    Returns
    -------
    numpy.ndarray of object
        Of the same shape.

    Raises
    ------
    DataError
        For numbers so large that their type does not tell them apart, text that is not UTF-8, and what is no label.

    Examples
    --------
    >>> from superpose.recordings.labels import plain
    >>> plain([1.0, 2.0]).tolist(), plain([22.0, 22.5]).tolist(), plain(["1.10", None]).tolist()
    (['1', '2'], ['22.0', '22.5'], ['1.10', None])
    """
    if (pandas := sys.modules.get("pandas")) and isinstance(getattr(values, "dtype", None), pandas.DatetimeTZDtype):
        return _zoned(pandas.Series(values))
    hidden = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    stored = values.data if isinstance(values, np.ma.MaskedArray) else as_labels(values, what)
    if stored.dtype.kind not in WRITERS:
        raise DataError(f"{what} are of type {stored.dtype}; expected numbers, text or dates, one a row.")
    out = np.empty(stored.shape, dtype=object)
    flat = stored.reshape(-1)
    texts = WRITERS[stored.dtype.kind](flat, what)
    out.reshape(-1)[:] = [None if text is None or not text.strip() else text for text in texts]
    if hidden is not None:
        out[hidden] = None
    return out


def written(cells: Iterable[str | None], missing: Collection[str] | None = None, what: str = "labels") -> NDArray[Any]:
    """Return labels of a file of text, none of which may be missing: blank, or one of `missing`, by default `MISSING`.

    Numbers lose an ".0" where every label ends in one: pandas writes whole numbers so, where one was missing before.

    Raises
    ------
    DataError
        If a row has no label.

    Examples
    --------
    >>> from superpose.recordings.labels import written
    >>> written(["1.0", "2.0"]).tolist(), written(["1.0", "1.10"]).tolist(), written(["007", "1e3"]).tolist()
    (['1', '2'], ['1.0', '1.10'], ['007', '1e3'])
    """
    texts = ["" if cell is None else cell for cell in cells]
    spellings = {"", *(MISSING if missing is None else missing)}
    lacking = [row for row, text in enumerate(texts) if text.strip() in spellings]
    if lacking:
        first = texts[lacking[0]].strip()
        how = in_python("missing=[]") + on_command_line("--missing ''")
        remedy = f", or say that {first!r} is one: {how}" if first else ""
        raise DataError(
            f"{what}: {len(lacking)} missing, the first at row {lacking[0]}{f' ({first!r})' if first else ''}; label "
            f"every row{remedy}."
        )
    if texts and all(map(WHOLE.fullmatch, texts)):
        texts = [_unsigned_zero(text[:-2]) for text in texts]
    out = np.empty(len(texts), dtype=object)
    out[:] = texts
    return out


def labelled(values: ArrayLike, samples: int, what: str) -> NDArray[np.str_]:
    """Return one label per row, as text.

    Raises
    ------
    DataError
        If there is not one a row, or one is missing.
    """
    labels = plain(values, what)
    if labels.shape != (samples,):
        raise DataError(f"{what} have shape {labels.shape}; expected one label per row, ({samples},).")
    missing = [row for row, label in enumerate(labels) if label is None]
    if missing:
        raise DataError(f"{what}: {len(missing)} missing, the first at row {missing[0]}; label every row.")
    return labels.astype(str)


def _unsigned_zero(text: str) -> str:
    return "0" if text in ("-0", "+0") else text


def _as_they_are(labels: NDArray[Any], what: str) -> list[str | None]:
    return labels.astype(str).tolist()


def _decoded(labels: NDArray[Any], what: str) -> list[str | None]:
    return [_utf8(label, what) for label in labels.tolist()]


def _utf8(label: bytes, what: str) -> str:
    try:
        return label.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{what} hold {label[:40]!r}, which is not UTF-8; write text in UTF-8.") from None


def _numbers(labels: NDArray[Any], what: str) -> list[str | None]:
    missing = np.isnan(labels)
    known = labels[~missing]
    texts = np.empty(len(labels), dtype=object)
    if (known == np.trunc(known)).all() and np.isfinite(known).all():
        # Beyond, neighbours are one number: two ids may have become one.
        limit = 2.0 ** (np.finfo(labels.dtype).nmant + 1)
        if (np.abs(known) >= limit).any():
            largest = known[np.abs(known).argmax()]
            raise DataError(
                f"{what} hold {largest!s} as {labels.dtype}, which tells whole numbers apart below {limit:.0f}; "
                "store labels as integers or text."
            )
        texts[~missing] = known.astype(np.int64).astype(str)
    else:
        texts[~missing] = known.astype(str)
    return texts.tolist()


def _times(labels: NDArray[Any], what: str) -> list[str | None]:
    """Write dates and times as pandas writes them into files of text: without the hour where all are at midnight."""
    from pandas import Series

    return _zoned(Series(labels)).tolist()


def _zoned(column: Any) -> NDArray[Any]:
    """Return times of a pandas.Series, with or without a zone, as text."""
    out = np.empty(len(column), dtype=object)
    out[:] = [None if isna else text for text, isna in zip(column.astype(str), column.isna(), strict=True)]
    return out


def _objects(labels: NDArray[Any], what: str) -> list[str | None]:
    from pandas import isna

    values = [None if np.ndim(value) == 0 and bool(isna(value)) else value for value in labels.tolist()]
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, float | np.floating | np.datetime64) for value in present):
        one = np.array(present)
        if one.dtype.kind in "fM":
            texts = iter(WRITERS[one.dtype.kind](one, what))
            return [None if value is None else next(texts) for value in values]
    return [None if value is None else _one(value, what) for value in values]


def _one(value: Any, what: str) -> str:
    if isinstance(value, bytes):
        return _utf8(value, what)
    kind = type(value)
    if np.ndim(value) or isinstance(value, dict | set) or repr(value) == object.__repr__(value):
        raise DataError(f"{what} hold {kind.__name__} ({str(value)[:40]!r}); expected one number, text or date a row.")
    return str(value)


WRITERS = {
    **dict.fromkeys("iubU", _as_they_are),
    "S": _decoded,
    "f": _numbers,
    **dict.fromkeys("mM", _times),
    **dict.fromkeys("OT", _objects),
}
