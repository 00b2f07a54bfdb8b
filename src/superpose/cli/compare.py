"""`superpose compare`: how alike are the recordings in these files?"""

from __future__ import annotations

import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from superpose.cli.arguments import INTERVALS, Flag, Json, Overwrite, Samples, samples_of
from superpose.cli.reading import Axes, Missing, check_files, check_names, read_paired, record_of, told
from superpose.cli.show import show_analysis, show_comparison
from superpose.running.folders import check_free
from superpose.running.progress import Progress, in_words

if TYPE_CHECKING:
    from superpose.analysis.found import Analysis
    from superpose.analysis.inputs import Systems
    from superpose.costs import Costs
    from superpose.metrics import Metric

# Where in the output directory dictionaries are kept until all results are there.
KEPT = ".dictionaries"
# Of the rows, held out where dictionaries are fitted.
SHARE = 0.2
# Products of numbers behind a null that take half a minute or more.
LONG = 5e9
# What these options may be, known before what does them is imported.
FITS, MODES = ("pairwise", "all", "independent"), ("separate", "cross", "detached", "agreement")
DICTIONARIES = Parameter(group="Dictionaries")
# Options of one version ago.
OLD = Parameter(show=False, negative="")
SEVERAL = Parameter(group="Dictionaries", consume_multiple=True, negative="")


