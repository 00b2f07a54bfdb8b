"""The layers of known transformers by what they are: residual stream, MLP output, attention output."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from superpose.arrays import choose
from superpose.files import DataError
from superpose.models.towers import TOWERS, is_whole

if TYPE_CHECKING:
    import torch

KINDS = ("resid_post", "mlp_out", "attn_out")


class Layout(NamedTuple):
    """Where an architecture keeps its layers: ends of module names, of which the first that is there counts.

    Attributes
    ----------
    blocks : tuple of str
        The list of blocks.
    mlp_out, attn_out : tuple of str
        Inside a block, the module whose output the MLP, or attention, adds to the residual stream.
    resid_post : tuple of str
        Inside a block, the module whose output is the residual stream after it: the block itself.
    """

    blocks: tuple[str, ...]
    mlp_out: tuple[str, ...]
    attn_out: tuple[str, ...]
    resid_post: tuple[str, ...] = ("",)


# BERT normalises after each addition: what is added comes from the layers before that.
_BERT = Layout(("encoder.layer",), ("output.dense",), ("attention.output.dense",))
_GPT2 = Layout(("h",), ("mlp",), ("attn",))
_LLAMA = Layout(("layers",), ("mlp",), ("self_attn",))
_CLIP = Layout(("encoder.layers",), ("mlp",), ("self_attn",))
_VIT = Layout(("layers", "encoder.layer"), ("mlp", "output.dense"), ("attention",))
# DINOv2 scales both before adding them.
_DINOV2 = Layout(("encoder.layer",), ("layer_scale2",), ("layer_scale1",))
# By the `model_type` of transformers' configurations.
LAYOUTS: Mapping[str, Layout] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "gpt2": _GPT2,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "clip_vision_model": _CLIP,
    "clip_text_model": _CLIP,
    "vit": _VIT,
    "dinov2": _DINOV2,
    "dinov2_with_registers": _DINOV2,
}
NAME_THEM = "name modules themselves, {name: module}, with names from model.named_modules()"


def layer_names(model: torch.nn.Module, kinds: str | Sequence[str], *, tower: str | None = None) -> dict[str, str]:
    """Return the layers of a model of the transformers library, {readable name: module}, as `activations` takes them.

    A residual stream is recorded as a block leaves it, before any norm that follows the last one: these are the
    library's `hidden_states[1:]`, save that some architectures norm the last of those.

    Parameters
    ----------
    model : torch.nn.Module
        A BERT, RoBERTa, GPT-2, Llama, Mistral, Qwen, CLIP (vision or text), ViT or DINOv2 model of transformers, with
        or without a head.
    kinds : {"resid_post", "mlp_out", "attn_out"}, or a sequence of them
        The residual stream after each block; what its MLP adds to the stream; what its attention adds.
    tower : {"vision", "text"}, optional
        Which half of a whole CLIP, that takes pictures and sentences.

    Returns
    -------
    dict of str to str
        {"resid_post_0": module, "resid_post_1": …}: kinds in the order asked for, blocks counted from 0.

    Raises
    ------
    DataError
        If a kind is not one of those listed, the architecture is not known, or it has two towers and none is named.

    Examples
    --------
    >>> from transformers import ViTConfig, ViTModel
    >>> from superpose.models import layer_names
    >>> sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    >>> layer_names(ViTModel(ViTConfig(image_size=32, **sizes)), "resid_post")
    {'resid_post_0': 'layers.0', 'resid_post_1': 'layers.1'}
    """
    asked = [kinds] if isinstance(kinds, str) else list(kinds)
    for kind in asked:
        choose(dict.fromkeys(KINDS), "kinds", kind)
    if is_whole(model):
        if tower not in TOWERS:
            raise DataError(
                f"tower is {tower!r}, and this model has one for pictures and one for sentences; expected 'vision' or "
                "'text'."
            )
        prefix = TOWERS[tower]
        return {name: f"{prefix}.{module}" for name, module in layer_names(getattr(model, prefix), asked).items()}
    architecture = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    if architecture not in LAYOUTS:
        raise DataError(
            f"the layers of a {architecture} are not known; expected one of {', '.join(LAYOUTS)}. Or {NAME_THEM}."
        )
    layout = LAYOUTS[architecture]
    modules = dict(model.named_modules())
    blocks = _blocks(modules, layout.blocks)
    found = {f"{kind}_{i}": _inside(modules, block, getattr(layout, kind)) for kind in asked for i, block in blocks}
    if not found or None in found.values():
        raise DataError(f"this {architecture} is not built as the others are; {NAME_THEM}.")
    return {name: module for name, module in found.items() if module is not None}


def _blocks(modules: Mapping[str, object], ends: Sequence[str]) -> list[tuple[int, str]]:
    """Return the number and name of every block of the first list that is there."""
    for end in ends:
        pattern = re.compile(rf"(?:.+\.)?{re.escape(end)}\.(\d+)")
        matches = [(int(match[1]), name) for name in modules if (match := pattern.fullmatch(name))]
        if matches:
            return sorted(matches)
    return []


def _inside(modules: Mapping[str, object], block: str, ends: Sequence[str]) -> str | None:
    names = (f"{block}.{end}".rstrip(".") for end in ends)
    return next((name for name in names if name in modules), None)
