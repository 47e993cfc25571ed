"""Text of any declared or marked encoding as blocks of UTF-8 bytes, streaming.

The rule for encodings:

    `encoding` is declared      that codec; a byte order mark that contradicts it is refused
    a byte order mark           UTF-8, UTF-16 or UTF-32, as marked
    else, UTF-8                 when the first MiB is valid UTF-8
    else                        refused, with the codecs that could fit; nothing is guessed

Bytes that do not fit the encoding further on (or anywhere, when it is declared) arrive as invalid UTF-8, so that each
reader can reject the records that hold them and keep the others.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

import charset_normalizer

from pipeline.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.readers.record import Part, ReadOptions

BLOCK_BYTES = 1 << 20
"""How much is read at once, and how much must be valid UTF-8 when no encoding is declared."""

_CANDIDATE_SAMPLE_BYTES = 16 << 10
# What annotation files are written in when it is not UTF-8, the likeliest first.
_USUAL = ("cp1252", "gb18030", "cp932", "big5", "cp949", "euc_jis_2004", "cp1251", "cp1250")
# The longer mark first: UTF-32 LE begins with the mark of UTF-16 LE.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_FAMILIES = {"utf-8-sig": "utf-8", "utf-16": "utf-16-", "utf-32": "utf-32-"}
# Codecs of Python that are not encodings of text files.
_NOT_FOR_FILES = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"}
_INVALID = "\udcff"


def _mark_invalid(error: UnicodeError) -> tuple[str, int]:
    """Stand a lone surrogate in for undecodable bytes: written as UTF-8 it is invalid again, so its record is seen."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _INVALID, error.end


codecs.register_error("shardwright.mark_invalid", _mark_invalid)


def utf8_blocks(path: Path, options: ReadOptions) -> Iterator[bytes]:
    """Yield the text of a file as blocks of UTF-8 bytes without byte order mark.

    Raises SourceError for a file that cannot be opened or read, an unknown codec, a mark that contradicts the declared
    codec, and for text that is not UTF-8 when nothing is declared.
    """
    raw = raw_blocks(path, options.part)
    if options.part is not None and options.part.start:
        yield from raw  # only UTF-8 is cut into parts
        return
    first = next(raw, b"")
    mark, marked = _mark_of(first)
    codec = _agreed(path, options.encoding, marked, first) if options.encoding else marked or _probed(path, first)
    if codec == "utf-8":
        yield first[len(mark) :]
        yield from raw
        return
    decoder = codecs.lookup(codec).incrementaldecoder
    assert decoder is not None, codec
    decode = decoder("shardwright.mark_invalid").decode
    try:
        yield decode(first[len(mark) :]).encode("utf-8", "surrogatepass")
        for block in raw:
            yield decode(block).encode("utf-8", "surrogatepass")
        yield decode(b"", final=True).encode("utf-8", "surrogatepass")
    except UnicodeError as error:
        raise SourceError(
            f"{path}: cannot be decoded as {codec}: {error}", hint="declare the encoding it was written in"
        ) from error


def is_utf8(path: Path, options: ReadOptions) -> bool:
    """Tell whether a file is read as UTF-8: it is declared or marked as such, or neither declared nor marked."""
    _, marked = _mark_of(next(raw_blocks(path), b""))
    declared = _codec_name(options.encoding) if options.encoding else "utf-8"
    return marked in (None, "utf-8") and _FAMILIES.get(declared or "", declared) == "utf-8"


def raw_blocks(path: Path, part: Part | None = None) -> Iterator[bytes]:
    """Yield the bytes of a regular file, or a part of it, in blocks; raise SourceError when it cannot be read."""
    try:
        if not path.is_file():
            what = "is not a regular file" if path.exists() else "does not exist"
            raise SourceError(f"{path}: {what}", allowed="a regular file", hint="check the path")
        with path.open("rb") as file:
            left = -1
            if part is not None:
                file.seek(part.start)
                left = part.end - part.start
            while block := file.read(BLOCK_BYTES if left < 0 else min(left, BLOCK_BYTES)):
                yield block
                left -= len(block) if left > 0 else 0
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise SourceError(f"{path}: cannot be read: {error}", hint="check the path and its permissions") from error


