"""Figure 4: the alignment that superposition hides, and what sparse dictionaries give back (Sections 5 and 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student
from torch import Tensor

from superpose.coding import matched_filter, omp, refit
from superpose.diagnostics import absorbed_latents, dead_share, fvu, match_latents, mcc, split_latents
from superpose.losses import reconstruction, supervised
from superpose.metrics.regression import regression
from superpose.paper.canvas import COLOURS, DOTS, SHADE, SOLID, dress, key, legend, panels, powers_of_two, shade_key
from superpose.paper.claims import Claim
from superpose.paper.simulation import stream
from superpose.paper.summary import excess, over_draws, smallest_step
from superpose.sae import SparseAutoencoder
from superpose.sparsity import TopK
from superpose.study import Study, grid
from superpose.systems import projection, respond, sparse_latents
from superpose.theory import critical_units, expected_regression, latent_covariance
from superpose.theory import regression as limit
from superpose.training import fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

UNITS = (8, 12, 16, 24, 32, 48, 64)
WARMUP = 0.02
SETTING = ["latents", "active", "units"]
# The activity that each kind of dictionary was trained on.
ACTIVITY = {"unsupervised": "raw", "unsupervised_learned": "raw_learned"}


def measure(
    seed: int,
    *,
    latents: int,
    active: int,
    samples: int,
    held_out: int,
    distribution: str,
    steps: int,
    batch: int,
    learning_rate: float,
    gradient: str,
    first: int,
    count: int,
    units: int,
) -> list[dict[str, Any]]:
    """Return how alike two systems are, in activity and in latents, for `count` pairs that are trained at once.

    Rows of `kind`, `draw`, `metric` and `score`: means of both systems, or of both directions of prediction, on samples
    that no dictionary was trained on (but for `r_train`). Kinds are

    - activity: `raw` of Gaussian projections, `raw_learned` of supervised dictionaries. With `theory`, Theorem 3.3 for
      these projections and the latents' covariance, and `expected`, Section 3.1.
    - codes: `supervised`, `unsupervised` from Gaussian activity, and `unsupervised_learned` from learned activity.
    - `recoded`, matching pursuit with the dictionary of `unsupervised`, and `refitted`, its codes with their values
      estimated anew.
    - `omp` and `matched_filter`: codes by the true Gaussian projection.
    """
    z, unseen = _drawn(seed, samples, held_out, latents, active, distribution, count)
    train = partial(
        _trained, units, latents, TopK(active, gradient), count, seed,
        steps=steps, batch=batch, learning_rate=learning_rate, warmup=WARMUP,
    )  # fmt: skip
    a = projection(units, latents, repeats=(count, 2), generator=stream(seed, "projections", units)).numpy()
    x, y = respond(z, a), respond(unseen, a)
    known = train("supervised", supervised, z)
    d, x_learned, y_learned = known.dictionary.detach().mT.numpy(), known.decode(z), known.decode(unseen)
    codes, seen = known.encode(y_learned), known.encode(x_learned[..., :held_out, :])
    found = train("unsupervised", reconstruction, x)
    found_learned = train("unsupervised_learned", reconstruction, x_learned)
    target = _explicable(found, y)
    # A sample has no more columns than units once they explain it.
    most = min(active, units)
    covariance = latent_covariance(latents, active, distribution)
    expected = float(expected_regression(units, units, latents))
    theory = {"raw": _both(limit, a, covariance), "raw_learned": _both(limit, d, covariance)}
    scores = {
        "raw": {"r": _both(regression, y)},
        "raw_learned": {"r": _both(regression, y_learned)},
        "supervised": {
            **_quality(codes, unseen),
            "r_train": _both(regression, seen),
            "fvu": fvu(np.broadcast_to(unseen, codes.shape), codes),
        },
        "unsupervised": _unsupervised(found, x[..., :held_out, :], y, unseen, a),
        "unsupervised_learned": _unsupervised(found_learned, x_learned[..., :held_out, :], y_learned, unseen, d),
        "recoded": _quality(omp(target, found.decoder.numpy(), most), unseen),
        "refitted": _quality(refit(target, found.decoder.numpy(), found.encode(y)), unseen),
        "omp": _quality(omp(y, a, most), unseen),
        "matched_filter": _quality(matched_filter(y, a, active), unseen),
    }
    return [
        {
            "kind": kind,
            "draw": first + number,
            "metric": metric,
            "score": float(score),
            "theory": float(theory[kind][number]) if kind in theory else None,
            "expected": expected if kind == "raw" else None,
        }
        for kind, metrics in scores.items()
        for metric, values in metrics.items()
        for number, score in enumerate(values.reshape(count, -1).mean(axis=1))
    ]


@lru_cache(maxsize=1)
def _drawn(
    seed: int, samples: int, held_out: int, latents: int, active: int, distribution: str, count: int
) -> tuple[Array, Array]:
    """Return latents to train on and latents to score on, (count, 1, samples, latents); the systems share them."""
    z = sparse_latents(
        samples + held_out, latents, active,
        distribution=distribution, repeats=(count, 1), generator=stream(seed, "latents"),
    ).numpy()  # fmt: skip
    z.flags.writeable = False
    return z[..., :samples, :], z[..., samples:, :]


def _trained(
    units: int,
    latents: int,
    sparsity: TopK,
    count: int,
    seed: int,
    kind: str,
    loss: Callable[..., Tensor],
    data: Array,
    **options: Any,
) -> SparseAutoencoder:
    """Return trained dictionaries of both systems and all pairs."""
    # With repeats in front, no product is one that `superpose.products` would race: processes agree to the last bit.
    sae = SparseAutoencoder(units, latents, sparsity, repeats=(count, 2), generator=stream(seed, kind, units))
    return fit(sae, loss, data, seed=seed, **options)


def _both(score: Callable[..., Any], systems: Array, *more: Any) -> Array:
    """Return the mean of both directions, (count,)."""
    a, b = systems[:, 0], systems[:, 1]
    return np.asarray((score(a, b, *more) + score(b, a, *more)) / 2)


def _quality(codes: Array, truth: Array) -> dict[str, Array]:
    """Return how well codes align, and how well each system's find the true latents; `support` is the recall."""
    partner, _ = match_latents(np.broadcast_to(truth, codes.shape), codes)
    matched = np.take_along_axis(codes, partner[..., None, :], axis=-1)
    hits = np.count_nonzero((matched != 0) & (truth != 0), axis=(-2, -1))
    return {
        "r": _both(regression, codes),
        "mcc": mcc(codes, truth),
        "support": hits / np.count_nonzero(truth, axis=(-2, -1)),
        "dead": dead_share(codes),
    }


