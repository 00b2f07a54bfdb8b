"""`superpose extract`: activations of layers of a saved model on pictures, sentences or arrays."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from superpose.files import DataError, argument, lines, whole
from superpose.running.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from superpose.models import Activations

SEVERAL = Parameter(consume_multiple=True, negative="")


class Read(NamedTuple):
    """Inputs of a model, the name of each sample, if it has one, and where each token stands in its sentence."""

    inputs: Any
    names: list[str] | None = None
    spans: NDArray[np.int32] | None = None


def extract(
    model: Path,
    inputs: Path,
    *,
    layers: Annotated[list[str], SEVERAL],
    out: Path,
    tokens: str = "every",
    drop: Annotated[list[int] | None, SEVERAL] = None,
    batch: int = 32,
    dtype: str = "float32",
    precision: str = "float32",
    device: str = "cpu",
    preparation: str | None = None,
    length: int = 128,
    stimuli: Path | None = None,
) -> None:
    """Save activations of model layers: one .npy per layer, (rows, units), for `superpose compare` and `train`.

    Also writes groups.npy (the sample of every row), ids.npy (its token id, or -1), stimuli.txt (the file or sentence
    of every sample, one per line), spans.npy (for sentences, where the token of every row begins and ends, or -1),
    extract.json and manifest.json (settings, digests). An interrupted run resumes where it stopped. If a file is
    damaged later, the same command names and repairs it.

    Parameters
    ----------
    model
        A folder saved by transformers (config.json and safetensors; nothing is downloaded, no pickle is opened, no code
        in the folder is run), or an .onnx file. In a complete CLIP model, pictures go through the vision tower and
        sentences through the text tower.
    inputs
        A folder of pictures or of class folders; a .txt file with one sentence per line (the model's folder must hold
        tokenizer.json); or an .npy of the model's first argument, one row per sample.
    layers
        resid_post (the residual stream after every block), mlp_out, attn_out, or names of modules; of an .onnx file,
        layer_norm (the output of every LayerNormalization) or names of values.
    out
        Output directory: empty, new, or from an earlier run of the same command.
    tokens
        Which positions become rows: every, cls (the first), last, mean, or grid (7 x 7 positions of a square picture).
    drop
        Token ids, such as those of [CLS] and [SEP], that every, last and mean skip.
    batch
        Samples per forward pass.
    dtype
        Type of the saved arrays: float32, or float16 in half the space.
    precision
        Precision of the computation: float32, or bfloat16 or float16 where that is safe (mixed precision).
    device
        Torch device on which the model of a folder runs: cpu, cuda or cuda:1.
    preparation
        Picture preprocessing if the folder holds no preprocessor_config.json or processor_config.json: clip, vit, dino
        or dinov2.
    length
        Maximum number of tokens per sentence, special ones included; the number of truncated sentences is printed.
    stimuli
        A file with one stimulus id per sample (.npy, or text with one id per line), in the order of the inputs: layers
        are paired with recordings by these ids. By default pictures are identified by file name and sentences by their
        text; rows of an array have no other id.
    """
    from superpose.models import activations

    reader = MODELS[_kind(model, MODELS)]
    opened = reader.open(model, device)
    with _plain_warnings():
        read = INPUTS[_kind(inputs, INPUTS)](inputs, model, preparation, length)
    given = read.inputs
    names = read.names if stimuli is None else _ids(stimuli, read.names, given)
    named = {name: module for layer in layers for name, module in reader.names(opened, layer, given).items()}
    _check_length(opened, given, length)
    progress = Progress()
    with progress, _plain_warnings(), _one_line(model, inputs):
        found = activations(
            opened,
            given,
            named,
            batch=batch,
            tokens=tokens,
            drop=drop or (),
            dtype=dtype,
            precision=precision,
            store=out,
            progress=partial(progress, "extract"),
        )
    own = None if stimuli is None else read.names
    spans = None if read.spans is None else _spans(found, given, read.spans)
    where = {"model": str(model), "inputs": str(inputs), "location": str(inputs.resolve()), "device": device}
    _record(out, found, names, own, spans, where)
    print(_result(out, found))
    print(f"Written to {out}", file=sys.stderr)


def _kind(path: Path, kinds: Collection[str]) -> str:
    """Return what a path is by its suffix, a folder being ''."""
    if not path.exists():
        raise DataError(f"{path} does not exist; check the path.")
    kind = "" if path.is_dir() else path.suffix.lower()
    if kind not in kinds or path.is_dir() != (kind == ""):
        *others, last = ["a folder", *filter(None, kinds)]
        raise DataError(f"{path} is {kind or 'a file without a suffix'}; expected {', '.join(others)} or {last}.")
    return kind


class Reader(NamedTuple):
    """How a model is opened, (path, device), and which {name: module} a layer stands for, (model, layer, inputs)."""

    open: Callable[[Path, str], Any]
    names: Callable[[Any, str, Any], dict[str, str]]


def _folder_model(path: Path, device: str) -> Any:
    from superpose.models import pretrained

    return pretrained(path, device=device)


def _folder_layers(model: Any, layer: str, given: Any) -> dict[str, str]:
    from superpose.models import KINDS, layer_names
    from superpose.models.towers import tower_of

    return layer_names(model, layer, tower=tower_of(given)) if layer in KINDS else {layer: layer}


def _onnx_model(path: Path, device: str) -> Any:
    if device != "cpu":
        raise DataError(f"{argument('device')} is {device!r}; expected 'cpu', where .onnx files run.")
    return path


def _onnx_layers(path: Any, layer: str, given: Any) -> dict[str, str]:
    from superpose.models import layer_norms

    if layer != "layer_norm":
        return {layer: layer}
    return {f"layer_norm_{i}": name for i, name in enumerate(layer_norms(path))}


def _check_length(model: Any, given: Any, length: int) -> None:
    from superpose.models import text_limit

    most = text_limit(model)
    if most is not None and isinstance(given, dict) and given["input_ids"].shape[1] > most:
        raise DataError(f"--length is {length}, and the model has positions for {most} tokens; give --length {most}.")


def _pictures(path: Path, model: Path, preparation: str | None, length: int) -> Read:
    from superpose.arrays import choose
    from superpose.models import PREPARATIONS, images
    from superpose.models import preparation as saved

    how = (
        saved(_beside(model, ("preprocessor_config.json", "processor_config.json"), "name one with --preparation"))
        if preparation is None
        else choose(PREPARATIONS, "preparation", preparation)
    )
    found = images(path, how)
    if broken := [name for name in found.names if re.search(r"[\n\r]", name)]:
        raise DataError(f"{path} holds {broken[0]!r}, a name of several lines, which labels no sample; rename it.")
    return Read(found, list(found.names))


def _sentences(path: Path, model: Path, preparation: str | None, length: int) -> Read:
    from superpose.models import token_spans, tokenize

    sentences = [line.strip() for line in lines(path) if line.strip()]
    if not sentences:
        raise DataError(f"{path} holds no sentence; expected one a line.")
    file = _beside(model, ("tokenizer.json",), "save the tokenizer of the model there")
    return Read(tokenize(file, sentences, length=length), sentences, token_spans(file, sentences, length=length))


def _ids(path: Path, names: list[str] | None, given: Any) -> list[str]:
    """Return the id of each sample, or raise a DataError unless there is one for each, different from the others."""
    from superpose.analysis.inputs import read_groups

    ids: list[str] = [str(one) for one in read_groups(path, "--stimuli")]
    samples = len(names) if names is not None else len(given)
    if len(ids) != samples:
        raise DataError(f"{path} holds {len(ids)} ids for {samples} samples; expected one for each, in their order.")
    if len(set(ids)) < samples or any(len(one.splitlines()) != 1 for one in ids):
        raise DataError(f"{path} has an id twice, or one of several lines; expected a different one for each sample.")
    return ids


def _array(path: Path, model: Path, preparation: str | None, length: int) -> Read:
    import numpy as np

    try:
        with warnings.catch_warnings(action="ignore"):
            return Read(np.load(path, mmap_mode="r", allow_pickle=False))
    except Exception as error:  # what a damaged header raises has no end
        raise DataError(
            f"{path} cannot be read as an array ({' '.join(str(error).split())[:200]}); write it again."
        ) from None


# By suffix; "" is a folder.
MODELS = {
    "": Reader(_folder_model, _folder_layers),
    ".onnx": Reader(_onnx_model, _onnx_layers),
}
INPUTS: dict[str, Callable[[Path, Path, str | None, int], Read]] = {
    "": _pictures,
    ".txt": _sentences,
    ".npy": _array,
}


def _beside(model: Path, names: Sequence[str], remedy: str) -> Path:
    """Return the first of these files that stands beside a model."""
    files = [(model if model.is_dir() else model.parent) / name for name in names]
    for file in files:
        if file.is_file():
            return file
    raise DataError(f"{files[0]} does not exist; {remedy}.")


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print what the store warns of as one line each."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        try:
            yield
        finally:
            for one in said:
                print(f"superpose: {one.message}", file=sys.stderr)


@contextmanager
def _one_line(model: Path, inputs: Path) -> Iterator[None]:
    """Turn whatever a model raises on inputs that it cannot take into one line."""
    try:
        yield
    except (DataError, OSError, MemoryError):
        raise
    except Exception as error:
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{model} cannot be run on {inputs} ({cause}); expected inputs that it was made for.") from None


def _spans(found: Activations, given: Any, spans: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return where the token of every row begins and ends in its sentence, (rows, 2); -1 where that is not known."""
    import numpy as np

    from superpose.models import row_positions

    how, words = found.settings, given["input_ids"]
    rows, ids = [], []
    for sample, mask in enumerate(given["attention_mask"]):
        at = row_positions(words[sample], mask, how["tokens"], how["drop"])
        rows.append(np.where(at[:, None] < 0, -1, spans[sample, at]))
        ids.append(np.where(at < 0, -1, words[sample, at]))
    # A layer of one vector a sentence has one row, whichever tokens were asked for.
    fitting = np.array_equal(np.concatenate(ids), found.ids)
    return np.concatenate(rows).astype(np.int32) if fitting else np.full((len(found.ids), 2), -1, dtype=np.int32)


