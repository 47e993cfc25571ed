"""The links of a published folder: the place itself, which leads to the current version, and one for each tag."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline.publish.folder_copy import sync_folder
from pipeline.publish.folder_versions import LINK, VERSION, remove
from pipeline.publish.remote import PublishError
from pipeline.sources.hub_listing import shown

if TYPE_CHECKING:
    from pathlib import Path

ELSEWHERE = "publish to another place, or move it away"
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class Links:
    """The links at and beside a place; whoever changes one holds the lock of the versions."""

    def __init__(self, place: Path, root: Path) -> None:
        self.place = place
        self._root = root
        """Where the versions lie, beside the place."""

    def current(self) -> str | None:
        """Return the current version; None: nothing is there, or an empty folder.

        Raises:
            PublishError: something else is there.
        """
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(self.place.lstat().st_mode):
                with os.scandir(self.place) as entries:
                    entry = next(entries, None)
                if entry is None:
                    return None
                what = f"{self.place} holds what was not published by shardwright, e.g. {shown(entry.name)}"
                raise PublishError(what, hint=ELSEWHERE)
        return self.version_at(self.place)

    def version_at(self, path: Path) -> str | None:
        """Return the version that a link leads to; None: nothing is there.

        Raises:
            PublishError: it is no link, or leads to somewhere else.
        """
        try:
            leads_to = path.readlink()
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise PublishError(f"{path} was not published by shardwright", hint=ELSEWHERE) from None
        if str(leads_to.parent) != self._root.name or not VERSION.fullmatch(leads_to.name):
            what = f"{path} is a link to {shown(str(leads_to))}, which was not published by shardwright"
            raise PublishError(what, hint=f"publish to where it leads to; else {ELSEWHERE}")
        return leads_to.name

    def tag_path(self, tag: str) -> Path:
        """Return where the link of a tag is, or would be."""
        if "/" in tag:
            raise PublishError(f"{shown(tag)} cannot be the tag of a folder", allowed="a tag without `/`")
        return self.place.with_name(f"{self.place.name}@{tag}")

    def tags(self) -> dict[str, str]:
        """Return the tags and their versions, the newest last; links of others are none."""
        start = f"{self.place.name}@"
        found = []
        with os.scandir(self.place.parent) as entries:
            for entry in entries:
                if entry.name.startswith(start) and entry.is_symlink():
                    with suppress(PublishError):
                        made = entry.stat(follow_symlinks=False).st_mtime_ns
                        version = self.version_at(self.place.with_name(entry.name))
                        found.append((made, entry.name.removeprefix(start), version))
        return {tag: version for _, tag, version in sorted(found, key=lambda one: one[:2]) if version}

    def prepare(self, version: str) -> None:
        """Make the link that `put` renames, so that a disk without links says so before anything is copied.

        Raises:
            PublishError: the disk knows no links.
        """
        link = self._root / LINK
        remove(link)
        try:
            link.symlink_to(self._to(version))
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            what = f"the disk of {self._root.parent} knows no symbolic links, and nothing can be exchanged in one step"
            hint = "publish to a folder on another disk, or mount this one so that it has links"
            raise PublishError(what, hint=hint) from None

    def put(self, path: Path, version: str, *, before: str | None) -> None:
        """Let a link lead to a version: the one step that readers see. What is not ours is never written over."""
        if before is None:
            if path == self.place and path.is_dir():
                path.rmdir()  # an empty folder
            path.symlink_to(self._to(version))
            remove(self._root / LINK)
        else:
            (self._root / LINK).replace(path)
        sync_folder(path.parent)

    def _to(self, version: str) -> str:
        return f"{self._root.name}/{version}"
