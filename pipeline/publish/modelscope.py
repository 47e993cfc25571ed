"""ModelScope as a place to publish to.

A push sends the contents that the hub does not have and then makes one commit, which adds, replaces and deletes.

What this hub cannot do: a commit does not name the one that it follows. So the branch is listed immediately before it
and again after it. A change by somebody else before it is found, and nothing is done (`MovedError`). One that falls
into the moment between is reported afterwards, except where ours came last for the very same path, which nothing tells.
A branch is at no commit but at a fingerprint of its files. A commit takes a number of files and no more. There are no
pull requests, and no branches are made; a repository is gated when it is made, or on its page. Tags have no message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import UsageError
from pipeline.publish.ms_blobs import send_large
from pipeline.publish.ms_client import MsClient
from pipeline.publish.ms_commit import actions_of, arrange
from pipeline.publish.ms_state import Tags, afterwards, differing
from pipeline.publish.remote import PublishError, Pushed, RemoteState
from pipeline.sources.hub_listing import BRANCHES, shown
from pipeline.sources.hub_modelscope import state_of
from pipeline.sources.hub_retry import FEW, FIRST_WAIT, TRIES, pause, with_tries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from pipeline.publish.ms_state import Files
    from pipeline.publish.remote import Change
    from pipeline.publish.target import Kind, Target
    from pipeline.sources.hub_retry import Failure

USUAL = BRANCHES["modelscope"]
RESERVED = frozenset({"main", "master"})
"""What no tag may be called, as the hub has it."""
NAMED = 5
"""Files that are named of those that are not what was pushed."""


class NotOfferedError(PublishError, UsageError):
    """Something was asked for that this hub does not have; nothing was sent."""


class ModelScopeRemote:
    """A repository of ModelScope, and one branch of it."""

    upper_bound = False

    def __init__(self, target: Target, kind: Kind, *, token: str | None = None) -> None:
        """Take the token that is given, else the one that the client finds (MODELSCOPE_API_TOKEN, or a stored one)."""
        self.target = target
        self._client = MsClient(target, kind, token)
        self._words = self._client.words

    def look(self) -> RemoteState:
        """Find out what is there now.

        Raises:
            PublishError: it cannot be found out, or there is no such branch; says what to do.
        """
        client, branch = self._client, self.target.branch
        client.check_token()
        about = client.about()
        if about is None:
            if branch != USUAL:
                raise self._no_branch(f"is not there, and is made with the branch {USUAL!r} alone")
            return RemoteState(exists=False)
        revisions = client.revisions()
        if branch in revisions.tags:
            raise self._no_branch(f"has {shown(branch)} as a tag, which cannot be written")
        if revisions.branches and branch not in revisions.branches:
            raise self._no_branch(f"has no branch {shown(branch)}, and ModelScope lets nobody make one from outside")
        files = client.files_at(branch)
        commit = None if files is None else state_of(files)
        return RemoteState(
            exists=True,
            branch_exists=files is not None,
            commit=commit,
            files=files or {},
            private=about.private,
            gated="manual" if about.gated else None,
            tags=Tags(client, revisions, branch, commit),
        )

    def push(self, change: Change, advance: Callable[[int], None]) -> Pushed:
        """Make a change in one commit, after the contents were sent that the hub does not have.

        Raises:
            MovedError: the branch is not where `change.state` saw it, or was changed before an answer that was lost.
            NotOfferedError: it asks for what this hub does not have.
            PublishError: it was refused, or could not be made; nothing is changed, unless it says otherwise.
        """
        self._check_offered(change)
        arranged = arrange(change, self._client.kind, self._client.repo)
        is_empty = not (change.additions or change.deletions)
        files = change.state.files if is_empty and change.state.exists else self._begin(change)
        there = {listed.sha256 for listed in change.state.files.values()}
        large = [(path, change.wanted[path]) for path in arranged.large]
        sent = send_large(self._client, [one for one in large if one[1].sha256 not in there], advance)
        # What lies there under another name is no part of what was planned to be sent; it may be gone all the same.
        sent += send_large(self._client, [one for one in large if one[1].sha256 in there], lambda _: None)
        if not is_empty:
            files = self._commit(change, actions_of(change, arranged, self._words), files)
            told = there | {file.sha256 for _, file in large}
            small = {file.sha256: file.size for file in map(change.wanted.__getitem__, arranged.inline)}
            advance(sum(size for sha256, size in small.items() if sha256 not in told))
            sent += sum(change.wanted[path].size for path in arranged.inline)
        return Pushed(commit=state_of(files), url=self._client.page, sent=sent, revision=self.target.branch)

    def tag(self, name: str, commit: str, message: str) -> None:  # noqa: ARG002  this hub keeps none
        """Name what the branch is at, if that is still `commit`; that it is named so already is no error.

        Raises:
            MovedError: the branch is somewhere else by now.
            PublishError: something else has this name, or it is refused.
        """
        client = self._client
        if name in RESERVED:
            raise NotOfferedError(f"no tag on ModelScope can be called {shown(name)}", allowed="a tag such as v1.2.0")

        def once(_: int) -> None:
            revisions = client.revisions()
            if name in revisions.branches:
                raise PublishError(f"{client.repo} has a branch {shown(name)}", hint="choose another name for the tag")
            if name not in revisions.tags:
                now = state_of(self._now())
                if now != commit:
                    error = self._words.moved(commit, now)
                    error.hint = f"{shown(name)} was not made: publish again with this tag"
                    raise error
                client.make_tag(name)
            at = state_of(client.files_at(name) or {})
            if at != commit:
                raise self._words.tagged(name, at, commit)

        with_tries(once, client.failure)

    def read(self, path: str, revision: str) -> Iterator[bytes]:
        """Yield the content of a file as readers get it.

        Raises:
            PublishError: it cannot be read.
        """
        return self._client.content(path, revision)

    def listing(self, revision: str) -> Files:
        """List the files at a branch or tag, asked anew.

        Raises:
            PublishError: it cannot be listed.
        """
        files = self._client.files_at(revision)
        if files is None:
            raise PublishError(f"{self._client.repo} has no branch or tag {shown(revision)}", hint="run it again")
        return files

    # -- the steps of a push

    def _check_offered(self, change: Change) -> None:
        """Refuse what this hub does not have, before anything is sent."""
        if change.pull_request:
            raise NotOfferedError(
                "ModelScope takes no pull requests from outside",
                hint="push to the branch itself, or propose it to a repository on Hugging Face",
            )
        if change.gated is None or change.gated == change.state.gated:
            return
        if change.state.exists:
            raise NotOfferedError(
                f"{self._client.repo} is there already, and ModelScope gates a repository from outside only when it "
                "makes it",
                hint=f"change it on its page, {self._client.page}, and push without gating",
            )
        if change.gated == "auto":
            raise NotOfferedError(
                "ModelScope has gates of one kind: people apply, and are let in", allowed="gated by hand (`manual`)"
            )
        if not change.private:
            raise NotOfferedError(
                "ModelScope gates private repositories alone, and this one was to be public",
                hint="push it as a private repository; those who are let in can read it",
            )

    def _begin(self, change: Change) -> Files:
        """Return the files that the commit is made upon: those that were seen, or those of a new repository."""
        if not change.state.exists:
            self._make(change)
            return self._fresh()
        files = self._now()
        self._check_unmoved(files, change.state.files)
        return files

    def _make(self, change: Change) -> None:
        """Make the repository."""
        client = self._client

        def once(attempt: int) -> None:
            said = client.create(private=change.private, license_id=change.license, gated=change.gated is not None)
            if said is None:
                return
            about = client.about()
            if about is None:
                hint = "choose another name; a private repository of others may have it, or nobody is called so"
                raise PublishError(f"{client.repo} cannot be made: {said}", hint=hint)
            # After an answer that was lost it is ours, unless it is not what we asked for.
            if attempt == 0 or about.private is not change.private:
                raise self._words.moved(None, state_of(self._now()))

        with_tries(once, client.failure)

    def _fresh(self) -> Files:
        """Return the files that a new repository begins with; it may take a moment to have a branch."""
        for _ in range(FEW):
            if (files := self._client.files_at(self.target.branch)) is not None:
                return files
            pause(FIRST_WAIT)
        return {}

    def _commit(self, change: Change, actions: Sequence[Mapping[str, Any]], before: Files) -> Files:
        """Make the commit, once: whenever its answer is no success, the branch itself tells whether it was made."""
        client = self._client
        wanted = afterwards(change, before)
        message = f"{change.title}\n\n{change.description}".strip()
        lost = False

        def is_made(now: Files) -> bool:
            # Where the hub says no hashes, what is wanted can look like what was there: it is then committed again.
            return state_of(now) != state_of(before) and not differing(now, wanted)

        def once(_: int) -> Files:
            nonlocal lost
            now = self._now()
            if lost and is_made(now):
                return now
            self._check_unmoved(now, before, lost=lost)
            try:
                client.commit(actions, message)
            except Exception as error:
                told = client.commit_failure(error)
                lost = lost or told.passing
                now = self._after(told)
                if is_made(now):
                    return now
                self._check_unmoved(now, before, lost=lost)
                raise
            return self._settled(before, wanted)

        return with_tries(once, client.commit_failure)

    def _after(self, told: Failure) -> Files:
        """Return what is there after a commit that was not confirmed."""
        try:
            return self._now()
        except PublishError:
            raise (self._words.unknown(told.error) if told.passing else told.error) from None

    def _settled(self, before: Files, wanted: Files) -> Files:
        """Return what is there after a commit that was confirmed, once it is listed."""
        for _ in range(TRIES):
            try:
                now = self._now()
            except PublishError as error:
                raise self._words.unknown(error) from None
            wrong = differing(now, wanted)
            if not wrong:
                return now
            if state_of(now) != state_of(before):
                break
            pause(FIRST_WAIT)
        else:
            what = f"ModelScope says that the push to {self._client.repo} was made, and lists what was there before"
            raise PublishError(what, hint="run it again in a minute: what is there by then is not pushed again")
        named = ", ".join(shown(path) for path in wrong[:NAMED])
        more = f" and {len(wrong) - NAMED:,} more" if len(wrong) > NAMED else ""
        raise PublishError(
            f"{self._client.repo} was changed by somebody else at the same moment: {named}{more} there "
            f"{'is' if len(wrong) == 1 else 'are'} not what was pushed",
            hint="the push was made, and ModelScope tells nobody which came first: look at it, and run it again",
        )

    def _check_unmoved(self, now: Files, before: Files, *, lost: bool = False) -> None:
        if state_of(now) == state_of(before):
            return
        error = self._words.moved(state_of(before), state_of(now))
        if lost:
            error.hint = "an answer was lost, so that our push may be among what was changed: run it again to see"
        raise error

    def _now(self) -> Files:
        """Return the files of the branch; none where it is gone, or has none yet."""
        return self._client.files_at(self.target.branch) or {}

    def _no_branch(self, what: str) -> PublishError:
        return self._words.no_branch(what)