def compare(
    *files: Path,
    out: Path,
    metrics: str | None = None,
    targets: str | None = None,
    zscore: Flag = False,
    groups: Path | None = None,
    labels: Path | None = None,
    pictures: Path | None = None,
    axes: Axes = None,
    missing: Missing = None,
    cv: int | None = None,
    test: float | None = None,
    permutations: int = 999,
    raw: Flag = False,
    seed: int = 0,
    interval_samples: Samples = INTERVALS,
    memory: str | None = None,
    engine: str = "serial",
    json: Json = False,
    overwrite: Overwrite = False,
    dry_run: Flag = False,
    wide: Flag = False,
    latents: Annotated[int | None, DICTIONARIES] = None,
    active: Annotated[int | None, DICTIONARIES] = None,
    fit: Annotated[str | None, DICTIONARIES] = None,
    mode: Annotated[str, DICTIONARIES] = "detached",
    controls: Annotated[str | None, DICTIONARIES] = None,
    steps: Annotated[int | None, DICTIONARIES] = None,
    seeds: Annotated[int, DICTIONARIES] = 1,
    device: Annotated[str, DICTIONARIES] = "cpu",
    dictionaries: Annotated[list[str] | None, SEVERAL] = None,
    folds: Annotated[int | None, OLD] = None,
    no_latents: Annotated[bool, OLD] = False,
) -> None:
    """Compare two or more recordings of the same stimuli.

    Prints the answer first: which features each recording holds, found without using the others, which of them the
    others also hold, and how much of the raw score is due to packing. Raw scores follow, each with its permutation
    null. Where files label repeats, trials are averaged, and each raw score is shown with its noise ceiling, the
    highest value that it can be expected to reach.

    With --fit, or any dictionary option, pairs are also scored in three spaces of sparse autoencoders, called
    dictionaries: latent (their features), reconstruction (the units rebuilt from the features) and predicted (the score
    that their packing alone would give if both files held the same features).

    Writes content, features and alignment (.parquet, .csv, pictures as .png and .svg), report.html and run.json to the
    output directory, and prints the findings and the table. In a pipe, the whole table is printed tab-separated, with
    each sentence after "#". An interrupted run keeps finished dictionaries: the same command resumes from them.

    Parameters
    ----------
    files
        Two or more files of (samples, units): .npy, .npz, .csv, .tsv, .parquet, .safetensors, HDF5, zarr, netCDF, NWB,
        AnnData or MATLAB (FILE:NAME picks one array of several), or a folder from superpose extract: all its layers,
        with the rows of each sample as a group. Rows are paired by stimulus id where files have them (a column or array
        named stimulus, stimulus_id, image, image_id, id, …), else by position.
    out
        Directory of the results; it must not hold another run.
    metrics
        Metrics, separated by commas, named as in tables, such as cka_debiased,ridge_r,ols_r2; by default cka,
        cka_debiased, rsa, ridge_r, ridge_r2 and ridge_r_units.
    targets
        Names of files without extensions, separated by commas: compare every other file with these only. Raw
        regressions predict them from the others, not the reverse.
    zscore
        Standardise every unit of every file to mean 0 and standard deviation 1 over all rows (trials averaged) before
        any other step. Held-out rows are included; each file is scaled separately.
    groups
        File with one label per row (.npy, or text with one label per line), in the order of the (matched) rows. Rows of
        a group (sentence, trial, photograph) stay on one side of the split, and intervals and nulls never split groups.
    labels
        File with one label per row, as for --groups: what the row shows (a word, a class). Names the samples in which
        features are strongest, if files do not label stimuli; required by the control within_labels.
    pictures
        Folder of the stimuli's pictures, named by stimulus id: the report shows thumbnails beside each feature. Not
        needed for layers from superpose extract, which know their pictures or sentences.
    cv
        Number of cross-validation folds for raw scores (default 5), drawn at random in whole groups; all rows are
        scored.
    test
        Share of test samples, drawn at random in whole groups (default .2): dictionaries are fitted on the others, and
        latent scores, and the raw scores shown with them, use the test samples. With --raw, one fixed split instead of
        --cv.
    permutations
        Number of permutations for the null of each raw score.
    raw
        Compute raw scores only, without features, and ignore dictionary options.
    seed
        Random seed.
    memory
        Memory limit for the sums behind scores, such as 512MB; by default a quarter of the machine's memory. Rows of
        .npy files and of contiguous HDF5 are read from disk in chunks; large compressed files are unpacked first, to an
        anonymous temporary file in TMPDIR.
    engine
        serial, or local:N for N processes that share cores and memory, and score groups of pairs or fit and score their
        dictionaries.
    dry_run
        Compute nothing, and predict the cost of the raw scores on this machine, in one process: operations, bytes read,
        memory and time, from the headers of the files.
    wide
        Print all scores with all columns, for wide terminals.
    latents
        Number of latents per dictionary; by default 4 x the units of the widest file, fewer if rows are scarce.
    active
        Active latents (k); by default 32, at most latents / 16.
    fit
        None by default. pairwise: one dictionary per pair, trained on both files so that feature i means the same in
        both; all: one for all files; independent: one per file, trained separately.
    mode
        How a shared dictionary is coupled: detached (each file keeps features that the other lacks), cross (as in the
        paper; favours shared content over the rest) or separate (not coupled).
    controls
        Controls for latent scores, separated by commas, or "all" (slow). shuffled_fit, the default: dictionaries
        refitted on permuted rows; nonlinear: kernel regression on the units; linear_selection: the linear subspace that
        both files share; latent_to_raw: units predicted from latents; closed_form: CKA of reconstructions by theory;
        untrained: latents of random dictionaries; within_labels: rows paired with others of the same label;
        independent: dictionaries fitted twice, separately; pca_code: the largest principal components; rotated,
        planted: copies of each file with the same content by construction.
    steps
        Training steps per dictionary, by default 1,000.
    seeds
        Fit the dictionaries from this many seeds, reported in separate rows.
    device
        Torch device on which dictionaries are trained: cpu, cuda, cuda:1 or mps. Scores are computed on the CPU.
    dictionaries
        Existing dictionaries, as FILE=DICTIONARY with the name of a compared file (V1=sae.safetensors): from superpose
        train, SAELens, sparsify, dictionary_learning or Prisma. Pairs of files that both have one get rows of their
        own, with fit "given". Up to 2,048 latents of one are the system's features.
    """
    drawn = samples_of(interval_samples)
    raw, cv, test = renamed(folds, no_latents, raw=raw, cv=cv, test=test)
    check_names({"fit": (fit, FITS), "mode": (mode, MODES)})
    if not dry_run:
        check_files(files, fewest=2)
        check_free(out, overwrite=overwrite)

    from superpose.analysis.inputs import read_dictionaries, read_groups, zscored
    from superpose.analysis.results import write
    from superpose.analysis.scores import METRICS
    from superpose.analysis.stimuli import pictures_of, row_names, stimuli_of
    from superpose.analysis.toward import toward
    from superpose.metrics import resolved

    asked: Sequence[Metric] = METRICS if metrics is None else resolved(metrics.split(","))
    goals = None if targets is None else targets.split(",")
    split: dict[str, Any] = {"cv": cv, "test": test if raw else None}
    if dry_run:
        how = {**split, "permutations": permutations, "interval_samples": drawn, "memory": memory}
        return show_comparison(costs_of(files, asked, goals, told(axes, missing), how), as_json=json)
    shown_pictures = {} if pictures is None else pictures_of(pictures)
    started = time.perf_counter()
    read = read_paired(files, told(axes, missing), groups=groups)
    read = zscored(read) if zscore else read
    known, known_record = read_dictionaries(dictionaries or [])
    shown = None if labels is None else read_groups(labels, "--labels", missing)
    shared: dict[str, Any] = {
        "cv": cv, "test": test if raw or test is not None else SHARE, "metrics": asked, "targets": goals,
        "labels": shown, "groups": read.groups, "permutations": permutations, "interval_samples": drawn,
        "seed": seed, "memory": memory, "engine": engine,
    }  # fmt: skip
    fitting: dict[str, Any] = {
        "stimuli": row_names(files, read.stimuli, shown), "latents": latents, "active": active, "fit": fit,
        "mode": mode, "controls": "shuffled_fit" if controls is None else controls.split(","),
        "dictionaries": known or None, "training": None if steps is None else {"steps": steps}, "seeds": seeds,
        "device": device, "keep": out / KEPT,
    }  # fmt: skip
    pairs = None if goals is None else toward(read.arrays, goals)
    foretell(read.arrays, asked, pairs, permutations, interval_samples=drawn, **split)
    analysis = analysed(read, shared, None if raw else fitting)
    record = {"zscore": zscore, **record_of(read, started, groups=groups, labels=labels)}
    if known:
        record["dictionaries"] = known_record
    strongest = () if analysis.content is None else chain.from_iterable(analysis.content.features["samples"])
    named = read.stimuli is not None
    shown_as = stimuli_of(files, {*strongest}, labelled=named, pictures=shown_pictures)
    write(analysis, out, record, title=" and ".join(read.arrays), stimuli=shown_as)
    shutil.rmtree(out / KEPT, ignore_errors=True)
    then = next_command(files, out, raw=raw, fitted=bool(analysis.settings.get("fit")))
    show_analysis(analysis, as_json=json, wide=wide, said=read.notes.lost, then=then)
    print(f"Written to {out}: open {out / 'report.html'}", file=sys.stderr)


