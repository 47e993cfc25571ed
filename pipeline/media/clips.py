"""Clips cut out of long videos, and frames sampled from them: to the frame, and the same bytes every time.

A frame is known by its number in the order of display, counted from 0, or by its time. Time 0 is where the first frame
begins, so that a video of N seconds ends at N as the probe says it. A border and a frame that are less than a
millisecond apart are at the same time: clocks of files and people's notes are rounded to milliseconds.

The packets are read once, without decoding them: they say which frames there are, when, and where decoding may begin.
Where they do not (AVI, bare streams), the video is decoded once instead.

Writes files, so a process that runs this must be allowed to (`RLIMIT_FSIZE`).
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import os
import struct
from array import array
from bisect import bisect_left, bisect_right
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast

import av
from av.codec.context import Flags as CodecFlags
from av.error import FFmpegError
from av.video.reformatter import Colorspace, Interpolation

from pipeline.errors import RowRejected
from pipeline.media.video import CONTAINERS, MAX_PIXELS, probe_video
from pipeline.workspace import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_T = TypeVar("_T")
How = Literal["copied", "encoded"]
Format = Literal["mp4", "matroska"]
Picture = Literal["png", "jpeg"]

SAME_TIME = Fraction(1, 1000)
"""Seconds by which a frame and a border may differ and still be at the same time; less where frames are as close."""
QUALITY = 18
"""x264's constant rate factor."""
PRESET = "veryfast"
KEY_FRAME_EVERY = 50
"""Frames, so that whoever samples the clip decodes few in vain."""
JPEG_QUALITY = 95
_MP4_VIDEO = ("h264", "hevc", "av1", "mpeg4")
"""Codecs that go into MP4 when they are copied; the others go into Matroska."""
_MP4_SOUND = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")
_MATROSKA_SOUND = (*_MP4_SOUND, "vorbis", "pcm_s16le")
"""Codecs of sound that are copied; the others become AAC."""
_SOUND_LAYOUTS = ("mono", "stereo", "5.1")
"""Layouts of speakers that AAC keeps; the others become stereo."""
_NO_TIMES = 0x0080
"""AVFMT_NOTIMESTAMPS: a bare stream of a codec."""
_ATTACHED_PICTURE = 0x0400
"""AV_DISPOSITION_ATTACHED_PIC: a cover inside of an audio file."""
_COPIES = 3
"""Key frames that are tried for a copy; not from all that are called so can be decoded."""
_WORTH_A_SEEK = 12
"""Frames that are rather decoded than leapt over."""
_SOUND_BEFORE = Fraction(1)
"""Seconds by which sound is sought early, since its packets begin where they like."""
_DISCARDED, _HIDDEN = -1, -2
"""Packets without a number: an edit list leaves them out, or they only help to decode others."""
_VP8_SHOWN = 0x10
"""The bit of a VP8 frame that says that it is shown (RFC 6386, 9.1)."""
_EXACT = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_BITEXACT = 0x0400
"""AVFMT_FLAG_BITEXACT."""
_RGB = 0
"""AVCOL_SPC_RGB."""
_AAC_SAMPLES = 1024
"""Samples of a packet."""
_MPEG4_TICKS = 60_000
"""Ticks of a second: MPEG-4 cannot say more than 65,535."""
_FLIP_SIDES, _FLIP_TOP, _TURN_LEFT, _TURN_RIGHT, _TRANSPOSE, _TRANSVERSE = 0, 1, 2, 4, 5, 6
"""Pillow's numbers of the ways to turn a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of a video, in seconds or in frames; what is left out is the video's own start or end."""

    start: Fraction | float | None = None
    """Seconds."""
    end: Fraction | float | None = None
    """Seconds; a frame that begins here is outside."""
    first_frame: int | None = None
    """Counted from 0 in the order of display."""
    last_frame: int | None = None
    """The first frame that is outside."""

    def __post_init__(self) -> None:
        if self.in_frames and not (self.start is None and self.end is None):
            raise ValueError("a span is in seconds or in frames, and not in both")

    @property
    def in_frames(self) -> bool:
        """Is it in frames?"""
        return self.first_frame is not None or self.last_frame is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class CutClip:
    """What was cut."""

    how: How
    format: Format
    frames: int
    start: float
    """Seconds of the source at which the first frame begins."""
    end: float
    """Seconds of the source at which the last frame ends."""
    audio: How | None
    """What became of the sound; None: there is none in the span."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledFrame:
    """A frame as an upright picture."""

    number: int
    """Counted from 0 in the order of display."""
    time: float
    """Seconds at which it begins."""
    width: int
    height: int
    data: bytes


def cut_clip(source: Path, span: Span, destination: Path, *, exact: bool = True) -> CutClip:
    """Cut the frames out whose times lie in [start, end), and the sound beside them.

    The packets are copied where exactly these frames can be had so: the first is a key frame, and none in between needs
    one outside. The copy is then decoded whole, which proves it. Else the frames are encoded anew, as H.264 of the same
    size, times and colours. Not `exact`, a clip may begin and end as much further out as copying needs.

    Sound is copied from the first packet that begins inside to the last one, or encoded as AAC where the clip's format
    does not take its codec. Of several sounds the one that players choose is kept; subtitles and metadata are not.

    Raises:
        RowRejected: `clip.span`, `clip.empty` (no frame begins in it), `clip.encode` (there is no way to encode it), or
            a code of `probe_video`.
        WorkspaceError: the destination cannot be written.
    """

    def cut(index: _Index) -> CutClip:
        first, last, _, _ = _bounds(span, index)
        for way in itertools.islice(_ways_to_copy(index, first, last, exact=exact), _COPIES):
            copied = _copy(source, index, way, temporary)
            if copied is not None:
                return copied
        return _encode(source, index, range(first, last), temporary)

    with writing(destination) as temporary:
        return _by_index(source, cut)


def sample_frames(
    source: Path,
    *,
    count: int | None = None,
    per_second: float | None = None,
    span: Span | None = None,
    most: int = 1_000,
    picture: Picture = "jpeg",
) -> list[SampledFrame]:
    """Return frames as pictures: those on screen in the middles of `count` equal parts, or `per_second` from the start.

    Each frame comes once, so there are fewer where the video has fewer, or where one of them stays long.

    Raises:
        RowRejected: `clip.most` (there would be more than `most`), or a code of `cut_clip`.
    """
    if (count is None) == (per_second is None):
        raise ValueError("give either `count` or `per_second`")
    if not 0 < (count or per_second or 0) < math.inf:
        raise ValueError("frames are sampled by a number above 0")

    def sample(index: _Index) -> list[SampledFrame]:
        first, last, start, end = _bounds(span or Span(), index)
        if count is None:
            numbers = index.at_steps(range(first, last), start, end, 1 / Fraction(per_second or 1))
        elif count < last - first:
            middles = (start + (end - start) * Fraction(2 * part + 1, 2 * count) for part in range(count))
            numbers = sorted({min(max(index.on_screen(middle), first), last - 1) for middle in middles})
        else:
            numbers = list(range(first, last))
        if len(numbers) > most:
            raise RowRejected("clip.most", f"it gives {len(numbers):,} frames, and {most:,} are allowed")
        shown = _frames(source, index, numbers)
        return [_sampled(number, float(index.time(number)), frame, picture) for number, frame in shown]

    return _by_index(source, sample)


def spans_of_runs(values: Iterable[tuple[int, str]], fps: Fraction | float | None) -> list[tuple[str, Span]]:
    """Join consecutive frames of one value: (frame, value) in the order of frames -> (value, span).

    Spans are in seconds, at `fps` frames a second; without it they are in frames, as the video counts them. A number
    that is left out ends a run.

    Raises:
        ValueError: the frames are not in order, or one comes twice.
    """
    if fps is not None and not 0 < fps < math.inf:
        raise ValueError(f"{fps} frames a second are no rate")
    runs: list[tuple[str, int, int]] = []
    before = -1
    for number, value in values:
        if number < 0:
            raise ValueError(f"frame {number} is below 0")
        if number == before:
            raise ValueError(f"frame {number} comes twice")
        if number < before:
            raise ValueError(f"frame {number} comes behind frame {before}; frames must be in order")
        if runs and number == before + 1 and runs[-1][0] == value:
            runs[-1] = (value, runs[-1][1], number + 1)
        else:
            runs.append((value, number, number + 1))
        before = number
    if fps is None:
        return [(value, Span(first_frame=first, last_frame=last)) for value, first, last in runs]
    rate = Fraction(fps)
    return [(value, Span(start=first / rate, end=last / rate)) for value, first, last in runs]


# what there is


@dataclass(frozen=True, slots=True, kw_only=True)
class _About:
    """What is known of a video beside its frames."""

    codec: str
    aspect: Fraction | None
    """Width of a pixel by its height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """The frames of a video: when they are shown, and in which packets they lie."""

    about: _About
    base: Fraction
    """Seconds of a tick."""
    times: array[int]
    """Frame -> ticks, in the order of display."""
    end: int
    """Ticks at which the last frame ends."""
    positions: array[int]
    """Frame -> its packet, counted in the file; empty when only decoding tells."""
    numbers: array[int]
    """Packet -> its frame, or why it has none; empty likewise."""
    keys: tuple[tuple[int, int | None], ...]
    """Packets that are key frames and shown, with the time at which they are sought."""
    counted: int
    """Frames of which the numbers are sure."""

    def time(self, number: int) -> Fraction:
        """Return the seconds at which a frame begins; those of the frame behind the last one are the end."""
        ticks = self.times[number] if number < len(self.times) else self.end
        return (ticks - self.times[0]) * self.base

    def when(self, frames: range) -> tuple[Fraction, Fraction]:
        """Return the time at which frames begin and end by the file's own clock, which is that of the sound as well."""
        zero = self.times[0] * self.base
        return zero + self.time(frames.start), zero + self.time(frames.stop)

    def slack(self) -> Fraction:
        """Return the seconds that make no difference."""
        return min(SAME_TIME, self.time(len(self.times)) / len(self.times) / 4)

    def from_time(self, seconds: Fraction) -> int:
        """Return the first frame that begins at a time or later."""
        return bisect_left(self.times, (seconds - self.slack()) / self.base + self.times[0])

    def on_screen(self, seconds: Fraction) -> int:
        """Return the frame that is seen at a time."""
        return bisect_right(self.times, (seconds + self.slack()) / self.base + self.times[0]) - 1

    def at_steps(self, frames: range, start: Fraction, end: Fraction, step: Fraction) -> list[int]:
        """Return those of some frames that are on screen at the start, or a number of steps behind it."""
        slack = self.slack()
        steps = max(math.ceil((end - slack - start) / step), 1)
        if steps <= len(frames):
            moments = (start + number * step for number in range(steps))
            return sorted({min(max(self.on_screen(moment), frames.start), frames.stop - 1) for moment in moments})
        found = [frames.start]
        for number in frames[1:]:
            begin, until = self.time(number) - slack - start, min(self.time(number + 1), end) - slack - start
            if math.ceil(begin / step) * step < until:
                found.append(number)
        return found

    def number_of(self, ticks: int | None) -> int | None:
        """Return the frame at exactly this time."""
        place = len(self.times) if ticks is None else bisect_left(self.times, ticks)
        return place if place < len(self.times) and self.times[place] == ticks else None

    def key_of(self, number: int) -> tuple[int, int | None] | None:
        """Return the last key frame from which a frame can be decoded."""
        if not self.keys:
            return None
        place = bisect_right(self.keys, self.positions[number], key=lambda key: key[0])
        # a frame shown before a key frame and stored behind it needs the one before
        while place and self.numbers[self.keys[place - 1][0]] > number:
            place -= 1
        return self.keys[place - 1] if place else None


