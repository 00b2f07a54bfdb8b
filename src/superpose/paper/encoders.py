"""Which features do layers of packaged encoders hold, which of them do other layers hold too, and is it the word?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from superpose.arrays import choose
from superpose.examples.encoders import L6, packaged
from superpose.paper.canvas import SMALL, dress, page
from superpose.paper.claims import Claim, some
from superpose.paper.figure import Figure
from superpose.paper.figure5.cells import LAYERS, NAMED
from superpose.paper.figure5.inputs import PLACES, Inputs, load
from superpose.sharing import Content, content
from superpose.studies.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

Array = NDArray[Any]

CONTROLS = ("none", "permuted")
# What the samples of each kind of inputs are.
WORD = {"language": "word", "glosses": "word", "twin": "word", "vision": "place"}


def study(
    *,
    inputs: Sequence[str] = ("language", "vision"),
    layers: Sequence[str] = (),
    controls: Sequence[str] = CONTROLS,
    samples: int = 40_000,
    held_out: int = 10_000,
    seed: int = 0,
) -> Study:
    """Return the study of what encoders share, whose weights install as packages; the paper has none.

    Parameters
    ----------
    inputs : sequence of {"language", "glosses", "twin", "vision"}
        Networks and what they see, as in Figure 5.
    layers : sequence of str
        As L6_3, of the networks; none is all of them, of vision nine.
    controls : sequence of {"none", "permuted"}
        The layers as they are; a pair of which the second saw other samples.
    samples : int
        Rows to find features in, at least: tokens, or places of pictures.
    held_out : int
        Rows to say on what is shared, at least, of other sentences or pictures.
    seed : int
        The seed that every draw is derived from.

    Returns
    -------
    Study

    Raises
    ------
    DataError
        For unknown inputs, layers or controls.
    """
    for control in controls:
        choose(dict.fromkeys(CONTROLS), "controls", control)
    cells = [
        {
            "inputs": kind,
            "layers": " ".join(_shown(kind, layers, control)),
            "control": control,
            "samples": samples,
            "held_out": held_out,
        }
        for kind in inputs
        for control in controls
    ]
    return Study("encoders", measure, cells, seed=seed, draw=("inputs", "samples", "held_out"))


def _shown(inputs: str, layers: Sequence[str], control: str) -> tuple[str, ...]:
    known = choose(LAYERS, "inputs", inputs)
    for layer in layers:
        choose(dict.fromkeys(known), "a layer", layer)
    if control == "permuted":
        return tuple(layers[:2]) or tuple(NAMED[inputs][0].split("-"))
    return tuple(layers) or known


def measure(seed: int, *, inputs: str, layers: str, control: str, samples: int, held_out: int) -> list[dict[str, Any]]:
    """Return a row for each pair of layers, and one for each feature of a layer with the layers that hold it."""
    given = load(inputs, samples, held_out)
    names = layers.split()
    systems = {name: np.asarray(given.systems[name]) for name in names}
    if control == "permuted":
        # Half of the text away: runs of tokens stay together, so that sentences meet other sentences.
        systems[names[1]] = np.roll(systems[names[1]], len(given.test) // 2, axis=0)
    found = content(
        systems,
        groups=given.groups,
        labels=given.labels,
        test=given.test,
        stimuli=_named(inputs, given),
        seed=seed % 2**31,
    )
    return [*_pairs(found, names, inputs), *_features(found)]


def _named(inputs: str, given: Inputs) -> list[str]:
    """Return what each sample is: its word piece, or its row and column in the picture."""
    if inputs == "vision":
        side = int(PLACES**0.5)
        return [f"row {1 + place // side}, column {1 + place % side}" for place in given.labels % PLACES]
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(packaged(L6)["tokenizer.json"]))
    words = {int(piece): str(tokenizer.id_to_token(int(piece))) for piece in np.unique(given.labels)}
    return [words[int(piece)] for piece in given.labels]


def _pairs(found: Content, names: Sequence[str], inputs: str) -> list[dict[str, Any]]:
    following = set(pairwise(names))
    rows = []
    for row in found.table.to_dict("records"):
        a, b = row["system_a"], row["system_b"]
        one = a.split("_")[0] == b.split("_")[0]
        relation = "next layer" if one and (a, b) in following else "one network" if one else "two networks"
        sides = found.features[found.features.system.isin((a, b)) & found.features.other.isin((a, b))]
        within = {name: _within(sides[sides.system == name]) for name in (a, b)}
        rows.append(
            {
                "kind": "pair",
                "relation": relation,
                f"within_{WORD[inputs]}_by_b": within[a],
                f"within_{WORD[inputs]}_by_a": within[b],
                **{str(name): value for name, value in row.items()},
            }
        )
    return [{key: None if value != value else value for key, value in row.items()} for row in rows]


def _within(table: pd.DataFrame) -> float:
    """Return the share of held features of which the other layer holds what they add to the mean of a label, too."""
    held = table[table.held & table.assessable]
    return float((held.within_label > 0.5).mean()) if len(held) else np.nan


def _features(found: Content) -> list[dict[str, Any]]:
    rows = []
    for _, of in found.features.groupby(["system", "feature"]):
        first, able = of.to_dict("records")[0], of[of.assessable]
        rows.append(
            {
                "kind": "feature",
                **{name: first[name] for name in ("system", "feature", "active", "variance")},
                "others": len(able),
                "held": int(able.held.sum()),
                "within": float(able.within_label.median()) if able.within_label.notna().any() else None,
                "strongest": " | ".join(dict.fromkeys(first["samples"])),
            }
        )
    return rows


def draw(table: pd.DataFrame) -> Picture:
    """Draw which share of each layer's features every other layer holds, and of these within a word or a place.

    Rows are the layers whose features they are, columns those that hold them.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `study(...).run(...)`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    shown = table[(table["kind"] == "pair") & (table["control"] == "none")]
    kinds = list(dict.fromkeys(shown["inputs"]))
    figure = page(7.2, 3.5 * len(kinds))
    axes = figure.subplots(len(kinds), 2, squeeze=False)
    figure.subplots_adjust(left=0.09, right=0.99, bottom=0.08 / len(kinds) + 0.03, top=0.95, hspace=0.35, wspace=0.2)
    for row, kind in zip(axes, kinds, strict=True):
        some_pairs = shown[shown["inputs"] == kind]
        _matrix(row[0], some_pairs, "held", f"{kind}: features held")
        _matrix(row[1], some_pairs, f"within_{WORD[kind]}", f"{kind}: of these, within a {WORD[kind]} too")
    return figure


