"""Publishing: a plan first, then one atomic push, and then the proof that it is there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipeline.card_text import split_front_matter
from pipeline.checks.read_card import CARD, UNREADABLE, load_metadata
from pipeline.publish.load_back import load_back
from pipeline.publish.plan import plan_push
from pipeline.publish.release import card_of_release, remember_release
from pipeline.publish.remote import Change, LocalFile, PublishError
from pipeline.publish.verify import verify_push

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipeline.publish.plan import Plan
    from pipeline.publish.remote import Pushed, Remote
    from pipeline.publish.target import Kind, Target
    from pipeline.report import Display


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a push is made."""

    kind: Kind = "dataset"
    tag: str | None = None
    """The name of a release, made after the push."""
    message: str = ""
    """The title of the commit; empty: one is written."""
    private: bool = True
    """A repository that is made is private, unless it is said otherwise."""
    gated: Literal["auto", "manual"] | None = None
    pull_request: bool = False
    key: str | None = None
    """The column that says which row is which, for the changes since the last release; None: `id`."""
    forced: str = ""
    """What validate found, when it is pushed all the same; the commit says so."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was published."""

    plan: Plan
    pushed: Pushed | None
    """None: everything was there already."""
    tag: str | None = None
    proved: tuple[str, ...] = ()
    """What was found out of it where it is now, in words."""

    @property
    def commit(self) -> str:
        """The commit that holds it."""
        return self.pushed.commit if self.pushed is not None else str(self.plan.state.commit)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        pushed = self.pushed
        return {
            "target": str(self.plan.target),
            "commit": self.commit,
            "url": pushed.url if pushed else None,
            "pull_request": pushed.pull_request if pushed else None,
            "tag": self.tag,
            "bytes_sent": pushed.sent if pushed else 0,
            "files": len(self.plan.wanted),
            "added": len(self.plan.added),
            "replaced": len(self.plan.replaced),
            "deleted": len(self.plan.deleted),
            "proved": list(self.proved),
        }

    def lines(self) -> list[str]:
        """Return it as people read it."""
        plan = self.plan
        if self.pushed is None:
            lines = [f"{plan.target}: nothing to push, all {len(plan.wanted):,} files are there"]
        else:
            counts = f"{len(plan.added):,} added, {len(plan.replaced):,} replaced, {len(plan.deleted):,} deleted"
            lines = [f"{plan.target}: {counts}, {self.pushed.sent:,} bytes sent, commit {self.commit[:12]}"]
            if self.pushed.pull_request:
                lines.append(f"  pull request: {self.pushed.pull_request}")
        if self.tag:
            lines.append(f"  tagged {self.tag}")
        lines += [f"  proved: {what}" for what in self.proved]
        return [*lines, *([f"  {self.pushed.url}"] if self.pushed else [])]

    def record(self) -> dict[str, Any]:
        """Return what the manifest keeps of it."""
        listing = sorted((name, file.sha256) for name, file in self.plan.wanted.items())
        return {
            "commit": self.commit,
            "tag": self.tag,
            "files": len(listing),
            "listing": hashlib.sha256(repr(listing).encode()).hexdigest(),
            "proved": list(self.proved),
        }


