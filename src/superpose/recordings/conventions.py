"""What attributes say of the numbers of an array (CF and netCDF conventions): packing, fills, times, categories.

xarray knows these conventions. It lets pass netCDF's default fills, valid ranges, flags, and marks of missing values in
another type than the numbers, which are seen to here. It is given numbers that our readers have read, and opens no
file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.packages import package
from superpose.recordings.unpacking import tiles

Array = NDArray[Any]
Convert = Callable[[Any], Array]

FILLS = ("_FillValue", "missing_value")
SCALES = ("scale_factor", "add_offset")
RANGES = ("valid_range", "valid_min", "valid_max")
TIMES = ("units", "calendar", "dtype", "_Encoding")
ATTRIBUTES = (*FILLS, *SCALES, *RANGES, *TIMES, "_Unsigned", "flag_values", "flag_meanings")

# What netCDF writes where nothing was written, unless it is told otherwise; bytes have none.
FLOATING = 9.969209968386869e36
DEFAULT_FILLS = {
    **{"f4": FLOATING, "f8": FLOATING},
    **{"i2": -(2**15) + 1, "i4": -(2**31) + 1, "i8": -(2**63) + 2, "u2": 2**16 - 1, "u4": 2**32 - 1, "u8": 2**64 - 2},
}


def default_fill(dtype: np.dtype[Any]) -> Any:
    """Return what netCDF takes for missing in numbers of a type, None if nothing."""
    return DEFAULT_FILLS.get(f"{dtype.kind}{dtype.itemsize}")


def conversion(file: Path, dtype: np.dtype[Any], attributes: Mapping[str, Any], fill: Any = None) -> Convert:
    """Return what makes numbers of stored ones, NaN where they are missing, or `numpy.asarray` if they are the same.

    Parameters
    ----------
    file : Path
        For messages.
    dtype : numpy.dtype
        Of what is stored.
    attributes : mapping
        What the file says of it.
    fill : number, optional
        What stands for missing where the file names no `_FillValue`.
    """
    if dtype.kind not in "iuf":
        return np.asarray
    stored = _stored_type(dtype, attributes)
    missing, limits = _missing(stored, attributes, fill), _limits(stored, attributes)
    scales = {name: _number(name, attributes[name]) for name in SCALES if name in attributes}
    if scales.get("scale_factor", 1) == 1 and scales.get("add_offset", 0) == 0:
        scales = {}
    if not (len(missing) or scales or limits or stored != dtype):
        return np.asarray
    told = scales | ({"missing_value": missing} if len(missing) else {})

    def convert(values: Any) -> Array:
        raw = np.asarray(values).view(stored)
        made = _decoded(file, raw, told, times=False)
        outside = _outside(raw, limits)
        return np.where(outside, np.nan, made) if limits else made

    return convert


def holds(array: Array, value: Any) -> bool:
    """Return whether a value occurs in an array that may be larger than memory."""
    parts = tiles(array.shape, (1,) * array.ndim, array.dtype.itemsize) if array.size else ()
    return any((array[part] == value).any() for part in parts)


def meanings(
    file: Path, values: Any, attributes: Mapping[str, Any], fill: Any = None, names: Mapping[int, str] | None = None
) -> Array:
    """Return labels as a file means them: text of letters, times, names of categories; None where they are missing.

    Parameters
    ----------
    file, attributes, fill
        As in `conversion`.
    values : array-like
        The labels as they are stored.
    names : mapping of str, optional
        Of categories by their number, where the type itself names them; else the attributes may.
    """
    stored = np.asarray(values)
    if stored.dtype.kind in "iuf":
        stored = stored.view(_stored_type(stored.dtype, attributes))
        missing = np.isin(stored, _missing(stored.dtype, attributes, fill))
        missing |= _outside(stored, _limits(stored.dtype, attributes))
    else:
        marks = [_plain(attributes[name]) for name in FILLS if name in attributes]
        missing = np.isin(stored.astype("U"), marks) if marks else np.zeros(stored.shape, bool)
    names = names or _flags(attributes)
    if names:
        made = np.array([names.get(code) for code in stored.reshape(-1).tolist()], object).reshape(stored.shape)
        missing = np.array([name is None for name in made.flat], bool).reshape(stored.shape) | missing
    else:
        # Fills are left to us: numbers beside them would become floating ones, which have 15 digits.
        told = {name: _plain(attributes[name]) for name in (*SCALES, *TIMES) if name in attributes}
        sound = np.where(missing, np.zeros((), stored.dtype), stored) if missing.any() else stored
        made = _decoded(file, sound, told, times=True) if told or stored.dtype == "S1" else stored
    if not missing.any():
        return made
    if made.dtype.kind in "mM":
        made[missing] = np.array("NaT", made.dtype)
        return made
    made = made.astype(object)
    made[missing] = None
    return made


def _decoded(file: Path, stored: Array, told: Mapping[str, Any], *, times: bool) -> Array:
    xarray = package("xarray", file)
    dataset = xarray.Dataset({"x": ([f"axis {i}" for i in range(stored.ndim)], stored, dict(told))})
    made: Array = xarray.decode_cf(dataset, decode_times=times, decode_timedelta=None if times else False)["x"].values
    return made


def _flags(attributes: Mapping[str, Any]) -> dict[int, str]:
    """Return the names of categories that are stored as numbers, of which there may be none."""
    if not {"flag_values", "flag_meanings"} <= attributes.keys():
        return {}
    words = str(_plain(attributes["flag_meanings"])).split()
    return dict(zip(np.ravel(attributes["flag_values"]).tolist(), words, strict=True))


def _stored_type(dtype: np.dtype[Any], attributes: Mapping[str, Any]) -> np.dtype[Any]:
    """Return the type of what is stored: netCDF 3 has no unsigned numbers, and marks them."""
    said = str(_plain(attributes.get("_Unsigned", ""))).lower()
    kind = {("i", "true"): "u", ("u", "false"): "i"}.get((dtype.kind, said), dtype.kind)
    return np.dtype(f"{dtype.byteorder}{kind}{dtype.itemsize}")


def _missing(dtype: np.dtype[Any], attributes: Mapping[str, Any], fill: Any) -> Array:
    """Return the values that stand for missing ones, in the type that is stored; NaN needs no mark."""
    given = [_as_stored(attributes[name], dtype, attributes) for name in FILLS if name in attributes]
    # Programs that copy netCDF's fill leave it beside another mark, and no number is the same by chance.
    if fill is not None and (dtype.kind == "f" or "_FillValue" not in attributes):
        given.append(np.array([fill], dtype))
    values = np.unique(np.concatenate(given)) if given else np.empty(0, dtype)
    return values[values == values].astype(dtype.newbyteorder("="))


def _limits(dtype: np.dtype[Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the smallest and largest valid value, where there are."""
    given = {name: attributes[name] for name in ("valid_min", "valid_max") if name in attributes}
    if "valid_range" in attributes:
        given = dict(zip(("valid_min", "valid_max"), np.ravel(attributes["valid_range"]), strict=True))
    if dtype.kind == "f" or "_Unsigned" in attributes:
        # An edge of double precision would leave out the same number in single precision.
        return {name: _as_stored(edge, dtype, attributes)[0] for name, edge in given.items()}
    return {name: np.ravel(_read(edge))[0].item() for name, edge in given.items()}


