"""Rows as messages of role and content beside lists of images and videos: what ms-swift and LLaMA-Factory both read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.exports.json_records import RecordsWithColumns
from pipeline.exports.tagged_turns import (
    ROLES,
    TAGS,
    alternating,
    listed,
    missing_file,
    problem_of_turns,
    tagged_text,
)
from pipeline.printable import escaped

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from pipeline.rows.canonical import CanonicalRow

_AUDIO = "<audio>"
"""A tag of both, for what canonical rows do not have."""


class RoleMessagesWriter(RecordsWithColumns):
    """Writes a line a row; what each target has besides is left to its own writer."""

    def messages(self, row: CanonicalRow) -> dict[str, Any]:
        """Return id, messages, images and videos of a row.

        Raises:
            RowRejected: its turns do not alternate, or a tag stands in a text or in the system's turn.
        """
        system, turns = alternating(row, self.title)
        spoken = (system, *turns) if system is not None else turns
        said = [{"role": turn.role, "content": tagged_text(turn, self.title, also=(_AUDIO,))} for turn in spoken]
        own = {"id": row.id} if row.id else {}
        media = {f"{kind}s": found for kind, found in (("image", row.images), ("video", row.videos))}
        return {**own, "messages": said} | {
            key: [self.place.media(medium) for medium in found] for key, found in media.items()
        }

    def note_losses(self, row: CanonicalRow, kept: Collection[str] = ()) -> None:
        """Say which columns of a row are left out, because the target reads none but its own."""
        for name, value in row.extras.items():
            if value is not None and name not in kept:
                what = f"values of the column '{escaped(name)}': {self.title} reads no columns but its own"
                self.losses.note("export.extra_column", what, row, str(value))
        self._extras.note_losses(row, self.losses)


def problem_of_messages(
    folder: Path, record: Any, *, key: str = "messages", columns: Collection[str] = ("images", "videos")
) -> str | None:
    """Say what is wrong with a record, whose messages are under a key, and of which these columns are read."""
    files = {tag: listed(record.get(f"{kind}s")) if f"{kind}s" in columns else [] for kind, tag in TAGS.items()}
    counts = {tag: len(paths) for tag, paths in files.items()}
    said = problem_of_turns(record.get(key), ("role", "content"), ROLES, {**counts, _AUDIO: 0}, in_answers=True)
    return said or missing_file(folder, [path for paths in files.values() for path in paths])
