"""What can go wrong when something is published to a hub, in words: what was refused, why, and what to do next."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import SourceError
from pipeline.publish.remote import MovedError, PublishError
from pipeline.sources.hub_client import TOO_MANY, Words
from pipeline.sources.hub_listing import TITLES, HubRepo, shown
from pipeline.sources.hub_retry import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.errors import ShardwrightError
    from pipeline.publish.target import Kind

_STORAGE = re.compile(r"\b(?:storage|quota|disk space|payment)\b", re.IGNORECASE)
"""Words of a refusal that is about room; they choose a hint, and never whether something is tried again."""
_ROOM = "make room there, or ask the hub for more; what was sent already is not sent again"
_AGAIN = "run it again: what was sent already is not sent again"


class UnknownError(PublishError):
    """Whether a push was made cannot be found out: its answer was lost, and nobody tells what is there."""


@dataclass(frozen=True, kw_only=True)
class PushedRepo(HubRepo):
    """A repository that is written, at its branch."""

    kind: Kind

    def __str__(self) -> str:
        return f"the {self.kind} {self.id!r} on {TITLES[self.hub]}"


@dataclass(frozen=True, kw_only=True)
class PushWords(Words):
    """The errors of a hub that is written to; those of reading it are said as they are there."""

    tokens_page: str
    """Where a person makes a token."""

    # -- who may

    def offline(self, variable: str) -> PublishError:
        """The user forbids the network."""
        return PublishError(f"{self.repo} cannot be written while {variable} is set", hint="unset it")

    def no_token(self) -> PublishError:
        """Nobody is logged in."""
        return PublishError(f"{self.repo} cannot be written without a token", hint=self._make_token())

    def read_only(self, role: str) -> PublishError:
        """The token was made for reading."""
        return PublishError(
            f"the token may only read: its role is {shown(role)}",
            allowed="a token whose role is `write`, or a fine-grained one with write access to the repository",
            hint=self._make_token(),
        )

    def lacks(self, missing: Iterable[str], owner: str) -> PublishError:
        """A fine-grained token that was not given what is needed."""
        return PublishError(
            f"the fine-grained token has no permission {' or '.join(f'`{one}`' for one in missing)} "
            f"for {owner!r} or {self.repo.id!r}",
            hint=f"give it that permission at {self.tokens_page}, or {self._set_token} to one that has it",
        )

    def no_member(self, owner: str, user: str) -> PublishError:
        """A repository cannot be made in the name of strangers."""
        return PublishError(
            f"{self.repo} is not there, and {shown(user)}, whose token this is, may not make it for {owner!r}",
            hint=f"publish as {shown(f'{user}/…')}, have an owner of {owner!r} let you write there, "
            f"or {self._set_token} to that of a member",
        )

    def bad_token(self) -> SourceError:
        """The token is not one, or has ended."""
        return _with_hint(super().bad_token(), self._make_token())

    def denied(self, said: object = "") -> SourceError:
        """The token is known, and may not."""
        hint = f"use a token of somebody who may write there; its scope must be `write` ({self.tokens_page})"
        if _STORAGE.search(self.said(said)):
            hint = _ROOM
        return SourceError(f"{self.repo} may not be written{self._after(said)}", hint=hint)

    def hidden(self) -> PublishError:
        """It is there, since it cannot be made, and is not shown."""
        return PublishError(
            f"{self.repo} is there, but this token may not see it",
            hint=f"use a token of somebody who may write it in {self.variable}",
        )

    # -- what it does not take

    def refused(self, status: int, said: object = "") -> SourceError:
        """Any other answer that will not change."""
        hint = ""
        if status in (402, 507):
            hint = _ROOM
        elif status == 413:
            hint = "that is more than one push may hold: fewer and larger files (`shards`, `media: archive`) are"
        return _with_hint(super().refused(status, said), hint)

    def not_taken(self, said: object) -> PublishError:
        """The storage of large files refused one of them."""
        hint = _ROOM if _STORAGE.search(self.said(said)) else "what the hub says tells what to mend"
        return PublishError(f"{self.repo} does not take a file{self._after(said)}", hint=hint)

    def no_chunks(self) -> PublishError:
        """A hub, or a mirror of one, without the storage that the client sends large files to."""
        return PublishError(
            f"{self._place} has no storage of chunks (Xet), to which the client sends large files",
            hint="set HF_HUB_DISABLE_XET=1 to send them through Git LFS",
        )

    def bad_card(self, said: object) -> PublishError:
        """The hub looked at the front matter of README.md."""
        return PublishError(
            f"{TITLES[self.repo.hub]} refuses the front matter of README.md{self._after(said)}",
            hint="mend the card: shardwright validate says where",
        )

    def bad_path(self, path: str, said: object) -> PublishError:
        """A name of a file that no repository may hold."""
        return PublishError(
            f"{shown(path)} cannot be a file of {self.repo}{self._after(said)}", hint="rename it or leave it out"
        )

    def left_out(self, path: str) -> PublishError:
        """The repository itself says that such files are not taken."""
        return PublishError(
            f"the .gitignore of {self.repo} leaves out {shown(path)}", hint="mend that .gitignore, and run it again"
        )

    # -- what changed meanwhile

    def moved(self, seen: str | None, now: str | None) -> MovedError:
        """Somebody else wrote first."""
        was, is_now = ((commit or "nothing")[:12] for commit in (seen, now))
        return MovedError(
            f"{self.repo} was changed by somebody else: {self.repo.at!r} was at {was} and is at {is_now}",
            hint="nothing was changed; run it again to see what a push would change now",
        )

    def changed(self, path: str) -> PublishError:
        """A file on this machine is not the one that was planned."""
        return PublishError(
            f"{shown(path)} changed while it was pushed, so nothing was published",
            hint="let nothing write to the folder, and run it again",
        )

    def tagged(self, tag: str, at: str, wanted: str) -> PublishError:
        """A tag names one commit for ever."""
        return PublishError(
            f"{self.repo} has the tag {shown(tag)} already, at {at[:12]} and not at {wanted[:12]}",
            hint="choose another tag: who loads the dataset by this one must get what they got before",
        )

    def no_branch(self, what: str) -> PublishError:
        """A branch cannot be made or proposed to."""
        return PublishError(f"{self.repo} {what}", hint="name a branch that is there, or leave out @branch")

    def unknown(self, cause: ShardwrightError) -> UnknownError:
        """Nobody answers any more."""
        return UnknownError(
            f"{cause.what}; whether the push was made before that is not known: its answer was lost",
            hint="run it again: it looks first, and does nothing where all is there",
        )

    # -- what may pass

    def busy(self, status: int | None, wait: float | None) -> Failure:
        """The server cannot now."""
        told = super().busy(status, wait)
        told.error.hint = f"{'its limit is reached' if status == TOO_MANY else 'the hub has trouble'}: {_AGAIN}"
        return told

    def contended(self, status: int, said: object) -> Failure:
        """Another request was in the way, or a commit before ours."""
        error = PublishError(f"{self._place} answers {status} for {self.repo}{self._after(said)}", hint=_AGAIN)
        return Failure(error=error, passing=True)

    def network(self, said: object, *, proxy: bool = False) -> Failure:
        """The server cannot be reached, or falls silent."""
        told = super().network(said, proxy=proxy)
        if not proxy:
            told.error.hint = f"check the network, HTTPS_PROXY and the endpoint's name, then {_AGAIN}"
        return told

    def _make_token(self) -> str:
        return f"make one with the role `write` at {self.tokens_page}, then {self._set_token}"


def published(told: Failure) -> Failure:
    """Return a failure whose error is one of publishing, in the same words."""
    error = told.error
    if isinstance(error, PublishError):
        return told
    made = PublishError(error.what, allowed=error.allowed, hint=error.hint)
    return Failure(error=made, passing=told.passing, wait=told.wait)


def _with_hint(error: SourceError, hint: str) -> SourceError:
    error.hint = hint or error.hint
    return error
