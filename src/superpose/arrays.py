"""The shape rule (…, samples, units), validation of what users pass, folds, groups and row chunks."""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from mmap import mmap
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.files import DataError, argument, in_python, on_command_line
from superpose.numerics.float16 import all_finite, widened
from superpose.rows import check_units
from superpose.tensors import as_array, to_numpy

# Beyond these, sums of fourth powers in float64, or of squares in float32, may overflow; by bytes of a number.
LARGEST = {2: 65504.0, 4: 1e15, 8: 1e60}

# What types are called that are no real numbers; NumPy saves those that are not its own, such as bfloat16, as bytes.
KINDS = {"c": "complex numbers", "O": "Python objects", "U": "text", "S": "text", "V": "records or raw bytes"}

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def like_input(function: F) -> F:
    """Let a function written for NumPy take torch tensors, and give tensors on the same device back.

    Positional arguments that are tensors become arrays (CPU tensors share their memory); if any was a tensor,
    array results, and those in a returned tuple, become tensors on the device of the first.
    """

    names = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        torch: Any = sys.modules.get("torch")
        tensors = [] if torch is None else [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)]
        if not tensors:
            return function(*args, **kwargs)
        device = tensors[0].device

        def back(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(back(v) for v in value)
            return torch.as_tensor(value, device=device) if isinstance(value, np.ndarray | np.generic) else value

        named = {key: to_numpy(value, key) for key, value in kwargs.items()}
        keys = itertools.chain(names, itertools.repeat("an array"))
        return back(function(*map(to_numpy, args, keys), **named))

    return wrapper  # type: ignore[return-value]


def as_responses(x: ArrayLike, name: str = "x") -> NDArray[Any]:
    """Return responses as a real floating array of shape (…, samples, units), without reading its values.

    Integers, booleans and longer floats become float64; float16, float32 and float64 stay, memory maps stay mapped.

    Raises
    ------
    DataError
        For objects, text, complex numbers, masked values, rows of different lengths, fewer than two axes, an empty
        axis, or a data frame with labels among its units.
    """
    check_units(x, name)
    array = as_array(x, name)
    if array.dtype.kind in "iub" or array.dtype == np.longdouble:
        array = array.astype(np.float64)
    if array.dtype.kind != "f":
        kind = KINDS.get(array.dtype.kind, f"values of type {array.dtype}")
        raise DataError(f"{name} holds {kind}; expected real numbers. Convert them to float32 or float64 first.")
    if array.ndim < 2:
        raise DataError(
            f"{name} has {array.ndim} dimension(s), shape {array.shape}; expected (samples, units), with any repeats "
            "in front. Reshape a single unit to (samples, 1)."
        )
    if 0 in array.shape:
        raise DataError(f"{name} is empty, shape {array.shape}; expected at least one sample and one unit.")
    return array


def is_mapped(x: Any) -> bool:
    """Return whether an array is a view of a file.

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.arrays import is_mapped
    >>> is_mapped(np.ones(3))
    False
    """
    while x is not None and not isinstance(x, np.memmap | mmap):
        x = getattr(x, "base", None)
    return x is not None


def check_finite(x: NDArray[Any], name: str = "x") -> None:
    """Raise a DataError that counts and places the NaN and infinite values of `x`, if it has any."""
    _check_within(x, name, float(np.finfo(np.float64).max))


def check_moderate(x: NDArray[Any], name: str = "x") -> None:
    """Raise a DataError as `check_finite` does, and for values whose products would overflow."""
    _check_within(x, name, LARGEST[min(x.dtype.itemsize, 8)])


def _check_within(x: NDArray[Any], name: str, limit: float) -> None:
    if x.dtype.kind == "f":
        limit = min(limit, float(np.finfo(x.dtype).max))
    bad, first = 0, None
    for start, rows in chunks(x):
        if rows.dtype == np.float16 and all_finite(rows):
            continue
        rows = widened(rows)
        if -limit <= rows.min() <= rows.max() <= limit:
            continue
        where = np.argwhere(~(np.abs(rows) <= limit))
        if first is None:
            first = where[0].copy()
            first[-2] += start
        bad += len(where)
    if first is None:
        return
    value = x[tuple(first)]
    what = (
        "NaN or infinite value(s)" if not np.isfinite(value) else f"value(s) beyond {limit:g}, whose products overflow"
    )
    raise DataError(
        f"{name} has {bad} {what}, the first ({value}) at row {first[-2]}, unit {first[-1]}; remove those samples from "
        f"every system, or {'impute them' if not np.isfinite(value) else 'rescale it'}."
    )


def check_paired(systems: Mapping[str, NDArray[Any]]) -> int:
    """Return the number of samples that all systems share, or raise a DataError that says the two counts."""
    names = list(systems)
    samples = systems[names[0]].shape[-2]
    for name in names[1:]:
        if systems[name].shape[-2] != samples:
            raise DataError(
                f"{names[0]} has {samples} samples and {name} has {systems[name].shape[-2]}; every system must have "
                "seen the same stimuli in the same order. "
                f"{in_python('superpose.match pairs recordings by stimulus id.')}"
                f"{on_command_line('Files that label their stimuli are paired by label.')}"
            )
    return samples


def chunks(x: NDArray[Any], rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (first row, view) over the samples axis; by default about 8 MiB a chunk, as float32 at least."""
    samples = x.shape[-2]
    if rows is None:
        rows = max(1, int(2**23 // max(1, max(x.itemsize, 4) * x.size // samples)))
    for start in range(0, samples, rows):
        yield start, x[..., start : start + rows, :]


def contiguous_folds(samples: int, folds: int) -> NDArray[np.int64]:
    """Return the fold of each sample: fold i is `numpy.array_split(arange(samples), folds)[i]`."""
    _check_folds(samples, folds)
    return np.sort(np.arange(samples) % folds)


def shuffled_folds(samples: int, folds: int, *, labels: ArrayLike | None = None, seed: int = 0) -> NDArray[np.int64]:
    """Return the fold of each sample, drawn at random: equal in size, and in what the samples show where labelled.

    Parameters
    ----------
    samples, folds : int
    labels : array-like, (samples,), optional
        What each sample shows (a category, a word): every fold gets an equal share of each.
    seed : int

    Examples
    --------
    >>> import numpy as np
    >>> from superpose.arrays import shuffled_folds
    >>> fold = shuffled_folds(6, 2, labels=["cat", "cat", "dog", "dog", "cat", "cat"])
    >>> np.bincount(fold).tolist(), np.bincount(fold[2:4]).tolist()
    ([3, 3], [1, 1])
    """
    _check_folds(samples, folds)
    order = np.random.default_rng((seed, 0)).permutation(samples)
    if labels is not None:
        order = order[np.argsort(group_labels(labels, samples)[order], kind="stable")]
    label = np.empty(samples, dtype=np.int64)
    label[order] = np.arange(samples) % folds
    return label


def _check_folds(samples: int, folds: int) -> None:
    if not isinstance(folds, int | np.integer) or folds < 2:
        raise DataError(
            f"{argument('cv')} is {folds!r}; expected an integer of at least 2"
            f"{in_python(', or None to score in-sample')}."
        )
    if samples < 2 * folds:
        raise DataError(
            f"{samples} samples are too few for {folds} folds; expected at least two a fold. "
            f"Lower {argument('cv')}{in_python(', or use None')}."
        )


def group_folds(
    groups: ArrayLike, folds: int, *, labels: ArrayLike | None = None, seed: int | None = None
) -> NDArray[np.int64]:
    """Return the fold of each sample such that no group (sentence, trial, photograph) is split.

    Groups are taken from the largest down, each into the fold that has the fewest samples so far; with labels, into
    that which has the fewest of what the group shows.

    Parameters
    ----------
    groups : array-like, (samples,)
        The group of each sample: integers or text.
    folds : int
        How many folds; at most the number of groups.
    labels : array-like, (samples,), optional
        What each sample shows (a category, a word).
    seed : int, optional
        Take groups of equal size in random order; None takes them in order of first appearance.

    Examples
    --------
    >>> from superpose.arrays import group_folds
    >>> group_folds(["a", "a", "b", "c", "c"], 2)
    array([0, 0, 0, 1, 1])
    """
    label = group_labels(groups)
    sizes = np.bincount(label)
    if not isinstance(folds, int | np.integer) or not 2 <= folds <= len(sizes):
        raise DataError(
            f"{argument('cv')} is {folds!r} with {len(sizes)} group(s); expected an integer from 2 to the number of "
            "groups."
        )
    order = np.arange(len(sizes)) if seed is None else np.random.default_rng((seed, 0)).permutation(len(sizes))
    shown = np.zeros(len(label), dtype=np.int64) if labels is None else group_labels(labels, len(label))
    total = np.bincount(shown)
    filled, counts = np.zeros(folds, dtype=np.int64), np.zeros((folds, len(total)))
    fold_of = np.empty(len(sizes), dtype=np.int64)
    rows = np.split(shown[np.argsort(label, kind="stable")], np.cumsum(sizes)[:-1])
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        what, many = np.unique(rows[group], return_counts=True)
        # Among folds that have as few of it, the one that is filled least.
        fold = np.lexsort((filled, (counts[:, what] @ (many / total[what])).round(12)))[0]
        fold_of[group] = fold
        filled[fold] += sizes[group]
        counts[fold, what] += many
    return fold_of[label]


def group_labels(groups: ArrayLike, samples: int | None = None, name: str = "groups") -> NDArray[np.int64]:
    """Return groups as consecutive integers from 0, in order of first appearance.

    Raises
    ------
    DataError
        If `groups` is not one label per sample, or a label is missing (NaN).
    """
    labels = as_array(groups, name)
    if labels.ndim != 1 or (samples is not None and len(labels) != samples):
        raise DataError(
            f"{argument(name)} has shape {labels.shape}; expected one label a sample, ({samples or 'samples'},)."
        )
    missing = 0
    if labels.dtype.kind in "fOM":
        from pandas import isna

        missing = int(isna(labels).sum())
    if missing:
        raise DataError(f"{argument(name)} has {missing} missing label(s) (NaN); give every sample one.")
    if labels.dtype.kind == "O":
        labels = labels.astype(str)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def meant(value: Any, names: Iterable[Any]) -> str:
    """Return a sentence with the one of some names that a misspelt one comes near to, if any does."""
    plain = {str(name).casefold(): str(name) for name in names}
    near = get_close_matches(str(value).casefold(), plain, 1)
    return f" Did you mean {plain[near[0]]!r}?" if near else ""


def choose(table: Mapping[Any, T], name: str, value: Any) -> T:
    """Return what a public option stands for, or raise a DataError that lists what it can be."""
    if value not in table:
        raise DataError(
            f"{argument(name)} is {value!r}; expected one of {', '.join(map(repr, table))}.{meant(value, table)}"
        )
    return table[value]
