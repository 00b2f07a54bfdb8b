"""What a folder of results is to hold: the cells of each study that was run there, one small file a study."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from superpose.files import DataError, whole


class Plan(NamedTuple):
    """A study's name, what it measures, and the keys of its cells."""

    study: str
    measure: str
    keys: Sequence[str]


def keep(folder: str | os.PathLike[str], plan: Plan) -> None:
    """Write a plan into a folder, unless it is there; its file is named after the digest of its content.

    Parameters
    ----------
    folder : path-like
        It must exist.
    plan : Plan

    Examples
    --------
    >>> import tempfile
    >>> from superpose.studies import plans
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plans.keep(folder, plans.Plan("sizes", "module:function", ["a", "b"]))
    ...     plans.read(folder)
    [Plan(study='sizes', measure='module:function', keys=['a', 'b'])]
    """
    content = json.dumps(plan._asdict(), indent=0).encode()
    path = Path(folder) / f"{hashlib.sha256(content).hexdigest()}.plan.json"
    if not path.exists():
        with whole(path) as temporary:
            temporary.write_bytes(content)


def files(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the files of plans in a folder, in the order of their names."""
    return sorted(Path(folder).glob("[!.]*.plan.json"))


def load(path: Path) -> Plan:
    """Return the plan in a file; a DataError if the file was altered or damaged."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != path.name.removesuffix(".plan.json"):
        raise DataError(f"{path} was damaged or altered; delete it: the next run of its study writes it again.")
    return Plan(**json.loads(content))


def read(folder: str | os.PathLike[str]) -> list[Plan]:
    """Return the plans of a folder, by the names of their studies, the largest of each name first."""
    plans: Iterable[Plan] = map(load, files(folder))
    return sorted(plans, key=lambda plan: (plan.study, -len(plan.keys)))
