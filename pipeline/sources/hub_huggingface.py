"""Hugging Face through its own client: the one door to `huggingface_hub` for sources.

What the client leaves to us (version 2.4): it does not try again when it asks for a commit, when the body of a file
answers 5xx, or when a connection is reset in the middle of a body.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, Final, Literal

from pipeline.sources.hub_client import NOT_READY, Words, listing_of
from pipeline.sources.hub_listing import ListedFile
from pipeline.sources.hub_ranges import Part, part_of
from pipeline.sources.hub_retry import Failure, asked_wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.sources.hub_listing import HubRepo, Listing

KIND: Final = "dataset"


def endpoint() -> str:
    """Return where Hugging Face is: HF_ENDPOINT, or what its client has built in."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def is_offline() -> bool:
    """Say whether HF_HUB_OFFLINE forbids the network, by the client's own reading of it."""
    from huggingface_hub import constants

    return constants.is_offline_mode() or os.environ.get("HF_HUB_OFFLINE", "").upper() in constants.ENV_VARS_TRUE_VALUES


class HuggingFace:
    """The client of Hugging Face, bound to one repository: of a dataset, unless another kind is said."""

    def __init__(
        self, repo: HubRepo, token: str | None, *, kind: Literal["dataset", "model"] = KIND, words: Words | None = None
    ) -> None:
        """Take the token that is given, else the one that the client finds (HF_TOKEN, or where it was stored)."""
        from huggingface_hub import HfApi
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        self._repo = repo
        self._kind = kind
        self._token = token
        self._api = HfApi(endpoint=endpoint(), token=token)
        sent = build_hf_headers(token=token).get("authorization", "").removeprefix("Bearer ")
        self._words = words or Words(
            repo=repo, endpoint=self._api.endpoint, token=sent or None, variable="HF_TOKEN", login="hf auth login"
        )

    def commit(self) -> str | None:
        """Ask which commit the revision is at now."""
        if self._repo.pinned:
            return self._repo.pinned
        asked: Any = ["sha"]  # the client's types know of one property, its code of any number
        sha = self._api.repo_info(self._repo.id, repo_type=self._kind, revision=self._repo.at, expand=asked).sha
        if not isinstance(sha, str) or not sha.isalnum():
            raise ValueError("no commit")
        return sha

    def listing(self, commit: str | None) -> Listing:
        """List all files of a commit, page by page."""
        at = commit or self._repo.at
        return listing_of(self._repo, at, self._entries(at))

    def _entries(self, at: str) -> Iterator[tuple[str, ListedFile]]:
        from huggingface_hub.hf_api import RepoFile

        for entry in self._api.list_repo_tree(self._repo.id, recursive=True, revision=at, repo_type=self._kind):
            if isinstance(entry, RepoFile):
                # `oid` is the blob of the pointer for large files, and of the content for all others
                lfs = entry.lfs
                yield (
                    entry.path,
                    ListedFile(
                        size=lfs.size if lfs else entry.size,
                        sha256=lfs.sha256 if lfs else None,
                        git=None if lfs else entry.blob_id,
                    ),
                )

    def fetch(self, path: str, listed: ListedFile, commit: str, scratch: Path, *, attempt: int) -> Path:  # noqa: ARG002
        """Download one file; a copy in the user's cache is taken the first time."""
        if attempt == 0:
            # Half a file of a killed run, which the client does not go on with.
            shutil.rmtree(scratch, ignore_errors=True)
        got = self._api.hf_hub_download(
            self._repo.id,
            path,
            repo_type=self._kind,
            revision=commit,
            local_dir=scratch,
            force_download=attempt > 0,
            tqdm_class=_silent_bar(),
        )
        return scratch.joinpath(got)

    def read(self, path: str, commit: str, start: int, end: int) -> Part:
        """Fetch the bytes of a file from a place up to another, and no others."""
        from huggingface_hub import constants, hf_hub_url
        from huggingface_hub.utils import (  # type: ignore[attr-defined]
            build_hf_headers,
            get_session,
            hf_raise_for_status,
        )

        url = hf_hub_url(self._repo.id, path, repo_type=self._kind, revision=commit, endpoint=self._api.endpoint)
        asked = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        headers = {**build_hf_headers(token=self._token), **asked}
        # another host, to which it may be sent on, is not given the token by the client
        with get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
            if response.status_code >= 400:
                response.read()
            hf_raise_for_status(response)
            return part_of(self._words, response.status_code, response.headers, response.iter_bytes(), (start, end))

    def failure(self, error: Exception) -> Failure:
        """Say in words what the client raised."""
        import httpx2
        from huggingface_hub import errors

        # What a file's HEAD raised stands behind an error that speaks of a cache, or of a forced download.
        if (
            isinstance(error, errors.LocalEntryNotFoundError | ValueError)
            and not isinstance(error, errors.HfHubHTTPError)
            and isinstance(error.__cause__, Exception)
        ):
            error = error.__cause__
        words = self._words
        if isinstance(error, errors.GatedRepoError):
            return Failure(error=words.gated())
        if isinstance(error, errors.RevisionNotFoundError):
            return Failure(error=words.no_revision(self._revisions()))
        if isinstance(error, errors.RemoteEntryNotFoundError):
            return Failure(error=words.no_file())
        if isinstance(error, errors.RepositoryNotFoundError):
            return Failure(error=words.not_found())
        if isinstance(error, errors.HfHubHTTPError):
            return self._answer(error)
        if isinstance(error, httpx2.ProxyError):
            return words.network(error, proxy=True)
        if isinstance(error, httpx2.TimeoutException):
            return words.network("no answer in time")
        if isinstance(error, httpx2.HTTPError):
            return words.network(error)
        if isinstance(error, errors.HFValidationError):
            return Failure(error=words.refused(400, error))
        if isinstance(error, RuntimeError) or type(error).__module__.partition(".")[0] == "hf_xet":
            # Whoever fails to connect closes the connections of all threads (`http_backoff`), whose calls then end in
            # a RuntimeError; and the storage of large files (Xet) has errors of its own.
            return words.network(error)
        return words.other(error)

    def _answer(self, error: Any) -> Failure:
        status, headers = error.response.status_code, error.response.headers
        said = headers.get("X-Error-Message")
        if status in NOT_READY:
            from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

            limit = parse_ratelimit_headers(headers)
            wait = asked_wait(headers.get("Retry-After"))
            if limit is not None and limit.remaining == 0 and wait is None:
                wait = float(limit.reset_in_seconds)
            return self._words.busy(status, wait)
        if status == 401:
            return Failure(error=self._words.bad_token())
        if status == 403:
            return Failure(error=self._words.denied(said))
        return Failure(error=self._words.refused(status, said))

    def _revisions(self) -> list[str]:
        """Return the names of branches and tags, or none when they cannot be had."""
        try:
            refs = self._api.list_repo_refs(self._repo.id, repo_type=self._kind)
            return [ref.name for ref in (*refs.branches, *refs.tags)]
        except Exception:  # noqa: BLE001  only a hint would be better for it
            return []


def _silent_bar() -> Any:
    """Return a progress bar that draws nothing: the build shows its own progress."""
    from huggingface_hub import utils

    bar: Any = utils.tqdm  # type: ignore[attr-defined]

    class Silent(bar):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})

    return Silent
