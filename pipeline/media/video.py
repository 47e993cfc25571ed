"""The door to FFmpeg (PyAV): probe a video, prove that a frame decodes, and count its frames without decoding them.

FFmpeg opens far more than videos: a playlist names other files, an SDP text opens sockets, any text is a slide show
of letters. So only the demuxers named here may open a file, and they see its bytes but not its name: facts are
remembered by hash, and must not depend on anything but the bytes.
"""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING, BinaryIO

import av
import av.logging
from av.error import ArgumentError, FFmpegError, InvalidDataError
from av.error import EOFError as EndOfFileError

from pipeline.errors import RowRejected
from pipeline.media.facts import NO_FRAMES, MediaFacts
from pipeline.media.location import FilePart

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

    from pipeline.media.location import Location
    from pipeline.recipe_spec import Depth

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
_NO_TIMES = 0x0080
"""AVFMT_NOTIMESTAMPS: a bare stream of a codec."""
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
_BRANDS = {"qt": "mov", "3gp": "3gp", "3g2": "3gp", "M4V": "m4v", "avis": "avif"}
_STILL_BRANDS = ("avif", "heic", "heix", "mif1")
"""Brands of the MP4 family that say that the file is one picture."""
_STARTS = re.compile(
    rb"....(?:ftyp|moov|moof|mdat|free|skip|wide|styp|sidx)|RIFF....AVI |\x1a\x45\xdf\xa3|FLV\x01|OggS|GIF8"
    rb"|\x00\x00\x01[\xb0-\xba]|\x00\x00\x00?\x01[\x67\x40\x42]|\x30\x26\xb2\x75|G.{187}G|DKIF|YUV4MPEG2|\.RMF"
    rb"|\x06\x0e\x2b\x34|nut/",
    re.DOTALL,
)
"""What videos begin with: tells a damaged one from what is none."""
_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide")
"""What MP4 begins with; the media are in three of them."""
_MEDIA_BOXES = (b"moov", b"moof", b"mdat")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def probe_video(source: Location | bytes, depth: Depth = "decode") -> MediaFacts:
    """Return the facts of a video, looked into as far as `depth` says.

    header      the first frame is decoded, since only a frame tells how it is turned; frames and seconds are claims
    decode      frames are counted and timed by their packets, because headers lie; a damaged frame further on is not
                noticed, but a file that cannot be read to its end is refused
    all_frames  every packet is decoded as well

    Raises:
        RowRejected: `media.missing` (cannot be read), `media.empty`, `media.kind` (a still picture, a text …),
            `media.no_video` (sound alone), `media.encrypted`, `media.memory`, `media.decode` (with the message
            NO_FRAMES: there is nothing to decode).
    """
    try:
        with _nameless(source) as file:
            head = file.read(_HEAD)
            if not head:
                raise RowRejected("media.empty", "the file has 0 bytes")
            file.seek(0)
            return _probe(file, head, depth)
    except MemoryError:
        raise RowRejected("media.memory", "decoding it takes more memory than is allowed") from None
    except FFmpegError as error:
        raise RowRejected("media.decode", f"the video cannot be read: {_words(error)}") from None
    except OSError as error:
        raise RowRejected("media.missing", f"cannot be read: {error.strerror}") from None


