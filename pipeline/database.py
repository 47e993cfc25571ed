"""A SQLite file that several processes share: opened late, waited for, and made anew when it is damaged."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.errors import WorkspaceError
from pipeline.workspace import disk_errors, holding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

BUSY_SECONDS = 60.0
"""How long to wait for another process's short write."""
_LOOKUP = 500
"""Keys in one query."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Database:
    """One file of tables, for the thread that made it; every process opens its own."""

    def __init__(self, path: Path, *, what: str, tables: dict[str, str], version: int) -> None:
        """`what` is what people call it; `tables` has each table's columns and constraints.

        A file of another version is emptied.
        """
        self._path, self._what, self._tables, self._version = path, what, tables, version
        self._opened_inode = 0
        self._connection: sqlite3.Connection | None = None

    def select(self, query: str, keys: Iterable[str], *values: str | int) -> list[tuple[Any, ...]]:
        """Return the rows whose key is among `keys`; the query ends before the list of them."""
        wanted = list(keys)

        def work(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
            rows = []
            for start in range(0, len(wanted), _LOOKUP):
                part = wanted[start : start + _LOOKUP]
                rows += db.execute(f"{query} ({','.join('?' * len(part))})", [*values, *part]).fetchall()
            return rows

        return self._run(work)

    def query(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        """Return the rows of a whole query."""
        return self._run(lambda db: db.execute(query, values).fetchall())

    def insert(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        """Write some rows in one transaction."""

        def work(db: sqlite3.Connection) -> None:
            with db:
                db.executemany(statement, rows)

        if rows:
            self._run(work)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Work with the file; a damaged one is set aside and made anew first.

        Raises:
            WorkspaceError: it cannot be opened, read or written.
        """
        try:
            try:
                return work(self._opened())
            except sqlite3.DatabaseError as error:
                # a connection's errors carry SQLite's code; its low byte is the kind
                if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                    raise
                self._set_aside(error)
                return work(self._opened())
        except sqlite3.OperationalError as error:
            raise WorkspaceError(
                f"the {self._what} {self._path} cannot be used: {error}",
                hint="look whether the disk is full or read-only, or choose another folder with --cache",
            ) from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            with self._alone():
                self._connection = self._open()
                self._opened_inode = self._path.stat().st_ino
        return self._connection

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=BUSY_SECONDS)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != self._version:
                made = "".join(
                    f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({columns}) WITHOUT ROWID; "
                    for name, columns in self._tables.items()
                )
                db.executescript(f"BEGIN IMMEDIATE; {made} PRAGMA user_version = {self._version}; COMMIT;")
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Move the damaged file away, unless another process did so since this one opened it."""
        opened = self._opened_inode if self._connection is not None else None
        self.close()
        with self._alone():
            if opened is None:
                with suppress(sqlite3.DatabaseError):
                    self._open().close()
                    return
            elif not self._path.exists() or self._path.stat().st_ino != opened:
                return
            aside = self._path.with_name(f"{self._path.stem}.damaged-{time.time_ns()}.sqlite")
            _log.warning(
                "the %s %s is damaged (%s); it is moved to %s and made anew", self._what, self._path, error, aside.name
            )
            self._path.replace(aside)
            for ending in ("-wal", "-shm"):
                self._path.with_name(self._path.name + ending).unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other process open or mend the file meanwhile: SQLite does not wait for a switch to WAL."""
        with disk_errors(self._path.parent), holding(self._path.with_suffix(".lock")):
            yield
