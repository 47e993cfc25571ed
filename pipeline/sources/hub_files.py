"""Files of a snapshot: measured, compared with what the hub lists, known again, and shared between snapshots."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from typing import TYPE_CHECKING, Any

from pipeline.sources.hub_listing import ListedFile
from pipeline.workspace import TEMPORARY

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 1 << 20


def content_key(sha256: str | None, git: str | None, size: int | None) -> str:
    """Return what two files have in common that are the same; empty when the hub does not say enough."""
    if sha256 and size is not None:
        return f"{sha256} {size}"
    return f"git {git} {size}" if git and size is not None else ""


def measured(path: Path, listed: ListedFile) -> dict[str, Any]:
    """Measure a file: its bytes, hashes and time."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        blob = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if listed.git else None
        while chunk := file.read(CHUNK):
            sha256.update(chunk)
            if blob:
                blob.update(chunk)
        modified = os.fstat(file.fileno()).st_mtime_ns
    return {
        "bytes": size,
        "sha256": sha256.hexdigest(),
        "listed": listed.sha256,
        "git": blob.hexdigest() if blob else None,
        "modified": modified,
    }


def wrong(listed: ListedFile, entry: dict[str, Any]) -> str:
    """Say in which way a file is not the one that is listed; empty when it is."""
    if listed.size is not None and entry["bytes"] != listed.size:
        return f"{entry['bytes']:,} bytes where the hub lists {listed.size:,}"
    if listed.sha256 and entry["sha256"] != listed.sha256:
        return f"the SHA-256 {entry['sha256'][:16]}… where the hub lists {listed.sha256[:16]}…"
    if listed.git and entry["git"] != listed.git:
        return f"the git hash {entry['git'][:16]}… where the hub lists {listed.git[:16]}…"
    return ""


def modified_if_whole(path: Path, entry: dict[str, Any]) -> int | None:
    """Return the time of a file that is as it was written down; one that was touched is read to know."""
    try:
        facts = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(facts.st_mode) or facts.st_size != entry["bytes"]:
        return None
    same = facts.st_mtime_ns == entry["modified"] or measured(path, ListedFile(size=None))["sha256"] == entry["sha256"]
    return facts.st_mtime_ns if same else None


def link(source: Path, to: Path) -> None:
    """Give a file a second name, or copy it where the disk knows no second names."""
    try:
        os.link(source, to)
    except OSError:
        temporary = to.with_name(f"{TEMPORARY}{hashlib.sha256(to.name.encode()).hexdigest()[:16]}")
        shutil.copy2(source, temporary)
        temporary.replace(to)
