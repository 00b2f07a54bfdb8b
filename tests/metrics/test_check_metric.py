"""check_metric: every metric of the library passes, and every way to break a promise is found."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from proof import proved

import superpose as sp
from superpose.files import DataError
from superpose.metrics import ALL
from superpose.metrics.metric import INVARIANCES, paired

pytestmark = pytest.mark.usefixtures("as_installed")

EVERY = frozenset({"rotation", "scale", "permutation", "translation"})


@dataclass(frozen=True)
class Own:
    """A metric as a user may write it."""

    function: Callable
    name: str = "own"
    directed: bool = False
    invariances: frozenset = EVERY
    minimum_samples: int = 3

    def __call__(self, x, y):
        return self.function(x, y)


VARIANTS = (
    Own(partial(sp.rsa, rdm="euclidean"), "rsa euclidean"),
    Own(partial(sp.rsa, rdm="correlation"), "rsa correlation", invariances=frozenset({"scale", "permutation"})),
    Own(partial(sp.rsa, comparator="cosine"), "rsa cosine"),
    Own(partial(sp.rsa, centre=False), "rsa uncentred", invariances=EVERY - {"translation"}),
    Own(partial(sp.regression, ridge=1e-9), "ridge", directed=True),
)


@pytest.mark.parametrize("metric", [*ALL, *VARIANTS], ids=lambda m: m.name)
def test_every_metric_of_the_library_passes(metric):
    table = sp.check_metric(metric, draws=2)
    assert list(table) == ["check", "property", "passed", "draws", "detail"]
    assert table.passed.all(), table[~table.passed].to_string()
    # Nothing is refused that need not be, and nothing holds that is not declared.
    notes = table.detail[table.detail != ""]
    if metric.name == "rsa correlation":
        notes = notes[~notes.str.contains("have the same response in every unit")]
    assert notes.empty


@pytest.mark.slow
@pytest.mark.prove
def test_p7_hostile_numbers():
    start, tried, failed = time.perf_counter(), 0, 0
    for metric in (*ALL, *VARIANTS):
        table = sp.check_metric(metric, draws=200)
        tried += int(table.draws.sum())
        failed += int((~table.passed).sum())
    metrics = len(ALL) + len(VARIANTS)
    proved("P7", time.perf_counter() - start, metrics=metrics, properties=len(table), draws=tried, failed=failed)
    assert failed == 0


def sound(x, y):
    """Cosine of centred inner products: a slow but sound CKA."""
    x, y = paired(x, y, 3)
    x, y = (z - z.mean(axis=-2, keepdims=True, dtype=np.float64) for z in (x, y))
    k, l = x @ np.swapaxes(x, -1, -2), y @ np.swapaxes(y, -1, -2)
    return (k * l).sum((-2, -1)) / np.sqrt((k * k).sum((-2, -1)) * (l * l).sum((-2, -1)))


def failed(function, **described):
    table = sp.check_metric(Own(function, **described), draws=3)
    return table[~table.passed].set_index("property").detail


def test_a_sound_metric_of_ones_own_passes():
    assert failed(sound).empty


def bare(x, y):
    """What one writes at first: no validation, in the arrays' own precision, for two axes."""
    x, y = x - x.mean(-2, keepdims=True), y - y.mean(-2, keepdims=True)
    return np.linalg.norm(x.mT @ y) ** 2 / np.linalg.norm(x.mT @ x) / np.linalg.norm(y.mT @ y)


def test_a_metric_without_validation_fails_where_it_should():
    found = failed(bare)
    assert found["complex numbers"].startswith("scored ")
    assert found["float16 as float64"].startswith("the score changes by up to ")
    assert found["leading axes are repeats"].startswith("(3, 120, 5) gives ()")


def in_sample(x, y):
    x, y = paired(x, y, 3)
    x, y = x.astype(float) - x.mean(0, dtype=float), y.astype(float) - y.mean(0, dtype=float)
    fitted = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return np.corrcoef(fitted.ravel(), y.ravel())[0, 1]


def test_in_sample_regression_scores_unrelated_systems_as_equal():
    found = failed(in_sample, directed=True)
    assert found["more units than samples"].startswith("scored unrelated systems 1, as if they were equal; expected")


def writes(x, y):
    score = sound(x, y)
    np.asarray(x)[...] -= 1
    return score


def test_a_metric_that_writes_to_its_input():
    found = failed(writes)
    assert found["nothing is written to"] == "x was changed"
    assert "read-only" in found["read-only"]


def silent(x, y):
    raise ValueError


def index_error(x, y):
    return [][1]


