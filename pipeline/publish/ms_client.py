"""ModelScope's own client as pushes use it: bound to one repository, quiet, tried again, with its errors in words.

What the client (version 0.5) does by itself and a push cannot use: it uploads a folder in several commits and deletes
in one more, and keeps a file in the folder that it believes more than the hub.
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from modelscope_hub import errors
from modelscope_hub.config import HubConfig
from modelscope_hub.constants import License

from pipeline.errors import ShardwrightError
from pipeline.publish.ms_transport import Api, NotTakenError
from pipeline.publish.push_words import PushedRepo, PushWords, published
from pipeline.publish.remote import PublishError
from pipeline.sources.hub_listing import COMMIT
from pipeline.sources.hub_modelscope import CHUNK, ModelScope, endpoint
from pipeline.sources.hub_retry import FIRST_WAIT, TRIES, Failure, pause, with_tries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipeline.publish.ms_blobs import CheckedFile
    from pipeline.publish.remote import LocalFile
    from pipeline.publish.target import Kind, Target
    from pipeline.sources.hub_listing import ListedFile

T = TypeVar("T")

LICENSES = {known.value.lower(): known.value for known in License}
"""The names that the hub has for licences, by those that cards have."""
CONTENDED = ("branch changed", "could not update refs", "please retry", "try again", "repository policy")
"""What the hub says, whatever the status, of a commit that came while another was made."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What the hub says of a repository."""

    private: bool | None
    gated: bool


@dataclass(frozen=True, kw_only=True)
class Revisions:
    """Branches and tags, each with its commit where the hub says that; the newest last."""

    branches: Mapping[str, str | None]
    tags: Mapping[str, str | None]


