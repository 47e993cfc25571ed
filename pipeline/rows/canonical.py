"""The canonical row: one training example of a finished dataset, whatever its columns are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from pipeline.media.location import Location


@dataclass(frozen=True, kw_only=True, slots=True)
class Medium:
    """An image or video of a row."""

    kind: Literal["image", "video"]
    column: str
    """Where it is in the dataset."""
    name: str
    """The path that the dataset gives it; may be empty."""
    sha256: str
    size: int
    """Bytes."""
    ending: str
    """With its dot, as its content says: `.jpg`, `.png`, `.mp4` …"""
    read: Callable[[], bytes]
    """Gives its bytes; valid as long as its row is the newest one that was asked for."""
    location: Location | None = None
    """Where it lies by itself, so that it can be read in pieces; None: only `read` gives it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CanonicalTurn:
    """One turn of the conversation."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[str | Medium, ...]
    """Texts and media in their order; two texts never follow each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CanonicalRow:
    """One row of a dataset as a training example."""

    shard: str
    """POSIX path in the dataset."""
    row: int
    """0-based, in the shard."""
    id: str
    """The value of the column `id` (or of the one that was named), else empty."""
    turns: tuple[CanonicalTurn, ...]
    extras: dict[str, Any]
    """The columns that the conversation does not use, as plain values; media outside of the conversation are in
    `loose`."""
    loose: tuple[Medium, ...] = ()
    """Media that no turn shows."""

    @property
    def images(self) -> list[Medium]:
        """The images of the conversation in their order."""
        return self._shown("image")

    @property
    def videos(self) -> list[Medium]:
        """The videos of the conversation in their order."""
        return self._shown("video")

    def _shown(self, kind: Literal["image", "video"]) -> list[Medium]:
        return [part for turn in self.turns for part in turn.parts if not isinstance(part, str) and part.kind == kind]
