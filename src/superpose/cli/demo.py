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

    Compares a dissimilar pair of layers (of different encoders) and a similar pair (neighbours in one encoder): which
    features each layer holds, which of them the other also holds, and raw scores. Takes minutes on two cores. With
    --latents or --steps, also compares latents of shared dictionaries, with the control that refits them on shuffled
    pairs. An older demo in the output directory is replaced.

    Parameters
    ----------
    out
        Output directory.
    cache
        Directory in which activations are kept between runs.
    latents
        Number of latents per dictionary.
    steps
        Training steps per dictionary.
    permutations
        Number of permutations for the null of each raw score.
    seed
        Random seed.
    device
        Torch device on which dictionaries are trained: cpu, cuda, cuda:1 or mps.
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
