"""Proving a push: what is listed there is what was pushed, hash by hash, and the card reads back as it is here."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pipeline.checks.read_card import CARD
from pipeline.publish.plan import is_same
from pipeline.publish.remote import NotVerifiedError
from pipeline.sources.hub_listing import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.publish.plan import Plan
    from pipeline.publish.remote import Remote

NAMED = 5
"""Files that are named of those that are wrong."""


def verify_push(remote: Remote, plan: Plan, revision: str) -> list[str]:
    """Compare what is there now with what was pushed; returns what was proved, in words.

    Raises:
        NotVerifiedError: a file is not there, is another one, or is still there.
        PublishError: it cannot be asked.
    """
    wrong = list(_wrong_files(remote, plan, revision))
    if wrong:
        more = f", and {len(wrong) - NAMED:,} more" if len(wrong) > NAMED else ""
        what = f"{plan.target} is not what was pushed: {'; '.join(wrong[:NAMED])}{more}"
        hint = "somebody may have pushed at the same time: look at it there, and run it again"
        raise NotVerifiedError(what, hint=hint)
    proved = [f"{len(plan.wanted):,} files are listed there with the hashes that they have here"]
    if CARD in plan.wanted:
        read = hashlib.sha256()
        for chunk in remote.read(CARD, revision):
            read.update(chunk)
        if read.hexdigest() != plan.wanted[CARD].sha256:
            what = f"{plan.target}: the card that is read there is not the one that was pushed"
            raise NotVerifiedError(what, hint="a cache may be in between: read it again in a minute")
        proved.append("the card was read back, byte by byte the same")
    return proved


def _wrong_files(remote: Remote, plan: Plan, revision: str) -> Iterator[str]:
    listed = remote.listing(revision)
    for name, file in plan.wanted.items():
        if name not in listed:
            yield f"{shown(name)} is not there"
        elif not is_same(file, listed[name]):
            yield f"{shown(name)} has another content"
    for name in plan.deleted:
        if name in listed:
            yield f"{shown(name)} is still there"
    for name in plan.foreign:
        if name not in listed:
            yield f"{shown(name)}, which was none of ours, is gone"
