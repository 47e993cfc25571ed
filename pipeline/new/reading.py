"""How a file is understood: through a dialect, or as a table with its own columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.dialects.dialect import Dialect
    from pipeline.new.endings import Kind


@dataclass(frozen=True, kw_only=True)
class MediaColumn:
    """A column of a table that names media."""

    column: str
    """In the schema."""
    raw: str
    """In the records."""
    kind: Kind
    keep_raw: bool = False
    """Whether the text itself stays a column beside it."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One understanding of a file."""

    title: str
    """As people say it, e.g. `LLaVA JSON`."""
    dialect: Dialect | None = None
    media: tuple[MediaColumn, ...] = ()
    """Of a table; a dialect says by itself."""
    asks: str = ""
    """The column that asks about a table's media."""
    question: str = ""
    """What is asked where no column does."""
    answer: str = ""
    """The column that answers; empty: a table without a conversation."""
    label: str = ""
    """The column whose last part is the class of a row."""
    format: str | None = None
    """As `format` in the recipe, where it must be said."""
    records: str | None = None
    """Where in a JSON document the records are, as `records` in the recipe; None: at its top."""
    doubts: tuple[str, ...] = field(default=())
    """What could be meant otherwise, one sentence each, each with how to decide it."""

    @property
    def key(self) -> tuple[object, ...]:
        """What two files must have in common to be parts of one config."""
        name = self.dialect.name if self.dialect is not None else ""
        return (name, self.media, self.asks, self.question, self.answer, self.format, self.records)
