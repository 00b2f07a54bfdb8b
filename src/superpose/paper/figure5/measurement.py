"""What one cell of Figure 5 measures: some layers, dictionaries of one kind, and what their scores are held against."""

from __future__ import annotations

from typing import Any

from superpose.analysis import latent
from superpose.analysis.controls import CONTROLS, LINES
from superpose.analysis.inputs import read_dictionaries
from superpose.metrics import CKA, CKA_DEBIASED, RegressionMetric, relative_ridge
from superpose.paper.figure5.inputs import listed, load
from superpose.running.progress import silent

# What is done with the layers of a cell: how dictionaries are fitted, and what their scores are held against.
WORK: dict[str, tuple[str, tuple[str, ...]]] = {
    "together": ("all", ("shuffled_fit",)),
    "independent": ("independent", ()),
    "pair": ("pairwise", ()),
    # Shuffled pairs are measured for all layers at once.
    "held against": ("pairwise", tuple(name for name in (*LINES, *CONTROLS) if name != "shuffled_fit")),
}
# The same small penalty in every space, so that a dead or duplicated predictor costs nothing.
PENALTY = relative_ridge(1e-3)
METRICS = (
    RegressionMetric("regression_r", ("r", "pooled"), PENALTY),
    RegressionMetric("regression_r_units", ("r", "units"), PENALTY),
    CKA_DEBIASED,
    CKA,
)
KEPT = ("system_a", "system_b", "metric", "space", "fit", "control", "score", "low", "high", "predictors", "same_index")
QUALITY = tuple(f"{what}_{side}" for what in ("fvu", "dead", "rare", "l0") for side in "ab")


def measure(
    seed: int,
    *,
    inputs: str,
    recorded: str,
    samples: int,
    held_out: int,
    layers: str,
    work: str,
    dictionaries: str,
    contents: str,
    expansion: int,
    active: int,
    mode: str,
    preset: str,
    steps: int,
    batch: int | None,
    learning_rate: float | None,
    device: str,
    number: int,
) -> list[dict[str, Any]]:
    """Return the scores of all pairs of some layers.

    Rows of `superpose.analyse`: `space`, `fit`, `control`, `metric`, `score` with its interval, and how good the
    dictionaries are. Raw scores come with pairs alone, once each. `contents` is the digest of the files that the cell
    reads, so that others make another cell.
    """
    found = load(inputs, samples, held_out, listed(recorded))
    systems = {name: found.systems[name] for name in layers.split()}
    fit, controls = WORK[work]
    table = latent(
        systems,
        fit=fit,
        controls=controls,
        metrics=METRICS,
        dictionaries=read_dictionaries(listed(dictionaries))[0],
        latents=expansion * max(x.shape[-1] for x in systems.values()),
        active=active,
        mode=mode,
        groups=found.groups,
        labels=found.labels,
        test=found.test,
        training={"preset": preset, "steps": steps, "batch": batch, "learning_rate": learning_rate},
        seed=seed,
        device=device,
        progress=silent,
    ).table
    once = (table.space != "raw") | (fit == "pairwise")
    table = table[once]
    rows = table[[*KEPT, *QUALITY]].astype(object).where(table[[*KEPT, *QUALITY]].notna(), None)
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict(orient="records")]