class _MiscountedError(Exception):
    """Frames come out that the packets did not tell of, or in another order."""


def _by_index(source: Path, work: Callable[[_Index], _T]) -> _T:
    """Do what needs an index: with that of the packets, and where it proves wrong, with that of the decoded frames."""
    with _refusals():
        try:
            facts = source.stat()
        except OSError as error:
            raise RowRejected("media.missing", f"cannot be read: {error.strerror}") from None
        state = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        try:
            return work(_read_index(source, state, decoded=False))
        except _MiscountedError:
            return work(_read_index(source, state, decoded=True))


@functools.lru_cache(maxsize=2)
def _read_index(source: Path, state: tuple[int, ...], *, decoded: bool) -> _Index:
    """Read the packets, or decode them; many clips come from one video, and `state` tells whether it is still the same.

    Raises:
        RowRejected: a code of `probe_video`.
    """
    del state
    probe_video(source, "header")
    stamps: list[int | None] = []
    shown: list[tuple[int | None, int, int]] = []
    keys: list[tuple[int, int | None]] = []
    without: dict[int, int] = {}
    first_key: int | None = None
    slots: list[int] = []
    seconds = Fraction(0)
    cut_off = False
    with _opened(source) as (container, stream):
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
                without[position] = _DISCARDED
            elif codec == "vp8" and not memoryview(packet)[0] & _VP8_SHOWN:
                without[position] = _HIDDEN
            else:
                shown.append((packet.pts, position, length))
                if packet.dts is not None:
                    slots.append(packet.dts)
                    seconds = (packet.dts + length - slots[0]) * base
                cut_off = packet.is_corrupt
                if packet.is_keyframe:
                    keys.append((position, packet.pts if packet.dts is None else packet.dts))
        rate = stream.average_rate or Fraction(25)
        claimed = stream.duration or round((container.duration or 0) / av.time_base / base) or round(1 / rate / base)
        about = _About(codec=codec, aspect=stream.sample_aspect_ratio)
        # AVI knows the order of decoding alone
        decoded = decoded or not timed or (container.format.name == "avi" and stream.codec_context.has_b_frames)
    if cut_off:
        raise RowRejected("media.decode", f"the file is cut off in frame {len(shown)}")
    order = sorted((pts, position, length) for pts, position, length in shown if pts is not None)
    times = {pts for pts, _, _ in order}
    if decoded or not order or first_key is None or not len(times) == len(order) == len(shown):
        usual = seconds / len(shown) if shown and seconds > 0 else 1 / rate
        return _index_by_decoding(source, about, (base, slots) if timed else None, usual)
    lost = _never_shown(source, {pts: position for pts, position, _ in order}, first_key)
    without.update(dict.fromkeys(lost, _HIDDEN))
    numbers = array("q", [without.get(position, 0) for position in range(len(stamps))])
    order = [packet for packet in order if packet[1] not in lost]
    for number, (_, position, _) in enumerate(order):
        numbers[position] = number
    return _Index(
        about=about,
        base=base,
        times=array("q", [pts for pts, _, _ in order]),
        end=_end(order, max(claimed, 1)),
        positions=array("q", [position for _, position, _ in order]),
        numbers=numbers,
        keys=tuple(key for key in keys if key[0] not in lost),
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


def _never_shown(source: Path, times: dict[int, int], first_key: int) -> set[int]:
    """Return the packets that no player shows, because the start of the video, which they need, was cut off."""
    leading = {time: position for time, position in times.items() if time < first_key}
    if not leading:
        return set()
    with _opened(source) as (container, stream):
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
    source: Path, about: _About, slots: tuple[Fraction, list[int]] | None, usual: Fraction
) -> _Index:
    """Return the index of a video whose packets do not tell: its frames are those that come out, in their order.

    `slots` are ticks and the times of decoding, if there are any; `usual` are the seconds of a frame.
    """
    stamps: list[int | None] = []
    counted: int | None = None
    with _opened(source) as (container, stream):
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
    return _Index(
        about=about,
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


# what is wanted


def _bounds(span: Span, index: _Index) -> tuple[int, int, Fraction, Fraction]:
    """Return the first frame of a span, the first one behind it, and its borders in seconds."""
    first, last, start, end = _frame_bounds(span, index) if span.in_frames else _time_bounds(span, index)
    if last > index.counted:
        raise _undecoded(index, index.counted, "does not decode, so that what is behind it cannot be counted")
    return first, last, start, end


def _frame_bounds(span: Span, index: _Index) -> tuple[int, int, Fraction, Fraction]:
    total = len(index.times)
    first = _frame_number(span.first_frame, "first_frame", 0)
    last = _frame_number(span.last_frame, "last_frame", max(total, first + 1))
    if first >= last:
        raise RowRejected("clip.span", f"it goes from frame {first} to frame {last}, which is not behind it")
    if first >= total or last > total + 1:
        where = f"begins at frame {first}" if first >= total else f"ends at frame {last}"
        raise RowRejected("clip.span", f"it {where}, and the video has {total:,} frames")
    last = min(last, total)
    return first, last, index.time(first), index.time(last)


def _time_bounds(span: Span, index: _Index) -> tuple[int, int, Fraction, Fraction]:
    total = len(index.times)
    length = index.time(total)
    start = _seconds(span.start, "start", Fraction(0))
    # so that a span without an end that begins too late hears of the video's length
    end = _seconds(span.end, "end", length if start < length else start + 1)
    if start >= end:
        raise RowRejected("clip.span", f"it goes from {_told(start)} s to {_told(end)} s, which is not behind it")
    one_frame = max(length - index.time(total - 1), length / total)
    if start >= length or end > length + one_frame + index.slack():
        where = f"begins at {_told(start)} s" if start >= length else f"ends at {_told(end)} s"
        raise RowRejected("clip.span", f"it {where}, and the video is {_told(length)} s long")
    end = min(end, length)
    first, last = index.from_time(start), total if end == length else index.from_time(end)
    if first >= last:
        raise RowRejected("clip.empty", f"no frame begins between {_told(start)} s and {_told(end)} s")
    return first, last, start, end


def _seconds(value: object, name: str, default: Fraction) -> Fraction:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, Real) or value != value or value in (math.inf, -math.inf):  # noqa: PLR0124  (not a number)
        raise RowRejected("clip.span", f"{name} is no number of seconds: {value!r:.60}")
    seconds = Fraction(value) if isinstance(value, Rational) else Fraction(float(value))
    if seconds < 0:
        raise RowRejected("clip.span", f"{name} is negative: {_told(seconds)} s")
    return seconds


