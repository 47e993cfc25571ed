"""One request for one file: redirects followed by our rules, ranges and lengths checked, bytes straight to the disk.

Follows RFC 9110: `Range` is guarded by `If-Range` with a strong validator (13.1.5), an answer of 206 is believed only
where its `Content-Range` says so (14.4), and a body that is shorter than its length is no file.
"""

from __future__ import annotations

import asyncio
import email.utils
import re
import ssl
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from pipeline.errors import RowRejected
from pipeline.network.addresses import ForbiddenAddressError, check_host
from pipeline.network.failure import FetchError
from pipeline.network.proxies import proxy_for
from pipeline.network.urls import WebUrl, hide_secrets, parse_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pipeline.network.limits import FetchLimits
    from pipeline.network.partial import Partial

_REDIRECTS = {301, 302, 303, 307, 308}
_LATER = {408, 425, 429, 500, 502, 503, 504, 509, 520, 521, 522, 523, 524, 527, 530}
"""Statuses that may be others in a moment; the last ones are those of a well-known reverse proxy."""
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)\Z")
_PAGES = ("text/html", "application/xhtml+xml")
_PAGE = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|title)\b", re.IGNORECASE | re.DOTALL)
_PAGE_BYTES = 1_024
_INFLATED = 1 << 18


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request that brought a whole file was answered with."""

    http: int
    etag: str | None
    certain: bool
    """Whether the server said how long the file is, and so it is."""


async def transfer(
    session: aiohttp.ClientSession, url: WebUrl, partial: Partial, limits: FetchLimits, *, media: bool
) -> Reply:
    """Ask for a file, or the rest of it, and write it to `partial`; `media`: a page in its place is an error.

    Raises:
        FetchError: it did not come, or not whole. What came may be continued where `partial` has a validator.
    """
    try:
        async with asyncio.timeout(limits.whole):
            return await _follow(session, url, partial, limits, media=media)
    except TimeoutError as error:
        what = str(error) or f"not whole after {limits.whole:g} s"
        raise FetchError("fetch.timeout", f"{url.shown}: {what}") from None
    except ForbiddenAddressError as error:
        raise FetchError("fetch.forbidden", f"{url.shown}: {error}", lasting=True) from None
    except (aiohttp.ClientSSLError, ssl.SSLError) as error:
        lasting = isinstance(error, aiohttp.ClientConnectorCertificateError)
        raise FetchError("fetch.tls", f"{url.shown}: {_words(error)}", lasting=lasting) from None
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.__cause__, ForbiddenAddressError):
            raise FetchError("fetch.forbidden", f"{url.shown}: {error.__cause__}", lasting=True) from None
        raise FetchError("fetch.connect", f"{url.shown}: {_words(error)}") from None
    except aiohttp.ClientPayloadError as error:
        raise FetchError("fetch.cut", f"{url.shown}: the body broke off: {_words(error)}") from None
    except (aiohttp.ClientConnectionError, ConnectionError) as error:
        raise FetchError("fetch.cut", f"{url.shown}: the connection broke: {_words(error)}") from None
    except (aiohttp.ClientError, ValueError) as error:
        raise FetchError("fetch.protocol", f"{url.shown}: {_words(error)}") from None


async def _follow(
    session: aiohttp.ClientSession, url: WebUrl, partial: Partial, limits: FetchLimits, *, media: bool
) -> Reply:
    here = url
    for _ in range(limits.redirects + 1):
        check_host(here.host, limits.allow_hosts)
        headers = {"Accept-Encoding": "identity", "Accept": "*/*"}
        if partial.size and partial.validator is not None:
            headers |= {"Range": f"bytes={partial.size}-", "If-Range": partial.validator}
        elif partial.size:
            partial.restart()
        proxy = proxy_for(here.scheme, here.host)
        target = URL(here.request, encoded=True)
        async with session.get(target, headers=headers, allow_redirects=False, proxy=proxy) as response:
            if response.status not in _REDIRECTS:
                return await _receive(response, url, partial, limits, media=media)
            location = response.headers.get("Location", "")
        try:
            here = parse_url(urljoin(here.request, location.strip().replace(" ", "%20")))
        except (RowRejected, ValueError) as error:
            words = hide_secrets(str(error))
            raise FetchError("fetch.url", f"{url.shown}: leads to what is no URL: {words}", lasting=True) from None
    raise FetchError("fetch.redirects", f"{url.shown}: more than {limits.redirects} redirects", lasting=True)


async def _receive(
    response: aiohttp.ClientResponse, url: WebUrl, partial: Partial, limits: FetchLimits, *, media: bool
) -> Reply:
    status = response.status
    if status == 416:
        partial.restart()
        raise FetchError("fetch.range", f"{url.shown}: the file is not what it was when a part of it came", http=status)
    if status not in (200, 206):
        wait = _retry_after(response.headers.get("Retry-After"))
        lasting = status < 600 and status not in _LATER
        raise FetchError(
            "fetch.status", f"{url.shown}: the server answers {status}", lasting=lasting, http=status, wait=wait
        )
    total = _total(response, url, partial)
    if total is not None and total > limits.max_bytes:
        raise _too_large(url, limits, total)
    if media and response.content_type in _PAGES:
        raise FetchError("fetch.not_media", f"{url.shown}: a page came in place of the file", http=status)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        partial.expect(_validator(response), total)
        blocks = _plain(response)
    elif encoding in ("gzip", "x-gzip", "deflate"):
        partial.expect(None, None)  # a part of what is packed cannot be continued
        total = None
        blocks = _inflated(response, url)
    else:
        raise FetchError("fetch.encoding", f"{url.shown}: packed with {encoding!r}", lasting=True, http=status)
    await _write(blocks, url, partial, limits)
    if total is not None and partial.size != total:
        what = f"{url.shown}: {partial.size:,} bytes came, {total:,} were announced"
        if partial.size > total:
            partial.restart()
        raise FetchError("fetch.length", what, http=status)
    if media and _PAGE.match(partial.head(_PAGE_BYTES)):
        partial.restart()
        raise FetchError("fetch.not_media", f"{url.shown}: a page came in place of the file", http=status)
    certain = total is not None or encoding not in ("", "identity") or "Transfer-Encoding" in response.headers
    return Reply(status, response.headers.get("ETag"), certain)


def _total(response: aiohttp.ClientResponse, url: WebUrl, partial: Partial) -> int | None:
    """Return how long the whole file is; what came before is forgotten when the server begins anew."""
    if response.status == 200:
        if partial.size:
            partial.restart()
        return response.content_length
    told = _RANGE.match(response.headers.get("Content-Range", ""))
    same = partial.validator in (response.headers.get("ETag"), response.headers.get("Last-Modified"))
    if told is None or int(told[1]) != partial.size or not same or told[3] == "*" or int(told[2]) + 1 != int(told[3]):
        partial.restart()
        raise FetchError("fetch.range", f"{url.shown}: another range came than was asked for", http=206)
    return int(told[3])


def _validator(response: aiohttp.ClientResponse) -> str | None:
    """Return what tells one version of a file from another, byte by byte."""
    etag = response.headers.get("ETag", "")
    if etag.startswith('"') and etag.endswith('"') and len(etag) > 2:
        return etag
    modified = response.headers.get("Last-Modified")
    dated = _seconds(modified), _seconds(response.headers.get("Date"))
    # RFC 9110, 8.8.2.2: a date is strong when it is well before that of the answer
    if not etag and modified is not None and None not in dated and dated[0] + 60 <= dated[1]:  # type: ignore[operator]
        return modified
    return None


async def _plain(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async for block in response.content.iter_any():
        yield block


async def _inflated(response: aiohttp.ClientResponse, url: WebUrl) -> AsyncIterator[bytes]:
    """Yield a packed body unpacked, a little at a time, however much comes out of it."""
    inflater = zlib.decompressobj(47)  # gzip or zlib, by its head
    async for block in response.content.iter_any():
        rest = block
        while rest:
            try:
                yield inflater.decompress(rest, _INFLATED)
            except zlib.error:
                raise FetchError("fetch.encoding", f"{url.shown}: the packed body is damaged") from None
            rest = inflater.unconsumed_tail
    yield inflater.flush()
    if not inflater.eof:
        raise FetchError("fetch.cut", f"{url.shown}: the packed body broke off")


async def _write(blocks: AsyncIterator[bytes], url: WebUrl, partial: Partial, limits: FetchLimits) -> None:
    began, size = time.monotonic(), partial.size
    async for block in blocks:
        if partial.size + len(block) > limits.max_bytes:
            partial.restart()
            raise _too_large(url, limits, None)
        partial.append(block)
        now = time.monotonic()
        if now - began >= limits.stall:
            if partial.size - size < limits.slowest * (now - began):
                raise FetchError("fetch.slow", f"{url.shown}: slower than {limits.slowest:,} bytes a second")
            began, size = now, partial.size


def _too_large(url: WebUrl, limits: FetchLimits, total: int | None) -> FetchError:
    has = "more" if total is None else f"{total:,} bytes"
    what = f"{url.shown}: {has}, where fetch.max_bytes allows {limits.max_bytes:,}"
    return FetchError("fetch.too_large", what, lasting=True)


def _retry_after(text: str | None) -> float | None:
    """Return the seconds to wait (RFC 9110, 10.2.3): a number or a date."""
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return float(text.strip()[:9])
    seconds = _seconds(text)
    return None if seconds is None else max(0.0, seconds - time.time())


def _seconds(date: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError):
        return None


def _words(error: BaseException) -> str:
    return hide_secrets(str(error) or type(error).__name__)[:300]