def one_pass(x, y):
    """Second moments less the product of the means, in the arrays' own precision."""
    x, y = paired(x, y, 3)
    n = x.shape[-2]
    products = (a.mT @ b - n * np.outer(a.mean(-2), b.mean(-2)) for a, b in ((x, y), (x, x), (y, y)))
    xy, xx, yy = (np.linalg.norm(product) for product in products)
    return xy**2 / (xx * yy)


class Restless:
    """A score with noise of its own."""

    def __init__(self):
        self.draw = np.random.default_rng(0)

    def __call__(self, x, y):
        return sound(x, y) + 1e-12 * self.draw.normal()


def first_unit(x, y):
    x, y = paired(x, y, 3)
    return np.corrcoef(x[:, 0].astype(float), y[:, 0].astype(float))[0, 1]


def by_place(x, y):
    x, y = paired(x, y, 3)
    return sound(np.arange(1, len(x) + 1)[:, None] * x, y)


@pytest.mark.parametrize(
    ("function", "described", "property", "detail"),
    [
        (silent, {}, "NaN", "raised ValueError without a message"),
        (silent, {}, "nothing is written to", "raised ValueError without a message"),
        (index_error, {}, "symmetry", "raised IndexError: list index out of range"),
        (index_error, {}, "one unit a system", "raised IndexError: list index out of range"),
        (index_error, {}, "more units than samples", "raised IndexError: list index out of range"),
        (index_error, {}, "leading axes are repeats", "raised IndexError: list index out of range"),
        (Restless(), {}, "equal calls, equal bits", "the score changes by up to "),
        (
            lambda x, y: sound(x, y) / 2,
            {},
            "a system is itself",
            "the score changes by up to 5.0e-01; at most 1e-06 is",
        ),
        (lambda x, y: [0.5, sound(x, y)], {}, "scale", "returned list of shape (2,); expected one real number"),
        (lambda x, y: "high", {}, "scale", "returned str of shape (); expected one real number"),
        (lambda x, y: np.nan, {}, "one unit a system", "scored nan; expected a number, or an error in words"),
        (lambda x, y: 0.5, {}, "NaN", "scored 0.5; expected an error in words, or NaN"),
        (lambda x, y: 0.5, {"minimum_samples": 2}, "1 sample(s)", "scored 0.5; expected an error in words, or NaN"),
        (first_unit, {}, "permutation", "the score changes by up to "),
        (by_place, {}, "order of samples", "the score changes by up to "),
        (by_place, {"directed": True}, "order of samples", "the score changes by up to "),
        (by_place, {}, "symmetry", "the score changes by up to "),
        (sound, {"invariances": EVERY | {"linear"}}, "linear", "the score changes by up to "),
        (sound, {"name": ""}, "name", "is ''; expected text"),
        (sound, {"directed": 1}, "directed", "is 1; expected True or False"),
        (sound, {"invariances": frozenset({"reflection"})}, "invariances", "expected a frozenset out of linear, perm"),
        (sound, {"minimum_samples": 0}, "minimum_samples", "is 0; expected an integer of at least 1"),
    ],
)
def test_what_is_found(function, described, property, detail):
    assert detail in failed(function, **described)[property]


def test_what_is_not_declared_is_noted_where_it_holds():
    table = sp.check_metric(Own(sound, invariances=frozenset({"rotation"}), directed=True), draws=3)
    notes = table.set_index("property").detail
    for name in ("permutation", "scale", "translation"):
        assert notes[f"{name} (not declared)"] == "holds, though it is not declared"
    assert notes["linear (not declared)"] == ""
    assert notes["direction"] == "the score is symmetric, though it is declared directed"
    assert table.passed.all()


def test_refusals_are_allowed_and_noted():
    def plain(x, y):
        if np.asarray(x).dtype not in (np.float32, np.float64) or np.ndim(x) != 2:
            raise ValueError("expected two axes of floats")
        return sound(x, y)

    table = sp.check_metric(Own(plain), draws=4)
    notes = table.set_index("property").detail
    assert notes["int64 as float64"] == notes["leading axes are repeats"] == "refused: expected two axes of floats"
    assert table.passed.all()


def test_equal_seeds_give_equal_tables():
    first, second = (sp.check_metric(sp.metrics.CKA, draws=3, seed=7) for _ in range(2))
    assert first.equals(second)


def test_what_is_no_metric():
    with pytest.raises(DataError, match=r"was given function, which lacks name, directed, invariances, minimum_samp"):
        sp.check_metric(sound)
    with pytest.raises(DataError, match="draws is 0; expected an integer of at least 1"):
        sp.check_metric(sp.metrics.CKA, draws=0)


def test_every_word_is_tried():
    properties = set(sp.check_metric(sp.metrics.CKA, draws=1).property)
    assert {p.removesuffix(" (not declared)") for p in properties} >= INVARIANCES
