r"""Members of a zip, checked against the directory at its end, the header before each and the bytes themselves.

`zipfile` is not used: it holds the whole directory in memory before it can be counted, cuts a name at a NUL, cuts a
member that is longer than declared without a word, and (before 3.11.8) follows members that overlap, which is how 10 MB
become 281 TB (https://www.bamsoftware.com/hacks/zipbomb/).

Names: UTF-8 by flag bit 11 or the Unicode path field (0x7075). Without either, names that are valid UTF-8 are taken as
such (macOS writes them so); others need `name_encoding` (gbk is common in Chinese zips), cp437 is never assumed.
A backslash is a separator, as old Windows tools write it.

Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, whose section numbers stand beside the code.
"""

from __future__ import annotations

import bisect
import bz2
import os
import stat
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from pipeline.sources.members import CHUNK, REPACK, Member, RefusedError, decoded_name, member_parts
from pipeline.sources.streams import Inflate, one_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.sources.streams import Decoder

END = struct.Struct("<4s4H2LH")  # 4.3.16
END64_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15
END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
DIRECTORY = struct.Struct("<4s6H3L5H2L")  # 4.3.12
LOCAL = struct.Struct("<4s5H3L2H")  # 4.3.7

STORED, DEFLATED, BZIP2, AES = 0, 8, 12, 99
DECODERS: dict[int, Callable[[], Decoder]] = {DEFLATED: lambda: Inflate(-15), BZIP2: bz2.BZ2Decompressor}
ENCRYPTED = 0x0001 | 0x0040 | 0x2000
DESCRIPTOR = 0x0008
UTF8 = 0x0800
ZIP64_FIELD = 0x0001
UNICODE_PATH_FIELD = 0x7075
IN_ZIP64 = 0xFFFF_FFFF
"""A 32-bit size or offset with this value stands in the ZIP64 field instead."""
DESCRIPTOR_FORMS = (("<3L", 0xFFFF_FFFF), ("<L2Q", 0xFFFF_FFFF_FFFF_FFFF))
"""Checksum and two sizes after a member (4.3.9): 32-bit sizes, or 64-bit ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What the directory says about one member."""

    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int


def zip_members(
    file: BinaryIO, *, name_encoding: str | None, count: Callable[[int], None], max_members: int
) -> Iterator[Member]:
    """Yield the files and folders of a zip; raise `RefusedError` for other members and for damage.

    `count` is called with the length of each piece before it is yielded.
    """
    start, size, members, is_zip64 = _end(file)
    if members > max_members:
        raise RefusedError(f"has {members:,} members", allowed=f"{max_members:,} (max_members)")
    taken = _Spans(start)
    seen = 0
    for seen, entry in enumerate(_directory(file, start, size, name_encoding), 1):  # noqa: B007  used after the loop
        yield _member(file, entry, taken, count)
    # Old tools write the number of members modulo 65,536.
    if seen != members and (is_zip64 or seen & 0xFFFF != members):
        raise RefusedError(f"has {seen:,} members where its end record says {members:,}", hint=REPACK)


def _end(file: BinaryIO) -> tuple[int, int, int, bool]:
    """Find the end record; return offset, bytes and members of the directory, and whether it is ZIP64."""
    length = file.seek(0, os.SEEK_END)
    tail_at = max(0, length - END.size - 0xFFFF)
    file.seek(tail_at)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    found = at >= 0
    while at >= 0 and not (len(tail) - at >= END.size and at + END.size + END.unpack_from(tail, at)[7] == len(tail)):
        at = tail.rfind(b"PK\5\6", 0, at)
    if at < 0:
        why = (
            "has foreign bytes after its end record, or is cut in it" if found else "has no end record: it is truncated"
        )
        raise RefusedError(why, hint="fetch the archive again, or pack it again")
    _, disk, first_disk, here, members, size, start, _ = END.unpack_from(tail, at)
    end = tail_at + at

    is_zip64 = at >= END64_LOCATOR.size and tail[at - END64_LOCATOR.size :].startswith(b"PK\6\7")
    if is_zip64:
        _, disk64, end64, disks = END64_LOCATOR.unpack_from(tail, at - END64_LOCATOR.size)
        record = os.pread(file.fileno(), END64.size, end64) if end64 <= length else b""
        if len(record) != END64.size or not record.startswith(b"PK\6\6") or disk64 or disks > 1:
            raise RefusedError("has a ZIP64 locator that points nowhere", hint=REPACK)
        short = (here, members, size, start)
        _, record_size, _, _, disk, first_disk, here, members, size, start = END64.unpack(record)
        long = (here, members, size, start)
        sentinels = (0xFFFF, 0xFFFF, IN_ZIP64, IN_ZIP64)
        if any(a not in {b, s} for a, b, s in zip(short, long, sentinels, strict=True)):
            raise RefusedError("has two end records that contradict each other", hint=REPACK)
        if end64 + 12 + record_size != end - END64_LOCATOR.size:
            raise RefusedError("has a ZIP64 end record of a wrong length", hint=REPACK)
        end = end64
    if disk or first_disk or here != members:
        raise RefusedError(
            "is one part of a zip of several parts", hint="join the parts: `zip -s 0 in.zip --out all.zip`"
        )
    if start + size != end:
        raise RefusedError("has a directory that is not where its end record says", hint=REPACK)
    return start, size, members, is_zip64


