"""`superpose demo`: layers of two packaged language encoders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from superpose.cli.show import show_analysis
from superpose.running.folders import check_free
from superpose.running.progress import Progress


def demo(
    *,
    out: Path = Path("demo-results"),
    cache: Path = Path(".demo-cache"),
    latents: int | None = None,
    steps: int | None = None,
    permutations: int = 49,
    seed: int = 0,
    device: str = "cpu",
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Compare layers of two packaged language encoders, token by token, over Python's own help text.

    One dissimilar pair of layers (of different encoders) and one similar pair (neighbours in one encoder): which
    features each layer holds, which of them the other holds too, and raw scores; minutes on two cores. With --latents
    or --steps also in the latents of shared dictionaries, with the control that refits them on shuffled pairs. An older
    demo in the output directory is replaced.

    Parameters
    ----------
    out
        Directory of the results.
    cache
        Directory that keeps the activations between runs.
    latents
        Latents of each dictionary.
    steps
        Training steps of a dictionary.
    permutations
        Permutations behind the null of each raw score.
    seed
        The seed that everything random is derived from.
    device
        Where dictionaries are trained, in torch's words: cuda, cuda:1, mps.
    json
        Print the table, sentences and warnings as JSON.
    """
    from superpose.arrays.tensors import checked_device
    from superpose.examples.demo import is_demo, run

    folder = check_free(out, overwrite=is_demo(out))
    place = checked_device(device)
    with Progress() as progress:
        analysis = run(
            folder, cache, latents=latents, steps=steps, permutations=permutations, seed=seed, device=place,
            progress=progress,
        )  # fmt: skip
    show_analysis(analysis, as_json=json)
    tokens = "{training_samples} training and {test_samples} held-out tokens".format_map(analysis.settings)
    sizes = f"{permutations} permutations, {tokens}"
    print(f"The demo's sizes: {sizes}.", file=sys.stderr)
    print(f"Written to {folder}: open {folder / 'report.html'}", file=sys.stderr)
