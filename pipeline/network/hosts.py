"""One host's turn: how many requests at once, how fast, and when to leave it in peace."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pipeline.network.failure import FetchError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pipeline.network.limits import FetchLimits

REFUSALS = (403, 429)


class Host:
    """The door to one host, for all requests of this process."""

    def __init__(self, name: str, limits: FetchLimits) -> None:
        self.name, self._limits = name, limits
        self._places = asyncio.Semaphore(limits.per_host)
        self._not_before = 0.0
        self._strikes = self._pauses = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until a request may begin.

        Raises:
            FetchError: the host refuses everything; nothing more is asked of it in this build.
        """
        async with self._places:
            while True:
                self._check()
                wait = self._not_before - time.monotonic()
                if wait <= 0:
                    break
                await asyncio.sleep(wait)
            if self._limits.per_second:
                self._not_before = time.monotonic() + 1 / self._limits.per_second
            yield

    def _check(self) -> None:
        if self._pauses > self._limits.pauses:
            raise FetchError("fetch.host", f"{self.name} refuses everything; the rest is left to the next build")

    def answered(self) -> None:
        """Note that the host gave a file, or said why not."""
        self._strikes = 0

    def refused(self, error: FetchError) -> None:
        """Note that the host sent a request away, or was not there."""
        now = time.monotonic()
        if error.wait is not None and error.wait <= self._limits.longest_wait:
            self._not_before = max(self._not_before, now + error.wait)
        self._strikes += 1
        if self._strikes >= self._limits.strikes:
            self._strikes = 0
            self._pauses += 1
            self._not_before = max(self._not_before, now + self._limits.pause)
