"""The printed sentence, on tables made by hand."""

import numpy as np
import pandas as pd
import pytest

from superpose.analysis.verdict import sentences

NAN = float("nan")


def row(space, score, **given):
    """Return one row of held-out r, with an interval of ± .01."""
    base = {
        "system_a": "a", "system_b": "b", "metric": "ridge_r", "directed": True, "control": "none", "seed": 0,
        "fit": "" if space == "raw" else "pairwise",
    }  # fmt: skip
    return (
        base | {"space": space, "score": score, "low": score - 0.01, "high": score + 0.01, "p": NAN, "why": ""} | given
    )


def table(*rows):
    """Add the symmetric row that every pair has."""
    pairs = dict.fromkeys(tuple(sorted((r["system_a"], r["system_b"]))) for r in rows)
    symmetric = [row("raw", 0.9, metric="cka", directed=False, system_a=a, system_b=b) for a, b in pairs]
    return pd.DataFrame([*symmetric, *rows])


def both(space, forward, backward, **given):
    return [
        row(space, forward, **given),
        row(space, backward, **given | {"system_a": "b", "system_b": "a"}),
    ]


def test_a_rise_never_stands_without_what_it_leaves_open():
    said = sentences(
        table(*both("raw", 0.5, 0.6, p=0.001), *both("latent", 0.7, 0.8), row("latent", 0.002, control="shuffled_fit"))
    )
    assert said == [
        "a and b: held-out r is 0.500 from a to b and 0.600 back, raw (p = .001); in recovered features 0.700 and "
        "0.800 (shuffled pairs: 0.002): it rises.",
        "A rise alone is no evidence of superposition: selecting shared content, a nonlinear encoder and the identity "
        "of the stimuli raise it too. Not run here: the nonlinear prediction, linear selection at equal variance "
        "explained, independent dictionaries, and permutation within labels.",
    ]


def test_a_fall_says_so():
    said = sentences(table(*both("raw", 0.9, 0.9), *both("latent", 0.7, 0.7)))
    assert said == [
        "a and b: held-out r is 0.900 from a to b and 0.900 back, raw; in recovered features 0.700 and 0.700: it "
        "falls; the dictionaries lose more of what is shared than they untangle."
    ]


def test_a_null_says_that_chance_does_as_well():
    said = sentences(
        table(
            *both("raw", 0.003, 0.001, p=0.41),
            *both("latent", -0.002, 0.0),
            row("latent", 0.001, control="shuffled_fit"),
        )
    )
    assert len(said) == 1
    assert "(p = .41: not significant)" in said[0]
    assert said[0].endswith("no clear change.")


def test_the_larger_p_of_the_two_directions_decides():
    rows = [row("raw", 0.5, p=0.001), row("raw", 0.1, p=0.3, system_a="b", system_b="a")]
    assert "(p = .3: not significant)" in sentences(table(*rows))[0]
    rows[1]["p"] = 0.05
    assert "raw (p = .05)" in sentences(table(*rows))[0]


@pytest.mark.parametrize(
    ("change", "half", "ending"),
    [
        # Two intervals of half-width h separate at √2 h.
        (0.098, 0.07, "no clear change."),
        (0.1, 0.07, "it rises."),
        (-0.098, 0.07, "no clear change."),
        (-0.1, 0.07, "than they untangle."),
        # However narrow the intervals, a hundredth is not called a change.
        (0.0099, 0.0, "no clear change."),
        (0.0101, 0.0, "it rises."),
        # Without intervals too.
        (0.0099, NAN, "no clear change."),
        (0.0101, NAN, "it rises."),
    ],
)
def test_a_change_within_the_intervals_is_no_change(change, half, ending):
    rows = [row(s, v, low=v - half, high=v + half) for s, v in (("raw", 0.5), ("latent", 0.5 + change))]
    said = sentences(table(*rows))
    assert said[0].endswith(ending)
    assert (len(said) == 2) == (ending == "it rises.")


