"""Recovery against units: codes of known projections, the guarantees beside them, and the claims about m*."""

import math

import numpy as np
import pytest
import torch

from superpose.paper import recovery
from superpose.paper.claims import judge
from superpose.systems import sparse_latents
from superpose.theory import critical_units

METRICS = {
    "raw", "omp", "matched_filter", "coherence", "welch_bound", "guaranteed", "isometry_k", "isometry_2k",
}  # fmt: skip
SETTINGS = {"latents": 64, "samples": 1000, "distribution": "uniform", "supports": 300, "draw": 0}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    return recovery.FIGURE.at("smoke").run(tmp_path_factory.mktemp("smoke"))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    study = recovery.study(units=(4, 8, 16, 24, 32, 48, 64), draws=4, supports=200)
    return study.run(tmp_path_factory.mktemp("recovery"))


def measured(active, units, seed=0, **settings):
    rows = recovery.measure(seed, **{**SETTINGS, **settings}, active=active, units=units)
    return {row["metric"]: row["score"] for row in rows}


def judged(table):
    return judge(recovery.CLAIMS, table).set_index("claim")


def of(start):
    return next(claim.text for claim in recovery.CLAIMS if claim.text.startswith(start))


def test_the_smoke_study_has_every_metric_and_no_hole(smoke):
    assert set(smoke["metric"]) == METRICS
    assert not smoke.isna().any().any()
    assert smoke.groupby(["active", "units", "metric"]).size().eq(3).all()


def test_codes_agree_fully_where_units_are_as_many_as_latents():
    found = measured(2, 64)
    assert found["omp"] == pytest.approx(1, abs=1e-3)
    assert found["raw"] == pytest.approx(1, abs=1e-6)
    assert found["matched_filter"] < 0.999


def test_more_active_latents_than_units_are_measured_too():
    found = measured(8, 4)
    assert all(map(math.isfinite, found.values()))
    assert found["omp"] < 0.1
    assert found["isometry_k"] >= 1


def test_raw_r_is_that_of_theorem_3_3(table):
    raw = table[(table["metric"] == "raw") & (table["units"] < 64)]
    for units, here in raw.groupby("units"):
        error = here["score"].std() / math.sqrt(len(here))
        # Held-out r with N = 800 is lower than its limit by about (1 − R²) m / (2 N r), under .01 here.
        assert abs(here["score"].mean() - math.sqrt(units / 64)) < 4 * error + 0.02


@pytest.mark.parametrize(("active", "units", "least", "most"), [(4, 16, 0.25, 0.45), (4, 32, 0.93, 0.99)])
def test_recovery_by_an_independent_pursuit(active, units, least, most):
    """Matching pursuit written out sample by sample, and correlation of the codes themselves, without a fit."""
    z = sparse_latents(400, 64, active, generator=torch.Generator().manual_seed(0)).numpy().astype(float)
    draw = np.random.default_rng(1)
    codes = []
    for _ in range(2):
        a = draw.normal(size=(units, 64))
        lengths = np.linalg.norm(a, axis=0)
        found = np.zeros_like(z)
        for row, y in zip(found, z @ a.T, strict=True):
            chosen, residual = [], y
            for _ in range(active):
                chosen.append(int(np.argmax(np.abs(a.T @ residual) / lengths)))
                fitted = np.linalg.lstsq(a[:, chosen], y, rcond=None)[0]
                residual = y - a[:, chosen] @ fitted
            row[chosen] = fitted
        codes.append(found - found.mean(axis=0))
    r = np.sum(codes[0] * codes[1]) / np.linalg.norm(codes[0]) / np.linalg.norm(codes[1])
    ours = np.mean([measured(active, units, seed)["omp"] for seed in range(6)])
    assert least < ours < most
    assert ours == pytest.approx(r, abs=0.08 if units == 16 else 0.03)


def test_guarantees_say_no_more_than_their_definitions(table):
    wide = table.pivot(index=["active", "units", "draw"], columns="metric", values="score").reset_index()
    assert (wide["coherence"] >= wide["welch_bound"]).all()
    assert (wide["guaranteed"] < (1 + 1 / wide["coherence"]) / 2).all()
    assert (wide["guaranteed"] >= 1).all()
    means = wide.groupby(["active", "units"])[["isometry_k", "isometry_2k"]].mean()
    assert (means["isometry_2k"] > means["isometry_k"]).all()


def test_where_r_is_reached_is_read_between_sizes(table):
    critical = float(critical_units(64, 4))
    scores = {4: 0.0, 8: 0.1, 16: 0.5, 24: 0.9, 32: 1.0, 48: 1.0, 64: 1.0}
    one = table[(table["active"] == 4) & (table["metric"] == "omp")]
    one = one.assign(score=one["units"].map(scores))
    assert recovery._reached(one) == [pytest.approx(28 / critical)]
    assert recovery._at_critical(one) == pytest.approx(0.1 + 0.4 * (critical - 8) / 8)


def test_recovery_that_is_never_reached_decides_nothing(table):
    found = judged(table.assign(score=table["score"].where(table["metric"] != "omp", 0.5)))
    for start in ("The true threshold", "k log(n/k) is the natural"):
        assert math.isnan(found.loc[of(start), "number"])
        assert found.loc[of(start), "verdict"] == "does not hold"


def test_claims(table):
    found = judged(table)
    assert found.loc[of("Latents are recoverable"), "number"] < 0.35
    assert found.loc[of("The true threshold"), "verdict"] == "holds"
    assert found.loc[of("k log(n/k) is the natural"), "verdict"] == "holds"
    assert found.loc[of("In the regime"), "verdict"] == "does not hold"
    assert found.loc[of("From 2.5 m* on, recovered"), "verdict"] == "holds"
    assert found.loc[of("From 2.5 m* on, thresholding"), "verdict"] == "does not hold"
    assert found.loc[of("Coherence guarantees"), "number"] <= 0.5
    assert found.loc[of("The restricted isometry"), "number"] > recovery.CANDES


def test_every_claim_can_change_its_verdict(table):
    perfect = {"omp": 1.0, "matched_filter": 1.0, "guaranteed": 8.0, "isometry_2k": 0.1}
    best = judged(table.assign(score=table["metric"].map(perfect).fillna(table["score"])))["verdict"]
    worst = judged(table.assign(score=table["score"].where(table["metric"] == "raw", 0.9 * table["score"] - 0.5)))
    now = judged(table)["verdict"]
    changed = (best != now) | (worst["verdict"] != now)
    assert changed.all()


def test_every_curve_is_in_the_legend_and_every_axis_labelled(table):
    figure = recovery.draw(table)
    assert figure.get_size_inches()[0] == 3.5
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown[:3] == ["$k = 2$", "$k = 4$", "$k = 8$"]
    assert len(shown) == 8
    assert all(axes.get_ylabel() for axes in figure.axes)
    assert "k\\,\\log(n/k)" in figure.axes[1].get_xlabel()
