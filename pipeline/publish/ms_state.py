"""What a branch of ModelScope holds, before a push and after it, and what its tags stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.sources.hub_listing import ListedFile
from pipeline.sources.hub_modelscope import state_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.publish.ms_client import MsClient, Revisions
    from pipeline.publish.remote import Change

Files = Mapping[str, ListedFile]

OF_THE_HUB = ".gitattributes"
"""A hub may write into it itself, when a commit holds large files of a sort that it does not know yet."""


class Tags(Mapping[str, str]):
    """The tags of a repository; what one stands for is asked when somebody wants to know, and only then."""

    def __init__(self, client: MsClient, revisions: Revisions, branch: str, commit: str | None) -> None:
        self._client = client
        self._tags = revisions.tags
        at = revisions.branches.get(branch)
        self._known = {name: commit for name, its in revisions.tags.items() if commit and at and its == at}

    def __getitem__(self, name: str) -> str:
        if name not in self._tags:
            raise KeyError(name)
        if name not in self._known:
            self._known[name] = state_of(self._client.files_at(name) or {})
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tags)

    def __len__(self) -> int:
        return len(self._tags)


def afterwards(change: Change, before: Files) -> Files:
    """Return what is to be listed after a push."""
    kept = {path: listed for path, listed in before.items() if path not in change.deletions}
    added = {path: change.wanted[path] for path in change.additions}
    return kept | {path: ListedFile(size=file.size, sha256=file.sha256) for path, file in added.items()}


def differing(now: Files, wanted: Files) -> list[str]:
    """Return the paths that are not as wanted; what the hub does not say of a file is not held against it."""
    paths = {*now, *wanted} - {OF_THE_HUB}
    return sorted(path for path in paths if not _fits(now.get(path), wanted.get(path)))


def _fits(now: ListedFile | None, wanted: ListedFile | None) -> bool:
    if now is None or wanted is None:
        return now is wanted
    pairs = ((now.size, wanted.size), (now.sha256, wanted.sha256))
    return all(there is None or asked is None or there == asked for there, asked in pairs)
