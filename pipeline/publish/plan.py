"""What a push would change: files added, replaced, deleted and left, and the bytes that must be sent for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.publish.content import is_of_ours

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.publish.remote import LocalFile, RemoteState
    from pipeline.publish.target import Kind, Target
    from pipeline.sources.hub_listing import ListedFile

SHOWN = 20
"""Files of each sort that are named one by one."""
CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A push, before it is made."""

    target: Target
    kind: Kind
    state: RemoteState
    wanted: Mapping[str, LocalFile]
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    """There already, with this content."""
    foreign: tuple[str, ...] = ()
    """There, and none of ours: they stay."""
    to_send: int = 0
    """Bytes of contents that the place does not have."""
    upper_bound: bool = False
    """Whether less may be sent, because only new pieces of files are."""
    notes: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to change."""
        return not (self.added or self.replaced or self.deleted)

    @property
    def additions(self) -> frozenset[str]:
        """The files that are part of the change."""
        return frozenset(self.added + self.replaced)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        names = ("added", "replaced", "deleted", "same", "foreign")
        return {
            "target": str(self.target),
            "kind": self.kind,
            "exists": self.state.exists,
            "commit": self.state.commit,
            **{name: list(getattr(self, name)) for name in names},
            "bytes_to_send": self.to_send,
            "bytes_are_upper_bound": self.upper_bound,
            "notes": self.notes,
        }

    def lines(self) -> list[str]:
        """Return the plan as people read it."""
        if not self.state.exists:
            told = "is not there yet" if self.target.hub == "folder" else "is not there yet, and will be made"
        elif not self.state.branch_exists:
            told = f"has no branch {self.target.branch!r} yet, which will be made"
        else:
            facts = [f"at {self.state.commit[:12]}"] if self.state.commit else ["empty"]
            if self.state.private is not None:
                facts.append("private" if self.state.private else "public")
            if self.state.gated:
                facts.append(f"gated ({self.state.gated})")
            told = ", ".join(facts)
        lines = [f"{self.target}: {self.kind}, {told}"]
        for word, names in (("add", self.added), ("replace", self.replaced), ("delete", self.deleted)):
            for name in names[:SHOWN]:
                size = self.state.files[name].size if word == "delete" else self.wanted[name].size
                lines.append(f"  {word:<8}{name}  {'' if size is None else f'{size:,} bytes'}".rstrip())
            if len(names) > SHOWN:
                lines.append(f"  {word:<8}… and {len(names) - SHOWN:,} more")
        if self.foreign:
            more = f" and {len(self.foreign) - 3:,} more" if len(self.foreign) > 3 else ""
            lines.append(f"  leave   {', '.join(self.foreign[:3])}{more} (not of a push of ours)")
        counts = f"{len(self.added):,} added, {len(self.replaced):,} replaced, {len(self.deleted):,} deleted"
        most = " at most, since only new pieces of files are sent" if self.upper_bound and self.to_send else ""
        lines.append(f"  {counts}, {len(self.same):,} unchanged; {self.to_send:,} bytes to send{most}")
        return [*lines, *(f"  note: {note}" for note in self.notes)]


def plan_push(
    target: Target,
    kind: Kind,
    state: RemoteState,
    wanted: Mapping[str, LocalFile],
    *,
    upper_bound: bool = False,
) -> Plan:
    """Compare what is wanted with what is there."""
    added: list[str] = []
    replaced: list[str] = []
    same: list[str] = []
    for name in sorted(wanted):
        listed = state.files.get(name)
        if listed is None:
            added.append(name)
        else:
            (same if is_same(wanted[name], listed) else replaced).append(name)
    others = sorted(name for name in state.files if name not in wanted)
    there = {listed.sha256 for listed in state.files.values()}
    new = {file.sha256: file.size for name in (*added, *replaced) if (file := wanted[name]).sha256 not in there}
    return Plan(
        target=target,
        kind=kind,
        state=state,
        wanted=wanted,
        added=tuple(added),
        replaced=tuple(replaced),
        deleted=tuple(name for name in others if is_of_ours(name, kind)),
        same=tuple(same),
        foreign=tuple(name for name in others if not is_of_ours(name, kind)),
        to_send=sum(new.values()),
        upper_bound=upper_bound,
    )


def is_same(file: LocalFile, listed: ListedFile) -> bool:
    """Tell whether a file is what a place lists; one that is listed without any hash is not believed to be."""
    if listed.size is not None and listed.size != file.size:
        return False
    if listed.sha256:
        return listed.sha256 == file.sha256
    return listed.git is not None and listed.git == _git_blob(file)


def _git_blob(file: LocalFile) -> str:
    """Return the name that git gives to the content of a file."""
    named = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with file.path.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            named.update(chunk)
    return named.hexdigest()
