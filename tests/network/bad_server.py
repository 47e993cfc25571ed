"""An HTTP(S) server on this machine that breaks, on purpose, file by file and attempt by attempt.

It is made of plain sockets and a thread a connection, because no HTTP framework sends half a chunk. What it may do
wrong stands in `faults.py`, what it sends in `answers.py`, and here is when, how fast, and how the connection ends.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import mimetypes
import select
import socket
import ssl
import struct
import termios
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import quote, unquote

from tests.network.answers import Answer, Asked, Version, answer
from tests.network.faults import OK, Fault, status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from types import TracebackType

    from tests.network.certificates import TlsFiles

LARGEST_HEAD = 100_000
PATIENCE = 5.0
"""Seconds for what a healthy client does at once: a handshake, or to take what was sent."""
TICK = 0.02
"""Seconds between two pieces of a slow body, if a byte or more is due in them."""
SMALL = 65_536
"""Answers up to this size are sent in one piece."""
GONE = getattr(select, "POLLRDHUP", 0)
"""With the events that are always reported: the other side has closed or reset the connection."""

TYPES = mimetypes.MimeTypes()
"""What endings mean, by a table that is the same on every machine."""
FORBIDDEN = status(403)
TOO_MANY = status(429, retry_after=1)

End = Literal["keep", "close", "reset", "eof"]


@dataclass(frozen=True)
class Request:
    """One request, as it was asked and answered."""

    path: str
    """The name of the file: decoded, without slash and query."""
    target: str
    """The same as it came."""
    method: str
    headers: dict[str, str]
    """Names in lower case."""
    range: str | None
    at: float
    """By `time.monotonic`."""
    connection: int
    """The connections count from 1."""
    status: int | None
    """None if nothing was answered that has a status."""


class BadServer:
    """Serves `files`; the n-th request of a path meets the n-th of its `faults`, and the last of them stays."""

    def __init__(
        self,
        files: Mapping[str, bytes],
        faults: Mapping[str, Sequence[Fault]] | None = None,
        *,
        tls: TlsFiles | None = None,
        content_types: Mapping[str, str] | None = None,
        limit_per_second: int | None = None,
        forbids_after: int | None = None,
    ) -> None:
        """Above `limit_per_second` everything is 429, after `forbids_after` requests 403; neither uses up a fault."""
        self._faults = {path: list(some) for path, some in (faults or {}).items()}
        if tls is None and any(fault.ending == "eof" for some in self._faults.values() for fault in some):
            raise ValueError("tls_eof needs TLS")
        types = dict(content_types or {})
        self._versions = {
            path: Version.of(body, types.get(path) or _content_type(path)) for path, body in files.items()
        }
        self._context = tls.server_context() if tls else None
        self._limit, self._forbids_after = limit_per_second, forbids_after

        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._tries: Counter[str] = Counter()
        self._met: Counter[str] = Counter()
        self._let_through: deque[float] = deque()
        self._answering: set[socket.socket] = set()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._accepted = self._most_at_once = self._most_open = 0
        self._stopping = False
        self._mistakes: list[Exception] = []

        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True, name=f"BadServer {self.port}")

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._mistakes and error is None:
            raise self._mistakes[0]

    def stop(self) -> None:
        """Close all connections, whatever they are at, and wait for their threads for a second at most."""
        deadline = time.monotonic() + 1
        with self._lock:
            self._stopping = True
            threads = [self._accepting, *self._open.values()]
            for connection in (self._listener, *self._open):
                _shut(connection, socket.SHUT_RDWR)
        self._listener.close()
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0, deadline - time.monotonic()))

    # What a test asks for.

    def url(self, path: str, *, host: str = "127.0.0.1") -> str:
        """Return the URL of a file; `localhost` is the same server under another name."""
        return f"{'https' if self._context else 'http'}://{host}:{self.port}/{quote(path)}"

    @property
    def requests(self) -> list[Request]:
        """All requests so far, in the order in which they were read."""
        with self._lock:
            return list(self._requests)

    def tries(self, path: str) -> int:
        """Return how often a path was asked for, by any method."""
        with self._lock:
            return self._tries[path]

    @property
    def most_at_once(self) -> int:
        """The most requests that were being answered at once.

        An answer counts until its last piece is sent, or its client has closed the connection: never too long, so that
        a client that keeps to a limit is never said to break it. Faults that are `late` let it count long enough.
        """
        return self._most_at_once

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        return self._accepted

    @property
    def most_connections(self) -> int:
        """The most connections that were open at once, seen from the client."""
        return self._most_open

    # A connection: its thread, and how it ends.

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._stopping:
                    return
                time.sleep(TICK)  # there are no file handles left, which may pass
                continue
            try:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._context:
                    # The handshake waits for the connection's own thread.
                    connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            except OSError:
                connection.close()
                continue
            with self._lock:
                if self._stopping:
                    connection.close()
                    return
                self._accepted += 1
                thread = threading.Thread(target=self._serve, args=(connection, self._accepted), daemon=True)
                self._open[connection] = thread
                self._most_open = _most(self._most_open, self._open)
                thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        """Answer the requests of a connection, one after the other."""
        end: End = "close"
        try:
            if isinstance(connection, ssl.SSLSocket):
                connection.settimeout(PATIENCE)
                connection.do_handshake()
                connection.settimeout(None)
            rest = b""
            end = "keep"
            while end == "keep":
                head, rest = _read_head(connection, rest)
                end = self._answer(connection, number, head) if head else "close"
        except OSError:
            end = "close"  # the client has left, or we stop
        except Exception as mistake:  # noqa: BLE001  (told when the server stops, so that no test passes on it)
            self._mistakes.append(mistake)
        finally:
            self._done(connection)
            with contextlib.suppress(OSError):
                _end(connection, end)
            with self._lock:
                del self._open[connection]
                connection.close()

    # A request.

    def _answer(self, connection: socket.socket, number: int, head: bytes) -> End:
        asked = _parse(head)
        if asked is None:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return "close"
        path = unquote(asked.target.partition("?")[0]).removeprefix("/")
        with self._lock:
            now = time.monotonic()
            self._answering.add(connection)
            self._most_at_once = _most(self._most_at_once, self._answering)
            fault = self._meet(path, now)
            version = self._versions.get(path)
            if fault.new_version is not None and (version is None or version.body != fault.new_version):
                kind, count = (version.content_type, version.number + 1) if version else (_content_type(path), 0)
                version = self._versions[path] = Version.of(fault.new_version, kind, count)
            made = answer(asked, version, fault)
            self._tries[path] += 1
            self._requests.append(
                Request(
                    path=path,
                    target=asked.target,
                    method=asked.method,
                    headers=dict(asked.headers),
                    range=asked.headers.get("range"),
                    at=now,
                    connection=number,
                    status=made.status,
                )
            )
        end = self._send(connection, made, fault)
        self._done(connection)
        return end

    def _done(self, connection: socket.socket) -> None:
        with self._lock:
            self._answering.discard(connection)

    def _meet(self, path: str, now: float) -> Fault:
        """Return the fault that a request meets."""
        if self._forbids_after is not None and len(self._requests) >= self._forbids_after:
            return FORBIDDEN
        if self._limit is not None:
            while self._let_through and self._let_through[0] <= now - 1:
                self._let_through.popleft()
            if len(self._let_through) >= self._limit:
                return TOO_MANY
            self._let_through.append(now)
        faults = self._faults.get(path)
        if not faults:
            return OK
        self._met[path] += 1
        return faults[min(self._met[path], len(faults)) - 1]

    def _send(self, connection: socket.socket, made: Answer, fault: Fault) -> End:
        """Send an answer as fast, and as far, as the fault says."""

        def last() -> None:
            """Take note that the answer is over as soon as the client has the piece that comes now."""
            if fault.ending != "stall":
                self._done(connection)

        if fault.late and not _pause(connection, fault.late):
            return "close"
        if made.endless:
            connection.sendall(made.head)
            _send_for_ever(connection, made.body, fault.rate)
        elif fault.rate is not None:
            connection.sendall(made.head)
            _send_slowly(connection, made.body, fault.rate, last)
        elif len(made.body) <= SMALL:
            last()
            connection.sendall(made.head + made.body)
        else:
            view = memoryview(made.body)
            connection.sendall(made.head)
            connection.sendall(view[:-1])
            last()
            connection.sendall(view[-1:])
        if fault.ending == "stall":
            _pause(connection, fault.seconds)
        if fault.ending in ("reset", "eof"):
            return fault.ending
        return "keep" if made.keep and fault.ending is None else "close"


@functools.cache
def _deaf() -> socket.socket:
    """Return a socket that has a port and does not listen, so that nobody else can listen there either."""
    deaf = socket.socket()
    deaf.bind(("127.0.0.1", 0))
    atexit.register(deaf.close)
    return deaf


def refused_url(path: str = "file") -> str:
    """Return a URL at which connections are refused."""
    return f"http://127.0.0.1:{_deaf().getsockname()[1]}/{quote(path)}"


def _content_type(path: str) -> str:
    """Return the type by the ending."""
    kind, packed = TYPES.guess_type(path, strict=False)
    if packed:
        return f"application/{packed}"
    return kind or "application/octet-stream"


def _read_head(connection: socket.socket, rest: bytes) -> tuple[bytes, bytes]:
    """Return the next head, empty if the client is done, and what was read behind it."""
    while b"\r\n\r\n" not in rest:
        block = connection.recv(65_536)
        if not block or len(rest) > LARGEST_HEAD:
            return b"", b""
        rest += block
    head, _, rest = rest.partition(b"\r\n\r\n")
    return head, rest


def _parse(head: bytes) -> Asked | None:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[1].startswith("/"):
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    keep = headers.get("connection", "").lower() != "close" and words[2] == "HTTP/1.1"
    return Asked(method=words[0], target=words[1], headers=headers, keep=keep)


def _most(most: int, connections: Collection[socket.socket]) -> int:
    """Return the most connections that were there at once: those before, or these without what the client has left."""
    if len(connections) <= most:
        return most
    watch = select.poll()
    for connection in connections:
        watch.register(connection, GONE)
    if len(connections) - len(watch.poll(0)) > most:
        time.sleep(0.002)  # a busy machine may see that one was closed after it sees that the next was opened
    return max(most, len(connections) - len(watch.poll(0)))


def _pause(connection: socket.socket, seconds: float) -> bool:
    """Wait; tells whether the client is still there, and returns as soon as it is not, or the server stops."""
    watch = select.poll()
    watch.register(connection, GONE)
    return not watch.poll(max(0, seconds) * 1000)


def _send_slowly(connection: socket.socket, body: bytes, rate: float, last: Callable[[], None]) -> None:
    size = max(1, round(rate * TICK))
    start = time.monotonic()
    for first in range(0, len(body), size):
        if not _pause(connection, start + first / rate - time.monotonic()):
            raise ConnectionResetError
        if first + size >= len(body):
            last()
        connection.sendall(body[first : first + size])


def _send_for_ever(connection: socket.socket, piece: bytes, rate: float | None) -> None:
    """Send until the client has enough, which is an error of the socket."""
    piece *= SMALL // len(piece) + 1
    while True:
        if rate is None:
            connection.sendall(piece)
        else:
            _send_slowly(connection, piece, rate, lambda: None)
            if not _pause(connection, TICK):
                raise ConnectionResetError


def _shut(connection: socket.socket, how: int) -> None:
    """Shut the TCP connection; that of a TLS socket too, without a word of TLS, and from any thread."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, how)


def _end(connection: socket.socket, end: End) -> None:
    """End a connection so that what was sent arrives, and then what `end` says."""
    if end == "reset":
        _wait_until_taken(connection)
        # To linger for no time means that closing is a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return
    if end == "close" and isinstance(connection, ssl.SSLSocket):
        _say_goodbye(connection)
    _shut(connection, socket.SHUT_WR)
    # A connection that is closed before all is read from it is reset, so we read until the client closes it, too.
    deadline = time.monotonic() + PATIENCE
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        if not socket.socket.recv(connection, 65_536):
            return


def _wait_until_taken(connection: socket.socket) -> None:
    """Wait until the client's machine has all that was sent: a reset throws away what is still on its way."""
    deadline = time.monotonic() + PATIENCE
    while struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0] and time.monotonic() < deadline:
        if not _pause(connection, 0.001):
            return


def _say_goodbye(connection: ssl.SSLSocket) -> None:
    """Send close_notify, and do not wait for the client's."""
    connection.settimeout(0)
    for _ in range(2):
        try:
            connection.unwrap()
        except ssl.SSLWantWriteError:
            select.select([], [connection], [], PATIENCE)
        except (OSError, ValueError):
            return  # it is sent, and the answer has not come; or there never was a handshake
