"""The files of a dataset repository of a hub at one commit, read where they are: only what is looked at is fetched."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, cast

from pipeline.checks.read_card import CARD
from pipeline.errors import SourceError
from pipeline.sources.hub import HubRepo, remote_files
from pipeline.sources.hub_ranges import RangeReader
from pipeline.sources.members import RefusedError, member_parts

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.sources.hub import HubName, RemoteFiles

_TARGET = re.compile(r"(?:(?P<hub>huggingface|modelscope):)?(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>.+))?", re.ASCII)
AT_ONCE = 16
"""Requests beside each other."""


def hub_target(text: str) -> HubRepo | None:
    """Return the repository that `huggingface:org/name@revision` names, or `org/name`; None: that is no such name.

    Raises:
        SourceError: the name or the revision is none.
    """
    match = _TARGET.fullmatch(text)
    if match is None:
        return None
    hub = cast("HubName", match["hub"] or "huggingface")
    return HubRepo(hub=hub, id=match["id"], revision=match["revision"])


class HubFiles:
    """A repository of a hub, at the commit that its revision is at when it is first asked."""

    def __init__(self, repo: HubRepo, *, token: str | None = None) -> None:
        """Ask for the commit and for the listing.

        Raises:
            SourceError: the repository cannot be read; says why and what to do.
        """
        self.repo = repo
        self.shown = f"{repo.hub}:{repo.id}@{repo.at}"
        self._remote: RemoteFiles = remote_files(repo, token=token)
        self._sizes: dict[str, int] | None = None

    @property
    def commit(self) -> str:
        """The commit, or what stands for it where the hub says none."""
        return self._remote.listing.commit

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every file by its POSIX path, in order; hidden ones are left out."""
        if self._sizes is None:
            listed = {name: file.size for name, file in self._remote.listing.files.items() if _is_plain(name)}
            unknown = [name for name, size in listed.items() if size is None]
            with ThreadPoolExecutor(AT_ONCE) as threads:
                asked = dict(zip(unknown, threads.map(self._asked_size, unknown), strict=True))
            self._sizes = {name: asked.get(name, listed[name]) or 0 for name in sorted(listed)}
        return self._sizes

    def sha256(self, name: str) -> str | None:
        """Return the SHA-256 that the hub lists of a file; None: it lists none."""
        return self._remote.listing.files[name].sha256

    def open(self, name: str) -> BinaryIO:
        """Open a file that can be sought in; only what is read of it is fetched."""
        return cast("BinaryIO", RangeReader(self.sizes()[name], partial(self._remote.read, name)))

    def path(self, name: str) -> Path | None:  # noqa: ARG002
        """Return that a file lies nowhere on this machine."""
        return None

    def _asked_size(self, name: str) -> int:
        """Ask for the size of a file that the hub lists without one, where that matters."""
        if name != CARD and not name.endswith(".parquet"):
            return 0
        total = self._remote.read(name, 0, 1).total
        if total is None:
            what = f"{self.repo} does not say how large {name!r} is"
            raise SourceError(what, hint="`--full` downloads it, and looks at all")
        return total


def _is_plain(name: str) -> bool:
    """Tell whether a path is one that loaders see and that can be asked for."""
    try:
        parts = member_parts(name)
    except (RefusedError, UnicodeEncodeError):
        return False
    return "/".join(parts) == name and not any(part.startswith(".") for part in parts)
