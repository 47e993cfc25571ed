"""An archive as a source: checked and unpacked, but for the media that may stay in it; once for each content."""

from __future__ import annotations

import glob
import shutil
from typing import TYPE_CHECKING

from pipeline.errors import SourceError
from pipeline.manifest import fingerprint
from pipeline.recipe import all_rows
from pipeline.sources.archive import ArchiveLimits, unpack
from pipeline.sources.in_place import ArchiveInPlace, read_index, write_index
from pipeline.sources.local import may_match
from pipeline.sources.webdataset import shard_patterns
from pipeline.stages.source_hashes import hashed_aside, hashes_of, is_unchanged, stat_of
from pipeline.workspace import disk_errors

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.build import Build
    from pipeline.report import StageReport
    from pipeline.sources.archive import UnpackReport

VERSION = 1


def take_archive(
    build: Build, name: str, path: Path, report: StageReport, *, sha256: str | None = None
) -> tuple[Path, str, int]:
    """Return the folder of what was unpacked, and hash and size of the archive; its hash may be known.

    Raises:
        SourceError: the archive is refused, or changes while it is read.
    """
    stat = stat_of(path)
    fresh: UnpackReport | None = None
    sources, members = build.workspace.sources.resolve(), build.workspace.members
    new = sources / f".{name}.new"
    if sha256 is None and not any(members.glob(f"{glob.escape(name)}-*.arrow")):
        with hashed_aside(build, path) as hashed:
            fresh = _unpacked(build, name, path, new)
            sha256 = hashed()
    elif sha256 is None:
        sha256, _ = hashes_of(build, {path})[path]
    spec = build.recipe.sources[name]
    made_of = (sha256, spec.max_members, spec.max_unpacked, spec.max_ratio, spec.name_encoding, _to_unpack(build, name))
    folder = sources / f"{name}-{fingerprint(VERSION, *made_of)[:16]}"
    path_of_index = members / f"{folder.name}.arrow"
    index = read_index(path_of_index) if folder.is_dir() else None
    if index is None:
        fresh = fresh or _unpacked(build, name, path, new)
        index = fresh.staying.table()
        with disk_errors(folder):
            if not is_unchanged(build, path, sha256, stat):
                shutil.rmtree(new)
                raise SourceError(f"{path} changed while it was read", hint="run it again")
            if folder.is_dir():
                shutil.rmtree(folder)  # a build was ended before it could write the index
            new.rename(folder)
            write_index(path_of_index, fresh.staying, sha256=sha256)
        if fresh.junk:
            report.notes.append(f"{name}: {fresh.junk} members of no use (such as __MACOSX) were left out")
    if index.num_rows:
        build.archives[name] = ArchiveInPlace(path, sha256=sha256, stat=stat, folder=folder, index=index)
    return folder, sha256, stat.st_size


def _unpacked(build: Build, name: str, path: Path, folder: Path) -> UnpackReport:
    """Unpack an archive into a folder, which is emptied first, but for what may stay in it."""
    spec = build.recipe.sources[name]
    limits = ArchiveLimits(max_members=spec.max_members, max_bytes=spec.max_unpacked, max_ratio=spec.max_ratio)
    patterns = _to_unpack(build, name)
    stays = None if patterns is None else lambda member: not may_match(member, patterns)
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.is_dir():
            shutil.rmtree(folder)
        return unpack(path, folder, limits, name_encoding=spec.name_encoding, stays=stays)


def _to_unpack(build: Build, name: str) -> list[str] | None:
    """Return the patterns of the annotation files in a source; None: all of it is to be unpacked."""
    rows = [rows for config in build.recipe.configs.values() for _, rows in all_rows(config) if rows.source == name]
    rows = [one for one in rows if one.format != "folder"]
    if any(one.reader is not None for one in rows):
        # a function of the recipe's is given a path, and may look at what lies beside it
        return None
    patterns = [shard_patterns(one.files) if one.format == "webdataset" else one.files for one in rows]
    return sorted({pattern for some in patterns for pattern in some})
