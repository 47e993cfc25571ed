"""Lines of raw bytes out of blocks, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.readers.record import EXCERPT_CHARACTERS, MAX_RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class LongLine(bytes):
    """The beginning of a line that is longer than a record may be; the rest of it was dropped."""

    __slots__ = ()


def newline_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    r"""Yield lines without their `\n`, the only line end here: U+2028, U+0085 and a lone `\r` are content.

    An empty last line (a file that ends in a newline) is not yielded.
    """
    pending = _Pending()
    for block in blocks:
        first, *others = block.split(b"\n")
        pending.add(first)
        if others:
            yield pending.take()
            yield from others[:-1]  # shorter than a block, thus never too long
            pending.add(others[-1])
    if pending:
        yield pending.take()


def csv_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    r"""Yield lines with their end, which is `\n`, `\r\n` or a lone `\r`."""
    pending = _Pending()
    after_return = b""
    for block in blocks:
        # A `\r` that ends a block may be half of a `\r\n`: it waits for the next block.
        text = after_return + block
        after_return = b"\r" if text.endswith(b"\r") else b""
        for line in text[: len(text) - len(after_return)].splitlines(keepends=True):
            pending.add(line)
            if line.endswith((b"\n", b"\r")):
                yield pending.take()
    pending.add(after_return)
    if pending:
        yield pending.take()


class _Pending:
    """The line whose end is not yet seen, of which no more is kept than a record may be long."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def __bool__(self) -> bool:
        return self._size > 0

    def add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= MAX_RECORD_BYTES:
            self._parts.append(part)
        else:
            self._parts = [b"".join(self._parts)[: EXCERPT_CHARACTERS * 4]]

    def take(self) -> bytes:
        line, size = b"".join(self._parts), self._size
        self._parts, self._size = [], 0
        return line if size <= MAX_RECORD_BYTES else LongLine(line[: EXCERPT_CHARACTERS * 4])
