"""Media whose URLs point into a repository of a hub: one listing for all of them, and the hub's own client."""

from __future__ import annotations

import glob
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import SourceError
from pipeline.media.probe import hash_file
from pipeline.network.ledger import LASTING, PASSING, Entry, entry_of
from pipeline.sources.hub import HubRepo, list_repo, parse_hub_url, snapshot
from pipeline.workspace import disk_errors, holding, writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pipeline.network.limits import FetchLimits
    from pipeline.network.urls import WebUrl
    from pipeline.sources.hub import Listing


@dataclass(frozen=True, slots=True)
class FromHub:
    """A file of a snapshot, not let in yet; judged as what arrives from a URL is."""

    url: WebUrl
    path: Path
    sha256: str
    bytes: int

    def stored(self, path: Path) -> Entry:
        """Let it in: give it a second name as an object; returns what the ledger must say."""
        if not path.is_file():
            with disk_errors(path), writing(path) as temporary:
                try:
                    os.link(self.path, temporary)
                except OSError:  # another disk
                    shutil.copyfile(self.path, temporary)
        return entry_of(self.url, tries=1, sha256=self.sha256, bytes=self.bytes, http=200)

    def refused(self, reason: str, message: str, *, lasting: bool = True) -> Entry:
        """Do not let it in; returns what the ledger must say."""
        return entry_of(
            self.url, tries=1, reason=reason, lasts=LASTING if lasting else PASSING, message=message, http=200
        )

    def forget(self) -> None:
        """Do nothing: it is not here that it is kept."""

    def done(self) -> None:
        """Do nothing: no other process waits for it."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What came of the URLs that point into one repository."""

    files: list[FromHub]
    lost: list[Entry]


def by_repository(urls: Iterable[WebUrl]) -> dict[HubRepo, dict[WebUrl, str]]:
    """Return the repositories that URLs point into, each with the paths they mean."""
    found: dict[HubRepo, dict[WebUrl, str]] = {}
    for url in urls:
        told = parse_hub_url(url.request)
        if told is not None:
            found.setdefault(told[0], {})[url] = told[1]
    return found


def bring_from_hub(repo: HubRepo, paths: dict[WebUrl, str], cache: Path, limits: FetchLimits) -> Iterator[Brought]:
    """Download files of a repository; while they are looked at no other process downloads from it.

    Raises:
        WorkspaceError: the disk is full or forbidden.
    """
    folder = cache / "hub" / "media" / repo.hub / repo.id.replace("/", "--")
    with holding(folder / "lock"):
        try:
            listing = list_repo(repo)
            there, lost = _there(repo, paths, listing, limits)
            if there:
                patterns = [glob.escape(path) for path in there.values()]
                missing: dict[str, SourceError] = {}
                root = snapshot(repo, patterns, folder, lost=missing).folder
                lost += [_unhad(url, missing[path]) for url, path in there.items() if path in missing]
                there = {url: path for url, path in there.items() if path not in missing}
        except SourceError as error:
            yield Brought([], [_unhad(url, error) for url in paths])
            return
        yield Brought([FromHub(url, root / path, *hash_file(root / path)) for url, path in there.items()], lost)
        # what was let in has a second name
        for leftover in folder.iterdir():
            if leftover.is_dir():
                shutil.rmtree(leftover)
            elif leftover.name != "lock":
                leftover.unlink()


def _unhad(url: WebUrl, error: SourceError) -> Entry:
    """Return what the ledger must say of a file that the hub lists and does not give."""
    return entry_of(url, tries=1, reason="fetch.hub", lasts=PASSING, message=error.what)


def _there(
    repo: HubRepo, paths: dict[WebUrl, str], listing: Listing, limits: FetchLimits
) -> tuple[dict[WebUrl, str], list[Entry]]:
    """Return the URLs whose files are in the listing, and entries for the rest."""
    there, lost = {}, []
    for url, path in paths.items():
        listed = listing.files.get(path)
        if listed is None:
            message = f"{url.shown}: {repo} has no such file"
            lost.append(entry_of(url, tries=1, reason="fetch.status", lasts=LASTING, message=message, http=404))
        elif listed.size is not None and listed.size > limits.max_bytes:
            message = f"{url.shown}: {listed.size:,} bytes, where fetch.max_bytes allows {limits.max_bytes:,}"
            lost.append(entry_of(url, tries=1, reason="fetch.too_large", lasts=LASTING, message=message))
        else:
            there[url] = path
    return there, lost
