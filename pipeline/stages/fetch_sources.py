"""The places of sources: a folder or file of this machine, a repository of a hub, a URL; one after the other."""

from __future__ import annotations

import glob
import shutil
from typing import TYPE_CHECKING, Any, cast

from pipeline.errors import SourceError
from pipeline.manifest import fingerprint
from pipeline.network.urls import hide_secrets, parse_url
from pipeline.recipe import all_rows
from pipeline.recipe_spec import HUBS
from pipeline.sources.archive import FORMATS, is_archive
from pipeline.sources.hub import HubName, HubRepo, snapshot
from pipeline.stages.take_archive import take_archive
from pipeline.workspace import holding, writing

if TYPE_CHECKING:
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


def _shown(place: PlaceSpec) -> str:
    return f"{place.kind}: {hide_secrets(getattr(place, place.kind))}"


def _bring(build: Build, name: str, place: PlaceSpec, report: StageReport) -> tuple[Path, dict[str, Any]]:
    if place.path is not None:
        return _local(build, name, (build.recipe.path.parent / place.path).resolve(), report)
    if place.dataset is not None:
        return _dataset(build, name)
    if place.kind in HUBS:
        return _repository(build, name, place, report)
    return _download(build, name, place, report)


def _local(build: Build, name: str, path: Path, report: StageReport) -> tuple[Path, dict[str, Any]]:
    if path.is_dir():
        return path, {"kind": "folder"}
    if not path.is_file():
        raise SourceError(f"source {name!r}: there is no file or folder {path}", hint="mend `path` in the recipe")
    if not is_archive(path) or _holds_samples(build, name):
        return path.parent, {"kind": "file"}
    folder, sha256, size = take_archive(build, name, path, report)
    return folder, {"kind": "archive", "sha256": sha256, "bytes": size}


def _holds_samples(build: Build, name: str) -> bool:
    """Tell whether a source that is an archive is read as a WebDataset shard, and not as what is in it."""
    rows = [rows for config in build.recipe.configs.values() for _, rows in all_rows(config) if rows.source == name]
    return bool(rows) and all(one.format == "webdataset" for one in rows)


def _dataset(build: Build, name: str) -> tuple[Path, dict[str, Any]]:
    """Return the dataset of another recipe, which was built before this one."""
    recipe = build.recipe.members[name]
    folder = build.workspace.out.parent.resolve() / recipe.name
    if not folder.is_dir():
        raise SourceError(f"source {name!r}: there is no dataset {folder}", hint=f"build {recipe.path} first")
    return folder, {"kind": "dataset", "name": recipe.name}


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
    inside, sha256, size = take_archive(build, name, path, report)
    return inside, told | {"archive": place.archive, "sha256": sha256, "bytes": size}


def _download(build: Build, name: str, place: PlaceSpec, report: StageReport) -> tuple[Path, dict[str, Any]]:
    assert place.url is not None
    url = parse_url(place.url)
    entry = build.remote.source(url, sha256=place.sha256, row=f"source {name}")
    assert entry.sha256 is not None
    path = build.store.object_path(entry.sha256)
    told = {"kind": "url", "url": url.shown, "sha256": entry.sha256, "bytes": entry.bytes}
    if is_archive(path) and not _holds_samples(build, name):
        return take_archive(build, name, path, report, sha256=entry.sha256)[0], told
    folder = build.workspace.sources.resolve() / f"{name}-{fingerprint(VERSION, url.key, entry.sha256)[:16]}"
    file = folder / (url.name or name)
    if not file.is_file():
        with writing(file) as temporary:  # no link: nobody who edits it should change the object
            shutil.copyfile(path, temporary)
    return folder, told
