"""Faults of a server, as `bad_server.py` makes them: each is a value, and two are joined with `&`.

A number of body bytes counts what comes in this answer: for a range, from the range's first byte. Where fewer bytes are
left than a cut allows, all of them come, and then the connection ends as the fault says.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Literal

BEFORE = -1
"""A cut in front of the status line: nothing comes."""
CHUNK = 1000
"""Bytes of a chunk, so that a cut at a multiple of it falls between two chunks, and any other inside one."""
PAGE = b"<!DOCTYPE html>\n<html><head><title>Error</title></head><body>Something went wrong.</body></html>\n"

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class Fault:
    """What is done in place of a proper answer; made by the functions below, and nothing is wrong with `OK`."""

    new_version: bytes | None = None
    """The file has these bytes from now on."""
    etag: Literal["strong", "weak", "none"] = "strong"
    last_modified: bool = True
    wrong_bytes: bool = False
    gzip: bool = False

    code: int | None = None
    """This status, with `body` and `content_type`, in place of the file."""
    body: bytes = b""
    content_type: str = ""
    to_itself: bool = False
    headers: Headers = ()
    """More headers, whatever the answer is."""
    ranges: Literal["kept", "wrong", "ignored", "refused"] = "kept"

    framing: Literal["length", "chunked", "until close"] | None = None
    """How the client learns where the body ends; by its length if nothing is said."""
    length_delta: int = 0
    status_line: bytes | None = None
    informational: bool = False

    late: float = 0
    """Seconds before the answer starts."""
    cut: int | None = None
    """Body bytes that come, or `BEFORE`."""
    ending: Literal["close", "reset", "eof", "stall"] | None = None
    """What happens at the cut."""
    seconds: float = 0
    """How long a stall lasts; then the connection is closed."""
    rate: float | None = None
    """Body bytes a second."""
    endless: bool = False

    def __post_init__(self) -> None:
        if self.endless and (self.cut is not None or self.length_delta or self.framing == "length"):
            raise ValueError("a body that never ends is not cut and has no length")
        if self.length_delta and self.framing in ("chunked", "until close"):
            raise ValueError("only an answer with a Content-Length can have a wrong one")
        if self.cut is not None and self.cut < BEFORE:
            raise ValueError(f"a cut after {self.cut} bytes")
        if self.rate is not None and self.rate <= 0:
            raise ValueError(f"a rate of {self.rate} bytes a second")

    def __and__(self, other: Fault) -> Fault:
        """Join two faults of one answer; they may not say different things of the same."""
        joined: dict[str, Any] = {}
        for field in fields(self):
            mine, others = getattr(self, field.name), getattr(other, field.name)
            if field.name == "headers":
                joined["headers"] = mine + others
            elif field.default in (mine, others):
                joined[field.name] = others if mine == field.default else mine
            elif mine == others:
                joined[field.name] = mine
            else:
                raise ValueError(f"both say something of {field.name}: {mine!r:.40} and {others!r:.40}")
        return Fault(**joined)

    def __repr__(self) -> str:
        said = ((field.name, getattr(self, field.name)) for field in fields(self) if self._says(field.name))
        return f"Fault({', '.join(f'{name}={value!r:.40}' for name, value in said)})"

    def _says(self, name: str) -> bool:
        return bool(getattr(self, name) != getattr(OK, name))


OK = Fault()
"""A proper answer."""


# How the connection ends.


def reset_before() -> Fault:
    """Reset the connection (TCP RST) once the request is read, with no answer."""
    return Fault(cut=BEFORE, ending="reset")


def reset_after(n: int) -> Fault:
    """Reset the connection (TCP RST) when n bytes of the body have arrived."""
    return Fault(cut=n, ending="reset")


def close_before() -> Fault:
    """Close the connection once the request is read, with no answer."""
    return Fault(cut=BEFORE, ending="close")


def tls_eof(n: int) -> Fault:
    """Close the TCP connection after n bytes of the body, without the close_notify with which TLS says that it ends."""
    return Fault(cut=n, ending="eof")


def truncated(n: int) -> Fault:
    """Close the connection after n bytes of the body; the Content-Length says there were more."""
    return Fault(cut=n, ending="close")


def truncated_without_length(n: int) -> Fault:
    """Close the connection after n bytes of a body that only the close ends: the client cannot tell."""
    return until_close() & truncated(n)


def chunked_cut(n: int) -> Fault:
    """Close the connection after n bytes of a chunked body: inside a chunk, or between two (see `CHUNK`)."""
    return chunked() & truncated(n)


# How fast it comes.


def late(seconds: float) -> Fault:
    """Wait before the answer starts."""
    return Fault(late=seconds)


def stall(n: int, seconds: float) -> Fault:
    """Send n bytes of the body, then nothing for so long, then close the connection."""
    return Fault(cut=n, ending="stall", seconds=seconds)


def slow(bytes_per_second: float) -> Fault:
    """Send the head at once and the body at this rate."""
    return Fault(rate=bytes_per_second)


def endless() -> Fault:
    """Send the file again and again, without a length, for as long as the client reads."""
    return Fault(endless=True)


# How the body is framed.


def chunked() -> Fault:
    """Send the whole body in chunks; this alone is a proper answer."""
    return Fault(framing="chunked")


def until_close() -> Fault:
    """Send the whole body without its length and close the connection; this alone is a proper answer."""
    return Fault(framing="until close")


def wrong_length(delta: int) -> Fault:
    """Announce so many bytes more than come, and then close; or fewer, and then go on behind the rest."""
    return Fault(length_delta=delta)


# What is answered in place of the file.


def status(
    code: int,
    retry_after: float | datetime | str | None = None,
    body: bytes = PAGE,
    content_type: str = "text/html",
    headers: dict[str, str] | None = None,
) -> Fault:
    """Answer this status; `retry_after` is seconds, a moment (sent as an HTTP date), or any text."""
    more = dict(headers or {})
    if isinstance(retry_after, datetime):
        more["Retry-After"] = format_datetime(retry_after.astimezone(UTC), usegmt=True)
    elif retry_after is not None:
        more["Retry-After"] = str(retry_after)
    return Fault(code=code, body=body, content_type=content_type, headers=tuple(more.items()))


def html(code: int = 200, content_type: str = "text/html") -> Fault:
    """Answer an HTML page, as pages of errors and logins come; the content type may lie."""
    return status(code, content_type=content_type)


def redirect(to: str, code: int = 302) -> Fault:
    """Redirect to any URL or path; it is sent as it is."""
    return status(code, headers={"Location": to})


def redirect_loop(code: int = 302) -> Fault:
    """Redirect to the very URL that was asked for."""
    return status(code) & Fault(to_itself=True)


# Ranges.


def wrong_range() -> Fault:
    """Answer a range with 206 and another range, which starts a byte earlier (or later, where 0 was asked for)."""
    return Fault(ranges="wrong")


def ignores_range() -> Fault:
    """Answer a range with 200 and the whole file, and do not speak of ranges."""
    return Fault(ranges="ignored")


def range_416() -> Fault:
    """Answer any range with 416."""
    return Fault(ranges="refused")


# Versions of the file, and how the client can tell them apart.


def other_etag(new: bytes) -> Fault:
    """Put a new version in place of the file, with its own ETag and Last-Modified; it stays for later requests."""
    return Fault(new_version=new)


def weak_etag(*, last_modified: bool = True) -> Fault:
    """Send a weak ETag, which is not good enough for a range."""
    return Fault(etag="weak", last_modified=last_modified)


def no_etag() -> Fault:
    """Send Last-Modified and no ETag."""
    return Fault(etag="none")


def no_validators() -> Fault:
    """Send neither ETag nor Last-Modified."""
    return Fault(etag="none", last_modified=False)


# Bytes.


def gzip_encoded() -> Fault:
    """Send the file with Content-Encoding: gzip, though nobody asked; length, ranges and ETag are of the gzip."""
    return Fault(gzip=True)


def wrong_bytes() -> Fault:
    """Send as many bytes under the same ETag, but each of them another."""
    return Fault(wrong_bytes=True)


# Heads.


def bad_status_line(line: bytes = b"220 ready when you are") -> Fault:
    """Send this in place of the status line, then headers and body."""
    return Fault(status_line=line)


def huge_header(size: int = 1_000_000) -> Fault:
    """Send a header of so many bytes with a proper answer."""
    return Fault(headers=(("X-Huge", "x" * size),))


def informational() -> Fault:
    """Send 100 Continue and 103 Early Hints before the answer; this alone is a proper answer."""
    return Fault(informational=True)