def _frame_number(value: object, name: str, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise RowRejected("clip.span", f"{name} is no number of a frame: {value!r:.60}")
    if value < 0:
        raise RowRejected("clip.span", f"{name} is negative: {value!r:.60}")
    return int(value)


def _told(seconds: Fraction) -> str:
    """Return seconds for people."""
    return f"{float(seconds):.3f}".rstrip("0").rstrip(".") if seconds < 1 << 40 else "more than 10^12"


# getting at frames


class _Source(io.FileIO):
    """A file whose own errors are told from those of the clip that is written."""

    def __init__(self, path: Path) -> None:
        # FFmpeg guesses by names; that of a descriptor is its number
        super().__init__(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb")

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to so many bytes."""
        try:
            return super().read(-1 if size is None else size)
        except OSError as error:
            raise RowRejected("media.missing", f"cannot be read: {error.strerror}") from None


@contextmanager
def _container(path: Path) -> Iterator[InputContainer]:
    """Open a file the way the probe does."""
    options = {"format_whitelist": ",".join(CONTAINERS), "max_pixels": str(MAX_PIXELS)}
    try:
        file = _Source(path)
    except OSError as error:
        raise RowRejected("media.missing", f"cannot be read: {error.strerror}") from None
    with file, av.open(file, "r", options=options, metadata_errors="replace") as container:
        yield container


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video, at the stream that the probe chooses, for strict decoding."""
    with _container(path) as container:
        streams = [s for s in container.streams.video if not int(s.disposition) & _ATTACHED_PICTURE]
        best = container.streams.best("video")
        stream = best if best in streams else next(iter(streams), None)
        if stream is None or stream.codec_context is None:
            raise RowRejected("media.no_video", "there is no video stream in it")
        stream.codec_context.thread_count = 1
        # without `explode` some decoders paint over damage and say nothing
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "explode"}
        yield container, stream


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what FFmpeg says into rejections."""
    try:
        yield
    except MemoryError:
        raise RowRejected("media.memory", "decoding it takes more memory than is allowed") from None
    except FFmpegError as error:
        raise RowRejected("media.decode", f"the video cannot be read: {_words(error)}") from None
    except OverflowError:
        raise RowRejected("media.decode", "its times are beyond all reason") from None


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class _UnreachedError(Exception):
    """A packet or a frame is not where the index says."""


def _frames(source: Path, index: _Index, wanted: Sequence[int]) -> Generator[tuple[int, VideoFrame]]:
    """Yield the wanted frames, which are in order, each with its number; leaps to key frames where that saves decoding.

    Raises:
        RowRejected: `media.decode` when one of them does not come out whole.
    """
    runs = _runs(index, wanted)
    done = 0
    if [key for key, _, _ in runs] != [None]:
        try:
            with _opened(source) as (container, stream):
                for key, begin, end in runs:
                    packets = _packets(container, stream, index, key)
                    for found in _picked(packets, index, wanted[begin:end], key):
                        yield found
                        done += 1
        except (_UnreachedError, FFmpegError):
            # containers lie about key frames: decode all that comes before as well
            pass
    if done < len(wanted):
        yield from _straight(source, index, wanted[done:])


def _runs(index: _Index, wanted: Sequence[int]) -> list[tuple[tuple[int, int | None] | None, int, int]]:
    """Cut the wanted frames where a leap to a key frame (None: the start) saves decoding: (key frame, from, to)."""
    runs: list[tuple[tuple[int, int | None] | None, int, int]] = []
    decoded = -1
    for place, number in enumerate(wanted):
        key = index.key_of(number)
        if key is not None and key[1] is not None and key[0] - decoded > _WORTH_A_SEEK:
            runs.append((key, place, place + 1))
        elif runs:
            runs[-1] = (*runs[-1][:2], place + 1)
        else:
            runs.append((None, place, place + 1))
        decoded = max(decoded, index.positions[number]) if key else decoded
    return runs


def _packets(
    container: InputContainer, stream: VideoStream, index: _Index, key: tuple[int, int | None] | None
) -> Iterator[Packet[VideoStream]]:
    """Yield packets from a key frame on, or from the start."""
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
        raise _UnreachedError


def _numbered(frames: Iterable[VideoFrame], index: _Index, before: int) -> Iterator[tuple[int, VideoFrame]]:
    """Yield frames with the numbers that their times say; `before` is the last number that came out."""
    for frame in frames:
        number = index.number_of(frame.pts)
        if number is None:
            continue
        if number <= before:
            raise _MiscountedError
        before = number
        yield number, frame


def _picked(
    packets: Iterable[Packet[VideoStream]], index: _Index, wanted: Sequence[int], key: tuple[int, int | None] | None
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the wanted ones among the frames that come out of packets, which begin with a key frame."""
    done, before = 0, -1
    begin = 0 if key is None else index.numbers[key[0]]
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
                raise _UnreachedError
            yield number, frame
            done += 1
            if done == len(wanted):
                return
    raise _UnreachedError


def _straight(source: Path, index: _Index, wanted: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the wanted frames, decoding from the start."""
    key = index.key_of(wanted[0])
    needed = key[0] if key else 0
    done, before, position = 0, -1, -1
    with _opened(source) as (container, stream):
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
                raise _undecoded(index, wanted[done], f"does not decode: {_words(error)}") from None
            numbered = _numbered(frames, index, before) if index.positions else enumerate(frames, before + 1)
            for number, frame in numbered:
                before = number
                if number < wanted[done]:
                    continue
                if number > wanted[done]:
                    raise _MiscountedError
                if frame.is_corrupt:
                    raise _undecoded(index, number, "is damaged")
                yield number, frame
                done += 1
                if done == len(wanted):
                    return
    if index.positions:
        raise _MiscountedError
    raise _undecoded(index, wanted[done], "does not decode")


def _undecoded(index: _Index, number: int, what: str) -> RowRejected:
    return RowRejected("media.decode", f"the frame at {_told(index.time(number))} s {what}")


# copying


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """A run of packets that can be copied, and the frames in it."""

    key: tuple[int, int | None]
    count: int
    """Packets."""
    frames: range


def _ways_to_copy(index: _Index, first: int, last: int, *, exact: bool) -> Iterator[_Way]:
    """Yield packets that hold these frames and no others; not `exact`, a few others too, and from one more key on."""
    key = index.key_of(first)
    place = index.keys.index(key) if key else -1
    for key in reversed(index.keys[: place + 1]):
        begin = index.numbers[key[0]]
        if exact and begin != first:
            return
        highest, shown = -1, 0
        for count, number in enumerate(itertools.islice(index.numbers, key[0], None), 1):
            # what an edit list leaves out would be shown; what is shown before the key frame may need what is before
            if number == _DISCARDED or 0 <= number < begin:
                break
            if number != _HIDDEN:
                shown += 1
                highest = max(highest, number)
            if highest + 1 >= last and highest + 1 - begin == shown:
                if not exact or highest + 1 == last:
                    yield _Way(key=key, count=count, frames=range(begin, highest + 1))
                break


def _copy(source: Path, index: _Index, way: _Way, temporary: Path) -> CutClip | None:
    """Write a clip of copied packets, or return None where that does not work out."""
    codec = index.about.codec
    format_: Format = "mp4" if codec in _MP4_VIDEO else "matroska"
    kept = _MP4_SOUND if format_ == "mp4" else _MATROSKA_SOUND
    try:
        with _output(temporary, format_) as output, _opened(source) as (container, stream):
            # opaque: decoders (dav1d) have no encoder of the same name
            copy = output.add_stream_from_template(stream, opaque=True)
            with _sound(source, output, kept, index.when(way.frames)) as sound:
                key = way.key if way.key[0] > _WORTH_A_SEEK and way.key[1] is not None else None
                packets = (packet for packet in _packets(container, stream, index, key) if packet.size)
                skipped = 0 if key else way.key[0]
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
        if _shows(temporary, index, way):
            return _cut(index, way.frames, "copied", format_, sound.how)
    except (_UnreachedError, FFmpegError, ValueError):
        # a codec that the format does not take; what is wrong with the source, encoding finds out
        pass
    return None


def _shows(clip: Path, index: _Index, way: _Way) -> bool:
    """Decode a clip: is each frame there, whole and on time?"""
    wanted = iter(way.frames)
    zero = index.time(way.frames.start)
    with _opened(clip) as (container, stream):
        base = stream.time_base or Fraction(1)
        for frame in container.decode(stream):
            number = next(wanted, None)
            if number is None or frame.is_corrupt or frame.pts is None:
                return False
            if abs(frame.pts * base - (index.time(number) - zero)) > SAME_TIME:
                return False
    return next(wanted, None) is None


def _cut(index: _Index, frames: range, how: How, format_: Format, audio: How | None) -> CutClip:
    start, end = float(index.time(frames.start)), float(index.time(frames.stop))
    return CutClip(how=how, format=format_, frames=len(frames), start=start, end=end, audio=audio)


@contextmanager
def _output(temporary: Path, format_: Format) -> Iterator[OutputContainer]:
    """Open a clip for writing; nothing of the day or of the program goes into it."""
    # through a file of Python, so that a full disk is an OSError and no fault of the video
    with temporary.open("wb") as file, av.open(file, "w", format=format_) as output:
        output.flags |= _BITEXACT
        yield output


# encoding


def _encode(source: Path, index: _Index, wanted: range, temporary: Path) -> CutClip:
    """Write a clip of frames encoded anew."""
    frames = _frames(source, index, wanted)
    start, end = index.time(wanted.start), index.time(wanted.stop)
    try:
        _, head = next(frames)
        with _output(temporary, "mp4") as output:
            stream = _video_encoder(output, index, head, len(wanted) / (end - start))
            context = stream.codec_context
            base = context.time_base
            with _sound(source, output, _MP4_SOUND, index.when(wanted)) as sound:
                for number, frame in itertools.chain([(wanted.start, head)], frames):
                    fitting = _fitting(frame, context.width, context.height, cast("str", context.pix_fmt))
                    time = index.time(number) - start
                    fitting.time_base = base
                    fitting.pts = round(time / base)
                    fitting.duration = round((index.time(number + 1) - start) / base) - fitting.pts
                    # the encoder would make the same kinds of pictures
                    fitting.pict_type = 0
                    sound.up_to(time)
                    output.mux(_encoded(stream, fitting))
                output.mux(_encoded(stream, None))
                sound.up_to(None)
    finally:
        frames.close()
    return _cut(index, wanted, "encoded", "mp4", sound.how)


def _video_encoder(output: OutputContainer, index: _Index, head: VideoFrame, rate: Fraction) -> VideoStream:
    """Add a stream for frames like this one."""
    name = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    rate = min(rate.limit_denominator(60_000), Fraction(1_000))
    stream = cast("VideoStream", output.add_stream(name, rate=rate if rate > 0 else Fraction(1, 1_000)))
    context = stream.codec_context
    context.width, context.height = head.width, head.height
    context.thread_count = 1
    context.flags |= CodecFlags.bitexact | CodecFlags.frame_duration
    known = [format_.name for format_ in context.codec.video_formats or ()]
    odd = head.width % 2 or head.height % 2
    pixels = head.format.name
    # half the colours of an odd row are none
    fits = pixels in known and ("444" in pixels or not odd)
    context.pix_fmt = pixels if fits else "yuv444p" if odd else "yuv420p"
    if name == "libx264":
        # frames in the order of display need no edit list, which not every reader knows
        stream.options = {"crf": str(QUALITY), "preset": PRESET, "g": str(KEY_FRAME_EVERY), "bf": "0"}
        stream.time_base = context.time_base = index.base
    else:
        context.pix_fmt = "yuv420p"
        stream.options = {"flags": "+qscale", "global_quality": str(2 * 118), "g": str(KEY_FRAME_EVERY)}
        stream.time_base = context.time_base = max(index.base, Fraction(1, _MPEG4_TICKS))
    if head.colorspace != _RGB:
        context.colorspace, context.color_range = head.colorspace, head.color_range
        context.color_primaries, context.color_trc = head.color_primaries, head.color_trc
    if index.about.aspect:
        context.sample_aspect_ratio = index.about.aspect
    stream.set_display_matrix(_matrix(head))
    return stream


def _fitting(frame: VideoFrame, width: int, height: int, pixels: str) -> VideoFrame:
    """Return a frame of the encoder's size and format."""
    if (frame.width, frame.height, frame.format.name) == (width, height, pixels):
        return frame
    # RGB is no way to store brightness and colour
    space = Colorspace.ITU601 if frame.format.is_rgb else None
    return frame.reformat(width, height, pixels, dst_colorspace=space, interpolation=_EXACT, threads=1)


def _encoded(stream: VideoStream, frame: VideoFrame | None) -> list[Packet[Any]]:
    try:
        return list(stream.encode(frame))
    except FFmpegError as error:
        raise RowRejected("clip.encode", f"the clip cannot be encoded: {_words(error)}") from None


def _matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """Return how a frame is turned to be shown, as FFmpeg has it."""
    sides = cast("Any", frame.side_data)
    return struct.unpack("=9i", bytes(sides["DISPLAYMATRIX"])) if "DISPLAYMATRIX" in sides else None


# sound


_Timed: TypeAlias = "tuple[Fraction, Packet[Any]]"
"""A packet and the seconds at which it begins."""


class _Sound:
    """The sound beside a clip, written as far as its frames are."""

    def __init__(self, how: How | None, packets: Iterator[_Timed], output: OutputContainer) -> None:
        self.how = how
        self._packets = packets
        self._output = output
        self._next = next(packets, None)

    def up_to(self, time: Fraction | None) -> None:
        """Write what begins at a time of the clip, or before; None: all of it."""
        while self._next is not None and (time is None or self._next[0] <= time):
            self._output.mux(self._next[1])
            self._next = next(self._packets, None)


@contextmanager
def _sound(
    source: Path, output: OutputContainer, kept: tuple[str, ...], when: tuple[Fraction, Fraction]
) -> Iterator[_Sound]:
    """Add the sound between two times of the file to a clip; codecs that are not among the `kept` are encoded anew."""
    start, end = when
    with ExitStack() as stack:
        packets = _sound_packets(source, start, end)
        stack.callback(packets.close)
        one = next(packets, None)
        how: How | None = None
        inside: Iterator[_Timed] = iter(())
        if one is not None:
            _, packet = one
            codec = packet.stream.codec_context.codec.canonical_name
            packets_ = itertools.chain([one], packets)
            if codec in kept:
                begun = ((time, packet) for time, packet in packets_ if time >= start)
                one = next(begun, None)
                if one is not None:
                    how = "copied"
                    copy = output.add_stream_from_template(packet.stream, opaque=True)
                    inside = _moved(itertools.chain([one], begun), copy, start)
            else:
                frames = _sound_frames((packet for _, packet in packets_), start, end)
                head = next(frames, None)
                if head is not None:
                    how = "encoded"
                    inside = _aac(output, itertools.chain([head], frames), start)
        yield _Sound(how, inside, output)


def _sound_packets(source: Path, start: Fraction, end: Fraction) -> Generator[_Timed]:
    """Yield the packets that begin before the end, from a little before the start on, each with its seconds."""
    for sought in (True, False):
        with _container(source) as container:
            stream = container.streams.best("audio")
            if stream is None or stream.codec_context is None or not stream.time_base:
                return
            stream.codec_context.thread_count = 1
            if sought:
                try:
                    container.seek(math.floor((start - _SOUND_BEFORE) / stream.time_base), stream=stream)
                except FFmpegError:
                    continue
            begun = False
            for packet in container.demux(stream):
                stamp = packet.pts if packet.pts is not None else packet.dts
                if packet.size == 0 or packet.is_discard or stamp is None:
                    continue
                time = stamp * stream.time_base
                if sought and not begun and time > start:
                    # too far, or it begins here: that is known only from the start
                    break
                begun = True
                if time >= end:
                    return
                yield time, packet
            if begun:
                return


def _moved(packets: Iterable[_Timed], copy: AudioStream, start: Fraction) -> Iterator[_Timed]:
    """Yield packets for a clip that begins at `start`."""
    for time, packet in packets:
        packet.pts = packet.dts = round((time - start) / packet.time_base)
        packet.stream = copy
        yield time - start, packet


def _sound_frames(
    packets: Iterable[Packet[AudioStream]], start: Fraction, end: Fraction
) -> Iterator[tuple[Fraction, AudioFrame]]:
    """Yield the frames of sound that begin inside, each with its seconds."""
    for packet in packets:
        for frame in packet.decode():
            if frame.pts is None or frame.time_base is None:
                continue
            time = frame.pts * frame.time_base
            if start <= time < end:
                yield time, frame


def _aac(output: OutputContainer, frames: Iterator[tuple[Fraction, AudioFrame]], start: Fraction) -> Iterator[_Timed]:
    """Add a stream of AAC, and return its packets."""
    time, head = next(frames)
    rates = av.Codec("aac", "w").audio_rates or ()
    rate = head.sample_rate if head.sample_rate in rates else 48_000
    layout = head.layout.name if head.layout.name in _SOUND_LAYOUTS else "stereo"
    stream = output.add_stream("aac", rate=rate, layout=layout)
    context = stream.codec_context
    context.bit_rate = 64_000 * context.channels
    context.thread_count = 1
    context.flags |= CodecFlags.bitexact
    return _aac_packets(stream, itertools.chain([(time, head)], frames), round((time - start) * rate))


def _aac_packets(stream: AudioStream, frames: Iterator[tuple[Fraction, AudioFrame]], begin: int) -> Iterator[_Timed]:
    """Encode frames; the first of them begins at so many samples."""
    resampler = av.AudioResampler(stream.format.name, stream.layout.name, stream.rate, frame_size=_AAC_SAMPLES)
    for frame in itertools.chain((frame for _, frame in frames), [None]):
        if frame is not None:
            # counted on from the first one
            frame.pts = None
        for ready in resampler.resample(frame):
            ready.pts, ready.time_base = begin, Fraction(1, stream.rate)
            begin += ready.samples
            yield from _with_time(stream.encode(ready))
    yield from _with_time(stream.encode(None))


def _with_time(packets: list[Packet[Any]]) -> Iterator[_Timed]:
    for packet in packets:
        yield (packet.pts or 0) * packet.time_base, packet


# pictures


def _sampled(number: int, time: float, frame: VideoFrame, picture: Picture) -> SampledFrame:
    """Return a frame as an upright picture."""
    # PyAV hands its frames to Pillow
    image = cast("Any", frame).to_image(interpolation=_EXACT, threads=1)
    for turn in _turns(_matrix(frame)):
        image = image.transpose(turn)
    file = io.BytesIO()
    if picture == "png":
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return SampledFrame(number=number, time=time, width=image.width, height=image.height, data=file.getvalue())


def _turns(matrix: tuple[int, ...] | None) -> list[int]:
    """Return how a picture is made upright, as FFmpeg's own program does it."""
    if matrix is None:
        return []
    a, b, _, c, d, *_ = matrix
    if a == d == 0 and b and c:
        if b > 0:
            return [_TRANSPOSE if c > 0 else _TURN_RIGHT]
        return [_TRANSVERSE if c < 0 else _TURN_LEFT]
    return [*[_FLIP_SIDES] * (a < 0), *[_FLIP_TOP] * (d < 0)]