def _record(
    out: Path,
    found: Activations,
    stimuli: list[str] | None,
    own: list[str] | None,
    spans: NDArray[np.int32] | None,
    given: dict[str, str],
) -> None:
    """Write the names of samples, their files or sentences where those are others, spans of tokens, and settings."""
    import numpy as np

    from superpose.analysis.extracted import INPUTS as FILES_OR_SENTENCES
    from superpose.analysis.extracted import RECORD, SPANS
    from superpose.recordings.numpyfiles import STIMULI
    from superpose.running.provenance import threads, versions

    for name, texts in ((STIMULI, stimuli), (FILES_OR_SENTENCES, own)):
        if texts is not None:
            with whole(out / name) as temporary:
                temporary.write_text("\n".join(texts) + "\n", encoding="utf-8")
    if spans is not None:
        with whole(out / SPANS) as temporary, open(temporary, "wb") as file:
            np.save(file, spans)
    content = {**given, "settings": found.settings, "versions": versions(), "threads": threads()}
    with whole(out / RECORD) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _result(out: Path, found: Activations) -> str:
    """Return what was made and the command that comes next, on one line."""
    from superpose.store import paths

    rows, samples = len(found.samples), len(set(found.samples.tolist()))
    units = sorted({x.shape[1] for x in found.layers.values()})
    width = f"{units[0]}" if len(units) == 1 else f"{units[0]} to {units[-1]}"
    made = f"{len(found.layers)} layers of {width} units, {rows} rows of {samples} samples"
    where = paths(out)
    files = [str(where[name]) for name in list(found.layers)[:2]]
    groups = f" --groups {where['groups']}" if rows > samples else ""
    follow = f"compare {' '.join(files)}{groups} --out results" if len(files) == 2 else f"train {files[0]} --out kept"
    return f"{made} (tokens {found.settings['tokens']}). Next: superpose {follow}"
