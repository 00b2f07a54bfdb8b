"""The optional packages that read the formats of others."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from superpose.files import DataError

INSTALL = 'pip install "superpose[recordings]"'


def package(name: str, file: Path) -> Any:
    """Import what reads a file, or raise a DataError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise DataError(f"{file} is read with the package {name}, which is not installed; {INSTALL}.") from None
