"""Encoding frames anew into a clip: H.264 of the same size, times and colours."""

from __future__ import annotations

import itertools
import platform
from contextlib import closing
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
from av.codec.context import Flags as CodecFlags
from av.error import FFmpegError
from av.video.reformatter import Colorspace

from pipeline.errors import RowRejected
from pipeline.media.clip_file import clip_file
from pipeline.media.clip_sound import clip_sound
from pipeline.media.decoded_frames import EXACT, decoded_frames, display_matrix
from pipeline.media.opened_video import words_of

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from pipeline.media.clip_file import How
    from pipeline.media.frame_index import FrameIndex
    from pipeline.media.location import Location

QUALITY = 18
"""x264's constant rate factor."""
PRESET = "veryfast"
_SAME_EVERYWHERE = "sse2" if platform.machine().lower() in ("x86_64", "amd64") else "0"
"""What x264 may use of the processor: with AVX-512 its bytes depend on what lay in memory before, and with any other
than SSE2 on the processor; plain C gives the bytes of SSE2 in more than twice the time."""
KEY_FRAME_EVERY = 50
"""Frames, so that whoever samples the clip decodes few in vain."""
_RGB = 0
"""AVCOL_SPC_RGB."""
_MPEG4_TICKS = 60_000
"""Ticks of a second: MPEG-4 cannot say more than 65,535."""


def encode_frames(source: Location, index: FrameIndex, wanted: range, temporary: Path) -> How | None:
    """Write a clip of frames encoded anew, and return what became of the sound.

    Raises:
        RowRejected: `clip.encode` (there is no way to encode it), or a code of `decoded_frames`.
    """
    start, end = index.time(wanted.start), index.time(wanted.stop)
    with closing(decoded_frames(source, index, wanted)) as frames:
        _, head = next(frames)
        with clip_file(temporary, "mp4") as output:
            stream = _video_encoder(output, index, head, len(wanted) / (end - start))
            context = stream.codec_context
            base = context.time_base
            with clip_sound(source, output, "mp4", index.when(wanted)) as sound:
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
    return sound.how


def _video_encoder(output: OutputContainer, index: FrameIndex, head: VideoFrame, rate: Fraction) -> VideoStream:
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
        stream.options = {
            "crf": str(QUALITY),
            "preset": PRESET,
            "g": str(KEY_FRAME_EVERY),
            "bf": "0",
            "x264-params": f"asm={_SAME_EVERYWHERE}",
        }
        stream.time_base = context.time_base = index.base
    else:
        context.pix_fmt = "yuv420p"
        stream.options = {"flags": "+qscale", "global_quality": str(2 * 118), "g": str(KEY_FRAME_EVERY)}
        stream.time_base = context.time_base = max(index.base, Fraction(1, _MPEG4_TICKS))
    if head.colorspace != _RGB:
        context.colorspace, context.color_range = head.colorspace, head.color_range
        context.color_primaries, context.color_trc = head.color_primaries, head.color_trc
    if index.traits.aspect:
        context.sample_aspect_ratio = index.traits.aspect
    stream.set_display_matrix(display_matrix(head))
    return stream


def _fitting(frame: VideoFrame, width: int, height: int, pixels: str) -> VideoFrame:
    """Return a frame of the encoder's size and format."""
    if (frame.width, frame.height, frame.format.name) == (width, height, pixels):
        return frame
    # RGB is no way to store brightness and colour
    space = Colorspace.ITU601 if frame.format.is_rgb else None
    return frame.reformat(width, height, pixels, dst_colorspace=space, interpolation=EXACT, threads=1)


def _encoded(stream: VideoStream, frame: VideoFrame | None) -> list[Packet[Any]]:
    try:
        return list(stream.encode(frame))
    except FFmpegError as error:
        raise RowRejected("clip.encode", f"the clip cannot be encoded: {words_of(error)}") from None
