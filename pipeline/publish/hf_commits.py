"""The one request that publishes: a commit, or a pull request, made once however often its answer is lost."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from pipeline.publish.hf_client import is_conflict
from pipeline.publish.plan import is_same
from pipeline.publish.remote import MovedError, PublishError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete

    from pipeline.publish.hf_client import HfClient
    from pipeline.publish.remote import Change
    from pipeline.sources.hub_listing import ListedFile

    Operations = list[CommitOperationAdd | CommitOperationDelete]

OF_THE_HUB = ".gitattributes"
"""The hub writes into it itself, when a commit holds large files of a sort that it does not know yet."""
LOOKED_AT = 50
"""Pull requests of the same author that are looked at, the newest first."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """What a commit is made upon."""

    commit: str
    files: Mapping[str, ListedFile]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A pull request."""

    commit: str
    page: str
    reference: str
    """`refs/pr/N`."""


def is_made(files: Mapping[str, ListedFile], base: Base, change: Change) -> bool:
    """Tell whether files are exactly what a change makes of what it was planned against."""
    kept = set(base.files) - change.deletions
    if set(files) - {OF_THE_HUB} != (kept | change.additions) - {OF_THE_HUB}:
        return False
    if not all(files[path] == base.files[path] for path in kept - change.additions - {OF_THE_HUB}):
        return False
    return all(is_same(change.wanted[path], files[path]) for path in change.additions - {OF_THE_HUB})


def commit(client: HfClient, change: Change, base: Base, operations: Operations) -> str:
    """Commit to the branch; return the commit.

    Raises:
        MovedError: the branch holds something else by now.
        PublishError: it was refused, or could not be made.
    """
    is_lost = False

    def once(attempt: int) -> str:
        nonlocal is_lost
        if attempt and (made := made_already(client, change, base)):
            return made
        try:
            info = _post(client, change, base, operations)
        except Exception as error:
            if is_conflict(error) and (made := made_already(client, change, base)):
                return made
            is_lost = is_lost or client.failure(error).passing
            raise
        if any(getattr(one, "_is_committed", True) for one in operations):
            return info.oid
        # The client found every file on the branch as it is here, and asked for nothing.
        return made_already(client, change, base) or info.oid

    try:
        return client.tried(once)
    except MovedError:
        raise
    except PublishError as error:
        if not is_lost:
            raise
        if made := _made_after_all(client, change, base, error):
            return made
        raise


def made_already(client: HfClient, change: Change, base: Base) -> str | None:
    """Return the commit of a branch that holds what is wanted, or None while it is where it was.

    Raises:
        MovedError: it is somewhere else.
    """
    now = client.refs().branches.get(client.branch)
    if now == base.commit:
        return None
    if now is not None and is_made(client.files_at(now), base, change):
        return now
    raise client.words.moved(base.commit, now)


def _made_after_all(client: HfClient, change: Change, base: Base, error: PublishError) -> str | None:
    """Look a last time whether a commit was made whose answer was lost; if nobody answers, say so."""
    try:
        return made_already(client, change, base)
    except MovedError:
        raise
    except PublishError:
        raise client.words.unknown(error) from None


def propose(client: HfClient, change: Change, base: Base, operations: Operations, author: str) -> Proposal:
    """Open a pull request, once: where an answer is lost, it is looked for.

    Raises:
        PublishError: it was refused, or could not be made.
    """

    def once(attempt: int) -> Proposal:
        if attempt and (found := proposed(client, change, base, author)):
            return found
        info = _post(client, change, base, operations, create_pr=True)
        if not info.pr_url or not info.pr_revision:
            raise client.words.moved(base.commit, info.oid)
        return Proposal(commit=info.oid, page=info.pr_url, reference=info.pr_revision)

    return client.tried(once)


def proposed(client: HfClient, change: Change, base: Base, author: str) -> Proposal | None:
    """Return the open pull request of this author that proposes just this change, if there is one."""
    api, place = client.api, client.place

    def asked(_: int) -> list[Any]:
        found = api.get_repo_discussions(author=author, discussion_type="pull_request", **place)
        return [one for one in islice(found, LOOKED_AT) if one.title == change.title]

    open_ones = [one for one in client.tried(asked) if one.status in ("open", "draft")]
    if not open_ones:
        return None
    refs = client.tried(lambda _: api.list_repo_refs(include_pull_requests=True, **place))
    commits = {ref.ref: ref.target_commit for ref in refs.pull_requests or []}
    for one in open_ones:
        reference = str(one.git_reference)
        if reference in commits and is_made(client.files_at(reference), base, change):
            return Proposal(commit=commits[reference], page=one.url, reference=reference)
    return None


def _post(client: HfClient, change: Change, base: Base, operations: Operations, **more: Any) -> CommitInfo:
    info: CommitInfo = client.api.create_commit(
        operations=operations,
        commit_message=change.title,
        commit_description=change.description,
        revision=client.branch,
        parent_commit=base.commit,
        **client.place,
        **more,
    )
    return info
