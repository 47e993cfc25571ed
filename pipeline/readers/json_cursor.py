r"""A place in a JSON text that is read block by block: finds where values end without parsing them.

Only quotes, escapes, brackets and commas are looked at, so that the end of a value is found even when its content is
bad, and a value of any length is passed over in bounded memory. Lines end in `\n`; a lone `\r` is white space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.readers.record import EXCERPT_CHARACTERS, MAX_RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING_BODY = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_OUTSIDE = re.compile(rb'["{}\[\],]')
_INSIDE = re.compile(rb'["{}\[\]]')
_CLOSER = {ord("{"): ord("}"), ord("["): ord("]")}
_QUOTE, _COMMA = ord('"'), ord(",")
_MAX_NESTING = 1 << 20
"""Open brackets that are kept track of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """The raw text of one value."""

    line: int
    """The 1-based line it starts on."""
    raw: bytes
    """Its bytes; only the first ones of a value that is too large."""
    too_large: bool = False
    """Whether it is longer than was asked for."""


class BrokenTextError(Exception):
    """Brackets or quotes do not match, or the text ends too early: what follows cannot be told apart any more."""

    def __init__(self, reason: str, line: int, raw: bytes) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.raw = raw


class NoEndError(BrokenTextError):
    """No end of the value was found within the limit."""


class Cursor:
    """A position in blocks of UTF-8; `data[at:]` is what is loaded and not yet read."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self.data = b""
        self.at = 0
        self.line = 1

    def more(self) -> bool:
        """Load at least as much again as is not yet read; return False at the end of the file."""
        rest = self.data[self.at :]
        parts, loaded = [rest], 0
        # Doubling keeps the copying linear in the length of a long value.
        while loaded <= len(rest):
            block = next(self._blocks, None)
            if block is None:
                break
            parts.append(block)
            loaded += len(block)
        self.data, self.at = b"".join(parts), 0
        return loaded > 0

    def rest(self) -> int:
        """Give up reading; returns the bytes that are left."""
        left = len(self.data) - self.at + sum(map(len, self._blocks))
        self.data, self.at = b"", 0
        return left

    def peek(self) -> bytes:
        """Pass over white space and return the byte that follows, or nothing at the end of the file."""
        while True:
            space = _SPACE.match(self.data, self.at)
            assert space is not None
            self.advance(space.end())
            if self.at < len(self.data):
                return self.data[self.at : self.at + 1]
            if not self.more():
                return b""

    def advance(self, to: int) -> None:
        """Move to an index of `data`, counting lines."""
        self.line += self.data.count(b"\n", self.at, to)
        self.at = to

    def take(self, *, alone: bool = False, limit: int = MAX_RECORD_BYTES, drop: bool = True) -> Piece:
        """Read the text up to the comma or bracket that ends a member of an array or object, and stop before that.

        With `alone` the value stands in no array or object, and ends with its own last bracket. Raises BrokenTextError,
        and stays where it was, when the end cannot be found; what was too large for that is dropped. Without `drop`
        nothing is: a value longer than the limit raises NoEndError.
        """
        start_line, head = self.line, b""
        closers = bytearray()
        in_string = False
        scan = self.at
        while True:
            if in_string:
                body = _STRING_BODY.match(self.data, scan)
                assert body is not None
                scan = body.end()
                if self.data[scan : scan + 1] == b'"':
                    in_string = False
                    scan += 1
                    continue
            else:
                mark = (_INSIDE if closers or alone else _OUTSIDE).search(self.data, scan)
                if mark:
                    scan, byte = mark.end(), self.data[mark.start()]
                    if byte == _QUOTE:
                        in_string = True
                    elif byte in _CLOSER:
                        closers.append(_CLOSER[byte])
                        if len(closers) > _MAX_NESTING:
                            raise self._broken("nested far too deep", start_line, head)
                    elif byte == _COMMA or not closers:
                        scan -= 1
                        break
                    elif byte != closers.pop():
                        raise self._broken(f"a {chr(byte)!r} closes what it does not fit", start_line, head)
                    elif alone and not closers:
                        break
                    continue
                scan = len(self.data)
            if head or scan - self.at > limit:
                if not drop:
                    raise NoEndError(f"no end within {limit >> 20} MiB", start_line, self._excerpt())
                head = head or self._excerpt()
                self.advance(scan)
            ahead = scan - self.at
            body = mark = None  # a match keeps the data it was found in from being freed
            if not self.more():
                if not closers and not in_string and not alone and (head or self.data[self.at :].strip()):
                    break  # the value is whole; what is missing is the end of what it stands in
                inside = "a string" if in_string else "an object or array"
                raise self._broken(f"the file ends inside {inside}", start_line, head)
            scan = self.at + ahead
        raw = head or self.data[self.at : scan]
        too_large = bool(head) or scan - self.at > limit
        self.advance(scan)
        return Piece(line=start_line, raw=raw[: EXCERPT_CHARACTERS * 4] if too_large else raw, too_large=too_large)

    def _broken(self, reason: str, line: int, head: bytes) -> BrokenTextError:
        return BrokenTextError(reason, line, head or self._excerpt())

    def _excerpt(self) -> bytes:
        return self.data[self.at : self.at + EXCERPT_CHARACTERS * 4]
