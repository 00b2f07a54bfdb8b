"""What every benchmark says about the machine, and how it keeps the BLAS honest."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

# Kernels forced by these two are slower than the processor allows, and would flatter every ratio.
FORCED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def clean_environment(script: Path) -> None:
    """Start the script again on one thread and with the kernels that the processor allows, unless it is so already."""
    wanted = {key: value for key, value in os.environ.items() if key not in FORCED} | ONE_THREAD
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, str(script), *sys.argv[1:]], wanted)


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def kernels() -> list[str]:
    """Return the kernel set of each BLAS that is loaded."""
    from threadpoolctl import threadpool_info

    return sorted({f"{pool['internal_api']} {pool.get('architecture', '')}".strip() for pool in threadpool_info()})
