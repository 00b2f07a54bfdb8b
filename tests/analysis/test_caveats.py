"""Each warning fires past its threshold and not before it."""

import numpy as np
import pandas as pd
import pytest

from superpose.analysis.caveats import caveats

NAN = float("nan")


def table(*rows, training=10_000):
    """Return a table of one clean pair in both directions, changed by `rows`."""
    base = {
        "system_a": "x", "system_b": "y", "metric": "ridge_r", "space": "latent", "control": "none", "score": 0.5,
        "fvu_a": 0.1, "fvu_b": 0.1, "dead_a": 0.0, "dead_b": 0.0, "rare_a": 0.0, "rare_b": 0.0, "fit": "pairwise",
    }  # fmt: skip
    swapped = {"system_a": "y", "system_b": "x"}
    control = {"control": "shuffled_fit", "score": 0.0}
    frame = pd.DataFrame([base, base | swapped, base | control, *(base | r for r in rows)])
    narrow = {"low": frame.score - 0.01, "high": frame.score + 0.01}
    known = {name: frame[name].fillna(bound) if name in frame else bound for name, bound in narrow.items()}
    return frame.assign(training_samples=training, **known)


def arrays(samples=50, x=4, y=5):
    draw = np.random.default_rng(0)
    return {"x": draw.normal(size=(samples, x)), "y": draw.normal(size=(samples, y))}


def warnings(frame=None, data=None, dropped=None, latents=8):
    return list(caveats(table() if frame is None else frame, data or arrays(), dropped or {}, latents))


def test_nothing_to_say_of_clean_data():
    assert warnings() == []


@pytest.mark.parametrize(
    ("metric", "named"), [("cka_debiased", "debiased CKA"), ("rsa", "RSA"), ("ridge_r", "held-out r")]
)
@pytest.mark.parametrize("score", [0.0301, -0.0301])
def test_a_control_that_is_not_near_zero(metric, named, score):
    row = {"control": "shuffled_fit", "metric": metric}
    said = warnings(table(row | {"score": score}))
    assert said == [
        f"x and y: {named} of the latent space is {score:.3f} with shuffled pairs, not near zero: part of its score "
        "needs no shared content."
    ]
    assert warnings(table(row | {"score": np.sign(score) * 0.03})) == []
    assert warnings(table(row | {"score": NAN})) == []


def test_a_control_within_its_noise_is_no_warning():
    row = {"control": "shuffled_fit", "score": 0.04}
    assert warnings(table(row | {"low": -0.01, "high": 0.09})) == []
    assert len(warnings(table(row | {"low": 0.01, "high": 0.07}))) == 1


def test_a_missing_control_is_said():
    frame = table()
    (said,) = warnings(frame[frame.control == "none"])
    assert said.startswith("Fewer than 20 permutations of the training or of the held-out groups: there is no shuffled")


def test_a_control_that_was_not_asked_for_is_not_missed():
    frame = table()
    assert list(caveats(frame[frame.control == "none"], arrays(), {}, 8, ())) == []


@pytest.mark.parametrize("metric", ["cka", "ridge_r2", "ridge_r_units"])
def test_scores_whose_null_is_not_zero_by_construction_are_no_control(metric):
    assert warnings(table({"control": "shuffled_fit", "metric": metric, "score": -0.4})) == []


@pytest.mark.parametrize(("side", "name"), [("a", "x"), ("b", "y")])
def test_a_poor_reconstruction_is_said_once(side, name):
    other = {"system_a": "y", "system_b": "x", f"fvu_{'ab'[side == 'a']}": 0.51}
    said = warnings(table({f"fvu_{side}": 0.51}, other))
    assert said == [
        f"Dictionaries leave unexplained 51 % of {name} (variance of held-out samples): the latent scores are about "
        "the rest only."
    ]
    assert warnings(table({f"fvu_{side}": 0.5})) == []
    assert warnings(table({f"fvu_{side}": NAN})) == []
    nothing = f"{name}: the dictionary explains nothing of held-out samples; its latent scores mean nothing."
    assert warnings(table({f"fvu_{side}": 1.93}, other)) == [nothing]


@pytest.mark.parametrize(("side", "name"), [("a", "x"), ("b", "y")])
def test_dead_latents_are_said_once(side, name):
    other = {"system_a": "y", "system_b": "x", f"dead_{'ab'[side == 'a']}": 0.21}
    said = warnings(table({f"dead_{side}": 0.21}, other))
    assert said == [f"{name}: 21 % of its latents are never active; use fewer, or train longer."]
    assert warnings(table({f"dead_{side}": 0.2})) == []


@pytest.mark.parametrize(("side", "name"), [("a", "x"), ("b", "y")])
def test_rare_latents_are_said_once(side, name):
    said = warnings(table({f"rare_{side}": 0.051}))
    assert said == [
        f"{name}: 5 % of its latents are active a hundredth as often as the average one, or less: the dictionary is "
        "under-trained; train longer, or use fewer latents."
    ]
    assert warnings(table({f"rare_{side}": 0.05})) == []
    # Where a fifth are dead, that is said instead.
    assert len(warnings(table({f"rare_{side}": 0.3, f"dead_{side}": 0.3}))) == 1


