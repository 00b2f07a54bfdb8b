"""Other people's dictionaries: their codes by their own rules, their options, and files that would do harm."""

import builtins
import contextlib
import json
import os
import pickle
import sys
import types
import warnings
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from superpose import formats
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.dictionaries.sparsity import BatchTopK, JumpReLU, ReLU, TopK
from superpose.files import DataError, sha256

UNITS, LATENTS, K = 6, 20, 4


def draw(*shape, seed, size=1.0):
    return size * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def matrices():
    """Weights with rows of every norm, and biases that matter."""
    return {
        "W_enc": draw(UNITS, LATENTS, seed=0),
        "b_enc": draw(LATENTS, seed=1, size=0.3),
        "W_dec": draw(LATENTS, UNITS, seed=2) * torch.linspace(0.1, 3, LATENTS)[:, None],
        "b_dec": draw(UNITS, seed=3),
    }


def linear(bias="b_dec"):
    w = matrices()
    return {
        "encoder.weight": w["W_enc"].T.clone(),  # not contiguous, as the package's own are
        "encoder.bias": w["b_enc"],
        "decoder.weight": w["W_dec"].T.clone(),
        bias: w["b_dec"],
    }


THRESHOLDS = torch.linspace(-0.5, 2, LATENTS)
X = draw(50, UNITS, seed=4).double().numpy() + 0.5


def relu(z):
    return np.maximum(z, 0)


def top(z, k=K):
    """Keep the k largest of each row, then rectify."""
    kept = np.argsort(-z, axis=1)[:, :k]
    out = np.zeros_like(z)
    np.put_along_axis(out, kept, relu(np.take_along_axis(z, kept, 1)), 1)
    return out


def above(threshold):
    return lambda z: relu(z) * (z > np.asarray(threshold, dtype=float))


def arrays(tensors):
    return {name: tensor.double().numpy() for name, tensor in tensors.items()}


def agree(path, codes, reconstruction, tolerance=1e-6):
    """Compare a dictionary that is read, computing in double precision, with what its package computes."""
    sae = formats.read(path).double()
    with torch.no_grad():
        close(sae.encode(torch.from_numpy(X)).numpy(), codes, tolerance)
        close(sae.decode(sae.encode(torch.from_numpy(X))).numpy(), reconstruction, tolerance)
    assert 0 < (codes > 0).mean() < 1, "the codes would agree trivially"
    return sae


def close(values, expected, tolerance):
    np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


# SAELens

NEW = {
    "d_in": UNITS,
    "d_sae": LATENTS,
    "dtype": "float32",
    "device": "cuda",
    "apply_b_dec_to_input": True,
    "normalize_activations": "none",
    "reshape_activations": "none",
    "metadata": {"sae_lens_version": "6.54.12", "hook_name": "blocks.3.hook_z", "model_name": "gpt2"},
}
OLD = {
    "d_in": UNITS,
    "d_sae": LATENTS,
    "dtype": "torch.float32",
    "device": "mps",
    "hook_point": "blocks.3.hook_resid_pre",
    "finetuning_scaling_factor": False,
    "noise_scale": 0.1,
    "normalize_activations": False,
}
LAYOUTS = {
    "topk": {
        "new": {"architecture": "topk", "k": K},
        "old": {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}},
    },
    "standard": {"new": {"architecture": "standard"}, "old": {"activation_fn_str": "relu", "activation_fn_kwargs": {}}},
    "jumprelu": {"new": {"architecture": "jumprelu"}, "old": {"architecture": "jumprelu", "activation_fn_str": "relu"}},
}
SELECT = {"topk": top, "standard": relu, "jumprelu": above(THRESHOLDS)}
RULES = {"topk": TopK, "standard": ReLU, "jumprelu": JumpReLU}


def saelens(folder, kind="topk", layout="new", tensors=None, **options):
    folder.mkdir(parents=True, exist_ok=True)
    tensors = matrices() | ({"threshold": THRESHOLDS} if kind == "jumprelu" else {}) | (tensors or {})
    save_file(tensors, folder / "sae_weights.safetensors")
    cfg = {"new": NEW, "old": OLD}[layout] | LAYOUTS[kind][layout] | options
    (folder / "cfg.json").write_text(json.dumps(cfg))
    return folder


@pytest.mark.parametrize("architecture", LAYOUTS)
@pytest.mark.parametrize("layout", ["new", "old"])
@pytest.mark.parametrize("subtracted", [True, False, None])
def test_saelens(tmp_path, architecture, layout, subtracted):
    w = arrays(matrices())
    z = (X - w["b_dec"] * (subtracted is not False)) @ w["W_enc"] + w["b_enc"]  # absent is True
    codes = SELECT[architecture](z)
    saelens(tmp_path, architecture, layout, apply_b_dec_to_input=subtracted)
    sae = agree(tmp_path, codes, codes @ w["W_dec"] + w["b_dec"])
    assert type(sae.sparsity) is RULES[architecture]
    assert bool(sae.centre.any()) == (subtracted is not False)
    assert bool(sae.decoder_bias.any()) == (subtracted is False)


