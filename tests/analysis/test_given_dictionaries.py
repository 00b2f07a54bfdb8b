"""Dictionaries that someone else has trained, in the table of the ones fitted here."""

import numpy as np
import pandas as pd
import pytest
import torch
from test_controls import QUICK, small

from superpose import analysis
from superpose.analysis import given
from superpose.analysis.given import checked
from superpose.analysis.inputs import read_dictionaries
from superpose.dictionaries.diagnostics import fvu
from superpose.dictionaries.losses import reconstruction
from superpose.dictionaries.sae import SparseAutoencoder, save
from superpose.dictionaries.sparsity import JumpReLU, TopK
from superpose.dictionaries.training import fit
from superpose.files import DataError
from superpose.metrics.splits import marked
from superpose.sharing import content as content_of


def trained(x, latents=8, sparsity=None, seed=0):
    draw = torch.Generator().manual_seed(seed)
    sae = SparseAutoencoder(x.shape[-1], latents, sparsity or TopK(2), generator=draw)
    return fit(sae, reconstruction, x, steps=20, batch=64, learning_rate=1e-2)


def test_they_score_as_their_codes_do_and_stand_beside_the_fitted_ones():
    systems = small()
    known = {"x": trained(systems["x"]), "y": trained(systems["y"], latents=12, sparsity=JumpReLU())}
    table = analysis.latent(systems, dictionaries=known, controls=["latent_to_raw"], **QUICK).table
    assert set(table.fit) == {"", "pairwise", "given"}
    given = table[table.fit == "given"]
    assert set(given.space) == {"latent", "reconstruction", "predicted", "latent_to_raw"}
    codes = {name: sae.encode(systems[name]) for name, sae in known.items()}
    test = marked(120, 0.2, None, 0)
    alive = {name: z[:, z[~test].any(axis=0)] for name, z in codes.items()}
    raw = analysis.latent(alive, controls=[], **QUICK).table.query("space == 'raw'")
    raw = raw.set_index(["system_a", "metric"]).score
    latent = given.query("space == 'latent'").set_index(["system_a", "metric"]).score
    np.testing.assert_allclose(latent, raw[latent.index], atol=1e-6)
    unexplained = float(fvu(systems["y"][test], known["y"].decode(codes["y"])[test]))
    assert given[given.system_b == "y"].fvu_b.to_numpy() == pytest.approx(unexplained, abs=1e-6)


