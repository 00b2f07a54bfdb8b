"""Finished results under their keys: SQLite files, one writer each, that survive a kill at any moment."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from superpose.files import DataError

Put = Callable[[Mapping[str, str]], None]

WAIT = 60.0  # seconds for another process to finish a commit

_TABLE = "CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, sha256 TEXT NOT NULL, content TEXT NOT NULL)"
_INSERT = "INSERT OR IGNORE INTO results VALUES (?, ?, ?)"


def read(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Return every result of a folder, whichever process wrote it.

    Parameters
    ----------
    folder : path-like
        It may not exist yet: then there are none.

    Returns
    -------
    dict of str
        Content under its key.

    Raises
    ------
    DataError
        If a file was altered or damaged.

    Examples
    --------
    >>> import tempfile
    >>> from superpose import results
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with results.writer(folder) as put:
    ...         put({"a": "1", "b": "2"})
    ...     results.read(folder)
    {'a': '1', 'b': '2'}
    """
    found = {}
    for path in sorted(Path(folder).glob("*.sqlite")):
        try:
            with closing(sqlite3.connect(path, timeout=WAIT)) as connection:
                connection.execute(_TABLE)
                rows = connection.execute("SELECT key, sha256, content FROM results ORDER BY rowid").fetchall()
            intact = all(isinstance(content, str) and digest == _digest(key, content) for key, digest, content in rows)
        except sqlite3.OperationalError as error:
            raise DataError(f"{path} cannot be read ({error}); check its permissions and the space left.") from error
        except sqlite3.DatabaseError:
            intact = False
        if not intact:
            raise DataError(f"{path} was damaged or altered; delete it, and its results are computed again.")
        found.update({key: content for key, _, content in rows})
    return found


@contextmanager
def writer(folder: str | os.PathLike[str]) -> Iterator[Put]:
    """Yield a function that keeps results: once it returns, they are on the disk, all of one call or none.

    Each process writes to a file of its own, the first that no living process holds.

    Parameters
    ----------
    folder : path-like
        Made if missing.

    Yields
    ------
    callable
        `put({key: content, …})`. A key that is already there is left as it is.

    Raises
    ------
    DataError
        If the folder cannot be written to.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    with _free_file(place) as path, closing(sqlite3.connect(path, timeout=WAIT)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        with connection:
            connection.execute(_TABLE)

        def put(contents: Mapping[str, str]) -> None:
            rows = [(key, _digest(key, text), text) for key, text in contents.items()]
            try:
                with connection:
                    connection.executemany(_INSERT, rows)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path)) from error
                raise

        yield put


@contextmanager
def _free_file(folder: Path) -> Iterator[Path]:
    """Yield the first file that no other process holds; the lock goes with the process, however it ends."""
    for number in itertools.count():
        path = folder / f"{number}.sqlite"
        with open(path.with_suffix(".lock"), "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield path
            return


def _digest(key: str, content: str) -> str:
    return hashlib.sha256(f"{key}\n{content}".encode()).hexdigest()
