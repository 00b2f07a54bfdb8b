"""Activations of torch modules that work or answer in types NumPy lacks: torch's own numbers, or one line."""

import warnings

import numpy as np
import pytest
import torch

from superpose.files import DataError
from superpose.models import activations

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


class Gives(torch.nn.Module):
    """Give what a function makes of the input."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


ANSWERS = {
    "bfloat16": (lambda x: x.bfloat16(), lambda x: x.bfloat16().float()),
    "float8": (lambda x: x.to(torch.float8_e4m3fn), lambda x: x.to(torch.float8_e4m3fn).float()),
    "coo": (lambda x: x.relu().to_sparse(), torch.relu),
    "csr": (lambda x: x.relu().to_sparse_csr(), torch.relu),
    "quantised": (
        lambda x: torch.quantize_per_tensor(x, 0.1, 3, torch.quint8),
        lambda x: torch.quantize_per_tensor(x, 0.1, 3, torch.quint8).dequantize(),
    ),
    "imaginary part": (lambda x: torch.complex(x, x).conj().imag, lambda x: -x),
    "whole numbers": (lambda x: (100 * x).int(), lambda x: (100 * x).int()),
    "booleans": (lambda x: x > 0, lambda x: (x > 0).float()),
    "double": (lambda x: x.double(), lambda x: x),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_outputs_are_torchs_own_numbers(kind, tmp_path):
    gives, right = ANSWERS[kind]
    with warnings.catch_warnings(action="ignore"):
        for given in (X, torch.tensor(X)):
            found = activations(Gives(gives), given, {"layer": ""}, batch=4, tokens="every")
            np.testing.assert_array_equal(found.layers["layer"], right(torch.tensor(X)))
        stored = activations(Gives(gives), X, {"layer": ""}, store=tmp_path / "store")
        np.testing.assert_array_equal(stored.layers["layer"], found.layers["layer"])


@pytest.mark.parametrize(
    ("gives", "words"),
    [
        (lambda x: torch.complex(x, x), "layer layer gives values of type complex64; expected real numbers"),
        (lambda x: x.to("meta"), "layer layer is a Tensor of float32 without values"),
        (lambda x: torch.empty(6, 4, dtype=torch.int4), "layer layer is a Tensor of int4, which NumPy cannot hold"),
        (lambda x: torch.full((6, 4), 2**24 + 1), "gives whole numbers up to 16777217, which float32 does not tell"),
        (lambda x: torch.where(x == x[0, 0], torch.nan, 1e39 * x.double()), "beyond float32; expected less"),
        (lambda x: torch.nested.nested_tensor([x, x[:2]]), "nested: its rows may differ in length"),
    ],
)
def test_outputs_that_are_no_real_numbers(gives, words):
    with warnings.catch_warnings(action="ignore"), pytest.raises(DataError, match=words):
        activations(Gives(gives), X, {"layer": ""})


INPUTS = {
    "bfloat16": (torch.tensor(X).bfloat16(), torch.tensor(X).bfloat16().float()),
    "coo": (torch.tensor(X).relu().to_sparse(), torch.tensor(X).relu()),
    "big-endian": (X.astype(">f4"), X),
    "longdouble": (X.astype(np.longdouble), X),
    "mask that hides nothing": (np.ma.masked_array(X, False), X),
    "list of tensors": (list(torch.tensor(X)), X),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_of_any_type(kind):
    given, right = INPUTS[kind]
    found = activations(torch.nn.Identity(), given, {"layer": ""})
    np.testing.assert_array_equal(found.layers["layer"], right)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.ma.masked_array(X, X > 1), "inputs has .* masked value"),
        (torch.tensor(X).to("meta"), "inputs is a Tensor of float32 without values"),
        (np.array([["a", "b"]]), r"inputs are of type <U1; expected numbers\. Text goes through tokenize\(\) first"),
        (np.zeros((3, 2), "V2"), "inputs are of type .*V2; expected numbers"),
    ],
)
def test_inputs_that_are_no_numbers(given, words):
    with pytest.raises(DataError, match=words):
        activations(torch.nn.Identity(), given, {"layer": ""})


def test_inputs_beyond_the_precision_of_a_model():
    model = torch.nn.Linear(4, 2).half()
    with pytest.raises(DataError, match=r"inputs go beyond float16, in which the model works; use model\.float\(\)"):
        activations(model, 1e6 + X, [""])
    assert np.isfinite(activations(model.float(), 1e6 + X, [""]).layers[""]).all()


def test_weights_of_8_bits_do_not_set_the_type_of_inputs():
    class Packed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor([2], dtype=torch.int8), requires_grad=False)
            self.eight = torch.nn.Parameter(torch.ones(1).to(torch.float8_e4m3fn), requires_grad=False)

        def forward(self, x):
            return x * self.scale.float() * self.eight.float()

    np.testing.assert_allclose(activations(Packed(), X, [""]).layers[""], 2 * X, rtol=1e-6)


def test_quantised_modules_in_a_store(tmp_path):
    with warnings.catch_warnings(action="ignore"):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU())
        packed = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
        found = activations(packed, X, {"layer": "1"}, store=tmp_path / "store")
        with torch.no_grad():
            np.testing.assert_allclose(found.layers["layer"], packed(torch.tensor(X)), atol=1e-6)
        again = activations(packed, X, {"layer": "1"}, store=tmp_path / "store")
        np.testing.assert_array_equal(again.layers["layer"], found.layers["layer"])
        other = torch.ao.quantization.quantize_dynamic(
            torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU()), {torch.nn.Linear}, dtype=torch.qint8
        )
        with pytest.raises(DataError, match="made with other settings"):
            activations(other, X, {"layer": "1"}, store=tmp_path / "store")
