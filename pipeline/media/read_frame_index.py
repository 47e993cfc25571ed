"""Reading the index of a video's frames, from its packets or by decoding them.

The packets are read once, without decoding them: they say which frames there are, when, and where decoding may begin.
Where they do not (AVI, bare streams), the video is decoded once instead.
"""

from __future__ import annotations

import functools
import itertools
from array import array
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar, cast

import av
from av.error import FFmpegError

from pipeline.errors import RowRejected
from pipeline.media.frame_index import HIDDEN, LEFT_OUT, FrameIndex, KeyFrame, MiscountedError, VideoTraits
from pipeline.media.opened_video import opened_video, refusals
from pipeline.media.video import probe_video

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.media.location import Location

_T = TypeVar("_T")
_NO_TIMES = 0x0080
"""AVFMT_NOTIMESTAMPS: a bare stream of a codec."""
_VP8_SHOWN = 0x10
"""The bit of a VP8 frame that says that it is shown (RFC 6386, 9.1)."""


def with_index(source: Location, work: Callable[[FrameIndex], _T]) -> _T:
    """Do what needs an index: with that of the packets, and where it proves wrong, anew with that of decoded frames.

    Raises:
        RowRejected: a code of `probe_video`; also for what FFmpeg says while the work is done.
    """
    with refusals():
        try:
            facts = source.stat()
        except OSError as error:
            raise RowRejected("media.missing", f"cannot be read: {error.strerror}") from None
        state = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        try:
            return work(_read_index(source, state, decoded=False))
        except MiscountedError:
            return work(_read_index(source, state, decoded=True))


@functools.lru_cache(maxsize=2)
def _read_index(source: Location, state: tuple[int, ...], *, decoded: bool) -> FrameIndex:
    """Return the index; many clips come from one video, and `state` tells whether it is still the same."""
    del state
    probe_video(source, "header")
    return read_index(source, decoded=decoded)


def read_index(source: Location | bytes, *, decoded: bool = False) -> FrameIndex:
    """Read the packets of a video that was probed, or decode them where `decoded`.

    Raises:
        RowRejected: `media.no_video`, `media.decode`.
        FFmpegError: likewise; `refusals` tells it in words.
    """
    stamps: list[int | None] = []
    shown: list[tuple[int | None, int, int]] = []
    keys: list[KeyFrame] = []
    without: dict[int, int] = {}
    first_key: int | None = None
    slots: list[int] = []
    seconds = Fraction(0)
    cut_off = False
    with opened_video(source) as (container, stream):
        base = stream.time_base or Fraction(1, 1000)
        timed = not container.format.flags & _NO_TIMES
        codec = stream.codec_context.codec.canonical_name
        for packet in container.demux(stream):
            # also AVI's empty chunks, where the last picture stays
            if packet.size == 0:
                continue
            position, length = len(stamps), packet.duration or 0
            stamps.append(packet.pts)
            if packet.is_keyframe and first_key is None:
                first_key = packet.pts
            if packet.is_discard:
                without[position] = LEFT_OUT
            elif codec == "vp8" and not memoryview(packet)[0] & _VP8_SHOWN:
                without[position] = HIDDEN
            else:
                shown.append((packet.pts, position, length))
                if packet.dts is not None:
                    slots.append(packet.dts)
                    seconds = (packet.dts + length - slots[0]) * base
                cut_off = packet.is_corrupt
                if packet.is_keyframe:
                    keys.append(KeyFrame(position, packet.pts if packet.dts is None else packet.dts))
        rate = stream.average_rate or Fraction(25)
        claimed = stream.duration or round((container.duration or 0) / av.time_base / base) or round(1 / rate / base)
        traits = VideoTraits(codec=codec, aspect=stream.sample_aspect_ratio)
        # AVI knows the order of decoding alone
        decoded = decoded or not timed or (container.format.name == "avi" and stream.codec_context.has_b_frames)
    if cut_off:
        raise RowRejected("media.decode", f"the file is cut off in frame {len(shown)}")
    order = sorted((pts, position, length) for pts, position, length in shown if pts is not None)
    times = {pts for pts, _, _ in order}
    if decoded or not order or first_key is None or not len(times) == len(order) == len(shown):
        usual = seconds / len(shown) if shown and seconds > 0 else 1 / rate
        return _index_by_decoding(source, traits, (base, slots) if timed else None, usual)
    lost = _never_shown(source, {pts: position for pts, position, _ in order}, first_key)
    without.update(dict.fromkeys(lost, HIDDEN))
    numbers = array("q", [without.get(position, 0) for position in range(len(stamps))])
    order = [packet for packet in order if packet[1] not in lost]
    for number, (_, position, _) in enumerate(order):
        numbers[position] = number
    return FrameIndex(
        traits=traits,
        base=base,
        times=array("q", [pts for pts, _, _ in order]),
        end=_end(order, max(claimed, 1)),
        positions=array("q", [position for _, position, _ in order]),
        numbers=numbers,
        keys=tuple(key for key in keys if key.packet not in lost),
        counted=len(order),
    )


def _end(order: list[tuple[int, int, int]], claimed: int) -> int:
    """Return the time at which the last of (time, packet, length) ends; one without a length stays as the others do."""
    if not order:
        raise RowRejected("media.decode", "no frame decodes")
    last, _, length = order[-1]
    if not length:
        length = max((last - order[0][0]) // (len(order) - 1), 1) if len(order) > 1 else claimed
    return max(itertools.chain([last + length], (pts + length for pts, _, length in order)))


def _never_shown(source: Location | bytes, times: dict[int, int], first_key: int) -> set[int]:
    """Return the packets that no player shows, because the start of the video, which they need, was cut off."""
    leading = {time: position for time, position in times.items() if time < first_key}
    if not leading:
        return set()
    with opened_video(source) as (container, stream):
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except FFmpegError:
                continue
            for frame in frames:
                if frame.pts is not None and frame.pts >= first_key:
                    return set(leading.values())
                leading.pop(cast("int", frame.pts), None)
    return set(leading.values())


def _index_by_decoding(
    source: Location | bytes, traits: VideoTraits, slots: tuple[Fraction, list[int]] | None, usual: Fraction
) -> FrameIndex:
    """Return the index of a video whose packets do not tell: its frames are those that come out, in their order.

    `slots` are ticks and the times of decoding, if there are any; `usual` are the seconds of a frame.
    """
    stamps: list[int | None] = []
    counted: int | None = None
    with opened_video(source) as (container, stream):
        for packet in container.demux(stream):
            if packet.size == 0 and packet.dts is not None:
                continue
            try:
                stamps.extend(frame.pts for frame in packet.decode())
            except FFmpegError:
                counted = len(stamps) if counted is None else counted
    if not stamps:
        raise RowRejected("media.decode", "no frame decodes")
    known = [stamp for stamp in stamps if stamp is not None]
    base, ticks = slots or (usual, [])
    if not (slots and len(known) == len(stamps) and _rising(known)):
        known = ticks
    if not (len(known) == len(stamps) and _rising(known)):
        known = list(range(len(stamps)))
        base = max(usual.limit_denominator(1_000_000), Fraction(1, 1_000_000))
    length = round((known[-1] - known[0]) / (len(known) - 1)) if len(known) > 1 else round(usual / base)
    nothing = array("q")
    return FrameIndex(
        traits=traits,
        base=base,
        times=array("q", known),
        end=known[-1] + max(length, 1),
        positions=nothing,
        numbers=nothing,
        keys=(),
        counted=len(stamps) if counted is None else counted,
    )


def _rising(times: list[int]) -> bool:
    return all(one < two for one, two in itertools.pairwise(times))
