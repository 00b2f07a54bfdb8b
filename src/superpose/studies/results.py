"""Finished results under their keys: SQLite files, one writer each, that survive a kill at any moment."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import os
import re
import socket
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from superpose.files import DataError

Put = Callable[..., None]

WAIT = 60.0  # seconds for another process to finish a commit


class Records(NamedTuple):
    """What a file of results holds, three tables of content under keys.

    `results`; `origins`, how each result came about, under the key of the result; `runs`, the processes that measured,
    which origins refer to. Files of earlier versions hold results alone.
    """

    results: dict[str, str]
    origins: dict[str, str]
    runs: dict[str, str]


_TABLE = "CREATE TABLE IF NOT EXISTS {} (key TEXT PRIMARY KEY, sha256 TEXT NOT NULL, content TEXT NOT NULL)"
_INSERT = "INSERT OR IGNORE INTO {} VALUES (?, ?, ?)"
_SELECT = "SELECT key, sha256, content FROM {} ORDER BY rowid"
# What keeps a file from being read; any other error of SQLite says that its content is not what was written.
_UNREADABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


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
    >>> from superpose.studies import results
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with results.writer(folder) as put:
    ...         put({"a": "1", "b": "2"})
    ...     results.read(folder)
    {'a': '1', 'b': '2'}
    """
    found: dict[str, str] = {}
    for path in files(folder):
        found.update(records(path).results)
    return found


def files(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the files of results in a folder, in the order of their names.

    Examples
    --------
    >>> import tempfile
    >>> from superpose.studies import results
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with results.writer(folder) as put:
    ...         put({"a": "1"})
    ...     [path.suffix for path in results.files(folder)]
    ['.sqlite']
    """
    return sorted(Path(folder).glob("*.sqlite"))


def records(path: Path) -> Records:
    """Return everything that one file holds, its checksums verified.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    Records

    Raises
    ------
    DataError
        If the file was altered or damaged, or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from superpose.studies import results
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with results.writer(folder) as put:
    ...         put({"a": "1"}, origins={"a": "by hand"})
    ...     results.records(results.files(folder)[0])
    Records(results={'a': '1'}, origins={'a': 'by hand'}, runs={})
    """
    try:
        with closing(sqlite3.connect(path, timeout=WAIT)) as connection:
            tables = _tables(connection, path)
        rows = [row for table in tables for row in table]
        intact = all(isinstance(content, str) and digest == _digest(key, content) for key, digest, content in rows)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNREADABLE:
            raise DataError(f"{path} cannot be read ({error}); check its permissions and the space left.") from error
        intact = False
    except UnicodeDecodeError:  # damaged text in SQLite's own message
        intact = False
    if not intact:
        raise DataError(f"{path} was damaged or altered; delete it, and its results are computed again.")
    return Records(*({key: content for key, _, content in table} for table in tables))


@contextmanager
def writer(folder: str | os.PathLike[str]) -> Iterator[Put]:
    """Yield a function that keeps results: once it returns, they are on the disk, all of one call or none.

    Each process writes to a file of its own, named after its host: the first that no living process holds. Hosts
    that share a folder never share a file, so that nothing depends on locks between them.

    Parameters
    ----------
    folder : path-like
        Made if missing.

    Yields
    ------
    callable
        `put(results, origins={}, runs={})`: the tables of `Records`. A key that is already there is left as it is.

    Raises
    ------
    DataError
        If the folder cannot be written to.
    """
    place = Path(folder)
    with _refused(place):
        place.mkdir(parents=True, exist_ok=True)
    with _free_file(place) as path, closing(_opened(path)) as connection:

        def put(
            results: Mapping[str, str],
            origins: Mapping[str, str] = MappingProxyType({}),
            runs: Mapping[str, str] = MappingProxyType({}),
        ) -> None:
            with _refused(path), connection:
                for name, table in zip(Records._fields, (results, origins, runs), strict=True):
                    rows = [(key, _digest(key, text), text) for key, text in table.items()]
                    connection.executemany(_INSERT.format(name), rows)

        yield put


def _opened(path: Path) -> sqlite3.Connection:
    with _refused(path):
        connection = sqlite3.connect(path, timeout=WAIT)
        connection.execute("PRAGMA synchronous = FULL")
        with connection:
            for name in Records._fields:
                connection.execute(_TABLE.format(name))
        return connection


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Say in one line what cannot be written; a full disk stays the system's own error."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path)) from error
        raise DataError(
            f"{path} cannot be written ({error}); check its permissions, or choose another folder."
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DataError(
            f"{path} cannot be written ({error.strerror}); check its permissions, or choose another folder."
        ) from error


@contextmanager
def _free_file(folder: Path) -> Iterator[Path]:
    """Yield the first file that no other process holds; the lock goes with the process, however it ends."""
    host = re.sub(r"[^\w.-]", "_", socket.gethostname())
    for number in itertools.count():
        path = folder / f"{host}-{number}.sqlite"
        with _refused(path):
            lock = open(path.with_suffix(".lock"), "a")  # noqa: SIM115 - opened under one rule for errors, held under another
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield path
            return


def _tables(connection: sqlite3.Connection, path: Path) -> list[list[tuple[str, str, str]]]:
    # The check compares the rows with their index: a damaged count would hide rows.
    if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("damaged")
    if not path.stat().st_size:  # its process died before it made the tables
        return [[] for _ in Records._fields]
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    required = {"results"}  # all that files of earlier versions hold
    return [
        connection.execute(_SELECT.format(name)).fetchall() if name in there | required else []
        for name in Records._fields
    ]


def _digest(key: str, content: str) -> str:
    return hashlib.sha256(f"{key}\n{content}".encode()).hexdigest()