def make_plan(
    folder: Path,
    files: Mapping[str, LocalFile],
    remote: Remote,
    options: Options,
    *,
    scratch: Path,
    digests: Path | None,
    display: Display,
) -> Plan:
    """Look at the place and say what a push would change there.

    `scratch` takes the card as it will be published; `digests` keeps the hashes of rows for the next release.

    Raises:
        PublishError: the place cannot be looked at, or the tag is taken.
    """
    state = remote.look()
    wanted = dict(files)
    notes: list[str] = []
    if options.kind == "dataset":
        with display.stage("changes", None, "bytes") as progress:
            card, notes = card_of_release(
                folder,
                files,
                remote,
                state,
                tag=options.tag,
                key=options.key,
                digests=digests,
                advance=progress.advance,
            )
        if card is not None and hashlib.sha256(card).hexdigest() != files[CARD].sha256:
            path = scratch / CARD
            path.write_bytes(card)
            wanted[CARD] = LocalFile(path=path, size=len(card), sha256=hashlib.sha256(card).hexdigest())
    plan = plan_push(remote.target, options.kind, state, wanted, upper_bound=remote.upper_bound)
    taken = state.tags.get(options.tag or "")
    if taken is not None and not (plan.is_empty and taken == state.commit):
        what = f"{remote.target} has a tag {options.tag!r} already, at {taken[:12]}"
        raise PublishError(what, hint="releases do not change: choose the next number")
    plan.notes.extend(notes)
    if options.pull_request and options.tag:
        raise PublishError("a pull request is not tagged", hint="tag it once it is merged: publish again with --tag")
    return plan


def carry_out(
    folder: Path, plan: Plan, remote: Remote, options: Options, *, digests: Path | None, display: Display
) -> Published:
    """Make the push that was planned, tag it, and prove that it is there.

    `digests` keeps the hashes of the rows of a release.

    Raises:
        MovedError: the branch is not what it was when the plan was made.
        PublishError: it was refused, or could not be made.
        NotVerifiedError: what is there now is not what was pushed.
    """
    pushed = None
    if not plan.is_empty or (options.gated is not None and options.gated != plan.state.gated):
        change = Change(
            state=plan.state,
            wanted=plan.wanted,
            additions=plan.additions,
            deletions=frozenset(plan.deleted),
            title=options.message or _title(plan, options),
            description=_description(plan, options),
            private=options.private,
            gated=options.gated,
            pull_request=options.pull_request,
            license=_licence(plan),
        )
        with display.stage("publish", plan.to_send, "bytes") as progress:
            pushed = remote.push(change, progress.advance)
    commit = pushed.commit if pushed is not None else str(plan.state.commit)
    if options.tag:
        remote.tag(options.tag, commit, _title(plan, options))
    revision = pushed.revision if pushed is not None and pushed.revision else plan.target.branch
    proved = verify_push(remote, plan, revision)
    if options.kind == "dataset":
        proved += load_back(folder, plan.target, revision)
        if options.tag and digests is not None:
            remember_release(folder, plan.wanted, key=options.key, digests=digests)
    return Published(plan=plan, pushed=pushed, tag=options.tag, proved=tuple(proved))


def _title(plan: Plan, options: Options) -> str:
    if options.tag:
        return f"Release {options.tag}"
    return f"{'Update' if plan.state.files else 'Publish'} the {options.kind}"


def _description(plan: Plan, options: Options) -> str:
    """Return what the commit says beside its title."""
    counts = f"{len(plan.added):,} files added, {len(plan.replaced):,} replaced, {len(plan.deleted):,} deleted."
    lines = [f"{counts} Pushed by shardwright."]
    if options.forced:
        lines.append(f"Forced, although validate finds errors: {options.forced}")
    return "\n\n".join(lines)


def _licence(plan: Plan) -> str | None:
    """Return the licence that the card says, where it says one."""
    if CARD not in plan.wanted:
        return None
    front, _ = split_front_matter(plan.wanted[CARD].path.read_text(encoding="utf-8", errors="replace"))
    try:
        metadata, _ = load_metadata(front)
    except UNREADABLE:
        return None
    said = metadata.get("license") if isinstance(metadata, dict) else None
    return said if isinstance(said, str) else None


def open_remote(target: Target, kind: Kind) -> Remote:
    """Return the place that is meant; nothing is asked of it yet."""
    if target.hub == "huggingface":
        from pipeline.publish.huggingface import HuggingFaceRemote

        return HuggingFaceRemote(target, kind)
    if target.hub == "modelscope":
        from pipeline.publish.modelscope import ModelScopeRemote

        return ModelScopeRemote(target, kind)
    from pipeline.publish.folder import FolderRemote

    return FolderRemote(target, kind)
