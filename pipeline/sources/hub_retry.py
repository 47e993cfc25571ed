"""Trying again what may pass: with growing, jittered waits, as long as the server asks, and not for ever."""

from __future__ import annotations

import email.utils
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.errors import ShardwrightError

T = TypeVar("T")

TRIES = 5
"""Attempts at one request or file; the clients have tried again themselves inside each."""
FIRST_WAIT, MAX_WAIT = 1.0, 30.0
"""Seconds before the second attempt, doubled each time, where the server does not say how long."""
FEW = 2
"""Attempts where there is a way to go on without the answer."""
PATIENCE = 300.0
"""Seconds waited for one request or file, all waits together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What went wrong, in words, and whether it may pass."""

    error: ShardwrightError
    passing: bool = False
    """True: another attempt may succeed."""
    wait: float | None = None
    """Seconds that the server asks for."""


def pause(seconds: float) -> None:
    """Wait before another attempt; the one place that sleeps."""
    time.sleep(seconds)


def with_tries(action: Callable[[int], T], failure: Callable[[Exception], Failure], *, tries: int = TRIES) -> T:
    """Return what `action` returns; it is called with the number of the attempt, from 0.

    Raises:
        ShardwrightError: what `failure` makes of the last error.
    """
    waited = 0.0
    for attempt in range(tries):
        try:
            return action(attempt)
        except Exception as error:  # noqa: BLE001  `failure` raises again what it does not know
            told = failure(error)
            wait = min(FIRST_WAIT * 2**attempt, MAX_WAIT) * random.uniform(0.5, 1.5)  # noqa: S311  no secret
            if told.wait is not None:
                wait = told.wait + random.uniform(0, 0.5)  # noqa: S311
            # `from None`: what a library says may hold what it sent.
            if not told.passing or attempt == tries - 1:
                raise told.error from None
            if waited + wait > PATIENCE:
                told.error.hint = f"the server asks to wait {wait:.0f} seconds: run it again after that"
                raise told.error from None
            waited += wait
            pause(wait)
    raise AssertionError("unreachable: the last attempt returns or raises")


def asked_wait(header: str | None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, given as a number or a date."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
