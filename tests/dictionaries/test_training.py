"""Training: repeatable, the same batched or alone, and good enough on problems whose answer is known."""

from __future__ import annotations

import functools
import itertools
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from superpose.dictionaries.diagnostics import dead_share, fvu, mcc, same_index_share
from superpose.dictionaries.losses import joint, reconstruction, supervised
from superpose.dictionaries.sae import SparseAutoencoder
from superpose.dictionaries.sparsity import TopK
from superpose.dictionaries.training import fit, minibatch, normal_
from superpose.files import DataError
from superpose.metrics import regression
from superpose.numerics.products import ROUTES, taking
from superpose.systems import sparse_latents

LATENTS, ACTIVE = 64, 4


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def _latents(samples, active=ACTIVE, latents=LATENTS, seed=0):
    """The largest of uniform [0, 1] values, zero elsewhere."""
    z = torch.rand(samples, latents, generator=_generator(seed))
    kept = z.topk(active, dim=-1)
    return torch.zeros_like(z).scatter(-1, kept.indices, kept.values)


def _held_out_r(x, y):
    """The pooled correlation of least-squares predictions of y from x: the first half fits, the second scores."""
    half = len(x) // 2
    (x_fit, x_test), (y_fit, y_test) = ((a[:half] - a[:half].mean(0), a[half:] - a[:half].mean(0)) for a in (x, y))
    predicted = x_test @ np.linalg.lstsq(x_fit, y_fit, rcond=None)[0]
    predicted, y_test = predicted - predicted.mean(0), y_test - y_test.mean(0)
    return (predicted * y_test).sum() / np.sqrt((predicted**2).sum() * (y_test**2).sum())


