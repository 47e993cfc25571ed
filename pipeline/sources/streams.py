"""Decompression of a stream with little memory: what comes out of one step is bounded, whatever went in.

Truncation, damage and foreign bytes after the last stream raise `RefusedError`. Streams may follow one another (pigz,
bgzip, pzstd, `cat a.gz b.gz`), and zero bytes may follow the last (tape padding).
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, BinaryIO, Protocol

import zstandard

from pipeline.sources.members import CHUNK, REPACK, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

ZSTD_STEP = 2 << 10
"""Input of one zstd step. A 4-byte block can hold 128 KiB, so at most 64 MiB come out of it."""
ZSTD_WINDOW = 128 << 20
"""Largest zstd window, as of the `zstd` tool without `--long=28` and more."""
XZ_MEMORY = 256 << 20
"""Memory of the xz decoder; `xz -9` needs 65 MiB."""

DAMAGE = (zlib.error, lzma.LZMAError, zstandard.ZstdError, EOFError, OSError, ValueError)
"""What the decoders raise on damaged data (bz2: OSError, ValueError)."""


class Decoder(Protocol):
    """The interface of `bz2.BZ2Decompressor`, which the others are fitted to."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""

    @property
    def needs_input(self) -> bool:
        """Whether the next call needs more input; if not, it is called with none."""

    @property
    def unused_data(self) -> bytes:
        """Input after the end of the stream."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Return the next piece of output, about `max_length` bytes at the most."""


class Inflate:
    """`zlib.decompressobj` as a `Decoder`; `wbits` 31 is gzip with its checksum, -15 the raw deflate of zip."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        """Input after the end of the stream."""
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        """Return the next piece of output, `max_length` bytes at the most."""
        out = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        # Output can wait inside zlib although all input is taken: then the piece is full.
        self.needs_input = not self._inner.unconsumed_tail and len(out) < max_length
        return out


class Zstd:
    """One zstd frame as a `Decoder`. `stream_reader` would take a cut frame for a whole one; this does not."""

    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
        self._left = memoryview(b"")

    @property
    def eof(self) -> bool:
        """Whether the end of the frame was reached."""
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        """Whether the next call needs more input."""
        return not self._left

    @property
    def unused_data(self) -> bytes:
        """Input after the end of the frame."""
        return self._inner.unused_data + bytes(self._left)

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:  # noqa: ARG002  bounded by ZSTD_STEP
        """Return the output of the next `ZSTD_STEP` bytes of input."""
        if data:
            self._left = memoryview(data)
        step, self._left = self._left[:ZSTD_STEP], self._left[ZSTD_STEP:]
        return self._inner.decompress(step)


DECODERS: dict[str, Callable[[], Decoder]] = {
    "gz": lambda: Inflate(31),
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY),
    "zst": Zstd,
}


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file block by block."""
    return iter(lambda: file.read(CHUNK), b"")


def one_stream(decoder: Decoder, first: bytes, more: Iterator[bytes]) -> Generator[bytes, None, bytes]:
    """Yield the content of one compressed stream that starts with `first`; return the input after its end."""
    data = first
    while not decoder.eof:
        if decoder.needs_input and not data:
            data = next(more, b"")
            if not data:
                raise RefusedError("ends in the middle of its compressed data: it is truncated", hint=REPACK)
        try:
            out = decoder.decompress(data, CHUNK)
        except DAMAGE as error:
            raise RefusedError(f"has damaged compressed data ({error})", hint=REPACK) from error
        data = b""
        if out:
            yield out
    return decoder.unused_data


def all_streams(new: Callable[[], Decoder], more: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the content of compressed streams that follow one another up to the end of the file."""
    rest = next(more, b"")
    while rest and rest[0]:
        rest = yield from one_stream(new(), rest, more)
        rest = rest or next(more, b"")
    while rest:
        if rest.strip(b"\0"):
            raise RefusedError("has foreign bytes after the end of its compressed data", hint=REPACK)
        rest = next(more, b"")


class Stream:
    """Blocks of bytes, read in pieces of any size."""

    def __init__(self, more: Iterator[bytes]) -> None:
        self._more = more
        self._block = b""
        self._at = 0
        self.given = 0
        """Bytes returned so far."""

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes; fewer only at the end."""
        pieces = []
        while size > 0:
            if self._at == len(self._block):
                self._block, self._at = next(self._more, b""), 0
                if not self._block:
                    break
            piece = self._block[self._at : self._at + size]
            self._at += len(piece)
            self.given += len(piece)
            size -= len(piece)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
