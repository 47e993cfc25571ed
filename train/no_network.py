"""No network during training: whoever asks for it is named with the row at hand, before anything leaves the machine.

Python tells audit hooks of every connection that its own sockets are asked for, also those of libraries that took hold
of `socket` before; only a name that a socket is given is resolved before the hook hears of it, so that is looked at
first. A hook cannot be taken away again, so it is switched. Sockets that C or Rust code opens by itself (NCCL, gloo)
are not told of; libraries of models and data are told by their environment variables to stay offline.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any

from pipeline.printable import escaped
from train.example import TrainError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from train.example import RowRef

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""What processes that are started meanwhile are told; libraries read it when they are loaded."""
_TO_ADDRESS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_TO_NAME = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")
_METHODS = ("connect", "connect_ex", "sendto", "sendmsg")
_HERE = ("", "localhost", "localhost.localdomain", "ip6-localhost", "0.0.0.0", "::")  # noqa: S104  (named, not bound)
"""Names of this machine; to connect to no address in particular means this machine as well."""
_KEPT = 100
"""Attempts that are remembered."""


class NetworkDuringTrainingError(TrainError):
    """Something asked for the network while a model was trained."""


class _Guard:
    """Whether the network is forbidden in this process, and what was asked for all the same."""

    def __init__(self) -> None:
        self.is_hooked = False
        self.is_on = False
        self.allow_loopback = False
        self.current: Callable[[], RowRef | str | None] | None = None
        self.row: RowRef | str | None = None
        self.attempts: list[str] = []


_guard = _Guard()
_row: ContextVar[RowRef | str | None] = ContextVar("_row", default=None)


@contextmanager
def working_on(row: RowRef | str) -> Iterator[None]:
    """Say which row is being worked on, for the message when it asks for the network."""
    token = _row.set(row)
    # threads that a library starts for its requests do not inherit the one above
    before, _guard.row = _guard.row, row
    try:
        yield
    finally:
        _guard.row = before
        _row.reset(token)


def forbid_network(current: Callable[[], RowRef | str | None] | None = None, *, allow_loopback: bool = False) -> None:
    """Forbid the network in this process from now on; what a worker of a DataLoader calls when it starts.

    `current` says what is being worked on where `working_on` does not. Sockets between processes (AF_UNIX) go on;
    loopback does where `allow_loopback`, as processes that train together need it.
    """
    _guard.current, _guard.allow_loopback, _guard.is_on = current, allow_loopback, True
    os.environ.update(OFFLINE)
    if not _guard.is_hooked:
        _guard.is_hooked = True
        sys.addaudithook(_heard)
        for name in _METHODS:
            _look_first(name)


@contextmanager
def no_network(
    current: Callable[[], RowRef | str | None] | None = None, *, allow_loopback: bool = False
) -> Iterator[None]:
    """Forbid the network in this process and in those that it forks, until the block is left; see `forbid_network`."""
    before = _guard.is_on, _guard.allow_loopback, _guard.current
    told = {name: os.environ.get(name) for name in OFFLINE}
    forbid_network(current, allow_loopback=allow_loopback)
    try:
        yield
    finally:
        _guard.is_on, _guard.allow_loopback, _guard.current = before
        for name, value in told.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def refused_attempts() -> list[str]:
    """Return what was refused in this process so far, since libraries may keep an error to themselves."""
    return list(_guard.attempts)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what leads to the network; Python calls this for everything that it audits, so it is quick."""
    if not _guard.is_on or not event.startswith("socket."):
        return
    if event in _TO_ADDRESS:
        _look_at(event, *arguments)
        return
    if event in _TO_NAME:
        host = arguments[0][0] if isinstance(arguments[0], tuple) else arguments[0]
        port = arguments[1] if event == "socket.getaddrinfo" else None
    else:
        return
    if not (_guard.allow_loopback and _is_here(host)):
        _refuse(event, host, port)


def _look_first(name: str) -> None:
    """Let a method of all sockets look where it leads before it asks for the address of a name."""
    method = getattr(socket.socket, name)

    @wraps(method)
    def looking(opened: socket.socket, *arguments: Any) -> Any:
        # the address comes last, but in `sendmsg`, where it is the fourth if there is one
        address = arguments[3] if name == "sendmsg" and len(arguments) > 3 else arguments[-1] if arguments else None
        if _guard.is_on and isinstance(address, tuple):
            _look_at(f"socket.{name}", opened, address)
        return method(opened, *arguments)

    setattr(socket.socket, name, looking)


def _look_at(event: str, opened: socket.socket, address: Any) -> None:
    """Refuse an address that a socket is led to."""
    if address is None or opened.family == socket.AF_UNIX:  # without an address it was connected before
        return
    host = address[0] if isinstance(address, tuple) and address else address
    if not (_guard.allow_loopback and _is_here(host)):
        _refuse(event, host, address[1] if isinstance(address, tuple) and len(address) > 1 else None)


def _is_here(host: Any) -> bool:
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if name is None or (isinstance(name, str) and name.lower() in _HERE):
        return True
    try:
        address = ipaddress.ip_address(str(name).partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _refuse(event: str, host: Any, port: Any) -> None:
    name = escaped(host.decode("ascii", "replace") if isinstance(host, bytes) else str(host))[:200]
    place = name if port in (None, 0, "") else f"{name}:{escaped(str(port))[:20]}"
    row = _row.get() or _guard.row or (_guard.current() if _guard.current is not None else None)
    asked = "the address of " if event in _TO_NAME else ""
    what = f"something asked for {asked}{place} during training" + (f", at {row}" if row is not None else "")
    if len(_guard.attempts) < _KEPT:
        _guard.attempts.append(what)
    raise NetworkDuringTrainingError(
        what,
        allowed="no network while a model is trained: dataset and model are fetched before",
        hint="look in the traceback who asked; a row whose media are URLs must be built into the dataset first",
    )
