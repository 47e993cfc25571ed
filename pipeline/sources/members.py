r"""What an archive reader yields, and which member names are let through.

A member name is text from a stranger. It is cut into parts and must stay below the folder it is unpacked into:

    images/1.jpg, ./images//1.jpg      images/1.jpg
    /etc/passwd, C:/x, a/../b          refused
    a\b                                refused in a tar; a zip reader has turned `\` into `/` before
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 256 << 10
"""Bytes of a member that are in memory at a time."""
MAX_PART_BYTES = 255
"""A file name on Linux and macOS is no longer than this (NAME_MAX)."""
MAX_NAME_BYTES = 2048
"""A whole member name; with the folder it goes to, it must stay below 4096 bytes (PATH_MAX of Linux)."""
MAX_DEPTH = 100
"""Folders in folders; deeper trees exist only to break the tools that walk them."""
REPACK = "pack the archive again, for example with `zip -r` or `tar -czf`"

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
DRIVE = re.compile(r"[A-Za-z]:")


class RefusedError(Exception):
    """Why an archive is not unpacked; the door of the archive adds its name and makes it a `SourceError`."""

    def __init__(self, why: str, *, member: str = "", allowed: str = "", hint: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.member = member
        self.allowed = allowed
        self.hint = hint


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One file or folder of an archive; other kinds are refused by the reader that meets them."""

    name: str
    """As the archive writes it, decoded, with `/` between folders; for messages."""
    parts: tuple[str, ...]
    """The path to unpack to, from `member_parts`."""
    folder: bool
    """True: a folder; `chunks` is empty."""
    size: int
    """Bytes that the archive declares; the reader refuses a member that turns out longer or shorter."""
    chunks: Iterator[bytes]
    """The content, checked while it is read; it may be left unread."""
    offset: int | None
    """Where the content begins in the zip, or in the tar once that is decompressed; None: it is compressed itself."""


def member_parts(name: str) -> tuple[str, ...]:
    """Cut a member name into its parts, or raise `RefusedError`; the name of the top folder itself has no parts."""
    why = ""
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if not name:
        why = "has no name"
    elif CONTROL.search(name):
        why = "has a control character in its name"
    elif name.startswith("/"):
        why = "has an absolute path"
    elif DRIVE.match(name):
        why = "has a drive letter in its path"
    elif "\\" in name:
        why = "has a backslash in its name"
    elif ".." in parts:
        why = "climbs with `..`"
    elif len(parts) > MAX_DEPTH:
        why = f"lies {len(parts)} folders deep"
    elif any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        why = f"has a part of more than {MAX_PART_BYTES} bytes in its name"
    elif len(name.encode()) > MAX_NAME_BYTES:
        why = f"has a name of more than {MAX_NAME_BYTES} bytes"
    if why:
        raise RefusedError(
            why,
            member=name,
            allowed=f"relative paths without `..`, at most {MAX_DEPTH} folders deep, {MAX_PART_BYTES} bytes a part",
            hint="do not trust this archive; if you do, pack it again with plain relative names",
        )
    return parts


def folded(path: str) -> str:
    """Fold a path the way a case-insensitive, normalising disk compares it (Unicode 3.13, D145: canonical caseless)."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def decoded_name(raw: bytes, encoding: str | None) -> str:
    """Decode a member name that is UTF-8 or else in `encoding`; raise `RefusedError` when neither fits."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        pass
    shown = raw.decode(errors="surrogateescape")  # for the message, which escapes what is not UTF-8
    if encoding is None:
        raise RefusedError(
            "has a name that is not UTF-8",
            member=shown,
            allowed="UTF-8 names, or names in the encoding that `name_encoding` gives",
            hint="name the encoding (often gbk, shift_jis or cp437), or pack the archive again with UTF-8 names",
        )
    try:
        name = raw.decode(encoding)
        name.encode()  # `unicode_escape` makes halves of surrogate pairs, which are no name of a file
    except (
        ValueError,
        LookupError,
    ) as error:  # of all codecs: `undefined` and `idna` raise more than UnicodeDecodeError
        raise RefusedError(
            f"has a name that is neither UTF-8 nor {encoding}",
            member=shown,
            hint="name another encoding, or pack the archive again with UTF-8 names",
        ) from error
    return name