def test_one_that_is_never_active_leaves_the_rest():
    systems = small(names="xyz")
    known = {name: trained(x) for name, x in systems.items()}
    silent = SparseAutoencoder(5, 8, JumpReLU(), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        silent.encoder_bias.fill_(-1e6)
    lines = ["latent_to_raw", "linear_selection", "closed_form"]
    table = analysis.latent(systems, dictionaries={**known, "x": silent}, controls=lines, **QUICK).table
    whole = analysis.latent(systems, dictionaries=known, controls=lines, **QUICK).table
    assert len(table) == len(whole)
    assert set(table.split) == {"test"}
    given = table[(table.fit == "given") & table.space.isin(["latent", "reconstruction"])]
    of_it = (given.system_a == "x") | (given.system_b == "x")
    assert given.score[of_it].isna().all()
    assert (given.why[of_it] == "x: the same in all rows").all()
    foretold = table.query("space == 'latent_to_raw' and fit == 'given' and system_a == 'x'")
    assert len(foretold) == 6
    assert foretold.score.isna().all()
    assert (foretold.why == "x: the same in all rows").all()
    key = ["system_a", "system_b", "metric", "space"]
    others = whole[whole.fit == "given"].set_index(key).score[given[~of_it].set_index(key).index]
    np.testing.assert_array_equal(given.score[~of_it], others)


def test_a_system_without_one_is_left_out():
    systems = small(names="xyz")
    known = {name: trained(systems[name]) for name in "xz"}
    given = analysis.latent(systems, dictionaries=known, controls=[], **QUICK).table.query("fit == 'given'")
    assert set(given.system_a) | set(given.system_b) == {"x", "z"}


def test_without_constant_units_the_codes_are_the_same():
    x = small()["x"]
    x = np.insert(x, [1, 4], [3.0, -2.0], axis=1)
    sae = trained(x)
    kept = [0, 2, 3, 4, 6]
    reduced = checked({"x": sae}, {"x": x}, {"x": [1, 5]})["x"]
    np.testing.assert_allclose(reduced.encode(x[:, kept]), sae.encode(x), atol=1e-5)
    np.testing.assert_allclose(reduced.decode(sae.encode(x)), sae.decode(sae.encode(x))[:, kept], atol=1e-5)
    both = {"x": x, "y": small()["y"]}
    table = analysis.latent(both, dictionaries={"x": sae, "y": trained(both["y"])}, controls=[], **QUICK).table
    assert np.isfinite(table.query("fit == 'given'").score).all()


@pytest.mark.parametrize(
    ("name", "sae", "words"),
    [
        ("w", SparseAutoencoder(5, 8, TopK(2)), "a dictionary is given for 'w'; expected one of 'x', 'y'"),
        ("x", SparseAutoencoder(4, 8, TopK(2)), r"the dictionary of x is for 4 units .* expected 5 units"),
        ("x", SparseAutoencoder(5, 8, TopK(2), repeats=(2,)), r"has repeats \(2,\); expected 5 units and no repeats"),
    ],
)
def test_one_that_does_not_fit_is_refused(name, sae, words):
    with pytest.raises(DataError, match=words):
        analysis.latent(small(), dictionaries={name: sae}, **QUICK)


def test_they_are_named_on_a_command_line(tmp_path):
    sae = trained(small()["x"])
    save(sae, tmp_path / "x.safetensors")
    found, record = read_dictionaries([f"x={tmp_path / 'x.safetensors'}"])
    assert torch.equal(found["x"].encoder, sae.encoder)
    assert set(record["x"]) == {"path", "sha256"}
    for wrong in (["x.safetensors"], ["=x.safetensors"], ["x="], [f"x={tmp_path / 'x.safetensors'}"] * 2):
        with pytest.raises(DataError, match=r"expected SYSTEM=PATH, each system once"):
            read_dictionaries(wrong)


def test_one_that_has_no_partner_is_said_to_be_in_no_score():
    systems = small()
    found = analysis.latent(systems, dictionaries={"x": trained(systems["x"])}, controls=[], **QUICK)
    assert found.warnings[0].startswith("x has a dictionary, and no system that it is compared with has one")
    both = {name: trained(x) for name, x in systems.items()}
    assert not any("has a dictionary" in text for text in analysis.latent(systems, dictionaries=both, **QUICK).warnings)


def test_their_latents_are_the_features_of_content_unless_they_are_too_many(monkeypatch):
    x = torch.as_tensor(np.random.default_rng(0).exponential(size=(400, 5)), dtype=torch.float32)
    systems = {"x": x.numpy(), "y": (x @ torch.randn(5, 5, generator=torch.Generator().manual_seed(1))).numpy()}
    known = {"x": trained(systems["x"]), "y": trained(systems["y"], latents=12)}
    how = {"dictionaries": known, "training": {"steps": 5}, "permutations": 0, "controls": []}
    content = analysis.analyse(systems, **how).content
    assert {name: len(of) for name, of in content.found.items()} == {"x": 8, "y": 12}
    expected = content_of(systems, dictionaries=known).features
    pd.testing.assert_frame_equal(content.features, expected)
    monkeypatch.setattr(given, "WIDEST", 8)
    found = analysis.analyse(systems, **how)
    assert {name: of.settings["source"] for name, of in found.content.found.items()} == {"x": "given", "y": "found"}
    assert [text for text in found.warnings if text.startswith("y: content looked for features instead of taking")]
