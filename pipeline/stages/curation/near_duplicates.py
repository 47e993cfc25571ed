"""Rows whose images and videos look alike, by the perceptual hashes of pictures and of some frames.

Two images are alike when their hashes differ in few bits and their shapes are the same; two videos, when the frames at
the same parts of them are. What has no hash (pictures on one ground, such as formulas and pages; very small ones) is
like nothing but itself. Two rows are alike when they have as many media, each like the one at its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import RowRejected
from pipeline.media.alike import AlikeRows, LookOfMedia
from pipeline.media.measure import FRAMES
from pipeline.media.picture_hash import HASH_BITS
from pipeline.samples import media_facts
from pipeline.stages.curation.pixels import measured, measuring

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pipeline.build import Build
    from pipeline.curate_spec import NearSpec
    from pipeline.media.facts import Kind
    from pipeline.recipe import Config
    from pipeline.stages.curation.measures import Measures

_KINDS: tuple[Kind, ...] = ("image", "video")
_FRAMES_NEEDED = 3
"""Frames of a video that must have a hash, and be alike."""


def nearly_the_same(
    build: Build, config: Config, samples: pa.Table, spec: NearSpec, measures: Measures
) -> Iterator[tuple[int, str, str]]:
    """Yield the samples that look like one that stays, with its file and line, and those that cannot be measured."""
    seen = _SeenMedia()
    positions: list[int] = []
    with measuring(build) as known:
        for first, rows in media_facts(build, samples, config.name):
            media = [medium for row in rows for medium in row if (medium["kind"], medium["sha256"]) not in seen.numbers]
            pixels = {kind: measured(known, media, kind, "pixels") for kind in _KINDS}
            for position, row in enumerate(rows):
                if row and (broken := seen.add(row, pixels)) is None:
                    positions.append(first + position)
                elif row and broken is not None:
                    yield first + position, *broken
    order = np.arange(len(positions))
    if spec.keep == "largest":
        order = np.argsort(-np.array(seen.row_pixels, np.int64), kind="stable")
    alike, apart = AlikeRows(seen.look(), *seen.in_order(order), spec.distance).find()
    places = np.array(positions, np.int64)[order]
    files, lines, numbers = build.files_of(config.name), samples.column("line"), samples.column("file")
    left_out = np.flatnonzero(alike >= 0)
    for row in left_out[np.argsort(places[left_out])]:
        other = int(places[alike[row]])
        measures.add("distance", int(apart[row]))
        place = f"{files[numbers[other].as_py()].name}:{lines[other].as_py()}"
        message = f"looks like {place}: their hashes differ in {apart[row]} of {HASH_BITS} bits"
        yield int(places[row]), "curate.near_duplicate", message


@dataclass
class _SeenMedia:
    """The media of rows, each different one once."""

    numbers: dict[tuple[str, str], int | RowRejected] = field(default_factory=dict)
    """Kind and hash of a medium -> its number, or why it cannot be measured."""
    row_pixels: list[int] = field(default_factory=list)
    """Pixels of the media of each row."""
    _hashes: list[bytes] = field(default_factory=list)
    _there: list[int] = field(default_factory=list)
    _needed: list[int] = field(default_factory=list)
    _shapes: list[float] = field(default_factory=list)
    _kinds: list[int] = field(default_factory=list)
    _media: list[int] = field(default_factory=list)
    _offsets: list[int] = field(default_factory=lambda: [0])

    def add(self, row: list[dict[str, Any]], pixels: dict[Kind, dict[str, Any]]) -> tuple[str, str] | None:
        """Add the media of a row; returns the reason and a message when one of them cannot be measured."""
        numbers: list[int] = []
        for medium in row:
            key = (medium["kind"], medium["sha256"])
            number = self.numbers.get(key)
            if number is None:
                found = pixels[medium["kind"]][medium["sha256"]]
                number = self.numbers[key] = found if isinstance(found, RowRejected) else self._number(medium, found)
            if isinstance(number, RowRejected):
                return number.code, f"{medium['name']}: it cannot be measured: {number.message}"
            numbers.append(number)
        self._media += numbers
        self._offsets.append(len(self._media))
        self.row_pixels.append(sum((medium["width"] or 0) * (medium["height"] or 0) for medium in row))
        return None

    def _number(self, medium: dict[str, Any], found: dict[str, Any]) -> int:
        """Take up a medium that was not seen before."""
        hashes: list[str | None] = found["hashes"]
        needed = min(_FRAMES_NEEDED, len(hashes))
        if sum(one is not None for one in hashes) < max(needed, 1):
            # its own hash, which is like no other
            hashes, needed = [medium["sha256"][: HASH_BITS // 4]], 1
        self._there.append(sum(1 << place for place, one in enumerate(hashes) if one is not None))
        self._hashes.append(b"".join(bytes.fromhex(one) if one else bytes(HASH_BITS // 8) for one in hashes))
        self._needed.append(needed)
        self._shapes.append(log((medium["width"] or 1) / (medium["height"] or 1)))
        self._kinds.append(_KINDS.index(medium["kind"]))
        return len(self._kinds) - 1

    def look(self) -> LookOfMedia:
        """Return what the media look like."""
        pictures = FRAMES if any(self._kinds) else 1
        size = pictures * HASH_BITS // 8
        hashes = np.frombuffer(b"".join(one.ljust(size, b"\0") for one in self._hashes), np.uint64)
        there = np.array(self._there, np.uint8)[:, None] >> np.arange(pictures, dtype=np.uint8) & 1
        return LookOfMedia(
            hashes=hashes.reshape(-1, pictures, 2),
            there=there.astype(bool),
            needed=np.array(self._needed, np.int64),
            shapes=np.array(self._shapes, np.float64),
            kinds=np.array(self._kinds, np.uint8),
        )

    def in_order(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the media of rows in another order: their numbers, and where those of each row begin."""
        media, offsets = np.array(self._media, np.int64), np.array(self._offsets, np.int64)
        counts = np.diff(offsets)[order]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        within = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
        return media[np.repeat(offsets[:-1][order], counts) + within], starts
