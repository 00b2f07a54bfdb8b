"""Settings and data that the tests share."""

import os
import signal

# A shell starts background jobs with SIGINT ignored, and children inherit that: interruptions are tested as in front.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from jaxtyping import config, install_import_hook

# Shapes are checked here and nowhere else: users' arrays meet errors in words instead.
install_import_hook(["superpose.moments", "superpose.dictionaries.losses"], "beartype.beartype")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "superpose",
    derandomize=True,
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("superpose")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Keep what is computed once out of the user's own cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERPOSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def as_installed(monkeypatch):
    """Leave shapes unchecked, as users have it: for tests that call the same few functions thousands of times."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def frozen():
    """Two systems of 200 samples, 12 and 20 units, from streams that every NumPy version reproduces."""
    stream = np.random.RandomState
    latents = stream(0).randn(200, 30)
    x = latents @ stream(1).randn(30, 12) + 0.5
    y = latents @ stream(2).randn(30, 20) + stream(3).randn(200, 20)
    return x, y


@pytest.fixture
def pair():
    """Two small related systems, 60 samples of 7 and 5 units, with offsets."""
    return related(60, 7, 5, seed=0)


def related(samples, units_x, units_y, *, seed, latents=10, repeats=(), noise=0.5):
    draw = np.random.default_rng(seed)
    z = draw.normal(size=(*repeats, samples, latents))
    x = z @ draw.normal(size=(*repeats, latents, units_x)) + 2.0
    y = z @ draw.normal(size=(*repeats, latents, units_y)) - 1.0
    return x, y + noise * draw.normal(size=y.shape)
