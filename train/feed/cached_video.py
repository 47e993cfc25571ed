"""Decoding the chosen frames of a video inside a bounded process, and encoding them for the cache."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from pipeline.errors import RowRejected
from pipeline.media.examine import guarded
from pipeline.media.location import location_of
from train.feed.decoded_image import encoded_frames
from train.feed.decoded_video import decoded_video
from train.feed.packed_frame_index import unpacked
from train.feed.shard_reader import IN_MEMORY, medium_of_group

if TYPE_CHECKING:
    from pipeline.media.location import Location
    from train.feed.decoded_image import Picture


def cached_video(place: str | list[Any], sha256: str, index: str, wanted: tuple[list[int], int, int, Picture]) -> Any:
    """Return the pictures of chosen frames in base64, or the code and the message of why there are none.

    `place` is a location as text, or what `medium_of_group` is called with; `wanted` are the numbers of the frames,
    their width and height, and what pictures are made of them.
    """
    numbers, width, height, picture = wanted

    def work() -> list[str]:
        source: Location | bytes = location_of(place) if isinstance(place, str) else _out_of_group(*place)
        if not isinstance(source, bytes) and _size(source) <= IN_MEMORY:
            source = source.read_bytes()
        if isinstance(source, bytes) and hashlib.sha256(source).hexdigest() != sha256:
            raise RowRejected("media.changed", "its bytes are not those that were indexed")
        frames = unpacked(base64.b64decode(index))
        pixels = decoded_video(source, frames, numbers, (width, height))
        return [base64.b64encode(one).decode() for one in encoded_frames(pixels, picture)]

    found = guarded(work)
    return [None, found.code, found.message] if isinstance(found, RowRejected) else [found, None, None]


def _out_of_group(path: str, group: int, row: int, column: str, *rest: int) -> bytes:
    position, rows_at_once = rest
    return medium_of_group(path, group, row, column, position=position, rows_at_once=rows_at_once)


def _size(source: Location) -> int:
    size = getattr(source, "size", None)
    return source.stat().st_size if size is None else int(size)
