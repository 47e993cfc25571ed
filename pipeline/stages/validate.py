"""Validate: prove a dataset folder: card against shards, loading with every check on, and the build behind it."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from pipeline.checks.against_build import check_rows, check_shards
from pipeline.checks.card_and_shards import check_counts, check_features, check_membership, check_names
from pipeline.checks.folder import read_folder
from pipeline.checks.loads import check_loads
from pipeline.errors import ProblemsFound
from pipeline.manifest import fingerprint
from pipeline.report import StageReport

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.build import Build
    from pipeline.checks.problem import Problem
    from pipeline.report import Progress

VERSION = 1
NAME = "validate"
CHECKS = 7
"""Of a build: those of its folder, loading, rows in and out, and shards against the plan."""
LOAD_LIMIT = 10_000_000_000
"""Bytes of shards up to which `load_dataset` loads everything; it writes them all once more into a cache."""


def run(build: Build, *, again: bool = False, load_limit: int = LOAD_LIMIT) -> StageReport:
    """Prove the dataset of a build; what was proved and has not changed is not proved again unless asked.

    Raises:
        ProblemsFound: at least one check found an error.
    """
    report = StageReport(stage=NAME)
    stages = build.manifest.stages
    versions = {name: version(name) for name in ("datasets", "pyarrow")}
    key = fingerprint(VERSION, stages["shard"]["fingerprint"], stages["card"]["card"], versions)
    if not again and stages.get(NAME, {}).get("fingerprint") == key and stages["shard"].get("shards") is not None:
        report.skipped = True
        return report
    with build.display.stage(NAME, CHECKS, "checks") as progress:
        out, scratch = build.workspace.out, build.workspace.work
        problems = validate_folder(out, load_limit=load_limit, scratch=scratch, progress=progress)
        problems += check_rows(build)
        progress.advance()
        problems += check_shards(build)
        progress.advance()
    report.rows_in = report.rows_out = sum(shard["rows"] for shard in stages["shard"]["shards"].values())
    report.bytes = sum(shard["bytes"] for shard in stages["shard"]["shards"].values())
    report.notes = [str(problem) for problem in problems if problem.severity == "warning"]
    raise_errors(problems)
    build.manifest.record(NAME, {"fingerprint": key, "versions": versions})
    return report


def validate_folder(
    folder: Path,
    *,
    load_limit: int = LOAD_LIMIT,
    scratch: Path | None = None,
    progress: Progress | None = None,
    quick: bool = False,
) -> list[Problem]:
    """Prove a dataset folder, made by us or not; returns what is wrong, the card first.

    `quick` looks at the card and the footers alone: no row is read, and nothing is loaded.
    """
    found, problems = read_folder(folder)
    if found is None:
        return problems
    for check in (check_names, check_membership, partial(check_counts, quick=quick), check_features):
        problems += check(found)
        if progress is not None:
            progress.advance()
    if quick:
        return problems
    if found.splits and not any(problem.severity == "error" for problem in problems):
        problems += check_loads(found, max_bytes=load_limit, scratch=scratch)
    if progress is not None:
        progress.advance()
    return problems


def raise_errors(problems: list[Problem]) -> None:
    """Raise ProblemsFound when any problem is an error."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ProblemsFound(f"{len(errors)} problem{'s' if len(errors) != 1 else ''} found:\n{lines}")
