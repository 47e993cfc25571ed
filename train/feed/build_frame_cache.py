"""Building the cache of frames: once for a dataset, a sampling and a size; in bounded processes, as bytes that last."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.errors import RowRejected
from pipeline.executor import default_workers
from pipeline.media.bounded import BoundedProcesses
from pipeline.media.location import FilePart
from pipeline.workspace import holding, writing
from train.feed.frame_cache import CachedFrames, KeptVideo, write_cache_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from train.feed.decoded_image import Picture
    from train.feed.frame_cache import CachePlace
    from train.feed.training_data import TrainingData

JOB = "train.feed.jobs:cached_video"
BYTES: dict[Picture, tuple[float, int]] = {"jpeg": (0.4, 620), "png": (2.2, 100)}
"""Of a pixel, and of each picture: more than cartoons take at 256 pixels or more, twice what cameras' do."""
_READ_AT_ONCE = 16 << 20
_AT_ONCE = 4 << 20
"""Bytes of videos that a process is given at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoOrder:
    """A video whose chosen frames are wanted."""

    sha256: bytes
    size: int
    patience: float
    place: str | list[Any]
    index: bytes
    numbers: tuple[int, ...]
    sides: tuple[int, int]
    picture: Picture

    def arguments(self) -> list[Any]:
        """Return what `cached_video` is called with."""
        index = base64.b64encode(self.index).decode()
        return [self.place, self.sha256.hex(), index, [list(self.numbers), *self.sides, self.picture]]


@dataclass(slots=True, kw_only=True)
class CacheReport:
    """What a build of the cache came to."""

    videos: int = 0
    """Videos whose frames are kept now."""
    bytes: int = 0
    """Of all pictures."""
    made: int = 0
    """Videos that were decoded for it now."""
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    """Videos whose frames do not come out, by sha256, with code and message; `shape` and `unusable` name their rows."""
    left_out: int = 0
    """Videos for which there was no room; they are decoded each time."""


def estimated_bytes(data: TrainingData) -> int:
    """Return how large the cache becomes at the most, as a rule: from the number and the size of the frames."""
    picture = data.plan.picture
    if picture is None:
        return 0
    of_a_pixel, of_each = BYTES[picture]
    return sum(
        len(order.numbers) * (round(order.sides[0] * order.sides[1] * of_a_pixel) + of_each)
        for shard in range(len(data.plan.shards))
        for order in _orders(data, shard)
    )


def build_frame_cache(
    data: TrainingData,
    *,
    most_bytes: int | None = None,
    processes: int | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> CacheReport:
    """Keep the chosen frames of all videos, as `data` was opened to keep them; what is kept already is left as it is.

    Each shard's frames are whole or not there. `most_bytes` is the room for all of them: videos beyond it are left out,
    and a later build with more room makes their shards anew. Of several processes that want a cache, one makes it.

    Raises:
        ShardwrightError: no process can be started, or the disk is full.
    """
    report = CacheReport()
    places = [(shard, data.media.cache_place(shard)) for shard in range(len(data.plan.shards))]
    wanted = [(shard, place) for shard, place in places if place is not None]
    if wanted:
        lock = data.plan.cache / f"lock-{wanted[0][1].key[:16]}"
        with holding(lock), BoundedProcesses(processes or default_workers()) as decoders:
            for shard, place in wanted:
                room = None if most_bytes is None else most_bytes - report.bytes
                if not _is_kept(data, shard, place, room, report):
                    _keep(list(_orders(data, shard)), place, room, decoders, report=report, advance=advance)
        data.media.close()  # what was not there before is looked for anew
    return report


def _is_kept(data: TrainingData, shard: int, place: CachePlace, room: int | None, report: CacheReport) -> bool:
    """Tell whether the frames of a shard are kept, all of them or as many as there was room for; counts them."""
    with suppress(OSError, ValueError, KeyError, pa.ArrowException):
        kept = CachedFrames(place)
        try:
            known = [kept.find(order.sha256) for order in _orders(data, shard)]
        finally:
            kept.close()
        missing = known.count(None)
        if missing and (room is None or kept.bytes < room):
            return False
        report.left_out += missing
        report.bytes += kept.bytes
        for video in known:
            _count(video, report)
        return True
    return False


def _count(video: KeptVideo | None, report: CacheReport) -> None:
    if video is not None and video.refused is not None:
        report.refused.append((video.sha256.hex(), video.refused.code, video.refused.message))
    elif video is not None:
        report.videos += 1


def _keep(
    orders: list[VideoOrder],
    place: CachePlace,
    room: int | None,
    decoders: BoundedProcesses,
    *,
    report: CacheReport,
    advance: Callable[[int], object],
) -> None:
    kept: list[KeptVideo] = []
    size = 0
    with writing(place.frames) as temporary, temporary.open("wb", buffering=0) as file:
        for answer in decoders.work(JOB, orders, advance=advance, at_once=_AT_ONCE):
            order, found = answer.order, answer.found
            if not isinstance(found, RowRejected) and found[0] is None:
                found = RowRejected(found[1], found[2])
            if isinstance(found, RowRejected):
                kept.append(KeptVideo(sha256=order.sha256, refused=found))
                continue
            pictures = [base64.b64decode(one) for one in found[0]]
            data = b"".join(pictures)
            if room is not None and size + len(data) > room:
                report.left_out += 1
                continue
            file.write(data)
            sizes, proof = tuple(map(len, pictures)), hashlib.sha256(data).digest()
            kept.append(KeptVideo(sha256=order.sha256, offset=size, sizes=sizes, proof=proof))
            size += len(data)
    for video in kept:
        _count(video, report)
    report.made += len(kept)
    report.bytes += size
    write_cache_index(place, kept, size)


def _orders(data: TrainingData, shard: int) -> Iterator[VideoOrder]:
    """Yield an order for each video of a shard; one that stands in several rows is decoded once."""
    picture = data.plan.picture
    assert picture is not None, "asked before"
    known: set[bytes] = set()
    for row, source, record in data.media.videos(shard):
        if record.sha256 in known:
            continue
        known.add(record.sha256)
        try:
            frames = data.media.chosen(record)
        except RowRejected:
            continue  # no frames are chosen of it, as `shape` says
        path = data.plan.shards[shard].path
        if record.file is not None:
            path = data.plan.root / record.file
        whole = record.file is not None and record.offset is None
        where: str | list[Any] = str(path if whole else FilePart(path, record.offset or 0, record.size))
        if record.file is None and record.offset is None:
            rows = max(1, _READ_AT_ONCE // max(1, record.size))
            lies = data.places.of(int(data.places.shards[shard]) + row)
            where = [str(path), lies.group, lies.row_of_group, source.name, record.position, rows]
        assert record.frame_index is not None
        yield VideoOrder(
            sha256=record.sha256,
            size=record.size,
            patience=1 + len(frames.numbers) / 8,
            place=where,
            index=record.frame_index,
            numbers=frames.numbers,
            sides=(frames.width, frames.height),
            picture=picture,
        )
