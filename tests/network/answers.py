"""What `BadServer` answers: a request, a file and a fault to the bytes of a response; no sockets here."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

from tests.network.faults import BEFORE, CHUNK, PAGE, Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_MODIFIED = datetime(2024, 1, 1, tzinfo=UTC)
HINTS = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
OTHER_BYTES = bytes(range(255, -1, -1))
"""A table in which every byte becomes another."""
BODILESS = (204, 304)
REASONS = {status.value: status.phrase for status in HTTPStatus}

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Version:
    """A file as it is at one time."""

    body: bytes
    content_type: str
    tag: str
    """What an ETag has between its quotes."""
    number: int = 0

    @classmethod
    def of(cls, body: bytes, content_type: str, number: int = 0) -> Self:
        """Hash it here, once, and not while somebody waits for an answer."""
        return cls(body, content_type, hashlib.sha256(body).hexdigest()[:16], number)

    @property
    def last_modified(self) -> str:
        """A day after the version before."""
        return format_datetime(FIRST_MODIFIED + timedelta(days=self.number), usegmt=True)


@dataclass(frozen=True)
class Asked:
    """The head of a request."""

    method: str
    target: str
    """As it came, percent-encoded and with its query."""
    headers: Mapping[str, str]
    """Names in lower case."""
    keep: bool
    """The client does not want the connection closed."""


@dataclass(frozen=True)
class Answer:
    """The bytes of a response, up to where the fault cuts them."""

    status: int | None
    """What the status line says; none if none is sent, or none that could be read."""
    head: bytes
    body: bytes
    keep: bool
    """Another request may follow on the connection."""
    endless: bool
    """The body is sent again and again."""


def answer(asked: Asked, version: Version | None, fault: Fault) -> Answer:
    """Return what is sent; a file that is not there has no version."""
    if asked.method not in ("GET", "HEAD"):
        code, headers, body = 405, [("Allow", "GET, HEAD"), ("Content-Type", "text/html")], PAGE
    elif fault.code is not None:
        code, headers, body = fault.code, [("Content-Type", fault.content_type)], fault.body
        if fault.to_itself:
            headers.append(("Location", asked.target))
    elif version is None:
        code, headers, body = 404, [("Content-Type", "text/html")], PAGE
    else:
        code, headers, body = _file(asked, version, fault)
    if code in BODILESS:
        body = b""
    framing = fault.framing or ("until close" if fault.endless else "length")
    # A body that the client cannot find the end of, or one that we did not read, must be the last of its connection.
    keep = asked.keep and framing != "until close" and asked.method in ("GET", "HEAD")
    if framing == "chunked":
        headers.append(("Transfer-Encoding", "chunked"))
    elif framing == "length" and code not in BODILESS:
        headers.append(("Content-Length", str(len(body) + fault.length_delta)))
    if not keep:
        headers.append(("Connection", "close"))
    line = fault.status_line or f"HTTP/1.1 {code} {REASONS.get(code, 'Odd')}".encode()
    fields = "".join(f"{name}: {value}\r\n" for name, value in (*headers, *fault.headers))
    head = b"%s%s\r\n%s\r\n" % (HINTS if fault.informational else b"", line, fields.encode())
    if asked.method == "HEAD" or code in BODILESS:
        wire = b""
    elif framing == "chunked":
        wire = _chunks(body or b"\0" * fault.endless, fault)
    elif fault.endless:
        wire = body or b"\0"
    else:
        wire = body if fault.cut is None else body[: max(fault.cut, 0)]
    return Answer(
        status=None if fault.status_line or fault.cut == BEFORE else code,
        head=b"" if fault.cut == BEFORE else head,
        body=wire,
        endless=fault.endless and wire != b"",
        # The client waits for what was announced and never comes, so somebody has to end it.
        keep=keep and fault.status_line is None and fault.length_delta <= 0,
    )


def _chunks(body: bytes, fault: Fault) -> bytes:
    """Return the body in chunks, and the last chunk behind them unless something was cut or more comes."""
    sent = body if fault.cut is None else body[: max(fault.cut, 0)]
    parts = []
    for start in range(0, len(sent), CHUNK):
        announced = min(CHUNK, len(body) - start)
        piece = sent[start : start + CHUNK]
        parts += [b"%x\r\n" % announced, piece, b"\r\n" if len(piece) == announced else b""]
    if fault.cut is None and not fault.endless:
        parts.append(b"0\r\n\r\n")
    return b"".join(parts)


def _file(asked: Asked, version: Version, fault: Fault) -> tuple[int, Pairs, bytes]:
    """Return status, headers and body of an answer about a file."""
    body, tag = version.body, f'"{version.tag}"'
    headers = [("Content-Type", version.content_type)]
    if fault.wrong_bytes:
        body = body.translate(OTHER_BYTES)
    if fault.gzip:
        body, tag = gzip.compress(body, mtime=0), f'"{version.tag}-gzip"'
        headers.append(("Content-Encoding", "gzip"))
    if fault.etag == "weak":
        tag = f"W/{tag}"
    if fault.etag != "none":
        headers.append(("ETag", tag))
    if fault.last_modified:
        headers.append(("Last-Modified", version.last_modified))
    if fault.ranges != "ignored":
        headers.append(("Accept-Ranges", "bytes"))
    sent = dict(headers)
    if _not_modified(asked, sent):
        return 304, headers, b""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.headers.get("range", ""))
    # Several ranges, or what is none, are answered with the whole; and a range is for GET only.
    if match is None or not any(match.groups()) or fault.ranges == "ignored" or asked.method != "GET":
        return 200, headers, body
    if all(match.groups()) and int(match[1]) > int(match[2]):
        return 200, headers, body
    if fault.ranges == "kept" and not _still_the_same(asked, sent):
        return 200, headers, body
    size = len(body)
    first, last = _first_and_last(match[1], match[2], size)
    if fault.ranges == "refused" or first >= size:
        return 416, [*headers, ("Content-Range", f"bytes */{size}")], b""
    if fault.ranges == "wrong":
        if size < 2:
            raise ValueError("a file of one byte has no other range to answer with")
        first = first - 1 if first else 1
        last = max(first, last)
    return 206, [*headers, ("Content-Range", f"bytes {first}-{last}/{size}")], body[first : last + 1]


def _first_and_last(first: str, last: str, size: int) -> tuple[int, int]:
    if first:
        return int(first), min(int(last), size - 1) if last else size - 1
    return (max(size - int(last), 0), size - 1) if int(last) else (size, size)


def _not_modified(asked: Asked, sent: Mapping[str, str]) -> bool:
    """Tell whether the client has what it asks for; If-None-Match goes before a date."""
    known = asked.headers.get("if-none-match")
    if known is not None:
        tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        return "ETag" in sent and sent["ETag"].removeprefix("W/") in tags
    return asked.headers.get("if-modified-since") == sent.get("Last-Modified", "")


def _still_the_same(asked: Asked, sent: Mapping[str, str]) -> bool:
    """Tell whether If-Range holds: the same strong ETag, or the same date; it holds where there is none."""
    wanted = asked.headers.get("if-range")
    if wanted is None:
        return True
    return wanted in (sent.get("ETag"), sent.get("Last-Modified")) and not wanted.startswith("W/")
