"""A small ONNX graph, and what it computes."""

import numpy as np


def graph(path, *, external=False):
    """Write two dense layers, each followed by a LayerNormalization, and return the function they compute."""
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(5)
    weights = {"w0": rng.normal(size=(4, 6)), "w1": rng.normal(size=(6, 5)), "s0": np.ones(6), "s1": np.ones(5)}
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["h0"]),
        helper.make_node("LayerNormalization", ["h0", "s0"], ["n0"]),
        helper.make_node("MatMul", ["n0", "w1"], ["h1"]),
        helper.make_node("LayerNormalization", ["h1", "s1"], ["n1"]),
    ]
    vector = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", None]) for name in ("x", "n1")]
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "g", vector[:1], vector[1:], stored),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(made, path, save_as_external_data=external, location="weights.bin", size_threshold=0)

    def norm(h):
        return (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)

    def compute(x):
        first = norm(x @ weights["w0"])
        return {"n0": first, "h1": first @ weights["w1"], "n1": norm(first @ weights["w1"])}

    return compute
