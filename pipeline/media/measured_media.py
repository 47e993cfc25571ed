"""What was measured of the pixels of media: asked of bounded processes once, and remembered by their hash.

<cache>/media/measures.sqlite    sha256 and what was measured -> the measures, or why there are none
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from pipeline.database import Database
from pipeline.errors import RowRejected, SourceError
from pipeline.media.location import location_of, shown
from pipeline.media.measure import CHANGED, MEASURE_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from pipeline.media.examiners import Examiners
    from pipeline.media.facts import Kind

What = Literal["pixels", "motion"]
JOB = "pipeline.media.measure:measure"
_PATIENCE = {"pixels": 2, "motion": 5}
"""How many times longer than a probe it may take."""
_LASTING = ("media.decode", "media.kind", "media.bomb", "media.no_video", "media.empty")
"""Why something cannot be measured, whatever the machine."""
_TABLES = {
    "measures": "sha256 TEXT NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL, version INTEGER NOT NULL, "
    "found TEXT, code TEXT, message TEXT, PRIMARY KEY (sha256, kind, what)"
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToMeasure:
    """A medium whose pixels are to be measured."""

    path: str
    """Where it is, as the plan says it."""
    kind: Kind
    what: What
    size: int
    sha256: str
    frames: int | None

    @property
    def patience(self) -> float:
        """How many times longer than others it may take."""
        return _PATIENCE[self.what]

    def arguments(self) -> list[Any]:
        """Return what `measure` is called with."""
        return [self.path, self.kind, self.what, self.sha256, self.frames]


class MeasuredMedia:
    """Measures media, and remembers what was measured; a context manager, for the thread that made it."""

    def __init__(self, cache: Path, examiners: Examiners) -> None:
        self._examiners = examiners
        self._memory = Database(
            cache / "media" / "measures.sqlite", what="memory of measures", tables=_TABLES, version=1
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._memory.close()

    def of(self, media: Iterable[ToMeasure], kind: Kind, what: What) -> dict[str, dict[str, Any] | RowRejected]:
        """Return the measures of media of one kind by their hash, or why a medium cannot be measured.

        Raises:
            SourceError: a file is not the one any more whose hash is known.
        """
        wanted = {medium.sha256: medium for medium in media}
        found = self.remembered(wanted, kind, what)
        fresh: list[tuple[Any, ...]] = []
        orders = [medium for sha256, medium in wanted.items() if sha256 not in found]
        for answer in self._examiners.work(JOB, orders, advance=lambda _: None):
            sha256 = answer.order.sha256
            if isinstance(answer.found, RowRejected):
                found[sha256] = answer.found
                continue
            measured, code, message = answer.found
            if code == CHANGED:
                place = shown(location_of(answer.order.path))
                raise SourceError(f"{place} {message}", hint="put it back, and run the build again")
            found[sha256] = RowRejected(code, message) if measured is None else measured
            if measured is not None or code in _LASTING:
                text = None if measured is None else json.dumps(measured)
                fresh.append((sha256, kind, what, MEASURE_VERSION, text, code, message))
        self._memory.insert("INSERT OR REPLACE INTO measures VALUES (?, ?, ?, ?, ?, ?, ?)", fresh)
        return found

    def remembered(self, hashes: Iterable[str], kind: Kind, what: What) -> dict[str, dict[str, Any] | RowRejected]:
        """Return what is known of media already."""
        known = "SELECT sha256, found, code, message FROM measures"
        query = f"{known} WHERE kind = ? AND what = ? AND version = ? AND sha256 IN"
        return {
            sha256: RowRejected(code, message) if text is None else json.loads(text)
            for sha256, text, code, message in self._memory.select(query, hashes, kind, what, MEASURE_VERSION)
        }
