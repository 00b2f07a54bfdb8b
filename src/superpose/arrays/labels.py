"""What labels the rows of data frames and xarray's arrays, so that none are paired by position against their labels."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from superpose.files import DataError

# In order of preference, where an array or a coordinate has several.
LABELS = {
    "stimuli": (
        "stimulus",
        "stimuli",
        "stimulus_id",
        "stimulus_ids",
        "image",
        "image_id",
        "image_ids",
        "id",
    ),
    "groups": ("group", "groups", "session", "sessions", "session_id"),
    "repeats": ("repeat", "repeats", "repetition", "repetitions", "trial", "trials"),
}
KINDS = {spelling: kind for kind, spellings in LABELS.items() for spelling in spellings}
# What pandas calls an index without a name, once it has become a column; none is the name of a unit.
UNNAMED = re.compile(r"|index|level_\d+|__index_level_\d+__|unnamed: \d+(_level_\d+)?(\.\d+)*")
# With or without an s.
SAMPLES = ("sample", "presentation", "condition")
UNITS = ("unit", "neuroid", "neuron", "cell", "channel", "voxel", "feature")


def check_rows(systems: Mapping[str, Any]) -> None:
    """Raise a DataError unless rows that are paired by position carry the same labels, or none.

    Examples
    --------
    >>> import pandas as pd
    >>> from superpose.arrays.labels import check_rows
    >>> frame = pd.DataFrame([[1.0], [2.0]], index=["cat", "dog"])
    >>> check_rows({"a": frame, "b": frame})
    """
    labels = {name: row_labels(x, name) for name, x in systems.items()}
    known = {name: own for name, own in labels.items() if own is not None}
    if not known:
        return
    (first, own), *others = known.items()
    bare = [name for name in labels if name not in known]
    if bare:
        raise DataError(
            f"{first} labels its rows ({_some(own)}) and {bare[0]} does not; label both, as "
            "superpose.Recording(name, array, stimuli) does, or pass both as arrays "
            "(.to_numpy()) of the same stimuli in the same order."
        )
    for name, other in others:
        if other != own:
            raise DataError(
                f"{first} labels its rows {_some(own)}, and {name} {_some(other)}; put them in one order, or give them "
                "to superpose.compare, which pairs by label."
            )


def check_units(x: Any, name: str) -> None:
    """Raise a DataError for a data frame with labels among its units, or an xarray array with units first."""
    x = as_frame(x)
    if is_frame(x):
        named = [title for title in map(title_of_column, x.columns) if _is_label(title.strip().lower())]
        if named:
            raise DataError(
                f"{name} has the column {named[0][:40]!r} of labels among its units; make it the index "
                f"(frame.set_index({named[0][:40]!r})), or give the frame to superpose.compare."
            )
    elif _is_named_array(x) and (_names(x.dims[-2], UNITS) or (_names(x.dims[-1], SAMPLES) and len(x.dims) == 2)):
        raise DataError(f"{name} has the axes {', '.join(map(str, x.dims))}; expected units last: transpose it.")


def row_labels(x: Any, name: str) -> list[Any] | None:
    """Return the labels of the rows of a data frame or an array of xarray, None where there are none.

    Raises
    ------
    DataError
        As `check_units`.
    """
    check_units(x, name)
    if is_frame(x):
        return _own(x.index.tolist())
    if not _is_named_array(x):
        return None
    axis = x.dims[-2]
    named = [of for of in x.coords if KINDS.get(str(of).lower()) == "stimuli" and x.coords[of].dims == (axis,)]
    candidates = [x.coords[of].values.tolist() for of in named]
    candidates += [x.indexes[axis].tolist()] if axis in x.indexes else []
    return next((labels for labels in candidates if _own(labels) is not None), None)


def is_frame(x: Any) -> bool:
    """Return whether something is a data frame of pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(x, pandas.DataFrame)


def as_frame(x: Any) -> Any:
    """Return a table of another library (polars, Arrow) as a data frame of pandas, and everything else as it is.

    Examples
    --------
    >>> import pyarrow
    >>> from superpose.arrays.labels import as_frame
    >>> list(as_frame(pyarrow.table({"stimulus": ["cat"], "unit 0": [1.5]})))
    ['stimulus', 'unit 0']
    """
    if is_frame(x) or not (hasattr(x, "__arrow_c_stream__") and hasattr(x, "columns")):
        return x
    from pyarrow import table

    return table(x).to_pandas()


def title_of_column(title: Any) -> str:
    """Return the name of a column of a data frame; of several levels, the one that is not blank, or all of them.

    Examples
    --------
    >>> from superpose.arrays.labels import title_of_column
    >>> title_of_column(("stimulus", "")), title_of_column(("V1", 0)), title_of_column(7)
    ('stimulus', "('V1', 0)", '7')
    """
    levels = [level for level in title if level != ""] if isinstance(title, tuple) else [title]
    return str(levels[0] if len(levels) == 1 else title)


def _is_named_array(x: Any) -> bool:
    xarray = sys.modules.get("xarray")
    return xarray is not None and isinstance(x, xarray.DataArray) and x.ndim > 1


def _names(axis: Any, kinds: tuple[str, ...]) -> bool:
    name = str(axis).strip().lower()
    return name.removesuffix("s") in kinds or (kinds is SAMPLES and name in KINDS)


def _is_label(title: str) -> bool:
    return title in KINDS or UNNAMED.fullmatch(title) is not None


def _own(labels: list[Any]) -> list[Any] | None:
    """Return labels, or None for 0, 1, 2, …, which nobody chose."""
    return None if labels == list(range(len(labels))) else labels


def _some(labels: list[Any]) -> str:
    return ", ".join(str(label)[:20] for label in labels[:3]) + " …"
