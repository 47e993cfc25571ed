"""The media of a split's rows: which there are, how large each is as a model sees it, and their pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.errors import RowRejected
from pipeline.manifest import fingerprint
from train.example import Frames, FramesSize, Image, ImageSize
from train.feed.fitted_size import check_pixels, fitted
from train.feed.frame_cache import VERSION as CACHE_VERSION
from train.feed.frame_cache import CachedFrames, CachePlace, as_kept
from train.feed.packed_frame_index import unpacked
from train.feed.shard_index import ShardIndex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.checks.media_sources import Source
    from train.feed.media_record import MediaRecord
    from train.feed.plan import Plan, RowPlace
    from train.feed.shard_reader import ShardReader


class SplitMedia:
    """The media of a split's rows, for one process; closed by `close`."""

    def __init__(self, plan: Plan, reader: ShardReader) -> None:
        self._plan = plan
        self._reader = reader
        self._indexes: dict[int, ShardIndex] = {}
        self._kept: dict[int, CachedFrames | None] = {}

    def close(self) -> None:
        """Close all files; they are opened again when they are needed."""
        for frames in self._kept.values():
            if frames is not None:
                frames.close()
        self._kept.clear()
        self._indexes.clear()

    def index(self, shard: int) -> ShardIndex:
        """Return the index of a shard."""
        if shard not in self._indexes:
            self._indexes[shard] = ShardIndex(self._plan.shards[shard].index)
        return self._indexes[shard]

    def content(self, shard: int) -> tuple[str, str]:
        """Return the hashes of a shard, and of the media that belong to it."""
        told = self.index(shard).told
        return told["sha256"], told["media"]

    def of_row(self, place: RowPlace) -> dict[tuple[int, int], MediaRecord]:
        """Return the media of a row by the number of their column and their position in it.

        Raises:
            RowRejected: one of them cannot be used; says which and why.
        """
        media = self.index(place.shard).of_row(place.row)
        for (column, position), record in media.items():
            if record.refused is not None:
                raise of_medium(self._plan.sources[column], position, record.refused)
        return media

    def videos(self, shard: int) -> Iterator[tuple[int, Source, MediaRecord]]:
        """Yield the videos of a shard that can be used, as far as is known, each with its row in the shard."""
        index = self.index(shard)
        for row in index.rows_with_media():
            for (column, _), record in index.of_row(row).items():
                if record.kind == "video" and record.refused is None:
                    yield row, self._plan.sources[column], record

    def size(self, place: RowPlace, record: MediaRecord) -> ImageSize | FramesSize:
        """Return how large a medium is as a model sees it; nothing is decoded.

        Raises:
            RowRejected: no frames are chosen of it, or they are known not to decode.
        """
        if record.kind == "image":
            width, height = fitted(record.width, record.height, self._plan.longest_side)
            return ImageSize(width=width, height=height)
        frames = self._kept_of(place.shard)
        video = frames.find(record.sha256) if frames is not None else None
        if video is not None and video.refused is not None:
            raise video.refused
        return self.chosen(record)

    def chosen(self, record: MediaRecord) -> FramesSize:
        """Return the frames of a video that are chosen.

        Raises:
            RowRejected: there are none, or they are too many for the memory.
        """
        assert record.frame_index is not None, "what is not refused has one"
        width, height = fitted(record.width, record.height, self._plan.longest_side)
        index = unpacked(record.frame_index)
        numbers = self._plan.frames.choose(index)
        check_pixels(width, height, len(numbers))
        return FramesSize(width=width, height=height, numbers=numbers, total=len(index.times), fps=record.fps)

    def decoded(self, place: RowPlace, source: Source, record: MediaRecord) -> Image | Frames:
        """Return a medium as pixels.

        Raises:
            RowRejected: it does not decode, or is not what it was any more.
            TrainError: the shard is gone or changed.
        """
        size = self.size(place, record)
        if isinstance(size, FramesSize):
            pixels = self._frames(place, source, record, size)
            return Frames(pixels=pixels, numbers=size.numbers, total=size.total, fps=size.fps)
        from train.feed.decoded_image import decoded_image

        data = self._reader.medium(place, source.name, record)
        data = data if isinstance(data, bytes) else data.read_bytes()
        return Image(pixels=decoded_image(data, (size.width, size.height)))

    def _frames(self, place: RowPlace, source: Source, record: MediaRecord, size: FramesSize) -> np.ndarray:
        """Return frames out of the cache, or as they would be if they were."""
        frames = self._kept_of(place.shard)
        video = frames.find(record.sha256) if frames is not None else None
        if frames is not None and video is not None:
            pixels = np.empty((len(size.numbers), size.height, size.width, 3), np.uint8)
            if frames.read(video, pixels):
                return pixels
        from train.feed.decoded_video import decoded_video

        assert record.frame_index is not None
        data, index = self._reader.medium(place, source.name, record), unpacked(record.frame_index)
        pixels = decoded_video(data, index, size.numbers, (size.width, size.height))
        if self._plan.picture is not None:
            as_kept(pixels, self._plan.picture)
        return pixels

    def cache_place(self, shard: int) -> CachePlace | None:
        """Return where the frames of a shard are kept, or None where none are."""
        plan = self._plan
        if plan.picture is None or not any(source.kind == "video" for source in plan.sources):
            return None
        decided = [plan.frames.plain(), plan.longest_side, plan.picture]
        return CachePlace(folder=plan.cache, key=fingerprint(CACHE_VERSION, *self.content(shard), *decided)[:32])

    def _kept_of(self, shard: int) -> CachedFrames | None:
        if shard not in self._kept:
            place = self.cache_place(shard)
            try:
                self._kept[shard] = None if place is None else CachedFrames(place)
            except (OSError, ValueError, KeyError, pa.ArrowException):
                self._kept[shard] = None
        return self._kept[shard]


def of_medium(source: Source, position: int, error: RowRejected) -> RowRejected:
    """Return a refusal that says which medium of the row it is about."""
    name = f"{source.name}[{position}]" if source.is_list else source.name
    return RowRejected(error.code, f"{name}: {error.message}")
