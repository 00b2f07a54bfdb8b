"""Folds and groups of samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superpose.arrays.tensors import as_labels
from superpose.files import DataError, argument, in_python


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
    labels = as_labels(groups, name)
    if labels.ndim != 1 or (samples is not None and len(labels) != samples):
        raise DataError(
            f"{argument(name)} has shape {labels.shape}; expected one label per sample, ({samples or 'samples'},)."
        )
    missing = 0
    if labels.dtype.kind in "fOMmT":
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
