"""What a fresh machine needs: how long two commands take there, and how much they install."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from proof import proved

ROOT = Path(__file__).parents[2]
GB = 10**9


def size(folder):
    """Return the bytes on disk of a folder."""
    found = subprocess.run(["du", "-s", "--block-size=1", folder], capture_output=True, text=True, check=True)
    return int(found.stdout.split()[0])


@pytest.mark.slow
@pytest.mark.prove
def test_p12_a_fresh_machine(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    core, checkout = tmp_path / "core", tmp_path / "superpose"
    subprocess.run([sys.executable, "-m", "venv", core], check=True)
    pip = [core / "bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    installed = subprocess.run(
        [*pip, ROOT, "-c", ROOT / "constraints.txt"], capture_output=True, text=True, env=environment
    )
    if installed.returncode:
        pytest.skip(f"packages cannot be installed here: {installed.stderr[-200:]}")
    core_size = size(core)
    start = time.perf_counter()
    subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True)
    made = subprocess.run(
        ["make", "demo", f"PYTHON={sys.executable}"], cwd=checkout, capture_output=True, text=True, env=environment
    )
    seconds = time.perf_counter() - start
    assert made.returncode == 0, made.stderr[-2000:]
    assert (checkout / "demo-results/report.html").exists()
    whole = size(checkout / ".venv")
    proved("P12", seconds, commands=2, core_GB=round(core_size / GB, 2), with_demo_and_tests_GB=round(whole / GB, 2))
    assert core_size <= 1.6 * GB
    assert whole <= 2.4 * GB
    assert seconds <= 360
