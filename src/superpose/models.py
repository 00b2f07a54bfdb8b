"""Activations of a model's layers: torch modules by forward hooks, ONNX graphs by added outputs.

Both kinds of model become one thing, a function from a batch of inputs to {layer: output}; the rest (masking,
choice of tokens, order, storage) is shared.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.arrays import to_numpy
from superpose.files import DataError, sha256
from superpose.store import Progress, build

if TYPE_CHECKING:
    import torch

Batch = dict[str | None, NDArray[Any]]
Run = Callable[[Batch], dict[str, NDArray[Any]]]
Opened = tuple[Run, Callable[[], str]]
Rows = tuple[NDArray[Any], NDArray[np.int64]]
BATCHES_A_CHUNK = 8
# What onnxruntime calls the types of a graph's inputs; it does not convert by itself.
ONNX_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
INSTALL = 'pip install "superpose[models]"'


class Activations(NamedTuple):
    """What the layers of a model did.

    Attributes
    ----------
    layers : dict of str to numpy.ndarray, (rows, units)
        One array a layer, in the order asked for; rows are paired across layers.
    samples : numpy.ndarray, (rows,)
        Which input every row belongs to, counted from 0: the `groups` of comparisons over tokens.
    ids : numpy.ndarray, (rows,)
        The token of every row, or -1 where inputs have no `input_ids` or a row is not one token.
    """

    layers: dict[str, NDArray[Any]]
    samples: NDArray[np.int64]
    ids: NDArray[np.int64]


def _every(hidden: NDArray[Any], keep: NDArray[np.bool_]) -> Rows:
    return hidden[keep], np.flatnonzero(keep)


def _first(hidden: NDArray[Any], keep: NDArray[np.bool_]) -> Rows:
    return hidden[:1], np.zeros(1, dtype=np.int64)


def _last(hidden: NDArray[Any], keep: NDArray[np.bool_]) -> Rows:
    last = np.flatnonzero(keep)[-1:]
    return hidden[last], last


def _mean(hidden: NDArray[Any], keep: NDArray[np.bool_]) -> Rows:
    return hidden[keep].mean(axis=0, keepdims=True), np.full(1, -1)


# Each returns the rows of one sample and the position each was taken from (-1: from several).
TOKENS: Mapping[str, Callable[[NDArray[Any], NDArray[np.bool_]], Rows]] = {
    "every": _every,
    "cls": _first,
    "last": _last,
    "mean": _mean,
}


def activations(
    model: torch.nn.Module | str | os.PathLike[str],
    inputs: Any,
    layers: Sequence[str] | Mapping[str, str],
    *,
    batch: int = 32,
    tokens: str = "every",
    drop: Collection[int] = (),
    dtype: str = "float32",
    store: str | os.PathLike[str] | None = None,
    progress: Progress = lambda done, total: None,
) -> Activations:
    """Record what layers of a model do on inputs.

    A torch module runs where its parameters are, in evaluation mode and without gradients; hooks and the
    training mode are put back, also after an error. An ONNX graph runs on the CPU, with as many threads as
    torch.

    Parameters
    ----------
    model : torch.nn.Module or path-like
        A torch module, or the path of an .onnx file.
    inputs : array-like, (samples, …), or mapping of str to array-like, (samples, …)
        One array for the model's first argument, or arrays by argument name. With `attention_mask`
        (samples, length), masked positions never become rows, batches are cut to their longest sample, and
        samples of like length share a batch; results come back in the order of the inputs.
    layers : sequence of str, or mapping of str to str
        Names of torch modules (as in `model.named_modules()`) or of values of the ONNX graph; or
        {the name that results should carry: that}. Where a module returns a tuple, its first member is taken;
        where it runs several times in a pass, its last output.
    batch : int
        Samples a pass.
    tokens : {"every", "cls", "last", "mean"}
        Which positions of a (length, units) or (channels, height, width) output become rows: each, the first,
        the last or their mean. Outputs of one vector a sample are one row whatever this is.
    drop : collection of int
        Token ids (such as [CLS] and [SEP]) that "every", "last" and "mean" pass over.
    dtype : {"float32", "float16"}
        What results are kept in.
    store : path-like, optional
        A folder for the results: an interrupted run goes on from there, a finished one is read back,
        memory-mapped.
    progress : callable, optional
        Called with (chunks done, chunks).

    Returns
    -------
    Activations
        layers {name: (rows, units)}, samples (rows,), ids (rows,).

    Raises
    ------
    DataError
        If a layer does not exist or gives no array, inputs differ in their number of samples, a sample keeps
        no token, layers give different numbers of rows, a value is beyond `dtype`, or an optional package is
        missing.

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
    if tokens not in TOKENS:
        raise DataError(f"tokens is {tokens!r}; expected one of {', '.join(TOKENS)}.")
    if not names or batch < 1:
        raise DataError(f"got {len(names)} layers and batches of {batch}; expected at least one of each.")
    if dtype not in ("float16", "float32"):
        raise DataError(f"dtype is {dtype!r}; expected float16 or float32.")
    arrays = _inputs(inputs)
    samples = len(next(iter(arrays.values())))
    size = batch * BATCHES_A_CHUNK
    count = -(-samples // size)
    settings = {
        "inputs": {str(key): _digest([value]) for key, value in arrays.items()},
        "layers": names,
        "batch": batch,
        "tokens": tokens,
        "drop": sorted(drop),
        "dtype": dtype,
    }
    open_model: Callable[..., Any] = _open_onnx if isinstance(model, str | os.PathLike) else _open_torch
    with open_model(model, names) as (run, digest):

        def chunk(i: int) -> dict[str, NDArray[Any]]:
            rows = range(i * size, min((i + 1) * size, samples))
            return _chunk(run, arrays, rows, batch, tokens, drop, np.dtype(dtype))

        found = (
            _collect(count, chunk, progress)
            if store is None
            else build(store, {**settings, "model": digest()}, count, chunk, progress=progress)
        )
    return Activations({name: found[f"layer:{name}"] for name in names}, found["samples"], found["ids"])


def layer_norms(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the outputs of an ONNX graph's LayerNormalization nodes, in the graph's order.

    In an encoder that normalises after each block, as BERT does, they are the embedding, then attention and
    MLP of every layer in turn, so that `layer_norms(path)[2::2]` is the residual stream after each layer.
    """
    graph = _load_onnx(path).graph
    return [node.output[0] for node in graph.node if node.op_type == "LayerNormalization"]


def tokenize(path: str | os.PathLike[str], sentences: Sequence[str], *, length: int) -> dict[str, NDArray[np.int64]]:
    """Return sentences as inputs of a language model, padded to the longest and cut at `length` tokens.

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
        If the tokenizers package is missing, or the file is not a tokenizer.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise DataError(f"tokens need the tokenizers package; {INSTALL}.") from None
    try:
        tokenizer = Tokenizer.from_file(os.fspath(path))
    except Exception as error:
        raise DataError(f"{path} cannot be read as a tokenizer ({_first_line(error)}).") from None
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(list(sentences))
    return {
        "input_ids": np.array([one.ids for one in encoded], dtype=np.int64),
        "attention_mask": np.array([one.attention_mask for one in encoded], dtype=np.int64),
    }


def _inputs(inputs: Any) -> Batch:
    named: Mapping[str | None, Any] = inputs if isinstance(inputs, Mapping) else {None: inputs}
    try:
        arrays = {key: np.asarray(to_numpy(value)) for key, value in named.items()}
    except ValueError:
        raise DataError("inputs are ragged; expected arrays. Pad them, and give an attention_mask.") from None
    shapes = {str(key): array.shape for key, array in arrays.items()}
    counts = {shape[0] if shape else 0 for shape in shapes.values()}
    if len(counts) != 1 or 0 in counts:
        raise DataError(f"inputs have shapes {shapes}; expected one number of samples, at least 1, in all.")
    return arrays


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
    arrays: Batch,
    rows: range,
    batch: int,
    tokens: str,
    drop: Collection[int],
    dtype: np.dtype[Any],
) -> dict[str, NDArray[Any]]:
    """Run the batches of one chunk, samples of like length together; give rows in the inputs' order."""
    mask = arrays.get("attention_mask")
    length = np.zeros(len(rows)) if mask is None else mask[rows.start : rows.stop].sum(axis=1)
    order = np.argsort(length, kind="stable")
    made: dict[int, dict[str, NDArray[Any]]] = {}
    for start in range(0, len(order), batch):
        chosen = np.sort(order[start : start + batch]) + rows.start
        some = _cut({key: array[chosen] for key, array in arrays.items()})
        outputs = {name: _positions(name, value, tokens, len(chosen)) for name, value in run(some).items()}
        for place, sample in enumerate(chosen.tolist()):
            own = {key: value[place] for key, value in some.items()}
            hidden = {name: value[place] for name, value in outputs.items()}
            made[sample] = _rows_of_sample(hidden, own, sample, tokens, drop, dtype)
    return {key: np.concatenate([made[sample][key] for sample in rows]) for key in made[rows.start]}


def _cut(some: Batch) -> Batch:
    """Cut what is as long as the mask to the last position that any sample of the batch uses."""
    mask = some.get("attention_mask")
    if mask is None:
        return some
    end = int(np.flatnonzero(mask.any(axis=0)).max(initial=0)) + 1
    return {key: value[:, :end] if value.shape[:2] == mask.shape else value for key, value in some.items()}


def _positions(name: str, value: NDArray[Any], tokens: str, samples: int) -> NDArray[Any]:
    """Return an output as (samples, positions, units)."""
    if value.ndim not in (2, 3, 4) or len(value) != samples:
        raise DataError(
            f"layer {name} gives shape {value.shape} for {samples} samples; expected (samples, units), (samples, "
            "length, units) or (samples, channels, height, width)."
        )
    if value.ndim == 4:
        if tokens not in ("every", "mean"):
            raise DataError(f"layer {name} is a feature map, without a {tokens} token; use mean or every.")
        return np.moveaxis(value.reshape(*value.shape[:2], -1), 1, 2)
    return value[:, None] if value.ndim == 2 else value


def _rows_of_sample(
    hidden: Mapping[str, NDArray[Any]],
    own: Batch,
    sample: int,
    tokens: str,
    drop: Collection[int],
    dtype: np.dtype[Any],
) -> dict[str, NDArray[Any]]:
    """Choose the rows of one sample in every layer."""
    made: dict[str, NDArray[Any]] = {}
    mask, words = own.get("attention_mask"), own.get("input_ids")
    for name, positions in hidden.items():
        keep = np.ones(len(positions), dtype=bool)
        if mask is not None and len(keep) == len(mask):
            keep &= mask.astype(bool)
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
                "tokens='mean' or 'cls', or one call a layer."
            )
        made[f"layer:{name}"] = _narrow(name, values, dtype)
    return {**made, "samples": np.full(len(made["ids"]), sample)}


