"""The door to FFmpeg (PyAV): probe a video, prove that a frame decodes, and count its frames without decoding them.

FFmpeg opens far more than videos: a playlist names other files, an SDP text opens sockets, any text is a slide show
of letters. So only the demuxers named here may open a file, and they see its bytes but not its name: facts are
remembered by hash, and must not depend on anything but the bytes.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO

import av
import av.logging
from av.error import ArgumentError, FFmpegError

from pipeline.errors import RowRejected
from pipeline.media.facts import MediaFacts

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

av.logging.set_level(av.logging.PANIC)

PACKETS_TO_FIRST_FRAME = 500
"""Packets of the video stream within which a frame must come out."""
MAX_PIXELS = 1 << 27
"""Pixels of a frame at the most (16384 x 8192): FFmpeg does not decode a larger one."""
CONTAINERS = (
    *("apng", "asf", "avi", "dv", "flv", "gif", "h264", "hevc", "ivf", "m4v", "matroska", "mov", "mpeg", "mpegts"),
    *("mpegvideo", "mxf", "nut", "obu", "ogg", "rm", "wtv", "yuv4mpegpipe"),
)
"""FFmpeg's demuxers for videos."""
_SOUND = ("aac", "ac3", "aiff", "amr", "ape", "au", "caf", "dts", "eac3", "flac", "mp3", "w64", "wav", "wv")
"""Its demuxers for sound, allowed so that a song is refused as a song."""
_STILL = (
    *("bmp_pipe", "dpx_pipe", "exr_pipe", "gif_pipe", "ico", "image2", "j2k_pipe", "jpeg_pipe", "jpegls_pipe"),
    *("jpegxl_pipe", "pam_pipe", "pbm_pipe", "pcx_pipe", "pgm_pipe", "png_pipe", "ppm_pipe", "psd_pipe", "qoi_pipe"),
    *("svg_pipe", "tiff_pipe", "webp_pipe"),
)
"""Its demuxers for still pictures, likewise."""
_ATTACHED_PICTURE = 0x0400
"""AV_DISPOSITION_ATTACHED_PIC: a cover inside of an audio file."""
_CONTAINERS = {
    "matroska": "matroska",
    "mpegts": "mpegts",
    "mpegvideo": "mpeg",
    "mpeg": "mpeg",
    "avi": "avi",
    "gif": "gif",
}
_HEAD = 4096
"""Bytes at the start of a file that hold EBML's DocType."""
_BRANDS = {"qt": "mov", "3gp": "3gp", "3g2": "3gp", "M4V": "m4v"}


def probe_video(source: Path | bytes) -> MediaFacts:
    """Return the facts of a video.

    Frames are counted and timed by their packets, because headers lie; one frame is decoded. A damaged frame further
    on is not noticed, but a file that cannot be read to its end is refused.

    Raises:
        RowRejected: `media.missing` (cannot be read), `media.empty`, `media.kind` (a still picture, a text …),
            `media.no_video` (sound alone), `media.decode`.
    """
    try:
        with _nameless(source) as file:
            head = file.read(_HEAD)
            if not head:
                raise RowRejected("media.empty", "the file has 0 bytes")
            file.seek(0)
            return _probe(file, head)
    except FFmpegError as error:
        raise RowRejected("media.decode", f"the video cannot be read: {_words(error)}") from None
    except OSError as error:
        raise RowRejected("media.missing", f"cannot be read: {error.strerror}") from None


