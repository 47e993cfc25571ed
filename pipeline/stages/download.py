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
from pipeline.stages.fetch_sources import bring_source
from pipeline.stages.source_hashes import hashes_of
from pipeline.workspace import disk_errors, remove_leftovers

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from pipeline.build import Build
    from pipeline.readers.record import Part, ReadOptions

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
    _forget_old(build)
    files = []
    reading = set()
    for config in recipe.configs.values():
        for split, rows in all_rows(config):
            source = str(rows.source)
            for name, path in _expanded(build, source, rows.files):
                files.append(
                    AnnotationFile(
                        config=config.name, split=split, source=source, name=name, path=path, sha256="", size=0
                    )
                )
                if rows.reader is None:
                    reading.add((path, read_options(rows)))
    build.executor.expect(sum(file.path.stat().st_size for file in files))
    with ThreadPoolExecutor(1) as aside:
        build.cuts = _begin_to_cut(build, reading, aside)
        hashes = hashes_of(build, {file.path for file in files})
    build.files = [replace(file, sha256=hashes[file.path][0], size=hashes[file.path][1]) for file in files]
    for file in build.files:
        found[file.source].setdefault("files", {})[file.name] = {"sha256": file.sha256, "bytes": file.size}
    report.bytes = sum(size for _, size in hashes.values())
    entry = {"fingerprint": fingerprint(VERSION, found), "sources": found}
    report.skipped = build.manifest.stages.get(NAME) == entry
    build.manifest.record(NAME, entry)
    return report


def _forget_old(build: Build) -> None:
    """Remove what was unpacked from archives of another content, and what a killed build left half unpacked."""
    folder = build.workspace.sources
    keep = {root.name for root in build.roots.values() if root.parent == folder.resolve()}
    with disk_errors(folder):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in keep:
                shutil.rmtree(path)
    remove_leftovers(build.workspace.members, {build.workspace.members / f"{name}.arrow" for name in keep})


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
