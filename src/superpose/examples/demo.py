"""The demo's inputs: two packaged language encoders over Python's own help text, and two digit networks.

Both encoders split text into the same word pieces, so that their activations are paired token by token.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from superpose.analysis import Analysis, analyse
from superpose.analysis.results import write
from superpose.examples.corpora import python_help
from superpose.examples.encoders import L3, L6, Language, Progress, language_layers, packaged, text_digest
from superpose.examples.encoders import sources as sources_of
from superpose.files import DataError
from superpose.report import Passage
from superpose.running.folders import RECORD

# About 40,000 word pieces: what two cores encode, train on and score in two minutes.
ENOUGH = 1_600


def language(folder: str | os.PathLike[str], *, progress: Progress = lambda what, done, total: None) -> Language:
    """Return activations per token of all-MiniLM-L6 and paraphrase-MiniLM-L3 over English prose.

    The first call runs both encoders and keeps the activations in `folder`; later calls map them from there.
    An interrupted call resumes where it stopped. [CLS], [SEP] and padding are left out.

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
    return language_layers(folder, sentences(), progress=progress)


def sentences() -> list[str]:
    """Return the sentences that the demo reads: the first topics of Python's own help."""
    return python_help(ENOUGH)


def sources() -> dict[str, Any]:
    """Return what the demo's text and encoders are, by version and SHA-256, for the record of a run."""
    text = sentences()
    return {
        "text": {"module": "pydoc_data.topics", "sentences": len(text), "sha256": text_digest(text)},
        "encoders": sources_of((L6, L3)),
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
    >>> from superpose.examples.demo import digits
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


def is_demo(folder: Path) -> bool:
    """Whether the run that a folder holds is an earlier demo, which the next one may replace."""
    try:
        return bool(json.loads((folder / RECORD).read_text(encoding="utf-8")).get("demo"))
    except (OSError, ValueError):
        return False


def in_context(inputs: Language, *, around: int = 3) -> list[str]:
    """Return each token of the demo's text between those beside it, as "the features of [each] system are found".

    Parameters
    ----------
    inputs : Language
        Of `language`.
    around : int
        How many word pieces to show on either side, within the sentence.
    """
    vocabulary = json.loads(packaged(L6)["tokenizer.json"].read_text(encoding="utf-8"))["model"]["vocab"]
    piece = {number: word for word, number in vocabulary.items()}
    pieces = [piece[int(token)] for token in inputs.tokens]
    ends = np.flatnonzero(np.diff(inputs.groups, append=inputs.groups[-1] + 1)) + 1
    named = []
    for first, last in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        for place in range(first, last):
            before, after = (
                pieces[max(first, place - around) : place],
                pieces[place + 1 : min(last, place + 1 + around)],
            )
            shown = " ".join([*before, f"[{pieces[place]}]", *after])
            named.append(shown.replace(" ##", "").replace(" [##", "[").replace("##", ""))
    return named


def passage(token: str) -> Passage:
    """Return one token of `in_context` as a text in which it is marked.

    Examples
    --------
    >>> from superpose.examples.demo import passage
    >>> passage("the fea[ture] is")
    Passage(text='the feature is', start=7, end=11)
    """
    before, _, rest = token.partition("[")
    marked, _, behind = rest.partition("]")
    return Passage(before + marked + behind, len(before), len(before) + len(marked))


DISSIMILAR, SIMILAR = ("L6_3", "L3_2"), ("L6_3", "L6_4")


def run(
    folder: Path,
    cache: Path,
    *,
    latents: int | None = None,
    steps: int | None = None,
    permutations: int = 49,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = lambda what, done, total: None,
) -> Analysis:
    """Do the main job on one dissimilar and one similar pair of the encoders' layers, and write the results.

    Parameters
    ----------
    folder : pathlib.Path
        An existing directory for the tables, the figure and the report.
    cache : pathlib.Path
        Where `language` keeps the activations.
    latents, steps, permutations, seed, device, progress
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
    tokens = in_context(inputs)
    chosen = dict.fromkeys(DISSIMILAR + SIMILAR)
    analysis = analyse(
        {name: inputs.systems[name] for name in chosen},
        pairs=[DISSIMILAR, SIMILAR],
        groups=inputs.groups,
        stimuli=tokens,
        latents=latents,
        training=None if steps is None else {"steps": steps},
        permutations=permutations,
        seed=seed,
        device=device,
        engine=f"local:{min(2, os.cpu_count() or 1)}",
        progress=progress,
    )
    record = {"demo": True, "inputs": sources(), "seconds": round(time.perf_counter() - started, 1)}
    shown = {token: passage(token) for token in tokens}
    write(analysis, folder, record, title="Two language encoders, token by token", stimuli=shown)
    return analysis