def _cka(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    return np.square(x.T @ y).sum() / np.sqrt(np.square(x.T @ x).sum() * np.square(y.T @ y).sum())


def _x(samples=400, units=8, latents=16, seed=0):
    z = _latents(samples, 3, latents, seed)
    return z @ torch.randn(latents, units, generator=_generator(100))


def _sae(units=8, latents=16, repeats=(), seed=0, gradient="mask"):
    return SparseAutoencoder(units, latents, TopK(3, gradient), repeats=repeats, generator=_generator(seed))


def _state(module):
    return torch.cat([value.double().flatten() for value in module.state_dict().values()])


SETTINGS = [
    (reconstruction, lambda: [_x()], lambda: _sae()),
    (supervised, lambda: [_latents(400, 3, 16)], lambda: _sae()),
    (
        functools.partial(joint, mode="cross"),
        lambda: [_x(), _x(units=6)],
        lambda: torch.nn.ModuleList([_sae(), _sae(6, seed=1)]),
    ),
]


@pytest.mark.parametrize(("loss", "data", "module"), SETTINGS)
def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(loss, data, module):
    runs = [_state(fit(module(), loss, *data(), steps=60, batch=64, seed=seed)) for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_rows_are_a_function_of_seed_and_step():
    first = [minibatch(0, step, 1000, 8) for step in range(5)]
    _ = np.random.default_rng(0).random(7), torch.rand(3)
    assert all((minibatch(0, step, 1000, 8) == rows).all() for step, rows in reversed(list(enumerate(first))))
    assert len({tuple(rows) for rows in first}) == 5
    np.testing.assert_array_equal(minibatch(3, 2, 5, 8), np.arange(5))
    # uniform: 400 x 50 draws over 10 rows, 2000 expected each, sd 42
    counts = np.bincount(np.concatenate([minibatch(1, t, 10, 5) for t in range(4000)]), minlength=10)
    assert np.abs(counts - 2000).max() < 5 * 42.5


def test_global_random_state_is_left_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    fit(_sae(), reconstruction, _x(), steps=3)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


@pytest.mark.parametrize("gradient", ["mask", "straight_through"])
@pytest.mark.parametrize("loss", [reconstruction, supervised])
def test_a_batched_run_is_the_single_runs(loss, gradient):
    """After hundreds of steps: no code has flipped, and rounding has not grown."""
    data = torch.stack([_x(seed=r) if loss is reconstruction else _latents(400, 3, 16, seed=r) for r in range(3)])
    batched = _sae(repeats=(3,), gradient=gradient)
    singles = [_sae(gradient=gradient) for _ in range(3)]
    for r, single in enumerate(singles):
        single.load_state_dict({key: value[r] for key, value in batched.state_dict().items()})
    fit(batched, loss, data, steps=200, batch=64)
    for r, single in enumerate(singles):
        fit(single, loss, data[r], steps=200, batch=64)
        for key, value in single.state_dict().items():
            largest = value.abs().max().item()
            torch.testing.assert_close(batched.state_dict()[key][r], value, rtol=0, atol=1e-6 * largest)


def test_joint_batched_is_the_single_runs():
    xs = [torch.stack([_x(units=units, seed=r) for r in range(2)]) for units in (8, 6)]
    batched = torch.nn.ModuleList([_sae(8, repeats=(2,)), _sae(6, repeats=(2,), seed=1)])
    singles = []
    for r in range(2):
        single = torch.nn.ModuleList([_sae(8), _sae(6)])
        single.load_state_dict({key: value[r] for key, value in batched.state_dict().items()})
        singles.append(fit(single, joint, *(x[r] for x in xs), steps=40, batch=64))
    fit(batched, joint, *xs, steps=40, batch=64)
    for r, single in enumerate(singles):
        for key, value in single.state_dict().items():
            torch.testing.assert_close(batched.state_dict()[key][r], value, rtol=0, atol=2e-6)


def test_arrays_tensors_and_memory_maps_train_alike(tmp_path):
    x = _x()
    np.save(tmp_path / "x.npy", x.numpy())
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    states = [_state(fit(_sae(), reconstruction, data, steps=20)) for data in (x, x.numpy(), mapped, x.double())]
    for state in states[1:3]:
        assert torch.equal(state, states[0])
    torch.testing.assert_close(states[3], states[0], rtol=0, atol=1e-3)


def test_centre_and_scale_come_from_all_rows_and_supervised_leaves_them():
    x = 3 * _x() + torch.arange(8.0)
    sae = fit(_sae(), reconstruction, x, steps=1)
    torch.testing.assert_close(sae.centre, x.mean(0))
    torch.testing.assert_close(sae.scale, (x - x.mean(0)).square().mean().sqrt())
    assert sae.standardise(x).square().mean().item() == pytest.approx(1, abs=1e-5)
    free = fit(_sae(), supervised, _latents(400, 3, 16), steps=5)
    assert torch.equal(free.centre, torch.zeros(8))
    assert torch.equal(free.scale, torch.ones(()))
    assert (free.dictionary.norm(dim=-1) - 1).abs().max() > 1e-3


def test_shift_and_scale_of_the_activity_do_not_matter():
    x = _x().double()
    plain = fit(_sae(), reconstruction, x, steps=30)
    moved = fit(_sae(), reconstruction, 50 * x + 20, steps=30)
    torch.testing.assert_close(moved.dictionary, plain.dictionary, rtol=0, atol=1e-3)
    torch.testing.assert_close(moved.decode(moved.encode(50 * x + 20)), 50 * plain.decode(plain.encode(x)) + 20,
                               rtol=0, atol=1.0)  # fmt: skip


def test_dictionaries_of_activity_keep_unit_norm():
    saes = fit(torch.nn.ModuleList([_sae(), _sae(6)]), joint, _x(), _x(units=6), steps=10)
    for sae in saes:
        torch.testing.assert_close(sae.dictionary.norm(dim=-1), torch.ones(16))


def test_rows_since_a_latent_was_active_are_counted():
    sae, x = _sae(), _x()
    with torch.no_grad():
        sae.encoder_bias[5] = -1e3
    fit(sae, reconstruction, x, steps=7, batch=64)
    assert sae.steps_since_active[5] == 7 * 64
    assert (sae.steps_since_active == 0).sum() > 8
    assert not sae._forward_hooks
    before = sae.steps_since_active.clone()
    sae.encode(x)
    assert torch.equal(sae.steps_since_active, before)


def test_auxiliary_revives_dead_latents():
    x = _x(4000)

    def dead_after(weight):
        sae = _sae()
        with torch.no_grad():
            sae.encoder_bias[:6] = -2.0
        loss = functools.partial(reconstruction, auxiliary_weight=weight)
        fit(sae, loss, x, steps=600, batch=256, learning_rate=1e-2)
        return dead_share(sae.encode(x.numpy()))

    assert dead_after(0.0) >= 4 / 16
    assert dead_after(1 / 32) <= 1 / 16


def test_progress_sees_every_step():
    seen = []
    fit(_sae(repeats=(2,)), reconstruction, _x(), steps=5, progress=lambda step, loss: seen.append((step, loss)))
    assert [step for step, _ in seen] == [1, 2, 3, 4, 5]
    assert all(loss.shape == (2,) and not loss.requires_grad for _, loss in seen)


def test_any_loss_and_any_module_that_holds_dictionaries():
    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = _sae()

    def loss(module, x):
        return reconstruction(module.inner, x) + 0.01 * module.inner.encoder.square().mean((-2, -1))

    module = Wrapped()
    before = loss(module, _x()).item()
    assert fit(module, loss, _x(), steps=50) is module
    assert loss(module, _x()).item() < 0.8 * before
    assert module.inner.scale == 1


class _Stop(Exception):
    pass


def _stop_after(steps):
    """Return a progress that stops its call after so many steps of that call."""
    count = itertools.count(1)

    def progress(step, loss):
        if next(count) == steps:
            raise _Stop

    return progress


def _until_done(train, steps_a_call):
    """Call `train(progress)` until it is through; return what it returned and how often it was stopped."""
    for stops in range(1000):
        try:
            return train(_stop_after(steps_a_call)), stops
        except _Stop:
            pass
    raise AssertionError("it never got through")


RESUMED = {
    "default": {},
    "held out": {"held_out": True, "patience": 2},
    "paper": {"preset": "paper", "batch": 64},
    "whole": {"batch": math.inf},
}


@pytest.mark.parametrize("settings", RESUMED.values(), ids=RESUMED)
@pytest.mark.parametrize(("loss", "data", "module"), SETTINGS, ids=["reconstruction", "supervised", "joint"])
def test_training_that_is_stopped_at_any_step_ends_in_the_same_bits(loss, data, module, settings, tmp_path):
    settings = {"steps": 24, "batch": 64, "seed": 3, "every": 3} | settings
    if settings.get("held_out"):
        settings["held_out"] = [x[:100] + 0.1 for x in data()]
    losses = []
    straight = _state(fit(module(), loss, *data(), progress=lambda step, value: losses.append(value), **settings))
    path = tmp_path / "run.safetensors"
    for steps_a_call in (4, 7):
        path.unlink(missing_ok=True)
        resumed, stops = _until_done(
            lambda progress: fit(module(), loss, *data(), checkpoint=path, progress=progress, **settings), steps_a_call
        )
        assert stops >= len(losses) / steps_a_call - 1
        assert torch.equal(_state(resumed), straight)


@pytest.mark.parametrize("gradient", ["mask", "straight_through"])
def test_repeats_resume_and_a_finished_checkpoint_returns_at_once(gradient, tmp_path):
    def train(progress=None):
        sae = _sae(repeats=(2, 2), gradient=gradient)
        return fit(sae, reconstruction, _x(), steps=30, checkpoint=tmp_path / "run", every=7, progress=progress)

    whole = fit(_sae(repeats=(2, 2), gradient=gradient), reconstruction, _x(), steps=30)
    resumed, stops = _until_done(train, 8)
    assert stops == 4
    assert torch.equal(_state(resumed), _state(whole))
    written = (tmp_path / "run").stat().st_mtime_ns
    assert torch.equal(_state(train(_stop_after(1))), _state(whole))
    assert (tmp_path / "run").stat().st_mtime_ns == written
    assert not resumed._forward_hooks


@pytest.mark.parametrize("begun", ROUTES)
def test_training_goes_on_by_the_product_that_it_began_with(begun, tmp_path):
    def train(**settings):
        return fit(_sae(), reconstruction, _x(), steps=30, every=7, **settings)

    with taking(begun):
        straight = _state(train())
        with pytest.raises(_Stop):
            train(checkpoint=tmp_path / "run", progress=_stop_after(8))
    for now in ROUTES:
        with taking(now):
            assert torch.equal(_state(train(checkpoint=tmp_path / "run")), straight)


def test_a_checkpoint_of_another_call_is_refused(tmp_path):
    def train(loss=reconstruction, x=None, sae=None, **settings):
        settings = {"steps": 2, "checkpoint": tmp_path / "run"} | settings
        fit(sae or _sae(), loss, _x() if x is None else x, **settings)

    def refused(words, **changed):
        with pytest.raises(DataError, match=f"checkpoint of other settings: {words}"):
            train(**changed)

    train()
    train(every=1, patience=9, batch=512, progress=lambda step, loss: None)
    refused("steps was 2, now 3", steps=3)
    refused("batch was 512, now 64", batch=64)
    refused("learning_rate was 0.005, now 0.01", learning_rate=0.01)
    refused("warmup was 0.05, now 0.5", warmup=0.5)
    refused("seed was 0, now 1", seed=1)
    refused("batch was 512, now inf; .*preset was default, now paper; warmup was 0.05, now 0.0", preset="paper")
    refused(
        r"loss was reconstruction, now reconstruction\(auxiliary_weight=0\)",
        loss=functools.partial(reconstruction, auxiliary_weight=0),
    )
    refused(r"data 0 was \(400, 8\) float32 .*, now \(300, 8\) float32", x=_x(300))
    refused(r"data 0 was \(400, 8\) float32 .*, now \(400, 8\) float32", x=_x(seed=1))
    refused(r".*; dictionary was \(16, 8\) torch.float32, now \(2, 16, 8\)", sae=_sae(repeats=(2,)))
    refused("sparsity 0 was .*mask.*, now .*straight_through", sae=_sae(gradient="straight_through"))
    refused("every was absent, now 200; held_out 0 was absent, now .*; patience was absent, now 3", held_out=[_x()])
    with pytest.raises(DataError, match=r"the folder of the checkpoint .* does not exist"):
        train(checkpoint=tmp_path / "no" / "run")


def test_diverged_training_leaves_no_checkpoint(tmp_path):
    for path in (tmp_path / "a", tmp_path / "b"):
        with pytest.raises(DataError, match="the loss diverged within 2 steps"):
            fit(_sae(), lambda sae, x: reconstruction(sae, x) * torch.inf, _x(), steps=9, every=2, checkpoint=path)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys, superpose.numerics.products
superpose.numerics.products.route = lambda: "torch"
sys.path.insert(0, sys.argv[1])
from test_training import killed
killed(sys.argv[2], progress=lambda step, loss: print(step, flush=True))
"""


def killed(path, **settings):
    """The training of the test below, here and in processes that it kills."""
    return fit(_sae(), reconstruction, _x(), steps=300, batch=64, every=4, checkpoint=path, **settings)


@pytest.mark.slow
def test_training_that_is_killed_ends_in_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr("superpose.numerics.products.route", lambda: "torch")
    draw, path = np.random.default_rng(0), tmp_path / "run.safetensors"
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(path)]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    for last in np.sort(draw.integers(10, 250, 4)):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            for line in process.stdout:
                if int(line) >= last:
                    break
            time.sleep(draw.uniform(0, 0.05))
            process.kill()
        assert process.returncode == -9
    left = []
    resumed = killed(path, progress=lambda step, loss: left.append(step))
    assert last - 3 <= left[0] < 300
    assert torch.equal(_state(resumed), _state(killed(None)))


def _constant(sae, x):
    return reconstruction(sae, x) * 0 + 1


@pytest.mark.parametrize(("preset", "end"), [("default", 15 + 20), ("paper", 15)])
def test_a_plateau_of_the_held_out_loss_starts_the_fall_of_the_rate(preset, end):
    """Evaluations at steps 5, 10 and 15 see no gain after the first; a fifth of 100 steps is left."""
    seen = []
    settings = {"steps": 100, "every": 5, "patience": 2, "held_out": [_x(50, seed=1)], "preset": preset}
    fit(_sae(), _constant, _x(), progress=lambda step, loss: seen.append(step), **settings)
    assert seen == list(range(1, end + 1))


def test_training_waits_for_every_repeat_and_never_longer_than_its_steps():
    evaluations = itertools.count(1)

    def loss(sae, x):
        value = reconstruction(sae, x) * 0 + 1
        return value if torch.is_grad_enabled() else value / torch.tensor([1.0, min(4, next(evaluations))])

    def steps_done(loss, **settings):
        seen = []
        settings = {"steps": 100, "every": 5, "patience": 2, "held_out": [_x(50, seed=1)], **settings}
        fit(_sae(repeats=(2,)), loss, _x(), progress=lambda step, value: seen.append(step), **settings)
        return seen[-1]

    assert steps_done(_constant) == 15 + 20
    assert steps_done(loss) == 30 + 20  # its second repeat gains until the fourth evaluation
    assert steps_done(_constant, patience=1000) == 100


def test_evaluations_change_neither_the_training_nor_what_it_counts():
    x, other = _x(), [_x(90, seed=1)]
    settings = {"steps": 60, "batch": 32, "held_out": other, "patience": 1000}
    often, never = _sae(), _sae()
    for sae, every in ((often, 1), (never, 1000)):
        with torch.no_grad():
            sae.encoder_bias[5] = -1e3
        fit(sae, reconstruction, x, every=every, **settings)
    assert torch.equal(_state(often), _state(never))
    assert often.steps_since_active[5] == 60 * 32


def test_the_held_out_loss_is_that_of_all_rows_whatever_the_minibatch():
    """Gains of 0.2 % an evaluation pass, of 0.05 % do not; each is a mean over pieces of unequal size."""
    x, unseen = _x(), torch.arange(50.0)[:, None].expand(50, 8)

    def steps_done(gain, batch):
        evaluated, seen = [], []

        def loss(sae, rows):
            if torch.is_grad_enabled():
                return reconstruction(sae, rows)
            evaluated.append(len(rows))
            return rows.mean() * (1 - gain) ** (sum(evaluated) // 50)

        fit(_sae(), loss, x, steps=100, every=5, patience=1, batch=batch, held_out=[unseen],
            progress=lambda step, value: seen.append(step))  # fmt: skip
        assert max(evaluated) <= batch
        return seen[-1]

    assert steps_done(0.0005, 64) == 10 + 20
    assert steps_done(0.002, 64) == 100
    assert steps_done(0.0, 16) == 10 + 20


def test_the_paper_s_recipe_is_adam_at_one_rate_on_every_row():
    """Against a loop written out: no centring, no unit norm, no auxiliary loss, no decoder bias."""
    sae, written = (normal_(_sae(gradient="straight_through"), generator=_generator(1)) for _ in range(2))
    x = _x() + 3
    optimizer = torch.optim.Adam([written.encoder, written.encoder_bias, written.dictionary], lr=1e-3, eps=1e-10)
    for _ in range(30):
        pre = x @ written.encoder.mT + written.encoder_bias
        kept = pre.topk(3)
        codes = torch.zeros_like(pre).scatter(-1, kept.indices, kept.values.relu())
        error = (x - (pre + (codes - pre).detach()) @ written.dictionary).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    sae.steps_since_active += 10**6
    fit(sae, reconstruction, x, steps=30, preset="paper")
    for name in ("encoder", "encoder_bias", "dictionary"):
        torch.testing.assert_close(getattr(sae, name), getattr(written, name), rtol=1e-4, atol=1e-5)
    for kept in (sae.decoder_bias, sae.centre):
        assert not kept.any()
    assert sae.scale == 1
    fit(sae, supervised, _latents(400, 3, 16), steps=3, preset="paper")
    assert not sae.decoder_bias.any()


def test_normal_draws_every_entry_of_each_repeat_independently():
    one, many = (
        normal_(SparseAutoencoder(24, 64, TopK(3), repeats=repeats), generator=_generator(0)) for repeats in ((), (3,))
    )
    for name in ("encoder", "dictionary", "encoder_bias"):
        drawn = getattr(many, name).detach()
        assert torch.equal(drawn[0], getattr(one, name))
        assert abs(drawn.mean()) < 5 / math.sqrt(drawn.numel())
        assert abs(drawn.square().mean() - 1) < 5 * math.sqrt(2 / drawn.numel())
    assert abs((many.encoder * many.dictionary).mean()) < 5 / math.sqrt(many.encoder.numel())
    pair = normal_(torch.nn.ModuleList([_sae(), _sae()]), generator=_generator(0))
    assert not torch.equal(pair[0].encoder, pair[1].encoder)


def test_wrong_input():
    x = _x()
    cases = [
        (lambda: fit(torch.nn.Linear(2, 2), reconstruction, x, steps=1), "holds no SparseAutoencoder; pass one"),
        (lambda: fit(_sae(), reconstruction, steps=1), "no data to train on; pass one array per system"),
        (lambda: fit(_sae(), reconstruction, x, steps=0), "steps is 0; expected a positive integer"),
        (lambda: fit(_sae(), reconstruction, x, steps=1, batch=0.5), "batch is 0.5; expected a positive integer"),
        (
            lambda: fit(_sae(), reconstruction, x, steps=1, preset="best"),
            "preset is 'best'; expected one of 'default', 'paper'",
        ),
        (lambda: fit(_sae(), reconstruction, x, steps=1, every=0), "every is 0; expected a positive integer"),
        (lambda: fit(_sae(), reconstruction, x, steps=1, patience=0), "patience is 0; expected a positive integer"),
        (
            lambda: fit(_sae(), reconstruction, x, steps=1, held_out=[x[:, :5]]),
            r"held_out has shapes \[\(400, 5\)\] and the data \[\(400, 8\)\]; expected a sequence of one array",
        ),
        (
            lambda: fit(_sae(), reconstruction, x, steps=1, held_out=[x, x]),
            "held_out has shapes .* expected a sequence",
        ),
        (lambda: fit(_sae(), reconstruction, x, steps=1, held_out=[x * torch.nan]), "held_out 0 has .* NaN"),
        (
            lambda: fit(_sae(), reconstruction, x[:, :5], steps=1, preset="paper"),
            "data 0 has 5 units; its dictionary expects 8",
        ),
        (
            lambda: fit(_sae(), reconstruction, x, steps=1, learning_rate=0),
            "learning_rate is 0; expected a positive number",
        ),
        (lambda: fit(_sae(), reconstruction, x, steps=1, warmup=2), "warmup is 2; expected a share of the steps"),
        (lambda: fit(_sae(), reconstruction, x, x, steps=1), "1 dictionaries and 2 systems; expected one"),
        (lambda: fit(_sae(), reconstruction, x[:, :5], steps=1), "data 0 has 5 units; its dictionary expects 8"),
        (
            lambda: fit(_sae(), reconstruction, torch.full((50, 8), 0.1), steps=1),
            "all units of data 0 are constant; there is nothing to train on",
        ),
        (lambda: fit(_sae(), reconstruction, x * torch.nan, steps=1), "data 0 has .* NaN or infinite value"),
        (
            lambda: fit(torch.nn.ModuleList([_sae(), _sae()]), joint, x, x[:50], steps=1),
            "data 0 has 400 samples and data 1 has 50",
        ),
        (
            lambda: fit(_sae(), lambda sae, x: reconstruction(sae, x) * torch.inf, x, steps=1),
            "the loss diverged within 1 steps; lower learning_rate",
        ),
    ]
    for call, words in cases:
        with pytest.raises(DataError, match=words):
            call()


def test_planted_latents_are_found():
    """The masked gradient, 1000 steps: a small version of the slow tests below."""
    z, test = _latents(5000, 2, 24), _latents(1000, 2, 24, seed=1)
    a = torch.randn(20, 24, generator=_generator(3))
    sae = SparseAutoencoder(20, 24, TopK(2), generator=_generator(2))
    fit(sae, reconstruction, z @ a.mT, steps=1000, batch=256, learning_rate=1e-2)
    codes = sae.encode((test @ a.mT).numpy())
    assert mcc(codes, test.numpy()) > 0.7
    assert fvu((test @ a.mT).numpy(), sae.decode(codes)) < 0.15


@pytest.mark.slow
def test_supervised_dictionaries_agree_on_held_out_latents():
    """Eq. (7) at 32 units, 64 latents, 4 active: raw r near sqrt(m / n), latent r near 1.

    Also what the theory needs: with the latents' covariance S the Gram cosine of the learned projections is the
    measured CKA; without it, it is not, as the direction in which all latents agree has almost no variance.
    """
    z, test = _latents(60_000), _latents(4000, seed=1)
    sae = SparseAutoencoder(32, LATENTS, TopK(ACTIVE), repeats=(2,), generator=_generator(2))
    fit(sae, supervised, z, steps=3000, batch=256, learning_rate=1e-2)
    units = sae.decode(test).detach().double().numpy()
    codes = sae.encode(sae.decode(test)).detach().double().numpy()
    raw, latent = _held_out_r(*units), _held_out_r(*codes)
    assert abs(raw - np.sqrt(32 / LATENTS)) < 0.1
    assert latent >= 0.96
    assert _cka(*codes) >= 0.92

    train_codes = sae.encode(sae.decode(z[:4000])).detach().double().numpy()
    assert abs(_held_out_r(*train_codes) - latent) < 0.02

    a, b = sae.dictionary.detach().double().mT.numpy()
    covariance = np.cov(test.double().numpy(), rowvar=False)

    def gram_cosine(s):
        ab, aa, bb = a @ s @ b.T, a @ s @ a.T, b @ s @ b.T
        return np.square(ab).sum() / np.sqrt(np.square(aa).sum() * np.square(bb).sum())

    measured = _cka(*units)
    assert abs(gram_cosine(covariance) - measured) < 0.003


@pytest.mark.slow
def test_the_white_theory_misses_a_learned_projection_that_the_covariance_explains():
    """Straight-through, 24 units: the learned projections share a large component along the mean direction."""
    z, test = _latents(60_000), _latents(4000, seed=1).double().numpy()
    sae = SparseAutoencoder(24, LATENTS, TopK(ACTIVE, "straight_through"), repeats=(2,), generator=_generator(2))
    fit(sae, supervised, z, steps=2000, batch=256, learning_rate=1e-2)
    a, b = sae.dictionary.detach().double().mT.numpy()

    def gram_cosine(s):
        ab, aa, bb = a @ s @ b.T, a @ s @ a.T, b @ s @ b.T
        return np.square(ab).sum() / np.sqrt(np.square(aa).sum() * np.square(bb).sum())

    measured = _cka(test @ a.T, test @ b.T)
    assert abs(gram_cosine(np.cov(test, rowvar=False)) - measured) < 0.003
    assert abs(gram_cosine(np.eye(LATENTS)) - measured) > 0.3


@pytest.mark.slow
def test_unsupervised_dictionaries_agree_more_than_the_units_do():
    """Eq. (8) on two random projections of the same latents, 32 units for 64 latents."""
    z, test = _latents(20_000), _latents(4000, seed=1)
    a = torch.randn(2, 32, LATENTS, generator=_generator(3))
    sae = SparseAutoencoder(32, LATENTS, TopK(ACTIVE), repeats=(2,), generator=_generator(2))
    fit(sae, reconstruction, z @ a.mT, steps=3000, batch=256, learning_rate=1e-2)
    units = (test @ a.mT).numpy()
    codes = sae.encode(units)
    raw, latent = _held_out_r(*units), _held_out_r(*codes)
    assert latent >= 0.82
    assert latent - raw >= 0.08
    assert mcc(codes[0], test.numpy()) >= 0.85
    assert (dead_share(codes) <= 0.1).all()
    assert (fvu(units, sae.decode(codes)) < 0.12).all()


@pytest.mark.slow
def test_joint_training_binds_shared_latents_to_one_index():
    """Eq. (9) on systems that share half of their latents: cross terms bind indices, and what each mode costs."""
    own, shared, units = 64, 32, 24
    union = 2 * own - shared
    z, test = _latents(60_000, 3, union), _latents(4000, 3, union, seed=1)
    columns = slice(0, own), slice(own - shared, union)
    projections = [torch.randn(units, own, generator=_generator(10 + s)) for s in range(2)]
    xs, tests = ([rows[:, c] @ a.mT for c, a in zip(columns, projections, strict=True)] for rows in (z, test))

    def scores(mode):
        saes = torch.nn.ModuleList(
            SparseAutoencoder(units, own, TopK(3), generator=_generator(20 + s)) for s in range(2)
        )
        loss = functools.partial(joint, mode=mode, auxiliary_weight=0.0)
        fit(saes, loss, *xs, steps=1500, batch=256, learning_rate=1e-2)
        codes = [sae.encode(x.numpy()) for sae, x in zip(saes, tests, strict=True)]
        return {
            "latent": _held_out_r(*codes),
            "same": same_index_share(*codes),
            "fvu": np.mean([fvu(x.numpy(), s.decode(c)) for x, s, c in zip(tests, saes, codes, strict=True)]),
            "mcc": np.mean([mcc(c, test[:, k].numpy()) for c, k in zip(codes, columns, strict=True)]),
        }

    separate, cross, detached = map(scores, ("separate", "cross", "detached"))
    assert separate["same"] < 0.2
    assert cross["same"] > 0.5
    assert detached["same"] > 0.8
    assert min(cross["latent"], detached["latent"]) > separate["latent"] + 0.05
    assert separate["mcc"] > detached["mcc"] > cross["mcc"] + 0.05
    assert separate["fvu"] < detached["fvu"] < cross["fvu"]


@pytest.mark.prove
@pytest.mark.slow
def test_the_paper_s_recipe_trains_slowly_where_the_default_is_nearly_done():
    """Appendix E in minibatches, 5000 steps, 24 units: two seeds' held-out latents, against the default's 2000."""
    z, test = (sparse_latents(samples, LATENTS, ACTIVE, generator=_generator(samples)) for samples in (30_000, 4000))

    def latent_r(sae, **settings):
        fit(sae, supervised, z, **settings)
        codes = sae.encode(sae.decode(test)).detach().double().numpy()
        return np.mean([regression(codes[a], codes[1 - a], cv=2) for a in (0, 1)])

    def dictionaries(gradient):
        return SparseAutoencoder(24, LATENTS, TopK(ACTIVE, gradient), repeats=(2,), generator=_generator(2))

    started = normal_(dictionaries("straight_through"), generator=_generator(3))
    literal = latent_r(started, preset="paper", steps=5000, batch=128)
    default = latent_r(dictionaries("mask"), steps=2000, batch=256, learning_rate=1e-2)
    assert 0.3 < literal < 0.75
    assert default > 0.88


def test_weight_decay_shrinks_what_no_gradient_holds():
    """AdamW: each step multiplies every parameter by 1 - rate · decay besides Adam's own step."""
    x = _latents(64)
    sae = normal_(SparseAutoencoder(LATENTS, 32, TopK(1), generator=_generator(0)), generator=_generator(1))
    with torch.no_grad():
        sae.encoder_bias[0] = -1e6  # a latent that is never active, and so has no gradient
        before = sae.encoder[0].clone()
    common = {"preset": "paper", "learning_rate": 0.01, "steps": 10}
    fit(sae, functools.partial(reconstruction, auxiliary_weight=0.0), x, weight_decay=0.1, **common)
    torch.testing.assert_close(sae.encoder[0].detach(), before * (1 - 0.01 * 0.1) ** 10)
    with pytest.raises(DataError, match="weight_decay is -1; expected a number of at least 0"):
        fit(sae, reconstruction, x, steps=1, weight_decay=-1)