@pytest.mark.parametrize("space", ["raw", "latent"])
@pytest.mark.parametrize(("kept", "fires"), [(0.41, True), (0.4, False)])
def test_a_score_that_the_label_keeps(space, kept, fires):
    row = {"space": space}
    # Of r = 0.5; another direction and another metric stay out of it.
    rows = [row, row | {"control": "within_labels", "score": kept}]
    aside = [row | {"control": "within_labels", "score": 0.5, "metric": "cka"}]
    said = warnings(table(*rows, *aside))
    assert said == (
        [
            f"x to y: of r = 0.500 in the {space} space, 0.410 is left when rows meet others of the same label: it is "
            "mostly the identity of what was shown."
        ]
        if fires
        else []
    )


def test_nothing_is_kept_of_nothing():
    assert warnings(table({"score": -0.5}, {"control": "within_labels", "score": 0.0})) == []


@pytest.mark.parametrize(("alone", "fires"), [(0.09, True), (0.1 / 1.1 + 1e-9, False)])
def test_private_content_that_a_joint_dictionary_drops(alone, fires):
    said = warnings(table({"fit": "independent", "fvu_a": alone, "fvu_b": 0.1}))
    expected = (
        "x: a joint dictionary leaves 10.0 % of the variance unexplained, one of its own 9.0 %: private content was "
        "dropped, which raises latent scores by selection."
    )
    assert said == ([expected] if fires else [])


def test_independent_dictionaries_alone_have_no_joint_one_to_compare():
    frame = table()
    assert warnings(frame.assign(fit="independent")) == []


def test_the_dictionaries_of_the_control_are_not_the_systems():
    assert warnings(table({"control": "shuffled_fit", "score": 0.0, "fvu_a": 0.9, "dead_b": 0.9})) == []


def test_the_worst_of_several_dictionaries_counts():
    said = warnings(table({"fvu_a": 0.6}, {"fvu_a": 0.8}))
    assert len(said) == 1
    assert "80 %" in said[0]


def test_few_training_rows_a_latent():
    said = warnings(table(training=16 * 8 - 1), latents=8)
    assert said == [
        "127 training rows for 8 latents (fewer than 16 a latent): dictionaries fit noise, and latent scores "
        "say little of what is shared; use fewer latents, or more rows."
    ]
    assert warnings(table(training=16 * 8), latents=8) == []
    # With fewer than twice as many there are no latent scores to speak of; without dictionaries there are none either.
    assert warnings(table(training=16 * 8 - 1), latents=64) == []
    assert warnings(table(training=128), latents=0) == []


def test_units_that_approach_the_samples():
    said = warnings(table(training=79), data=arrays(x=20), latents=0)
    assert said == [
        "79 training samples are few for 20 units of x: a low held-out r does not show that little is shared."
    ]
    assert warnings(table(training=80), data=arrays(x=20), latents=0) == []


@pytest.mark.parametrize(("share", "fires"), [(0.51, True), (0.49, False)])
def test_one_unit_that_dominates(share, fires):
    data = arrays(200, y=5)
    y = (data["y"] - data["y"].mean(0)) / data["y"].std(0)
    y[:, 3] *= np.sqrt(4 * share / (1 - share))
    data["y"] = y + 100.0
    expected = [
        f"y: unit 3 carries {100 * share:.0f} % of the variance and dominates every score; "
        "compare standardised units as well."
    ]
    assert warnings(data=data) == (expected if fires else [])


def test_of_two_units_one_always_carries_half():
    assert warnings(data={"x": arrays()["x"], "y": np.random.default_rng(0).normal(size=(50, 2)) * [9, 1]}) == []


def test_the_dominant_unit_is_numbered_as_in_the_file():
    data = arrays()
    data["x"][:, 1] *= 20
    said = warnings(data=data, dropped={"x": [0, 2]})
    # Units 0 and 2 of the file were dropped: the second that is left was number 3.
    assert said[0].startswith("x: unit 3 carries ")


def test_dropped_units_are_named_and_many_are_counted():
    assert warnings(dropped={"x": [2]}) == ["x: 1 unit(s) are constant over the samples and were dropped: 2."]
    said = warnings(dropped={"y": list(range(10, 22))})
    assert said == ["y: 12 unit(s) are constant over the samples and were dropped: 10, 11, 12, 13, 14, 15, 16, 17 …."]


def test_the_gravest_comes_first():
    said = warnings(
        table({"control": "shuffled_fit", "score": 0.5}, {"fvu_a": 0.9}, training=20), dropped={"x": [9]}, latents=8
    )
    words = ["shuffled pairs", "unexplained", "16 a latent", "constant"]
    assert [word for text in said for word in words if word in text] == words


def test_float32_with_a_large_offset():
    data = {"x": arrays()["x"], "y": (arrays()["y"] + 1e4).astype(np.float32)}
    assert warnings(data=data) == []


def test_systems_of_one_fault_share_a_line():
    assert warnings(table({"fvu_a": 1.93, "fvu_b": 1.2, "dead_a": 0.9})) == [
        "x, y: the dictionary explains nothing of held-out samples; its latent scores mean nothing."
    ]
    (said,) = warnings(table({"fvu_a": 0.6, "fvu_b": 0.7}))
    assert said.startswith("Dictionaries leave unexplained 60 % of x, 70 % of y (")
    (said,) = warnings(table(training=60), data=arrays(x=20, y=30), latents=0)
    assert said.startswith("60 training samples are few for 20 units of x, 30 units of y: ")