def _directory(file: BinaryIO, start: int, size: int, name_encoding: str | None) -> Iterator[Entry]:
    """Yield the entries of the directory; its bytes are read as it goes, and all of them are accounted for."""
    file.seek(start)
    while size:
        head = file.read(DIRECTORY.size)
        if len(head) != DIRECTORY.size or not head.startswith(b"PK\1\2"):
            raise RefusedError("has a damaged directory", hint=REPACK)
        _, _, _, flags, method, _, _, crc, packed, full, name_len, extra_len, note_len, disk, _, attributes, offset = (
            DIRECTORY.unpack(head)
        )
        variable = file.read(name_len + extra_len + note_len)
        size -= len(head) + len(variable)
        if len(variable) != name_len + extra_len + note_len or size < 0:
            raise RefusedError("has a damaged directory", hint=REPACK)
        raw_name = variable[:name_len]
        fields = _extra_fields(variable[name_len : name_len + extra_len])
        name = _name(raw_name, flags, fields, name_encoding)
        full, packed, offset = _zip64(fields, (full, packed, offset), name)
        if disk not in {0, 0xFFFF}:
            raise RefusedError("lies in another part of a zip of several parts", member=name)
        yield Entry(
            raw_name=raw_name,
            name=name,
            flags=flags,
            method=method,
            crc=crc,
            packed=packed,
            size=full,
            offset=offset,
            mode=attributes >> 16,
        )


def _member(file: BinaryIO, entry: Entry, taken: _Spans, count: Callable[[int], None]) -> Member:
    """Check the header of a member against the directory, and make its content ready to be read."""
    parts = member_parts(entry.name)
    folder = entry.name.endswith("/")
    why, hint = "", REPACK
    kind = stat.S_IFMT(entry.mode)
    if entry.flags & ENCRYPTED or entry.method == AES:
        why, hint = "is encrypted", "unpack it yourself with the password and give the folder as the source"
    elif kind == stat.S_IFLNK:
        why, hint = "is a symbolic link", f"{REPACK}, which follows links"
    elif kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        why = "is a device, FIFO or socket"
    elif entry.method not in {STORED, *DECODERS}:
        why = f"is compressed with method {entry.method} (9 is Deflate64, 14 LZMA, 93 zstd)"
    elif folder and entry.size:
        why = "is a folder that has content"
    elif not folder and kind == stat.S_IFDIR:
        why = "is a folder without a slash at the end of its name"
    elif entry.method == STORED and entry.size != entry.packed:
        why = f"is stored as it is, yet declares {entry.packed:,} packed and {entry.size:,} unpacked bytes"
    if why:
        allowed = "files and folders, stored or compressed with deflate or bzip2"
        raise RefusedError(why, member=entry.name, allowed=allowed, hint=hint)

    head = os.pread(file.fileno(), LOCAL.size, entry.offset) if entry.offset < taken.end else b""
    if len(head) != LOCAL.size or not head.startswith(b"PK\3\4"):
        raise RefusedError("has no header where the directory says", member=entry.name, hint=REPACK)
    _, _, flags, method, _, _, crc, packed, size, name_len, extra_len = LOCAL.unpack(head)
    variable = os.pread(file.fileno(), name_len + extra_len, entry.offset + LOCAL.size)
    start = entry.offset + LOCAL.size + name_len + extra_len
    taken.add(entry.offset, start + entry.packed, entry.name)
    same = (
        variable[:name_len] == entry.raw_name
        and method == entry.method
        and not (flags ^ entry.flags) & (ENCRYPTED | DESCRIPTOR)
    )
    if same and not flags & DESCRIPTOR:
        size, packed, _ = _zip64(_extra_fields(variable[name_len:]), (size, packed, 0), entry.name)
        same = (crc, packed, size) == (entry.crc, entry.packed, entry.size)
    if not same:
        raise RefusedError("has a header that contradicts the directory", member=entry.name, hint=REPACK)
    chunks = iter(()) if folder else _content(file, entry, start, count)
    offset = start if entry.method == STORED else None
    return Member(name=entry.name, parts=parts, folder=folder, size=entry.size, chunks=chunks, offset=offset)


