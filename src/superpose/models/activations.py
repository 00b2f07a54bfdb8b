"""Activations of a model's layers, over all inputs, batch by batch, kept in memory or in a store.

Every kind of model is one thing here, a function from a batch of inputs to {layer: output}; the rest (masking,
choice of tokens, order, storage) is shared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.arrays import choose
from superpose.files import DataError
from superpose.models.hooks import open_torch
from superpose.models.inputs import Inputs, as_inputs, input_digests
from superpose.models.onnx import open_onnx
from superpose.models.padding import batch_of, lengths
from superpose.models.parts import PRECISIONS, Batch, Run
from superpose.models.tokens import TOKENS, positions, rows_of_sample
from superpose.store import Progress, build

if TYPE_CHECKING:
    import torch

BATCHES_A_CHUNK = 8
DTYPES = {"float32": np.float32, "float16": np.float16}
# What the store keeps beside the layers.
LABELS = ("groups", "ids")


class Activations(NamedTuple):
    """What the layers of a model did.

    Attributes
    ----------
    layers : dict of str to numpy.ndarray, (rows, units)
        One array per layer, in the order asked for; rows are paired across layers.
    samples : numpy.ndarray, (rows,)
        Which input every row belongs to, counted from 0: the `groups` of comparisons over tokens.
    ids : numpy.ndarray, (rows,)
        The token of every row, or -1 where inputs have no `input_ids` or a row is not one token.
    settings : dict
        How they were made: layers, batch, tokens, drop, dtype and precision.
    """

    layers: dict[str, NDArray[Any]]
    samples: NDArray[np.int64]
    ids: NDArray[np.int64]
    settings: dict[str, Any]


def activations(
    model: torch.nn.Module | str | os.PathLike[str],
    inputs: Any,
    layers: Sequence[str] | Mapping[str, str],
    *,
    batch: int = 32,
    tokens: str = "every",
    drop: Collection[int] = (),
    dtype: str = "float32",
    precision: str = "float32",
    store: str | os.PathLike[str] | None = None,
    progress: Progress = lambda done, total: None,
) -> Activations:
    """Record activations of model layers.

    A torch module runs on the device of its parameters, in evaluation mode and without gradients; hooks and the
    training mode are restored, also after an error. An ONNX graph runs on the CPU, with as many threads as torch.

    Parameters
    ----------
    model : torch.nn.Module or path-like
        A torch module, or the path of an .onnx file.
    inputs : array-like or Source, (samples, …), or mapping of str to them
        One array for the model's first argument, or arrays by argument name. A Source (such as `images` makes
        of a folder) is asked for its rows batch by batch. With `attention_mask`
        (samples, length), masked positions never become rows, padding on the left is moved to the right so that
        positions count from each sentence's first token, batches are cut to their longest sample, and
        samples of like length share a batch; results come back in the order of the inputs.
    layers : sequence of str, or mapping of str to str
        Names of torch modules (as in `model.named_modules()`) or of values of the ONNX graph; or
        {the name that results should carry: that}. Where a module returns a tuple, its first member is taken;
        where it runs several times in a pass, its last output.
    batch : int
        Samples per forward pass.
    tokens : {"every", "cls", "last", "mean", "grid"}
        Which positions of a (length, units) or (channels, height, width) output become rows: each, the first,
        the last, their mean, or the 49 places nearest to the centres of a 7 x 7 grid, which pairs square maps and
        patches of any size place by place. Outputs of one vector per sample are one row whatever this is.
    drop : collection of int
        Token ids (such as [CLS] and [SEP]) that "every", "last" and "mean" skip.
    dtype : {"float32", "float16"}
        Type of the saved results.
    precision : {"float32", "bfloat16", "float16"}
        Precision of a torch module, where it is safe: torch's automatic mixed precision if not "float32".
    store : path-like, optional
        A folder for the results: an interrupted run resumes from there, a finished one is read back,
        memory-mapped.
    progress : callable, optional
        Called with (chunks done, chunks).

    Returns
    -------
    Activations
        layers {name: (rows, units)}, samples (rows,), ids (rows,), settings.

    Raises
    ------
    DataError
        If a layer does not exist or gives no array, inputs differ in their number of samples, a sample keeps
        no token, sentences are padded without a mask or longer than the model's positions, layers give different
        numbers of rows, or no real numbers, a value is beyond `dtype`, an option or a name is not one
        of those listed, or an optional package is missing.

    Examples
    --------
    >>> import torch
    >>> from superpose.models import activations
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    >>> found = activations(net, torch.ones(4, 3), {"hidden": "1"})
    >>> found.layers["hidden"].shape, found.samples.tolist()
    ((4, 5), [0, 1, 2, 3])
    """
    names = dict(layers) if isinstance(layers, Mapping) else {name: name for name in layers}
    choose(TOKENS, "tokens", tokens)
    choose(DTYPES, "dtype", dtype)
    choose(PRECISIONS, "precision", precision)
    if not names or batch < 1:
        raise DataError(f"got {len(names)} layers and batches of {batch}; expected at least one of each.")
    if taken := sorted(set(names) & set(LABELS)):
        raise DataError(
            f"a layer is called {taken[0]}, as the labels of rows are; expected another name, {{name: layer}}."
        )
    arrays = as_inputs(inputs)
    samples = len(next(iter(arrays.values())))
    size = batch * BATCHES_A_CHUNK
    count = -(-samples // size)
    settings = {
        "layers": names,
        "batch": batch,
        "tokens": tokens,
        "drop": sorted(drop),
        "dtype": dtype,
        "precision": precision,
    }
    open_model: Callable[..., Any] = open_onnx if isinstance(model, str | os.PathLike) else open_torch
    sure: set[str] = set()
    with open_model(model, names, precision) as (run, digest):

        def chunk(i: int) -> dict[str, NDArray[Any]]:
            rows = range(i * size, min((i + 1) * size, samples))
            return _chunk(run, arrays, rows, batch, tokens, drop, np.dtype(dtype), sure)

        if store is None:
            found = _collect(count, chunk, progress)
        else:
            contents = {**settings, "inputs": input_digests(arrays), "model": digest()}
            found = build(store, contents, count, chunk, progress=progress)
    return Activations({name: found[name] for name in names}, found["groups"], found["ids"], settings)


def _collect(
    count: int, chunk: Callable[[int], dict[str, NDArray[Any]]], progress: Progress
) -> dict[str, NDArray[Any]]:
    parts = []
    for i in range(count):
        progress(i, count)
        parts.append(chunk(i))
    progress(count, count)
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _chunk(
    run: Run,
    arrays: Inputs,
    rows: range,
    batch: int,
    tokens: str,
    drop: Collection[int],
    dtype: np.dtype[Any],
    sure: set[str],
) -> dict[str, NDArray[Any]]:
    """Run the batches of one chunk, samples of like length together; give rows in the inputs' order.

    `sure` are the layers whose first axis is known to be that of the samples.
    """
    order = np.argsort(lengths(arrays, np.arange(rows.start, rows.stop)), kind="stable")
    made: dict[int, dict[str, NDArray[Any]]] = {}
    for start in range(0, len(order), batch):
        chosen = np.sort(order[start : start + batch]) + rows.start
        some = batch_of(arrays, chosen)
        given = run(some)
        _check_samples(run, some, given, len(chosen), tokens, sure)
        outputs = {name: positions(name, value, tokens, len(chosen)) for name, value in given.items()}
        for place, sample in enumerate(chosen.tolist()):
            own = {key: value[place] for key, value in some.items()}
            hidden = {name: value[place] for name, value in outputs.items()}
            made[sample] = rows_of_sample(hidden, own, sample, tokens, drop, dtype)
    return {key: np.concatenate([made[sample][key] for sample in rows]) for key in made[rows.start]}


def _check_samples(
    run: Run, some: Batch, outputs: Mapping[str, NDArray[Any]], samples: int, tokens: str, sure: set[str]
) -> None:
    """Raise a DataError for a layer whose first axis is the length, which may be as long as the batch: fewer tell."""
    doubtful = {
        name for name, value in outputs.items() if value.ndim == 3 and value.shape[:2] == (samples, samples)
    } - sure
    if not doubtful or samples < 2:
        return
    fewer = samples // 2
    found = run({key: value[:fewer] for key, value in some.items()})
    for name in doubtful:
        positions(name, found[name], tokens, fewer)
    sure |= doubtful
