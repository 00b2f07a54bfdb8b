"""Whether all chunks of what is read are there."""

from __future__ import annotations

from pathlib import Path

from superpose.files import DataError


def check_stored(file: Path, name: str, stored: int, expected: int, fill: object) -> None:
    """Raise a DataError if chunks are not there that would be read as numbers; one of NaN is told as such later."""
    if stored < expected and fill == fill:
        raise DataError(
            f"{file}: {expected - stored} of {expected} chunks of {name} are not stored, and would be read as {fill}; "
            "they are lost, or hold nothing else and were left out. Copy the file again, or write it with every chunk "
            "(zarr: write_empty_chunks=True; for AnnData, zarr.config.set({'array.write_empty_chunks': True}))."
        )