def test_a_score_that_could_not_be_computed_gives_its_reason():
    rows = [row("raw", 0.5), row("latent", NAN, why="needs ≥ 32 training samples for 16 latents; have 30")]
    assert sentences(table(*rows)) == [
        "a and b: held-out r is 0.500 from a to b, raw; in recovered features it could not be computed (needs ≥ 32 "
        "training samples for 16 latents; have 30)."
    ]
    assert sentences(table(row("raw", NAN, why="needs ≥ 4 samples; have 2"), row("latent", 0.5))) == [
        "a and b: no raw score could be computed (needs ≥ 4 samples; have 2)."
    ]
    assert sentences(table(row("latent", 0.5))) == ["a and b: no raw score could be computed (no row)."]


def test_features_that_were_not_asked_for_are_not_called_a_failure():
    assert sentences(table(*both("raw", 0.5, 0.6))) == [
        "a and b: held-out r is 0.500 from a to b and 0.600 back, raw."
    ]


def test_seeds_and_directions_are_averaged():
    said = sentences(table(row("raw", 0.5), row("latent", 0.6), row("latent", 0.8, seed=1)))
    assert "in recovered features 0.700:" in said[0]
    # A score that exists in one direction alone still counts.
    said = sentences(table(row("raw", 0.5), row("raw", NAN, system_a="b", system_b="a"), row("latent", 0.6)))
    assert "held-out r is 0.500 from a to b, raw" in said[0]


def test_each_pair_has_a_sentence_and_the_disclaimer_comes_once_and_last():
    other = {"system_b": "c"}
    rows = [row("raw", 0.5), row("latent", 0.8), row("raw", 0.9, **other), row("latent", 0.4, **other)]
    said = sentences(table(*rows))
    assert [text.partition(":")[0] for text in said[:2]] == ["a and b", "a and c"]
    assert "rises" in said[0]
    assert "falls" in said[1]
    assert said[2].startswith("A rise alone is no evidence")
    assert len(said) == 3


def test_other_controls_and_metrics_do_not_enter():
    rows = [row("raw", 0.5), row("latent", 0.8)]
    noise = [
        row("latent", 0.0, control="untrained"),
        row("latent", 0.1, metric="cka", directed=False),
        row("reconstruction", 0.2),
        row("predicted", 0.3, metric="cka_debiased", directed=False),
    ]
    assert sentences(table(*rows, *noise)) == sentences(table(*rows))


@pytest.mark.parametrize("latent", np.linspace(-1, 1, 9))
@pytest.mark.parametrize("raw", [0.0, 0.4, 0.95])
def test_no_sentence_ever_says_by_how_much_superposition_deflates(raw, latent):
    said = sentences(table(row("raw", raw), row("latent", latent)))
    assert "deflat" not in " ".join(said).lower()
    assert ("superposition" in " ".join(said)) == ("rises" in said[0])
    assert ("rises" in said[0]) == (said[-1].startswith("A rise alone is no evidence of superposition"))


def risen(*rows):
    """Return what is said of r = 0.5 raw and 0.8 latent beside other rows."""
    return sentences(table(row("raw", 0.5), row("latent", 0.8), *rows))


@pytest.mark.parametrize(
    ("space", "name"),
    [
        ("nonlinear", "nonlinear regression on raw activity"),
        ("linear_selection", "linear selection at equal variance explained"),
    ],
)
def test_a_rise_that_does_not_clear_a_line_is_no_evidence(space, name):
    # Both intervals are ± .01: .0141 apart is not apart.
    said = risen(row(space, 0.79))
    assert said[1] == f"a and b: recovered features give 0.800, {name} 0.790: not evidence of superposition."
    assert len(risen(row(space, 0.78))) == 2
    # One that does not rise needs no line.
    assert len(sentences(table(row("raw", 0.8), row("latent", 0.8), row(space, 0.9)))) == 1


