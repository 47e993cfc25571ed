"""The command `publish`: what its options mean, and what it prints."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.checks.files import LocalFiles
from pipeline.checks.options import Options as Looking
from pipeline.errors import ProblemsFound, UsageError
from pipeline.executor import InProcess, LocalProcesses, default_workers
from pipeline.load_recipe import load_recipe
from pipeline.manifest import Manifest
from pipeline.media.store import MediaStore
from pipeline.publish.content import read_content
from pipeline.publish.publishing import Options, carry_out, make_plan, open_remote
from pipeline.publish.remote import MovedError
from pipeline.publish.target import Target, checked_ref, parse_target
from pipeline.report import display_for
from pipeline.run import Folders, build_dataset
from pipeline.validation import validate
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.checks.report import Report
    from pipeline.publish.plan import Plan
    from pipeline.publish.publishing import Published
    from pipeline.publish.target import Kind
    from pipeline.recipe import Recipe

PROVED = ("SW1", "SW2", "SW3")
"""What the build of a recipe proves by itself."""
TOLD = 5
"""Errors that a forced push tells in its commit."""


def run_publish(
    source: Path,
    *,
    to: tuple[str, ...],
    yes: bool,
    tag: str | None,
    branch: str | None,
    pull_request: bool,
    public: bool,
    gated: Literal["auto", "manual"] | None,
    message: str,
    key: str | None,
    force_invalid: bool,
    kind: Kind | None,
    work: Path,
    out: Path,
    cache: Path,
    workers: int | None,
    as_json: bool,
    offline: bool,
) -> tuple[str, int]:
    """Plan or make a push to each place; returns what to print, and the exit code.

    Raises:
        UsageError: an option or the source makes no sense.
        ProblemsFound: validate finds errors.
        PublishError: a place refuses, or cannot be reached.
        MovedError: somebody pushed meanwhile; its hint holds the plan for what is there now.
    """
    workers = workers or default_workers()
    display = display_for(quiet=as_json)
    recipe = _recipe(source)
    spec = recipe.spec.publish if recipe is not None else None
    targets = _targets(to or tuple(spec.targets if spec else ()), branch)
    if offline and any(target.hub != "folder" for target in targets):
        raise UsageError("a hub cannot be published to with --offline", allowed="--to folder:/some/where")
    if tag:
        checked_ref(tag, "tag")
    folder, manifest = source, None
    if recipe is not None:
        folders = Folders(work=work, out=out, cache=cache)
        build_dataset(source, folders, workers=workers, display=display, offline=offline)
        workspace = Workspace(work=work / recipe.name, out=out / recipe.name, cache=cache)
        folder, manifest = workspace.out, Manifest.load(workspace.manifest, recipe.name)
    kind = kind or _kind_of(folder)
    options = Options(
        kind=kind,
        tag=tag,
        message=message,
        private=not public and (spec is None or spec.private),
        gated=gated or (spec.gated if spec else None),
        pull_request=pull_request,
        key=key or (spec.key if spec else None),
        forced=_judged(folder, kind, workers=workers, force=force_invalid, proved=recipe is not None),
    )
    digests = cache.absolute() / "digests"
    published: list[Published] = []
    plans: list[Plan] = []
    with ExitStack() as stack:
        store = stack.enter_context(MediaStore(cache.absolute()))
        with display.stage("hash", None, "bytes") as progress:
            files = read_content(folder, kind, store, advance=progress.advance)
        for target in targets:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shardwright-publish-")))
            remote = open_remote(target, kind)

            def planned() -> Plan:
                return make_plan(
                    folder,
                    files,
                    remote,  # noqa: B023  it is called before the next one is opened
                    options,
                    scratch=scratch,  # noqa: B023
                    digests=digests,
                    display=display,
                )

            plan = planned()
            plans.append(plan)
            if not yes:
                continue
            try:
                done = carry_out(folder, plan, remote, options, digests=digests, display=display)
            except MovedError as error:
                now = "\n".join(f"  {line}" for line in planned().lines())
                error.hint = f"{error.hint or 'look at the new plan, and run it again'}\nwhat would be done now:\n{now}"
                raise
            published.append(done)
            if manifest is not None:
                targets_done = manifest.stages.get("publish", {}).get("targets", {})
                manifest.record("publish", {"targets": {**targets_done, str(target): done.record()}})
    return _told(plans, published, as_json=as_json, yes=yes, forced=options.forced), 0


def _recipe(source: Path) -> Recipe | None:
    """Return the recipe that is meant; None: it is a folder."""
    if source.is_dir():
        return None
    if not source.is_file() or source.suffix not in (".yaml", ".yml"):
        raise UsageError(
            f"there is no recipe and no folder {source}", allowed="a recipe file, a dataset folder or a model folder"
        )
    return load_recipe(source)


def _targets(texts: tuple[str, ...], branch: str | None) -> list[Target]:
    if not texts:
        hint = "name one with --to huggingface:owner/name, or under `publish` in the recipe"
        raise UsageError("no place is named to publish to", hint=hint)
    targets = [parse_target(text) for text in dict.fromkeys(texts)]
    if branch is not None:
        checked_ref(branch, "branch")
        targets = [replace(one, branch=branch) if one.hub != "folder" else one for one in targets]
    return targets


def _kind_of(folder: Path) -> Kind:
    """Tell a model from a dataset by what only a model has."""
    return "model" if any((folder / name).is_file() for name in ("config.json", "adapter_config.json")) else "dataset"


def _judged(folder: Path, kind: Kind, *, workers: int, force: bool, proved: bool) -> str:
    """Return what validate finds wrong, for the commit of a forced push; `proved`: a build has just proved a part.

    Raises:
        ProblemsFound: it finds errors, and nobody forces it.
    """
    if kind == "model":
        return ""
    executor: Any = LocalProcesses(workers) if workers > 1 else None
    with ExitStack() as stack:
        used = stack.enter_context(executor) if executor is not None else InProcess()
        looking = Looking(ignore=PROVED if proved else ())
        report: Report = validate(LocalFiles(folder), looking, executor=used, decoders=workers)
    if report.ok:
        return ""
    errors = [problem for problem in report.problems if problem.severity == "error"]
    if not force:
        lines = "\n".join(f"  {problem}" for problem in errors)
        hint = "mend it (shardwright validate says how), or push it as it is with --force-invalid; the commit says so"
        raise ProblemsFound(f"{len(errors):,} errors found in {folder}, so it is not published:\n{lines}", hint=hint)
    codes = sorted({problem.code for problem in errors})
    return f"{len(errors):,} ({', '.join(codes[:TOLD])}{', …' if len(codes) > TOLD else ''})"


def _told(plans: list[Plan], published: list[Published], *, as_json: bool, yes: bool, forced: str) -> str:
    if as_json:
        done = [one.as_json() for one in published]
        return json.dumps({"plans": [plan.as_json() for plan in plans], "published": done}, indent=1)
    lines = [f"forced: validate finds errors: {forced}"] if forced else []
    if yes:
        return "\n".join([*lines, *(line for one in published for line in one.lines())])
    lines += [line for plan in plans for line in plan.lines()]
    if all(plan.is_empty for plan in plans):
        return "\n".join([*lines, "there is nothing to push"])
    return "\n".join([*lines, "nothing was pushed; --yes does it"])
