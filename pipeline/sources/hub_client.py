"""What both hubs' clients are to us: one protocol, and one way to say in words what went wrong."""

from __future__ import annotations

import difflib
import errno
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from pipeline.errors import SourceError
from pipeline.printable import escaped
from pipeline.sources.hub_listing import TITLES, ListedFile, Listing, shown
from pipeline.sources.hub_retry import Failure
from pipeline.workspace import HINTS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pipeline.sources.hub_listing import HubRepo
    from pipeline.sources.hub_ranges import Part

SHA256 = re.compile(r"[0-9a-f]{64}")
TOO_MANY = 429
NOT_READY = frozenset({408, 425, TOO_MANY, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
"""Answers that may be another one in a moment."""


class DamagedError(Exception):
    """A file that is not what the listing says, once: another attempt may bring it whole."""

    def __init__(self, error: SourceError) -> None:
        super().__init__(error.what)
        self.error = error


class UnreachedError(SourceError):
    """The hub gives no answer now; what it has may be there all the same."""


class HubClient(Protocol):
    """A hub's own client, bound to one repository."""

    def commit(self) -> str | None:
        """Ask which commit the revision is at now; None where the hub does not say."""

    def listing(self, commit: str | None) -> Listing:
        """List all files of a commit, or of the revision."""

    def fetch(self, path: str, listed: ListedFile, commit: str, scratch: Path, *, attempt: int) -> Path:
        """Download one file into a folder that only it uses; return where it lies."""

    def read(self, path: str, commit: str, start: int, end: int) -> Part:
        """Fetch the bytes of a file from a place up to another, and no others."""

    def failure(self, error: Exception) -> Failure:
        """Say in words what a call of these raised, or raise it again when it is not of the hub's making."""


def listing_of(repo: HubRepo, commit: str, entries: Iterable[tuple[str, ListedFile]]) -> Listing:
    """Gather a listing, whose entries are text from strangers."""
    files: dict[str, ListedFile] = {}
    for path, listed in entries:
        size, sha256 = listed.size, listed.sha256
        if not isinstance(path, str) or not (size is None or (isinstance(size, int) and size >= 0)):
            raise SourceError(f"{repo} lists a file without a path or with a size that is none")
        if sha256 is not None and not (isinstance(sha256, str) and SHA256.fullmatch(sha256)):
            raise SourceError(f"{repo} lists {shown(path)} with a SHA-256 that is none")
        if files.setdefault(path, listed) != listed:
            raise SourceError(f"{repo} lists {shown(path)} twice", hint="do not trust this repository")
    return Listing(commit=commit, files=files)


@dataclass(frozen=True, kw_only=True)
class Words:
    """The errors of a hub, in words; what a server says is shown without the token and without control characters."""

    repo: HubRepo
    endpoint: str
    token: str | None
    """The token that is sent; it is never shown."""
    variable: str
    """The environment variable that holds it."""
    login: str
    """The command that stores it."""

    @property
    def _no_token(self) -> bool:
        return not self.token

    @property
    def _place(self) -> str:
        """The endpoint, without a password in it."""
        parts = urlsplit(self.endpoint)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    @property
    def _set_token(self) -> str:
        return f"set {self.variable} (or run `{self.login}`)"

    def said(self, text: object) -> str:
        """Return what a server or a library says, fit to be shown."""
        line = str(text or "").strip().splitlines()
        plain = re.sub(r"(?<=//)[^/@\s]+@", "", escaped(line[0] if line else ""))
        return (plain.replace(self.token, "***") if self.token else plain)[:300]

    def not_found(self) -> SourceError:
        """There is no such repository, or none that this token may see: hubs do not tell which."""
        if self._no_token:
            return SourceError(
                f"{self.repo} is not there, or is private and no token was given",
                hint=f"check `id`; if it is private, {self._set_token}",
            )
        return SourceError(
            f"{self.repo} is not there, or this token may not see it",
            hint=f"check `id`; if it is private, use a token of somebody who may read it in {self.variable}",
        )

    def gated(self) -> SourceError:
        """Its owner lets in only those who asked."""
        page = f"{self._place}/{'datasets/' if self.repo.kind == 'dataset' else ''}{self.repo.id}"
        if self._no_token:
            return SourceError(
                f"{self.repo} is gated: only those who were let in may read it",
                hint=f"ask for access at {page}, then {self._set_token}",
            )
        return SourceError(
            f"{self.repo} is gated, and the owner of this token is not let in", hint=f"ask for access at {page}"
        )

    def no_revision(self, names: list[str]) -> SourceError:
        """There is no such branch, tag or commit."""
        near = difflib.get_close_matches(self.repo.at, names, n=3, cutoff=0.5)
        listed = ", ".join(shown(name) for name in near or names[:5])
        hint = f"{'did you mean' if near else 'it has'} {listed}" if listed else "check `revision`"
        return SourceError(f"{self.repo} has no branch, tag or commit {shown(self.repo.at)}", hint=hint)

    def no_file(self, said: object = "") -> SourceError:
        """A file that was listed is gone."""
        what = f"a file of {self.repo} was listed and is not there"
        return SourceError(f"{what}{self._after(said)}", hint="run it again; it may have changed meanwhile")

    def bad_token(self) -> SourceError:
        """The token is not one, or has ended."""
        return SourceError(
            f"{TITLES[self.repo.hub]} does not accept the token: it is wrong, or has ended",
            hint=f"make a new one and {self._set_token}; without a token, public datasets can be read",
        )

    def denied(self, said: object = "") -> SourceError:
        """The token is known, and may not."""
        hint = f"use a token that may read it in {self.variable}, or ask its owner for access"
        if self._no_token:
            hint = self._set_token
        return SourceError(f"{self.repo} may not be read{self._after(said)}", hint=hint)

    def refused(self, status: int, said: object = "") -> SourceError:
        """Any other answer."""
        return SourceError(f"{self._place} answers {status} for {self.repo}{self._after(said)}")

    def busy(self, status: int | None, wait: float | None) -> Failure:
        """The server cannot now."""
        asks = f" and asks to wait {wait:.0f} seconds" if wait is not None else ""
        if status == TOO_MANY:
            hint = "run it again later; what is there already is not fetched again"
            if self._no_token:
                hint += f"; with a token the limits are higher: {self._set_token}"
            error = UnreachedError(f"{self._place} allows no more requests for now{asks}", hint=hint)
        else:
            answers = f"answers {status}" if status else "fails"
            error = UnreachedError(
                f"{self._place} {answers} for {self.repo} again and again{asks}",
                hint="the hub has trouble: run it again later; what is there already is not fetched again",
            )
        return Failure(error=error, passing=True, wait=wait)

    def network(self, said: object, *, proxy: bool = False) -> Failure:
        """The server cannot be reached, or falls silent."""
        hint = "check the network, HTTPS_PROXY and the endpoint's name, and run it again"
        if proxy:
            hint = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
        error = UnreachedError(f"{self._place} cannot be reached{self._after(said)}", hint=hint)
        return Failure(error=error, passing=not proxy)

    def strange(self, error: Exception) -> SourceError:
        """An answer that no hub gives."""
        return SourceError(
            f"{self._place} does not answer as {TITLES[self.repo.hub]} does{self._after(type(error).__name__)}",
            hint="check the endpoint, and that no proxy or login page stands between",
        )

    def other(self, error: Exception) -> Failure:
        """Say what neither client has words for; raise again what is a fault of the disk or of ours."""
        if isinstance(error, DamagedError):
            return Failure(error=error.error, passing=True)
        if isinstance(error, SourceError):
            return Failure(error=error)
        if isinstance(error, ConnectionError | TimeoutError):
            return self.network(error.strerror or type(error).__name__)
        if isinstance(error, OSError) and error.errno in {*HINTS, errno.ENAMETOOLONG}:
            raise error
        if isinstance(error, OSError):
            return Failure(error=SourceError(f"{self.repo}: {self.said(error)}"), passing=True)
        if isinstance(error, KeyError | TypeError | ValueError | AttributeError):
            return Failure(error=self.strange(error))
        raise error

    def _after(self, said: object) -> str:
        text = self.said(said)
        return f": {text}" if text else ""
