"""Numbers as people write them."""

import pytest

from superpose.messages.wording import p_number, p_value


@pytest.mark.parametrize(
    ("p", "said"),
    [(0.0001, "< .001"), (0.00049, "< .001"), (0.0005, ".001"), (0.0014, ".001"), (0.0126, ".013"), (0.05, ".05"),
     (0.41, ".41"), (0.999, "1"), (1.0, "1"), (float("nan"), ""), (None, "")],
)  # fmt: skip
def test_a_p_value_has_two_digits_and_three_places(p, said):
    assert p_number(p) == said


@pytest.mark.parametrize(
    ("p", "permutations", "said"),
    [
        (0.001, 999, "p = .001, the smallest possible of 999 permutations"),
        (1 / 10_000, 9_999, "p < .001, the smallest possible of 9,999 permutations"),
        (0.002, 999, "p = .002"),
        (0.001, None, "p = .001"),
        (0.0002, 99_999, "p < .001"),
        (float("nan"), 999, ""),
    ],
)
def test_the_smallest_possible_is_said_to_be_that(p, permutations, said):
    assert p_value(p, permutations) == said