def _narrow(name: str, values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    largest = float(np.abs(values).max(initial=0))
    if float(np.finfo(dtype).max) < largest < np.inf:
        raise DataError(f"layer {name} reaches {largest:.3g}, beyond {dtype}; expected less. Keep it in float32.")
    return values.astype(dtype)


@contextmanager
def _open_torch(model: torch.nn.Module, names: Mapping[str, str]) -> Iterator[Opened]:
    import torch

    modules = dict(model.named_modules())
    for module in names.values():
        if module not in modules:
            raise DataError(
                f"the model has no module {module!r}; expected names from model.named_modules(), such as "
                f"{', '.join(list(modules)[1:6])}."
            )
    parameter = next(model.parameters(), torch.zeros(()))
    seen: dict[str, NDArray[Any]] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: Any, arguments: Any, output: Any) -> None:
            seen[name] = _array(name, output)

        return hook

    def run(some: Batch) -> dict[str, NDArray[Any]]:
        seen.clear()
        tensors = {key: torch.as_tensor(np.ascontiguousarray(value)) for key, value in some.items()}
        placed = {
            key: value.to(parameter.device, parameter.dtype if value.is_floating_point() else value.dtype)
            for key, value in tensors.items()
        }
        with torch.no_grad():
            model(placed[None]) if None in placed else model(**{str(key): value for key, value in placed.items()})
        for name in names:
            if name not in seen:
                raise DataError(f"layer {name} gave nothing; expected a module that runs in every pass.")
        return {name: seen[name] for name in names}

    training = {module: module.training for module in modules.values()}
    handles = [modules[module].register_forward_hook(keep(name)) for name, module in names.items()]
    model.eval()
    try:
        yield run, lambda: _digest(to_numpy(value) for value in model.state_dict().values())
    finally:
        for handle in handles:
            handle.remove()
        for one, mode in training.items():
            one.training = mode