def _unsupervised(sae: SparseAutoencoder, seen: Array, y: Array, truth: Array, columns: Array) -> dict[str, Array]:
    codes = sae.encode(y)
    return {
        **_quality(codes, truth),
        "r_train": _both(regression, sae.encode(seen)),
        "fvu": fvu(y, sae.decode(codes)),
        "split": split_latents(codes, truth),
        "absorbed": absorbed_latents(codes, truth),
        # Beside their negatives, columns have no mean, and their correlations are cosines.
        "mcc_dictionary": mcc(_mirrored(sae.decoder.numpy()), _mirrored(columns)),
    }


def _mirrored(columns: Array) -> Array:
    return np.concatenate([columns, -columns], axis=-2)


def _explicable(sae: SparseAutoencoder, y: Array) -> Array:
    """Return what the codes of a dictionary are to sum to: activity without what stands for codes of zero."""
    return y - sae.decode(np.zeros((*sae.repeats, 1, sae.latents), np.float32))


def study(
    *,
    latents: int = 64,
    active: Sequence[int] = (4,),
    units: Sequence[int] = UNITS,
    samples: int = 20_000,
    held_out: int = 4_000,
    draws: int = 50,
    block: int = 5,
    distribution: str = "uniform",
    steps: int = 3_000,
    batch: int = 256,
    learning_rate: float = 0.01,
    gradient: str = "mask",
    seed: int = 0,
) -> Study:
    """Return the study of Appendices E and F; what the paper leaves out has a default with its reason.

    The paper trains 200,000 and 1,000,000 steps on all samples, from normal random numbers and at a constant rate:
    days of work here. Dictionaries start from random directions of unit norm, an encoder as the transpose of its
    dictionary, and the rate falls to zero. Nothing but `r_train` is scored on what was trained on.

    Parameters
    ----------
    latents : int
        Features n, and latents of each dictionary. Missing from the paper; "(32/64)" in Appendix F may mean it.
    active : sequence of int
        Active latents a sample, k. Missing too. With 4 of 64, m* = 11, and there are sizes on both sides of it. Read as
        k / n, "(32/64)" is `active=(32,)`.
    units : sequence of int
        Units m of both systems. The range is missing; these go from below m* to n.
    samples : int
        Samples N to train on. Missing; with 20,000, what is learned holds for new samples.
    held_out : int
        New samples to score on: 5 folds, each predicted by weights from the other four.
    draws : int
        Pairs of systems. The paper's number of seeds is 50.
    block : int
        Pairs whose dictionaries are trained at once, in one cell. Blocks that are there are kept when `draws` grows.
    distribution : {"uniform", "signed", "gaussian"}
        Of the latents before the largest are kept. "uniform", on [0, 1], is the paper's.
    steps, batch : int
        Of `superpose.training.fit`. The paper's are in its Appendices E and F.
    learning_rate : float
        Its peak. The paper's constant rate is 0.001.
    gradient : {"mask", "straight_through"}
        Of `superpose.sparsity.TopK`. The paper's is "straight_through", several times slower.
    seed : int
        The seed that every draw is derived from.

    Returns
    -------
    Study
    """
    cells = grid(
        latents=[latents],
        active=active,
        samples=[samples],
        held_out=[held_out],
        distribution=[distribution],
        steps=[steps],
        batch=[batch],
        learning_rate=[learning_rate],
        gradient=[gradient],
        first=range(0, draws, block),
        units=units,
    )
    sized = [{**cell, "count": min(block, draws - cell["first"])} for cell in cells]
    drawn = ("latents", "active", "samples", "held_out", "distribution", "first")
    return Study("figure4", measure, sized, seed=seed, draw=drawn)