def _matrix(axes: Axes, table: pd.DataFrame, what: str, title: str) -> None:
    names = list(dict.fromkeys([*table["system_a"], *table["system_b"]]))
    shares = pd.DataFrame(np.nan, index=names, columns=names)
    for row in table.to_dict("records"):
        shares.loc[row["system_a"], row["system_b"]] = row[f"{what}_by_b"]
        shares.loc[row["system_b"], row["system_a"]] = row[f"{what}_by_a"]
    dress(axes, title, x="held by", y="features of")
    axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False)
    for (i, j), share in np.ndenumerate(shares.to_numpy()):
        if np.isfinite(share):
            axes.text(
                j, i, f"{share:.2f}", ha="center", va="center", fontsize=SMALL - 1, color="w" if share < 0.6 else "k"
            )


def _of(number: Callable[[pd.DataFrame], float], what: str, **where: str) -> Callable[[pd.DataFrame], float]:
    """Return a number of the pairs that have some values."""

    def judged(table: pd.DataFrame) -> float:
        pairs = table[(table["kind"] == "pair") & (table["samples"] >= 10_000)]
        for column, value in where.items():
            pairs = pairs[pairs[column] == value]
        return number(some(pairs, what))

    return judged


def _lowest(table: pd.DataFrame) -> float:
    return float(table[["held_by_a", "held_by_b"]].min(axis=1).min())


def _highest(table: pd.DataFrame) -> float:
    return float(table[["held_by_a", "held_by_b"]].max(axis=1).max())


def _kept(word: str) -> Callable[[pd.DataFrame], float]:
    return lambda table: float(table[[f"within_{word}_by_a", f"within_{word}_by_b"]].mean(axis=1).mean())


def _closer(table: pd.DataFrame) -> float:
    own, other = (
        some(table[table["relation"].isin(kinds)], "pairs of layers of one network and of two")["shared"].mean()
        for kinds in (("next layer", "one network"), ("two networks",))
    )
    return float(own - other)


SOURCE = "beyond the paper"
CLAIMS = (
    Claim(
        "The features found in a layer are shared with the next layer of its network.",
        SOURCE,
        "lowest share of one layer's features that the next holds, or of the next layer's that this one does",
        _of(_lowest, "next layers", control="none", relation="next layer"),
        low=0.8,
    ),
    Claim(
        "No two neighbouring layers are told to be different.",
        SOURCE,
        'share of neighbouring layers with the verdict "different"',
        _of(
            lambda table: float((table["verdict"] == "different").mean()),
            "next layers",
            control="none",
            relation="next layer",
        ),
        high=0.0,
    ),
    Claim(
        "Layers that saw different samples share nothing.",
        SOURCE,
        "highest share of features held, of layers of which one saw other samples",
        _of(_highest, "permuted layers", control="permuted"),
        high=0.05,
    ),
    Claim(
        "Layers of one network share more features than layers of two.",
        SOURCE,
        "mean shared fraction within networks less that across",
        _of(_closer, "layers of two networks", control="none"),
        low=0.0,
    ),
    *(
        Claim(
            f"Most of the features that {of} share are more than {what} ({kind}).",
            SOURCE,
            f"mean share of the features held that are held within a {WORD[kind]} too",
            _of(_kept(WORD[kind]), f"{of} of {kind} encoders", control="none", inputs=kind, relation=relation),
            low=0.5,
        )
        for kind, what in (("language", "the word"), ("vision", "the place and the subject"))
        for of, relation in (("neighbouring layers", "next layer"), ("layers of two networks", "two networks"))
    ),
)

FIGURE = Figure(
    "encoders",
    study,
    scales={
        "smoke": {"inputs": ("language",), "layers": ("L6_3", "L3_1"), "samples": 2_000, "held_out": 500},
        "laptop": {"inputs": ("language",)},
        "paper": {},
    },
    draw=draw,
    claims=CLAIMS,
)
