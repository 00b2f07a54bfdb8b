"""Sentences as inputs of a language model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence

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
    encoded = tokenizer.encode_batch(list(sentences))
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