SCALES: dict[str, dict[str, Any]] = {
    "smoke": {"units": (16, 48), "samples": 2000, "held_out": 1000, "draws": 2, "steps": 100},
    "laptop": {"draws": 5},
    "paper": {},
}
STUDIES = {scale: study(**settings) for scale, settings in SCALES.items()}

JOINED: dict[str, Any] = {**DOTS, "ls": "-", "lw": 0.9}
OPEN: dict[str, Any] = {**JOINED, "ls": (0, (3, 1.5))}
LOOKS: dict[str, tuple[str, dict[str, Any]]] = {
    "supervised": ("supervised", {**JOINED, "marker": "s", "color": COLOURS[2]}),
    "unsupervised": ("unsupervised", {**JOINED, "marker": "^", "color": COLOURS[1], "fillstyle": "full"}),
    "unsupervised_learned": ("same, learned $A$", {**OPEN, "marker": "v", "color": COLOURS[1]}),
    "recoded": ("OMP, found $D$", {**JOINED, "marker": "x", "color": COLOURS[3], "lw": 0.6}),
    "omp": ("OMP, true $A$", {"ls": (0, (4, 1.5)), "lw": 1.0, "color": "black", "zorder": 2}),
    "matched_filter": ("threshold, true $A$", {"ls": "-", "lw": 0.5, "color": "0.45", "zorder": 2}),
}
RAW: dict[str, Any] = {**DOTS, "marker": "o", "color": COLOURS[0]}
LAW: dict[str, Any] = {"ls": (0, (1, 1.2)), "lw": 1.0, "color": COLOURS[0], "zorder": 2}


