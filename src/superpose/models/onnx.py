"""ONNX graphs, recorded by added outputs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError, argument, sha256
from superpose.models.casting import cast
from superpose.models.padding import MASK, WORDS
from superpose.models.parts import INSTALL, Batch, Opened, first_line

# What onnxruntime calls the types of a graph's values; it does not convert by itself.
NUMPY_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    **{f"tensor({kind})": kind for kind in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
    "tensor(bool)": "bool",
}
# Types that NumPy lacks, by their names in the onnx package; the graph itself casts from and to float32.
CAST_TYPES = {
    "tensor(bfloat16)": "BFLOAT16",
    "tensor(float8e4m3fn)": "FLOAT8E4M3FN",
    "tensor(float8e4m3fnuz)": "FLOAT8E4M3FNUZ",
    "tensor(float8e5m2)": "FLOAT8E5M2",
    "tensor(float8e5m2fnuz)": "FLOAT8E5M2FNUZ",
    "tensor(float8e8m0)": "FLOAT8E8M0",
    "tensor(float4e2m1)": "FLOAT4E2M1",
    "tensor(int4)": "INT4",
    "tensor(uint4)": "UINT4",
    "tensor(int2)": "INT2",
    "tensor(uint2)": "UINT2",
}
CASTED = "__as_float32"
# onnxruntime's optimiser joins a norm with what is before it.
NORMS = ("LayerNormalization", "SkipLayerNormalization", "EmbedLayerNormalization")


class Argument(NamedTuple):
    """An input of a graph: its type as NumPy names it, and its shape, None where that is free."""

    dtype: str
    shape: tuple[int | None, ...]


def layer_norms(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the outputs of an ONNX graph's LayerNormalization nodes, in the graph's order.

    In an encoder that normalises after each block, as BERT does, they are the embedding, then attention and
    MLP of every layer in turn, so that `layer_norms(path)[2::2]` is the residual stream after each layer.

    Raises
    ------
    DataError
        If the file is no graph, or has no such node.
    """
    graph = _load_onnx(path).graph
    found = [node.output[0] for node in graph.node if node.op_type in NORMS]
    if not found:
        values = [value for node in graph.node for value in node.output if value]
        raise DataError(
            f"{path} has no LayerNormalization node: the model has none, or was exported before opset 17, which writes "
            f"its parts. Export it again with opset 17, or name values, such as {', '.join(values[-3:])}."
        )
    return found


@contextmanager
def open_onnx(path: str | os.PathLike[str], names: Mapping[str, str], precision: str) -> Iterator[Opened]:
    """Yield a graph that gives the values {layer: value} beside its own outputs."""
    if precision != "float32":
        raise DataError(
            f"{argument('precision')} is {precision!r}; expected 'float32', because a graph fixes its own types."
        )
    model = _load_onnx(path)
    graph = model.graph
    known = {value for node in graph.node for value in node.output}
    present = {output.name for output in graph.output}
    for value in dict.fromkeys(names.values()):
        if value not in known:
            raise DataError(f"{path} has no value {value!r}; expected the output of a node, as layer_norms() lists.")
        if value not in present:
            graph.output.add().name = value
    session = _session(path, model)
    types = {output.name: output.type for output in session.get_outputs()}
    for name, value in names.items():
        if types[value] not in {**NUMPY_TYPES, **CAST_TYPES}:
            raise DataError(f"layer {name} of {path} is a {types[value]}; expected a tensor of real numbers.")
    lacking = [value for value in dict.fromkeys(names.values()) if types[value] in CAST_TYPES]
    given = [argument.name for argument in session.get_inputs() if argument.type in CAST_TYPES]
    if lacking or given:
        _cast_outputs(graph, lacking)
        _cast_inputs(graph, given)
        session = _session(path, model)
    arguments = _arguments(path, session)
    values = [value + CASTED if value in lacking else value for value in names.values()]

    def run(some: Batch) -> dict[str, NDArray[Any]]:
        feeds = _feeds(path, arguments, some)
        found = _in_pieces(session, values, arguments, feeds)
        length = next((value.shape[1] for key, value in some.items() if key == MASK), None)
        return {
            name: value[:, :length] if length is not None and _padded(value, feeds, length) else value
            for name, value in zip(names, found, strict=True)
        }

    yield Opened(run, lambda: " ".join(map(sha256, _files(path, model))))


def _session(path: str | os.PathLike[str], model: Any) -> Any:
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    folder = str(Path(path).resolve().parent)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise DataError(f"{path} cannot be run ({first_line(error)}).") from None


