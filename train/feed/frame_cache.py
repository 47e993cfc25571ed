"""Chosen frames of videos, kept as pictures, since to decode them out of the videos takes most of the time of an epoch.

    <cache>/train/frames/<key>.frames   the pictures of one shard's videos, one behind the other
    <cache>/train/frames/<key>.arrow    where each lies; written last, so that its presence means whole; safe to delete

The key is made of the shard's content, the sampling and the size, so that other frames are in another file. As JPEGs
the pixels are a little other ones than those of the video. So that a training does not depend on whether a cache was
built, frames that are not in it are made the same JPEGs of, and decoded again.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.errors import RowRejected
from pipeline.row_file import write_rows

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from train.feed.decoded_image import Picture

VERSION = 1
SCHEMA = pa.schema(
    [
        ("sha256", pa.binary(32)),
        ("offset", pa.int64()),
        ("sizes", pa.list_(pa.int32())),
        ("proof", pa.binary(32)),
        ("code", pa.string()),
        ("message", pa.string()),
    ]
)
_BYTES_KEY = b"bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVideo:
    """The frames of one video in the cache."""

    sha256: bytes
    """Of the video."""
    offset: int = 0
    sizes: tuple[int, ...] = ()
    """Bytes of each frame; they follow each other."""
    proof: bytes = b""
    """sha256 of all of them."""
    refused: RowRejected | None = None
    """Why there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePlace:
    """Where the frames of a shard are kept, or would be."""

    folder: Path
    key: str

    @property
    def frames(self) -> Path:
        """The pictures."""
        return self.folder / f"{self.key}.frames"

    @property
    def index(self) -> Path:
        """Where each lies."""
        return self.folder / f"{self.key}.arrow"


def write_cache_index(place: CachePlace, kept: Iterable[KeptVideo], size: int) -> None:
    """Say where frames lie, when all of them are written."""
    rows = [
        {
            "sha256": one.sha256,
            "offset": one.offset,
            "sizes": list(one.sizes),
            "proof": one.proof or None,
            "code": None if one.refused is None else one.refused.code,
            "message": None if one.refused is None else one.refused.message,
        }
        for one in kept
    ]
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in SCHEMA]
    write_rows(place.index, pa.Table.from_arrays(columns, schema=SCHEMA.with_metadata({_BYTES_KEY: str(size)})))


class CachedFrames:
    """The kept frames of one shard; for one process."""

    def __init__(self, place: CachePlace) -> None:
        """Open what is kept.

        Raises:
            OSError, ValueError, ArrowException: nothing is, or it is damaged.
        """
        with pa.memory_map(str(place.index)) as file:
            table = pa.ipc.open_file(file).read_all()
        if not table.schema.equals(SCHEMA):
            raise ValueError(f"{place.index} is no index of frames")
        self.bytes = int((table.schema.metadata or {})[_BYTES_KEY])
        """Of all pictures."""
        self._columns: dict[str, Any] = {name: table.column(name) for name in SCHEMA.names}
        self._rows = {sha256: row for row, sha256 in enumerate(self._columns["sha256"].to_pylist())}
        self._descriptor = os.open(place.frames, os.O_RDONLY | os.O_CLOEXEC)
        if os.fstat(self._descriptor).st_size != self.bytes:
            self.close()
            raise ValueError(f"{place.frames} is not as long as its index says")

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def find(self, sha256: bytes) -> KeptVideo | None:
        """Return what is known of a video."""
        row = self._rows.get(sha256)
        if row is None:
            return None
        code = self._columns["code"][row].as_py()
        return KeptVideo(
            sha256=sha256,
            offset=self._columns["offset"][row].as_py(),
            sizes=tuple(self._columns["sizes"][row].as_py()),
            proof=self._columns["proof"][row].as_py() or b"",
            refused=None if code is None else RowRejected(code, self._columns["message"][row].as_py()),
        )

    def read(self, video: KeptVideo, pixels: np.ndarray) -> bool:
        """Decode kept frames into [frames, height, width, 3]; False: they are damaged, or others than these."""
        from train.feed.decoded_image import decoded_pictures

        total = sum(video.sizes)
        data = os.pread(self._descriptor, total, video.offset)
        if len(video.sizes) != len(pixels) or len(data) != total or hashlib.sha256(data).digest() != video.proof:
            return False
        ends = np.cumsum(video.sizes).tolist()
        view = memoryview(data)
        decoded_pictures((view[end - size : end] for end, size in zip(ends, video.sizes, strict=True)), pixels)
        return True


def as_kept(pixels: np.ndarray, picture: Picture) -> None:
    """Make of pixels in place what they would be if they came out of the cache."""
    from train.feed.decoded_image import decoded_pictures, encoded_frames

    if picture == "jpeg":
        decoded_pictures(encoded_frames(pixels, picture), pixels)
