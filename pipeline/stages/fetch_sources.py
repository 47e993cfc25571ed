"""The places of sources: a folder or file of this machine, a repository of a hub, a URL; one after the other."""

from __future__ import annotations

import glob
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from pipeline.errors import SourceError
from pipeline.manifest import fingerprint
from pipeline.network.urls import hide_secrets, parse_url
from pipeline.recipe import all_rows
from pipeline.recipe_spec import HUBS
from pipeline.sources.archive import FORMATS, ArchiveLimits, is_archive, unpack
from pipeline.sources.hub import HubName, HubRepo, snapshot
from pipeline.sources.in_place import ArchiveInPlace, read_index, same_times, write_index
from pipeline.sources.local import may_match
from pipeline.workspace import disk_errors, holding, writing

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pipeline.build import Build
    from pipeline.recipe_spec import PlaceSpec
    from pipeline.report import StageReport

VERSION = 1


def bring_source(build: Build, name: str, report: StageReport) -> tuple[Path, dict[str, Any]]:
    """Return the folder that a source's files are in, and what the manifest says of it.

    Raises:
        SourceError: it can be had from none of its places.
    """
    failed: list[tuple[PlaceSpec, SourceError]] = []
    for place in build.recipe.places(name):
        try:
            found = _bring(build, name, place, report)
        except SourceError as error:
            failed.append((place, error))
        else:
            report.notes += [f"{name}: {_shown(other)} cannot be had: {error.what}" for other, error in failed]
            return found
    if len(failed) == 1:
        raise failed[0][1]
    told = "\n".join(f"  {_shown(place)}: {error.what}" for place, error in failed)
    raise SourceError(f"source {name!r} can be had from none of its places:\n{told}", hint=failed[0][1].hint)


def hashes_of(build: Build, paths: Iterable[Path]) -> dict[Path, tuple[str, int]]:
    """Return sha256 and size of source files, reading only those that changed.

    Raises:
        SourceError: one cannot be read.
    """
    with _reading():
        return build.store.hashes_of(sorted(paths))


def is_unchanged(build: Build, path: Path, sha256: str, stat: os.stat_result) -> bool:
    """Tell whether a source file is the one that was hashed when it was as `stat` says."""
    try:
        now = path.stat()
    except OSError:
        return False
    # a link to it, made by another build, changes its times alone
    return same_times(now, stat) or build.store.is_unchanged(path, sha256, stat.st_size)


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = error.filename or "a source file"
        raise SourceError(f"{place} cannot be read: {error.strerror}", hint="put it back and run it again") from None


def _shown(place: PlaceSpec) -> str:
    return f"{place.kind}: {hide_secrets(getattr(place, place.kind))}"


def _bring(build: Build, name: str, place: PlaceSpec, report: StageReport) -> tuple[Path, dict[str, Any]]:
    if place.path is not None:
        return _local(build, name, (build.recipe.path.parent / place.path).resolve(), report)
    if place.kind in HUBS:
        return _repository(build, name, place, report)
    return _download(build, name, place, report)


def _local(build: Build, name: str, path: Path, report: StageReport) -> tuple[Path, dict[str, Any]]:
    if path.is_dir():
        return path, {"kind": "folder"}
    if not path.is_file():
        raise SourceError(f"source {name!r}: there is no file or folder {path}", hint="mend `path` in the recipe")
    if not is_archive(path):
        return path.parent, {"kind": "file"}
    stat = _stat(path)
    sha256, size = hashes_of(build, {path})[path]
    return _unpacked(build, name, path, report, sha256=sha256, stat=stat), {
        "kind": "archive",
        "sha256": sha256,
        "bytes": size,
    }


def _stat(path: Path) -> os.stat_result:
    with _reading():
        return path.stat()


