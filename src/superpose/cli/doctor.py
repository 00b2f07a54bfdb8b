"""`superpose doctor`: what is installed, what is missing, and the line that installs it."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Annotated

from cyclopts import Parameter

from superpose.cli.show import show_rows

# What users install; the others are for those who develop it.
EXTRAS = ("models", "recordings", "cluster", "demo")


def doctor(*, json: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Show the state of this installation: versions, threads, devices, and the packages that each extra lacks.

    Prints one row per check. For an extra that lacks a package, it shows the command that installs it.

    Parameters
    ----------
    json
        Print the rows as JSON.
    """
    show_rows([{"what": what, "found": found, "to do": remedy} for what, found, remedy in _rows()], as_json=json)


def _rows() -> Iterator[tuple[str, str, str]]:
    """Yield what was looked at, what was found, and what to do about it."""
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    yield "superpose", metadata.version("superpose"), ""
    yield "python", f"{platform.python_version()} ({sys.executable})", ""
    yield "machine", f"{platform.system()} {platform.machine()}, {_cores()} cores, {gigabytes:.0f} GB of memory", ""
    missing = _missing("")
    yield "core packages", _listed("", missing), "pip install --force-reinstall superpose" if missing else ""
    if not missing:
        yield from _of_torch()
    for extra in EXTRAS:
        missing = _missing(extra)
        yield f"extra {extra}", _listed(extra, missing), f'pip install "superpose[{extra}]"' if missing else ""


def _of_torch() -> Iterator[tuple[str, str, str]]:
    import torch

    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    devices = ["cpu", *(f"cuda:{i} ({name})" for i, name in enumerate(cuda))]
    if torch.backends.mps.is_available():
        devices.append("mps")
    yield "devices", ", ".join(devices), ""
    few = torch.get_num_threads() < _cores()
    note = "OMP_NUM_THREADS sets fewer than there are cores" if few and "OMP_NUM_THREADS" in os.environ else ""
    yield "threads", str(torch.get_num_threads()), note


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _needed(extra: str) -> list[str]:
    """Return the packages that an extra asks for, or that everything needs; of those in other extras, theirs too."""
    names = []
    for line in metadata.requires("superpose") or ():
        name = re.match(r"[\w.-]+", line)
        of = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        if name is None or (of[1] if of else "") != extra:
            continue
        inner = re.match(r"superpose\[([\w,-]+)\]", line)
        names += [one for part in inner[1].split(",") for one in _needed(part)] if inner else [name[0]]
    return names


def _missing(extra: str) -> list[str]:
    return [name for name in _needed(extra) if not _version(name)]


def _listed(extra: str, missing: list[str]) -> str:
    if missing:
        return f"missing: {', '.join(missing)}"
    return ", ".join(f"{name} {_version(name)}" for name in _needed(extra))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