@pytest.mark.parametrize("architecture", LAYOUTS)
@pytest.mark.parametrize("subtracted", [True, False])
@pytest.mark.parametrize("name", ["expected_average_only_in", True])
@pytest.mark.parametrize("factor", [0.25, 3])
def test_saelens_activity_multiplied_by_a_constant(tmp_path, architecture, subtracted, name, factor):
    w = arrays(matrices())
    codes = SELECT[architecture]((X * factor - w["b_dec"] * subtracted) @ w["W_enc"] + w["b_enc"])
    saelens(tmp_path, architecture, normalize_activations=name, apply_b_dec_to_input=subtracted)
    (tmp_path / "activation_scaler.json").write_text(json.dumps({"scaling_factor": factor}))
    agree(tmp_path, codes, (codes @ w["W_dec"] + w["b_dec"]) / factor)


def test_saelens_activations_rescaled_by_the_norm_of_the_decoder(tmp_path):
    w = arrays(matrices())
    norms = np.linalg.norm(w["W_dec"], axis=1)
    codes = top(((X - w["b_dec"]) @ w["W_enc"] + w["b_enc"]) * norms)
    plain = top((X - w["b_dec"]) @ w["W_enc"] + w["b_enc"])
    assert ((codes > 0) != (plain > 0)).any(), "the option would change nothing"
    saelens(tmp_path, rescale_acts_by_decoder_norm=True)
    sae = agree(tmp_path, codes, (codes / norms) @ w["W_dec"] + w["b_dec"])
    torch.testing.assert_close(sae.dictionary.norm(dim=-1).float(), torch.ones(LATENTS))


def test_saelens_a_latent_without_a_direction_stays_silent_under_rescaling(tmp_path):
    w = matrices()
    w["W_dec"][3] = 0
    saelens(tmp_path, tensors=w, rescale_acts_by_decoder_norm=True)
    codes = formats.read(tmp_path).encode(X)
    assert np.isfinite(codes).all()
    assert not codes[:, 3].any()


def test_saelens_what_does_not_change_codes_is_read_past(tmp_path):
    saelens(tmp_path / "plain")
    saelens(
        tmp_path / "noisy",
        tensors={"scaling_factor": torch.ones(LATENTS)},
        reshape_activations="hook_z",
        noise_scale=3.0,
        hook_layer=3,
        dtype="bfloat16",
    )
    plain, noisy = formats.read(tmp_path / "plain"), formats.read(tmp_path / "noisy")
    np.testing.assert_array_equal(plain.encode(X), noisy.encode(X))


# sparsify

SPARSIFY = {
    "d_in": UNITS,
    "k": K,
    "num_latents": LATENTS,
    "expansion_factor": 32,
    "normalize_decoder": True,
    "multi_topk": True,
}


def sparsify(folder, tensors=None, **options):
    folder.mkdir(parents=True, exist_ok=True)
    w = matrices()
    w = {
        "encoder.weight": w["W_enc"].T.contiguous(),
        "encoder.bias": w["b_enc"],
        "W_dec": w["W_dec"],
        "b_dec": w["b_dec"],
    }
    save_file(w | (tensors or {}), folder / "sae.safetensors")
    (folder / "cfg.json").write_text(json.dumps(SPARSIFY | options))
    return folder


@pytest.mark.parametrize("options", [{}, {"activation": "topk", "transcode": False, "skip_connection": False}])
def test_sparsify(tmp_path, options):
    w = arrays(matrices())
    codes = top(relu((X - w["b_dec"]) @ w["W_enc"] + w["b_enc"]))
    agree(sparsify(tmp_path, **options), codes, codes @ w["W_dec"] + w["b_dec"])


# dictionary_learning


def dictionary_learning(folder, kind="AutoEncoderTopK", tensors=None, drop=(), **options):
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        "AutoEncoderTopK": lambda: linear() | {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(0.9)},
        "BatchTopKSAE": lambda: linear() | {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(0.9)},
        "MatryoshkaBatchTopKSAE": lambda: (
            matrices() | {"k": torch.tensor(K), "threshold": torch.tensor(0.9), "group_sizes": torch.tensor([5, 15])}
        ),
        "AutoEncoder": lambda: linear("bias"),
        "AutoEncoderNew": lambda: linear("decoder.bias"),
        "JumpReluAutoEncoder": lambda: matrices() | {"threshold": THRESHOLDS},
    }.get(kind, linear)() | (tensors or {})
    torch.save({name: tensor for name, tensor in state.items() if name not in drop}, folder / "ae.pt")
    trainer = {"dict_class": kind, "activation_dim": UNITS, "dict_size": LATENTS, "lr": 1e-4} | {"k": K} | options
    (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"d_submodule": UNITS}}))
    return folder


