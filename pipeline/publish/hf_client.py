"""Hugging Face's own client as pushes use it: bounded, quiet, tried again, and with its errors in words.

What the client leaves to us (version 2.4): it tries uploads and listings again, but neither commits nor anything else
that changes a repository; it waits for an answer for ever; it draws bars and logs what it tries.
"""

from __future__ import annotations

import json
import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from logging import CRITICAL
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from pipeline.errors import ShardwrightError
from pipeline.publish.push_words import PushedRepo, PushWords, published
from pipeline.publish.remote import PublishError
from pipeline.sources.hub_client import NOT_READY
from pipeline.sources.hub_huggingface import HuggingFace, endpoint
from pipeline.sources.hub_listing import COMMIT
from pipeline.sources.hub_retry import Failure, with_tries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipeline.publish.target import Kind, Target
    from pipeline.sources.hub_listing import ListedFile

T = TypeVar("T")

CONNECT, SILENCE = 30.0, 300.0
"""Seconds to wait for a connection, and for the next byte of an answer: a commit of many files takes its time."""
CONFLICTS = frozenset({409, 412})
"""Answers that say that another commit came first, or is being made."""


@dataclass(frozen=True, kw_only=True)
class Refs:
    """Name -> commit."""

    branches: Mapping[str, str]
    tags: Mapping[str, str]


class HfClient:
    """The client of Hugging Face, bound to one repository that is written."""

    def __init__(self, target: Target, kind: Kind, token: str | None) -> None:
        """Take the token that is given, else the one that the client finds (HF_TOKEN, or where it was stored)."""
        from huggingface_hub import HfApi
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        self.id = target.place
        self.branch = target.branch
        self.kind = kind
        self.api = HfApi(endpoint=endpoint(), token=token)
        self.headers: dict[str, str] = build_hf_headers(token=token)
        sent = self.headers.get("authorization", "").removeprefix("Bearer ")
        self.words = PushWords(
            repo=PushedRepo(hub="huggingface", id=self.id, revision=self.branch, kind=kind),
            endpoint=self.api.endpoint,
            token=sent or None,
            variable="HF_TOKEN",
            login="hf auth login",
            tokens_page=f"{_without_password(self.api.endpoint)}/settings/tokens",
        )
        self._reader = HuggingFace(self.words.repo, token, kind=kind, words=self.words)

    @property
    def place(self) -> dict[str, Any]:
        """What names the repository in calls of the client."""
        return {"repo_id": self.id, "repo_type": self.kind}

    @property
    def page(self) -> str:
        """The page of the repository."""
        return f"{_without_password(self.api.endpoint)}/{'datasets/' if self.kind == 'dataset' else ''}{self.id}"

    def tried(self, action: Callable[[int], T], failure: Callable[[Exception], Failure] | None = None) -> T:
        """Return what a call gives, made again while what is in its way may pass; it gets the number of the attempt.

        Raises:
            PublishError: it was refused, or the hub cannot be reached.
        """

        def once(attempt: int) -> T:
            bound_waiting()
            return action(attempt)

        return with_tries(once, failure or self.failure)

    def files_at(self, revision: str) -> Mapping[str, ListedFile]:
        """List the files of a revision, page by page and from no cache."""
        return self.tried(lambda _: self._reader.listing(revision).files)

    def refs(self) -> Refs:
        """Return the branches and tags, asked anew."""
        refs = self.tried(lambda _: self.api.list_repo_refs(**self.place))
        branches, tags = ({ref.name: ref.target_commit for ref in some} for some in (refs.branches, refs.tags))
        if not all(COMMIT.fullmatch(commit) for commit in (*branches.values(), *tags.values())):
            raise PublishError(f"{self.words.repo} has a branch or a tag that names no commit")
        return Refs(branches=branches, tags=tags)

    def failure(self, error: Exception) -> Failure:
        """Say in words what the client raised."""
        from huggingface_hub import errors

        if isinstance(error, RuntimeError | ValueError) and isinstance(error.__cause__, Exception):
            # Around what went wrong with one of many files, or with the card, it puts an error of its own.
            if isinstance(error, ValueError) and isinstance(error.__cause__, errors.BadRequestError):
                return Failure(error=self.words.bad_card(_after_the_first_line(error)))
            return self.failure(error.__cause__)
        if isinstance(error, ShardwrightError):
            return published(Failure(error=error))
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
            return published(Failure(error=self.words.strange(error), passing=True))
        if type(error) in (errors.HfHubHTTPError, errors.BadRequestError):
            return published(self._answered(error))
        return published(self._reader.failure(error))

    def _answered(self, error: Any) -> Failure:
        status, said = error.response.status_code, error.server_message
        if status in CONFLICTS:
            return self.words.contended(status, said)
        if status in NOT_READY or status == 401:
            return self._reader.failure(error)
        if status == 403:
            # Where files are put, a link is good for an hour or so; to be asked for again, it is tried again.
            is_link = not str(error.response.url).startswith(f"{self.api.endpoint}/")
            return Failure(error=self.words.denied(said), passing=is_link)
        return Failure(error=self.words.refused(status, said))

    def storage_failure(self, error: Exception, revision: str, *, pull_request: bool) -> Failure:
        """Say what was in the way of large files; the storage of chunks (Xet) tells no more than a network error.

        Why a token for it is refused is only told to those who ask the hub as its other half does.
        """
        from huggingface_hub.errors import HfHubHTTPError

        if type(error) is ValueError and error.__cause__ is None and (told := _after_the_first_line(error)):
            # Git LFS refuses file by file: "… with OID <its hash>: `<why>"
            return Failure(error=self.words.not_taken(told.partition("`")[2] or told))
        if isinstance(error, HfHubHTTPError) or not (isinstance(error, OSError) and error.errno is None):
            return self.failure(error)
        from huggingface_hub.utils import get_session, hf_raise_for_status  # type: ignore[attr-defined]

        url = f"{self.api.endpoint}/api/{self.kind}s/{self.id}/xet-write-token/{quote(revision, safe='')}"
        asked = {"create_pr": "1"} if pull_request else {}
        try:
            bound_waiting()
            hf_raise_for_status(get_session().get(url, headers=self.headers, params=asked))
        except Exception as refusal:  # noqa: BLE001  said in words
            if type(refusal) is HfHubHTTPError and refusal.response.status_code == 404:
                return Failure(error=self.words.no_chunks())
            return self.failure(refusal)
        return published(self.words.network(error))


def _without_password(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _after_the_first_line(error: Exception) -> str:
    return " ".join(str(error).splitlines()[1:])


def is_conflict(error: Exception) -> bool:
    """Tell whether another commit came first, or is being made."""
    from huggingface_hub.errors import HfHubHTTPError

    return isinstance(error, HfHubHTTPError) and error.response.status_code in CONFLICTS


def bound_waiting() -> None:
    """Let no call of the client wait for ever, which is what it does by itself."""
    import httpx2
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    get_session().timeout = httpx2.Timeout(SILENCE, connect=CONNECT)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep bars, warnings and log lines of the client off the terminal, unless HF_HUB_VERBOSITY asks for them."""
    from huggingface_hub import constants
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
        logging,
    )

    bars = constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not are_progress_bars_disabled()
    level = logging.get_verbosity()
    if bars:
        disable_progress_bars()
    if not (os.environ.get("HF_HUB_VERBOSITY") or constants.HF_DEBUG):
        logging.set_verbosity(CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            enable_progress_bars()
