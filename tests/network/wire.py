"""What the tests of the bad server hear it with: a plain socket that notices how a connection ends, and aiohttp."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.network.bad_server import BadServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.network.certificates import TlsFiles
    from tests.network.faults import Fault

NAME = "a/b.jpg"
BODY = bytes(range(256)) * 10
NEW = b"another version" * 100
PATIENCE = 0.03
"""Seconds of silence after which a complete answer was all: the connection stays open."""
LONG = 3.0
"""Seconds in which a machine with much else to do sends what has to come."""


@pytest.fixture
def quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """See that nothing is printed, and that no thread is left behind."""
    yield
    assert capfd.readouterr() == ("", "")
    deadline = time.monotonic() + 1
    while any("BadServer" in thread.name or "_serve" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.001)


@dataclass
class Heard:
    """What a plain socket heard."""

    everything: bytes
    end: str
    """`open`, `closed` (with TLS: by TLS), `reset`, or `eof` (with TLS: not closed by TLS, so also after a reset)."""

    @property
    def line(self) -> str:
        """The status line."""
        return self.everything.partition(b"\r\n")[0].decode()

    @property
    def status(self) -> int:
        """The status."""
        return int(self.line.split()[1])

    @property
    def headers(self) -> dict[str, str]:
        """The headers, by names as they came."""
        lines = self.everything.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return dict(line.split(": ", 1) for line in lines)

    @property
    def body(self) -> bytes:
        """What came behind the first head."""
        return self.everything.partition(b"\r\n\r\n")[2]

    @property
    def complete(self) -> bool:
        """Whether a client would expect no more, not even a close."""
        if b"\r\n\r\n" not in self.everything:
            return False
        if self.line.startswith("HTTP/1.1 1"):
            return Heard(self.body, self.end).complete
        if self.headers.get("Connection") == "close":
            return False
        if "Transfer-Encoding" in self.headers:
            return self.body.endswith(b"\r\n0\r\n\r\n")
        return len(self.body) >= int(self.headers.get("Content-Length", 0))


def connect(server: BadServer, tls: TlsFiles | None = None) -> socket.socket:
    """Open a connection on which every way to end it can be told apart."""
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    if tls is None:
        return plain
    context = tls.client_context()
    return context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)


def ask(connection: socket.socket, path: str = NAME, method: str = "GET", **headers: str) -> None:
    """Send a request; an underscore in the name of a header is a hyphen."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    connection.sendall(f"{method} /{path} HTTP/1.1\r\nHost: here\r\n{lines}\r\n".encode())


def listen(connection: socket.socket, patience: float | None = None, most: int = 20_000_000) -> Heard:
    """Return what comes until the connection ends or is silent; without a patience, for as long as makes sense."""
    heard = Heard(b"", "open")
    try:
        while len(heard.everything) < most and heard.end == "open":
            connection.settimeout(patience or (PATIENCE if heard.complete else LONG))
            block = connection.recv(1_000_000)
            heard.everything += block
            if not block:
                heard.end = "closed"
    except TimeoutError:
        pass
    except ssl.SSLEOFError:
        heard.end = "eof"
    except ConnectionResetError:
        heard.end = "reset"
    return heard


def hear(server: BadServer, tls: TlsFiles | None = None, **request: str) -> Heard:
    """Ask on a connection of its own and return the answer."""
    with connect(server, tls) as connection:
        ask(connection, **request)
        return listen(connection, 0.2 if request.get("method") == "HEAD" else None)


def hear_one(fault: Fault, **request: str) -> Heard:
    """Return what the first request hears."""
    with BadServer({NAME: BODY}, {NAME: [fault]}) as server:
        return hear(server, None, **request)


async def fetch(server: BadServer, path: str = NAME, **options: Any) -> tuple[int, bytes]:
    """Fetch a file with aiohttp."""
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(server.url(path), **options) as response:
        return response.status, await response.read()


async def fetch_one(fault: Fault) -> tuple[int, bytes]:
    """Fetch a file with one fault."""
    with BadServer({NAME: BODY}, {NAME: [fault]}) as server:
        return await fetch(server)