def _nameless(source: Location | bytes) -> BinaryIO:
    """Open a source so that FFmpeg cannot guess by its name: that of a descriptor is its number."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if isinstance(source, FilePart):
        return io.BufferedReader(source.open())
    return os.fdopen(os.open(source, os.O_RDONLY | os.O_CLOEXEC), "rb")


def _probe(file: BinaryIO, head: bytes, depth: Depth) -> MediaFacts:
    options = {"format_whitelist": ",".join((*CONTAINERS, *_SOUND, *_STILL)), "max_pixels": str(MAX_PIXELS)}
    try:
        container = av.open(file, "r", options=options, metadata_errors="replace")
    except ArgumentError as error:
        # what FFmpeg says to a file of a format that is not on the list
        raise RowRejected("media.kind", f"this is no video of a format that is read: {_words(error)}") from None
    except (InvalidDataError, EndOfFileError) as error:
        if _STARTS.match(head):
            raise
        raise RowRejected("media.kind", f"this is no video of a format that is read: {_words(error)}") from None
    try:
        with container:
            return _facts(container, head, depth)
    finally:
        # also of one without a video: that may be what is cut off
        _check_end(file, head)


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _facts(container: InputContainer, head: bytes, depth: Depth) -> MediaFacts:
    brand = str(container.metadata.get("major_brand", "")).strip()
    if container.format.name in _STILL or brand in _STILL_BRANDS:
        raise RowRejected("media.kind", "this is a still picture, not a video")
    streams = [s for s in container.streams.video if not int(s.disposition) & _ATTACHED_PICTURE]
    if not streams:
        raise RowRejected("media.no_video", "there is no video stream in it")
    # of several, the one that every player and torchcodec choose
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise RowRejected("media.decode", "there is no decoder for its codec")
    # one frame is all that is decoded, and the processes of a build keep the cores busy
    stream.codec_context.thread_count = 1
    # without `explode` some decoders paint over damage and say nothing
    strict = {"err_detect": "explode"} if depth == "all_frames" else {}
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS), **strict}
    frames, duration, (rotation, mode, size) = _walk(container, stream, depth)
    width, height = size
    if rotation in (90, 270):
        width, height = height, width
    if duration is None:
        duration = _declared_seconds(container, stream)
    rate = float(stream.average_rate) if stream.average_rate else None
    if depth == "header":
        frames = stream.frames or None
    # the header's exact rate (24000/1001) is believed when the packets bear it out; an edit list breaks it
    elif duration and frames and (rate is None or abs(rate * duration - frames) > 1):
        rate = frames / duration
    if duration is None and rate and frames:
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


def _walk(
    container: InputContainer, stream: VideoStream, depth: Depth
) -> tuple[int | None, float | None, tuple[int, str, tuple[int, int]]]:
    """Read the packets of the stream: until the first frame is decoded, to the last packet, or decoding them all.

    Returns the frames, the seconds from the first to the end of the last one, and the first frame's rotation
    (degrees clockwise), pixel format and size.
    """
    first = None
    frames = waited = 0
    start: int | None = None
    end: int | None = None
    cut_off = False
    # FFmpeg makes up the times of a stream without any, and mends their order better than their gaps
    by_order = bool(int(container.format.flags) & _NO_TIMES)
    for packet in container.demux(stream):
        # AVI writes an empty chunk where the last picture stays; to a decoder it would mean the end
        if packet.size == 0 and packet.dts is not None:
            continue
        if frames == 0 and packet.has_sidedata("encryption_info"):
            raise RowRejected("media.encrypted", "it is encrypted; publish what is not, or leave it out")
        if first is None:
            first = _decoded(packet, depth)
            waited += 1
            if first is None and waited > PACKETS_TO_FIRST_FRAME:
                raise RowRejected("media.decode", f"no frame decodes within {PACKETS_TO_FIRST_FRAME} packets")
            if first is not None and depth == "header":
                return None, None, first
        elif depth == "all_frames":
            _decode_further(packet, frames)
        # an edit list can leave out packets that only help to decode others
        if packet.size == 0 or packet.is_discard:
            continue
        frames += 1
        cut_off = packet.is_corrupt
        time = packet.dts if by_order else packet.pts
        if time is not None:
            until = time + (packet.duration or 0)
            start = time if start is None else min(start, time)
            end = until if end is None else max(end, until)
    if first is None:
        raise RowRejected("media.decode", "no frame decodes" if frames else NO_FRAMES)
    if cut_off:
        raise RowRejected("media.decode", f"the file is cut off in frame {frames}")
    duration = None
    if start is not None and end is not None and end > start and stream.time_base:
        duration = float((end - start) * stream.time_base)
    return frames, duration, first


def _declared_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the seconds that the header claims, for packets without times or a lone one without a length."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _decoded(packet: Packet[VideoStream], depth: Depth) -> tuple[int, str, tuple[int, int]] | None:
    """Return rotation, pixel format and size of the packet's first frame, if one comes out."""
    try:
        for frame in packet.decode():
            # what is missing is painted over; a stream that begins between two key frames may do so for a while
            if frame.is_corrupt and (frame.key_frame or depth == "all_frames"):
                raise RowRejected("media.decode", "the first frame is damaged")
            # FFmpeg counts degrees counter-clockwise (av_display_rotation_get); no turn at all has no angle either
            turned = -frame.rotation if abs(frame.rotation) <= 360 else 0
            return round(turned / 90) * 90 % 360, frame.format.name, (frame.width, frame.height)
    except FFmpegError as error:
        if packet.size == 0 or packet.is_keyframe:
            raise RowRejected("media.decode", f"the first frame does not decode: {_words(error)}") from None
    return None


def _decode_further(packet: Packet[VideoStream], done: int) -> None:
    """Decode a packet behind the first frame; `done` says how many came before it."""
    try:
        damaged = any(frame.is_corrupt for frame in packet.decode())
    except FFmpegError as error:
        raise RowRejected("media.decode", f"frame {done + 1} does not decode: {_words(error)}") from None
    if damaged:
        raise RowRejected("media.decode", f"a frame near the {done + 1}th is damaged")


def _check_end(file: BinaryIO, head: bytes) -> None:
    """Refuse a file that ends before it should by its own account; FFmpeg is content with the frames that are there.

    Raises:
        RowRejected: `media.decode`.
    """
    size = file.seek(0, os.SEEK_END)
    end = 0
    if head[4:8] in _BOXES:
        end = _end_of_boxes(file)
    elif head.startswith(_EBML):
        # EBML's header, then one segment that holds everything; a size of only ones is unknown (RFC 8794)
        length, width = _vint(head[4:12])
        start = 4 + width + length
        if head[start : start + 4] == _SEGMENT:
            length, width = _vint(head[start + 4 : start + 12])
            end = start + 4 + width + length if length != (1 << 7 * width) - 1 else 0
    if end > size:
        raise RowRejected("media.decode", f"the file is cut off: {size:,} of {end:,} bytes are there")


def _end_of_boxes(file: BinaryIO) -> int:
    """Return where the last box with media of an MP4 ends (ISO 14496-12, 4.2); behind it may stand anything."""
    place = end = 0
    whole = file.seek(0, os.SEEK_END)
    while place < whole:
        file.seek(place)
        box = file.read(16)
        size = int.from_bytes(box[8:16] if box[:4] == b"\0\0\0\1" else box[:4], "big")
        if size < 8:
            break
        place += size
        if box[4:8] in _MEDIA_BOXES:
            end = place
    return end


def _vint(data: bytes) -> tuple[int, int]:
    """Return a number of EBML and its width in bytes: as many as the zeros it begins with, and one."""
    width = 9 - data[0].bit_length() if data and data[0] else 1
    return int.from_bytes(data[:width], "big") & ((1 << 7 * width) - 1), width


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
    size, width = _vint(after[:8])
    return after[width : width + size].rstrip(b"\0")
