"""Fetching many URLs: each host its turn, each failure its number of tries, and every file whole or not at all.

Requests run in a thread of their own with one event loop. What arrives waits there for its judge: who takes a file
tells whether it is let in (`Arrived.stored`) or not (`Arrived.refused`), and until it is `done` no other process
fetches it.
"""

from __future__ import annotations

import asyncio
import queue
import random
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from pipeline.network.addresses import GuardedResolver
from pipeline.network.failure import FetchError
from pipeline.network.hosts import REFUSALS, Host
from pipeline.network.ledger import LASTING, PASSING, Entry, Ledger, entry_of
from pipeline.network.partial import Partial
from pipeline.network.proxies import proxy_hosts
from pipeline.network.transfer import Reply, transfer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from aiohttp.abc import AbstractResolver

    from pipeline.network.limits import FetchLimits
    from pipeline.network.urls import WebUrl

UNJUDGED = 256
"""Files that wait for their judge at the most: each holds an open file."""
TAKEN, GATHER_SECONDS = 64, 0.05
"""Results given at a time at the most, and how long it is waited for so many: judging them one by one takes longer."""
WORTH_A_TRY = 100_000
"""Bytes that a request must bring, although it breaks off, for its try not to count."""
MOST_TRIES = 10
"""Times the number of tries that a file may have whose body breaks off but grows."""
AGENT = "shardwright"


@dataclass(frozen=True, slots=True)
class Arrived:
    """A file that came, not let in yet."""

    url: WebUrl
    path: Path
    sha256: str
    bytes: int
    reply: Reply
    tries: int
    _partial: Partial
    _judged: Callable[[], None]

    def stored(self, path: Path) -> Entry:
        """Let it in: move it to the object it is; returns what the ledger must say before `done` is called."""
        self._partial.move_to(path)
        return self._entry(sha256=self.sha256, bytes=self.bytes)

    def refused(self, reason: str, message: str, *, lasting: bool = True) -> Entry:
        """Do not let it in; returns what the ledger must say before `done` is called."""
        self._partial.restart()
        return self._entry(reason=reason, lasts=LASTING if lasting else PASSING, message=message)

    def forget(self) -> None:
        """Drop it without a word, to fetch it again."""
        self._partial.restart()
        self.done()

    def done(self) -> None:
        """Let other processes go on with its URL."""
        self._partial.release()
        self._judged()

    def _entry(self, **more: Any) -> Entry:
        return entry_of(self.url, tries=self.tries, http=self.reply.http, etag=self.reply.etag, **more)


@dataclass(frozen=True, slots=True)
class Failed:
    """A URL that was given up for now."""

    url: WebUrl
    error: FetchError
    tries: int

    @property
    def entry(self) -> Entry:
        """What the ledger should say."""
        error = self.error
        lasts = LASTING if error.lasting else PASSING
        return entry_of(
            self.url, tries=self.tries, reason=error.reason, lasts=lasts, message=error.message, http=error.http
        )


@dataclass(frozen=True, slots=True)
class Known:
    """A URL that another process stored meanwhile."""

    url: WebUrl
    entry: Entry


Result = Arrived | Failed | Known