def _array(name: str, output: Any) -> NDArray[Any]:
    """Return a copy, because later modules may write over their input in place."""
    import torch

    while isinstance(output, Mapping | tuple | list) and len(output):
        output = next(iter(output.values())) if isinstance(output, Mapping) else output[0]
    if not isinstance(output, torch.Tensor):
        raise DataError(
            f"layer {name} gave {type(output).__name__}; expected a tensor, or a tuple that starts with one."
        )
    return np.array(to_numpy(output))


@contextmanager
def _open_onnx(path: str | os.PathLike[str], names: Mapping[str, str]) -> Iterator[Opened]:
    import torch

    model = _load_onnx(path)
    import onnxruntime

    known = {value for node in model.graph.node for value in node.output}
    present = {output.name for output in model.graph.output}
    for value in dict.fromkeys(names.values()):
        if value not in known:
            raise DataError(f"{path} has no value {value!r}; expected the output of a node, as layer_norms() lists.")
        if value not in present:
            model.graph.output.add().name = value
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    folder = str(Path(path).resolve().parent)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise DataError(f"{path} cannot be run ({_first_line(error)}).") from None
    arguments = {argument.name: ONNX_TYPES.get(argument.type, np.float32) for argument in session.get_inputs()}

    def run(some: Batch) -> dict[str, NDArray[Any]]:
        feeds = {next(iter(arguments)) if key is None else key: value for key, value in some.items()}
        if set(feeds) != set(arguments):
            raise DataError(f"{path} takes the inputs {', '.join(arguments)}; got {', '.join(map(str, feeds))}.")
        typed: Batch = {key: value.astype(arguments[key], copy=False) for key, value in feeds.items()}
        return dict(zip(names, session.run(list(names.values()), typed), strict=True))

    yield run, lambda: " ".join(map(sha256, _files(path, model)))


def _load_onnx(path: str | os.PathLike[str]) -> Any:
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise DataError(f"ONNX models need the {error.name} package; {INSTALL}.") from None
    if not os.path.isfile(path):
        raise DataError(f"{path} is not a file; check the path of the ONNX graph.")
    try:
        # Weights that lie outside of the file stay there: onnxruntime maps them itself.
        return onnx.load(os.fspath(path), load_external_data=False)
    except Exception as error:
        raise DataError(f"{path} cannot be read as an ONNX graph ({_first_line(error)}).") from None


def _files(path: str | os.PathLike[str], model: Any) -> list[Path]:
    """Return the graph's file and those of its weights that lie outside of it."""
    stored = [entry for tensor in model.graph.initializer for entry in tensor.external_data]
    outside = sorted({entry.value for entry in stored if entry.key == "location"})
    return [Path(path), *(Path(path).resolve().parent / name for name in outside)]


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _digest(arrays: Iterable[NDArray[Any]]) -> str:
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
