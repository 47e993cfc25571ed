"""A double of Hugging Face on the loopback: what its own client asks when it reads a repository."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote

from tests.network.hub_server import HubServer, Reply, as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.network.hub_server import Request

LARGE = (".bin", ".png", ".jpg", ".mp4", ".parquet", ".zip")
"""Files that are kept outside git: they have a SHA-256 and come from another host."""
NAME, REVISION = r"(?P<name>[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
API = rf"/api/(?P<kind>datasets|models)/{NAME}"
PAGE = rf"/(?:(?P<kind>datasets)/)?{NAME}"
"""Where a repository is for programs, and for readers."""


def git_blob(data: bytes) -> str:
    """Return the name that git gives to a content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324  git's own


@dataclass(frozen=True)
class Blob:
    """A content, in git or outside it."""

    data: bytes
    large: bool

    @property
    def sha256(self) -> str:
        """The name of a large content."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        """The name in git: of the content, or of the pointer to it."""
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        return git_blob(pointer.encode() if self.large else self.data)

    def listed(self, path: str) -> dict[str, Any]:
        """Return how the tree lists it."""
        entry = {"type": "file", "path": path, "size": len(self.data), "oid": self.oid}
        if self.large:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.data), "pointerSize": 134}
        return entry


@dataclass
class Repo:
    """A repository with its history."""

    id: str
    kind: str = "dataset"
    private: bool = False
    gated: bool | str = False
    """`auto` or `manual`, which True means too."""
    granted: set[str] = field(default_factory=set)
    """Users whom a gated repository lets in."""
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    proposals: dict[str, str] = field(default_factory=dict)
    """`refs/pr/N` -> commit."""

    def commit(self, changes: Mapping[str, bytes | Blob | None], branch: str = "main") -> str:
        """Add, replace and (None) remove files of a branch; return the commit."""
        oid = self.branches[branch] = self.added(self.branches.get(branch, ""), changes)
        return oid

    def added(self, parent: str, changes: Mapping[str, bytes | Blob | None]) -> str:
        """Make a commit that nothing names yet."""
        files = dict(self.commits.get(parent, {}))
        for path, data in changes.items():
            if data is None:
                del files[path]
            else:
                files[path] = data if isinstance(data, Blob) else Blob(data, path.endswith(LARGE))
        oid = hashlib.sha1(f"{self.id} {len(self.commits)}".encode()).hexdigest()  # noqa: S324
        self.commits[oid] = files
        return oid

    def at(self, revision: str) -> str | None:
        """Return the commit that a branch, tag, pull request, commit or the start of one names."""
        named = self.branches.get(revision) or self.tags.get(revision) or self.proposals.get(revision)
        if named or len(revision) < 7:
            return named
        return next((oid for oid in self.commits if oid.startswith(revision)), None)


class RefusalError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        named = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **headers}
        self.reply = as_json({"error": message}, status, named)


class Asker(NamedTuple):
    """Who asks, and for which repository."""

    user: str | None
    repo: Repo


class HuggingFaceDouble(HubServer):
    """Serves repositories as Hugging Face does; large files come from another name of this host, as from its CDN."""

    def __init__(self, *, page_size: int = 1000) -> None:
        super().__init__()
        self.page_size = page_size
        self.tokens = {"hf_alice": "alice", "hf_bob": "bob"}
        self.orgs: dict[str, dict[str, str]] = {}
        """User -> organisation -> the role in it."""
        self.repos: dict[str, Repo] = {}
        """By name; those of models by `models/` and their name."""
        self.on_other_host: dict[str, bytes] = {}
        self.xet: dict[str, str] = {}
        """SHA-256 -> the name of the content in the store that `xet_store` says."""
        self.xet_store = ""
        """Where the client finds chunks; it also reads folders, as `local://<folder>`."""
        self.routes: list[tuple[str, re.Pattern[str], Callable[..., Reply]]] = []
        self.route("GET", API, self.info)
        self.route("GET", rf"{API}/revision/{REVISION}", self.info)
        self.route("GET", rf"{API}/refs", self.refs)
        self.route("GET", rf"{API}/tree/{REVISION}(?:/(?P<folder>.+))?", self.tree)
        self.route("POST", rf"{API}/paths-info/{REVISION}", self.paths_info)
        self.route("GET|HEAD", rf"{PAGE}/resolve/{REVISION}/(?P<path>.+)", self.resolve)
        self.route("GET", rf"{API}/xet-read-token/{REVISION}", self.xet_token)
        self.route("GET|HEAD", r"/_cdn/(?P<sha256>[0-9a-f]{64})", self.cdn)

    @property
    def elsewhere(self) -> str:
        """Where large contents are: another host, which is given no token."""
        return self.endpoint.replace(self.host, "localhost")

    def route(self, methods: str, path: str, to: Callable[..., Reply]) -> None:
        """Let a method answer the paths of a shape."""
        self.routes.append((methods, re.compile(path), to))

    def repo(self, name: str, files: dict[str, bytes], **options: Any) -> Repo:
        """Make a repository with one commit."""
        made = Repo(name, **options)
        self.repos[self.key(made.kind, name)] = made
        made.commit(files)
        return made

    @staticmethod
    def key(kind: str, name: str) -> str:
        """Return by what a repository is kept."""
        return name if kind.startswith("dataset") else f"models/{name}"

    def answer(self, request: Request) -> Reply:
        """Answer one request."""
        try:
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            if token and token not in self.tokens:
                raise RefusalError(401, "", "Invalid credentials in Authorization header")
            for methods, path, to in self.routes:
                match = path.fullmatch(request.raw_path)
                if match and request.method in methods.split("|"):
                    found = {key: unquote(value) for key, value in match.groupdict().items() if value is not None}
                    return to(request, **self._seen(self.tokens.get(token), found))
            raise RefusalError(404, "", f"no route {request.path}")
        except RefusalError as refusal:
            return refusal.reply

    def _seen(self, user: str | None, found: dict[str, str]) -> dict[str, Any]:
        """Put who asks for what in place of a repository's name, or refuse."""
        if "name" not in found:
            return dict(found)
        repo = self.repos.get(self.key(found.pop("kind", "models"), found.pop("name")))
        if repo is None or (repo.private and not self.is_ours(user, repo.id)):
            raise RefusalError(404 if user else 401, "RepoNotFound", "Repository not found")
        return {"asker": Asker(user, repo), **found}

    def is_ours(self, user: str | None, name: str) -> bool:
        """Tell whether a repository, or one that is to be made, is a user's or of an organisation of theirs."""
        owner = name.partition("/")[0]
        return user is not None and (user == owner or owner in self.orgs.get(user, {}))

    def _commit(self, repo: Repo, revision: str) -> str:
        oid = repo.at(revision)
        if oid is None:
            raise RefusalError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return oid

    def info(self, request: Request, asker: Asker, revision: str = "main") -> Reply:
        """Answer what a repository is."""
        oid = self._commit(asker.repo, revision)
        gated = "manual" if asker.repo.gated is True else asker.repo.gated
        facts = {"private": asker.repo.private, "gated": gated}
        if "expand" in request.query:
            return as_json({"_id": "1", "id": asker.repo.id, "sha": oid, **facts})
        files = [{"rfilename": path} for path in sorted(asker.repo.commits[oid])]
        return as_json({"_id": "1", "id": asker.repo.id, "sha": oid, "siblings": files, **facts})

    def refs(self, request: Request, asker: Asker) -> Reply:
        """Answer the branches and tags, and the pull requests where they are asked for."""
        branches, tags = (
            [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid} for name, oid in names.items()]
            for kind, names in (("heads", asker.repo.branches), ("tags", asker.repo.tags))
        )
        proposals = [{"name": ref, "ref": ref, "targetCommit": oid} for ref, oid in asker.repo.proposals.items()]
        more = {"pullRequests": proposals} if "include_prs" in request.query else {}
        return as_json({"branches": branches, "tags": tags, "converts": [], **more})

    def tree(self, request: Request, asker: Asker, revision: str, folder: str = "") -> Reply:
        """Answer a page of the listing."""
        files = asker.repo.commits[self._commit(asker.repo, revision)]
        inside = f"{folder}/" if folder else ""
        chosen = {path: blob for path, blob in sorted(files.items()) if path.startswith(inside)}
        folders = sorted({path[:at] for path in chosen for at in range(len(inside) + 1, len(path)) if path[at] == "/"})
        entries = [{"type": "directory", "path": path, "oid": git_blob(path.encode()), "size": 0} for path in folders]
        entries += [blob.listed(path) for path, blob in chosen.items()]
        if folder and not entries:
            raise RefusalError(404, "EntryNotFound", f"{folder} does not exist on {revision}")
        if request.query.get("recursive", "").lower() != "true":
            entries = [entry for entry in entries if "/" not in str(entry["path"]).removeprefix(inside)]
        start = int(request.query.get("cursor", 0))
        headers = {}
        if start + self.page_size < len(entries):
            query = "&".join(f"{k}={quote(v)}" for k, v in request.query.items() if k != "cursor")
            following = f"{self.endpoint}{request.raw_path}?{query}&cursor={start + self.page_size}"
            headers["Link"] = f'<{following}>; rel="next"'
        return as_json(entries[start : start + self.page_size], headers=headers)

    def paths_info(self, request: Request, asker: Asker, revision: str) -> Reply:
        """Answer the entries of the paths that are asked for."""
        files = asker.repo.commits[self._commit(asker.repo, revision)]
        paths = parse_qs(request.body.decode()).get("paths", [])
        return as_json([files[path].listed(path) for path in paths if path in files])

    def resolve(self, request: Request, asker: Asker, revision: str, path: str) -> Reply:  # noqa: ARG002
        """Answer a file: its content, or where its content is."""
        oid = self._commit(asker.repo, revision)
        blob = asker.repo.commits[oid].get(path)
        if blob is None:
            raise RefusalError(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": oid})
        if asker.repo.gated and asker.user not in asker.repo.granted and not self.is_ours(asker.user, asker.repo.id):
            raise RefusalError(403 if asker.user else 401, "GatedRepo", "Access to this dataset is restricted")
        headers = {"X-Repo-Commit": oid, "Accept-Ranges": "bytes"}
        if not blob.large:
            return Reply(200, blob.data, {**headers, "ETag": f'"{blob.oid}"'}, is_file=True)
        self.on_other_host[blob.sha256] = blob.data
        linked = {"X-Linked-Size": str(len(blob.data)), "X-Linked-ETag": f'"{blob.sha256}"'}
        if blob.sha256 in self.xet:
            linked["X-Xet-Hash"] = self.xet[blob.sha256]
            linked["X-Xet-Refresh-Route"] = (
                f"{self.endpoint}/api/{asker.repo.kind}s/{asker.repo.id}/xet-read-token/{oid}"
            )
        where = f"{self.elsewhere}/_cdn/{blob.sha256}"
        return Reply(302, b"", {**headers, **linked, "ETag": f'"{blob.sha256}"', "Location": where})

    def xet_token(
        self,
        request: Request,  # noqa: ARG002
        asker: Asker,  # noqa: ARG002
        revision: str,  # noqa: ARG002
        *,
        expires: int = 9_999_999_999,
    ) -> Reply:
        """Answer where chunks are, and a token for them; its Python and its Rust half read it in two ways."""
        values = {
            "X-Xet-Cas-Url": self.xet_store,
            "X-Xet-Access-Token": "chunks",
            "X-Xet-Token-Expiration": str(expires),
        }
        return as_json({"accessToken": "chunks", "exp": expires, "casUrl": self.xet_store}, headers=values)

    def cdn(self, request: Request, sha256: str) -> Reply:  # noqa: ARG002
        """Answer a large content."""
        return Reply(200, self.on_other_host[sha256], {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"}, is_file=True)

    def bodies(self) -> list[str]:
        """Return what was asked for as a file's content: paths, and for large files their SHA-256."""
        found = []
        for request in self.log:
            match = re.match(r"(?:/datasets)?/[^/]+/[^/]+/resolve/[^/]+/(.+)|/_cdn/(.+)", request.path)
            if match and request.method == "GET":
                found.append(match[1] or match[2])
        return found
