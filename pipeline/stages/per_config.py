"""What curate and split share: kept samples and rejects by config, made again only when their key changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.build import add_up
from pipeline.report import StageReport
from pipeline.workspace import read_json, remove_file, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.build import Build
    from pipeline.recipe import Config


def run_per_config(
    build: Build, stage: str, keys: dict[str, str], work: Callable[[Build, Config], dict[str, Any]]
) -> tuple[StageReport, dict[str, dict[str, Any]]]:
    """Run `work` for each config whose key is not that of its last result.

    `work` writes the kept samples and the rejects of its stage and config, and returns rows_in, rows_out and rejected,
    and what else there is to say. Returns the report, and what was said of each config.
    """
    results: dict[str, dict[str, Any]] = {}
    skipped = True
    with build.display.stage(stage, len(build.recipe.configs), "configs") as progress:
        for config in build.recipe.configs.values():
            kept = build.workspace.kept(config.name, stage)
            meta_file = kept.with_suffix(".json")
            meta = read_json(meta_file)
            files = [kept, build.workspace.rejects(stage, config.name)]
            if meta is not None and "changed" in meta:
                files += [build.workspace.changes(config.name), build.workspace.changed_values(config.name)]
            files_there = all(file.is_file() for file in files)
            if meta is None or meta["key"] != keys[config.name] or not files_there:
                skipped = False
                remove_file(meta_file)  # a kill from here on must not leave it to describe files of another key
                meta = {"key": keys[config.name], **work(build, config)}
                write_json(meta_file, meta)
            results[config.name] = {name: value for name, value in meta.items() if name != "key"}
            progress.advance()
    return StageReport(stage=stage, skipped=skipped, **add_up(list(results.values()))), results