def _unpacked(build: Build, name: str, path: Path, report: StageReport, *, sha256: str, stat: os.stat_result) -> Path:
    """Unpack an archive, which was as `stat` says before its hash was taken, but for what may stay in it."""
    spec = build.recipe.sources[name]
    limits = ArchiveLimits(max_members=spec.max_members, max_bytes=spec.max_unpacked, max_ratio=spec.max_ratio)
    patterns, stays = _to_unpack(build, name)
    key = fingerprint(
        VERSION, sha256, limits.max_members, limits.max_bytes, limits.max_ratio, spec.name_encoding, patterns
    )
    folder = build.workspace.sources.resolve() / f"{name}-{key[:16]}"
    path_of_index = build.workspace.members / f"{folder.name}.arrow"
    index = read_index(path_of_index)
    if index is None or not folder.is_dir():
        with disk_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            if folder.is_dir():
                shutil.rmtree(folder)  # a build was ended before it could write the index
            unpacked = unpack(path, folder, limits, name_encoding=spec.name_encoding, stays=stays)
            if not is_unchanged(build, path, sha256, stat):
                shutil.rmtree(folder)
                raise SourceError(f"{path} changed while it was read", hint="run it again")
            write_index(path_of_index, unpacked.staying, sha256=sha256)
        index = unpacked.staying.table()
        if unpacked.junk:
            report.notes.append(f"{name}: {unpacked.junk} members of no use (such as __MACOSX) were left out")
    if index.num_rows:
        build.archives[name] = ArchiveInPlace(path, sha256=sha256, stat=stat, folder=folder, index=index)
    return folder


def _to_unpack(build: Build, name: str) -> tuple[list[str] | None, Callable[[str], bool] | None]:
    """Return the patterns of the annotation files in a source, and what members may stay; None: all are unpacked."""
    rows = [rows for config in build.recipe.configs.values() for _, rows in all_rows(config) if rows.source == name]
    if any(one.reader is not None for one in rows):
        # a function of the recipe's is given a path, and may look at what lies beside it
        return None, None
    patterns = sorted({pattern for one in rows for pattern in one.files})
    return patterns, lambda member: not may_match(member, patterns)


def _repository(build: Build, name: str, place: PlaceSpec, report: StageReport) -> tuple[Path, dict[str, Any]]:
    identity = getattr(place, place.kind)
    repo = HubRepo(hub=cast("HubName", place.kind), id=identity, revision=place.revision)
    folder = build.workspace.cache / "hub" / place.kind / identity.replace("/", "--")
    wanted = place.files if place.archive is None else [glob.escape(place.archive)]
    with holding(folder / "lock"):
        found = snapshot(repo, wanted, folder, offline=build.remote.offline)
    if found.unasked:
        report.notes.append(f"{name}: {found.unasked}; taken as it was at the last download, {found.commit[:12]}")
    told = {"kind": place.kind, "repository": identity, "commit": found.commit}
    if place.archive is None:
        return found.folder, told
    path = found.folder / place.archive
    if not is_archive(path):
        raise SourceError(
            f"source {name!r}: {place.archive!r} of {repo} is no archive", allowed=FORMATS, hint="name it under `files`"
        )
    stat = _stat(path)
    sha256, size = hashes_of(build, {path})[path]
    told |= {"archive": place.archive, "sha256": sha256, "bytes": size}
    return _unpacked(build, name, path, report, sha256=sha256, stat=stat), told


def _download(build: Build, name: str, place: PlaceSpec, report: StageReport) -> tuple[Path, dict[str, Any]]:
    assert place.url is not None
    url = parse_url(place.url)
    entry = build.remote.source(url, sha256=place.sha256, row=f"source {name}")
    assert entry.sha256 is not None
    path = build.store.object_path(entry.sha256)
    told = {"kind": "url", "url": url.shown, "sha256": entry.sha256, "bytes": entry.bytes}
    if is_archive(path):
        return _unpacked(build, name, path, report, sha256=entry.sha256, stat=_stat(path)), told
    folder = build.workspace.sources.resolve() / f"{name}-{fingerprint(VERSION, url.key, entry.sha256)[:16]}"
    file = folder / (url.name or name)
    if not file.is_file():
        with writing(file) as temporary:  # no link: nobody who edits it should change the object
            shutil.copyfile(path, temporary)
    return folder, told
