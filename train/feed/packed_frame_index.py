"""The frames of a video as some bytes, so that nobody reads its packets a second time: some 100 bytes for a clip."""

from __future__ import annotations

import json
import zlib
from array import array
from fractions import Fraction

import numpy as np

from pipeline.media.frame_index import FrameIndex, KeyFrame, VideoTraits

_NO_TIME = np.iinfo(np.int64).min


def packed(index: FrameIndex) -> bytes:
    """Return an index as bytes: numbers as differences, which hardly differ where the frames are evenly spread."""
    times = [_NO_TIME if key.time is None else key.time for key in index.keys]
    columns = [index.times, index.positions, index.numbers, [key.packet for key in index.keys], times]
    aspect = index.traits.aspect
    head = [
        index.traits.codec,
        None if aspect is None else [aspect.numerator, aspect.denominator],
        [index.base.numerator, index.base.denominator],
        index.end,
        index.counted,
        [len(column) for column in columns],
    ]
    # wraps around where a time is missing, and back again
    differences = [np.diff(np.asarray(column, np.int64), prepend=np.int64(0)) for column in columns]
    return zlib.compress(json.dumps(head).encode() + b"\n" + b"".join(column.tobytes() for column in differences))


def unpacked(data: bytes) -> FrameIndex:
    """Return the index that `packed` wrote."""
    head, _, body = zlib.decompress(data).partition(b"\n")
    codec, aspect, base, end, counted, lengths = json.loads(head)
    columns: list[array[int]] = []
    place = 0
    for length in lengths:
        differences = np.frombuffer(body, np.int64, length, place)
        columns.append(array("q", np.cumsum(differences, dtype=np.int64).tobytes()))
        place += 8 * length
    times, positions, numbers, packets, key_times = columns
    return FrameIndex(
        traits=VideoTraits(codec=codec, aspect=None if aspect is None else Fraction(*aspect)),
        base=Fraction(*base),
        times=times,
        end=end,
        positions=positions,
        numbers=numbers,
        keys=tuple(
            KeyFrame(packet, None if time == _NO_TIME else time)
            for packet, time in zip(packets, key_times, strict=True)
        ),
        counted=counted,
    )