def _cast_outputs(graph: Any, values: Iterable[str]) -> None:
    """Add what the graph itself makes of values in float32."""
    from onnx import TensorProto, helper

    for value in values:
        graph.node.append(helper.make_node("Cast", [value], [value + CASTED], to=TensorProto.FLOAT))
        graph.output.add().name = value + CASTED


def _cast_inputs(graph: Any, names: Iterable[str]) -> None:
    """Let inputs be float32, and let the graph itself make its own type of them."""
    from onnx import TensorProto, helper

    for name in names:
        argument = next(argument for argument in graph.input if argument.name == name)
        kind = argument.type.tensor_type.elem_type
        _rename(graph, name, name + CASTED)
        argument.type.tensor_type.elem_type = TensorProto.FLOAT
        graph.node.insert(0, helper.make_node("Cast", [name], [name + CASTED], to=kind))


def _rename(graph: Any, name: str, other: str) -> None:
    """Let every node read another value, also inside of branches and loops."""
    for node in graph.node:
        node.input[:] = [other if value == name else value for value in node.input]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, name, other)


def _arguments(path: str | os.PathLike[str], session: Any) -> dict[str, Argument]:
    found = {}
    for taken in session.get_inputs():
        if taken.type not in NUMPY_TYPES:
            raise DataError(f"{path} takes {taken.name} as {taken.type}; expected graphs that take tensors of numbers.")
        shape = tuple(size if isinstance(size, int) else None for size in taken.shape)
        found[taken.name] = Argument(NUMPY_TYPES[taken.type], shape)
    return found


def _feeds(path: str | os.PathLike[str], arguments: Mapping[str, Argument], some: Batch) -> dict[str, NDArray[Any]]:
    """Return inputs by name in the types that the graph takes, sentences as long as it fixes them."""
    feeds = {next(iter(arguments)) if key is None else key: value for key, value in some.items()}
    words = feeds.get(WORDS)
    if words is not None and words.ndim == 2:
        # What every tokenizer of single sentences gives.
        types, places = np.zeros_like(words), np.broadcast_to(np.arange(words.shape[1]), words.shape)
        feeds |= {
            key: value
            for key, value in (("token_type_ids", types), ("position_ids", places))
            if key in arguments and key not in feeds
        }
    if set(feeds) != set(arguments):
        raise DataError(f"{path} takes the inputs {', '.join(arguments)}; got {', '.join(map(str, feeds))}.")
    shape = feeds[MASK].shape if MASK in feeds else ()
    for key, value in feeds.items():
        fixed = arguments[key].shape[1] if len(arguments[key].shape) > 1 else None
        if MASK in feeds and value.shape[:2] == shape and fixed is not None:
            if value.shape[1] > fixed:
                raise DataError(
                    f"{path} takes {fixed} tokens a sentence; got {value.shape[1]}. Cut them at length {fixed}."
                )
            value = np.pad(value, [(0, 0), (0, fixed - value.shape[1]), *[(0, 0)] * (value.ndim - 2)])
        feeds[key] = cast(value, arguments[key].dtype, f"input {key} of {path}")
    return feeds


def _in_pieces(
    session: Any, values: Sequence[str], arguments: Mapping[str, Argument], feeds: dict[str, NDArray[Any]]
) -> list[NDArray[Any]]:
    """Run a batch as it is, or in pieces of the number of samples that the graph fixes, the last one filled up."""
    fixed = max((argument.shape[0] or 0 for argument in arguments.values() if argument.shape), default=0)
    samples = len(next(iter(feeds.values())))
    if not fixed or fixed == samples:
        return session.run(list(values), feeds)
    made = []
    for start in range(0, samples, fixed):
        rows = np.minimum(np.arange(start, start + fixed), samples - 1)
        made.append(session.run(list(values), {key: value[rows] for key, value in feeds.items()}))
    return [np.concatenate(parts)[:samples] for parts in zip(*made, strict=True)]


def _padded(value: NDArray[Any], feeds: Mapping[str, NDArray[Any]], length: int) -> bool:
    """Return whether an output has the places that were added to reach the graph's own length."""
    return value.ndim == 3 and value.shape[1] == feeds[MASK].shape[1] > length


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
        raise DataError(f"{path} cannot be read as an ONNX graph ({first_line(error)}).") from None


def _files(path: str | os.PathLike[str], model: Any) -> list[Path]:
    """Return the graph's file and those of its weights that lie outside of it."""
    stored = [entry for tensor in model.graph.initializer for entry in tensor.external_data]
    outside = sorted({entry.value for entry in stored if entry.key == "location"})
    return [Path(path), *(Path(path).resolve().parent / name for name in outside)]
