"""ModelScope through its own client: the one door to `modelscope_hub` for sources.

`modelscope_hub` is what `modelscope` itself calls. It tries again by itself, also after 5xx and cut bodies, and checks
sizes and hashes; it does not say at which commit a branch is, so a fingerprint of the listing stands for it.
"""

from __future__ import annotations

import functools
import logging
import os
import shutil
from typing import TYPE_CHECKING, Any

from pipeline.errors import SourceError
from pipeline.manifest import fingerprint
from pipeline.sources.hub_client import NOT_READY, Words, listing_of
from pipeline.sources.hub_listing import COMMIT, ListedFile, Listing
from pipeline.sources.hub_ranges import Part, part_of
from pipeline.sources.hub_retry import Failure, asked_wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from modelscope_hub import HubApi

    from pipeline.sources.hub_listing import HubRepo

KIND = "dataset"
CHUNK = 1 << 16
"""Bytes taken from a connection at a time."""
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The SHA-256 of no bytes; a size of 0 with another one means that the hub does not know the size."""


def endpoint() -> str:
    """Return where ModelScope is: MODELSCOPE_ENDPOINT, or what its client has built in."""
    from modelscope_hub.config import HubConfig
    from modelscope_hub.constants import DEFAULT_ENDPOINT

    given = os.environ.get("MODELSCOPE_ENDPOINT") or os.environ.get("MODELSCOPE_DOMAIN") or DEFAULT_ENDPOINT
    return str(HubConfig.normalize_endpoint(given))


def state_of(files: Mapping[str, ListedFile]) -> str:
    """Return what stands for the commit of a branch: a fingerprint of the files that are listed there."""
    return fingerprint(sorted((path, listed.size, listed.sha256) for path, listed in files.items()))


class ModelScope:
    """The client of ModelScope, bound to one repository."""

    def __init__(
        self,
        repo: HubRepo,
        token: str | None,
        *,
        kind: str = KIND,
        words: Words | None = None,
        api: HubApi | None = None,
    ) -> None:
        """Take the token that is given, else the one that the client finds (MODELSCOPE_API_TOKEN, or a stored one)."""
        from modelscope_hub import HubApi
        from modelscope_hub.config import HubConfig

        _be_quiet()
        self._repo = repo
        self._kind = kind
        config = HubConfig(endpoint=endpoint(), token=token)
        self._api = api or HubApi(config)
        self._words = words or Words(
            repo=repo,
            endpoint=str(config.endpoint),
            token=config.token or None,
            variable="MODELSCOPE_API_TOKEN",
            login="modelscope login",
        )

    def commit(self) -> str | None:
        """Ask which commit the revision is at now, where the hub says it with its branches and tags."""
        if self._repo.pinned:
            return self._repo.pinned
        for entry in self._api.list_repo_revisions(self._repo.id, self._kind):
            if entry.get("Revision") == self._repo.at:
                return next((v for v in entry.values() if isinstance(v, str) and COMMIT.fullmatch(v)), None)
        return None

    def listing(self, commit: str | None) -> Listing:
        """List all files of a commit or of the revision, page by page."""
        files = self._api.list_repo_files(self._repo.id, self._kind, revision=commit or self._repo.at)
        listing = listing_of(self._repo, commit or "", self._entries(files))
        if commit is None:
            listing = Listing(commit=state_of(listing.files), files=listing.files)
        return listing

    def _entries(self, files: Iterable[Any]) -> Iterator[tuple[str, ListedFile]]:
        for file in files:
            if file.type != "tree":
                sha256 = file.sha256.lower() if file.sha256 else None
                yield file.path, ListedFile(size=file.size if file.size or sha256 == EMPTY else None, sha256=sha256)

    def fetch(self, path: str, listed: ListedFile, commit: str, scratch: Path, *, attempt: int) -> Path:
        """Download one file, on from where a killed download of it ended; a copy in the user's cache is taken."""
        at = commit if COMMIT.fullmatch(commit) else self._repo.at
        if attempt == 0 and (cached := self._cached(path, listed, at, scratch)):
            return cached
        # locks go where `cache_dir` says, also when the file does not
        got = self._api.download_file(
            self._repo.id,
            self._kind,
            path,
            revision=at,
            cache_dir=scratch / "locks",
            local_dir=scratch / "file",
            expected_sha256=listed.sha256,
            file_size=listed.size,
        )
        return scratch.joinpath(got)

    def _cached(self, path: str, listed: ListedFile, at: str, scratch: Path) -> Path | None:
        """Copy a file from the user's cache (MODELSCOPE_CACHE), where it lies there and can be checked."""
        from modelscope_hub.errors import CacheNotFound

        if listed.sha256 is None:
            return None
        try:
            found = self._api.download_file(self._repo.id, self._kind, path, revision=at, local_files_only=True)
        except (CacheNotFound, ValueError, OSError):
            return None
        if found.stat().st_size != listed.size:
            return None
        copy = scratch / "cached"
        scratch.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, copy)
        return copy

    def read(self, path: str, commit: str, start: int, end: int) -> Part:
        """Fetch the bytes of a file from a place up to another, and no others."""
        at = commit if COMMIT.fullmatch(commit) else self._repo.at
        asked = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        with self._api.legacy.download_stream(self._repo.id, self._kind, path, revision=at, headers=asked) as response:
            chunks = response.iter_content(CHUNK)
            return part_of(self._words, response.status_code, response.headers, chunks, (start, end))

    def failure(self, error: Exception) -> Failure:
        """Say in words what the client raised."""
        import requests
        from modelscope_hub import errors

        words = self._words
        if isinstance(error, errors.FileIntegrityError):
            what = f"a file of {self._repo} is not what the hub's listing says: {words.said(error.message)}"
            hint = "it may have changed meanwhile: run it again; else tell its owner"
            return Failure(error=SourceError(what, hint=hint))
        if isinstance(error, errors.AuthenticationError):
            return Failure(error=words.bad_token() if words.token else words.not_found())
        if isinstance(error, errors.PermissionDeniedError):
            return Failure(error=words.denied(error.message))
        if isinstance(error, errors.NotExistError):
            return Failure(error=self._not_there())
        if isinstance(error, errors.APIError) and (error.retryable or error.status_code in NOT_READY):
            response = getattr(error, "response", None)
            wait = getattr(error, "retry_after", None)
            if wait is None and response is not None:
                wait = asked_wait(response.headers.get("Retry-After"))
            return words.busy(error.status_code, wait)
        if isinstance(error, errors.APIError):
            return Failure(error=words.refused(error.status_code or 0, error.message))
        if isinstance(error, requests.exceptions.ProxyError) or "ProxyError" in str(error):
            return words.network(error, proxy=True)
        if isinstance(error, errors.NetworkError | requests.RequestException):
            return words.network(error)
        if isinstance(error, errors.HubError):
            return Failure(error=SourceError(f"{self._repo}: {words.said(error.message)}"))
        return words.other(error)

    def _not_there(self) -> SourceError:
        """Tell a repository that is not there from a revision or a file that is not."""
        try:
            names = [str(entry.get("Revision")) for entry in self._api.list_repo_revisions(self._repo.id, self._kind)]
        except Exception:  # noqa: BLE001  the same answer again
            return self._words.not_found()
        if self._repo.pinned or self._repo.at not in names:
            return self._words.no_revision(names)
        return self._words.no_file()


def _be_quiet() -> None:
    """Let the client draw no bar for each file, which it has no option for, and log no page of a listing."""
    from modelscope_hub import _download

    if not os.environ.get("MODELSCOPE_LOG_LEVEL"):
        logging.getLogger("modelscope_hub").setLevel(logging.WARNING)

    module: Any = _download
    if hasattr(module, "tqdm") and not isinstance(module.tqdm, functools.partial):
        module.tqdm = functools.partial(module.tqdm, disable=True)
