"""Shard: write the samples of each split into Parquet shards, each an independent task with the same bytes anywhere.

A shard's name, rows and row groups are decided here, from the plan alone; a task then reads its rows and its media,
checks every medium against its hash, writes to a temporary name, and renames it. A shard is not written again when the
last build, or one that was ended before it was done, made one of the same: from the same places (its key), or, where
those are others, of the same values and media (its content). It then keeps its file, under another name if need be.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.column_type import feature_json
from pipeline.content_hash import ContentHash
from pipeline.cutting import MOST_JOINED, cut, joinable
from pipeline.errors import SourceError
from pipeline.manifest import fingerprint
from pipeline.recorded_bytes import writer_rows
from pipeline.report import StageReport
from pipeline.row_file import read_rows
from pipeline.stages.beside import BesideTask, beside_tasks, write_beside
from pipeline.stages.cache import plan_path
from pipeline.stages.changes import overlay
from pipeline.stages.convert import records_path
from pipeline.stages.write_shard import VERSION, ShardPart, ShardTask, content_of, write_shard
from pipeline.workspace import disk_errors, read_json, remove_leftovers, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.build import Build

NAME = "shard"

OURS = re.compile(
    r"[^/.][^/]*/[^/]+-\d{5,}-of-\d{5,}\.parquet|media/[^/]+-\d{5,}\.tar|media/[^/]+/[0-9a-f]{2}/[0-9a-f]{64}\.\w+"
    r"|(?:[^/.][^/]*/)*\.tmp-[0-9a-f]+-[^/]+"
)
"""What a build writes below the output folder, besides README.md; nothing else there is ever removed."""


def run(build: Build) -> StageReport:
    """Write every shard that is not there yet, and remove those of earlier builds.

    Raises:
        SourceError: a medium changed or vanished since it was cached.
        WorkspaceError: the output folder is full or cannot be written.
    """
    report = StageReport(stage=NAME)
    settings = build.recipe.spec.shards.model_dump(mode="json")
    former = _Former(build)
    shards: dict[str, Any] = {}
    tasks: list[ShardTask] = []
    beside: list[BesideTask] = []
    for config in build.recipe.configs.values():
        samples = read_rows(build.workspace.kept(config.name, "split"))
        paths, mine = ({}, []) if build.recipe.embedded else beside_tasks(build, config.name, samples)
        beside += mine
        for number, split in enumerate(config.splits):
            chosen = samples.filter(pa.compute.equal(samples.column("split"), number))
            for task in _shards_of_split(build, config.name, split, chosen, paths):
                shards[task.name] = former.find(task)
                if shards[task.name] is None:
                    tasks.append(task)
    # a shard of before that lies under another name now is a change as well
    report.skipped = not tasks and shards.keys() == former.names
    with build.display.stage(NAME, sum(task.rows for task in tasks), "rows") as progress:
        work = sum(task.bytes for task in tasks)
        for result in build.executor.map(write_shard, tasks, work_bytes=work, advance=progress.advance):
            shards[result["name"]] = {name: value for name, value in result.items() if name != "name"}
            write_json(_facts_path(build, result["name"]), shards[result["name"]])
    written = [task.path for task in tasks]
    looked_ns = time.time_ns()
    stats = [(path, path.stat(), shards[task.name]["sha256"]) for path, task in zip(written, tasks, strict=True)]
    build.store.adopt(stats, looked_ns=looked_ns)
    kept_beside = write_beside(build, beside, report)
    _forget_old(build, {*shards, *kept_beside})
    report.rows_in = report.rows_out = sum(shard["rows"] for shard in shards.values())
    report.media = sum(shard["media"] for shard in shards.values())
    report.bytes = sum(shard["bytes"] for shard in shards.values()) + sum(
        file["bytes"] for file in kept_beside.values()
    )
    keys = {name: shard["key"] for name, shard in shards.items()}
    entry = {"fingerprint": fingerprint(VERSION, settings, keys), "shards": shards, "beside": kept_beside}
    build.manifest.record(NAME, entry)
    remove_leftovers(build.workspace.shards, set())
    return report


class _Former:
    """The shards of the last build, and of one that was ended before it was done."""

    def __init__(self, build: Build) -> None:
        self._build = build
        shards = build.manifest.stages.get(NAME, {}).get("shards", {})
        self.names = set(shards)
        self._shards: dict[str, Any] = {**shards, **_unfinished(build)}
        self._by_key = {facts["key"]: name for name, facts in self._shards.items()}
        self._by_content = {facts["content"]: name for name, facts in self._shards.items()}
        self._rows = {facts["rows"] for facts in self._shards.values()}

    def find(self, task: ShardTask) -> dict[str, Any] | None:
        """Return the facts of a shard that is there already, brought under its new name; None: it must be written."""
        name = task.name if self._shards.get(task.name, {}).get("key") == task.key else self._by_key.get(task.key)
        if name is None and task.rows in self._rows:
            content = content_of(task)
            here = self._shards.get(task.name, {}).get("content") == content
            name = task.name if here else self._by_content.get(content)
        if name is None:
            return None
        facts = {**self._shards[name], "key": task.key}
        path = self._build.workspace.out.absolute() / name
        if not self._build.store.is_unchanged(path, facts["sha256"], facts["bytes"]):
            return None
        if path != task.path and not self._link(path, task.path, facts["sha256"]):
            return None
        if path != task.path or facts != self._shards[name]:
            write_json(_facts_path(self._build, task.name), facts)
        return facts

    def _link(self, path: Path, new: Path, sha256: str) -> bool:
        # what lies there may be needed under another name in its turn
        if new.exists():
            return False
        looked_ns = time.time_ns()
        try:
            os.link(path, new)
        except OSError:  # no disk for that
            return False
        self._build.store.adopt([(new, new.stat(), sha256)], looked_ns=looked_ns)
        return True


def _facts_path(build: Build, name: str) -> Path:
    return build.workspace.shards / f"{name}.json"


def _unfinished(build: Build) -> dict[str, Any]:
    """Return the facts of the shards that the last build wrote, if it ended before it could say so in the manifest."""
    folder = build.workspace.shards
    found = {path.relative_to(folder).as_posix()[: -len(".json")]: read_json(path) for path in folder.glob("*/*.json")}
    return {name: facts for name, facts in found.items() if facts is not None}


def _forget_old(build: Build, names: set[str]) -> None:
    """Remove the shards and media of earlier builds, and what a killed build left, from the output folder."""
    out = build.workspace.out
    with disk_errors(out):
        for path in sorted(out.rglob("*"), reverse=True):
            name = path.relative_to(out).as_posix()
            if name not in names and OURS.fullmatch(name) and not path.is_dir():
                path.unlink()
                for folder in path.relative_to(out).parents:
                    if folder.name and not any((out / folder).iterdir()):
                        (out / folder).rmdir()


def _shards_of_split(
    build: Build, config: str, split: str, samples: pa.Table, paths: dict[str, str]
) -> Iterator[ShardTask]:
    """Cut the samples of one split into shards and row groups."""
    limits = build.recipe.spec.shards
    files = build.files_of(config)
    changes = overlay(build.workspace.changes(config))
    numbers, rows = samples.column("file").to_numpy(), samples.column("row").to_numpy()
    schema = build.recipe.configs[config].schema
    features = [feature_json(column.type, embedded=build.recipe.embedded) for column in schema.columns.values()]
    weights = samples.column("bytes").to_numpy()
    units = joinable(weights, writer_rows(features))
    if units is None:
        raise SourceError(
            f"{config}/{split}: two rows in a row are over {MOST_JOINED:,} bytes, which `datasets` cannot load",
            hint="say `shards: {media: files}`, or leave such rows out with `curate: [{video: {max_bytes: 1GB}}]`",
        )
    heavy = np.add.reduceat(weights, units) if len(units) else weights
    firsts = np.append(units, len(weights))
    limit = limits.max_bytes if len(units) == len(weights) else min(limits.max_bytes, MOST_JOINED // 2)
    borders = cut(heavy, limit)
    for position, (start_unit, end_unit) in enumerate(borders):
        start, end = int(firsts[start_unit]), int(firsts[end_unit])
        name = f"{config}/{split}-{position:05d}-of-{len(borders):05d}.parquet"
        groups: list[tuple[ShardPart, ...]] = []
        identity: list[Any] = []
        for first, last in cut(heavy[start_unit:end_unit], min(limits.row_group_bytes, MOST_JOINED)):
            group = slice(int(firsts[start_unit + first]), int(firsts[start_unit + last]))
            parts = []
            for number in np.unique(numbers[group]):
                mine = rows[group][numbers[group] == number]
                file = files[number]
                parts.append(
                    ShardPart(
                        records=records_path(build.workspace, file),
                        plan=plan_path(build, file),
                        rows=mine,
                        changes=changes.path,
                        number=int(number),
                    )
                )
                changed = changes.values_hash(int(number), mine)
                identity.append([file.key, hashlib.sha256(mine.tobytes()).hexdigest(), *([changed] if changed else [])])
            groups.append(tuple(parts))
            identity.append("group")
        here = samples.slice(start, end - start)
        media = ContentHash()
        for column in ("media", "columns"):
            media.add(column, here.column(column))
        content = [pa.__version__, schema.source, build.recipe.embedded, identity, media.hexdigest()]
        published = pc.list_flatten(here.column("media")).unique().to_pylist() if paths else []
        beside = {sha256: paths[sha256] for sha256 in published}
        task = ShardTask(
            name=name,
            path=build.workspace.out.absolute() / name,
            schema=schema,
            embedded=build.recipe.embedded,
            cache=build.workspace.cache,
            groups=tuple(groups),
            beside=beside,
            bytes=int(weights[start:end].sum()),
            rows=end - start,
        )
        yield replace(task, key=fingerprint(VERSION, content, beside))