def published(kind, threshold=0.9):
    """Codes and reconstruction by the rules of dictionary_learning's classes."""
    w = arrays(matrices())
    offset = 0 if kind in ("AutoEncoderNew", "JumpReluAutoEncoder") else w["b_dec"]
    norms = np.linalg.norm(w["W_dec"], axis=1) if kind == "AutoEncoder" else 1
    z = (X - offset) @ w["W_enc"] + w["b_enc"]
    select = {
        "AutoEncoderTopK": top,
        "BatchTopKSAE": lambda z: relu(z) * (relu(z) > threshold),
        "MatryoshkaBatchTopKSAE": lambda z: relu(z) * (relu(z) > threshold),
        "AutoEncoder": lambda z: relu(z * norms),
        "AutoEncoderNew": relu,
        "JumpReluAutoEncoder": lambda z: relu(z * (z > THRESHOLDS.numpy())),
    }[kind]
    codes = select(z)
    return codes, (codes / norms) @ w["W_dec"] + w["b_dec"]


KINDS = {
    "AutoEncoderTopK": TopK,
    "BatchTopKSAE": BatchTopK,
    "MatryoshkaBatchTopKSAE": BatchTopK,
    "AutoEncoder": ReLU,
    "AutoEncoderNew": ReLU,
    "JumpReluAutoEncoder": JumpReLU,
}


@pytest.mark.parametrize("kind", KINDS)
def test_dictionary_learning(tmp_path, kind):
    sae = agree(dictionary_learning(tmp_path, kind), *published(kind))
    assert type(sae.sparsity) is KINDS[kind]


@pytest.mark.parametrize("kind", ["BatchTopKSAE", "MatryoshkaBatchTopKSAE"])
def test_a_threshold_that_was_never_learned_keeps_what_is_positive(tmp_path, kind):
    agree(dictionary_learning(tmp_path, kind, {"threshold": torch.tensor(-1.0)}), *published(kind, threshold=-1))


def test_early_top_k_files_have_neither_k_nor_threshold(tmp_path):
    dictionary_learning(tmp_path, drop=("k", "threshold"))
    agree(tmp_path, *published("AutoEncoderTopK"))


def test_parameters_on_other_precisions_are_read(tmp_path):
    state = {name: torch.nn.Parameter(tensor.double()) for name, tensor in linear().items()}
    agree(dictionary_learning(tmp_path, tensors=state), *published("AutoEncoderTopK"))


# Prisma

PRISMA = {
    "architecture": "standard",
    "is_transcoder": False,
    "normalize_activations": "none",
    "activation_fn_str": "relu",
    "activation_fn_kwargs": {},
    "_device": "cuda",
    "_dtype": "float32",
    "d_in": UNITS,
    "expansion_factor": 3,
    "vit_model_cfg": None,
}
TOPK = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}


THEIRS = type("VisionModelSAERunnerConfig", (), {"__module__": "vit_prisma.sae.config"})


@contextlib.contextmanager
def installed():
    """Let pickles name Prisma's class while they are written; afterwards no such module is known."""
    with pytest.MonkeyPatch.context() as patch:
        for part in ("vit_prisma", "vit_prisma.sae", "vit_prisma.sae.config"):
            patch.setitem(sys.modules, part, types.ModuleType(part))
        patch.setattr(sys.modules[THEIRS.__module__], THEIRS.__name__, THEIRS, raising=False)
        yield


def prisma(folder, where="inside", name="n_images_2600058.pt", tensors=None, **options):
    folder.mkdir(parents=True, exist_ok=True)
    state, cfg = matrices() | (tensors or {}), PRISMA | options
    if where == "beside":
        torch.save(state, folder / name)
        (folder / "config.json").write_text(json.dumps(cfg))
        return folder
    pickled = THEIRS()
    pickled.__dict__.update(cfg | {"device": torch.device("cuda"), "dtype": torch.float32})
    with installed():
        torch.save({"cfg": pickled, "state_dict": state}, folder / name)
    return folder


@pytest.mark.parametrize("where", ["inside", "beside"])
@pytest.mark.parametrize(("options", "select"), [({}, relu), (TOPK, top)])
def test_prisma(tmp_path, where, options, select):
    w = arrays(matrices())
    codes = select((X - w["b_dec"]) @ w["W_enc"] + w["b_enc"])
    prisma(tmp_path, where, **options)
    torch.save({"sparsity": torch.zeros(3)}, tmp_path / "n_images_2600058_log_feature_sparsity.pt")
    agree(tmp_path, codes, codes @ w["W_dec"] + w["b_dec"])
    agree(tmp_path / "n_images_2600058.pt", codes, codes @ w["W_dec"] + w["b_dec"])
    assert THEIRS.__module__ not in sys.modules


# Writing


