"""What one commit to ModelScope holds: files within it or beside it, and how many it may have."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from modelscope_hub.constants import (
    COMMIT_MAX_ACTIONS_PER_REQUEST,
    DATASET_LFS_SUFFIX,
    MODEL_LFS_SUFFIX,
    UPLOAD_COMMIT_MAX_INLINE_BYTES,
    UPLOAD_INLINE_METADATA_PATHS,
    UPLOAD_LFS_FORCE_THRESHOLD_BYTES,
)

from pipeline.publish.remote import PublishError

if TYPE_CHECKING:
    from pipeline.publish.push_words import PushWords
    from pipeline.publish.remote import Change, LocalFile
    from pipeline.publish.target import Kind

NO_CONTENT = {"type": "normal", "size": 0, "sha256": "", "content": "", "encoding": ""}


@dataclass(frozen=True, kw_only=True)
class Arranged:
    """The files of a change, as ModelScope takes them; each sorted by path."""

    inline: tuple[str, ...]
    """They travel within the commit."""
    large: tuple[str, ...]
    """They are sent before it, and named in it by their hash (Git LFS)."""


def arrange(change: Change, kind: Kind, repo: object) -> Arranged:
    """Decide which files travel within the commit, by the rules of the hub's client.

    Small files go beside it, too, when they would make a commit longer than the client lets it become.

    Raises:
        PublishError: there are more files than the hub takes in one commit.
    """
    count = len(change.additions) + len(change.deletions)
    if count > COMMIT_MAX_ACTIONS_PER_REQUEST:
        raise PublishError(
            f"this push changes {count:,} files of {repo} in one step",
            allowed=f"{COMMIT_MAX_ACTIONS_PER_REQUEST:,} files in a commit to ModelScope",
            hint="readers would see the half of it if it were divided: have fewer and larger files, "
            "with media inside the shards or in archives (`shards: {media: archive}`)",
        )
    inline, large = set(), set()
    room = UPLOAD_COMMIT_MAX_INLINE_BYTES
    for path in sorted(change.additions, key=lambda path: (change.wanted[path].size, path)):
        size = change.wanted[path].size
        length = (size + 2) // 3 * 4
        if _is_read_by_hub(path) or not size or (length <= room and not _is_large(path, size, kind)):
            inline.add(path)
            room -= length
        else:
            large.add(path)
    return Arranged(inline=tuple(sorted(inline)), large=tuple(sorted(large)))


def _is_read_by_hub(path: str) -> bool:
    """Whether the hub itself looks into the file, and would find the name of its content in place of it."""
    return PurePosixPath(path).name.upper() in {name.upper() for name in UPLOAD_INLINE_METADATA_PATHS}


def _is_large(path: str, size: int, kind: Kind) -> bool:
    suffixes = DATASET_LFS_SUFFIX if kind == "dataset" else MODEL_LFS_SUFFIX
    return size > UPLOAD_LFS_FORCE_THRESHOLD_BYTES or PurePosixPath(path).suffix.lower() in suffixes


def actions_of(change: Change, arranged: Arranged, words: PushWords) -> list[dict[str, Any]]:
    """Return what the commit does: deletions first, so that a file can take the name of a folder.

    Raises:
        PublishError: a file that travels within it has changed on this disk.
    """
    actions: list[dict[str, Any]] = [
        {"action": "delete", "path": path, **NO_CONTENT} for path in sorted(change.deletions)
    ]
    for path in arranged.large:
        file = change.wanted[path]
        said = {"type": "lfs", "size": file.size, "sha256": file.sha256}
        actions.append({"action": "create", "path": path, **NO_CONTENT, **said})
    for path in arranged.inline:
        file = change.wanted[path]
        content = _read(file, path, words)
        said = {"size": file.size, "content": base64.b64encode(content).decode(), "encoding": "base64"}
        actions.append({"action": "create", "path": path, **NO_CONTENT, **said})
    return actions


def _read(file: LocalFile, path: str, words: PushWords) -> bytes:
    with file.path.open("rb") as opened:
        content = opened.read(file.size + 1)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise words.changed(path)
    return content
