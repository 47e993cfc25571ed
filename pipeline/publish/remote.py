"""What every place to publish to is to us: it is looked at, changed in one atomic step, tagged, and read back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from pipeline.errors import ShardwrightError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pipeline.publish.target import Target
    from pipeline.sources.hub_listing import ListedFile


class PublishError(ShardwrightError):
    """A push that cannot be made, or was refused; the place is as it was before, unless it says otherwise."""


class MovedError(PublishError):
    """Somebody else changed the branch since it was looked at; nothing was changed by us."""


class NotVerifiedError(PublishError):
    """What is there after a push is not what was pushed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalFile:
    """A file that is to be there after a push."""

    path: Path
    """Where it lies on this machine."""
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class RemoteState:
    """What is there now."""

    exists: bool
    """Whether there is such a repository or folder at all."""
    branch_exists: bool = False
    commit: str | None = None
    """What the branch is at; where the hub gives no commits, a fingerprint of its files; None: it is not there."""
    files: Mapping[str, ListedFile] = field(default_factory=dict)
    """The files of the branch by POSIX path; none where it is not there."""
    private: bool | None = None
    """None: not known, or a folder."""
    gated: str | None = None
    """`auto`, `manual`, or None: not gated, or not known."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tag -> commit (or what stands for it), the newest last where the place says which that is."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One atomic step: files that are added or replaced, and files that go."""

    state: RemoteState
    """What it was planned against; a branch that is somewhere else by then is not touched."""
    wanted: Mapping[str, LocalFile]
    """All files that are there afterwards and known to us; what `state` has with the same content is not sent."""
    additions: frozenset[str]
    """Those of `wanted` that are new or other than what is there."""
    deletions: frozenset[str]
    title: str
    description: str = ""
    private: bool = True
    """For a repository that is made by this push; one that is there stays as it is."""
    gated: Literal["auto", "manual"] | None = None
    """None: as it is."""
    pull_request: bool = False
    """Propose it in place of writing the branch."""
    license: str | None = None
    """The licence that the card says, for hubs that keep it beside the repository as well."""


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What a push did."""

    commit: str
    """What is there now."""
    url: str
    """A page or a path to look at."""
    sent: int
    """Bytes of contents that were really sent (where a client does not tell, of the files that it sent)."""
    pull_request: str | None = None
    """The page of the pull request."""
    revision: str = ""
    """What to read it back by: the branch, or the reference of the pull request."""


class Remote(Protocol):
    """A place, bound to one repository or folder and one branch."""

    target: Target
    upper_bound: bool
    """Whether less may be sent than the sizes of the new files say, since only new pieces of them are."""

    def look(self) -> RemoteState:
        """Find out what is there now.

        Raises:
            PublishError: it cannot be found out, or may not be written with this token; says what to do.
        """

    def push(self, change: Change, advance: Callable[[int], None]) -> Pushed:
        """Make a change: whoever reads sees all of it or nothing, however it ends.

        `advance` is called with bytes as they are sent, or found to be there, in the thread of the caller. A change
        that was already made (its answer was lost) counts as made. What was sent before by a push that was cut off is
        not sent again.

        Raises:
            MovedError: the branch is not where `change.state` saw it.
            PublishError: it was refused, or could not be made; nothing is changed.
        """

    def tag(self, name: str, commit: str, message: str) -> None:
        """Name a commit; that it is named so already is no error.

        Raises:
            PublishError: another commit has this name, or it is refused.
        """

    def read(self, path: str, revision: str) -> Iterator[bytes]:
        """Yield the content of a file as readers get it.

        Raises:
            PublishError: it cannot be read.
        """

    def listing(self, revision: str) -> Mapping[str, ListedFile]:
        """List the files at a branch, tag, commit or pull request, asked anew.

        Raises:
            PublishError: it cannot be listed.
        """
