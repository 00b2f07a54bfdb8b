"""`superpose features`: the features of one recording."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from superpose.cli.arguments import Json, Overwrite
from superpose.cli.folder import write_tables
from superpose.cli.reading import Axes, Missing, check_files, digests_of, told
from superpose.cli.show import short, show_table
from superpose.files import DataError, sha256, whole
from superpose.running.folders import check_free
from superpose.running.progress import Progress

# What fits on a terminal.
SHOWN = ("feature", "variance", "active", "halves", "samples")
SHOWN_OF_GIVEN = ("latent", "variance", "active", "samples")


def features(
    file: Path,
    *,
    out: Path,
    groups: Path | None = None,
    labels: Path | None = None,
    test: float = 0.2,
    seed: int = 0,
    device: str = "cpu",
    dictionary: Path | None = None,
    axes: Axes = None,
    missing: Missing = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Find the features of one recording: sparse directions found in both of two halves of its samples.

    The number of features, and how many are active in a sample, is determined from the data; activity without sparse
    structure has none. Prints the number of features, the variance that they explain, and the strongest ones: the share
    of held-out variance that is lost without each, the share of samples in which it is active, the cosine between the
    two halves, and the samples in which it is strongest. To find which of them another recording holds, use superpose
    compare.

    Writes features (.parquet, .csv, a picture as .png and .svg), path (the search, .parquet and .csv), dictionary.npy
    (units × features, columns of length 1) and run.json.

    Parameters
    ----------
    file
        A file of (samples, units), as superpose compare takes it. If its rows are labelled, samples are named by their
        stimulus, and trials of one stimulus stay together.
    out
        Output directory; it must not hold another run.
    groups
        File with one label per row: rows of a group (sentence, trial, photograph) stay on one side of every split.
    labels
        File with one label per row, as for --groups: what the row shows (a token, a class). Names the samples in which
        features are strongest, if the file does not label stimuli.
    test
        Share of held-out rows, drawn at random in whole groups.
    seed
        Random seed.
    device
        Torch device on which dictionaries are learned: cpu, cuda, cuda:1 or mps.
    dictionary
        An existing dictionary, whose latents are described instead of searching for features: from superpose train,
        SAELens, sparsify, dictionary_learning or Prisma. The column latent has its own numbers.
    """
    check_files([file], fewest=1)
    check_free(out, overwrite=overwrite)

    import numpy as np
    import pandas as pd

    from superpose.analysis.inputs import read_dictionary, read_groups, recorded
    from superpose.analysis.stimuli import row_names
    from superpose.arrays.tensors import checked_device
    from superpose.recordings import Recording, read
    from superpose.sharing import features as found_in
    from superpose.sharing.features import strongest
    from superpose.sharing.portrait import portrait

    place = checked_device(device)
    started = time.perf_counter()
    with Progress() as reading:
        content: Any = read(file, progress=reading, **told(axes, missing))
    labelled = isinstance(content, Recording)
    x = content.responses if labelled else content
    shown_as = None if labels is None else read_groups(labels, "--labels", missing)
    names: Any = row_names([file], content.stimuli.tolist() if labelled else None, shown_as)
    if names is None:
        names = range(len(x))
    elif len(names) != len(x):
        raise DataError(f"{labels} has {len(names)} labels; expected one a row of {file}, {len(x)}.")
    own = None if not labelled else content.stimuli if content.groups is None else content.groups
    belonging = own if groups is None else read_groups(groups, missing=missing)
    given = None if dictionary is None else read_dictionary(dictionary)
    with Progress() as progress:
        found = found_in(x, groups=belonging, dictionary=given, test=test, seed=seed, device=place, progress=progress)
    table = found.table.assign(samples=pd.Series(strongest(found.codes(x), names), dtype=object))
    record = {
        "settings": {**found.settings, "test": test, "device": device},
        "inputs": {file.stem: {"path": str(file), "sha256": sha256(_file(file)), "shape": list(x.shape)}},
        "seconds": round(time.perf_counter() - started, 1),
        **({} if dictionary is None else {"dictionary": recorded(dictionary)}),
        **digests_of(groups=groups, labels=labels),
    }
    out.mkdir(parents=True, exist_ok=True)
    with whole(out / "dictionary.npy") as temporary:
        np.save(temporary, found.dictionary)
    write_tables(out, {"features": table, "path": found.path}, portrait(found), record)
    head = f"{file.stem}: {repr(found).splitlines()[0]}."
    if found.settings["reduced"]:
        head += f" Units were reduced to {found.settings['components']} components, since {found.settings['reduced']}."
    joined = table.assign(samples=table.samples.map(", ".join))
    columns = SHOWN if given is None else SHOWN_OF_GIVEN
    show_table(joined, joined.head(20)[list(columns)].map(short), [head], as_json=json)
    print(
        f"Written to {out}: features.csv, .parquet, .png, .svg, path.csv, dictionary.npy and run.json", file=sys.stderr
    )


def _file(path: Path) -> Path:
    return path if path.exists() else Path(str(path).rpartition(":")[0])
