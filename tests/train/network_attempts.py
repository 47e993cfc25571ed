"""Everything by which Python programs reach the network, tried while a model is trained; runs in a process of its own.

    python -m tests.train.network_attempts

prints as JSON what became of each attempt. The addresses are such that belong to nobody (RFC 5737, RFC 3849), so that
nothing is reached even where an attempt is not refused.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import socket
import sys
import threading
import urllib.request
from contextlib import suppress
from socket import create_connection as bound_early
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx2
import requests

from train.example import RowRef
from train.no_network import (
    NetworkDuringTrainingError,
    forbid_network,
    no_network,
    refused_attempts,
    working_on,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY, NOBODY_6 = "198.51.100.7", "2001:db8::7"
ROW = RowRef(number=9, shard="data/train-00000-of-00001.parquet", row=4, id="clip 9")


def _connect_ex() -> None:
    with socket.socket() as opened:
        opened.settimeout(1)
        opened.connect_ex((NOBODY, 443))


def _sendto() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.sendto(b"x", (NOBODY, 53))


def _sendmsg() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.sendmsg([b"x"], [], 0, (NOBODY, 53))


def _connect_6() -> None:
    with socket.socket(socket.AF_INET6) as opened:
        opened.settimeout(1)
        opened.connect((NOBODY_6, 443, 0, 0))


def _by_name() -> None:
    with socket.socket() as opened:
        opened.settimeout(1)
        opened.connect(("models.invalid", 443))


async def _aiohttp() -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        await session.get(f"http://{NOBODY}/")


async def _aiohttp_by_name() -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        await session.get("http://models.invalid/")


def _in_a_thread() -> None:
    raised: list[BaseException] = []

    def work() -> None:
        try:
            socket.create_connection((NOBODY, 80), timeout=1)
        except BaseException as error:  # noqa: BLE001  (handed on)
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    raise raised[0]


def _model_of_a_hub() -> None:
    from huggingface_hub import HfApi

    HfApi(endpoint=f"http://{NOBODY}").model_info("a/b", timeout=1)


ATTEMPTS: dict[str, Callable[[], Any]] = {
    "create_connection": lambda: socket.create_connection((NOBODY, 80), timeout=1),
    "bound early": lambda: bound_early((NOBODY, 80), timeout=1),
    "connect_ex": _connect_ex,
    "sendto": _sendto,
    "sendmsg": _sendmsg,
    "connect by name": _by_name,
    "getaddrinfo": lambda: socket.getaddrinfo("models.invalid", 443),
    "gethostbyname": lambda: socket.gethostbyname("models.invalid"),
    "gethostbyaddr": lambda: socket.gethostbyaddr(NOBODY),
    "getnameinfo": lambda: socket.getnameinfo((NOBODY, 80), 0),
    "urllib": lambda: urllib.request.urlopen(f"http://{NOBODY}/", timeout=1),
    "requests": lambda: requests.get(f"http://{NOBODY}/", timeout=1),
    "httpx": lambda: httpx2.get(f"http://{NOBODY}/", timeout=1),
    "aiohttp": lambda: asyncio.run(_aiohttp()),
    "aiohttp by name": lambda: asyncio.run(_aiohttp_by_name()),
    "huggingface_hub": _model_of_a_hub,
    "in a thread": _in_a_thread,
}
if socket.has_ipv6:
    ATTEMPTS["connect over IPv6"] = _connect_6


def outcome(attempt: Callable[[], Any]) -> str:
    """Return what became of an attempt: what the refusal says, or that there was none."""
    try:
        attempt()
    except NetworkDuringTrainingError as error:
        return error.what
    except Exception as error:  # noqa: BLE001  (libraries wrap what they are told)
        return f"not refused: {type(error).__name__}: {error}"
    return "not refused"


def first_attempt(_: int = 0) -> str:
    """Try to connect in another process."""
    return outcome(ATTEMPTS["create_connection"])


def be_a_worker() -> None:
    """Do what a worker of a DataLoader does when it starts."""
    forbid_network(lambda: "a row of the worker")


def loopback() -> str:
    """Talk to a server on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def ask() -> str:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as asking:
                asking.sendall(b"hello")
                answering, _ = server.accept()
                with answering:
                    return answering.recv(5).decode()

        try:
            answer = ask()
            with socket.create_connection(("localhost", port), timeout=5):
                pass
        except NetworkDuringTrainingError as error:
            return error.what.replace(str(port), "PORT")
        return answer


def between_processes() -> str:
    """Talk to a process of ours through sockets that have no address."""
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"pair")
        said = other.recv(4).decode()
    with multiprocessing.get_context("fork").Manager() as manager:
        numbers = manager.list([1, 2])
        numbers.append(3)
        return f"{said} {list(numbers)}"


def main() -> None:
    """Try everything."""
    forking, spawning = multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")
    said: dict[str, Any] = {"before": loopback()}
    with no_network():
        with working_on(ROW):
            said["refused"] = {name: outcome(attempt) for name, attempt in ATTEMPTS.items()}
        said["loopback"] = loopback()
        said["between processes"] = between_processes()
        said["told"] = {name: os.environ.get(name) for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
        with forking.Pool(1) as pool, working_on("row 3"):
            said["forked"] = pool.map(first_attempt, [0])
        with spawning.Pool(1, initializer=be_a_worker) as pool:
            said["spawned"] = pool.map(first_attempt, [0])
        said["attempts"] = len(refused_attempts())
        with suppress(NetworkDuringTrainingError), working_on("row 1"), working_on("row 2"):
            socket.getaddrinfo(b"odd\x1b[31m.invalid", 1)
        said["escaped"] = refused_attempts()[-1]
    with no_network(lambda: "step 7", allow_loopback=True):
        said["loopback when it is allowed"] = loopback()
        said["elsewhere all the same"] = first_attempt()
        said["mapped"] = outcome(lambda: socket.getaddrinfo("::ffff:127.0.0.1", 80))
    said["afterwards"] = loopback()
    said["told afterwards"] = os.environ.get("HF_HUB_OFFLINE")
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
