"""Download: make every source a folder on this machine, and find the annotation files in it.

Local folders are used in place. Archives are unpacked into the workspace, once for each content; but media that an
archive holds as they are stay in it, and only where they lie is written down.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.build import AnnotationFile
from pipeline.manifest import fingerprint
from pipeline.readers.options import read_options
from pipeline.readers.parts import cut_into_parts, is_large
from pipeline.recipe import all_rows
from pipeline.report import StageReport
from pipeline.sources.local import expand
from pipeline.sources.webdataset import shard_patterns
from pipeline.stages.fetch_sources import bring_source
from pipeline.stages.list_rows import list_folder, list_shards
from pipeline.stages.source_hashes import hashes_of
from pipeline.workspace import disk_errors, remove_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from pipeline.build import Build
    from pipeline.readers.record import Part, ReadOptions
    from pipeline.stages.list_rows import TakenShard

VERSION = 1
NAME = "download"


def run(build: Build) -> StageReport:
    """Fill `build.roots` and `build.files`.

    Raises:
        SourceError: a source or one of its files is missing, or an archive is refused.
    """
    report = StageReport(stage=NAME, skipped=True)
    recipe = build.recipe
    found = {}
    with build.display.stage(NAME, len(recipe.sources), "sources") as progress:
        for name in recipe.sources:
            build.roots[name], found[name] = bring_source(build, name, report)
            progress.advance()
    files, reading, shards = _files_of(build, report)
    _forget_old(build, shards, {file.path for file in files})
    build.executor.expect(sum(file.path.stat().st_size for file in files))
    with ThreadPoolExecutor(1) as aside:
        build.cuts = _begin_to_cut(build, reading, aside)
        hashes = hashes_of(build, {file.path for file in files})
    build.files = [replace(file, sha256=hashes[file.path][0], size=hashes[file.path][1]) for file in files]
    for file in build.files:
        found[file.source].setdefault("files", {})[file.name] = {"sha256": file.sha256, "bytes": file.size}
    for shard in shards:
        found[shard.source].setdefault("shards", {})[shard.name] = {"sha256": shard.sha256, "bytes": shard.size}
    report.bytes = sum(size for _, size in hashes.values()) + sum(shard.size for shard in shards)
    entry = {"fingerprint": fingerprint(VERSION, found), "sources": found}
    report.skipped = build.manifest.stages.get(NAME) == entry
    build.manifest.record(NAME, entry)
    return report


def _files_of(
    build: Build, report: StageReport
) -> tuple[list[AnnotationFile], set[tuple[Path, ReadOptions]], list[TakenShard]]:
    """Return the annotation files of all rows, those that a reader of ours reads and how, and the shards among them."""
    files: list[AnnotationFile] = []
    reading: list[ReadOptions | None] = []
    for config in build.recipe.configs.values():
        for split, rows in all_rows(config):
            source = str(rows.source)
            if rows.format == "folder":
                found = [list_folder(build, source, rows.files)]
            else:
                patterns = shard_patterns(rows.files) if rows.format == "webdataset" else rows.files
                found = _expanded(build, source, patterns)
            for name, path in found:
                file = AnnotationFile(
                    config=config.name, split=split, source=source, name=name, path=path, sha256="", size=0
                )
                files.append(file)
                reading.append(read_options(rows) if rows.reader is None else None)
    numbers = [number for number, options in enumerate(reading) if options and options.format == "webdataset"]
    tars = [(files[number].source, files[number].name, files[number].path) for number in numbers]
    shards = list_shards(build, tars, report)
    for number in numbers:
        listing = shards[files[number].source, files[number].path].listing
        files[number] = replace(files[number], path=listing)
    read = {(file.path, options) for file, options in zip(files, reading, strict=True) if options is not None}
    return files, read, list(shards.values())


def _forget_old(build: Build, shards: Iterable[TakenShard], files: set[Path]) -> None:
    """Remove what was unpacked and listed of another content, and what a killed build left half unpacked."""
    folder, members = build.workspace.sources, build.workspace.members
    of_shards = {path for shard in shards for path in shard.kept}
    keep = {root.name for root in build.roots.values() if root.parent == folder.resolve()}
    with disk_errors(folder):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in keep and path.resolve() not in of_shards:
                shutil.rmtree(path)
    remove_leftovers(members, {members / f"{name}.arrow" for name in keep} | of_shards)
    remove_leftovers(build.workspace.listings, files)


def _begin_to_cut(
    build: Build, reading: set[tuple[Path, ReadOptions]], aside: Executor
) -> dict[tuple[Path, ReadOptions], Future[list[Part]]]:
    """Let the parts of large files that are new be found aside: that takes as long as to hash them."""
    stats = {path: path.stat() for path, _ in reading}
    known = build.store.known_files(stats.items())
    new = sorted((key for key in reading if key[0] not in known and is_large(stats[key[0]].st_size)), key=str)
    return {key: aside.submit(cut_into_parts, *key) for key in new}


def _expanded(build: Build, source: str, patterns: list[str]) -> list[tuple[str, Path]]:
    root = build.roots[source]
    staying = build.archives[source].names if source in build.archives else ()
    return [(path.relative_to(root).as_posix(), path) for path in expand(root, patterns, others=staying)]
