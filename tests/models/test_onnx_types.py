"""ONNX graphs of every type: the numbers that the graph itself makes of them in float32, or one line."""

import numpy as np
import pytest
import torch

from superpose.files import DataError
from superpose.models import activations, layer_norms

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(4, 6)).astype(np.float32)
X = RNG.normal(size=(5, 4)).astype(np.float32)
FLOATS = ["BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"]


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def save(path, nodes, kind=TensorProto.FLOAT, shape=(None, 4), opset=21, inputs=None, stored=()):
    inputs = inputs or [helper.make_tensor_value_info("x", kind, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    stored = [numpy_helper.from_array(WEIGHTS, "w"), *stored]
    made = helper.make_graph(nodes, "g", inputs, outputs, stored)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
    return path


def product(of="x"):
    return node("MatMul", f"{of} w", "y")


@pytest.mark.parametrize("kind", [*FLOATS, "FLOAT16", "DOUBLE", "INT4", "UINT4", "INT8", "UINT8", "BOOL", "INT64"])
def test_values_of_every_type(tmp_path, kind):
    """The oracle is the graph's own cast back to float32."""
    code = getattr(TensorProto, kind)
    nodes = [node("MatMul", "x w", "h"), node("Cast", "h", "q", to=code), node("Cast", "q", "y", to=TensorProto.FLOAT)]
    path = save(tmp_path / "m.onnx", nodes)
    found = activations(path, X, {"of": "q", "right": "y", "twice": "q"})
    np.testing.assert_array_equal(found.layers["of"], found.layers["right"])
    np.testing.assert_array_equal(found.layers["twice"], found.layers["right"])
    if kind in FLOATS[:2]:
        dtype = {"BFLOAT16": torch.bfloat16, "FLOAT8E4M3FN": torch.float8_e4m3fn}[kind]
        expected = torch.tensor(X @ WEIGHTS).to(dtype).float()
        np.testing.assert_allclose(found.layers["of"], expected, rtol=0.13, atol=0.01)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        (
            [node("SequenceConstruct", "y y", "q")],
            r"layer q of .*m\.onnx is a seq\(tensor\(float\)\); expected a tensor of",
        ),
        ([node("Optional", "y", "q")], r"layer q of .*m\.onnx is a optional\(tensor\(float\)\); expected a tensor"),
        ([node("Cast", "y", "q", to=TensorProto.STRING)], r"is a tensor\(string\); expected a tensor of real numbers"),
    ],
)
def test_values_that_are_no_numbers(tmp_path, nodes, words):
    with pytest.raises(DataError, match=words):
        activations(save(tmp_path / "m.onnx", [product(), *nodes]), X, ["q"])


@pytest.mark.parametrize(
    "kind", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "bool", "float64"]
)
def test_inputs_of_every_type(tmp_path, kind):
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    path = save(tmp_path / "m.onnx", [node("Cast", "x", "f", to=TensorProto.FLOAT), product("f")], code)
    given = RNG.integers(0, 2 if kind == "bool" else 100, size=(5, 4))
    for array in (given.astype(kind), given.astype(np.float64), given):
        np.testing.assert_allclose(activations(path, array, ["y"]).layers["y"], given @ WEIGHTS, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", FLOATS)
def test_inputs_that_numpy_lacks(tmp_path, kind):
    branch = helper.make_graph(
        [node("Cast", "x", "b", to=TensorProto.FLOAT)],
        "b",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
    )
    nodes = [node("If", "yes", "f", then_branch=branch, else_branch=branch), product("f")]
    path = save(
        tmp_path / "m.onnx", nodes, getattr(TensorProto, kind), stored=[numpy_helper.from_array(np.array(True), "yes")]
    )
    dtype = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, kind))
    given = X.astype(dtype)
    for array in (X, given):
        found = activations(path, array, ["y"]).layers["y"]
        np.testing.assert_allclose(found, given.astype(np.float32) @ WEIGHTS, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (
            "UINT8",
            X,
            r"input x of .*m\.onnx holds .*uint8 is expected, which cannot hold that; give numbers of that type",
        ),
        ("UINT8", np.full((5, 4), 256), "holds 256, and uint8"),
        ("UINT8", np.full((5, 4), -1), "holds -1, and uint8"),
        ("INT32", np.full((5, 4), 2**31), "holds 2147483648, and int32"),
        ("INT64", np.full((5, 4), np.nan), "holds nan, and int64"),
        ("FLOAT16", np.full((5, 4), 1e5), "holds 100000.0, and float16"),
        ("FLOAT", np.full((5, 4), 2**24 + 1), "holds 16777217, and float32"),
        ("FLOAT", X + 1j, r"input x of .* holds .*, and float32"),
    ],
)
def test_inputs_that_a_type_cannot_hold(tmp_path, kind, given, words):
    nodes = [node("Cast", "x", "f", to=TensorProto.FLOAT), product("f")]
    with pytest.raises(DataError, match=words):
        activations(save(tmp_path / "m.onnx", nodes, getattr(TensorProto, kind)), given, ["y"])


