"""What was done, in the words of a methods section, with a caption, and the works to cite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import pandas as pd

from superpose.report.plots import metric_name

PAPER = (
    "Liu, S., Issa, H., Longon, A., Gorton, L., Khosla, M., Williams, A. & Klindt, D. (2026). Similarity of neural "
    "network representations in superposition. arXiv:2604.00208."
)
SOFTWARE = "The superpose developers (2026). superpose, version {version}."
# By the words of a methods paragraph that call for each.
WORKS = {
    "sparse dictionaries": (
        "Olshausen, B. A. & Field, D. J. (1997). Sparse coding with an overcomplete basis set: a strategy employed by "
        "V1? Vision Research 37, 3311–3325."
    ),
    "false discovery": (
        "Benjamini, Y. & Hochberg, Y. (1995). Controlling the false discovery rate. Journal of the Royal Statistical "
        "Society B 57, 289–300."
    ),
    "debiased CKA": (
        "Kornblith, S., Norouzi, M., Lee, H. & Hinton, G. (2019). Similarity of neural network representations "
        "revisited. ICML. Debiased: Song, L., Smola, A., Gretton, A., Bedo, J. & Borgwardt, K. (2012). Feature "
        "selection via dependence maximization. Journal of Machine Learning Research 13, 1393–1434."
    ),
    "permutation of the maximum": (
        "Westfall, P. H. & Young, S. S. (1993). Resampling-Based Multiple Testing: Examples and Methods for p-Value "
        "Adjustment. Wiley."
    ),
    "comparisons with the best": (
        "Hsu, J. C. (1984). Constrained simultaneous confidence intervals for multiple comparisons with the best. "
        "Annals of Statistics 12, 1136–1144."
    ),
    "Holm's": (
        "Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics "
        "6, 65–70."
    ),
    "influence": ("Efron, B. (1982). The Jackknife, the Bootstrap and Other Resampling Plans. SIAM."),
    "explainable variance": (
        "Sahani, M. & Linden, J. F. (2003). How linear are auditory cortical responses? NIPS 15, 109–116."
    ),
    "banded ridge": (
        "Dupré la Tour, T., Eickenberg, M., Nunez-Elizalde, A. O. & Gallant, J. L. (2022). Feature-space selection "
        "with banded ridge regression. NeuroImage 264, 119728."
    ),
    "RSA": (
        "Kriegeskorte, N., Mur, M. & Bandettini, P. (2008). Representational similarity analysis. Frontiers in Systems "
        "Neuroscience 2, 4."
    ),
}
# Where a methods section says more than a metric's name.
PHRASES = {
    "rsa": "RSA on dot products",
    "ridge_r": "the correlation of held-out ridge predictions",
    "ridge_r2": "R² of held-out ridge predictions",
    "ridge_r_units": "the correlation of held-out ridge predictions, averaged over units",
}


def paragraph(
    content: pd.DataFrame | None,
    table: pd.DataFrame,
    settings: Mapping[str, Any],
    contrasts: pd.DataFrame,
    partition: pd.DataFrame,
    layers: pd.DataFrame,
) -> str:
    """Return what was measured and how, for a methods section; tables without rows were not asked for."""
    said = [f"Alignment was measured with superpose {_version()}."]
    if content is not None and len(content):
        of_features = settings.get("features") or settings
        sources = {name: of.get("source", "found") for name, of in of_features.get("systems", {}).items()}
        given = [name for name, source in sources.items() if source == "given"]
        if given:
            said.append(f"Features of {_listed(given)} were taken from a previously trained dictionary.")
        if not given or len(given) < len(sources):
            said.append(
                f"Features {'of the others ' if given else ''}were estimated from each system alone: atoms common to "
                "two sparse dictionaries trained on disjoint halves of its training samples (cosine above .9)."
            )
        if held_out := of_features.get("test_samples"):
            said.append(f"Of {of_features['samples']:,} samples, {held_out:,} were held out from all fitting.")
        said.append(
            "A generic nonlinear regression predicted the code of each feature from the other system and, as its "
            "ceiling, from its own; a feature counts as held where the first held-out correlation exceeds half of "
            "the second. "
            f"{_of_halves(of_features.get('repeats', []))}"
            "Significance was tested by permutation, controlling the false discovery rate. Raw debiased CKA was "
            "decomposed into the CKA of the features, the change due to their packing, and a residual."
        )
    raw = table[table["space"] == "raw"] if "space" in table else table
    if len(raw):
        said.append(f"Raw scores were {_names(raw)}.")
        if any("ridge" in str(name) for name in raw["metric"]):
            folds = str(settings.get("split", "")).removeprefix("cv=")
            how = f"{folds}-fold cross-validation" if folds.isdigit() else "held-out samples"
            said.append(f"The penalty of regressions was chosen within the training samples of {how}.")
        said.append("95 % intervals were computed from the influence of each sample.")
        said += _ceilings(raw)
        if permutations := settings.get("permutations"):
            said.append(
                f"p-values are from {permutations:,} permutations; the smallest possible is "
                f"{1 / (1 + permutations):.2g}."
            )
    if len(contrasts):
        said.append(
            f"Systems were contrasted in {_names(contrasts)} with {contrasts['target'].iloc[0]}, both scores on the "
            "same samples. The 95 % interval and two-sided p-value of a difference are from each sample's influence on "
            "it, p corrected by Holm's method over the pairs of each metric."
        )
    if len(partition):
        said.append(
            f"{partition['target'].iloc[0]} was predicted by held-out ridge regression from each system, from all, and "
            f"from all but one; parts of {_names(partition)} have 95 % intervals and one-sided p-values from each "
            "sample's influence, those beyond the rest corrected by Holm's method."
        )
    if len(layers):
        said.append(_of_layers(layers))
    if groups := settings.get("groups"):
        # A command records which file they were read from.
        count = f"The {groups:,} groups" if isinstance(groups, int) else "Groups"
        said.append(f"{count} of samples were never divided by splits, intervals or permutations.")
    if "seed" in settings:
        said.append(f"The random seed was {settings['seed']}.")
    return " ".join(said)


def to_paste(
    *,
    table: pd.DataFrame,
    settings: Mapping[str, Any],
    content: pd.DataFrame | None = None,
    **others: Any,
) -> str:
    """Return a methods paragraph with the works it cites, of what a report shows."""
    nothing = pd.DataFrame()
    told = paragraph(content, table, settings, nothing, nothing, nothing)
    return with_citations(told)


def with_citations(told: str) -> str:
    """Return a methods paragraph with the works that it cites below."""
    return "\n".join([told, "", *citations(told)])


def _of_halves(repeated: Sequence[str]) -> str:
    """Return that predictions were across halves of the trials, where they were."""
    if not repeated:
        return ""
    return f"For {_listed(repeated)}, codes were computed from one half of the trials and predicted from the other. "


def _of_layers(layers: pd.DataFrame) -> str:
    """Return how layers were held against a target."""
    first = layers.iloc[0]
    folds = str(first["split"]).removeprefix("cv=")
    split = f"{folds}-fold cross-validation" if folds.isdigit() else "one held-out split"
    said = [
        f"The {layers['layer'].nunique()} layers were scored on {first['target']} ({first['target_units']} units, "
        f"{first['samples']:,} samples) by {_names(layers)}, with {split}; 95 % intervals are from each "
        "sample's influence."
    ]
    said += _ceilings(layers)
    if first["null_kind"]:
        said.append(
            f"The best layer was tested by permutation of the maximum over layers ({first['null_kind']}), the same "
            "permutations for all layers."
        )
    if layers["best_p"].notna().any():
        said.append(
            "Layers that may be the best were identified by multiple comparisons with the best; differences between "
            "neighbouring layers are corrected by Holm's method."
        )
    return " ".join(said)


def _ceilings(table: pd.DataFrame) -> list[str]:
    """Return that trials were averaged, and what ceilings are from, where a table has any."""
    if "ceiling" not in table or table["ceiling"].isna().all():
        return []
    kinds = table.loc[table["ceiling"].notna(), "ceiling_kind"]
    return [f"Trials were averaged; noise ceilings are from {_listed([*dict.fromkeys(map(str, kinds))])}."]


def caption(content: pd.DataFrame | None) -> str:
    """Return a caption for the picture of content, or nothing where there is none."""
    if content is None or not len(content):
        return ""
    return (
        "Content and packing. Triangles: CKA of the features that each system predicts from its own activity "
        "(content), with its 90 % interval; diamonds: the CKA expected from their packing among the units; circles: "
        "debiased CKA of the raw activity. Triangle to diamond: due to packing; diamond to circle: explained by "
        "neither. Bars: the share of each system's features that the other holds."
    )


def citations(said: str) -> list[str]:
    """Return the works that a methods paragraph calls for, the paper and this software first."""
    return [PAPER, SOFTWARE.format(version=_version()), *(work for words, work in WORKS.items() if words in said)]


def _names(table: pd.DataFrame) -> str:
    return _listed([PHRASES.get(name, metric_name(name)) for name in dict.fromkeys(map(str, table["metric"]))])


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _version() -> str:
    return metadata.version("superpose")
