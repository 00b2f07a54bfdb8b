"""How numbers came about: versions, threads, kernel sets and the machine."""

from __future__ import annotations

import os
import platform
import socket
import sys
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

PACKAGES = ("superpose", "numpy", "scipy", "torch", "pandas", "transformers", "onnxruntime")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the numbers depend on.

    Examples
    --------
    >>> from superpose.running.provenance import versions
    >>> sorted({"numpy", "python"} & set(versions()))
    ['numpy', 'python']
    """
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def threads() -> dict[str, Any]:
    """Return the thread count and kernel set of each mathematics library that this process has loaded.

    Examples
    --------
    >>> from superpose.running.provenance import threads
    >>> all(library["threads"] >= 1 for library in threads().values())
    True
    """
    from threadpoolctl import threadpool_info

    found = {
        f"{pool['internal_api']} {pool.get('version') or ''}".strip(): {
            "threads": pool["num_threads"],
            "kernels": pool.get("architecture", ""),
        }
        for pool in threadpool_info()
    }
    if torch := sys.modules.get("torch"):
        found["torch"] = {"threads": torch.get_num_threads(), "kernels": torch.backends.cpu.get_cpu_capability()}
    return found


def process() -> dict[str, Any]:
    """Return what this process is, as far as its numbers may depend on it, and where and when it ran.

    Examples
    --------
    >>> from superpose.running.provenance import process
    >>> sorted(process())
    ['date', 'host', 'machine', 'process', 'threads', 'versions']
    """
    return {
        "host": socket.gethostname(),
        "machine": f"{platform.system()} {platform.machine()}",
        "process": os.getpid(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "threads": threads(),
    }