class Fetcher:
    """Fetches URLs into a cache folder; a context manager."""

    def __init__(
        self,
        cache: Path,
        limits: FetchLimits,
        *,
        is_known: Callable[[Entry], bool] = lambda _: False,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`is_known` tells whether what the ledger says is as good as fetching it again.

        `resolver` and `tls` take the place of the system's.
        """
        self._cache, self._limits, self._is_known = cache, limits, is_known
        self._resolver, self._tls = resolver, tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._session: aiohttp.ClientSession | None = None
        self._hosts: dict[str, Host] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._thread is not None:
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._loop = None

    def fetch(self, urls: Sequence[WebUrl], *, media: bool = True) -> Iterator[list[Result]]:
        """Yield what becomes of URLs, each once, in the order in which they are done, and as soon as they are.

        Each `Arrived` must be judged before the next are taken. `media`: a page in place of a file is an error.

        Raises:
            WorkspaceError: the disk is full or forbidden.
        """
        if not urls:
            return
        loop = self._started()
        results: queue.SimpleQueue[Result | BaseException | None] = queue.SimpleQueue()
        work = asyncio.run_coroutine_threadsafe(self._fetch_all(urls, results, media=media), loop)
        try:
            done = False
            while not done:
                some = [results.get()]
                until = time.monotonic() + GATHER_SECONDS
                with suppress(queue.Empty):
                    while len(some) < TAKEN and isinstance(some[-1], Result):
                        some.append(results.get(timeout=max(0.0, until - time.monotonic())))
                done = not isinstance(some[-1], Result)
                yield [result for result in some if isinstance(result, Result)]
                if isinstance(some[-1], BaseException):
                    raise some[-1]
        finally:
            work.cancel()
            with suppress(BaseException):
                work.result()

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
            self._thread.start()
        return self._loop

    async def _close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            limits = self._limits
            allowed = limits.allow_hosts | proxy_hosts()
            connector = aiohttp.TCPConnector(
                limit=0,
                resolver=GuardedResolver(allowed, self._resolver),
                ssl=self._tls if self._tls is not None else True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect, sock_read=limits.stall),
                headers={"User-Agent": AGENT},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=1 << 18,
            )
        return self._session

    async def _fetch_all(
        self,
        urls: Sequence[WebUrl],
        results: queue.SimpleQueue[Result | BaseException | None],
        *,
        media: bool,
    ) -> None:
        by_host: dict[str, deque[WebUrl]] = {}
        for url in dict.fromkeys(urls):
            by_host.setdefault(url.host, deque()).append(url)
        places, unjudged = asyncio.Semaphore(self._limits.at_once), asyncio.Semaphore(UNJUDGED)
        loop = asyncio.get_running_loop()

        def released() -> None:
            loop.call_soon_threadsafe(unjudged.release)

        async def work(waiting: deque[WebUrl], ledger: Ledger) -> None:
            while waiting:
                await unjudged.acquire()
                result: Result | None = None
                try:
                    if waiting:
                        result = await self._fetch_one(waiting.popleft(), places, ledger, released, media=media)
                finally:
                    if not isinstance(result, Arrived):
                        unjudged.release()
                if result is not None:
                    results.put(result)

        try:
            with Ledger(self._cache) as ledger:
                async with asyncio.TaskGroup() as group:
                    for waiting in by_host.values():
                        for _ in range(min(self._limits.per_host, len(waiting))):
                            group.create_task(work(waiting, ledger))
        except BaseExceptionGroup as errors:
            results.put(errors.exceptions[0])
        except BaseException as error:
            results.put(error)
            raise
        else:
            results.put(None)

    async def _fetch_one(
        self, url: WebUrl, places: asyncio.Semaphore, ledger: Ledger, released: Callable[[], None], *, media: bool
    ) -> Result:
        partial = Partial(self._cache / "media" / "partial", url.key)
        await partial.take()
        try:
            # another process may have stored it since the ledger was looked at
            entry = ledger.entries([url.key]).get(url.key)
            if entry is not None and entry.sha256 is not None and self._is_known(entry):
                partial.release()
                return Known(url, entry)
            result = await self._try(url, partial, places, media=media)
        except BaseException:
            partial.release()
            raise
        if isinstance(result, Failed):
            partial.release()
            return result
        reply, tries = result
        return Arrived(
            url, partial.path, partial.hexdigest(), partial.size, reply, tries, _partial=partial, _judged=released
        )

    async def _try(
        self, url: WebUrl, partial: Partial, places: asyncio.Semaphore, *, media: bool
    ) -> tuple[Reply, int] | Failed:
        """Ask for a URL until it comes, or is given up."""
        host = self._hosts.setdefault(url.host, Host(url.host, self._limits))
        tries = failures = 0
        while True:
            before = partial.size
            try:
                async with host.turn(), places:
                    tries += 1
                    reply = await transfer(self._opened(), url, partial, self._limits, media=media)
            except FetchError as error:
                if error.reason == "fetch.host":
                    return Failed(url, error, tries)
                if error.http in REFUSALS or error.reason == "fetch.connect":
                    host.refused(error)
                else:
                    host.answered()
                # a body that breaks off again and again is no reason to give up while it grows
                failures = 1 if partial.size >= before + WORTH_A_TRY else failures + 1
                wait = self._wait(error, failures)
                given_up = failures >= self._limits.tries or tries >= MOST_TRIES * self._limits.tries
                if error.lasting or given_up or wait > self._limits.longest_wait:
                    return Failed(url, error, tries)
                await asyncio.sleep(wait)
            else:
                host.answered()
                return reply, tries

    def _wait(self, error: FetchError, failures: int) -> float:
        """Return the seconds until the next try: what the server says, or twice as long each time, with jitter."""
        if error.wait is not None:
            return error.wait + random.uniform(0, self._limits.backoff)  # noqa: S311  (not a secret)
        longest = min(self._limits.longest_wait, self._limits.backoff * 2 ** (failures - 1))
        return random.uniform(longest / 2, longest)  # noqa: S311