def _content(file: BinaryIO, entry: Entry, start: int, count: Callable[[int], None]) -> Iterator[bytes]:
    """Yield the content of a member; its length, checksum, compressed length and data descriptor must all be right."""
    size = crc = 0
    try:
        for chunk in _unpacked(file, entry, start):
            size += len(chunk)
            crc = zlib.crc32(chunk, crc)
            if size > entry.size:
                break
            count(len(chunk))
            yield chunk
    except RefusedError as error:
        error.member = error.member or entry.name
        raise
    if size != entry.size:
        shape = "longer" if size > entry.size else "shorter"
        raise RefusedError(f"is {shape} than the {entry.size:,} bytes it declares", member=entry.name, hint=REPACK)
    if crc != entry.crc:
        raise RefusedError("has a wrong checksum (CRC-32): it is damaged", member=entry.name, hint=REPACK)
    if entry.flags & DESCRIPTOR:
        tail = os.pread(file.fileno(), 24, start + entry.packed)
        forms = tuple(struct.pack(form, crc, entry.packed & mask, size & mask) for form, mask in DESCRIPTOR_FORMS)
        if not tail.startswith(forms) and not tail.removeprefix(b"PK\7\x08").startswith(forms):
            raise RefusedError("has a data descriptor that contradicts the directory", member=entry.name, hint=REPACK)


def _unpacked(file: BinaryIO, entry: Entry, start: int) -> Iterator[bytes]:
    packed = _packed(file, start, entry.packed)
    if entry.method == STORED:
        yield from packed
        return
    rest = yield from one_stream(DECODERS[entry.method](), b"", packed)
    if rest or next(packed, b""):
        raise RefusedError("has foreign bytes after its compressed data", hint=REPACK)


def _packed(file: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    while size:
        chunk = os.pread(file.fileno(), min(size, CHUNK), start)
        if not chunk:
            raise RefusedError("is cut off", hint="fetch the archive again, or pack it again")
        start += len(chunk)
        size -= len(chunk)
        yield chunk


def _extra_fields(extra: bytes) -> dict[int, bytes]:
    """Cut the extra field into its parts (4.5.1); what does not parse is padding, as Android tools write it."""
    fields: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if at + 4 + length > len(extra):
            break
        fields.setdefault(kind, extra[at + 4 : at + 4 + length])
        at += 4 + length
    return fields


def _zip64(fields: dict[int, bytes], numbers: tuple[int, int, int], name: str) -> tuple[int, int, int]:
    """Take size, packed size and offset from the ZIP64 field where they do not fit 32 bits (4.5.3)."""
    field = fields.get(ZIP64_FIELD, b"")
    full = []
    for number in numbers:
        if number != IN_ZIP64:
            full.append(number)
            continue
        if len(field) < 8:
            raise RefusedError("has a size of 4 GiB or more and no ZIP64 field to hold it", member=name, hint=REPACK)
        full.append(int.from_bytes(field[:8], "little"))
        field = field[8:]
    return full[0], full[1], full[2]


def _name(raw: bytes, flags: int, fields: dict[int, bytes], name_encoding: str | None) -> str:
    field = fields.get(UNICODE_PATH_FIELD, b"")  # 4.6.9: version 1, CRC-32 of the name it replaces, UTF-8
    if field[:1] == b"\1" and field[1:5] == zlib.crc32(raw).to_bytes(4, "little"):
        raw, name_encoding = field[5:], None
    return decoded_name(raw, None if flags & UTF8 else name_encoding).replace("\\", "/")


class _Spans:
    """The parts of the file that members have claimed; two may not overlap."""

    def __init__(self, end: int) -> None:
        self.end = end
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int, name: str) -> None:
        at = bisect.bisect_left(self._starts, start)
        before = self._ends[at - 1] if at else 0
        after = self._starts[at] if at < len(self._starts) else self.end
        if before > start or after < end:
            raise RefusedError("overlaps another part of the archive: a zip bomb is built so", member=name)
        self._starts.insert(at, start)
        self._ends.insert(at, end)
