"""Why a URL could not be fetched, as codes and words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class FetchError(Exception):
    """One request that did not bring the file.

    Codes: `fetch.forbidden` (private ground), `fetch.url` (a redirect to what is no URL), `fetch.redirects`,
    `fetch.status`, `fetch.connect`, `fetch.tls`, `fetch.timeout`, `fetch.slow`, `fetch.cut` (the body broke off),
    `fetch.length`, `fetch.range`, `fetch.encoding`, `fetch.too_large`, `fetch.not_media` (a page came),
    `fetch.protocol`, `fetch.host` (the host refuses everything), `fetch.hash`.
    """

    reason: str
    message: str
    """In words, without secrets."""
    lasting: bool = False
    """Whether another try would be answered alike."""
    http: int | None = None
    """The status that the server answered with."""
    wait: float | None = None
    """Seconds after which the server wants to be asked again."""

    def __str__(self) -> str:
        return self.message
