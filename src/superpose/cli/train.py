"""`superpose train`: a dictionary for each file of activity."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superpose.cli.reading import Axes, Missing, digests_of, read_paired, show_notes, told
from superpose.files import DataError, whole
from superpose.running.progress import Progress

if TYPE_CHECKING:
    from superpose.dictionaries.sae import SparseAutoencoder

# Of the rows, whatever they are grouped by.
HELD_OUT = 0.1
COLUMNS = (
    *("file", "dictionary", "training_samples", "held_out_samples", "units", "latents"),
    *("fvu_held_out", "fvu_training", "dead", "l0"),
)


def train(
    *files: Path,
    out: Path,
    latents: int | None = None,
    active: int | None = None,
    steps: int = 1000,
    batch: int = 512,
    learning_rate: float = 5e-3,
    joint: str | None = None,
    groups: Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    axes: Axes = None,
    missing: Missing = None,
) -> None:
    """Train and save a TopK dictionary for each file of activity.

    Writes NAME.safetensors for every file, and train.json (settings, digests of the files), to the output directory.
    Prints one row per file: the dictionary written, the number of training rows and, for the held-out tenth of the
    rows, the fraction of variance unexplained (fvu_held_out), the share of dead latents and the number of active
    latents per row. fvu_training is the same fraction for as many training rows: if it is far lower, the dictionary has
    overfitted. The last tenth is held out; with groups (from a file, or labelled in FILES) or trials of stimuli, a
    tenth drawn at random in whole groups.

    Parameters
    ----------
    files
        One or more files of (samples, units), as `superpose compare` takes them.
    out
        Output directory.
    latents
        Number of latents per dictionary; by default 4 x the units of the widest file.
    active
        Active latents (k); by default 32, at most latents / 16.
    steps
        Training steps.
    batch
        Rows per step.
    learning_rate
        Peak learning rate; 0.005 suits hundreds of units, 0.01 tens.
    joint
        Train one index space for all files, whose rows are then paired as superpose compare pairs them: detached,
        cross, separate or agreement.
    groups
        File of one label per row: what belongs together (sentence, trial, photograph), as for superpose compare. No
        group is split between training and held-out rows.
    seed
        Everything random is derived from it.
    device
        Where dictionaries are trained, in torch's words: cuda, cuda:1, mps.
    """
    from superpose.analysis.inputs import files_for
    from superpose.analysis.spaces import Recipe, apart, sizes, together
    from superpose.arrays import check_paired
    from superpose.arrays.tensors import checked_device
    from superpose.comparison import checked_seed
    from superpose.dictionaries.sae import save

    checked_device(device)
    systems, inputs, known = _read(files, told(axes, missing), groups, paired=joint is not None)
    latents, active = sizes(latents, active, 4 * max(x.shape[-1] for x in systems.values()))
    checked_seed(seed)
    if joint is not None:
        check_paired(systems)
    if short := [name for name, x in systems.items() if len(x) < 10]:
        raise DataError(f"{short[0]} has fewer than 10 rows; expected enough to train on and to hold a tenth out.")
    split = {name: _split(x, known.get(name), seed) for name, x in systems.items()}
    kept = files_for(out, list(systems), ".safetensors")
    training = {name: part for name, (part, _) in split.items()}
    progress = Progress()
    recipe = Recipe(latents, active, joint or "separate", steps, batch, learning_rate, seed, progress, device=device)
    with progress:
        fitted = apart(training, recipe) if joint is None else together(training, recipe)
    out.mkdir(parents=True, exist_ok=True)
    print("\t".join(COLUMNS))
    for name, sae in fitted.items():
        save(sae, kept[name])
        print("\t".join([name, str(kept[name]), *_row(sae, *split[name])]))
    settings = {
        "latents": latents,
        "active": active,
        "steps": steps,
        "batch": batch,
        "learning_rate": learning_rate,
        "joint": joint,
        "groups": digests_of(groups=groups).get("groups"),
        "seed": seed,
        "device": device,
        "inputs": inputs,
    }
    with whole(out / "train.json") as temporary:
        temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    written = ", ".join(kept[name].name for name in fitted)
    print(f"Written to {out}: {written} and train.json", file=sys.stderr)


def _read(
    files: Sequence[Path], how: dict[str, Any], groups: Path | None, *, paired: bool
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return what files hold, what to record of them, and how the rows of each belong together, where they do.

    Several are paired if asked.
    """
    from superpose.analysis.inputs import read_files, read_groups

    known = None if groups is None else read_groups(groups, missing=how["missing"])
    if paired and len(files) > 1:
        read = read_paired(files, how)
        shared = read.groups if known is None else known
        return read.arrays, read.inputs, {} if shared is None else dict.fromkeys(read.arrays, shared)
    with Progress() as reading:
        systems, inputs, notes, own = read_files(files, reading, **how)
    show_notes(notes)
    return systems, inputs, own if known is None else dict.fromkeys(systems, known)


def _row(sae: SparseAutoencoder, trained_on: Any, held_out: Any) -> list[str]:
    """Return what is printed of a dictionary: its sizes, and what it makes of the held-out rows."""
    from superpose.dictionaries.diagnostics import dead_share, fvu, l0

    codes, seen = sae.encode(held_out), trained_on[: len(held_out)]
    quality = (fvu(held_out, sae.decode(codes)), fvu(seen, sae.decode(sae.encode(seen))), dead_share(codes), l0(codes))
    sizes = (len(trained_on), len(held_out), sae.units, sae.latents)
    return [*map(str, sizes), *(f"{float(one):.4g}" for one in quality)]


def _split(x: Any, groups: Any, seed: int) -> tuple[Any, Any]:
    """Return the rows to train on and a held-out tenth: the last rows, or whole groups drawn at random."""
    from superpose.arrays import group_labels
    from superpose.metrics.splits import marked

    if groups is None:
        # As they are, rows need not be read from the disk.
        last = len(x) - len(x) // 10
        return x[:last], x[last:]
    held_out = marked(len(x), HELD_OUT, group_labels(groups, len(x)), seed)
    return x[~held_out], x[held_out]
