"""Which positions of a layer's output become rows: every token or place, the first, the last, their mean, a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError, argument
from superpose.models.parts import Batch

Rows = tuple[NDArray[Any], NDArray[np.int64]]
# Places of "grid" along an edge: those of the last map of a convolutional network of 224 x 224 pixels.
EDGE = 7


def _every(hidden: NDArray[Any], keep: NDArray[np.bool_]) -> Rows:
    return hidden[keep], np.flatnonzero(keep)


def _first(hidden: NDArray[Any], keep: NDArray[np.bool_]) -> Rows:
    return hidden[:1], np.zeros(1, dtype=np.int64)


def _last(hidden: NDArray[Any], keep: NDArray[np.bool_]) -> Rows:
    last = np.flatnonzero(keep)[-1:]
    return hidden[last], last


def _mean(hidden: NDArray[Any], keep: NDArray[np.bool_]) -> Rows:
    return hidden[keep].mean(axis=0, keepdims=True), np.full(1, -1)


def _grid(hidden: NDArray[Any], keep: NDArray[np.bool_]) -> Rows:
    """Take the places nearest to the centres of an even grid: maps and patches of any size then meet row by row."""
    places = len(hidden)
    edge = math.isqrt(places)
    # Transformers put one class token before the patches.
    first = places - edge**2
    if first > 1 or edge < EDGE:
        raise DataError(
            f"a layer has {places} positions; expected a square of at least {EDGE} x {EDGE}, with or without a class "
            f"token before it. Use {argument('tokens')} 'every', 'mean' or 'cls'."
        )
    nearest = ((np.arange(EDGE) + 0.5) * edge / EDGE).astype(np.int64)
    at = (first + nearest[:, None] * edge + nearest).ravel()
    return hidden[at], at


# Each returns the rows of one sample and the position each was taken from (-1: from several).
TOKENS: Mapping[str, Callable[[NDArray[Any], NDArray[np.bool_]], Rows]] = {
    "every": _every,
    "cls": _first,
    "last": _last,
    "mean": _mean,
    "grid": _grid,
}


def positions(name: str, value: NDArray[Any], tokens: str, samples: int) -> NDArray[Any]:
    """Return an output as (samples, positions, units)."""
    if value.ndim not in (2, 3, 4) or len(value) != samples:
        raise DataError(
            f"layer {name} gives shape {value.shape} for {samples} samples; expected (samples, units), (samples, "
            "length, units) or (samples, channels, height, width)."
        )
    if value.ndim == 4:
        if tokens not in ("every", "mean", "grid"):
            raise DataError(f"layer {name} is a feature map, without a {tokens} token; use mean, every or grid.")
        return np.moveaxis(value.reshape(*value.shape[:2], -1), 1, 2)
    return value[:, None] if value.ndim == 2 else value


def row_positions(
    words: NDArray[np.int64], mask: NDArray[Any], tokens: str, drop: Collection[int]
) -> NDArray[np.int64]:
    """Return the position in a sentence that each of its rows is taken from; -1 for one from several."""
    keep = mask.astype(bool) & ~np.isin(words, list(drop))
    return TOKENS[tokens](words[:, None], keep)[1]


def rows_of_sample(
    hidden: Mapping[str, NDArray[Any]],
    own: Batch,
    sample: int,
    tokens: str,
    drop: Collection[int],
    dtype: np.dtype[Any],
) -> dict[str, NDArray[Any]]:
    """Return the rows of one sample in every layer, with their `groups` (the sample) and `ids` (the tokens)."""
    made: dict[str, NDArray[Any]] = {}
    mask, words = own.get("attention_mask"), own.get("input_ids")
    for name, positions in hidden.items():
        keep = np.ones(len(positions), dtype=bool)
        if mask is not None and len(keep) == len(mask):
            keep &= mask.astype(bool)
        elif mask is not None and len(keep) > 1 and not mask.all():
            raise DataError(
                f"layer {name} gives {len(keep)} positions for {len(mask)} tokens, so that which are padding cannot be "
                "told; expected as many. Leave it out, or give sentences of one length a call."
            )
        if words is not None and len(keep) == len(words):
            keep &= ~np.isin(words, list(drop))
        if not keep.any():
            raise DataError(f"sample {sample} keeps no token; leave it out, or drop fewer token ids.")
        values, at = TOKENS[tokens](positions, keep)
        known = words is not None and len(keep) == len(words) and at[0] >= 0
        ids = words[at] if words is not None and known else np.full(len(at), -1)
        if len(made.setdefault("ids", ids.astype(np.int64))) != len(values):
            raise DataError(
                f"layers give {len(made['ids'])} and {len(values)} rows for sample {sample}; expected one number. Use "
                "tokens mean or cls, or one call a layer."
            )
        made[name] = _narrow(name, values, dtype)
    return {**made, "groups": np.full(len(made["ids"]), sample)}


def _narrow(name: str, values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if values.dtype.kind not in "biuf":
        raise DataError(f"layer {name} gives values of type {values.dtype}; expected real numbers.")
    kept = values[np.isfinite(values)] if values.dtype.kind == "f" else values.astype(np.float64)
    largest = float(np.abs(kept).max(initial=0))
    limit = np.finfo(dtype)
    if largest > float(limit.max):
        raise DataError(f"layer {name} reaches {largest:.3g}, beyond {dtype}; expected less. Keep it in float32.")
    if values.dtype.kind in "iu" and largest > 2.0 ** (limit.nmant + 1):
        raise DataError(f"layer {name} gives whole numbers up to {largest:.0f}, which {dtype} does not tell apart.")
    return values.astype(dtype)
