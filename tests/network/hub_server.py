"""What the doubles of both hubs share: a server on the loopback, a log of requests, and faults on demand."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from types import TracebackType

RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True)
class Request:
    """One request, as the log keeps it."""

    method: str
    path: str
    """Percent-decoded."""
    raw_path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def range(self) -> str | None:
        """The bytes that were asked for."""
        return self.headers.get("range")


@dataclass
class Reply:
    """One answer; the length is filled in."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    is_file: bool = False
    """True: faults of bodies apply, and a Range is honoured."""


@dataclass
class Fault:
    """What goes wrong with requests whose method and path match, a number of times, after some that go well."""

    path: str
    """A regular expression, searched in the decoded path and query."""
    method: str = "GET"
    """`*`: any."""
    times: int = 1
    after: int = 0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    """Close the connection after so many bytes of the body."""
    wrong: bool = False
    """Send other bytes, as many."""
    stall: int | None = None
    """Fall silent after so many bytes of the body."""
    reset: bool = False
    """Reset the connection in place of an answer."""
    undone: bool = False
    """Whether the request is not carried out either; else only its answer is another one, or lost."""

    def takes(self, request: Request, text: str) -> bool:
        """Say whether this request is hit, and count it."""
        if self.times <= 0 or self.method not in ("*", request.method) or not re.search(self.path, text):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.times -= 1
        return True


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """Give a reply that is JSON."""
    return Reply(
        status=status, body=json.dumps(value).encode(), headers={"Content-Type": "application/json", **(headers or {})}
    )


class HubServer:
    """A hub on the loopback; a subclass answers."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.log: list[Request] = []
        self.lock = threading.RLock()
        self.over = threading.Event()
        self.sent = 0
        """Bytes of bodies that went out."""
        self.gives_parts = True
        """Whether a Range is honoured."""

    def answer(self, request: Request) -> Reply:
        """Answer one request."""
        raise NotImplementedError

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://{self.host}:{self._server.server_address[1]}"

    def asked(self, path: str, method: str = "GET") -> list[Request]:
        """Return the requests whose path matches."""
        return [request for request in self.log if request.method == method and re.search(path, request.path)]

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer((self.host, 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub: HubServer

    def log_message(self, *_: Any) -> None:
        """Write nothing on the terminal."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(parts.path),
            raw_path=parts.path,
            query={key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()},
            headers={key.lower(): value for key, value in self.headers.items()},
            body=self._body(),
        )
        text = f"{request.path}?{unquote(parts.query)}"
        with self.hub.lock:
            self.hub.log.append(request)
            fault = next((fault for fault in self.hub.faults if fault.takes(request, text)), None)
            reply = Reply() if fault and fault.undone else self.hub.answer(request)
        if fault and fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.close_connection = True
            self.connection.close()
            return
        if fault and fault.status:
            reply = as_json({"error": "on purpose"}, fault.status, fault.headers)
        self._send(self._ranged(reply, request), fault)

    def _body(self) -> bytes:
        """Read the body of a request, which uploads may send in chunks."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = bytearray()
        while length := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(body)

    def _ranged(self, reply: Reply, request: Request) -> Reply:
        match = RANGE.fullmatch(request.range or "")
        if not match or not reply.is_file or reply.status != 200 or not self.hub.gives_parts:
            return reply
        size = len(reply.body)
        start, end = int(match[1]), min(int(match[2] or size - 1), size - 1)
        if start >= size:
            return Reply(416, headers={"Content-Range": f"bytes */{size}"})
        headers = {**reply.headers, "Content-Range": f"bytes {start}-{end}/{size}"}
        return Reply(206, reply.body[start : end + 1], headers, is_file=True)

    def _send(self, reply: Reply, fault: Fault | None) -> None:
        body = reply.body
        if fault and fault.wrong:
            body = bytes(255 - byte for byte in body)
        self.send_response(reply.status)
        for key, value in {"Content-Length": str(len(body)), **reply.headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        until = next((n for n in (fault and fault.cut, fault and fault.stall) if n is not None), None)
        with self.hub.lock:
            self.hub.sent += len(body[:until])
        with contextlib.suppress(ConnectionError):  # whoever asked has seen enough
            self.wfile.write(body[:until])
            self.wfile.flush()
        if until is not None:
            self.close_connection = True
            if fault and fault.stall is not None:
                self.hub.over.wait(30)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  the names that the server looks for
