"""A script in a process of its own, which can watch what it holds as the benchmarks do."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def told(script, *arguments):
    """Return the JSON that a script prints; its `from machine import memory_watched` is that of the benchmarks."""
    line = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=BENCHMARKS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