def sae_of(rule):
    sae = SparseAutoencoder(UNITS, LATENTS, rule, generator=torch.Generator().manual_seed(0))
    for seed, tensor in enumerate((sae.encoder.data, sae.encoder_bias.data, sae.decoder_bias.data, sae.centre)):
        tensor.copy_(draw(*tensor.shape, seed=seed))
    sae.dictionary.data.mul_(torch.linspace(0.1, 3, LATENTS)[:, None])
    sae.scale.fill_(1.7)
    for threshold in sae.sparsity.state_dict().values():
        threshold.copy_(draw(*threshold.shape, seed=9).abs())
    return sae


@pytest.mark.parametrize(
    ("rule", "again"), [(TopK(K), TopK), (ReLU(), ReLU), (JumpReLU(), JumpReLU), (BatchTopK(K), JumpReLU)], ids=repr
)
def test_what_is_written_for_saelens_is_read_with_the_same_codes(tmp_path, rule, again):
    sae, x = sae_of(rule).double(), torch.from_numpy(X)
    formats.write_saelens(sae, tmp_path / "new" / "folder")
    codes = sae.encode(x).detach()
    read = agree(tmp_path / "new" / "folder", codes.numpy(), sae.decode(codes).detach().numpy(), tolerance=3e-6)
    assert type(read.sparsity) is again
    assert sorted(file.name for file in (tmp_path / "new" / "folder").iterdir()) == [
        "cfg.json",
        "sae_weights.safetensors",
    ]
    formats.write_saelens(read, tmp_path / "new" / "folder")  # over what is there
    agree(tmp_path / "new" / "folder", codes.numpy(), sae.decode(codes).detach().numpy(), tolerance=3e-6)