def test_inputs_that_are_no_tensors_of_numbers(tmp_path):
    nodes = [node("Cast", "x", "f", to=TensorProto.FLOAT), product("f")]
    path = save(tmp_path / "m.onnx", nodes, TensorProto.STRING)
    with pytest.raises(DataError, match=r"takes x as tensor\(string\); expected graphs that take tensors of numbers"):
        activations(path, X, ["y"])


@pytest.mark.parametrize("size", [1, 3, 5])
def test_graphs_of_a_fixed_number_of_samples(tmp_path, size):
    path = save(tmp_path / "m.onnx", [product()], shape=(size, 4))
    np.testing.assert_allclose(activations(path, X, ["y"]).layers["y"], X @ WEIGHTS, rtol=1e-5)


def reader(path, length, extra=("token_type_ids", "position_ids")):
    """Save a graph whose tokens are their embedding plus those of what else is given, times their mask's mean."""
    names = ["input_ids", "attention_mask", *extra]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, [None, length]) for name in names]
    tables = [numpy_helper.from_array(RNG.normal(size=(50, 3)).astype("f4"), f"t_{name}") for name in names]
    nodes = [node("Gather", f"t_{name} {name}", f"e_{name}") for name in names]
    nodes.append(node("Sum", " ".join(f"e_{name}" for name in names), "y"))
    save(path, nodes, inputs=inputs, stored=tables)
    return [numpy_helper.to_array(table) for table in tables]


@pytest.mark.parametrize("length", [None, 7])
@pytest.mark.parametrize("side", ["left", "right"])
def test_sentences_of_graphs(tmp_path, length, side):
    """Types of tokens and positions that are not given are those of single sentences; a fixed length is filled up."""
    words, mask = np.zeros((2, 5), int), np.zeros((2, 5), int)
    for row, sentence in enumerate(([7, 8], [4, 5, 6])):
        places = slice(5 - len(sentence), None) if side == "left" else slice(len(sentence))
        words[row, places], mask[row, places] = sentence, 1
    ids, masks, types, places = reader(tmp_path / "m.onnx", length)
    found = activations(tmp_path / "m.onnx", {"input_ids": words, "attention_mask": mask}, ["y"])
    expected = ids[[7, 8, 4, 5, 6]] + masks[1] + types[0] + places[[0, 1, 0, 1, 2]]
    np.testing.assert_allclose(found.layers["y"], expected, atol=1e-6)
    np.testing.assert_array_equal(found.ids, [7, 8, 4, 5, 6])


def test_sentences_longer_than_a_graph(tmp_path):
    reader(tmp_path / "m.onnx", 4)
    with pytest.raises(DataError, match=r"takes 4 tokens a sentence; got 5\. Cut them at length 4"):
        activations(
            tmp_path / "m.onnx", {"input_ids": np.ones((2, 5), int), "attention_mask": np.ones((2, 5), int)}, ["y"]
        )


def test_graphs_without_layer_norms(tmp_path):
    path = save(tmp_path / "m.onnx", [product()])
    with pytest.raises(
        DataError, match=r"has no LayerNormalization node: .* before opset 17.* or name values, such as y"
    ):
        layer_norms(path)
