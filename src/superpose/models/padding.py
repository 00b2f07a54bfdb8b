"""Padding of sentences, as `attention_mask` tells it: put behind their tokens, so that a model reads each as alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError
from superpose.models.inputs import Inputs
from superpose.models.parts import Batch

MASK, WORDS = "attention_mask", "input_ids"
# Inputs of pictures beside sentences, whose second axis may happen to be as long.
PIXELS = "pixel_"
# Inputs of a decoder that has an encoder have a length of their own.
DECODER = "decoder_"
# So many padding tokens at an end of a row are no word of it.
FEW = 2


def lengths(inputs: Inputs, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many tokens each sample has, 0 where there is no mask.

    Raises
    ------
    DataError
        If the mask is not 1 for tokens and 0 for padding, (samples, length), or what it masks belongs to a decoder too.
    """
    if MASK not in inputs:
        return np.zeros(len(rows), dtype=np.int64)
    mask = np.asarray(inputs[MASK][rows])
    if mask.ndim != 2 or not np.isin(mask, (0, 1)).all():
        values = np.unique(mask)[:3].tolist()
        raise DataError(
            f"{MASK} has shape {mask.shape} and values such as {values}; expected (samples, length), 1 for tokens and "
            "0 for padding."
        )
    others = [key for key in inputs if str(key).startswith(DECODER)]
    if others and not mask.all():
        raise DataError(
            f"{MASK} marks padding, and {others[0]} has a length of its own; expected an encoder or a decoder. Record "
            "model.get_encoder(), or sentences of one length a call."
        )
    return mask.sum(axis=1).astype(np.int64)


def batch_of(inputs: Inputs, rows: NDArray[np.int64]) -> Batch:
    """Return the rows of a batch; what is as long as the mask begins with a token and ends with the longest sample.

    Padding before a sentence would shift its positions, and what a causal model attends to.
    """
    some = {key: np.asarray(value[rows]) for key, value in inputs.items()}
    if MASK not in some:
        return some
    mask = some[MASK].astype(bool)
    length = mask.shape[1]
    before = mask.argmax(axis=1)
    end = int((length - mask[:, ::-1].argmax(axis=1) - before)[mask.any(axis=1)].max(initial=1))
    places = (before[:, None] + np.arange(end)) % length

    def moved(value: NDArray[Any]) -> NDArray[Any]:
        if not before.any():
            return value[:, :end]
        return np.take_along_axis(value, places.reshape(*places.shape, *[1] * (value.ndim - 2)), axis=1)

    along = {key for key, value in some.items() if value.shape[:2] == mask.shape and not str(key).startswith(PIXELS)}
    return {key: moved(value) if key in along else value for key, value in some.items()}


def check_masked(model: Any, some: Batch) -> None:
    """Raise a DataError where sentences end in the padding token of the model's configuration and no mask says so."""
    config = getattr(model, "config", None)
    token = getattr(config, "pad_token_id", None)
    ends = [getattr(config, f"{name}_token_id", None) for name in ("bos", "eos", "sep", "cls")]
    words = _words(some)
    if MASK in some or token is None or token in ends or words is None:
        return
    padded = words == token
    count = int((padded[:, :FEW].all(axis=1) | padded[:, -FEW:].all(axis=1)).sum()) if words.shape[1] >= FEW else 0
    if count:
        raise DataError(
            f"{count} sample(s) begin or end with the padding token {token}, and no {MASK} says so; expected one, 1 "
            "for tokens and 0 for padding, with {'input_ids': …, 'attention_mask': …} as inputs."
        )


def check_length(model: Any, some: Batch) -> None:
    """Raise a DataError where sentences are longer than the positions that a model has learned."""
    words, most = _words(some), text_limit(model)
    if words is not None and most is not None and words.shape[1] > most:
        raise DataError(
            f"a sentence has {words.shape[1]} tokens and the model has {most} positions; cut sentences there."
        )


def _words(some: Batch) -> NDArray[Any] | None:
    """Return the tokens of a batch: what is named so, or a first argument of whole numbers in two axes."""
    words = some.get(WORDS, some.get(None))
    return words if words is not None and words.ndim == 2 and words.dtype.kind in "iu" else None


def text_limit(model: Any) -> int | None:
    """Return the most tokens that a model of sentences takes, or None where no table of positions limits them.

    Examples
    --------
    >>> from transformers import BertConfig, BertModel
    >>> from superpose.models import text_limit
    >>> sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    >>> text_limit(BertModel(BertConfig(max_position_embeddings=40, **sizes)))
    40
    """
    import torch

    if not isinstance(model, torch.nn.Module):
        return None
    tables = [
        module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Embedding)
        and name.rpartition(".")[2] in ("position_embeddings", "position_embedding", "embed_positions", "wpe")
        and "vision_model." not in name
    ]
    # RoBERTa counts positions from the padding's on; OPT and BART keep two rows that no token takes.
    sizes = [table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1) for table in tables]
    said = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    return min([*sizes, *([said] if sizes and isinstance(said, int) else [])], default=None)