def test_what_saelens_cannot_hold_is_not_written(tmp_path):
    with pytest.raises(DataError, match=r"has repeats \(3,\); SAELens keeps one dictionary a folder: write one"):
        formats.write_saelens(SparseAutoencoder(UNITS, LATENTS, TopK(K), repeats=(3,)), tmp_path / "out")

    class Sparser(TopK):
        pass

    with pytest.raises(DataError, match="sparsity is a Sparser, which SAELens lacks; expected one of TopK, ReLU, Jump"):
        formats.write_saelens(SparseAutoencoder(UNITS, LATENTS, Sparser(K)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is a file; expected a folder, which may be new"):
        formats.write_saelens(SparseAutoencoder(UNITS, LATENTS, TopK(K)), tmp_path / "file")


# Refusals

NAN = torch.full((LATENTS, UNITS), torch.nan)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"architecture": "gated"},
            r"architecture = 'gated', which superpose cannot follow; expected 'standard' or 'topk'",
        ),
        ({"architecture": "batchtopk"}, "architecture = 'batchtopk'"),
        ({"architecture": ["topk"]}, "architecture = .*; expected a value of type str"),
        ({"activation_fn_str": "tanh-relu"}, "activation_fn_str = 'tanh-relu', which superpose cannot follow"),
        ({"activation_fn": "gelu"}, "activation_fn_str = 'gelu'"),
        (
            {"normalize_activations": "layer_norm"},
            "= 'layer_norm', where superpose has one centre and scale for all samples",
        ),
        (
            {"normalize_activations": "constant_norm_rescale"},
            "normalise the activity in that way first, and set it to 'none'",
        ),
        ({"normalize_activations": "covariance_whitening"}, "normalize_activations = 'covariance_whitening'"),
        ({"normalize_activations": {"a": 1}}, "normalize_activations = .*; expected a value of type str"),
        (
            {"normalize_activations": "expected_average_only_in"},
            "activation_scaler.json, with its scaling_factor, is missing",
        ),
        ({"normalize_activations": True}, "or set 'none' if the weights have it folded in"),
        ({"reshape_activations": "hook_q"}, "reshape_activations = 'hook_q', which superpose cannot follow"),
        ({"apply_b_dec_to_input": "yes"}, "apply_b_dec_to_input = 'yes'; expected a value of type bool"),
        ({"rescale_acts_by_decoder_norm": 1}, "rescale_acts_by_decoder_norm = 1; expected a value of type bool"),
        ({"k": None}, "has no setting 'k'; this format needs it"),
        ({"k": 0}, "k = 0; expected 1 to 20, its latents"),
        ({"k": 21}, "k = 21; expected 1 to 20, its latents"),
        ({"k": 10**500}, "k = 1000.*; expected 1 to 20, its latents"),
        ({"k": "4"}, "k = '4'; expected a value of type int"),
        ({"k": 4.0}, r"k = 4\.0; expected a value of type int"),
        ({"k": True}, "k = True; expected a value of type int"),
        ({"activation_fn_kwargs": [4]}, r"activation_fn_kwargs = \[4\]; expected a value of type dict"),
        ({"d_in": 7}, r"W_enc has shape \(6, 20\); expected \(units = 7, latents = 20\)"),
        ({"d_sae": None}, "has no setting 'd_sae'"),
        (
            {"tensors": {"W_dec": NAN.T.contiguous()}},
            r"W_dec has shape \(6, 20\); expected \(latents = 20, units = 6\)",
        ),
        ({"tensors": {"b_enc": torch.zeros(LATENTS, 1)}}, r"b_enc has shape \(20, 1\); expected \(latents = 20\)"),
        ({"tensors": {"W_dec": NAN}}, "its dictionary would hold values that are not finite"),
        ({"tensors": {"b_dec": torch.full((UNITS,), torch.inf)}}, "its centre would hold values that are not finite"),
        (
            {"tensors": {"W_enc": torch.zeros(UNITS, LATENTS, dtype=torch.complex64)}},
            "W_enc is not a plain tensor of numbers",
        ),
        ({"tensors": {"b_enc": torch.zeros(LATENTS, dtype=torch.bool)}}, "b_enc is not a plain tensor of numbers"),
        (
            {"tensors": {"b_gate": torch.zeros(LATENTS)}},
            r"also holds \['b_gate'\], whose part in the codes is not known",
        ),
        (
            {"tensors": {"scaling_factor": torch.zeros(LATENTS)}},
            "holds a scaling_factor, which superpose cannot follow",
        ),
    ],
)
def test_saelens_refusals(tmp_path, options, message):
    refused(saelens(tmp_path, **options), "SAELens", message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"scaling_factor": 0}', "scaling_factor = 0.0; expected a positive number"),
        ('{"scaling_factor": NaN}', "scaling_factor = nan; expected a positive number"),
        ('{"scaling_factor": null}', "activation_scaler.json has no setting 'scaling_factor'"),
        ('{"scaling_factor": 1%s}' % ("0" * 400), "scaling_factor = 1.*; expected a value of type float"),
        ("[1.5]", "activation_scaler.json holds a list; expected one JSON object"),
    ],
)
def test_saelens_scaler_refusals(tmp_path, text, message):
    saelens(tmp_path, normalize_activations="expected_average_only_in")
    (tmp_path / "activation_scaler.json").write_text(text)
    refused(tmp_path, "SAELens", message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "groupmax"}, "activation = 'groupmax', which superpose cannot follow; expected 'topk'"),
        ({"transcode": True}, "transcode = True, which superpose cannot follow; expected False"),
        ({"skip_connection": True}, "skip_connection = True"),
        ({"signed": True}, "signed = True"),
        ({"k": 10**9}, "k = 1000000000; expected 1 to 20"),
        ({"d_in": 5}, r"encoder.weight has shape \(20, 6\); expected \(latents = 20, units = 5\)"),
        ({"tensors": {"W_skip": torch.zeros(UNITS, UNITS)}}, r"also holds \['W_skip'\]"),
        (
            {"tensors": {"encoder.bias": torch.full((LATENTS,), torch.nan)}},
            "its encoder_bias would hold values that are not",
        ),
    ],
)
def test_sparsify_refusals(tmp_path, options, message):
    refused(sparsify(tmp_path, **options), "sparsify", message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kind": "GatedAutoEncoder"},
            "dict_class = 'GatedAutoEncoder', which superpose cannot follow; expected 'AutoEnc",
        ),
        ({"kind": "IdentityDict"}, "dict_class = 'IdentityDict'"),
        ({"k": 5}, "config.json has k = 5 and ae.pt has k = 4; expected one k"),
        ({"k": None}, "has no setting 'k'"),
        ({"k": -1}, "k = -1; expected 1 to 20"),
        ({"drop": ("b_dec",)}, "ae.pt lacks b_dec; this format needs encoder.weight"),
        ({"drop": ("encoder.weight", "decoder.weight")}, "ae.pt lacks encoder.weight, decoder.weight"),
        ({"kind": "BatchTopKSAE", "drop": ("threshold",)}, "ae.pt lacks threshold"),
        (
            {"kind": "BatchTopKSAE", "tensors": {"threshold": torch.tensor(torch.nan)}},
            "its sparsity.threshold would hold",
        ),
        (
            {"kind": "JumpReluAutoEncoder", "tensors": {"threshold": torch.tensor(1.0)}},
            r"threshold has shape \(\); expected",
        ),
        ({"kind": "AutoEncoder", "tensors": {"r_mag": torch.zeros(LATENTS)}}, r"also holds \['r_mag'\]"),
        ({"tensors": {"b_dec": torch.zeros(UNITS).to_sparse()}}, "b_dec is not a plain tensor of numbers"),
        ({"tensors": {"b_dec": torch.zeros(UNITS, device="meta")}}, "b_dec is not a plain tensor of numbers"),
        ({"tensors": {"encoder.weight": torch.zeros(1).expand(10**7, 10**7)}}, "encoder.weight is not a plain tensor"),
        ({"tensors": {"b_dec": 3}}, "ae.pt holds no tensors by name; expected a module's state"),
        ({"tensors": {3: torch.zeros(3)}}, "ae.pt holds no tensors by name"),
    ],
)
def test_dictionary_learning_refusals(tmp_path, options, message):
    refused(dictionary_learning(tmp_path, **options), "dictionary_learning", message)


