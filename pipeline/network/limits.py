"""How much patience and how many requests a fetch has; what a recipe says under `fetch`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchLimits:
    """Limits of all fetching of one build; times in seconds."""

    allow_hosts: frozenset[str] = frozenset()
    """Hosts that may lead to private addresses, by exact name."""
    max_bytes: int = 2_000_000_000
    """Of one file."""
    at_once: int = 64
    """Requests under way, over all hosts."""
    per_host: int = 8
    """Requests under way to one host."""
    per_second: float | None = None
    """Requests begun a second, to one host."""
    tries: int = 5
    """Requests for one file in one build."""
    redirects: int = 5
    connect: float = 15.0
    """Until a connection stands, TLS included."""
    stall: float = 30.0
    """Without a single byte."""
    slowest: int = 1_000
    """Bytes a second, on the average of a `stall`; what is slower is given up and tried again."""
    whole: float = 3_600.0
    """For one request, to the last byte."""
    backoff: float = 0.5
    """Before the second try; twice as long before each next one, with jitter."""
    longest_wait: float = 60.0
    """Before any try; a server that asks for more (`Retry-After`) is left to the next build."""
    strikes: int = 10
    """Refusals (403, 429, no connection) of one host in a row after which it is left in peace for a while."""
    pause: float = 30.0
    """That while."""
    pauses: int = 2
    """After so many of them the rest of the host's files is left to the next build."""
