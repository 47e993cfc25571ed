"""The order of the product, and the driver that runs it: recipe in, proved dataset out."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.build import Build
from pipeline.changed_values import gather_changed
from pipeline.checks.options import LOAD_LIMIT
from pipeline.executor import InProcess, LocalProcesses
from pipeline.load_recipe import load_recipe
from pipeline.manifest import ORDER, Manifest
from pipeline.media.examiners import Examiners
from pipeline.media.store import MediaStore
from pipeline.media.store_care import in_use
from pipeline.network.limits import FetchLimits
from pipeline.network.remote_media import RemoteMedia
from pipeline.rejects import REJECTING, check_share, check_unread, gather_rejects
from pipeline.stages import cache, card, convert, curate, download, shard, split, validate
from pipeline.workspace import Workspace, disk_errors, locked, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.recipe import Recipe
    from pipeline.report import Display, StageReport

STAGES: tuple[tuple[str, Callable[[Build], StageReport]], ...] = (
    ("download", download.run),  # every source a folder on this machine
    ("convert", convert.run),  # raw records to rows of the schema
    ("cache", cache.run),  # media found, hashed, probed
    ("curate", curate.run),  # what the recipe does not want is left out
    ("split", split.run),  # no picture or clip on two sides
    ("shard", shard.run),  # Parquet
    ("card", card.run),  # README.md, computed from the shards
    ("validate", validate.run),  # proved
)
STAGE_NAMES = tuple(name for name, _ in STAGES)
assert ORDER[: len(STAGE_NAMES)] == STAGE_NAMES


@dataclass(frozen=True, kw_only=True)
class Folders:
    """The roots below which datasets are built."""

    work: Path
    out: Path
    cache: Path


@dataclass(kw_only=True)
class BuildReport:
    """What a build did."""

    name: str
    out: Path
    rejected: Path
    stages: list[StageReport]

    @property
    def rows_in(self) -> int:
        """Raw records read."""
        return next((stage.rows_in for stage in self.stages if stage.stage == "convert"), 0)

    @property
    def reasons(self) -> dict[str, int]:
        """Reason -> rows left out, over all stages."""
        total: dict[str, int] = {}
        for stage in self.stages:
            for reason, count in stage.rejected.items():
                total[reason] = total.get(reason, 0) + count
        return dict(sorted(total.items()))


def build_dataset(
    recipe_path: Path,
    folders: Folders,
    *,
    workers: int,
    display: Display,
    upto: str = "validate",
    validate_again: bool = False,
    load_limit: int = LOAD_LIMIT,
    offline: bool = False,
    retry: bool = False,
    retry_status: int | None = None,
) -> BuildReport:
    """Run every stage up to and including `upto`; what has not changed since the last build is not done again.

    Datasets of other recipes that are sources of this one are built and proved before.

    `offline` touches no network. `retry` asks again for media that could not be had for good, or for those of them
    that a server answered with `retry_status`.

    Raises:
        ShardwrightError: with what is wrong, what is allowed and what to do; what was done stays.
    """
    recipe = load_recipe(recipe_path)
    for member in dict.fromkeys(member.path for member in recipe.members.values()):
        build_dataset(member, folders, workers=workers, display=display, offline=offline)
    workspace = Workspace(
        work=folders.work / recipe.name, out=folders.out / recipe.name, cache=folders.cache.absolute()
    )
    reports: list[StageReport] = []
    with ExitStack() as stack:
        stack.enter_context(disk_errors(workspace.work, doing="use"))
        stack.enter_context(locked(workspace.work))
        stack.enter_context(in_use(workspace.cache, workspace.work))
        executor = stack.enter_context(LocalProcesses(workers)) if workers > 1 else InProcess()
        store = stack.enter_context(MediaStore(workspace.cache))
        examiners = stack.enter_context(Examiners(workers))
        build = Build(
            recipe=recipe,
            workspace=workspace,
            store=store,
            executor=executor,
            examiners=examiners,
            remote=stack.enter_context(
                RemoteMedia(
                    cache=workspace.cache,
                    store=store,
                    examiners=examiners,
                    limits=_fetch_limits(recipe),
                    offline=offline,
                    retry=retry,
                    retry_status=retry_status,
                )
            ),
            display=display,
            manifest=Manifest.load(workspace.manifest, recipe.name),
        )
        other = _other_recipe(workspace, recipe)
        for name, stage in STAGES:
            started = time.monotonic()
            if name == "validate":
                report = validate.run(build, again=validate_again, load_limit=load_limit)
            else:
                report = stage(build)
            if name in REJECTING:
                _gather(build, upto=name, keep=report.skipped)
            if name == "curate" and not (report.skipped and workspace.changed.is_file()):
                gather_changed([workspace.changed_values(config) for config in recipe.configs], workspace.changed)
            report.seconds = time.monotonic() - started
            if other and not reports:
                report.notes.append(f"this dataset was last built from another recipe of the same name: {other}")
            reports.append(report)
            if name == upto:
                break
    return BuildReport(name=recipe.name, out=workspace.out, rejected=workspace.rejected, stages=reports)


def _fetch_limits(recipe: Recipe) -> FetchLimits:
    spec = recipe.spec.fetch
    return FetchLimits(
        allow_hosts=frozenset(host.lower() for host in spec.allow_hosts),
        max_bytes=int(spec.max_bytes),
        per_host=spec.per_host,
        per_second=spec.per_second,
        tries=spec.tries,
    )


def _other_recipe(workspace: Workspace, recipe: Recipe) -> str | None:
    """Return the recipe that this workspace was last built from, when it is another one; note the one of now."""
    here = str(recipe.path.resolve())
    before = read_json(workspace.recipe)
    if before != here:
        write_json(workspace.recipe, here)
    return before if before not in (None, here) else None


def _gather(build: Build, *, upto: str, keep: bool) -> None:
    """Put the rejects so far into one file, and stop the build when they are more than the recipe allows."""
    workspace = build.workspace
    if keep and upto != REJECTING[-1] and workspace.rejected.is_file():
        return
    paths: list[Path] = []
    for stage in REJECTING[: REJECTING.index(upto) + 1]:
        if stage == "convert":
            paths += [convert.rejects_path(workspace, file) for file in build.files]
        elif stage == "cache":
            paths += [cache.rejects_path(build, file) for file in build.files]
        else:
            paths += [workspace.rejects(stage, config) for config in build.recipe.configs]
    gather_rejects(paths, workspace.rejected)
    configs = build.manifest.stages["convert"]["configs"].values()
    rows_in, size, unread = (sum(config[name] for config in configs) for name in ("rows_in", "bytes", "unread"))
    limit = build.recipe.spec.rejects.max_share
    check_unread(paths, size=size, unread=unread, max_share=limit)
    check_share(paths, rows_in=rows_in, max_share=limit, where=workspace.rejected)
