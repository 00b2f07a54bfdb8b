"""Modules under their names of one version ago, which still import and warn."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGE = "superpose"
MOVED = {
    "checkpoints": "dictionaries.checkpoints",
    "clusters": "running.clusters",
    "coding": "dictionaries.coding",
    "contrasts": "comparison.contrasts",
    "corpora": "examples.corpora",
    "demo": "examples.demo",
    "diagnostics": "dictionaries.diagnostics",
    "differences": "report.differences",
    "digests": "dictionaries.digests",
    "encoders": "examples.encoders",
    "engines": "running.engines",
    "formats": "dictionaries.formats",
    "headers": "recordings.headers",
    "losses": "dictionaries.losses",
    "permutations": "statistics.permutations",
    "plans": "studies.plans",
    "plots": "report.plots",
    "products": "numerics.products",
    "progress": "running.progress",
    "provenance": "running.provenance",
    "results": "studies.results",
    "sae": "dictionaries.sae",
    "sparsity": "dictionaries.sparsity",
    "study": "studies.study",
    "sweeps": "studies.sweeps",
    "training": "dictionaries.training",
    "wide": "moments.wide",
}


class Moves(MetaPathFinder, Loader):
    """Finds a module under its old name, and hands on the one that stands in its new place."""

    def __init__(self, moved: Mapping[str, str]) -> None:
        self.moved = {f"{PACKAGE}.{old}": f"{PACKAGE}.{new}" for old, new in moved.items()}

    def place(self, name: str) -> str | None:
        """Return the full name of where a module stands now; None for one that never moved."""
        for old, new in self.moved.items():
            if name == old or name.startswith(f"{old}."):
                return new + name.removeprefix(old)
        return None

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a specification for an old name, and warn; None for any other."""
        place = self.place(name)
        if place is None:
            return None
        warnings.warn(
            f"{name} is now {place}; the next version will not have the old name.", FutureWarning, stacklevel=2
        )
        return ModuleSpec(name, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module that stands in the new place."""
        module = import_module(str(self.place(spec.name)))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own specification back: it has run in its new place."""
        spec = module.__spec__
        module.__spec__ = spec.loader_state if spec else None


def install() -> None:
    """Let old names be found, first: a moved package would load its modules a second time, under their old names."""
    sys.meta_path.insert(0, Moves(MOVED))
