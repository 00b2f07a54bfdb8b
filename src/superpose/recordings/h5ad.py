"""AnnData, in HDF5 or zarr: observations × variables with the observations' labels, dense or compressed rows.

Read by the description of the file (https://anndata.readthedocs.io, "On-disk format") with h5py or zarr: of a whole
object only one matrix and three columns are needed, and a dense matrix can stay on the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from superpose.files import DataError
from superpose.recordings.asked import Asked
from superpose.recordings.choice import listed
from superpose.recordings.hdf5 import labels, opened, own, values, whole
from superpose.recordings.heaps import check_heaps
from superpose.recordings.labels import LABELS, plain
from superpose.recordings.unpacking import kept, unpacked

Array = NDArray[Any]


class Storage(NamedTuple):
    """What reads the parts of a file: the members of a group, a matrix, an array as it is, and labels."""

    children: Callable[[Any], dict[str, Any]]
    matrix: Callable[[Path, Any], Array]
    whole: Callable[[Path, Any], Array]
    labels: Callable[[Path, Any], Array]


def read_h5ad(file: Path, asked: Asked) -> dict[str, Any]:
    """Read X, or the layer or embedding that a key names, and labels from obs."""
    check_heaps(file)
    with opened(file) as source:
        return read_anndata(file, source, asked.key, Storage(own, values, whole, labels))


def is_anndata(group: Any) -> bool:
    """Return whether a group is an object of AnnData."""
    return _encoding(group) == "anndata"


def read_anndata(file: Path, source: Any, key: str | None, storage: Storage) -> dict[str, Any]:
    """Read X, or the layer or embedding that a key names, and labels from obs, wherever they are stored."""
    if _encoding(source.get("obs")) != "dataframe":
        raise DataError(
            f"{file} has no obs as anndata 0.7 and later write it; open it with anndata and write it again."
        )
    return {"responses": _matrix(file, source, key, storage), **_labels(file, source["obs"], storage)}


def _encoding(node: Any) -> str:
    return "" if node is None else str(node.attrs.get("encoding-type", ""))


def _matrix(file: Path, source: Any, key: str | None, storage: Storage) -> Array:
    own = storage.children(source)
    matrices = {name: node for name, node in own.items() if name == "X"}
    for folder in ("layers", "obsm", "raw"):
        inner = storage.children(own[folder]) if folder in own else {}
        matrices |= {f"{folder}/{name}": node for name, node in inner.items() if folder != "raw" or name == "X"}
    name = next((name for name in (key or "X", f"layers/{key}", f"obsm/{key}", f"{key}/X") if name in matrices), None)
    if name is None:
        raise DataError(f"{file} has no matrix {listed([key or 'X'])!r}; it has {listed(list(matrices)[:8])}.")
    matrix = matrices[name]
    encoding = _encoding(matrix)
    # Files older than the mark have it only on sparse matrices.
    if encoding in SPARSE:
        rows, columns = map(int, matrix.attrs["shape"])
        names = ("data", "indices", "indptr")
        return compressed(file, matrix, (rows, columns), names, SPARSE[encoding], storage.whole)
    if encoding not in DENSE:
        known = ", ".join(("array", *SPARSE))
        raise DataError(f"{file}: {name} is stored as {encoding[:40]!r}; expected one of {known}.")
    return storage.matrix(file, matrix)


def compressed(
    file: Path,
    group: Any,
    shape: tuple[int, int],
    names: tuple[str, str, str],
    kind: str,
    whole: Callable[[Path, Any], Array] = whole,
) -> Array:
    """Return a sparse matrix of a file in full: values, indices and where each row ("csr") or column ("csc") starts."""
    from scipy import sparse

    parts = tuple(whole(file, group[name]) for name in names)
    made = getattr(sparse, f"{kind}_array")(parts, shape=shape)
    made.check_format(full_check=True)
    chunks = {"csr": (1, shape[1]), "csc": (shape[0], 1)}[kind]
    return unpacked(file, group.name, made, chunks, kept(made.dtype), convert=lambda part: part.toarray())


UNNAMED = ("_index", "index")
SPARSE = {"csr_matrix": "csr", "csc_matrix": "csc"}
DENSE = ("array", "")


def _labels(file: Path, obs: Any, storage: Storage) -> dict[str, Any]:
    columns = {name.lower(): node for name, node in storage.children(obs).items()}
    index = str(obs.attrs["_index"]).lower()
    found: dict[str, Any] = {"sources": {}}
    for kind, spellings in LABELS.items():
        names = [name for name in spellings if name in columns and name != index]
        if kind == "stimuli":
            names.append(index)
        if names:
            found[kind] = plain(_column(file, columns[names[0]], storage))
            # An index without a name that counts the rows labels nothing.
            found["sources"][kind] = "" if names[0] in UNNAMED else names[0]
    return found


def _column(file: Path, node: Any, storage: Storage) -> Array:
    """Return a column of obs: plain, with a mask, or as categories and the number of each."""
    encoding = _encoding(node)
    if encoding == "categorical":
        categories, codes = storage.labels(file, node["categories"]), storage.whole(file, node["codes"])
        if not ((codes >= 0) & (codes < len(categories))).all():
            raise DataError(f"{file}: {node.name} has rows without a category; label every row.")
        return categories[codes]
    if encoding.startswith("nullable-"):
        if storage.whole(file, node["mask"]).any():
            raise DataError(f"{file}: {node.name} has rows without a value; label every row.")
        return storage.labels(file, node["values"])
    if "categories" in node.attrs:
        raise DataError(f"{file}: {node.name} is stored as anndata 0.7 did; open it with anndata and write it again.")
    return storage.labels(file, node)
