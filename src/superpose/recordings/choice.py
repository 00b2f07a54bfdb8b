"""One array of the several that a file holds, and the labels that lie beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from superpose.files import DataError
from superpose.recordings.asked import Asked
from superpose.recordings.axes import may_label
from superpose.recordings.labels import KINDS, LABELS, plain


def choose(
    file: Path,
    asked: Asked,
    names: Mapping[str, int | None],
    get: Callable[[str], Any],
    label: Callable[[str], Any] | None = None,
) -> dict[str, Any]:
    """Return the array that a key, its name or its being the only one picks, and its labels.

    Parameters
    ----------
    file : Path
        For messages.
    asked : Asked
        With the name of an array, or of a group of arrays, as a user gave it.
    names : mapping of int or None
        The number of axes of every array by its name, "group/array"; None where it is not known beforehand.
    get, label : callable
        Read the array of a name, as responses or as labels; None is as responses.
    """
    name = chosen(file, asked.key, names)
    responses = get(name)
    columns: dict[str, Any] = {"responses": responses, "sources": {}}
    own, *above = scopes(name, names)
    for kind, spellings in LABELS.items():
        for beside in (own, *above):
            found = next((beside[spelling] for spelling in spellings if spelling in beside), None)
            if found is None or names[found] == 0:
                continue
            column = plain((label or get)(found))
            # What was asked for by name, or lies in another group, may be another array than labels are of.
            sure = beside is own and asked.key != name
            if column.ndim and (sure or may_label(responses, column, asked.axes)):
                columns[kind] = column
                columns["sources"][kind] = _leaf(found)
                break
    return columns


def scopes(name: str, names: Collection[str]) -> list[dict[str, str]]:
    """Return what lies beside an array, and in each group around it, its own first: names by their last part.

    Examples
    --------
    >>> from superpose.recordings.choice import scopes
    >>> scopes("V1/responses", ["V1/responses", "V1/trial", "V4/trial", "Stimulus"])
    [{'trial': 'V1/trial'}, {'stimulus': 'Stimulus'}]
    """
    *path, _ = name.split("/")
    groups = ["/".join(path[:depth]) for depth in range(len(path), -1, -1)]
    return [
        {_leaf(other).lower(): other for other in names if other != name and other.rpartition("/")[0] == group}
        for group in groups
    ]


def chosen(file: Path, key: str | None, names: Mapping[str, int | None]) -> str:
    """Return the name of the array that is meant.

    Raises
    ------
    DataError
        If there is none, or it may be any of several.
    """
    if key is not None and key in names:
        return key
    prefix = "" if key is None else f"{key}/"
    inside = [name for name in names if name.startswith(prefix)]
    if not inside:
        what = "no arrays of numbers" if key is None else f"no array {listed([key])!r}; it has {_some(names)}"
        raise DataError(f"{file} has {what}.")
    if f"{prefix}responses" in inside:
        return f"{prefix}responses"
    matrices = [name for name in inside if names[name] not in (0, 1) and _leaf(name).lower() not in KINDS] or inside
    if len(matrices) == 1:
        return matrices[0]
    raise DataError(
        f"{file} holds {len(matrices)} arrays ({_some(matrices)}); say which, as "
        f"{file.name}:name, or name one of them responses."
    )


def listed(names: list[str]) -> str:
    """Return names, or cells, as a message can show them, however long and unprintable a file has them."""
    return ", ".join("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in n[:40]) for n in names)


def _some(names: Any) -> str:
    return listed(list(names)[:8]) + (" …" if len(names) > 8 else "")


def _leaf(name: str) -> str:
    return name.rpartition("/")[2]
