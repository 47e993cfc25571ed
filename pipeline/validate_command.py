"""The command `validate`: what its options mean, and what it prints."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import ByteSize, TypeAdapter, ValidationError

from pipeline.checks.codes import CODES
from pipeline.checks.options import Options
from pipeline.errors import UsageError
from pipeline.executor import InProcess, LocalProcesses, default_workers
from pipeline.load_recipe import load_recipe
from pipeline.report import display_for
from pipeline.run import Folders, build_dataset
from pipeline.validation import validate

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.checks.codes import Look
    from pipeline.checks.report import Report

PROVED = ("SW1", "SW2", "SW3", "SW8")
"""What the build of a recipe proves by itself."""


def run_validate(
    target: Path,
    *,
    quick: bool,
    full: bool,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    load_limit: str,
    as_json: bool,
    workers: int | None,
    work: Path,
    out: Path,
    cache: Path,
    offline: bool,
) -> tuple[str, int]:
    """Check a target; returns what to print, and the exit code.

    Raises:
        UsageError: an option or the target makes no sense.
    """
    if quick and full:
        raise UsageError("--quick and --full exclude each other", allowed="one of them, or neither")
    look: Look = "quick" if quick else "full" if full else "sampled"
    limit = _size(load_limit, "--load-limit")
    options = Options(look=look, select=_codes(select), ignore=_codes(ignore), load_limit=limit)
    folder, notes = target, []
    if not target.is_dir():
        if target.suffix not in (".yaml", ".yml") and not target.is_file():
            raise UsageError(f"there is no recipe and no folder {target}", allowed="a recipe file, or a dataset folder")
        recipe = load_recipe(target)
        folder = out / recipe.name
        options = replace(options, schemas={name: config.schema for name, config in recipe.configs.items()})
        if not quick:
            folders = Folders(work=work, out=out, cache=cache)
            workers = workers or default_workers()
            display = display_for(quiet=as_json)
            build_dataset(
                target,
                folders,
                workers=workers,
                display=display,
                validate_again=True,
                load_limit=limit,
                offline=offline,
            )
            notes.append("card, shards, loading and the build behind them are proved: every row in is out or a reject")
            options = replace(options, ignore=(*options.ignore, *PROVED))
    workers = workers or default_workers()
    with LocalProcesses(workers) if workers > 1 else nullcontext(InProcess()) as executor:
        report = validate(folder, options, executor=executor)
    report.notes += notes
    code = 0 if report.ok else 1
    return (json.dumps(report.as_json(), indent=1) if as_json else _table(report)), code


def _table(report: Report) -> str:
    """Return what people read."""
    lines = [str(report)] if report.problems else []
    lines += [f"note: {note}" for note in report.notes]
    facts = report.facts
    told = f"{facts.get('rows', 0):,} rows in {facts.get('shards', 0):,} shards"
    if report.ok:
        looked = " in the card and the footers" if report.look == "quick" else ""
        extra = f"; {report.warnings:,} warnings" if report.warnings else ""
        lines.append(f"{report.target}: {told}, nothing wrong{looked}{extra}")
    else:
        lines.append(f"{report.target}: {told}, {report.errors:,} errors, {report.warnings:,} warnings")
    return "\n".join(lines)


def _codes(given: tuple[str, ...]) -> tuple[str, ...]:
    """Return codes or their beginnings, which may be joined by commas."""
    codes = tuple(code.strip().upper() for text in given for code in text.split(",") if code.strip())
    for code in codes:
        if not any(known.startswith(code) for known in CODES):
            raise UsageError(f"there is no code {code!r}", allowed="those of docs/checks.md, or their beginnings: SW1")
    return codes


def _size(text: str, option: str) -> int:
    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        raise UsageError(f"{option} {text!r} is not a size", allowed="e.g. 500MB, 20GB") from None
