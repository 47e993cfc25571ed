"""Opening a video to decode it: strictly, at one stream, and only as what the probe takes for a video."""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

import av
from av.error import FFmpegError

from pipeline.errors import RowRejected
from pipeline.media.location import FilePart, PartReader
from pipeline.media.video import CONTAINERS, MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import InputContainer
    from av.video.stream import VideoStream

    from pipeline.media.location import Location

_ATTACHED_PICTURE = 0x0400
"""AV_DISPOSITION_ATTACHED_PIC: a cover inside of an audio file."""


class _SourceFile(io.FileIO):
    """A file whose own errors are told from those of the clip that is written."""

    def __init__(self, path: Path) -> None:
        # FFmpeg guesses by names; that of a descriptor is its number
        super().__init__(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb")

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to so many bytes."""
        with _telling():
            return super().read(-1 if size is None else size)


class _SourcePart(PartReader):
    """Likewise a part of a file."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to so many bytes."""
        with _telling():
            return super().read(size)


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RowRejected("media.missing", f"cannot be read: {error.strerror}") from None


@contextmanager
def opened_container(source: Location | bytes) -> Iterator[InputContainer]:
    """Open a file, a part of one, or what is in memory, the way the probe does."""
    options = {"format_whitelist": ",".join(CONTAINERS), "max_pixels": str(MAX_PIXELS)}
    with _telling():
        file = _opened(source)
    with file, av.open(file, "r", options=options, metadata_errors="replace") as container:
        yield container


def _opened(source: Location | bytes) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    return cast("BinaryIO", _SourcePart(source) if isinstance(source, FilePart) else _SourceFile(source))


@contextmanager
def opened_video(source: Location | bytes) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video, at the stream that the probe chooses, for strict decoding."""
    with opened_container(source) as container:
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
def refusals() -> Iterator[None]:
    """Turn what FFmpeg says into rejections."""
    try:
        yield
    except MemoryError:
        raise RowRejected("media.memory", "decoding it takes more memory than is allowed") from None
    except FFmpegError as error:
        raise RowRejected("media.decode", f"the video cannot be read: {words_of(error)}") from None
    except OverflowError:
        raise RowRejected("media.decode", "its times are beyond all reason") from None


def words_of(error: Exception) -> str:
    """Return what an error of FFmpeg says."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