@pytest.mark.filterwarnings("ignore")  # prototypes, and on their way out
@pytest.mark.parametrize("kind", ["nested", "quantized"])
def test_tensors_that_torch_lays_out_otherwise(tmp_path, kind):
    make = {
        "nested": lambda: torch.nested.nested_tensor([torch.zeros(UNITS)]),
        "quantized": lambda: torch.quantize_per_tensor(torch.zeros(UNITS), 1, 0, torch.qint8),
    }[kind]
    dictionary_learning(tmp_path, tensors={"b_dec": make()})
    refused(tmp_path, "dictionary_learning", "b_dec is not a plain tensor of numbers")


@pytest.mark.parametrize("where", ["inside", "beside"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "gated"}, "architecture = 'gated', which superpose cannot follow; expected 'standard'"),
        ({"is_transcoder": True}, "is_transcoder = True"),
        (
            {"normalize_activations": "layer_norm"},
            "normalize_activations = 'layer_norm', where superpose has one centre",
        ),
        ({"normalize_activations": None}, "normalize_activations = 'layer_norm'"),  # the class's default
        ({"activation_fn_str": "tanh-relu"}, "activation_fn_str = 'tanh-relu'"),
        ({"activation_fn_str": "topk"}, "has no setting 'k'"),
        (
            {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K, "postact_fn": "exp"}},
            "has a postact_fn, which",
        ),
        ({"tensors": {"b_dec_out": torch.zeros(UNITS)}}, r"also holds \['b_dec_out'\]"),
    ],
)
def test_prisma_refusals(tmp_path, where, options, message):
    refused(prisma(tmp_path, where, **options), "Prisma", message)


def refused(path, name, message):
    with pytest.raises(DataError, match=message) as caught:
        formats.read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}, taken for a dictionary of {name}: ")
    assert "\n" not in text
    assert len(text) < len(str(path)) + 400


def test_folders_that_hold_nothing_known_or_too_much(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist; expected a folder with a dictionary"):
        formats.read(tmp_path / "nowhere")
    with pytest.raises(
        DataError, match=r"has no weights of a known name; expected sae_weights.safetensors \(SAELens\)"
    ):
        formats.read(tmp_path)
    for name in ("n_images_1.pkl.gz", "weights.pkl", "n_images_1_log_feature_sparsity.pt", "model.pt"):
        (tmp_path / name).write_bytes(pickle.dumps(3))
        with pytest.raises(DataError, match=r"has no weights of a known name; .* Bare pickles are never read"):
            formats.read(tmp_path / name)
    (tmp_path / "ae.pt").mkdir()
    with pytest.raises(DataError, match="has no weights of a known name"):
        formats.read(tmp_path)
    (tmp_path / "n_images_1.pt").touch()
    (tmp_path / "n_images_2.pt").touch()
    with pytest.raises(DataError, match=r"more than one file of weights: n_images_1.pt, n_images_2.pt; name one"):
        formats.read(tmp_path)


@pytest.mark.parametrize("write", [saelens, sparsify, dictionary_learning])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"(cfg|config)\.json is missing; expected it beside the weights"),
        (b"", "is not JSON"),
        (b"{'k': 4}", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1, 2]", "holds a list; expected one JSON object"),
        (b"{}", "has no setting"),
    ],
)
def test_settings_that_are_not_settings(tmp_path, write, content, message):
    write(tmp_path)
    (file,) = tmp_path.glob("*.json")
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        formats.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_digests_are_of_the_files_that_are_read(tmp_path):
    saelens(tmp_path / "a")
    (tmp_path / "a" / "notes.txt").write_text("not read")
    digests = formats.digest(tmp_path / "a")
    assert digests == {name: sha256(tmp_path / "a" / name) for name in ("sae_weights.safetensors", "cfg.json")}
    assert digests == formats.digest(tmp_path / "a" / "sae_weights.safetensors")
    saelens(tmp_path / "a", k=K + 1)
    assert formats.digest(tmp_path / "a") != digests
    assert list(formats.digest(prisma(tmp_path / "b"))) == ["n_images_2600058.pt"]
    with pytest.raises(DataError, match="has no weights of a known name"):
        formats.digest(tmp_path)


# Hostile files


