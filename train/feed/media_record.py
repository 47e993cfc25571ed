"""What the index knows of one medium."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import RowRejected

if TYPE_CHECKING:
    from pipeline.media.facts import Kind


@dataclass(slots=True, kw_only=True)
class MediaRecord:
    """One medium: where it lies, and what it is."""

    row: int
    """0-based, in the shard."""
    position: int
    """In the row's list, else 0."""
    kind: Kind | None = None
    offset: int | None = None
    """Byte of the shard, or of `file`, at which it begins; None: it is read through its row group, or is all of
    `file`."""
    size: int = 0
    """Bytes."""
    file: str | None = None
    """POSIX path in the dataset of the file beside the shards that holds it, or that it is."""
    sha256: bytes = b""
    width: int = 0
    """Pixels as shown."""
    height: int = 0
    fps: float = 0.0
    frame_index: bytes | None = None
    """Of a video, packed."""
    refused: RowRejected | None = None
    """Why it cannot be used."""

    def plain(self) -> list[Any]:
        """Return values that JSON can hold."""
        refused, index = self.refused, self.frame_index
        return [
            *(self.row, self.position, self.kind, self.offset, self.size, self.file, self.sha256.hex()),
            *(self.width, self.height, self.fps, None if index is None else base64.b64encode(index).decode()),
            None if refused is None else [refused.code, refused.message],
        ]

    @classmethod
    def of(cls, value: list[Any]) -> MediaRecord:
        """Return the record that `plain` wrote."""
        *told, sha256, width, height, fps, frame_index, refused = value
        row, position, kind, offset, size, file = told
        return cls(
            row=row,
            position=position,
            kind=kind,
            offset=offset,
            size=size,
            file=file,
            sha256=bytes.fromhex(sha256),
            width=width,
            height=height,
            fps=fps,
            frame_index=None if frame_index is None else base64.b64decode(frame_index),
            refused=None if refused is None else RowRejected(*refused),
        )
