"""Rows that stand in no annotation file: the samples of WebDataset shards, and the files of a folder; as listings.

A shard is taken as any archive: whole, with every check, once for each content. What lies in it as it is stays there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import SourceError
from pipeline.manifest import fingerprint
from pipeline.media.location import FilePart
from pipeline.readers.record import MAX_RECORD_BYTES
from pipeline.sources.archive import ArchiveLimits, unpack
from pipeline.sources.in_place import ShardInPlace, write_index
from pipeline.sources.listing import files_listed, write_listing
from pipeline.sources.webdataset import samples_listed
from pipeline.stages.source_hashes import stat_of
from pipeline.workspace import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pipeline.build import Build
    from pipeline.media.location import Location
    from pipeline.report import StageReport
    from pipeline.sources.archive import UnpackReport

VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenShard:
    """A shard that was taken."""

    source: str
    name: str
    """Its path below its source."""
    listing: Path
    """Its samples."""
    sha256: str
    """Of the tar."""
    size: int
    """Bytes of the tar."""
    kept: tuple[Path, ...]
    """What the workspace holds of it."""


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """Everything a worker needs to take a shard."""

    source: str
    name: str
    """POSIX path of the tar below its source."""
    path: Path
    sha256: str | None
    """The hash of the tar, where it is known."""
    limits: ArchiveLimits
    name_encoding: str | None
    listings: Path
    """Folder for listings."""
    members: Path
    """Folder for what tells where members lie."""
    unpacked: Path
    """Folder for what cannot stay in a shard."""

    @property
    def is_done(self) -> bool:
        """Whether it was taken before, and is still there."""
        if self.sha256 is None or not self.folder(self.sha256).is_dir():
            return False
        return self.index(self.sha256).is_file() and self.listing(self.sha256).is_file()

    def listing(self, sha256: str) -> Path:
        """Return the listing of the samples, where the tar has this hash."""
        return self.listings / f"{self._key(sha256)}.jsonl"

    def index(self, sha256: str) -> Path:
        """Return what tells where members lie."""
        return self.members / f"{self._key(sha256)}.arrow"

    def folder(self, sha256: str) -> Path:
        """Return the folder of what did not stay; without files when all did."""
        return self.unpacked / self._key(sha256)

    def _key(self, sha256: str) -> str:
        made_of = fingerprint(VERSION, self.name, sha256, self.name_encoding, str(self.limits))
        return f"{self.source}-{made_of[:16]}"


def list_folder(build: Build, source: str, patterns: list[str]) -> tuple[str, Path]:
    """Write the listing of the files of a source that patterns match; returns what it is called, and where it is.

    Raises:
        SourceError: a pattern matches nothing.
    """
    others = build.archives[source].names if source in build.archives else ()
    new = build.workspace.listings / ".new"
    write_listing(new, files_listed(build.roots[source], patterns, others=others))
    with disk_errors(new):
        with new.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        path = new.with_name(f"{source}-{sha256[:16]}.jsonl")
        if path.is_file():
            new.unlink()
        else:
            new.rename(path)
    return ", ".join(patterns), path


def list_shards(
    build: Build, shards: Iterable[tuple[str, str, Path]], report: StageReport
) -> dict[tuple[str, Path], TakenShard]:
    """Take WebDataset shards, each a source, a name below it and a path; those that are known are not read again.

    Returns them by source and path, and fills `build.shards`.

    Raises:
        SourceError: a shard is refused, or changes while it is read.
    """
    looked_ns = time.time_ns()
    wanted = sorted({(source, name, path) for source, name, path in shards}, key=str)
    stats = {path: stat_of(path) for _, _, path in wanted}
    known = build.store.known_files(stats.items())
    workspace = build.workspace
    tasks = []
    for source, name, path in wanted:
        spec = build.recipe.sources[source]
        limits = ArchiveLimits(max_members=spec.max_members, max_bytes=spec.max_unpacked, max_ratio=spec.max_ratio)
        tasks.append(
            ShardTask(
                source=source,
                name=name,
                path=path,
                sha256=known.get(path),
                limits=limits,
                name_encoding=spec.name_encoding,
                listings=workspace.listings,
                members=workspace.members,
                unpacked=workspace.sources.resolve(),
            )
        )
    new = [task for task in tasks if not task.is_done]
    for folder in (workspace.listings, workspace.members, workspace.sources):
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    work = sum(stats[task.path].st_size for task in new)
    found = dict(zip(new, build.executor.map(take_shard, new, work_bytes=work), strict=True))
    build.store.adopt([(task.path, stats[task.path], found[task][0]) for task in new], looked_ns=looked_ns)
    lost = sum(lost for _, lost in found.values())
    if lost:
        report.notes.append(f"{lost:,} members of shards have no ending, so they belong to no sample")
    listed = {}
    for task in tasks:
        sha256 = found[task][0] if task in found else str(task.sha256)
        stat = stats[task.path]
        build.shards[os.path.realpath(task.path)] = ShardInPlace(
            task.path, sha256=sha256, stat=stat, index=task.index(sha256), folder=task.folder(sha256)
        )
        kept = (task.listing(sha256), task.index(sha256), task.folder(sha256))
        listed[task.source, task.path] = TakenShard(
            source=task.source, name=task.name, listing=kept[0], sha256=sha256, size=stat.st_size, kept=kept
        )
    return listed


def take_shard(task: ShardTask) -> tuple[str, int]:
    """Check, hash and list one shard (a worker's task); returns its hash, and how many members are in no sample."""
    stat = stat_of(task.path)
    with ThreadPoolExecutor(1) as aside:
        hashing = aside.submit(_hash, task.path) if task.sha256 is None else None
        new = task.unpacked / f".{task.source}-{fingerprint(task.name)[:16]}.new"
        with disk_errors(new):
            if new.is_dir():
                shutil.rmtree(new)
        fresh = unpack(task.path, new, task.limits, name_encoding=task.name_encoding, stays=lambda _: True)
        sha256 = hashing.result() if hashing is not None else str(task.sha256)
    now = stat_of(task.path)
    if (now.st_size, now.st_mtime_ns, now.st_ino) != (stat.st_size, stat.st_mtime_ns, stat.st_ino):
        raise SourceError(f"{task.path} changed while it was read", hint="run it again")
    folder = task.folder(sha256)
    with disk_errors(folder):
        if folder.is_dir():
            shutil.rmtree(folder)  # a build was ended before it could write the listing
        new.rename(folder)
    write_index(task.index(sha256), fresh.staying, sha256=sha256)
    places = _places(task.path, folder, fresh)
    lost, lines = samples_listed(task.name, places, lambda name: _small(places[name]))
    write_listing(task.listing(sha256), lines)
    return sha256, lost


def _places(path: Path, folder: Path, fresh: UnpackReport) -> dict[str, Location]:
    """Return where the members are: first those that stayed, in their order, then the others by their names."""
    table = fresh.staying.table()
    columns = (table.column(name).to_pylist() for name in ("name", "offset", "size"))
    places: dict[str, Location] = {
        name: FilePart(path, offset, size) for name, offset, size in zip(*columns, strict=True)
    }
    if fresh.files:
        others = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
        places |= dict(sorted(others.items()))
    return places


def _small(place: Location) -> bytes | None:
    """Return the bytes of a member, or None when there are more than a record may have."""
    size = place.size if isinstance(place, FilePart) else place.stat().st_size
    return place.read_bytes() if size <= MAX_RECORD_BYTES else None


def _hash(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