def renamed(
    folds: int | None, no_latents: bool, *, raw: bool, cv: int | None, test: float | None
) -> tuple[bool, int, float | None]:
    """Return raw, cv and test, under the options of one version ago too, of which a line says what they are now."""
    if folds is not None:
        print("superpose: --folds is now --cv with --raw, and --test, the share, without.", file=sys.stderr)
        cv, test = folds, test if raw or no_latents else 1 / max(folds, 1)
    if no_latents:
        print("superpose: --no-latents is now --raw.", file=sys.stderr)
    return raw or no_latents, 5 if cv is None else cv, test


def analysed(read: Systems, shared: Mapping[str, Any], fitting: Mapping[str, Any] | None) -> Analysis:
    """Return the analysis of files, raw only where nothing is said of dictionaries; ceilings where trials repeat."""
    import superpose.analysis as analyses

    progress = Progress()
    with progress:
        if fitting is None:
            analysis = analyses.raw(read.arrays, progress=progress, **shared)
        else:
            analysis = analyses.analyse(read.arrays, trials=read.trials, progress=progress, **shared, **fitting)
        if read.trials and fitting is None:
            design = {name: shared[name] for name in ("cv", "test", "groups", "labels", "metrics", "seed")}
            analysis = analyses.with_ceilings(analysis, read.trials, **design)
    return replace(analysis, warnings=(*analysis.warnings, *read.notes.lost))


def next_command(files: Sequence[Path], out: Path, *, raw: bool, fitted: bool) -> str:
    """Return the command that answers what a reader may ask next, and what that is."""
    named = shlex.join(map(str, files))
    if raw:
        return f"superpose compare {named} --out {out}-content   (which features both hold)"
    if len(files) > 2:
        target = shlex.quote(files[-1].stem)
        return f"superpose contrast {named} --target {target}   (which of the others is closer to it)"
    if not fitted:
        return f"superpose compare {named} --fit pairwise --out {out}-latents   (scores in the features themselves)"
    return ""


def foretell(
    systems: Mapping[str, Any],
    metrics: Sequence[Metric],
    pairs: Sequence[tuple[str, str]] | None,
    permutations: int,
    **split: Any,
) -> None:
    """Say on standard error what permutations will take where that is long; timing the steps is a hundredth of it."""
    from superpose.costs import predict
    from superpose.metrics import MomentMetric, PredictiveMetric

    known = [m for m in metrics if isinstance(m, MomentMetric | PredictiveMetric)]
    width = {name: x.shape[1] for name, x in systems.items()}
    samples = len(next(iter(systems.values())))
    chosen = list(combinations(systems, 2)) if pairs is None else list(pairs)
    products = sum(width[a] * width[b] * (width[a] + width[b] + samples) for a, b in chosen)
    if not known or not permutations or permutations * products < LONG:
        return
    with warnings.catch_warnings(action="ignore"):
        table = predict(systems, pairs=chosen, metrics=known, permutations=permutations, **split).table
    seconds = float(table.seconds[table.work == "nulls"].sum())
    print(
        f"{permutations} permutations will take about {in_words(seconds)} of one core. Fewer take less in "
        "proportion (--permutations 99; with 0 there are no p-values), and --engine local:N shares pairs among N "
        "processes.",
        file=sys.stderr,
    )


def costs_of(
    files: Sequence[Path],
    metrics: Sequence[Metric],
    targets: Sequence[str] | None,
    read_as: Mapping[str, Any],
    how: Mapping[str, Any],
) -> Costs:
    """Return what the raw scores of files will cost, of which the headers are read and nothing else.

    `read_as` is what `superpose.read` is told of them, `how` what `superpose.costs.predict` is of the comparison.
    """
    from superpose.analysis.extracted import expanded
    from superpose.analysis.inputs import names_of
    from superpose.analysis.toward import toward
    from superpose.costs import Size, predict
    from superpose.recordings.headers import header

    files, _ = expanded(files)
    found = {name: header(path, **read_as) for name, path in zip(names_of(files), files, strict=True)}
    # Rows that are paired by stimulus id are at most as many as the shortest file's.
    samples = min((of.shape[0] for of in found.values()), default=0)
    sizes = {name: Size(samples, of.shape[1], of.dtype, of.mapped) for name, of in found.items()}
    pairs = None if targets is None else toward(sizes, targets)
    return predict(sizes, pairs=pairs, metrics=metrics, **how)
