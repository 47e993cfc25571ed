"""The ledger: what became of every URL, for all datasets and processes that share a cache.

    <cache>/media/ledger.sqlite

A URL is known by its key, which no signature or expiry time changes, and shown without its secrets; nothing else of it
is written. What is stored is an object of the media store under its hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pipeline.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from pipeline.network.urls import WebUrl

VERSION = 1
PASSING = "passing"
"""Kind of failure that may be another one tomorrow: a timeout, a reset, a busy server. The next build tries again."""
LASTING = "lasting"
"""Kind of failure that stays until somebody mends it: not found, forbidden, not a medium. `--retry` tries again."""
_COLUMNS = (
    "key TEXT PRIMARY KEY, shown TEXT NOT NULL, host TEXT NOT NULL, sha256 TEXT, bytes INTEGER, reason TEXT, "
    "lasts TEXT, message TEXT, http INTEGER, tries INTEGER NOT NULL, etag TEXT, row TEXT"
)
_FIELDS = ("key", "shown", "host", "sha256", "bytes", "reason", "lasts", "message", "http", "tries", "etag", "row")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What became of one URL."""

    key: str
    shown: str
    host: str
    sha256: str | None = None
    """The hash of the object that it was stored as; None: it is not stored."""
    bytes: int | None = None
    reason: str | None = None
    """Why it is not stored: a stable code, e.g. `fetch.status`."""
    lasts: str | None = None
    """Whether that is PASSING or LASTING."""
    message: str | None = None
    """The same in words, without secrets."""
    http: int | None = None
    """The last status that a server answered with."""
    tries: int = 0
    """Requests so far, over all builds."""
    etag: str | None = None
    row: str | None = None
    """The first row that wanted it: config, file and line."""


def entry_of(url: WebUrl, *, tries: int, **told: Any) -> Entry:
    """Return the entry of a URL; `told` is what became of it, by the names of `Entry`."""
    return Entry(key=url.key, shown=url.shown, host=url.host, tries=tries, **told)


class Ledger:
    """The ledger below one cache folder; a context manager, one a process."""

    def __init__(self, cache: Path) -> None:
        self._file = Database(
            cache / "media" / "ledger.sqlite", what="ledger", tables={"urls": _COLUMNS}, version=VERSION
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def entries(self, keys: Iterable[str]) -> dict[str, Entry]:
        """Return what is known of URLs, by key."""
        return {row[0]: _entry(row) for row in self._file.select("SELECT * FROM urls WHERE key IN", keys)}

    def remember(self, entries: Iterable[Entry]) -> None:
        """Write down what became of URLs; tries add up, and the first row stays."""
        statement = (
            "INSERT INTO urls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
            "shown = excluded.shown, host = excluded.host, sha256 = excluded.sha256, bytes = excluded.bytes, "
            "reason = excluded.reason, lasts = excluded.lasts, message = excluded.message, http = excluded.http, "
            "tries = tries + excluded.tries, etag = excluded.etag, row = coalesce(row, excluded.row)"
        )
        self._file.insert(statement, [tuple(getattr(entry, name) for name in _FIELDS) for entry in entries])

    def counts(self) -> list[tuple[str, str, int | None, int, int, int]]:
        """Return by host and reason (`stored` where there is none): HTTP status, URLs, tries, bytes."""
        return self._file.query(
            "SELECT host, coalesce(reason, 'stored'), CASE WHEN reason IS NULL THEN NULL ELSE http END, count(*), "
            "sum(tries), coalesce(sum(bytes), 0) FROM urls GROUP BY 1, 2, 3 ORDER BY 1, 4 DESC, 2, 3"
        )

    def failed(self, *, status: int | None = None) -> list[Entry]:
        """Return the URLs that are not stored, or those of them that a server answered with `status`."""
        rows = self._file.query("SELECT * FROM urls WHERE reason IS NOT NULL ORDER BY host, shown")
        return [entry for entry in map(_entry, rows) if status in (None, entry.http)]

    def stored(self) -> set[str]:
        """Return the hashes of all objects that URLs were stored as."""
        return {sha256 for (sha256,) in self._file.query("SELECT sha256 FROM urls WHERE sha256 IS NOT NULL")}


def _entry(row: tuple[Any, ...]) -> Entry:
    return Entry(**dict(zip(_FIELDS, row, strict=True)))