def _outside(stored: Array, limits: Mapping[str, Any]) -> Array:
    outside = np.zeros(stored.shape, bool)
    if "valid_min" in limits:
        outside |= stored < limits["valid_min"]
    if "valid_max" in limits:
        outside |= stored > limits["valid_max"]
    return outside


def _as_stored(value: Any, dtype: np.dtype[Any], attributes: Mapping[str, Any]) -> Array:
    """Return what an attribute says in the type of the numbers that it is about, without what that cannot hold."""
    said = np.ravel(_read(value))
    if dtype.kind == "f":
        return said.astype(dtype)
    ends = np.iinfo(dtype)
    whole = [int(x) for x in said.tolist() if x == x and abs(x) < 2**65 and x == int(x)]
    if "_Unsigned" in attributes:
        # Numbers are marked as unsigned, with their fill still signed.
        whole = [(x - int(ends.min)) % 2**ends.bits + int(ends.min) for x in whole]
    return np.array([x for x in whole if ends.min <= x <= ends.max], dtype)


def _number(name: str, value: Any) -> Any:
    """Return the one number of an attribute, in its own type, which tells how exact the result is to be."""
    said = np.ravel(_read(value))
    if said.size != 1:
        raise DataError(f"{name} has {said.size} numbers; expected one. Write the numbers as they are.")
    return said.astype(np.float64 if said.dtype.kind in "iu" else said.dtype.newbyteorder("="))[0]


def _read(value: Any) -> Array:
    """Return numbers of an attribute, which some programs write as text."""
    said = np.asarray(value)
    return said if said.dtype.kind in "iufb" else said.astype("U").astype(np.float64)


def _plain(value: Any) -> Any:
    """Return an attribute as text or as one number of Python's."""
    said = np.ravel(value)[0]
    said = said.decode("utf-8") if isinstance(said, bytes) else said
    return said.item() if isinstance(said, np.generic) else said
