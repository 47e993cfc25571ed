"""Validate: prove a dataset folder: card against shards, loading with every check on, and the build behind it."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from pipeline.checks.against_build import check_rows, check_shards
from pipeline.checks.options import LOAD_LIMIT, Options
from pipeline.errors import ProblemsFound
from pipeline.manifest import fingerprint
from pipeline.report import StageReport
from pipeline.validation import CARD_CHECKS, validate

if TYPE_CHECKING:
    from pipeline.build import Build
    from pipeline.checks.report import Report

VERSION = 2
NAME = "validate"
PROVED_BY_THE_BUILD = ("SW4", "SW5", "SW6", "SW7")
"""Rows, media and leaks: the stages before this one let nothing through that these checks would find."""


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
    with build.display.stage(NAME, len(CARD_CHECKS) + 2, "checks") as progress:
        options = Options(ignore=PROVED_BY_THE_BUILD, load_limit=load_limit, scratch=build.workspace.work)
        found = validate(build.workspace.out, options, executor=build.executor, progress=progress)
        found.add(check_rows(build))
        progress.advance()
        found.add(check_shards(build))
        progress.advance()
    report.rows_in = report.rows_out = sum(shard["rows"] for shard in stages["shard"]["shards"].values())
    report.bytes = sum(shard["bytes"] for shard in stages["shard"]["shards"].values())
    report.notes = [str(problem) for problem in found.problems if problem.severity == "warning"]
    raise_errors(found)
    build.manifest.record(NAME, {"fingerprint": key, "versions": versions})
    return report


def raise_errors(found: Report) -> None:
    """Raise ProblemsFound when there is any error."""
    if found.errors:
        lines = "\n".join(f"  {line}" for line in str(found).splitlines())
        raise ProblemsFound(f"{found.errors} problem{'s' if found.errors != 1 else ''} found:\n{lines}")