def _mark_of(first: bytes) -> tuple[bytes, str | None]:
    for mark, codec in _MARKS:
        if first.startswith(mark):
            return mark, codec
    return b"", None


def _agreed(path: Path, declared: str, marked: str | None, first: bytes) -> str:
    """Return the codec to use when one is declared."""
    name = _codec_name(declared)
    if name is None:
        raise SourceError(
            f"{path}: unknown encoding {declared!r}",
            allowed="a Python text codec, e.g. utf-8, utf-16, cp1252, shift_jis, gb18030",
            hint="correct `encoding`, or leave it out for UTF-8",
        )
    family = _FAMILIES.get(name, name)
    if marked:
        if not marked.startswith(family):
            raise SourceError(
                f"{path}: `encoding: {declared}` is declared, but the byte order mark says {marked}",
                hint=f"leave `encoding` out or say `encoding: {marked}`",
            )
        return marked
    if family.endswith("-") and first:
        raise SourceError(
            f"{path}: `encoding: {declared}` is declared, but there is no byte order mark to tell the byte order",
            allowed=f"{family}le or {family}be",
            hint=f"say `encoding: {family}le` (files from Windows) or `encoding: {family}be`",
        )
    return family


def _codec_name(declared: str) -> str | None:
    """Return the name of a codec for text files, in one spelling; None when there is no such codec."""
    try:
        info = codecs.lookup(declared)
        "a".encode(declared)  # unlike `lookup`, this refuses `zlib` and `rot13`
    except (LookupError, ValueError):
        return None
    name = info.name.replace("_", "-")
    return name if info.incrementaldecoder and name not in _NOT_FOR_FILES else None


def _probed(path: Path, first: bytes) -> str:
    """Return utf-8 when the first block is valid UTF-8 without a mark; raise SourceError otherwise."""
    wide = _unmarked_wide(first)
    if wide:
        raise SourceError(
            f"{path}: looks like {wide} without a byte order mark",
            allowed="UTF-8, a byte order mark, or a declared encoding",
            hint=f"say `encoding: {wide}`",
        )
    try:
        # A character cut by the end of a full block is no error.
        codecs.getincrementaldecoder("utf-8")().decode(first, final=len(first) < BLOCK_BYTES)
    except UnicodeDecodeError as error:
        line = first.count(b"\n", 0, error.start) + 1
        candidates = _candidates(first, error.start)
        advice = f"say `encoding: {candidates[0]}` if that is what it is; " if candidates else ""
        raise SourceError(
            f"{path}: is not UTF-8: byte 0x{first[error.start]:02x} on line {line}, and no encoding is declared",
            allowed=f"could be {', '.join(candidates)}" if candidates else "no known encoding fits well",
            hint=f"{advice}`encoding: utf-8` rejects only the records with invalid bytes",
        ) from None
    return "utf-8"


def _unmarked_wide(first: bytes) -> str | None:
    """Return the encoding of two or four ASCII characters whose zero bytes give it away."""
    shape = "".join("0" if byte == 0 else "x" for byte in first[:4])
    return {"x0x0": "utf-16-le", "0x0x": "utf-16-be", "x000": "utf-32-le", "000x": "utf-32-be"}.get(shape)


def _candidates(first: bytes, invalid_at: int) -> list[str]:
    """Return up to three codecs that could fit, the most likely first.

    A short text fits many codecs equally well; among those the usual ones come first.
    """
    start = max(0, invalid_at - _CANDIDATE_SAMPLE_BYTES // 2)
    found: list[tuple[float, int, str]] = []
    for match in charset_normalizer.from_bytes(first[start : start + _CANDIDATE_SAMPLE_BYTES]):
        if not match.encoding.startswith("utf"):  # it has no mark, and is not UTF-8
            rank, name = min((_rank(name), name) for name in match.could_be_from_charset)
            found.append((round(match.chaos, 1), rank, name))
    return list(dict.fromkeys(name for _, _, name in sorted(found)))[:3]


def _rank(codec: str) -> int:
    return _USUAL.index(codec) if codec in _USUAL else len(_USUAL)