class Reduced:
    """Pickles as a call."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


class Built:
    """Pickles with a state that its class is handed on loading."""

    canary = None

    def __getstate__(self):
        return {"path": str(self.canary)}

    def __setstate__(self, state):
        open(state["path"], "w").close()


def numpy_objects(canary):
    array = np.empty(1, dtype=object)
    array[0] = Reduced(os.mkdir, canary)
    return array


def hostile(canary):
    """Objects whose loading, if anything in them ran, would leave a trace at `canary`."""
    Built.canary = canary
    return {
        "os.system": Reduced(os.system, f"touch {canary}"),
        "os.mkdir": Reduced(os.mkdir, canary),
        "builtins.eval": Reduced(eval, f"open({canary!r}, 'w')"),
        "builtins.exec": Reduced(exec, f"open({canary!r}, 'w')"),
        "builtins.open": Reduced(open, canary, "w"),
        "builtins.getattr": Reduced(getattr, Reduced(__import__, "os"), "mkdir"),
        "import": Reduced(__import__, "this"),
        "build": Built(),
        "in a dict": {"encoder.weight": torch.zeros(2, 2), "k": Reduced(os.mkdir, canary)},
        "in a tensor": {"encoder.weight": Reduced(torch.tensor, [0.0], state={"x": Reduced(os.mkdir, canary)})},
        "numpy objects": numpy_objects(canary),
        "torch.load": Reduced(torch.load, canary),
        "functools": Reduced(__import__("functools").partial, os.mkdir, canary),
        "subprocess": Reduced(__import__("subprocess").Popen, ["touch", canary]),
        "attribute": Reduced(setattr, Reduced(__import__, "builtins"), "superpose_canary", 1),
        "called settings": {"cfg": Reduced(THEIRS, os.mkdir, canary), "state_dict": matrices()},
        "settings with an import": {"cfg": Reduced(THEIRS, state={"a": Reduced(os.mkdir, canary)}), "state_dict": {}},
        "settings with slots": {"cfg": Reduced(THEIRS, state=({}, {"__class__": Built})), "state_dict": {}},
        "settings with a list": {"cfg": Reduced(THEIRS, state=[1]), "state_dict": {}},
    }


HOSTILE = list(hostile("/nowhere"))


def write_pickle(protocol):
    return lambda content, path: path.write_bytes(pickle.dumps(content, protocol=protocol))


def write_legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def write_newer(content, path):
    """torch.save's archive, with a pickle of a later protocol, whose codes its reader may not know."""
    torch.save(content, path, pickle_protocol=4)


WRITERS = {
    "archive": torch.save,
    "archive of protocol 4": write_newer,
    "legacy": write_legacy,
    **{f"pickle {protocol}": write_pickle(protocol) for protocol in (0, 2, 4, 5)},
}


def unharmed(canary):
    return not canary.exists() and not hasattr(builtins, "superpose_canary") and "this" not in sys.modules


@pytest.mark.parametrize("name", ["os.mkdir", "builtins.exec", "build", "numpy objects", "settings with an import"])
def test_the_canaries_are_alive(tmp_path, name):
    with installed(), contextlib.suppress(OSError):
        pickle.loads(pickle.dumps(hostile(str(tmp_path / "canary"))[name]))
    assert not unharmed(tmp_path / "canary")


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_pickle_is_run(tmp_path, write, name):
    canary = tmp_path / "canary"
    content = hostile(str(canary))[name]
    dictionary_learning(tmp_path / "ae")
    for file in ("ae/ae.pt", "images/n_images_1.pt", "sparse/sae.safetensors", "lens/sae_weights.safetensors"):
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        (path.parent / "cfg.json").write_text(json.dumps(SPARSIFY | NEW))
        with installed():
            WRITERS[write](content, path)
        for given in (path, path.parent):
            with pytest.raises(DataError, match="taken for a dictionary of") as caught:
                formats.read(given)
            assert "\n" not in str(caught.value)
            assert "weights_only" not in str(caught.value), "advice to switch the guard off"
    assert unharmed(canary)


@pytest.mark.parametrize("name", ["os.mkdir", "settings with an import"])
def test_the_error_says_what_a_pickle_asks_for(tmp_path, name):
    with installed():
        torch.save(hostile(str(tmp_path / "canary"))[name], tmp_path / "n_images_1.pt")
    refused(
        tmp_path, "Prisma", r"holds more than tensors and plain values, or is damaged \(it names posix.mkdir\); nothing"
    )


def test_only_prisma_has_a_stand_in_and_only_while_it_reads(tmp_path):
    # Torch keeps them in a set, whose order an addition taken back may change.
    known = set(torch.serialization.get_safe_globals())
    prisma(tmp_path / "a")
    formats.read(tmp_path / "a")
    dictionary_learning(tmp_path / "b")
    (tmp_path / "a" / "n_images_2600058.pt").rename(tmp_path / "b" / "ae.pt")
    refused(tmp_path / "b", "dictionary_learning", "it names vit_prisma.sae.config.VisionModelSAERunnerConfig")
    assert set(torch.serialization.get_safe_globals()) == known


@pytest.mark.parametrize(
    "cfg", [{"architecture": "standard"}, None, 3, "x", [THEIRS], torch.zeros(3)], ids=lambda cfg: type(cfg).__name__
)
def test_prisma_settings_of_another_kind(tmp_path, cfg):
    with installed():
        torch.save({"cfg": cfg, "state_dict": matrices()}, tmp_path / "n_images_1.pt")
    refused(tmp_path, "Prisma", "has a cfg of type .*; expected vit_prisma.sae.config.VisionModelSAERunnerConfig")