def draw(table: pd.DataFrame) -> Figure:
    """Draw alignment against units, and the share of its deflation that unsupervised dictionaries undo.

    Above, pooled held-out r: means over pairs of systems, with a bar of one standard deviation. Activity is that of
    supervised dictionaries, with Theorem 3.3 for the same projections (solid); dotted, the expectation over Gaussian
    projections. Below, (unsupervised − raw) / (supervised − raw), raw being the activity that the dictionary was
    trained on, with a 95 % interval over pairs; only where supervised latents align better than activity does, beyond
    3 standard errors. Hatched: fewer units than m* = k log(n/k), Eq. (38). A column for each sparsity.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    sparsities = sorted(table["active"].unique())
    figure, axes = panels(2, len(sparsities), width=3.5 * len(sparsities), height=1.75, head=0.66)
    figure.subplots_adjust(hspace=0.12)
    for above, below, active in zip(axes, axes[len(sparsities) :], sparsities, strict=False):
        here = table[table["active"] == active]
        _curves(above, here)
        _shares(below, here)
        for place in (above, below):
            _size_axis(place, here)
        above.set_xticklabels([])
        dress(above, f"$n = {here['latents'].iloc[0]}$, $k = {active}$", y="alignment, held-out $r$")
        dress(below, "", x="units $m$", y="share of deflation undone")
    keys = [
        key("raw, learned $A$", **RAW),
        key("Theorem 3.3", **SOLID, color=COLOURS[0]),
        key("Gaussian $A$", **LAW),
        shade_key("$m < m^*$"),
        *(key(label, **style) for label, style in LOOKS.values()),
    ]
    legend(figure, keys, columns=3)
    return figure


def _curves(axes: Axes, table: pd.DataFrame) -> None:
    points = over_draws(table[table["metric"] == "r"], [*SETTING, "kind"]).sort_values("units").set_index("kind")
    for kind, (_, style) in LOOKS.items():
        curve = points.loc[[kind]]
        axes.errorbar(curve["units"], curve["score"], curve["sd"] if "marker" in style else None, **style)
    raw, gaussian = points.loc[["raw_learned"]], points.loc[["raw"]]
    axes.plot(raw["units"], raw["theory"], **SOLID, color=COLOURS[0])
    axes.errorbar(raw["units"], raw["score"], raw["sd"], **RAW)
    axes.plot(gaussian["units"], gaussian["expected"], **LAW)
    axes.set_ylim(0, 1.03)


def _shares(axes: Axes, table: pd.DataFrame) -> None:
    for level in (0, 1):
        axes.axhline(level, **SOLID, color="black")
    found = undone(table)
    for kind in ACTIVITY:
        shown = found[found["kind"] == kind]
        axes.errorbar(shown["units"], shown["share"], shown["half"], **LOOKS[kind][1])


def _size_axis(axes: Axes, table: pd.DataFrame) -> None:
    sizes = sorted(table["units"].unique())
    powers_of_two(axes, sizes)
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    low, high = sizes[0] / 1.12, sizes[-1] * 1.12
    critical = float(critical_units(int(table["latents"].iloc[0]), int(table["active"].iloc[0])))
    axes.axvspan(low, min(max(critical, low), high), **SHADE)
    axes.set_xlim(low, high)


def undone(table: pd.DataFrame) -> pd.DataFrame:
    """Return the share of the deflation that unsupervised dictionaries undo, a row a setting and kind.

    The ratio of means of unsupervised − raw and supervised − raw, in the same pairs of systems. `half` is half its 95 %
    interval: by the delta method, with Student's t. Without a deflation beyond 3 standard errors there is no row.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    pandas.DataFrame
        Columns latents, active, units, kind, share, half.
    """
    rows = []
    wide = table[table["metric"] == "r"].pivot(index=[*SETTING, "draw"], columns="kind", values="score")
    for setting, pairs in wide.groupby(SETTING):
        for kind, raw in ACTIVITY.items():
            activity = pairs[raw].to_numpy()
            gain, deflation = pairs[kind].to_numpy() - activity, pairs["supervised"].to_numpy() - activity
            if not deflation.mean() > 3 * _error(deflation):
                continue
            share = gain.mean() / deflation.mean()
            half = student.ppf(0.975, len(pairs) - 1) * _error(gain - share * deflation) / deflation.mean()
            rows.append({**dict(zip(SETTING, setting, strict=True)), "kind": kind, "share": share, "half": half})
    return pd.DataFrame(rows, columns=[*SETTING, "kind", "share", "half"])


def _error(values: Array) -> float:
    """Return the standard error of the mean; NaN of a single value."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def _means(table: pd.DataFrame, metric: str = "r") -> pd.DataFrame:
    """Return mean scores over draws, a column a kind, and `ratio`, units over m*."""
    here = table[table["metric"] == metric]
    wide = here.pivot_table(index=SETTING, columns="kind", values="score").reset_index()
    return wide.assign(ratio=wide["units"] / critical_units(wide["latents"].to_numpy(), wide["active"].to_numpy()))


def _within(table: pd.DataFrame, low: float, high: float, metric: str = "r") -> pd.DataFrame:
    """Return mean scores for low ≤ m/m* ≤ high, below m = n, where activity holds everything."""
    wide = _means(table, metric)
    return wide[wide["ratio"].between(low, high) & (wide["units"] < wide["latents"])]


def _least_lead(better: str, worse: str, low: float, high: float = np.inf) -> Callable[[pd.DataFrame], float]:
    def number(table: pd.DataFrame) -> float:
        wide = _within(table, low, high)
        return float((wide[better] - wide[worse]).min())

    return number


def _most_lead(better: str, worse: str, low: float, high: float = np.inf) -> Callable[[pd.DataFrame], float]:
    def number(table: pd.DataFrame) -> float:
        wide = _within(table, low, high)
        return float((wide[better] - wide[worse]).max())

    return number


