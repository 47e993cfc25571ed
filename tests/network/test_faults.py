"""Every fault does on the wire what it says: seen from a plain socket, http.client and aiohttp."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import socket
import time
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from tests.network import faults
from tests.network.answers import Version
from tests.network.bad_server import BadServer, refused_url
from tests.network.faults import CHUNK, OK, PAGE, Fault
from tests.network.wire import (
    BODY,
    NAME,
    NEW,
    Heard,
    ask,
    connect,
    fetch,
    fetch_one,
    hear,
    hear_one,
    listen,
    quiet,  # noqa: F401
)

pytestmark = pytest.mark.usefixtures("quiet")


# How the connection ends.


@pytest.mark.parametrize("n", [0, 1, 1000, 2559])
@pytest.mark.parametrize(("fault", "end"), [(faults.reset_after, "reset"), (faults.truncated, "closed")])
def test_a_cut_comes_after_so_many_bytes(fault: Any, end: str, n: int) -> None:
    """The head, so many bytes, and then a reset or a close; of a range too."""
    heard = hear_one(fault(n))
    assert (heard.headers["Content-Length"], heard.body, heard.end) == ("2560", BODY[:n], end)
    heard = hear_one(fault(n), Range="bytes=10-", method="GET")
    assert (heard.status, heard.body, heard.end) == (206, BODY[10:][:n], end)


def test_a_reset_loses_nothing_that_was_sent() -> None:
    """Many bytes arrive before it, though the client reads late."""
    body = BODY * 1000
    with BadServer({NAME: body}, {NAME: [faults.reset_after(2_000_000)]}) as server, connect(server) as connection:
        ask(connection)
        time.sleep(0.1)
        heard = listen(connection)
        assert (len(heard.body), heard.end) == (2_000_000, "reset")


@pytest.mark.parametrize(("fault", "end"), [(faults.reset_before(), "reset"), (faults.close_before(), "closed")])
def test_no_answer_at_all(fault: Fault, end: str) -> None:
    """Nothing comes, and it is known how."""
    with BadServer({NAME: BODY}, {NAME: [fault]}) as server:
        heard = hear(server)
        assert (heard.everything, heard.end) == (b"", end)
        assert server.requests[0].status is None


def test_refused() -> None:
    """Nobody listens there, however often one asks."""
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(refused_url().split(":")[2].split("/")[0])))


# How fast it comes.


def test_stall() -> None:
    """So many bytes, so long nothing, and then it is closed."""
    with BadServer({NAME: BODY}, {NAME: [faults.stall(7, 0.4)]}) as server, connect(server) as connection:
        ask(connection)
        heard = listen(connection, 0.2)
        assert (heard.headers["Content-Length"], heard.body, heard.end) == ("2560", BODY[:7], "open")
        assert listen(connection, 2) == Heard(b"", "closed")
        assert 0.35 < time.monotonic() - server.requests[0].at < 1


def test_slow() -> None:
    """The head comes at once and the body at its rate."""
    with BadServer({NAME: BODY}, {NAME: [faults.slow(2560 / 0.4)]}) as server, connect(server) as connection:
        ask(connection)
        first = connection.recv(1000)
        assert first.startswith(b"HTTP/1.1 200")
        time.sleep(0.2)
        half = first + connection.recv(100_000)
        assert 0.2 < len(half) / len(BODY) < 0.9
        heard = listen(connection, 0.3)
        assert (half + heard.everything).partition(b"\r\n\r\n")[2] == BODY
        assert heard.end == "open"


def test_late() -> None:
    """The answer comes later, and is then a proper one."""
    with BadServer({NAME: BODY}, {NAME: [faults.late(0.3)]}) as server, connect(server) as connection:
        ask(connection)
        assert listen(connection, 0.1) == Heard(b"", "open")
        assert listen(connection, 0.5).body == BODY


@pytest.mark.parametrize("framing", [OK, faults.chunked()])
def test_endless(framing: Fault) -> None:
    """More comes than anybody can want, and it is the file again and again; it ends when the client leaves."""
    with BadServer({NAME: BODY}, {NAME: [faults.endless() & framing]}) as server, connect(server) as connection:
        ask(connection)
        heard = listen(connection, 1, most=5_000_000)
        assert len(heard.everything) >= 5_000_000
        assert "Content-Length" not in heard.headers
        if framing == OK:
            assert heard.body == (BODY * 3000)[: len(heard.body)]
        else:
            assert heard.headers["Transfer-Encoding"] == "chunked"
            assert b"\r\n0\r\n" not in heard.everything


def test_endless_and_slow_go_together() -> None:
    """It comes at its rate, too."""
    plan = {NAME: [faults.endless() & faults.slow(10_000)]}
    with BadServer({NAME: BODY}, plan) as server, connect(server) as connection:
        ask(connection)
        time.sleep(0.3)
        assert 500 < len(connection.recv(1_000_000)) < 8_000


# How the body is framed.


def test_chunked() -> None:
    """The whole body in chunks, and the connection stays."""
    heard = hear_one(faults.chunked())
    assert (heard.headers["Transfer-Encoding"], "Content-Length" in heard.headers) == ("chunked", False)
    sizes = [b"3e8\r\n", b"3e8\r\n", b"230\r\n"]
    pieces = [size + BODY[n * CHUNK : (n + 1) * CHUNK] + b"\r\n" for n, size in enumerate(sizes)]
    assert (heard.body, heard.end) == (b"".join(pieces) + b"0\r\n\r\n", "open")
    assert hear_one(faults.chunked_cut(2 * CHUNK)).body == b"".join(pieces[:2])
    assert hear_one(faults.chunked_cut(CHUNK + 3)).body == pieces[0] + pieces[1][:8]
    assert hear_one(faults.chunked_cut(len(BODY))) == Heard(heard.everything.removesuffix(b"0\r\n\r\n"), "closed")
    assert hear_one(faults.chunked() & faults.reset_after(5)).end == "reset"


def test_without_length() -> None:
    """Only the close ends it, whether it is whole or not."""
    for fault, body in ((faults.until_close(), BODY), (faults.truncated_without_length(9), BODY[:9])):
        heard = hear_one(fault)
        assert (heard.headers["Connection"], heard.body, heard.end) == ("close", body, "closed")
        assert not heard.headers.keys() & {"Content-Length", "Transfer-Encoding"}


def test_wrong_length() -> None:
    """Too long is closed after all that there is; too short leaves a rest in front of the next answer."""
    heard = hear_one(faults.wrong_length(3))
    assert (heard.headers["Content-Length"], heard.body, heard.end) == ("2563", BODY, "closed")
    with BadServer({NAME: BODY}, {NAME: [faults.wrong_length(-3), OK]}) as server:
        with connect(server) as connection:
            ask(connection)
            heard = listen(connection)
            assert (heard.headers["Content-Length"], heard.body, heard.end) == ("2557", BODY, "open")
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as client:
            client.request("GET", f"/{NAME}")
            assert client.getresponse().read() == BODY


# Heads.


def test_bad_heads() -> None:
    """No status line, a header too large, and answers before the answer."""
    assert hear_one(faults.bad_status_line()).line == "220 ready when you are"
    assert hear_one(faults.bad_status_line()).end == "closed"
    heard = hear_one(faults.huge_header(300_000))
    assert (len(heard.headers["X-Huge"]), heard.body) == (300_000, BODY)
    heads = hear_one(faults.informational()).everything.split(b"\r\n\r\n", 3)
    assert [head[:12] for head in heads[:3]] == [b"HTTP/1.1 100", b"HTTP/1.1 103", b"HTTP/1.1 200"]
    assert heads[3] == BODY


# Other answers.


def test_status() -> None:
    """Any status with what belongs to it; the connection stays."""
    heard = hear_one(faults.status(503, 7, headers={"X-Mine": "1"}))
    assert (heard.line, heard.body, heard.end) == ("HTTP/1.1 503 Service Unavailable", PAGE, "open")
    assert heard.headers == {
        "Content-Type": "text/html",
        "Content-Length": str(len(PAGE)),
        "X-Mine": "1",
        "Retry-After": "7",
    }
    moment = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert hear_one(faults.status(429, moment)).headers["Retry-After"] == "Wed, 02 Jan 2030 03:04:05 GMT"
    assert hear_one(faults.status(429, "soon")).headers["Retry-After"] == "soon"
    heard = hear_one(faults.status(204))
    assert (heard.status, heard.body) == (204, b"")
    heard = hear_one(faults.html(content_type="image/jpeg"))
    assert (heard.status, heard.headers["Content-Type"], heard.body) == (200, "image/jpeg", PAGE)
    assert hear_one(faults.html()).headers["Content-Type"] == "text/html"
    assert hear_one(faults.status(520) & faults.reset_after(4)) == Heard(
        hear_one(faults.status(520)).everything.removesuffix(PAGE) + PAGE[:4], "reset"
    )


def test_redirects() -> None:
    """To any URL, as it is, or to itself, for ever."""
    with BadServer({"there": b"arrived"}) as other:
        kinds = {
            "far": [faults.redirect(other.url("there"))],
            "near": [faults.redirect("far?x", 307)],
            "loop": [faults.redirect_loop()],
        }
        with BadServer({}, kinds) as server:
            heard = hear(server, path="near")
            assert (heard.status, heard.headers["Location"]) == (307, "far?x")
            assert hear(server, path="loop?q=1").headers["Location"] == "/loop?q=1"
            assert asyncio.run(fetch(server, "near")) == (200, b"arrived")
            with pytest.raises(aiohttp.TooManyRedirects):
                asyncio.run(fetch(server, "loop"))
        assert other.tries("there") == 1


def test_bad_ranges() -> None:
    """Another range than was asked for, none at all, or 416; without a range all is well."""
    for wanted, answered in (("bytes=5-8", "bytes 4-8/2560"), ("bytes=0-0", "bytes 1-1/2560")):
        heard = hear_one(faults.wrong_range(), Range=wanted)
        first, last = map(int, answered[6:-5].split("-"))
        assert (heard.status, heard.headers["Content-Range"]) == (206, answered)
        assert heard.body == BODY[first : last + 1]
    heard = hear_one(faults.ignores_range(), Range="bytes=5-8")
    assert (heard.status, heard.body, "Accept-Ranges" in heard.headers) == (200, BODY, False)
    heard = hear_one(faults.range_416(), Range="bytes=5-8")
    assert (heard.status, heard.headers["Content-Range"], heard.body) == (416, "bytes */2560", b"")
    for fault in (faults.wrong_range(), faults.ignores_range(), faults.range_416()):
        heard = hear_one(fault)
        assert (heard.status, heard.body) == (200, BODY)


def test_a_lie_that_cannot_be_told_is_an_error() -> None:
    """A file of one byte has no other range; the test hears of it when the server stops."""
    with (
        pytest.raises(ValueError, match="no other range"),
        BadServer({NAME: b"1"}, {NAME: [faults.wrong_range()]}) as server,
    ):
        assert hear(server, Range="bytes=0-").everything == b""


def test_a_new_version_stays() -> None:
    """New bytes, ETag and date from that request on; a range of the old version is not kept."""
    plan = [faults.truncated(5), faults.other_etag(NEW), OK]
    with BadServer({NAME: BODY}, {NAME: plan}) as server:
        old = hear(server).headers
        heard = hear(server, Range="bytes=5-", If_Range=old["ETag"])
        assert (heard.status, heard.body) == (200, NEW)
        assert heard.headers["ETag"] != old["ETag"]
        assert heard.headers["Last-Modified"] == "Tue, 02 Jan 2024 00:00:00 GMT"
        again = hear(server)
        assert (again.body, again.headers) == (NEW, heard.headers)
        assert hear(server, Range="bytes=5-", If_Range=old["Last-Modified"]).status == 200
        assert hear(server, Range="bytes=5-").headers["Content-Range"] == f"bytes 5-1499/{len(NEW)}"


def test_validators() -> None:
    """A weak ETag, no ETag, and nothing at all."""
    tag, date = f'"{Version.of(BODY, "").tag}"', "Mon, 01 Jan 2024 00:00:00 GMT"
    for fault, expected in (
        (faults.weak_etag(), {"ETag": f"W/{tag}", "Last-Modified": date}),
        (faults.weak_etag(last_modified=False), {"ETag": f"W/{tag}"}),
        (faults.no_etag(), {"Last-Modified": date}),
        (faults.no_validators(), {}),
    ):
        headers = hear_one(fault).headers
        assert {name: headers[name] for name in ("ETag", "Last-Modified") if name in headers} == expected
        assert hear_one(fault, Range="bytes=0-0").status == 206
        assert hear_one(fault, Range="bytes=0-0", If_Range=tag).status == 200
        assert hear_one(fault, Range="bytes=0-0", If_Range=f"W/{tag}").status == 200
        assert hear_one(fault, Range="bytes=0-0", If_Range=date).status == (206 if "Last-Modified" in expected else 200)


def test_other_bytes() -> None:
    """Compressed though nobody asked, or as many but each of them another."""
    heard = hear_one(faults.gzip_encoded())
    assert (heard.headers["Content-Encoding"], gzip.decompress(heard.body)) == ("gzip", BODY)
    assert heard.headers["Content-Length"] == str(len(heard.body))
    assert heard.headers["ETag"] != hear_one(OK).headers["ETag"]
    assert hear_one(faults.gzip_encoded(), Range="bytes=3-").body == heard.body[3:]
    assert asyncio.run(fetch_one(faults.gzip_encoded())) == (200, BODY)
    wrong, good = hear_one(faults.wrong_bytes()), hear_one(OK)
    assert wrong.headers == good.headers
    assert all(one != other for one, other in zip(wrong.body, BODY, strict=True))


# What clients make of it.


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.reset_before(), aiohttp.ClientOSError),
        (faults.close_before(), aiohttp.ServerDisconnectedError),
        (faults.reset_after(9), aiohttp.ClientError),
        (faults.truncated(9), aiohttp.ClientPayloadError),
        (faults.chunked_cut(9), aiohttp.ClientPayloadError),
        (faults.chunked_cut(CHUNK), aiohttp.ClientPayloadError),
        (faults.wrong_length(1), aiohttp.ClientPayloadError),
        (faults.wrong_length(-1), aiohttp.ClientResponseError),
        (faults.bad_status_line(), aiohttp.ClientResponseError),
        (faults.huge_header(), aiohttp.ClientResponseError),
    ],
    ids=lambda value: repr(value) if isinstance(value, Fault) else "",
)
def test_aiohttp_sees_what_can_be_seen(fault: Fault, error: type[Exception]) -> None:
    """Every fault that HTTP lets a client see is an error."""
    with pytest.raises(error):
        asyncio.run(fetch_one(fault))


@pytest.mark.parametrize("fault", [faults.stall(9, 9), faults.late(9), faults.slow(1)])
def test_aiohttp_tires_of_waiting(fault: Fault) -> None:
    """What does not come in time is an error; and the server does not wait until it would have come."""
    with BadServer({NAME: BODY}, {NAME: [fault]}) as server, pytest.raises(TimeoutError):
        asyncio.run(fetch(server, timeout=aiohttp.ClientTimeout(total=0.2)))


@pytest.mark.parametrize(
    ("fault", "body"),
    [
        (faults.chunked(), BODY),
        (faults.until_close(), BODY),
        (faults.informational(), BODY),
        (faults.truncated_without_length(9), BODY[:9]),
        (faults.slow(20_000), BODY),
    ],
    ids=lambda value: repr(value) if isinstance(value, Fault) else "",
)
def test_aiohttp_takes_what_it_cannot_tell(fault: Fault, body: bytes) -> None:
    """What is proper, and what cannot be told from it, is an answer."""
    assert asyncio.run(fetch_one(fault)) == (200, body)


def test_http_client_sees_a_cut() -> None:
    """The standard library's client does, too."""
    with BadServer({NAME: BODY}, {NAME: [faults.truncated(9), faults.chunked_cut(9), OK]}) as server:
        for error in (http.client.IncompleteRead, http.client.IncompleteRead, None):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as client:
                client.request("GET", f"/{NAME}")
                with pytest.raises(error) if error else contextlib.nullcontext():
                    assert client.getresponse().read() == BODY


# Faults as values.


def test_faults_are_joined() -> None:
    """Two faults of one answer say what both say, and do not contradict each other."""
    joined = faults.no_validators() & faults.truncated(5)
    assert joined == faults.truncated(5) & faults.no_validators()
    assert repr(joined) == "Fault(etag='none', last_modified=False, cut=5, ending='close')"
    assert OK & joined == joined & OK == joined
    for bad in (
        lambda: faults.truncated(5) & faults.truncated(6),
        lambda: faults.truncated(5) & faults.reset_after(5),
        lambda: faults.status(500) & faults.status(503),
        lambda: faults.endless() & faults.truncated(5),
        lambda: faults.wrong_length(1) & faults.chunked(),
        lambda: faults.truncated(-2),
        lambda: faults.slow(0),
    ):
        with pytest.raises(ValueError, match=r"both|never ends|Content-Length|cut|rate"):
            bad()
