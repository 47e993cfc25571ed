"""What lies in a dataset repository of a hub, and which of it a recipe asks for.

A listing is text from strangers: a path in it names a file on this disk only after it was checked here.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from pipeline.errors import SourceError
from pipeline.printable import escaped
from pipeline.sources.members import RefusedError, folded, member_parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HubName = Literal["huggingface", "modelscope"]
HubKind = Literal["dataset", "model"]

REPO_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
"""A full commit id: what it names never changes."""
MAX_NAMES_COMPARED = 10_000
"""Files looked at to suggest a name for a pattern that matches nothing."""
TITLES: dict[str, str] = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}
BRANCHES: dict[str, str] = {"huggingface": "main", "modelscope": "master"}
"""The branch that is meant where no revision is given."""


@dataclass(frozen=True, kw_only=True)
class HubRepo:
    """A repository, at a branch, a tag or a commit."""

    hub: HubName
    id: str
    """`owner/name`."""
    revision: str | None
    """None: the main branch of the hub."""
    kind: HubKind = "dataset"

    def __post_init__(self) -> None:
        if not REPO_ID.fullmatch(self.id) or {".", ".."} & set(self.id.split("/")):
            raise SourceError(f"{shown(self.id)} is not the name of a repository", allowed="owner/name")
        revision = self.revision
        if revision is not None and (not revision.isprintable() or not revision.strip() or len(revision) > 250):
            raise SourceError(f"{shown(revision)} is not the name of a revision", allowed="a branch, a tag or a commit")

    @property
    def at(self) -> str:
        """The revision that is meant."""
        return self.revision or BRANCHES[self.hub]

    @property
    def pinned(self) -> str | None:
        """The commit, where the revision is a full commit id."""
        return self.revision if COMMIT.fullmatch(self.revision or "") else None

    def __str__(self) -> str:
        return f"the {self.kind} {self.id!r} on {TITLES[self.hub]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedFile:
    """One file as the hub lists it."""

    size: int | None
    """None: the hub does not say."""
    sha256: str | None = None
    """None: the hub does not say."""
    git: str | None = None
    """The SHA-1 of its git blob, where the hub gives that instead of a SHA-256."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All files of a repository at one commit."""

    commit: str
    """A commit id, or a fingerprint of the files where the hub gives none."""
    files: dict[str, ListedFile]


def shown(text: str) -> str:
    """Quote a text of strangers for a message."""
    return repr(escaped(text if len(text) <= 200 else f"{text[:200]}..."))


def checked_patterns(patterns: Iterable[str]) -> list[str]:
    """Return the patterns sorted, each once, or raise `SourceError` for one that cannot be used."""
    unique = sorted(set(patterns))
    if not unique:
        raise SourceError("no pattern says which files of the repository are wanted", hint="write '**/*' for all")
    for pattern in unique:
        parts = PurePosixPath(pattern).parts
        if not parts or pattern.startswith("/") or ".." in parts or "\0" in pattern:
            raise SourceError(
                f"the pattern {shown(pattern)} cannot be used",
                allowed="paths relative to the repository, without `..`, with `*`, `?`, `[...]` and `**`",
            )
        if any("**" in part and part != "**" for part in parts):
            raise SourceError(
                f"the pattern {shown(pattern)} joins `**` to a name",
                allowed="`**` alone between slashes",
                hint=f"write {re.sub(r'[*]{2,}', '*', pattern)!r} or, for all folders, '**/*.json'",
            )
    return unique


def matching(repo: HubRepo, listing: Listing, patterns: Sequence[str]) -> dict[str, ListedFile]:
    """Return the files that match any of the patterns, sorted by path, all of them fit to be written.

    Patterns mean what they mean for local folders, and one that ends in `**` takes all files below.

    Raises:
        SourceError: a pattern matches nothing, or what it matches cannot be written to a disk as it is named.
    """
    if not listing.files:
        raise SourceError(f"{repo} lists no files at {repo.at!r}", hint="check `id` and `revision`, and your access")
    found: set[str] = set()
    for pattern in checked_patterns(patterns):
        matches = _matches(listing.files, pattern)
        if not matches:
            raise SourceError(f"no file of {repo} matches {shown(pattern)}", hint=_nearest(listing.files, pattern))
        found.update(matches)
    _check_paths(repo, found)
    return {path: listing.files[path] for path in sorted(found)}


def _matches(names: dict[str, ListedFile], pattern: str) -> list[str]:
    exact = str(PurePosixPath(pattern))
    if exact in names:
        return [exact]
    parts = PurePosixPath(pattern).parts
    hidden = any(part.startswith(".") for part in parts)
    rules = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]
    if rules[-1] is None:
        rules.append(re.compile(r".*", re.DOTALL))
    return [name for name in names if (hidden or not _is_hidden(name)) and _fits(name.split("/"), rules)]


def _fits(parts: list[str], rules: list[re.Pattern[str] | None]) -> bool:
    """Match a path part by part; None is any number of folders. The time does not depend on how the two are built."""
    at = _with_none_taken({0}, rules)
    for part in parts:
        on = {rule for rule in at if rule < len(rules) and rules[rule] is None}
        on |= {rule + 1 for rule in at if rule < len(rules) and (fits := rules[rule]) and fits.match(part)}
        at = _with_none_taken(on, rules)
    return len(rules) in at


def _with_none_taken(at: set[int], rules: list[re.Pattern[str] | None]) -> set[int]:
    """Add the places that are reached when a `**` stands for no folder."""
    for rule, what in enumerate(rules):
        if rule in at and what is None:
            at.add(rule + 1)
    return at


def _is_hidden(name: str) -> bool:
    """Say whether a file or a folder above it is hidden; what climbs is not, so that it is refused in words."""
    return "." in name and any(part.startswith(".") and part not in {".", ".."} for part in name.split("/"))


def _check_paths(repo: HubRepo, paths: set[str]) -> None:
    """Refuse paths that would leave the folder, write on a terminal, or fall upon each other on another disk."""
    allowed = "plain relative paths that differ by more than upper and lower case"
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in sorted(paths):
        why = ""
        try:
            if "/".join(member_parts(path)) != path:
                why = "is not written plainly"
        except RefusedError as error:
            why = error.why
        except UnicodeEncodeError:
            why = "is not valid Unicode"
        if why:
            hint = "narrow `files` so that it leaves this file out, or do not trust this repository"
            raise SourceError(f"{repo} lists {shown(path)}, which {why}", allowed=allowed, hint=hint)
        key = folded(path)
        other = seen.setdefault(key, path)
        parents = [str(parent) for parent in PurePosixPath(path).parents[:-1]]
        folders.update((folded(parent), path) for parent in parents)
        if other == path:
            other = next((seen[folded(parent)] for parent in parents if folded(parent) in seen), path)
        if other == path:
            other = folders.get(key, path)
        if other != path:
            raise SourceError(
                f"{repo} lists {shown(other)} and {shown(path)}, which are one file on many disks",
                allowed=allowed,
                hint="narrow `files` so that it takes one of them",
            )


def _nearest(files: dict[str, ListedFile], pattern: str) -> str:
    """Say which names come nearest to a pattern that matches nothing."""
    inside = f"{pattern.rstrip('/')}/"
    if any(name.startswith(inside) for name in files):
        return f"it is a folder: write {inside + '*'!r} for the files in it"
    names = sorted(files)[:MAX_NAMES_COMPARED]
    near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.5)
    listed = ", ".join(shown(name) for name in near or names[:5])
    return f"{'did you mean' if near else 'the repository holds'} {listed}"
