"""Dataset repositories of Hugging Face and ModelScope as sources, through the hubs' own clients.

A snapshot is a folder of real files: those of one commit that match the patterns, each checked against what the hub
lists. `hub_shelf.py` says how it lies on the disk. Environment variables mean what they mean to the clients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline.errors import SourceError
from pipeline.sources.hub_client import UnreachedError
from pipeline.sources.hub_listing import HubName, HubRepo, ListedFile, Listing, checked_patterns, matching
from pipeline.sources.hub_retry import FEW, TRIES, with_tries
from pipeline.sources.hub_shelf import Download, HubSnapshot, Shelf
from pipeline.sources.hub_url import parse_hub_url
from pipeline.workspace import disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipeline.sources.hub_client import HubClient
    from pipeline.sources.hub_ranges import Part

__all__ = [
    "HubName",
    "HubRepo",
    "HubSnapshot",
    "ListedFile",
    "Listing",
    "RemoteFiles",
    "list_repo",
    "parse_hub_url",
    "remote_files",
    "snapshot",
]


def list_repo(repo: HubRepo, *, token: str | None = None) -> Listing:
    """Return the commit that a revision is at, and all its files, without downloading any.

    Raises:
        SourceError: the repository cannot be read; says why and what to do.
    """
    client = _client(repo, token)
    return _listed(client, _current(client))


@dataclass(frozen=True, kw_only=True)
class RemoteFiles:
    """The files of a repository at one commit, read where they are."""

    listing: Listing
    read: Callable[[str, int, int], Part]
    """Fetches the bytes of a file from a place up to another; raises SourceError."""


def remote_files(repo: HubRepo, *, token: str | None = None) -> RemoteFiles:
    """Return the files of a repository, of which parts can be read without downloading any.

    Raises:
        SourceError: the repository cannot be read, or the network may not be used.
    """
    if _is_offline(repo):
        raise SourceError(f"{repo} cannot be read while HF_HUB_OFFLINE is set", hint="unset it, or check a folder")
    client = _client(repo, token)
    listing = _listed(client, _current(client))

    def read(path: str, start: int, end: int) -> Part:
        return with_tries(lambda _: client.read(path, listing.commit, start, end), client.failure)

    return RemoteFiles(listing=listing, read=read)


def snapshot(
    repo: HubRepo,
    patterns: Sequence[str],
    folder: Path,
    *,
    offline: bool = False,
    max_bytes: int | None = None,
    advance: Callable[[int], None] | None = None,
    lost: dict[str, SourceError] | None = None,
) -> HubSnapshot:
    """Return the files of a repository that match the patterns; what is there and whole is not downloaded again.

    Asks for the commit of a branch or tag with one request, and of a full commit id with none. A hub that cannot be
    asked now is done without where a snapshot of the revision is there. `advance` is called with the bytes of each file
    that has come, in the thread of the caller. `lost` receives the files that cannot be had, by path; without it, the
    first of them ends it all.

    Raises:
        SourceError: the repository or one of its files cannot be had, or is not what the hub says.
        WorkspaceError: the disk is full, read-only or forbidden.
    """
    shelf = Shelf(folder=folder, repo=repo, patterns=checked_patterns(patterns))
    with disk_errors(folder):
        if offline or _is_offline(repo):
            return shelf.without_network()
        if repo.pinned and (found := shelf.finished(repo.pinned)):
            return found
        client = _client(repo, None)
        last = shelf.last()
        tries = FEW if last else TRIES
        try:
            commit = _current(client, tries)
            listing = None if commit else _listed(client, None, tries)
        except UnreachedError as error:
            if last is None:
                raise
            return replace(last, unasked=error.what)
        if commit is None or (found := shelf.finished(commit)) is None:
            listing = listing or _listed(client, commit)
            if (found := shelf.finished(listing.commit)) is None:
                files = matching(repo, listing, shelf.patterns)
                found = shelf.fill(
                    Download(client=client, commit=listing.commit, files=files, lost=lost), max_bytes, advance
                )
        if not lost:
            shelf.note_latest(found.commit)
        return found


def _client(repo: HubRepo, token: str | None) -> HubClient:
    if repo.hub == "huggingface":
        from pipeline.sources.hub_huggingface import HuggingFace

        return HuggingFace(repo, token, kind=repo.kind)
    from pipeline.sources.hub_modelscope import ModelScope

    return ModelScope(repo, token, kind=repo.kind)


def _is_offline(repo: HubRepo) -> bool:
    if repo.hub == "huggingface":
        from pipeline.sources.hub_huggingface import is_offline

        return is_offline()
    return False


def _current(client: HubClient, tries: int = TRIES) -> str | None:
    return with_tries(lambda _: client.commit(), client.failure, tries=tries)


def _listed(client: HubClient, commit: str | None, tries: int = TRIES) -> Listing:
    return with_tries(lambda _: client.listing(commit), client.failure, tries=tries)