class MsClient:
    """The client of ModelScope, bound to one repository that is written."""

    def __init__(self, target: Target, kind: Kind, token: str | None) -> None:
        """Take the token that is given, else the one that the client finds (MODELSCOPE_API_TOKEN, or a stored one)."""
        self.repo = PushedRepo(hub="modelscope", id=target.place, revision=target.branch, kind=kind)
        self.branch = target.branch
        self.kind = kind
        config = HubConfig(endpoint=endpoint(), token=token)
        config.token = (config.token or "").strip()
        place = str(config.endpoint)
        self.words = PushWords(
            repo=self.repo,
            endpoint=place,
            token=config.token or None,
            variable="MODELSCOPE_API_TOKEN",
            login="modelscope login",
            tokens_page=f"{place}/my/myaccesstoken",
        )
        self.page = f"{place}/{kind}s/{target.place}"
        self._api = Api(config)
        self._reader = ModelScope(self.repo, config.token, kind=kind, words=self.words, api=self._api)
        self._place = (target.place, kind)
        if not os.environ.get("MODELSCOPE_LOG_LEVEL"):
            logging.getLogger("modelscope_hub").setLevel(logging.CRITICAL)

    # -- asking

    def check_token(self) -> None:
        """Make sure that there is a token, and that the hub takes it.

        Raises:
            PublishError: it does not. What a token may do is told by no answer but that to a push.
        """
        token = self.words.token or ""
        if not token:
            raise self.words.no_token()
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise published(Failure(error=self.words.bad_token())).error

        def once(_: int) -> None:
            try:
                self._api.openapi.get_current_user()
            except (errors.NotExistError, errors.PermissionDeniedError):
                return  # a hub of one's own may not have this, and a token may be too narrow for it

        with_tries(once, self.failure)

    def about(self) -> About | None:
        """Return what is known of the repository; None: it is not there, or this token may not see it."""

        def once(_: int) -> About | None:
            try:
                said = self._api.legacy.get_repo_info(*self._place)
            except errors.NotExistError:
                return None
            visibility = str(said.get("Visibility") or "")
            private = visibility != "5" if visibility.isdigit() else None
            return About(private=private, gated=said.get("ProtectedMode") == 1 or said.get("Gated") is True)

        return with_tries(once, self.failure)

    def revisions(self) -> Revisions:
        """Return the branches and tags."""
        branches, tags = self.tried(lambda: self._api.legacy.list_revisions_detail(*self._place))
        return Revisions(branches=_named(branches), tags=_named(tags))

    def files_at(self, revision: str) -> Mapping[str, ListedFile] | None:
        """List the files of a branch or tag, page by page and from no cache; None: there is no such revision."""

        def once(_: int) -> Mapping[str, ListedFile] | None:
            try:
                files = self._reader.listing(revision).files
            except errors.NotExistError:
                return None
            if self._api.transport.listed_in_part:
                what = f"{self.repo} has more files in one folder than ModelScope lists"
                raise PublishError(what, hint="what is there cannot be compared: use fewer files in one folder")
            return files

        return with_tries(once, self.failure)

    def content(self, path: str, revision: str) -> Iterator[bytes]:
        """Yield a file as it comes, on from where a connection was cut."""
        came = 0
        for attempt in range(TRIES):
            with self._opened(path, revision, came) as response:
                skipped = came if response.status_code != 206 else 0
                try:
                    for chunk in response.iter_content(CHUNK):
                        new, skipped = chunk[skipped:], max(0, skipped - len(chunk))
                        came += len(new)
                        if new:
                            yield new
                except requests.RequestException as error:
                    told = self.failure(error)
                    if attempt == TRIES - 1:
                        raise told.error from None
                else:
                    return
            pause(FIRST_WAIT)

    @contextmanager
    def _opened(self, path: str, revision: str, start: int) -> Iterator[requests.Response]:
        asked = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}

        def once(_: int) -> requests.Response:
            try:
                return self._api.legacy.download_stream(*self._place, path, revision=revision, headers=asked)
            except errors.NotExistError:
                raise published(Failure(error=self.words.no_file())).error from None

        with with_tries(once, self.failure) as response:
            yield response

    # -- changing

    def create(self, *, private: bool, license_id: str | None, gated: bool) -> str | None:
        """Make the repository, once; returns what the hub says when the name is taken, else None."""
        try:
            self._api.create_repo(
                *self._place,
                visibility="private" if private else "public",
                # The client would say Apache-2.0 of whatever it is not told the licence of.
                license=LICENSES.get((license_id or "").lower(), License.OTHER.value),
                gated_mode=True if gated else None,
            )
        except errors.AlreadyExistsError as error:
            return self.words.said(error.message)
        return None

    def addresses(self, files: Sequence[LocalFile]) -> Mapping[str, str]:
        """Ask where contents are to be sent, once; those that the hub has are not in the answer."""
        objects = [{"oid": file.sha256, "size": file.size} for file in files]
        answer = self._api.legacy.validate_blobs(*self._place, objects)
        return {sha256: url for sha256, url in answer.items() if url}

    def send(self, url: str, content: CheckedFile, size: int) -> None:
        """Send a content to where it belongs, once; it is read while it goes, and its length is said first."""
        self._api.legacy.upload_blob(url, content, size)

    def commit(self, actions: Sequence[Mapping[str, Any]], message: str) -> None:
        """Make one commit, once.

        Through the client's inner half: its outer one has a call that adds and one that deletes, a commit each.
        """
        self._api.legacy.create_commit(*self._place, [dict(action) for action in actions], message, self.branch)

    def make_tag(self, name: str) -> None:
        """Name what the branch is at, once."""
        self._api.create_repo_tag(*self._place, name, revision=self.branch)

    # -- what went wrong

    def tried(self, action: Callable[[], T]) -> T:
        """Return what a call gives, made again while what is in its way may pass.

        Raises:
            PublishError: it was refused, or the hub cannot be reached.
        """
        return with_tries(lambda _: action(), self.failure)

    def failure(self, error: Exception) -> Failure:
        """Say in words what the client raised."""
        if isinstance(error, ShardwrightError):
            return published(Failure(error=error))
        if isinstance(error, requests.exceptions.JSONDecodeError):
            return published(Failure(error=self.words.strange(error), passing=True))
        if isinstance(error, NotTakenError):
            return Failure(error=self.words.not_taken(error.message))
        if isinstance(error, errors.QuotaExceededError):
            return published(Failure(error=self.words.denied(f"quota: {self.words.said(error.message)}")))
        if isinstance(error, errors.AlreadyExistsError):
            return self.words.contended(error.status_code or 0, error.message)
        told = published(self._reader.failure(error))
        told.error.hint = told.error.hint or "what the hub says tells what to mend"
        return told

    def commit_failure(self, error: Exception) -> Failure:
        """Say in words what a commit met; one that crossed another may be made again."""
        told = self.failure(error)
        crossed = isinstance(error, errors.APIError) and any(word in error.message.lower() for word in CONTENDED)
        return replace(told, passing=told.passing or crossed)

    def sending_failure(self, error: Exception, attempt: int) -> Failure:
        """Say in words what a content met on its way; an address that is refused may only have ended."""
        told = self.failure(error)
        return replace(told, passing=told.passing or (attempt == 0 and isinstance(error, errors.APIError)))


def _named(entries: Sequence[Any]) -> dict[str, str | None]:
    """Return the names in a list of revisions, each with its commit where one is said, the newest last."""
    known = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("Revision"), str)]
    known.sort(key=lambda entry: entry["CreatedAt"] if isinstance(entry.get("CreatedAt"), int) else 0)
    return {entry["Revision"]: next(filter(_is_commit, entry.values()), None) for entry in known}


def _is_commit(value: Any) -> bool:
    return isinstance(value, str) and COMMIT.fullmatch(value) is not None
