"""AnnData: observations × variables with the observations' labels, dense or compressed rows.

Read by the description of the file (https://anndata.readthedocs.io, "On-disk format") with h5py: of a whole object only
one matrix and three columns are needed, and a dense matrix can stay on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.choice import listed
from superpose.recordings.hdf5 import labels, opened, values, whole
from superpose.recordings.heaps import check_heaps
from superpose.recordings.labels import LABELS, plain
from superpose.recordings.unpacking import kept, unpacked

Array = NDArray[Any]


def read_h5ad(file: Path, key: str | None) -> dict[str, Any]:
    """Read X, or the layer or embedding that a key names, and labels from obs."""
    check_heaps(file)
    with opened(file) as source:
        if _encoding(source.get("obs")) != "dataframe":
            raise DataError(
                f"{file} has no obs as anndata 0.7 and later write it; open it with anndata and write it again."
            )
        return {"responses": _matrix(file, source, key), **_labels(file, source["obs"])}


def _encoding(node: Any) -> str:
    return "" if node is None else str(node.attrs.get("encoding-type", ""))


def _own(group: Any) -> dict[str, Any]:
    """Return what lies in a group itself, without what links lead to."""
    from h5py import HardLink

    return {name: group[name] for name in group if isinstance(group.get(name, getlink=True), HardLink)}


def _matrix(file: Path, source: Any, key: str | None) -> Array:
    matrices = {name: node for name, node in _own(source).items() if name == "X"}
    for folder in ("layers", "obsm"):
        if folder in source:
            matrices |= {f"{folder}/{name}": node for name, node in _own(source[folder]).items()}
    name = next((name for name in (key or "X", f"layers/{key}", f"obsm/{key}") if name in matrices), None)
    if name is None:
        raise DataError(f"{file} has no matrix {listed([key or 'X'])!r}; it has {listed(list(matrices)[:8])}.")
    matrix = matrices[name]
    encoding = _encoding(matrix)
    # Files older than the mark have it only on sparse matrices.
    if encoding not in ENCODINGS:
        raise DataError(f"{file}: {name} is stored as {encoding[:40]!r}; expected one of {', '.join(ENCODINGS)}.")
    return ENCODINGS[encoding](file, matrix)


def compressed(file: Path, group: Any, shape: tuple[int, int], names: tuple[str, str, str], kind: str) -> Array:
    """Return a sparse matrix of HDF5 in full: values, indices and where each row ("csr") or column ("csc") starts."""
    from scipy import sparse

    parts = tuple(whole(file, group[name]) for name in names)
    made = getattr(sparse, f"{kind}_array")(parts, shape=shape)
    made.check_format(full_check=True)
    chunks = {"csr": (1, shape[1]), "csc": (shape[0], 1)}[kind]
    return unpacked(file, group.name, made, chunks, kept(made.dtype), convert=lambda part: part.toarray())


def _sparse(kind: str) -> Callable[[Path, Any], Array]:
    def read(file: Path, group: Any) -> Array:
        rows, columns = map(int, group.attrs["shape"])
        return compressed(file, group, (rows, columns), ("data", "indices", "indptr"), kind)

    return read


ENCODINGS: Mapping[str, Callable[[Path, Any], Array]] = {
    "array": values,
    "": values,
    "csr_matrix": _sparse("csr"),
    "csc_matrix": _sparse("csc"),
}


def _labels(file: Path, obs: Any) -> dict[str, Array]:
    columns = {name.lower(): node for name, node in _own(obs).items()}
    index = str(obs.attrs["_index"]).lower()
    found: dict[str, Array] = {}
    for kind, spellings in LABELS.items():
        names = [name for name in spellings if name in columns and name != index]
        if kind == "stimuli":
            names.append(index)
        if names:
            found[kind] = plain(_column(file, columns[names[0]]))
    return found


def _column(file: Path, node: Any) -> Array:
    """Return a column of obs: plain, with a mask, or as categories and the number of each."""
    encoding = _encoding(node)
    if encoding == "categorical":
        categories, codes = labels(file, node["categories"]), whole(file, node["codes"])
        if not ((codes >= 0) & (codes < len(categories))).all():
            raise DataError(f"{file}: {node.name} has rows without a category; label every row.")
        return categories[codes]
    if encoding.startswith("nullable-"):
        if whole(file, node["mask"]).any():
            raise DataError(f"{file}: {node.name} has rows without a value; label every row.")
        return labels(file, node["values"])
    if "categories" in node.attrs:
        raise DataError(f"{file}: {node.name} is stored as anndata 0.7 did; open it with anndata and write it again.")
    return labels(file, node)