@pytest.mark.parametrize("state", [None, 3, {}, [torch.zeros(3)], {"cfg": 3}])
def test_archives_that_hold_no_state(tmp_path, state):
    dictionary_learning(tmp_path)
    torch.save(state, tmp_path / "ae.pt")
    refused(tmp_path, "dictionary_learning", "ae.pt holds no tensors by name")


def test_attributes_that_hide_methods_do_nothing(tmp_path):
    state = linear()
    state["b_dec"].float = state["b_dec"].detach = state["b_dec"].isfinite = 3
    dictionary_learning(tmp_path)
    torch.save(Reduced(OrderedDict, list(state.items()), state={"items": 3, "keys": 4}), tmp_path / "ae.pt")
    agree(tmp_path, *published("AutoEncoderTopK"))


def test_compressed_archives_are_refused_before_they_are_unpacked(tmp_path):
    dictionary_learning(tmp_path)
    with zipfile.ZipFile(tmp_path / "ae.pt") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "ae.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    refused(tmp_path, "dictionary_learning", "is not an archive that torch.save wrote, or is damaged")


def cut(data, rng):
    return data[: rng.integers(len(data))]


def flip(data, rng):
    at = rng.integers(len(data), size=rng.integers(1, 9))
    data[at] = rng.integers(256, size=len(at))
    return data


def flip_the_head(data, rng):
    at = rng.integers(min(300, len(data)), size=rng.integers(1, 4))
    data[at] = rng.integers(256, size=len(at))
    return data


@pytest.mark.parametrize("damage", [cut, flip, flip_the_head])
@pytest.mark.parametrize("write", [saelens, sparsify, dictionary_learning, prisma])
def test_damaged_files_give_one_line_or_numbers(tmp_path, write, damage):
    rng, said = np.random.default_rng(0), []
    write(tmp_path)
    for file in sorted(tmp_path.iterdir()):
        sound = file.read_bytes()
        for _ in range(60):
            file.write_bytes(damage(np.frombuffer(sound, np.uint8).copy(), rng).tobytes())
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    codes = formats.read(tmp_path).encode(X)
                except DataError as error:
                    said.append(str(error))
                else:
                    assert codes.shape == (len(X), LATENTS)
        file.write_bytes(sound)
    assert len(said) > 20
    assert all("\n" not in text and "taken for a dictionary of" in text for text in said)


@pytest.mark.parametrize("write", [saelens, sparsify, dictionary_learning, prisma])
def test_truncated_weights_are_refused(tmp_path, write):
    write(tmp_path)
    (file,) = [file for file in tmp_path.iterdir() if file.suffix != ".json"]
    sound = file.read_bytes()
    for size in (0, 7, 100, len(sound) // 2, len(sound) - 1):
        file.write_bytes(sound[:size])
        with pytest.raises(DataError, match=r"is not a whole safetensors file|is not an archive that torch.save wrote"):
            formats.read(tmp_path)


# The packages themselves


@pytest.mark.parametrize("architecture", LAYOUTS)
@pytest.mark.parametrize("layout", ["new", "old"])
@pytest.mark.parametrize("subtracted", [True, False])
def test_against_saelens_itself(tmp_path, architecture, layout, subtracted):
    package = pytest.importorskip("sae_lens")
    options = {"rescale_acts_by_decoder_norm": True} if (architecture, layout) == ("topk", "new") else {}
    saelens(tmp_path / "a", architecture, layout, apply_b_dec_to_input=subtracted, **options)
    formats.write_saelens(formats.read(tmp_path / "a"), tmp_path / "b")
    x = torch.from_numpy(X).float()
    for folder in ("a", "b"):
        their = package.SAE.load_from_disk(tmp_path / folder, dtype="float32")
        codes = their.encode(x)
        agree(tmp_path / "a", codes.detach().numpy(), their.decode(codes).detach().numpy(), tolerance=2e-5)


def test_against_sparsify_itself(tmp_path):
    package = pytest.importorskip("sparsify")
    their = package.SparseCoder.load_from_disk(sparsify(tmp_path))
    out = their.encode(torch.from_numpy(X).float())
    codes = torch.zeros(len(X), LATENTS).scatter(1, out.top_indices, out.top_acts)
    agree(
        tmp_path, codes.detach().numpy(), their.decode(out.top_acts, out.top_indices).detach().numpy(), tolerance=2e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_against_dictionary_learning_itself(tmp_path, kind):
    package = pytest.importorskip("dictionary_learning.utils")
    their, _ = package.load_dictionary(str(dictionary_learning(tmp_path, kind)), device="cpu")
    codes = their.encode(torch.from_numpy(X).float())
    agree(tmp_path, codes.detach().numpy(), their.decode(codes).detach().numpy(), tolerance=2e-5)
