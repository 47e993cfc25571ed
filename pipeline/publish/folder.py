"""A folder as a place to publish to, such as one of a NAS: whoever reads sees the old version or the new, never half.

    /nas/data/clips              a link to the current version; exchanging it is one rename, on NFS as well
    /nas/data/clips@v1.2.0       a link to the version that has this tag
    /nas/data/.clips.versions/   the versions (`folder_versions.py`)

A file whose content an older version has is a second name of that one's, so versions cost what differs. The current
version, the one before and those with a tag are kept; who has an older one open on this machine reads on.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UsageError, WorkspaceError
from pipeline.publish.folder_copy import CHUNK, make_version, sync_folder
from pipeline.publish.folder_links import Links
from pipeline.publish.folder_versions import NEXT, Record, Versions, is_same_content, is_unchanged, remove
from pipeline.publish.remote import LocalFile, MovedError, PublishError, Pushed, RemoteState
from pipeline.sources.hub_listing import shown
from pipeline.workspace import disk_errors, holding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipeline.publish.remote import Change
    from pipeline.publish.target import Kind, Target
    from pipeline.sources.hub_listing import ListedFile

LOCK_SECONDS = 10.0
"""How long another publisher is waited for."""
AGAIN = "run it again: it is compared with what is there now"
_STRANGE = {
    errno.EBUSY: "it may be where a disk is mounted: publish to a folder in it",
    errno.EILSEQ: "this disk does not take every name",
    errno.EINVAL: "this disk does not take every name",
    errno.ELOOP: "a link leads to itself: mend it",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOLCK: "this disk gives no locks: allow them where it is mounted, so that two cannot publish at once",
    errno.ENOTEMPTY: "somebody else is writing there: run it again",
}
"""What else a disk that is published to may say."""


class FolderRemote:
    """A folder of this machine or of one behind a network."""

    upper_bound = False

    def __init__(self, target: Target, kind: Kind) -> None:  # noqa: ARG002  (a folder holds either)
        """Bind to a place, without looking at it yet.

        Raises:
            UsageError: it cannot be the name of a folder.
        """
        self.target = target
        path = Path(target.place)
        if path.name in ("", "..") or not target.place.isprintable():
            raise UsageError(f"{shown(target.place)} does not name a folder", allowed="a path, such as /nas/data/clips")
        # what leads to the place may be links; the place itself is a link of ours
        self._parent = Path(os.path.realpath(path.parent))
        self._place = self._parent / path.name
        self._versions = Versions(self._parent / f".{path.name}.versions")
        self._links = Links(self._place, self._versions.root)

    def look(self) -> RemoteState:
        """Find out what is there now; files are read only where their size and time are not as they were noted.

        Raises:
            PublishError: something is there that was not published by us, or it may not be written.
        """
        with self._errors("read"):
            self._check_parent()
            current = self._links.current()
            return RemoteState(
                exists=current is not None,  # an empty folder counts as none
                branch_exists=current is not None,
                commit=current,
                files=self._versions.seen(current) if current else {},
                tags=self._links.tags(),
            )

    def push(self, change: Change, advance: Callable[[int], None]) -> Pushed:
        """Make a version beside the current one, and exchange the link to it.

        Files of the version that are none of `wanted` and do not go are taken over, but links of others are not.

        Raises:
            MovedError: another version is current than the one that was looked at.
            PublishError: it cannot be made; nothing is changed.
            WorkspaceError: the disk is full, forbidden or fails; nothing is changed.
            UsageError: a pull request or a gate is asked for.
        """
        if change.pull_request:
            raise UsageError("a folder knows no pull requests", hint="leave that out, or publish to a hub")
        if change.gated:
            raise UsageError("a folder cannot be gated", hint="leave that out, and let the disk say who may read it")

        def told(path: str, size: int) -> None:
            if path in change.additions:
                advance(size)

        with self._errors("write"):
            self._check_parent()
            self._check_sources(change.wanted, self._links.current())
            with self._held():
                current = self._links.current()
                files = self._files_of(change, current)
                name, is_there = self._versions.name_for(files)
                sent = 0
                if not is_there or name != current:
                    if current != change.state.commit:
                        what = f"{self.target} was changed by somebody else since it was looked at"
                        raise MovedError(what, hint=AGAIN)
                    self._versions.tidy()
                    self._links.prepare(name)
                    sent = self._make(name, files, change.title, told, is_there=is_there)
                    if self._links.current() != current:
                        what = f"{self.target} was changed while it was published, by somebody who holds no lock"
                        raise MovedError(what, hint=AGAIN)
                    self._links.put(self._place, name, before=current)
                self._prune(name)
        return Pushed(commit=name, url=str(self._place), sent=sent, revision=name)

    def tag(self, name: str, commit: str, message: str) -> None:  # noqa: ARG002  (a link holds no message)
        """Name a version by a link beside the place.

        Raises:
            PublishError: another version has this name, or there is no such version.
        """
        path = self._links.tag_path(name)
        with self._errors("write"):
            self._version(commit)  # else there may be no folder with a lock
            with self._held():
                tagged = self._links.version_at(path)
                if tagged == commit:
                    return
                if tagged is not None and not is_same_content(tagged, self._version(commit)):
                    what = f"{shown(name)} is the tag of another version of {self.target}"
                    raise PublishError(what, hint="choose another tag: what a tag names does not change")
                self._links.prepare(commit)
                self._links.put(path, commit, before=tagged)

    def read(self, path: str, revision: str) -> Iterator[bytes]:
        """Yield the content of a file of a version; links in it are not followed.

        Raises:
            PublishError: it cannot be read.
        """
        with self._errors("read"):
            file = self._versions.folder(self._version(revision)) / path
        if os.path.realpath(file) != str(file):
            raise PublishError(f"{shown(path)} of {self.target} is or lies behind a link, and is not read")
        try:
            with file.open("rb", buffering=0) as opened:
                while chunk := opened.read(CHUNK):
                    yield chunk
        except OSError as error:
            raise PublishError(f"{shown(path)} of {self.target} cannot be read: {error.strerror}") from None

    def listing(self, revision: str) -> Mapping[str, ListedFile]:
        """List the files of a version, every one of them read anew; a link is no file of it.

        Raises:
            PublishError: there is no such version, or a file cannot be read.
        """
        with self._errors("read"):
            return self._versions.hashed(self._version(revision))

    def version(self, revision: str) -> tuple[Path, Mapping[str, ListedFile]]:
        """Return where a version lies, and its files as `look` lists them.

        Raises:
            PublishError: there is no such version.
        """
        with self._errors("read"):
            name = self._version(revision)
            return self._versions.folder(name), self._versions.seen(name)

    # what is there

    def _version(self, revision: str) -> str:
        """Return the version that a tag, a version or nothing (the current one) names."""
        name = self._links.current() if not revision else self._links.tags().get(revision, revision)
        if name is None or not self._versions.exists(name):
            what = f"has no version {shown(revision)}" if revision else "is not there"
            raise PublishError(f"{self.target} {what}", hint="publish it first")
        return name

    def _files_of(self, change: Change, current: str | None) -> dict[str, LocalFile]:
        """Return all files that are there afterwards, and where to copy each from."""
        folder = self._versions.folder(current or "")
        kept = {
            path: LocalFile(path=folder / path, size=file.size, sha256=file.sha256)
            for path, file in change.state.files.items()
            if path not in change.deletions and file.sha256 is not None and file.size is not None
        }
        return {**kept, **change.wanted}

    # changing it

    def _make(
        self, name: str, files: Mapping[str, LocalFile], title: str, told: Callable[[str, int], None], *, is_there: bool
    ) -> int:
        """Make a version, unless it is there and whole; returns the bytes that were copied."""
        parent = self._links.current()
        if is_there:
            for path, file in files.items():
                told(path, file.size)
            record = self._versions.record(name)
            self._versions.write_record(name, Record(files=record.files, parent=parent, title=title))
            return 0
        making = self._versions.root / NEXT
        made = make_version(making, files, self._contents(parent, files), told)
        self._versions.write_record(name, Record(files=made.files, parent=parent, title=title))
        making.rename(self._versions.folder(name))
        sync_folder(self._versions.root)
        return made.sent

    def _contents(self, current: str | None, files: Mapping[str, LocalFile]) -> dict[str, Path]:
        """Return where contents lie on this disk, by sha256: files of versions that are as they were when made."""
        wanted = {file.sha256 for file in files.values()}
        found: dict[str, Path] = {}
        for name in sorted(self._versions.names(), key=lambda name: name != current):
            for path, file in self._versions.record(name).files.items():
                if file.sha256 in wanted and file.sha256 not in found:
                    there = self._versions.folder(name) / path
                    with suppress(FileNotFoundError, NotADirectoryError):
                        if is_unchanged(file, there.lstat()):
                            found[file.sha256] = there
        return found

    def _prune(self, current: str) -> None:
        """Remove versions that nobody needs; that some stay is no failure of what was published."""
        with suppress(OSError, WorkspaceError):
            before = self._versions.record(current).parent or current
            self._versions.tidy({current, before, *self._links.tags().values()})
            remove(self._versions.root / NEXT)

    def _check_sources(self, wanted: Mapping[str, LocalFile], current: str | None) -> None:
        """Refuse what would be published into itself; an older version is a source as any other."""
        files = ((os.path.abspath(file.path), path) for path, file in wanted.items())  # noqa: PTH100
        roots = Counter(file[: -len(path)] for file, path in files if file.endswith(f"/{path}"))
        for usual, _ in roots.most_common(1):  # a file of its own, such as a card, may be written anywhere
            root = Path(os.path.realpath(usual))
            what = ""
            if root == self._place or (current and root.is_relative_to(self._versions.folder(current))):
                what = f"{self._place} is itself what is to be published"
            elif self._parent.is_relative_to(root):
                what = f"{self._place} lies inside of {root}, which is to be published"
            elif root == self._versions.root / NEXT:
                what = f"{root} is what a push that was cut off left"
            if what:
                raise PublishError(what, hint="publish to another place")

    def _check_parent(self) -> None:
        """The folder around the place is never made: it may be where a disk is to be mounted."""
        if not self._parent.is_dir():
            hint = f"mount its disk, or make it: mkdir -p {self._parent}"
            raise PublishError(f"there is no folder {self._parent} to publish into", hint=hint)
        if not os.access(self._parent, os.W_OK | os.X_OK):
            raise PublishError(f"{self._parent} may not be written", hint="ask its owner, or publish to another place")

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Be the only one who publishes here; the lock belongs to the process, so a kill frees it."""
        until = time.monotonic() + LOCK_SECONDS
        with ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(holding(self._versions.root / "lock", fcntl.LOCK_EX | fcntl.LOCK_NB))
                    break
                except BlockingIOError:
                    if time.monotonic() >= until:
                        what = f"somebody else is publishing to {self.target}"
                        raise PublishError(what, hint="wait until that is done, and run it again") from None
                    time.sleep(0.05)
            yield

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Say what the disk says, with the way out that there is here."""
        try:
            with disk_errors(self._place, doing=doing):
                yield
        except WorkspaceError as error:
            error.hint = error.hint.replace("--work, --out or --cache", "--to")
            raise
        except OSError as error:
            hint = _STRANGE.get(error.errno or 0)
            if hint is None:
                raise
            raise PublishError(f"cannot {doing} {error.filename or self._place}: {error.strerror}", hint=hint) from None