def test_all_lines_share_a_sentence_and_equal_targets_count():
    said = risen(row("nonlinear", 0.85), row("linear_selection", 0.9), row("latent_to_raw", 0.7))
    assert said[1] == (
        "a and b: recovered features give 0.800, linear selection at equal variance explained 0.900; recovered "
        "features give 0.800, nonlinear regression on raw activity 0.850; raw activity predicted from recovered "
        "features gives 0.700, nonlinearly from raw activity 0.850: not evidence of superposition."
    )
    # Latents may clear the nonlinear line, and yet say less of raw activity than it does.
    assert (
        "gives 0.700, nonlinearly from raw activity 0.750"
        in risen(row("nonlinear", 0.75), row("latent_to_raw", 0.7))[1]
    )


def test_only_what_was_not_run_is_called_missing():
    assert risen(row("nonlinear", 0.6), row("raw", 0.2, control="within_labels"))[-1].endswith(
        "Not run here: linear selection at equal variance explained, and independent dictionaries."
    )
    run = [row("nonlinear", 0.6), row("linear_selection", 0.6), row("two_seeds", 0.6, system_b="a, second seed")]
    assert risen(*run)[-1].endswith("Not run here: permutation within labels.")
    assert risen(*run, row("raw", 0.2, control="within_labels"))[-1].endswith("of the stimuli raise it too.")


@pytest.mark.parametrize(("untrained", "near"), [(0.86, True), (0.8, False)])
def test_a_corrected_score_stands_beside_its_untrained_twin(untrained, near):
    twin = {"fit": "independent"}
    said = risen(row("corrected", 0.9, **twin), row("corrected", untrained, control="untrained", **twin))
    ending = ": the correction does not depend on training." if near else "."
    assert said[1] == (
        "a and b: independent dictionaries, their own noise divided out, give 0.900, untrained ones "
        f"{untrained:.3f}{ending}"
    )
    # Never alone.
    assert not any("0.900" in text for text in risen(row("corrected", 0.9, **twin)))


def test_dictionaries_and_copies_of_a_control_are_not_the_pair():
    twins = [
        row("latent", 0.1, fit="independent"),
        row("two_seeds", 0.2, system_b="a, second seed"),
        row("raw", 0.3, control="planted", metric="cka", directed=False, system_a="a, once", system_b="a, twice"),
    ]
    asked = table(row("raw", 0.5), row("latent", 0.8))
    said = sentences(pd.concat([asked, pd.DataFrame(twins)], ignore_index=True))
    assert len(said) == 2
    assert "in recovered features 0.800" in said[0]


def test_a_dictionary_that_explains_nothing_makes_its_scores_say_nothing():
    rows = [*both("raw", 0.5, 0.5), *both("latent", 0.7, 0.7, fvu_a=0.4, fvu_b=0.4)]
    rows[2]["fvu_a"] = rows[3]["fvu_b"] = 1.93
    assert sentences(table(*rows)) == [
        "a and b: held-out r is 0.500 from a to b and 0.500 back, raw; recovered features say nothing (r = 0.700 and "
        "0.700), for the dictionary of a explains nothing of held-out samples."
    ]


@pytest.mark.parametrize(
    ("permutations", "p", "words"),
    [
        (9, 0.1, "(p = .1, and 9 permutations give no less than .1)"),
        (9, 0.3, "(p = .3, and 9 permutations give no less than .1)"),
        (19, 0.05, "(p = .05, the smallest possible of 19 permutations)"),
        (99, 0.1, "(p = .1: not significant)"),
    ],
)
def test_few_permutations_are_no_evidence_of_nothing(permutations, p, words):
    (said,) = sentences(table(*both("raw", 0.5, 0.5, p=p)), permutations)
    assert said.startswith(f"a and b: held-out r is 0.500 from a to b and 0.500 back, raw {words}.")
