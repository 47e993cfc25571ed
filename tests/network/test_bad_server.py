"""The bad server without faults: proper answers, TLS, counts, limits, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
import time
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.network import faults
from tests.network.answers import Asked, Version, answer
from tests.network.bad_server import BadServer
from tests.network.certificates import TlsFiles, make_tls
from tests.network.faults import OK, Fault
from tests.network.wire import (
    BODY,
    LONG,
    NAME,
    Heard,
    ask,
    connect,
    fetch,
    hear,
    listen,
    quiet,  # noqa: F401
)

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """Give the certificates."""
    return make_tls(tmp_path_factory.mktemp("tls"))


# Proper answers.


def test_a_file_comes_whole_and_the_connection_stays() -> None:
    """Two requests on one connection, with all headers that a client may use."""
    with BadServer({NAME: BODY, "x.tar.gz": b"", "z": b"z"}, content_types={"z": "odd/type"}) as server:
        with connect(server) as connection:
            for _ in range(2):
                ask(connection, X_Mine="Yes")
                heard = listen(connection)
                assert (heard.line, heard.body, heard.end) == ("HTTP/1.1 200 OK", BODY, "open")
        assert heard.headers == {
            "Content-Type": "image/jpeg",
            "ETag": f'"{Version.of(BODY, "").tag}"',
            "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT",
            "Accept-Ranges": "bytes",
            "Content-Length": "2560",
        }
        assert hear(server, path="x.tar.gz").headers["Content-Type"] == "application/gzip"
        assert hear(server, path="z").headers["Content-Type"] == "odd/type"
        assert (server.connections, server.tries(NAME), server.tries("z"), server.tries("no")) == (3, 2, 1, 0)
        first, second, *_ = server.requests
        assert (first.path, first.method, first.status, first.connection) == (NAME, "GET", 200, second.connection)
        assert first.headers == {"host": "here", "x-mine": "Yes"}
        assert first.at < second.at < time.monotonic()


def test_head_missing_files_and_other_methods() -> None:
    """HEAD has the headers alone; what is not there is 404; a file cannot be written."""
    with BadServer({NAME: BODY}) as server:
        heard = hear(server, method="HEAD")
        assert (heard.status, heard.headers["Content-Length"], heard.body, heard.end) == (200, "2560", b"", "open")
        assert hear(server, path="b.jpg").status == 404
        heard = hear(server, method="POST")
        assert (heard.status, heard.end) == (405, "closed")
        with connect(server) as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            assert listen(connection).status == 400
        heard = hear(server, Connection="close")
        assert (heard.body, heard.headers["Connection"], heard.end) == (BODY, "close", "closed")


def test_a_close_loses_nothing_that_was_sent() -> None:
    """Not even if the client reads late, and has sent more that nobody reads."""
    with BadServer({NAME: bytes(10_000_000)}) as server, connect(server) as connection:
        ask(connection, Connection="close")
        time.sleep(0.1)
        connection.sendall(b"more")
        heard = listen(connection)
        assert (len(heard.body), heard.end) == (10_000_000, "closed")


def test_names_are_decoded_and_queries_left_out() -> None:
    """A URL holds any name; the request shows how it came."""
    with BadServer({"ä/b c?.jpg": BODY, "": b"root"}) as server:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as client:
            target = server.url("ä/b c?.jpg").removeprefix(f"http://127.0.0.1:{server.port}") + "?signed=1"
            assert target == "/%C3%A4/b%20c%3F.jpg?signed=1"
            client.request("GET", target)
            assert client.getresponse().read() == BODY
            client.request("GET", "/")
            assert client.getresponse().read() == b"root"
        assert [(one.path, one.target) for one in server.requests] == [("ä/b c?.jpg", target), ("", "/")]
        assert server.url("b", host="localhost") == f"http://localhost:{server.port}/b"


@pytest.mark.parametrize(
    ("wanted", "status", "answered", "body"),
    [
        ("bytes=0-9", 206, "bytes 0-9/2560", BODY[:10]),
        ("bytes=2550-", 206, "bytes 2550-2559/2560", BODY[-10:]),
        ("bytes=2550-9999", 206, "bytes 2550-2559/2560", BODY[-10:]),
        ("bytes=-10", 206, "bytes 2550-2559/2560", BODY[-10:]),
        ("bytes=-9999", 206, "bytes 0-2559/2560", BODY),
        ("bytes=2560-", 416, "bytes */2560", b""),
        ("bytes=-0", 416, "bytes */2560", b""),
        ("bytes=9-5", 200, None, BODY),
        ("bytes=-", 200, None, BODY),
        ("bytes=0-1,5-6", 200, None, BODY),
        ("lines=0-9", 200, None, BODY),
    ],
)
def test_ranges(wanted: str, status: int, answered: str | None, body: bytes) -> None:
    """A single range is kept, what is beyond the end is 416, and anything else gets the whole."""
    with BadServer({NAME: BODY}) as server:
        heard = hear(server, Range=wanted)
        assert (heard.status, heard.headers.get("Content-Range"), heard.body) == (status, answered, body)
        assert heard.headers["Content-Length"] == str(len(body))
        assert server.requests[0].range == wanted


@given(st.binary(max_size=30), st.integers(0, 40), st.integers(0, 40))
def test_a_range_is_a_slice(body: bytes, first: int, last: int) -> None:
    """Of any body, any range that is one comes as Python would cut it."""
    asked = Asked("GET", "/", {"range": f"bytes={first}-{last}"}, keep=True)
    made = answer(asked, Version.of(body, "a/b"), OK)
    if first > last:
        assert (made.status, made.body) == (200, body)
    elif first >= len(body):
        assert made.status == 416
    else:
        assert (made.status, made.body) == (206, body[first : last + 1])


def test_conditions() -> None:
    """If-Range keeps a range of the same version only, and what is known is 304."""
    tag, date = f'"{Version.of(BODY, "").tag}"', "Mon, 01 Jan 2024 00:00:00 GMT"
    with BadServer({NAME: BODY}) as server:
        for known, status in ((tag, 206), (date, 206), ('"other"', 200), (f"W/{tag}", 200)):
            assert hear(server, Range="bytes=1-2", If_Range=known).status == status
        for known, status in ((tag, 304), (f'"other", W/{tag}', 304), ('"other"', 200)):
            assert hear(server, If_None_Match=known).status == status
        heard = hear(server, If_Modified_Since=date)
        assert (heard.status, heard.body, "Content-Length" in heard.headers) == (304, b"", False)
        assert hear(server, If_None_Match='"other"', If_Modified_Since=date).status == 200


# With TLS.


@pytest.mark.parametrize(
    ("fault", "end", "tcp"),
    [
        (faults.reset_before(), "eof", "reset"),
        (faults.reset_after(5), "eof", "reset"),
        (faults.close_before(), "closed", "closed"),
        (faults.truncated(5), "closed", "closed"),
        (faults.truncated_without_length(5), "closed", "closed"),
        (faults.tls_eof(0), "eof", "closed"),
        (faults.tls_eof(5), "eof", "closed"),
        (faults.until_close() & faults.tls_eof(5), "eof", "closed"),
    ],
)
def test_with_tls(tls: TlsFiles, fault: Fault, end: str, tcp: str) -> None:
    """TLS says goodbye wherever the fault does not say that it shall not; and below TLS there is a reset, or none."""
    with BadServer({NAME: BODY}, {NAME: [fault]}, tls=tls) as server:
        heard = hear(server, tls)
        assert (heard.end, heard.body) == (end, BODY[: max(fault.cut or 0, 0)])
        with connect(server, tls) as connection:
            ask(connection)
            try:
                while socket.socket.recv(connection, 100_000):  # what TLS would decrypt
                    pass
                assert tcp == "closed"
            except ConnectionResetError:
                assert tcp == "reset"


def test_a_file_comes_whole_with_tls(tls: TlsFiles) -> None:
    """And the connection stays; under both names of this machine."""
    with BadServer({NAME: BODY}, tls=tls) as server:
        with connect(server, tls) as connection:
            for _ in range(2):
                ask(connection)
                heard = listen(connection)
                assert (heard.body, heard.end) == (BODY, "open")
        for host in ("127.0.0.1", "localhost"):
            client = http.client.HTTPSConnection(host, server.port, context=tls.client_context())
            with contextlib.closing(client):
                client.request("GET", server.url(NAME, host=host))
                assert client.getresponse().status == 400  # a proxy it is not
                client.request("GET", f"/{NAME}")
                assert client.getresponse().read() == BODY
        assert server.url("a").startswith("https://")


def test_tls_eof_needs_tls() -> None:
    """Without TLS it would be nothing but a close."""
    with pytest.raises(ValueError, match="needs TLS"):
        BadServer({}, {NAME: [OK, faults.tls_eof(0)]})


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        ("expired", "certificate has expired"),
        ("other_name", "IP address mismatch"),
        ("other_authority", "unable to get local issuer certificate"),
    ],
)
def test_bad_certificates(tls: TlsFiles, which: Any, reason: str) -> None:
    """A client that checks them refuses each for its own reason, and the server goes on."""
    with BadServer({NAME: BODY}, tls=tls.showing(which)) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            hear(server, tls)
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            asyncio.run(fetch(server, ssl=tls.client_context()))
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        assert asyncio.run(fetch(server, ssl=trusting)) == (200, BODY)


# The n-th request, counts and limits.


def test_the_nth_request_meets_the_nth_fault() -> None:
    """The last fault stays; paths do not disturb each other; what is not there has faults as well."""
    plan = {NAME: [faults.status(500), faults.status(502), OK], "b": [OK, faults.status(503)], "no": [faults.html()]}
    with BadServer({NAME: BODY, "b": b"b"}, plan) as server:
        assert [hear(server).status for _ in range(4)] == [500, 502, 200, 200]
        assert [hear(server, path="b").status for _ in range(3)] == [200, 503, 503]
        assert hear(server, path="no").status == 200
        assert [one.status for one in server.requests] == [500, 502, 200, 200, 200, 503, 503, 200]


def test_limit_per_second() -> None:
    """Above it 429, which uses up no fault; a second later all is well."""
    with BadServer({NAME: BODY}, {NAME: [OK, OK, faults.status(500)]}, limit_per_second=2) as server:
        with connect(server) as connection:
            statuses = []
            for _ in range(4):
                ask(connection)
                connection.settimeout(1)
                statuses.append(int(connection.recv(100_000).split()[1]))
            assert statuses == [200, 200, 429, 429]
        assert hear(server).headers["Retry-After"] == "1"
        time.sleep(1)
        assert hear(server).status == 500
        assert server.tries(NAME) == 6


def test_forbids_after() -> None:
    """From then on everything is 403."""
    with BadServer({NAME: BODY}, forbids_after=2) as server:
        assert [hear(server).status for _ in range(4)] == [200, 200, 403, 403]
        assert hear(server, path="other").status == 403


def test_concurrency_is_counted() -> None:
    """As many answers as there are at once, and never more."""
    with BadServer({NAME: BODY, "b": BODY}, {NAME: [faults.late(0.2)]}) as server:

        async def many(most: int) -> None:
            connector = aiohttp.TCPConnector(limit=most)
            async with aiohttp.ClientSession(connector=connector) as session:

                async def one() -> None:
                    async with session.get(server.url(NAME)) as response:
                        assert await response.read() == BODY

                await asyncio.gather(*(one() for _ in range(2 * most)))

        assert server.most_at_once == 0
        for _ in range(300):
            with connect(server) as connection:
                ask(connection, path="b")
                connection.recv(100)
        assert (server.most_at_once, server.most_connections) == (1, 1)
        asyncio.run(many(5))
        assert (server.most_at_once, server.most_connections, server.connections) == (5, 5, 305)


def test_an_answer_that_has_come_does_not_count() -> None:
    """One request at a time is one at a time, on however many connections."""
    with BadServer({NAME: BODY, "large": bytes(100_000)}) as server, connect(server) as one, connect(server) as other:
        for path in (NAME, "large"):
            for connection in (one, other) * 200:
                ask(connection, path=path)
                heard = Heard(b"", "open")
                while not heard.complete:
                    heard.everything += connection.recv(1_000_000)
        assert (server.most_at_once, server.most_connections, len(server.requests)) == (1, 2, 800)


def test_clients_that_gave_up_do_not_count() -> None:
    """A stalled answer is over when its client has left."""
    with BadServer({NAME: BODY}, {NAME: [faults.stall(1, 30), OK]}) as server:
        with connect(server) as connection:
            ask(connection)
            assert listen(connection, 0.2).body == BODY[:1]
        assert hear(server).body == BODY
        assert (server.most_at_once, server.most_connections) == (1, 1)


# How it stops.


@pytest.mark.parametrize("secure", [False, True])
def test_it_stops_within_a_second(tls: TlsFiles, secure: bool) -> None:
    """Whatever its clients are at: idle, stalled, late, not reading, in the middle of a handshake."""
    files = {"big": bytes(50_000_000), "stall": BODY, "late": BODY, "slow": BODY, "reset": bytes(50_000_000)}
    plan = {
        "stall": [faults.stall(5, 60)],
        "late": [faults.late(60)],
        "slow": [faults.slow(1)],
        "endless": [faults.endless() & faults.other_etag(b"x")],
        "reset": [faults.reset_after(5_000_000)],
    }
    with contextlib.ExitStack() as stack:
        with BadServer(files, plan, tls=tls if secure else None) as server:
            stack.enter_context(connect(server))
            for path in ("idle", *files, *plan):
                client = stack.enter_context(connect(server, tls if secure else None))
                if path != "idle":
                    ask(client, path=path)
            deadline = time.monotonic() + LONG
            while len(server.requests) < len(files) + len(plan) and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.1)  # until those who do not read have filled what lies between
            assert server.most_at_once >= 5
            start = time.monotonic()
        assert time.monotonic() - start < 0.9
        assert server.connections == 12
    server.stop()


def test_many_small_files_take_one_connection() -> None:
    """No test waits for the server to be connected to anew."""
    files = {f"{number}.png": bytes(3_000) for number in range(1_000)}
    with BadServer(files) as server:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as client:
            for path in files:
                client.request("GET", f"/{path}")
                assert len(client.getresponse().read()) == 3_000
        assert server.connections == 1