def _lowest(kind: str, low: float) -> Callable[[pd.DataFrame], float]:
    def number(table: pd.DataFrame) -> float:
        wide = _means(table)
        return float(wide.loc[wide["ratio"] >= low, kind].min())

    return number


def _between(table: pd.DataFrame) -> float:
    above, below = (_least_lead(*pair, 1)(table) for pair in (("unsupervised", "raw"), ("supervised", "unsupervised")))
    return min(above, below)


def _fall(*kinds: str) -> Callable[[pd.DataFrame], float]:
    def number(table: pd.DataFrame) -> float:
        here = table[(table["metric"] == "r") & table["kind"].isin(kinds)]
        return smallest_step(over_draws(here, [*SETTING, "kind"]), "units", ["active", "kind"])

    return number


def _degraded(table: pd.DataFrame) -> float:
    """Return the smallest fall of a curve from its lowest mean for m ≥ m* to its highest for m < m*."""
    falls = [
        wide.loc[wide["ratio"] >= 1, kind].min() - wide.loc[wide["ratio"] < 1, kind].max()
        for _, wide in _means(table).groupby("active")
        for kind in ("raw_learned", "supervised", "unsupervised")
    ]
    return float(np.min(falls))


def _least_undone(table: pd.DataFrame) -> float:
    found = undone(table[table["units"] >= critical_units(table["latents"], table["active"])])
    return float(found.loc[found["kind"] == "unsupervised", "share"].min())


def _off_theory(table: pd.DataFrame) -> float:
    here = table[(table["metric"] == "r") & table["kind"].isin(["raw", "raw_learned"])]
    points = over_draws(here, [*SETTING, "kind"])
    return excess(points["gap"], points["gap_error"])


def _margin(kind: str, floors: dict[int, float]) -> Callable[[pd.DataFrame], float]:
    """Return the smallest distance of a mean score from its floor, at n = 64 and k = 4; NaN without all sizes."""

    def number(table: pd.DataFrame) -> float:
        wide = _means(table)
        score = wide[(wide["latents"] == 64) & (wide["active"] == 4)].set_index("units")[kind].to_dict()
        return float(np.min([score.get(units, np.nan) - floor for units, floor in floors.items()]))

    return number


def _lowest_match(table: pd.DataFrame) -> float:
    wide = _means(table, "mcc_dictionary")
    return float(wide.loc[wide["units"] >= wide["latents"] / 4, "unsupervised"].min())


def _most_dead(kind: str) -> Callable[[pd.DataFrame], float]:
    return lambda table: float(_means(table, "dead")[kind].max())


def _overfit(table: pd.DataFrame) -> float:
    kinds = ["supervised", *ACTIVITY]
    return float((_means(table, "r_train")[kinds] - _means(table)[kinds]).abs().max().max())


LEAD = "smallest lead of a mean r over m* ≤ m < n"

