"""The door to FFmpeg (PyAV): probe a video, prove that a frame decodes, and count its frames without decoding them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import av
import av.logging
from av.container import InputContainer
from av.error import FFmpegError

from pipeline.errors import RowRejected
from pipeline.media.facts import MediaFacts

if TYPE_CHECKING:
    from pathlib import Path

    from av.packet import Packet
    from av.video.stream import VideoStream

av.logging.set_level(av.logging.PANIC)

PACKETS_TO_FIRST_FRAME = 500
"""Packets of the video stream within which a frame must come out."""
STILL_FORMATS = ("image2", "png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe", "jpegxl_pipe", "ppm_pipe")
"""FFmpeg's demuxers for still pictures."""
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
_BRANDS = {"qt": "mov", "3gp": "3gp", "3g2": "3gp", "M4V": "m4v"}
_WEBM_CODECS = {"vp8", "vp9", "av1", "opus", "vorbis"}
"""A Matroska file that holds nothing else is WebM: FFmpeg does not tell the two apart."""
_OPEN_ERRORS = (FFmpegError, OSError, ValueError, EOFError, UnicodeDecodeError)


def probe_video(source: Path | bytes) -> MediaFacts:
    """Return the facts of a video.

    Frames are counted and timed by their packets, because headers lie; one frame is decoded.

    Raises:
        RowRejected: `media.empty`, `media.kind` (a still picture), `media.no_video` (sound alone), `media.decode`.
    """
    if not source if isinstance(source, bytes) else source.stat().st_size == 0:
        raise RowRejected("media.empty", "the file has 0 bytes")
    try:
        with av.open(
            io.BytesIO(source) if isinstance(source, bytes) else str(source), metadata_errors="replace"
        ) as container:
            assert isinstance(container, InputContainer)
            return _facts(container)
    except _OPEN_ERRORS as error:
        raise RowRejected("media.decode", f"the video cannot be read: {_words(error)}") from None


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _facts(container: InputContainer) -> MediaFacts:
    if container.format.name in STILL_FORMATS or container.format.name.endswith("_pipe"):
        raise RowRejected("media.kind", "this is a still picture, not a video")
    streams = [s for s in container.streams.video if not int(s.disposition) & _ATTACHED_PICTURE]
    if not streams:
        raise RowRejected("media.no_video", "there is no video stream in it")
    stream = streams[0]
    frames, duration, (rotation, mode, size) = _walk(container, stream)
    width, height = size
    if rotation in (90, 270):
        width, height = height, width
    rate = float(stream.average_rate) if stream.average_rate else None
    if duration is None and rate and frames:
        duration = frames / rate
    if rate is None and duration and frames:
        rate = frames / duration
    return MediaFacts(
        kind="video",
        format=_container(container),
        codec=stream.codec_context.codec.canonical_name,
        width=width,
        height=height,
        rotation=rotation,
        frames=frames,
        fps=rate,
        duration=duration,
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
        duration = round(float((end - start) * stream.time_base), 6)
    return frames, duration, first


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


def _container(container: InputContainer) -> str:
    """Return a short name of the container: what FFmpeg's demuxer and the file's brand tell."""
    name = container.format.name
    if name.startswith("mov,"):
        brand = str(container.metadata.get("major_brand", "")).strip()
        return next((short for prefix, short in _BRANDS.items() if brand.startswith(prefix)), "mp4")
    if name.startswith("matroska"):
        codecs = {
            stream.codec_context.codec.canonical_name
            for stream in container.streams
            if stream.type in ("audio", "video")
        }
        return "webm" if codecs <= _WEBM_CODECS else "matroska"
    return _CONTAINERS.get(name, name.partition(",")[0])
