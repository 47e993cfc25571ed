"""What a validation is asked to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.checks.codes import Look
    from pipeline.schema import Schema

LOAD_LIMIT = 10_000_000_000
"""Bytes of shards up to which `load_dataset` loads everything; it writes them all once more into a cache."""
SAMPLE_BYTES = 1_000_000_000
"""Bytes up to which `sampled` looks at everything, and of which it takes a sample beyond."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How deep to look, and for what."""

    look: Look = "sampled"
    select: tuple[str, ...] = ()
    """Beginnings of the codes that are wanted; none: all."""
    ignore: tuple[str, ...] = ()
    """Beginnings of those that are not."""
    load_limit: int = LOAD_LIMIT
    sample_bytes: int = SAMPLE_BYTES
    schemas: dict[str, Schema] | None = None
    """Config -> the schema that its rows must keep, when it is known."""
    group: str | None = None
    """The column whose values must stay on one side."""
    budget: str | None = None
    """The model family whose tokens are counted."""
    max_tokens: int | None = None
    """Tokens that a row may cost."""
    scratch: Path | None = None
    """Where a dataset is loaded into; None: the system's folder for such things."""