CLAIMS = (
    Claim(
        "Raw-activation alignment decreases with compression, of learned and of Gaussian projections.",
        "Sections 5 and 6",
        "smallest step of mean r between neighbouring sizes, plus 3 standard errors",
        _fall("raw_learned", "raw"),
        low=0,
    ),
    Claim(
        "It is consistent with Section 3, for the projections that were learned.",
        "Section 5",
        "largest |mean of r − Theorem 3.3 with the latents' covariance|, beyond 3 standard errors",
        _off_theory,
        0,
        0.01,
    ),
    Claim(
        "Reconstructed-latent alignment remains near 1 throughout the CS regime.",
        "Section 5",
        "smallest mean r of supervised latents, m ≥ m*",
        _lowest("supervised", 1),
        low=0.95,
    ),
    Claim(
        "The unsupervised curve sits between raw activity and supervised latents in the CS regime.",
        "Section 6",
        f"{LEAD}: unsupervised over raw, or supervised over unsupervised",
        _between,
        low=0,
    ),
    Claim(
        "In the CS regime it is substantially above raw activity: by 0.05.",
        "Section 6",
        f"{LEAD}: unsupervised over raw",
        _least_lead("unsupervised", "raw", 1),
        low=0.05,
    ),
    Claim(
        "The cost of identifying the latent basis is small in the CS regime: at most 0.1.",
        "Section 6",
        "largest lead of a mean r over m* ≤ m < n: supervised over unsupervised",
        _most_lead("supervised", "unsupervised", 1),
        high=0.1,
    ),
    Claim(
        "Outside the CS regime all three curves degrade.",
        "Section 6",
        "smallest fall of a curve, from its lowest mean r for m ≥ m* to its highest for m < m*",
        _degraded,
        low=0,
    ),
    Claim(
        "Unsupervised dictionaries recover most of the deflated alignment, in the CS regime.",
        "Section 9",
        "smallest share of the deflation undone, m* ≤ m < n",
        _least_undone,
        low=0.5,
    ),
    Claim(
        "From 2.8 m* on, supervised latents align near 1.",
        "beyond the paper",
        "smallest mean r of supervised latents, m ≥ 2.8 m*",
        _lowest("supervised", 2.8),
        low=0.95,
    ),
    Claim(
        "Up to 1.5 m*, unsupervised latents align no better than the activity that they were found in.",
        "beyond the paper",
        "largest lead of a mean r over m ≤ 1.5 m*: unsupervised over raw",
        _most_lead("unsupervised", "raw", 0, 1.5),
        high=0.02,
    ),
    Claim(
        "From 2.8 m* on, unsupervised latents align better than activity, by 0.08.",
        "beyond the paper",
        "smallest lead of a mean r over 2.8 m* ≤ m < n: unsupervised over raw",
        _least_lead("unsupervised", "raw", 2.8),
        low=0.08,
    ),
    Claim(
        "Matching pursuit on the dictionary that was found lifts its latents, from 2.8 m* on.",
        "beyond the paper",
        "smallest lead of a mean r over 2.8 m* ≤ m < n: recoded over unsupervised",
        _least_lead("recoded", "unsupervised", 2.8),
        low=0,
    ),
    Claim(
        "Values estimated anew on the support of each code lift unsupervised latents, from 2 m* on.",
        "beyond the paper",
        "smallest lead of a mean r over 2 m* ≤ m < n: refitted over unsupervised",
        _least_lead("refitted", "unsupervised", 2),
        low=0,
    ),
    Claim(
        "Up to 2 m*, learned projections are recovered better than Gaussian ones are by matching pursuit.",
        "beyond the paper",
        "smallest lead of a mean r over m ≤ 2 m*: supervised latents over OMP",
        _least_lead("supervised", "omp", 0, 2),
        low=0,
    ),
    Claim(
        "Up to 3 m*, learned projections are easier to invert without supervision than Gaussian ones.",
        "beyond the paper",
        "smallest lead of a mean r over m* ≤ m ≤ 3 m*: unsupervised, learned over Gaussian",
        _least_lead("unsupervised_learned", "unsupervised", 1, 3),
        low=0,
    ),
    Claim(
        "Supervised dictionaries are trained well enough: r reaches 0.88, 0.96 and 0.98 at m = 24, 32 and 48.",
        "beyond the paper",
        "smallest mean r above its floor (n = 64, k = 4)",
        _margin("supervised", {24: 0.88, 32: 0.96, 48: 0.98}),
        low=0,
    ),
    Claim(
        "Unsupervised dictionaries are: r reaches 0.72, 0.82 and 0.94 at m = 24, 32 and 48.",
        "beyond the paper",
        "smallest mean r above its floor (n = 64, k = 4)",
        _margin("unsupervised", {24: 0.72, 32: 0.82, 48: 0.94}),
        low=0,
    ),
    Claim(
        "The ceiling is that of compressed sensing: matching pursuit reaches 0.95 and 0.99 at m = 32 and 48.",
        "beyond the paper",
        "smallest mean r above its floor (n = 64, k = 4)",
        _margin("omp", {32: 0.95, 48: 0.99}),
        low=0,
    ),
    Claim(
        "Unsupervised dictionaries find the true projection for m ≥ n/4.",
        "beyond the paper",
        "smallest mean |cosine| of matched columns",
        _lowest_match,
        low=0.85,
    ),
    Claim(
        "At most a tenth of their latents are dead, on Gaussian activity.",
        "beyond the paper",
        "largest mean share of dead latents",
        _most_dead("unsupervised"),
        high=0.1,
    ),
    Claim(
        "At most a tenth of their latents are dead, on learned activity.",
        "beyond the paper",
        "largest mean share of dead latents",
        _most_dead("unsupervised_learned"),
        high=0.1,
    ),
    Claim(
        "Dictionaries hold for new samples.",
        "beyond the paper",
        "largest |mean r on training samples − on new ones|, of any dictionary and size",
        _overfit,
        0,
        0.02,
    ),
)
