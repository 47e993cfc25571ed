"""Decoding the wanted frames of a video: by leaps to key frames where they can be trusted, else from the start."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, cast

from av.error import FFmpegError
from av.video.reformatter import Interpolation

from pipeline.media.frame_index import MiscountedError
from pipeline.media.opened_video import opened_video, words_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from pipeline.media.frame_index import FrameIndex, KeyFrame
    from pipeline.media.location import Location

WORTH_A_SEEK = 12
"""Frames that are rather decoded than leapt over."""
EXACT = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""How frames are converted: the same on every machine."""


class UnreachedError(Exception):
    """A packet or a frame is not where the index says."""


def decoded_frames(
    source: Location | bytes, index: FrameIndex, wanted: Sequence[int]
) -> Generator[tuple[int, VideoFrame]]:
    """Yield the wanted frames, which are in order, each with its number; leaps to key frames where that saves decoding.

    Raises:
        RowRejected: `media.decode` when one of them does not come out whole.
        MiscountedError: the index is wrong; some of them may have come out already.
    """
    runs = _runs(index, wanted)
    done = 0
    if [key for key, _, _ in runs] != [None]:
        try:
            with opened_video(source) as (container, stream):
                for key, begin, end in runs:
                    packets = packets_from(container, stream, index, key)
                    for found in _picked(packets, index, wanted[begin:end], key):
                        yield found
                        done += 1
        except (UnreachedError, FFmpegError):
            # containers lie about key frames: decode all that comes before as well
            pass
    if done < len(wanted):
        yield from _straight(source, index, wanted[done:])


def _runs(index: FrameIndex, wanted: Sequence[int]) -> list[tuple[KeyFrame | None, int, int]]:
    """Cut the wanted frames where a leap to a key frame (None: the start) saves decoding: (key frame, from, to)."""
    runs: list[tuple[KeyFrame | None, int, int]] = []
    decoded = -1
    for place, number in enumerate(wanted):
        key = index.key_of(number)
        if key is not None and key.time is not None and key.packet - decoded > WORTH_A_SEEK:
            runs.append((key, place, place + 1))
        elif runs:
            runs[-1] = (*runs[-1][:2], place + 1)
        else:
            runs.append((None, place, place + 1))
        decoded = max(decoded, index.positions[number]) if key else decoded
    return runs


def packets_from(
    container: InputContainer, stream: VideoStream, index: FrameIndex, key: KeyFrame | None
) -> Iterator[Packet[VideoStream]]:
    """Yield packets from a key frame on, or from the start.

    Raises:
        UnreachedError: the key frame is not where the index says.
    """
    if key is None:
        yield from container.demux(stream)
        return
    position, time = key
    container.seek(cast("int", time), stream=stream)
    begun = False
    wanted = index.times[index.numbers[position]]
    for packet in container.demux(stream):
        if not begun:
            begun = packet.pts == wanted and packet.size > 0
            number = index.number_of(packet.pts)
            if not begun and number is not None and index.positions[number] > position:
                break
        if begun:
            yield packet
    if not begun:
        raise UnreachedError


def _numbered(frames: Iterable[VideoFrame], index: FrameIndex, before: int) -> Iterator[tuple[int, VideoFrame]]:
    """Yield frames with the numbers that their times say; `before` is the last number that came out."""
    for frame in frames:
        number = index.number_of(frame.pts)
        if number is None:
            continue
        if number <= before:
            raise MiscountedError
        before = number
        yield number, frame


def _picked(
    packets: Iterable[Packet[VideoStream]], index: FrameIndex, wanted: Sequence[int], key: KeyFrame | None
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the wanted ones among the frames that come out of packets, which begin with a key frame."""
    done, before = 0, -1
    begin = 0 if key is None else index.numbers[key.packet]
    for packet in packets:
        if packet.size == 0 and packet.dts is not None:
            continue
        try:
            frames = packet.decode()
        except FFmpegError:
            number = index.number_of(packet.pts)
            if packet.size and (number is None or number < begin):
                # shown before the key frame, it may need what is before, and is not wanted
                continue
            raise
        for number, frame in _numbered(frames, index, before):
            before = number
            if number < wanted[done]:
                continue
            if number > wanted[done] or frame.is_corrupt:
                raise UnreachedError
            yield number, frame
            done += 1
            if done == len(wanted):
                return
    raise UnreachedError


def _straight(source: Location | bytes, index: FrameIndex, wanted: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the wanted frames, decoding from the start."""
    key = index.key_of(wanted[0])
    needed = key.packet if key else 0
    done, before, position = 0, -1, -1
    with opened_video(source) as (container, stream):
        for packet in container.demux(stream):
            if packet.size == 0 and packet.dts is not None:
                continue
            position += packet.size > 0
            try:
                frames = packet.decode()
            except FFmpegError as error:
                # what is damaged before what is needed is nobody's concern, and neither is what is never shown
                if index.positions and packet.size and (position < needed or index.numbers[position] < 0):
                    continue
                raise index.undecoded(wanted[done], f"does not decode: {words_of(error)}") from None
            numbered = _numbered(frames, index, before) if index.positions else enumerate(frames, before + 1)
            for number, frame in numbered:
                before = number
                if number < wanted[done]:
                    continue
                if number > wanted[done]:
                    raise MiscountedError
                if frame.is_corrupt:
                    raise index.undecoded(number, "is damaged")
                yield number, frame
                done += 1
                if done == len(wanted):
                    return
    if index.positions:
        raise MiscountedError
    raise index.undecoded(wanted[done], "does not decode")


def display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """Return how a frame is turned to be shown, as FFmpeg has it."""
    sides = cast("Any", frame.side_data)
    return struct.unpack("=9i", bytes(sides["DISPLAYMATRIX"])) if "DISPLAYMATRIX" in sides else None
