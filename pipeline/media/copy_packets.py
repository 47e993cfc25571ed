"""Copying packets into a clip, where exactly the wanted frames can be had so."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from av.error import FFmpegError

from pipeline.media.clip_file import clip_file
from pipeline.media.clip_sound import clip_sound
from pipeline.media.decoded_frames import WORTH_A_SEEK, UnreachedError, packets_from
from pipeline.media.frame_index import HIDDEN, LEFT_OUT, SAME_TIME
from pipeline.media.opened_video import opened_video

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.media.clip_file import Format, How
    from pipeline.media.frame_index import FrameIndex, KeyFrame
    from pipeline.media.location import Location

_INTO_MP4 = ("h264", "hevc", "av1", "mpeg4")
"""Codecs that are copied into MP4; the others into Matroska."""


class NotCopiedError(Exception):
    """A copy does not show what it should, or cannot be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WayToCopy:
    """A run of packets that can be copied, and the frames in it."""

    format: Format
    key: KeyFrame
    count: int
    """Packets."""
    frames: range


def ways_to_copy(index: FrameIndex, wanted: range, *, exact: bool) -> Iterator[WayToCopy]:
    """Yield packets that hold these frames and no others; not `exact`, a few others too, and from one more key on."""
    format_: Format = "mp4" if index.traits.codec in _INTO_MP4 else "matroska"
    key = index.key_of(wanted.start)
    place = index.keys.index(key) if key else -1
    for key in reversed(index.keys[: place + 1]):
        begin = index.numbers[key.packet]
        if exact and begin != wanted.start:
            return
        highest, shown = -1, 0
        for count, number in enumerate(itertools.islice(index.numbers, key.packet, None), 1):
            # what an edit list leaves out would be shown; what is shown before the key frame may need what is before
            if number == LEFT_OUT or 0 <= number < begin:
                break
            if number != HIDDEN:
                shown += 1
                highest = max(highest, number)
            if highest + 1 >= wanted.stop and highest + 1 - begin == shown:
                if not exact or highest + 1 == wanted.stop:
                    yield WayToCopy(format=format_, key=key, count=count, frames=range(begin, highest + 1))
                break


def copy_packets(source: Location, index: FrameIndex, way: WayToCopy, temporary: Path) -> How | None:
    """Write a clip of copied packets, and return what became of the sound.

    Raises:
        NotCopiedError: that does not work out; what is wrong with the source, encoding finds out.
    """
    try:
        with clip_file(temporary, way.format) as output, opened_video(source) as (container, stream):
            # opaque: decoders (dav1d) have no encoder of the same name
            copy = output.add_stream_from_template(stream, opaque=True)
            with clip_sound(source, output, way.format, index.when(way.frames)) as sound:
                key = way.key if way.key.packet > WORTH_A_SEEK and way.key.time is not None else None
                packets = (packet for packet in packets_from(container, stream, index, key) if packet.size)
                skipped = 0 if key else way.key.packet
                base, zero = index.base, index.times[way.frames.start]
                for packet in itertools.islice(packets, skipped, skipped + way.count):
                    number = index.number_of(packet.pts)
                    if number is not None:
                        # Matroska knows no lengths, and the last frame has nothing behind it to tell
                        packet.duration = round((index.time(number + 1) - index.time(number)) / base)
                    packet.pts = None if packet.pts is None else packet.pts - zero
                    packet.dts = None if packet.dts is None else packet.dts - zero
                    sound.up_to(((packet.dts if packet.dts is not None else packet.pts) or 0) * base)
                    packet.stream = copy
                    output.mux(packet)
                sound.up_to(None)
        right = _shows(temporary, index, way)
    except (UnreachedError, FFmpegError, ValueError) as error:
        # also a codec that the format does not take
        raise NotCopiedError from error
    if not right:
        raise NotCopiedError
    return sound.how


def _shows(clip: Path, index: FrameIndex, way: WayToCopy) -> bool:
    """Decode a clip: is each frame there, whole and on time?"""
    wanted = iter(way.frames)
    zero = index.time(way.frames.start)
    with opened_video(clip) as (container, stream):
        base = stream.time_base or Fraction(1)
        for frame in container.decode(stream):
            number = next(wanted, None)
            if number is None or frame.is_corrupt or frame.pts is None:
                return False
            if abs(frame.pts * base - (index.time(number) - zero)) > SAME_TIME:
                return False
    return next(wanted, None) is None
