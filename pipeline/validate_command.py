"""The command `validate`: what its options mean, and what it prints."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ByteSize, TypeAdapter, ValidationError

from pipeline.checks.budget_text import budget_lines
from pipeline.checks.codes import CODES
from pipeline.checks.dataset import read_dataset
from pipeline.checks.files import LocalFiles
from pipeline.checks.hub_files import HubFiles, hub_target
from pipeline.checks.options import Options
from pipeline.errors import SourceError, UsageError
from pipeline.executor import InProcess, LocalProcesses, default_workers
from pipeline.load_recipe import load_recipe
from pipeline.mend_card import mend, plan_mending
from pipeline.report import display_for
from pipeline.run import Folders, build_dataset
from pipeline.schema import load_schema
from pipeline.sources.hub import snapshot
from pipeline.tokens.cost import FAMILIES, family_of
from pipeline.validation import validate
from pipeline.workspace import holding

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.checks.codes import Look
    from pipeline.checks.report import Report
    from pipeline.mend_card import Mending
    from pipeline.report import Display
    from pipeline.schema import Schema
    from pipeline.sources.hub import HubRepo

PROVED = ("SW1", "SW2", "SW3", "SW8")
"""What the build of a recipe proves by itself."""
HUGGING_FACES_OWN = ("SW112", "SW113", "SW114")
"""What another hub has other lists for."""


def run_validate(
    target: Path,
    *,
    quick: bool,
    full: bool,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    load_limit: str,
    group: str | None,
    schema: Path | None,
    budget: str | None,
    max_tokens: int | None,
    fix: bool,
    may_write: Callable[[str], bool],
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
        SourceError: a dataset of a hub cannot be had.
    """
    if quick and full:
        raise UsageError("--quick and --full exclude each other", allowed="one of them, or neither")
    look: Look = "quick" if quick else "full" if full else "sampled"
    limit = _size(load_limit, "--load-limit")
    if budget is None and max_tokens is not None:
        raise UsageError("--max-tokens stands beside --budget", allowed=f"--budget {' or '.join(FAMILIES)}")
    if budget is not None:
        family_of(budget)
    options = Options(
        look=look,
        select=_codes(select),
        ignore=_codes(ignore),
        load_limit=limit,
        group=group,
        budget=budget,
        max_tokens=max_tokens,
    )
    workers = workers or default_workers()
    display = display_for(quiet=as_json)
    there: Path | HubFiles = target
    notes: list[str] = []
    repo = None if target.exists() or target.suffix in (".yaml", ".yml") else hub_target(str(target))
    if fix and (repo is not None or not target.is_dir()):
        hint = "build a recipe's dataset again; download one of a hub, and mend the folder"
        raise UsageError(f"--fix mends a dataset folder, which {target} is not", hint=hint)
    if repo is not None:
        there, options, notes = _on_hub(target, repo, options, cache=cache, offline=offline, display=display)
    elif not target.is_dir():
        if target.suffix not in (".yaml", ".yml") and not target.is_file():
            allowed = "a recipe file, a dataset folder, or huggingface:org/name"
            raise UsageError(f"there is no recipe and no folder {target}", allowed=allowed)
        recipe = load_recipe(target)
        there = out / recipe.name
        options = replace(options, schemas={name: config.schema for name, config in recipe.configs.items()})
        if not quick:
            build_dataset(
                target,
                Folders(work=work, out=out, cache=cache),
                workers=workers,
                display=display,
                validate_again=True,
                load_limit=limit,
                offline=offline,
            )
            notes.append("card, shards, loading and the build behind them are proved: every row in is out or a reject")
            options = replace(options, ignore=(*options.ignore, *PROVED))
    with LocalProcesses(workers) if workers > 1 else nullcontext(InProcess()) as executor:
        if fix:
            plan = plan_mending(target, executor=executor)
            if not plan.is_empty and not may_write(str(plan)):
                return _not_mended(plan, as_json=as_json), 1
            mend(plan)
            notes += _told(plan)
        if schema is not None:
            options = replace(options, schemas=_of_every_config(there, load_schema(schema)))
        report = validate(there, options, executor=executor, decoders=workers)
    report.target = str(target) if repo is not None else report.target
    report.notes += notes
    code = 0 if report.ok else 1
    return (json.dumps(report.as_json(), indent=1) if as_json else _table(report)), code


def _on_hub(
    target: Path, repo: HubRepo, options: Options, *, cache: Path, offline: bool, display: Display
) -> tuple[Path | HubFiles, Options, list[str]]:
    """Return where the files of a repository are, how they are looked at, and what to say of it."""
    notes = []
    if repo.hub != "huggingface":
        options = replace(options, ignore=(*options.ignore, *HUGGING_FACES_OWN))
        notes.append("licence, languages and tasks were not compared with Hugging Face's lists")
    try:
        if options.look == "full":
            folder = cache / "hub" / repo.hub / repo.id.replace("/", "--")
            with holding(folder / "lock"), display.stage("download", None, "bytes") as progress:
                found = snapshot(repo, ["**"], folder, offline=offline, advance=progress.advance)
            why = f" ({found.unasked})" if found.unasked else ""
            return found.folder, options, [*notes, f"it was downloaded at {found.commit[:12]} to {found.folder}{why}"]
        if offline:
            hint = "with --full one that was downloaded before is looked at"
            raise UsageError(f"{target} is on a hub, and the network may not be used", hint=hint)
        files = HubFiles(repo)
    except SourceError as error:
        if ":" not in str(target):
            error.hint = "; ".join(filter(None, [error.hint, f"a folder {target} is not there either"]))
        raise
    notes.append(f"no row was looked at, only card, listing and footers at {files.commit[:12]}; --full looks at all")
    return files, replace(options, look="quick"), notes


def _told(plan: Mending) -> list[str]:
    """Say what was mended."""
    told = [f"{len(plan.moves):,} shards of an earlier count were moved to {plan.aside}"] if plan.moves else []
    if plan.after is not None:
        told.append("the computed part of the card was written anew")
    if plan.is_empty:
        told += ["nothing was mended", *(f"cannot be mended: {what}" for what in plan.cannot)]
    return told


def _not_mended(plan: Mending, *, as_json: bool) -> str:
    """Say that nothing was done."""
    if as_json:
        return json.dumps({"target": str(plan.folder), "ok": False, "mended": False, "plan": str(plan)}, indent=1)
    return "nothing was changed; --yes does it without asking"


def _table(report: Report) -> str:
    """Return what people read."""
    lines = [str(report)] if report.problems else []
    lines += [f"note: {note}" for note in report.notes]
    if "budget" in report.facts:
        lines += budget_lines(report.facts["budget"])
    facts = report.facts
    told = f"{_many(facts.get('rows', 0), 'row')} in {_many(facts.get('shards', 0), 'shard')}"
    if report.ok:
        looked = " in the card and the footers" if report.look == "quick" else ""
        extra = f"; {_many(report.warnings, 'warning')}" if report.warnings else ""
        lines.append(f"{report.target}: {told}, nothing wrong{looked}{extra}")
    else:
        lines.append(f"{report.target}: {told}, {_many(report.errors, 'error')}, {_many(report.warnings, 'warning')}")
    return "\n".join(lines)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _of_every_config(there: Path | HubFiles, schema: Schema) -> dict[str, Schema]:
    dataset, _ = read_dataset(LocalFiles(there) if isinstance(there, Path) else there)
    return dict.fromkeys(dataset.configs, schema) if dataset is not None else {}


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
