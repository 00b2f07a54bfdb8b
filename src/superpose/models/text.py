"""Sentences as inputs of a language model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.models.parts import INSTALL, first_line


def tokenize(path: str | os.PathLike[str], sentences: Sequence[str], *, length: int) -> dict[str, NDArray[np.int64]]:
    """Return sentences as inputs of a language model, padded to the longest; a warning says how many were cut.

    Parameters
    ----------
    path : path-like
        A tokenizer.json.
    sentences : sequence of str
        The text.
    length : int
        The most tokens a sentence keeps, special ones included.

    Returns
    -------
    dict
        `input_ids` and `attention_mask`, (sentences, longest), int64.

    Raises
    ------
    DataError
        If the tokenizers package is missing, the file is not a tokenizer, or a sentence has no token.
    """
    encoded = _encoded(path, sentences, length)
    cut = sum(bool(one.overflowing) for one in encoded)
    if cut:
        warnings.warn(f"{cut} of {len(encoded)} sentences are longer than {length} tokens and were cut.", stacklevel=2)
    empty = sum(not any(one.attention_mask) for one in encoded)
    if empty:
        raise DataError(f"{empty} of {len(encoded)} sentences have no token; leave them out.")
    return {
        "input_ids": np.array([one.ids for one in encoded], dtype=np.int64),
        "attention_mask": np.array([one.attention_mask for one in encoded], dtype=np.int64),
    }


def token_spans(path: str | os.PathLike[str], sentences: Sequence[str], *, length: int) -> NDArray[np.int32]:
    """Return where each token that `tokenize` gives stands in its sentence, (sentences, longest, 2).

    The first letter, counted from 0, and the one after the last; both are equal for what stands for no letters, such
    as [CLS], [SEP] and padding.
    """
    return np.array([one.offsets for one in _encoded(path, sentences, length)], dtype=np.int32)


def _encoded(path: str | os.PathLike[str], sentences: Sequence[str], length: int) -> list[Any]:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise DataError(f"tokens need the tokenizers package; {INSTALL}.") from None
    try:
        tokenizer = Tokenizer.from_file(os.fspath(path))
    except Exception as error:
        raise DataError(f"{path} cannot be read as a tokenizer ({first_line(error)}).") from None
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding()
    found: list[Any] = tokenizer.encode_batch(list(sentences))
    return found
