"""Members of a tar, in one pass from front to back and without a seek.

`tarfile` parses the header blocks. Its walk from header to header is not used: up to Python 3.11.9 that walk takes a
damaged header for the end of the archive, recurses once per extension header, reads extension headers of any size into
memory, lets a pax header give a negative size, and fills holes of sparse files.

Formats: POSIX.1-2008 pax and ustar (https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html), GNU long
names (https://www.gnu.org/software/tar/manual/html_node/Standard.html), and the plain format before them.
"""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

from pipeline.sources.members import CHUNK, REPACK, Member, RefusedError, decoded_name, member_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.sources.streams import Stream

BLOCK = 512
MAX_EXTENSION = 1 << 20
"""Bytes of one pax or long-name header; a path takes a few hundred, extended attributes up to 64 KiB."""

PAX_TYPES = {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE}
LONG_TYPES = {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
FILE_TYPES = {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE}
REFUSED_TYPES = {
    tarfile.SYMTYPE: "is a symbolic link",
    tarfile.LNKTYPE: "is a hard link",
    tarfile.CHRTYPE: "is a character device",
    tarfile.BLKTYPE: "is a block device",
    tarfile.FIFOTYPE: "is a FIFO",
    tarfile.GNUTYPE_SPARSE: "is a sparse file",
}


def is_tar_header(block: bytes) -> bool:
    """Say whether a block of 512 bytes is a tar header with a right checksum."""
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def tar_members(stream: Stream, name_encoding: str | None) -> Iterator[Member]:
    """Yield the files and folders of an uncompressed tar; raise `RefusedError` for other members and for damage.

    Refused as well: a tar without its end marker (a cut one looks like that) and one with data after the marker.
    """
    name: bytes | None = None  # of the next member, from an extension header before it
    size: int | None = None
    while (block := _read(stream, BLOCK, "")).count(0) != BLOCK:
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise RefusedError(f"has a damaged tar header ({error})", hint=REPACK) from error
        if header.type in PAX_TYPES | LONG_TYPES:
            if not 0 <= header.size <= MAX_EXTENSION:
                raise RefusedError(
                    f"has an extension header of {header.size} bytes", allowed=f"0 to {MAX_EXTENSION} bytes"
                )
            payload = _read(stream, header.size + -header.size % BLOCK, "")[: header.size]
            if header.type in PAX_TYPES:
                records = _pax(payload)
                if header.type == tarfile.XGLTYPE and records:
                    raise RefusedError("has a pax header that gives all members one name or size", hint=REPACK)
                name = records.get("path", name)
                size = int(records["size"]) if "size" in records else size
            elif header.type == tarfile.GNUTYPE_LONGNAME:
                name = payload.rstrip(b"\0")
            continue
        text = decoded_name(_short_name(block) if name is None else name, name_encoding)
        yield from _member(stream, text, header, header.size if size is None else size)
        name = size = None
    if name is not None or size is not None:
        raise RefusedError("ends after an extension header: it is truncated", hint=REPACK)
    while tail := stream.read(CHUNK):
        if tail.count(0) != len(tail):
            raise RefusedError(
                "has data after its end marker: damage, or several tars glued together",
                hint="unpack and pack it again; glued tars can be joined with `tar --concatenate`",
            )


def _member(stream: Stream, name: str, header: tarfile.TarInfo, size: int) -> Iterator[Member]:
    """Yield the one member of a header, then step over what was left unread of it."""
    parts = member_parts(name)
    folder = header.type == tarfile.DIRTYPE
    if not folder and header.type not in FILE_TYPES:
        why = REFUSED_TYPES.get(header.type, f"has the type {header.type.decode('latin-1')!r}")
        raise RefusedError(why, member=name, allowed="files and folders", hint="pack it again; `tar -h` follows links")
    if size < 0 or (folder and size):
        raise RefusedError(f"declares {size} bytes", member=name, hint=REPACK)
    if not folder and name.endswith("/"):
        raise RefusedError("is a file with the name of a folder", member=name, hint=REPACK)
    chunks = _content(stream, size, name)
    yield Member(name=name, parts=parts, folder=folder, size=size, chunks=chunks, offset=stream.given)
    for _ in chunks:
        pass
    _read(stream, -size % BLOCK, name)


def _content(stream: Stream, size: int, name: str) -> Iterator[bytes]:
    while size:
        chunk = _read(stream, min(size, CHUNK), name)
        size -= len(chunk)
        yield chunk


def _read(stream: Stream, size: int, member: str) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        why = "is cut off" if member else "ends without its end marker: it is truncated"
        raise RefusedError(why, member=member, hint="fetch the archive again, or pack it again")
    return data


def _short_name(block: bytes) -> bytes:
    """Return the name in a header. The prefix belongs to POSIX ustar alone: GNU tar keeps times in its place."""
    name = block[:100].split(b"\0", 1)[0]
    prefix = block[345:500].split(b"\0", 1)[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _pax(payload: bytes) -> dict[str, bytes]:
    """Return the records `path` and `size` of a pax header, each written as `<length> <key>=<value>` and a newline."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(payload):
        digits, space, _ = payload[at : at + 20].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record = payload[at : at + length]
        raw_key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals or len(record) != length or not record.endswith(b"\n"):
            raise RefusedError("has a damaged pax header", hint=REPACK)
        key = raw_key.decode("latin-1")
        if key.startswith("GNU.sparse.") or key == "SCHILY.realsize":
            raise RefusedError("holds a sparse file", allowed="files and folders", hint="pack it without `tar -S`")
        if key == "size" and not (value.isdigit() and len(value) < 20):
            raise RefusedError(f"has the size {value[:40]!r} in a pax header", hint=REPACK)
        if key in {"path", "size"}:
            records[key] = value
        at += length
    return records