def _nameless(source: Path | bytes) -> BinaryIO:
    """Open a source so that FFmpeg cannot guess by its name: that of a descriptor is its number."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    return os.fdopen(os.open(source, os.O_RDONLY | os.O_CLOEXEC), "rb")


def _probe(file: BinaryIO, head: bytes) -> MediaFacts:
    options = {"format_whitelist": ",".join((*CONTAINERS, *_SOUND, *_STILL)), "max_pixels": str(MAX_PIXELS)}
    try:
        container = av.open(file, "r", options=options, metadata_errors="replace")
    except ArgumentError as error:
        # what FFmpeg says to a file of a format that is not on the list
        raise RowRejected("media.kind", f"this is no video of a format that is read: {_words(error)}") from None
    with container:
        return _facts(container, head)


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _facts(container: InputContainer, head: bytes) -> MediaFacts:
    if container.format.name in _STILL:
        raise RowRejected("media.kind", "this is a still picture, not a video")
    streams = [s for s in container.streams.video if not int(s.disposition) & _ATTACHED_PICTURE]
    if not streams:
        raise RowRejected("media.no_video", "there is no video stream in it")
    stream = streams[0]
    # one frame is all that is decoded, and the processes of a build keep the cores busy
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    frames, duration, (rotation, mode, size) = _walk(container, stream)
    width, height = size
    if rotation in (90, 270):
        width, height = height, width
    if duration is None:
        duration = _declared_seconds(container, stream)
    rate = float(stream.average_rate) if stream.average_rate else None
    # the header's exact rate (24000/1001) is believed when the packets bear it out; an edit list breaks it
    if duration and (rate is None or abs(rate * duration - frames) > 1):
        rate = frames / duration
    if duration is None and rate:
        duration = frames / rate
    return MediaFacts(
        kind="video",
        format=_container(container, head),
        codec=stream.codec_context.codec.canonical_name,
        width=width,
        height=height,
        rotation=rotation,
        frames=frames,
        fps=rate,
        duration=round(duration, 6) if duration else None,
        audio=bool(container.streams.audio),
        mode=mode,
    )


def _walk(container: InputContainer, stream: VideoStream) -> tuple[int, float | None, tuple[int, str, tuple[int, int]]]:
    """Read all packets of the stream and decode until the first frame.

    Returns the frames, the seconds from the first to the end of the last one, and the first frame's rotation
    (degrees clockwise), pixel format and size.
    """
    first = None
    frames = waited = 0
    start: int | None = None
    end: int | None = None
    for packet in container.demux(stream):
        # AVI writes an empty chunk where the last picture stays; to a decoder it would mean the end
        if packet.size == 0 and packet.dts is not None:
            continue
        if first is None:
            first = _decoded(packet)
            waited += 1
            if first is None and waited > PACKETS_TO_FIRST_FRAME:
                raise RowRejected("media.decode", f"no frame decodes within {PACKETS_TO_FIRST_FRAME} packets")
        # an edit list can leave out packets that only help to decode others
        if packet.size == 0 or packet.is_discard:
            continue
        frames += 1
        if packet.pts is not None:
            start = packet.pts if start is None else min(start, packet.pts)
            end = (
                max(end, packet.pts + (packet.duration or 0))
                if end is not None
                else packet.pts + (packet.duration or 0)
            )
    if first is None:
        raise RowRejected("media.decode", "no frame decodes")
    duration = None
    if start is not None and end is not None and end > start and stream.time_base:
        duration = float((end - start) * stream.time_base)
    return frames, duration, first


def _declared_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the seconds that the header claims, for packets without times or a lone one without a length."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _decoded(packet: Packet[VideoStream]) -> tuple[int, str, tuple[int, int]] | None:
    """Return rotation, pixel format and size of the packet's first frame, if one comes out."""
    try:
        for frame in packet.decode():
            # FFmpeg counts degrees counter-clockwise (av_display_rotation_get)
            return round(-frame.rotation / 90) * 90 % 360, frame.format.name, (frame.width, frame.height)
    except FFmpegError as error:
        if packet.size == 0 or packet.is_keyframe:
            raise RowRejected("media.decode", f"the first frame does not decode: {_words(error)}") from None
    return None


def _container(container: InputContainer, head: bytes) -> str:
    """Return a short name of the container: what FFmpeg's demuxer and the file's own brand tell."""
    name = container.format.name
    if name.startswith("mov,"):
        brand = str(container.metadata.get("major_brand", "")).strip()
        return next((short for prefix, short in _BRANDS.items() if brand.startswith(prefix)), "mp4")
    if name.startswith("matroska"):
        return "webm" if _doc_type(head) == b"webm" else "matroska"
    return _CONTAINERS.get(name, name.partition(",")[0])


def _doc_type(head: bytes) -> bytes:
    """Return EBML's DocType, which FFmpeg does not show (RFC 8794: element 0x4282, a size of 1 to 8 bytes, text)."""
    _, _, after = head.partition(b"\x42\x82")
    width = 9 - after[0].bit_length() if after and after[0] else 1
    size = int.from_bytes(after[:width], "big") & ((1 << 7 * width) - 1)
    return after[width : width + size].rstrip(b"\0")
