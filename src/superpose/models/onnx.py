"""ONNX graphs, recorded by added outputs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superpose.files import DataError, sha256
from superpose.models.parts import INSTALL, Batch, Opened, first_line

# What onnxruntime calls the types of a graph's inputs; it does not convert by itself.
ONNX_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


def layer_norms(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the outputs of an ONNX graph's LayerNormalization nodes, in the graph's order.

    In an encoder that normalises after each block, as BERT does, they are the embedding, then attention and
    MLP of every layer in turn, so that `layer_norms(path)[2::2]` is the residual stream after each layer.
    """
    graph = _load_onnx(path).graph
    return [node.output[0] for node in graph.node if node.op_type == "LayerNormalization"]


@contextmanager
def open_onnx(path: str | os.PathLike[str], names: Mapping[str, str], precision: str) -> Iterator[Opened]:
    """Yield a graph that gives the values {layer: value} beside its own outputs."""
    import torch

    if precision != "float32":
        raise DataError(f"precision is {precision!r}; expected 'float32', because a graph fixes its own types.")
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
        raise DataError(f"{path} cannot be run ({first_line(error)}).") from None
    arguments = {argument.name: ONNX_TYPES.get(argument.type, np.float32) for argument in session.get_inputs()}

    def run(some: Batch) -> dict[str, NDArray[Any]]:
        feeds = {next(iter(arguments)) if key is None else key: value for key, value in some.items()}
        if set(feeds) != set(arguments):
            raise DataError(f"{path} takes the inputs {', '.join(arguments)}; got {', '.join(map(str, feeds))}.")
        typed: Batch = {key: value.astype(arguments[key], copy=False) for key, value in feeds.items()}
        return dict(zip(names, session.run(list(names.values()), typed), strict=True))

    yield Opened(run, lambda: " ".join(map(sha256, _files(path, model))))


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
