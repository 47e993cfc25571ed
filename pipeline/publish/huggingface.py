"""Hugging Face as a place to publish to, through its own client: contents first, which nobody sees, then one commit.

The client's `upload_folder` may make several commits, so it is not used. `hf_uploads.py` sends contents,
`hf_commits.py` makes the commit, and `hf_client.py` bounds what the client does and puts its errors into words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pipeline.publish.hf_access import check_access
from pipeline.publish.hf_client import HfClient, quiet
from pipeline.publish.hf_reading import read_pieces
from pipeline.publish.push_words import UnknownError
from pipeline.publish.remote import PublishError, Pushed, RemoteState
from pipeline.sources.hub_huggingface import is_offline
from pipeline.sources.hub_listing import BRANCHES, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipeline.publish.hf_commits import Base, Operations, Proposal
    from pipeline.publish.remote import Change
    from pipeline.publish.target import Kind, Target
    from pipeline.sources.hub_listing import ListedFile

MAIN = BRANCHES["huggingface"]
OF_A_NEW_REPOSITORY = frozenset({".gitattributes"})
"""What the hub puts into a repository when it makes it."""


class HuggingFaceRemote:
    """A repository of Hugging Face, and the branch of it that is written."""

    def __init__(self, target: Target, kind: Kind, *, token: str | None = None) -> None:
        """Take the token that is given, else the one that the client finds (HF_TOKEN, or where it was stored)."""
        from huggingface_hub.utils._runtime import is_xet_available

        self.target = target
        self.upper_bound = is_xet_available()
        self._client = HfClient(target, kind, token)

    def look(self) -> RemoteState:
        """Find out what is there now, and whether this token may write it.

        Raises:
            PublishError: it cannot be found out, or may not be written with this token; says what to do.
        """
        with quiet():
            who = self._who()
            state = self._state()
        check_access(who, self._client.words, exists=state.exists)
        return state

    def push(self, change: Change, advance: Callable[[int], None]) -> Pushed:
        """Make a change in one commit, or propose it.

        `advance` is called in this thread with bytes of contents that are new to the repository.

        Raises:
            MovedError: the branch is not where `change.state` saw it.
            PublishError: it was refused, or could not be made; nothing is changed, or it says what is.
        """
        if change.pull_request and change.state.exists and not change.state.branch_exists:
            raise self._client.words.no_branch(f"has no branch {shown(self.target.branch)} to propose a change to")
        made: list[str] = []
        with quiet():
            try:
                pushed = self._push(change, advance, made)
            except PublishError as error:
                if made and not isinstance(error, UnknownError):
                    error.what += f" (made before that, and without anything of this push: {' and '.join(made)})"
                raise
            if change.gated and change.state.exists and change.gated != change.state.gated and not change.pull_request:
                try:
                    self._gate(change.gated)
                except PublishError as error:
                    error.what = f"{self.target} was pushed, but could not be gated: {error.what}"
                    raise
            return pushed

    def tag(self, name: str, commit: str, message: str) -> None:
        """Name a commit; that it is named so already is no error.

        Raises:
            PublishError: another commit has this name, or it is refused.
        """
        client = self._client

        def once(_: int) -> None:
            client.api.create_tag(tag=name, tag_message=message, revision=commit, exist_ok=True, **client.place)

        with quiet():
            client.tried(once)
            at = client.refs().tags.get(name)
        if at != commit:
            raise client.words.tagged(name, at or "nothing", commit)

    def read(self, path: str, revision: str) -> Iterator[bytes]:
        """Yield the content of a file as readers get it.

        Raises:
            PublishError: it cannot be read.
        """
        yield from read_pieces(self._client, path, revision)

    def listing(self, revision: str) -> Mapping[str, ListedFile]:
        """List the files at a branch, tag, commit or pull request, asked anew.

        Raises:
            PublishError: it cannot be listed.
        """
        with quiet():
            return self._client.files_at(revision)

    # -- what is there

    def _who(self) -> Any:
        """Ask whose token this is, once in a process: the hub allows few of these requests."""
        client = self._client
        if is_offline():
            raise client.words.offline("HF_HUB_OFFLINE")
        if not client.words.token:
            raise client.words.no_token()
        return client.tried(lambda _: client.api.whoami(token=client.words.token, cache=True))

    def _state(self) -> RemoteState:
        """Look without asking who looks."""
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        client, branch = self._client, self.target.branch
        asked: Any = ["private", "gated"]  # the client's types know of one property, its code of any number

        def known(_: int) -> Any:
            try:
                return client.api.repo_info(expand=asked, **client.place)
            except GatedRepoError:
                raise
            except RepositoryNotFoundError:
                return None

        info = client.tried(known)
        if info is None:
            return RemoteState(exists=False)
        refs = client.refs()
        if branch in refs.tags and branch not in refs.branches:
            raise client.words.no_branch(f"has {shown(branch)} as a tag, which no push moves")
        commit = refs.branches.get(branch) or refs.branches.get(MAIN)
        return RemoteState(
            exists=True,
            branch_exists=branch in refs.branches,
            commit=commit,
            files=client.files_at(commit) if commit else {},
            private=info.private,
            gated=info.gated or None,
            tags=refs.tags,
        )

    # -- what is changed

    def _push(self, change: Change, advance: Callable[[int], None], made: list[str]) -> Pushed:
        """Make a change; `made` gets what had to be made before it."""
        from huggingface_hub import CommitOperationDelete

        from pipeline.publish.hf_commits import commit, made_already, propose, proposed
        from pipeline.publish.hf_uploads import Uploads

        client, branch = self._client, self.target.branch
        base, has_branch = self._base(change, made)
        if has_branch and (before := made_already(client, change, base)):
            return self._pushed(before, sent=0)
        author = ""
        if change.pull_request:
            author = str(self._who()["name"])
            if found := proposed(client, change, base, author):
                return self._pushed(found.commit, sent=0, proposal=found)
        uploads = Uploads(client, branch if has_branch else MAIN, pull_request=change.pull_request)
        there = {listed.sha256 for listed in base.files.values()}
        operations: Operations = [
            *(CommitOperationDelete(path, is_folder=False) for path in sorted(change.deletions)),
            *uploads.send({path: change.wanted[path] for path in change.additions}, there, advance),
        ]
        if not has_branch:
            self._make_branch(base.commit)
            made.append(f"the branch {shown(branch)}")
            if before := made_already(client, change, base):
                return self._pushed(before, uploads.sent)
        if not operations:
            return self._pushed(base.commit, sent=0)
        if change.pull_request:
            proposal = propose(client, change, base, operations, author)
            return self._pushed(proposal.commit, uploads.sent, proposal)
        done = commit(client, change, base, operations)
        return self._pushed(done, uploads.sent)

    def _base(self, change: Change, made: list[str]) -> tuple[Base, bool]:
        """Return what the commit is made upon, and whether the branch is there; a missing repository is made."""
        from pipeline.publish.hf_commits import Base

        client, state = self._client, change.state
        if not state.exists:
            client.tried(lambda _: client.api.create_repo(private=change.private, exist_ok=True, **client.place))
            made.append("the repository")
            state = self._state()
            if not state.exists:
                raise client.words.hidden()
            if set(state.files) - OF_A_NEW_REPOSITORY or (change.private and not state.private):
                raise client.words.moved(None, state.commit)
            if change.gated:  # before there is anything to see
                self._gate(change.gated)
        if state.commit is None:
            raise client.words.no_branch(f"has no branch {MAIN!r} to begin another from")
        return Base(commit=state.commit, files=state.files), state.branch_exists

    def _make_branch(self, commit: str) -> None:
        client, branch = self._client, self.target.branch
        client.tried(lambda _: client.api.create_branch(branch=branch, revision=commit, exist_ok=True, **client.place))

    def _gate(self, gated: Literal["auto", "manual"]) -> None:
        client = self._client
        client.tried(lambda _: client.api.update_repo_settings(gated=gated, **client.place))

    def _pushed(self, commit: str, sent: int, proposal: Proposal | None = None) -> Pushed:
        branch = self.target.branch
        page = self._client.page + (f"/tree/{quote(branch)}" if branch != MAIN else "")
        if proposal is None:
            return Pushed(commit=commit, url=page, sent=sent, revision=branch)
        return Pushed(
            commit=commit, url=proposal.page, sent=sent, pull_request=proposal.page, revision=proposal.reference
        )
