"""The sound beside a clip: packets copied, or encoded as AAC where the clip's format does not take their codec."""

from __future__ import annotations

import itertools
import math
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import av
from av.codec.context import Flags as CodecFlags
from av.error import FFmpegError

from pipeline.media.opened_video import opened_container

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet

    from pipeline.media.clip_file import Format, How
    from pipeline.media.location import Location

_IN_MP4 = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")
_COPIED: dict[Format, tuple[str, ...]] = {"mp4": _IN_MP4, "matroska": (*_IN_MP4, "vorbis", "pcm_s16le")}
"""Codecs that are copied; the others become AAC."""
_LAYOUTS = ("mono", "stereo", "5.1")
"""Layouts of speakers that AAC keeps; the others become stereo."""
_AAC_SAMPLES = 1024
"""Samples of a packet."""
_SOUGHT_BEFORE = Fraction(1)
"""Seconds by which sound is sought early, since its packets begin where they like."""

_Timed: TypeAlias = "tuple[Fraction, Packet[Any]]"
"""A packet and the seconds at which it begins."""


class ClipSound:
    """The sound beside a clip, written as far as its frames are."""

    def __init__(self, how: How | None, packets: Iterator[_Timed], output: OutputContainer) -> None:
        self.how = how
        """How it gets there; None: there is none."""
        self._packets = packets
        self._output = output
        self._next = next(packets, None)

    def up_to(self, time: Fraction | None) -> None:
        """Write what begins at a time of the clip, or before; None: all of it."""
        while self._next is not None and (time is None or self._next[0] <= time):
            self._output.mux(self._next[1])
            self._next = next(self._packets, None)


@contextmanager
def clip_sound(
    source: Location, output: OutputContainer, format_: Format, when: tuple[Fraction, Fraction]
) -> Iterator[ClipSound]:
    """Give the sound between two times of the source's own clock, to be written while the frames of a clip are."""
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
            if codec in _COPIED[format_]:
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
        yield ClipSound(how, inside, output)


def _sound_packets(source: Location, start: Fraction, end: Fraction) -> Generator[_Timed]:
    """Yield the packets that begin before the end, from a little before the start on, each with its seconds."""
    for sought in (True, False):
        with opened_container(source) as container:
            stream = container.streams.best("audio")
            if stream is None or stream.codec_context is None or not stream.time_base:
                return
            stream.codec_context.thread_count = 1
            if sought:
                try:
                    container.seek(math.floor((start - _SOUGHT_BEFORE) / stream.time_base), stream=stream)
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
    layout = head.layout.name if head.layout.name in _LAYOUTS else "stereo"
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
