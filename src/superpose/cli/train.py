"""`superpose train`: a dictionary for each file of activity."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from superpose.cli.reading import Axes, Missing, show_notes, told
from superpose.files import DataError, argument, whole
from superpose.progress import Progress


def train(
    *files: Path,
    out: Path,
    latents: int | None = None,
    active: int | None = None,
    steps: int = 1000,
    batch: int = 512,
    learning_rate: float = 5e-3,
    joint: str | None = None,
    seed: int = 0,
    axes: Axes = None,
    missing: Missing = None,
) -> None:
    """Train a TopK dictionary on each file of activity, and keep it.

    Writes NAME.safetensors for every file, and train.json (settings, digests of the files), to the output directory.
    Prints a table: the fraction of variance that each dictionary leaves unexplained on the held-out last tenth of
    the rows, its dead share there, and its active latents a row.

    Parameters
    ----------
    files
        One or more files of (samples, units), as `superpose compare` takes them.
    out
        Directory of the dictionaries.
    latents
        Features of a dictionary; by default 4 x the widest file's units.
    active
        Features that one row may use; by default 32, at most latents / 16.
    steps
        Training steps.
    batch
        Rows of a step.
    learning_rate
        Its peak; 0.005 suits hundreds of units, 0.01 tens.
    joint
        Train one index space for all files, whose rows are then paired as superpose compare pairs them: detached,
        cross, separate or agreement.
    seed
        Everything random is derived from it.
    """
    from superpose.analysis.inputs import read_files, read_systems
    from superpose.analysis.spaces import Recipe, apart, together
    from superpose.arrays import check_paired
    from superpose.comparison import checked_seed
    from superpose.diagnostics import dead_share, fvu, l0
    from superpose.sae import save

    with Progress() as reading:
        if joint is None or len(files) < 2:
            systems, inputs, notes = read_files(files, reading, **told(axes, missing))
        else:
            systems, _, inputs, _, notes = read_systems(files, reading, **told(axes, missing))
    show_notes(notes)
    widest = max(x.shape[-1] for x in systems.values())
    latents = 4 * widest if latents is None else latents
    active = max(1, min(32, latents // 16)) if active is None else active
    if latents < 1:
        raise DataError(f"{argument('latents')} is {latents}; expected a positive integer.")
    if active > latents:
        raise DataError(f"{argument('active')} is {active} of {latents} latents; expected at most that many.")
    checked_seed(seed)
    if joint is not None:
        check_paired(systems)
    training = {name: x[: len(x) - len(x) // 10] for name, x in systems.items()}
    if short := [name for name, x in systems.items() if len(x) < 10]:
        raise DataError(f"{short[0]} has fewer than 10 rows; expected enough to train on and to hold a tenth out.")
    progress = Progress()
    recipe = Recipe(latents, active, joint or "separate", steps, batch, learning_rate, seed, progress)
    with progress:
        fitted = apart(training, recipe) if joint is None else together(training, recipe)
    out.mkdir(parents=True, exist_ok=True)
    print("file\tsamples\tunits\tlatents\tfvu\tdead\tl0")
    for name, sae in fitted.items():
        held_out = systems[name][len(training[name]) :]
        codes = sae.encode(held_out)
        save(sae, out / f"{Path(name).name}.safetensors")
        quality = (float(fvu(held_out, sae.decode(codes))), float(dead_share(codes)), float(l0(codes)))
        print("\t".join([name, str(len(training[name])), str(sae.units), str(latents), *(f"{q:.4g}" for q in quality)]))
    settings = {
        "latents": latents,
        "active": active,
        "steps": steps,
        "batch": batch,
        "learning_rate": learning_rate,
        "joint": joint,
        "seed": seed,
        "inputs": inputs,
    }
    with whole(out / "train.json") as temporary:
        temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    print(f"Written to {out}: {len(fitted)} dictionaries and train.json", file=sys.stderr)
