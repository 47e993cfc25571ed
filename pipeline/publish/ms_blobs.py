"""Large files on their way to ModelScope: those that it does not have, some at a time, each proved while it is read."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.sources.hub_retry import Failure, with_tries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.publish.ms_client import MsClient
    from pipeline.publish.remote import LocalFile, PublishError

AT_ONCE = 4
"""Files that are sent side by side."""
ASKED = 64
"""Contents that one request asks for, as many as the client itself would."""
GRACE = 2.0
"""Seconds given to the other files after one has failed."""

NamedFile = tuple[str, "LocalFile"]
"""A file, and the path that it is to have."""


class _StoppedError(BaseException):
    """Another file has failed, so that this one is not wanted any more."""


class CheckedFile:
    """What the client reads a file from: the bytes that were hashed, or an error before the last of them is given."""

    def __init__(self, opened: Any, file: LocalFile, changed: PublishError, passed: Callable[[int], None]) -> None:
        self._opened = opened
        self._left = file.size
        self._wanted = file.sha256
        self._changed = changed
        self._passed = passed
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at the most `size`; none at the end.

        Raises:
            PublishError: they are not those of the file that was planned.
        """
        if not self._left:
            return b""
        block: bytes = self._opened.read(min(size if size > 0 else self._left, self._left))
        self._left -= len(block)
        self._hash.update(block)
        ended_early = not block
        if ended_early or (not self._left and (self._hash.hexdigest() != self._wanted or self._opened.read(1))):
            raise self._changed
        self._passed(len(block))
        return block


@dataclass(kw_only=True)
class _Run:
    """Files that are being sent."""

    client: MsClient
    addresses: Mapping[str, str]
    todo: queue.SimpleQueue[NamedFile] = field(default_factory=queue.SimpleQueue)
    told: queue.SimpleQueue[int | BaseException | None] = field(default_factory=queue.SimpleQueue)
    """Bytes that went for the first time; the error of a file; None: a file was done."""
    stop: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self) -> None:
        """Send files until there is none left."""
        while not self.stop.is_set():
            try:
                name, file = self.todo.get_nowait()
            except queue.Empty:
                return
            try:
                self.send(name, file)
            except BaseException as error:  # noqa: BLE001  raised again by whoever waits
                self.told.put(error)
                return
            self.told.put(None)

    def send(self, name: str, file: LocalFile) -> None:
        """Send one file, again where that may help; its bytes are told once, however often they went."""
        told, tried = 0, -1

        def passed(place: int) -> None:
            nonlocal told
            if self.stop.is_set():
                raise _StoppedError
            if place > told:
                self.told.put(place - told)
                told = place

        def once(attempt: int) -> bool:
            nonlocal tried
            tried = attempt
            passed(told)
            # An address may have ended, and what was sent may have come though its answer did not.
            addresses = self.client.addresses([file]) if attempt else self.addresses
            if file.sha256 not in addresses:
                return False
            place = 0

            def on(length: int) -> None:
                nonlocal place
                place += length
                passed(place)

            with file.path.open("rb") as opened:
                content = CheckedFile(opened, file, self.client.words.changed(name), on)
                self.client.send(addresses[file.sha256], content, file.size)
            return True

        def failure(error: Exception) -> Failure:
            return self.client.sending_failure(error, tried)

        went = with_tries(once, failure)
        passed(file.size)
        if went:
            with self.lock:
                self.sent += file.size


def send_large(client: MsClient, files: Sequence[NamedFile], advance: Callable[[int], None]) -> int:
    """Send the contents that the hub does not have, each once; returns their bytes.

    Raises:
        PublishError: one of them was refused, or has changed on this disk.
    """
    unique = list({file.sha256: (name, file) for name, file in files}.values())
    sent = 0
    for start in range(0, len(unique), ASKED):
        part = unique[start : start + ASKED]
        addresses = client.tried(partial(client.addresses, [file for _, file in part]))
        advance(sum(file.size for _, file in part if file.sha256 not in addresses))
        missing = [(name, file) for name, file in part if file.sha256 in addresses]
        sent += _send_all(client, missing, addresses, advance)
    return sent


def _send_all(
    client: MsClient, files: Sequence[NamedFile], addresses: Mapping[str, str], advance: Callable[[int], None]
) -> int:
    """Send files side by side.

    The threads are daemons: on Ctrl-C nobody waits for the end of a file of fifty gigabytes.
    """
    run = _Run(client=client, addresses=addresses)
    for one in files:
        run.todo.put(one)
    threads = [threading.Thread(target=run.work, daemon=True, name="push") for _ in range(min(AT_ONCE, len(files)))]
    for thread in threads:
        thread.start()
    left = len(files)
    try:
        while left:
            told = run.told.get()
            if isinstance(told, int):
                advance(told)
            elif told is None:
                left -= 1
            else:
                raise told
    finally:
        run.stop.set()
        if left:
            end = time.monotonic() + GRACE
            for thread in threads:
                thread.join(max(0.0, end - time.monotonic()))
    return run.sent
