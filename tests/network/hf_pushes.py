"""The writing half of the double of Hugging Face: what its client asks when something is pushed."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tests.network.hf_chunks import ChunkStore
from tests.network.hf_double import (
    API,
    LARGE,
    PAGE,
    REVISION,
    Blob,
    HuggingFaceDouble,
    RefusalError,
    Repo,
)
from tests.network.hub_server import Reply, as_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.network.hf_double import Asker
    from tests.network.hub_server import Request

SHA256 = r"(?P<sha256>[0-9a-f]{64})"
ATTRIBUTES = b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"
LATER = 9_999_999_999


@dataclass
class Discussion:
    """A pull request, as it is talked about."""

    number: int
    title: str
    author: str
    status: str = "open"


class PushableDouble(HuggingFaceDouble):
    """Takes pushes of whoever may write: large files as Git LFS sends them, or through Xet where it has a store."""

    def __init__(self, *, chunks: Path | None = None, part: int | None = None) -> None:
        """`chunks`: where the storage of chunks is; `part`: bytes of a part of a larger file."""
        super().__init__()
        self.stored: dict[str, bytes] = {}
        """Large contents by their SHA-256."""
        self.chunks = ChunkStore(chunks) if chunks else None
        self.xet_store = self.chunks.url if self.chunks else ""
        self.xet_expires = LATER
        self.part = part
        self.parts: dict[tuple[str, int], bytes] = {}
        self.kept_in_git = 10_000_000
        """The most bytes of a file that stays in git."""
        self.roles: dict[str, str | dict[str, Any]] = {}
        """Token -> its role (`write` where none is said), or what it was given where it is fine-grained."""
        self.is_told_what_is_ignored = True
        """Whether the .gitignore that is sent goes before the one in the repository."""
        self.full = ""
        """What is said of every large content that is not here yet."""
        self.discussions: dict[str, list[Discussion]] = {}
        self.titles: dict[str, str] = {}
        """Commit -> its title."""
        self.route("GET", r"/api/whoami-v2", self.whoami)
        self.route("POST", r"/api/validate-yaml", self.validate_yaml)
        self.route("POST", r"/api/repos/create", self.create)
        self.route("PUT", rf"{API}/settings", self.settings)
        self.route("POST|DELETE", rf"{API}/branch/(?P<branch>[^/]+)", self.branch)
        self.route("POST|DELETE", rf"{API}/tag/{REVISION}", self.tag)
        self.route("GET", rf"{API}/discussions", self.discuss)
        self.route("POST", rf"{API}/preupload/{REVISION}", self.preupload)
        self.route("GET", rf"{API}/xet-write-token/{REVISION}", self.xet_write_token)
        self.route("POST", rf"{PAGE}\.git/info/lfs/objects/batch", self.batch)
        self.route("PUT", rf"/_lfs/{SHA256}(?:/(?P<part>\d+))?", self.put)
        self.route("POST", rf"/_lfs/{SHA256}/complete", self.complete)
        self.route("POST", rf"/_lfs/{SHA256}/verify", self.verify)
        self.route("POST", rf"{API}/commit/{REVISION}", self.commit)

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """Return the files of a repository, as they are on its main branch or another revision."""
        repo = self.repos[name]
        return {path: blob.data for path, blob in repo.commits[self._commit(repo, revision)].items()}

    def asked_of_the_api(self) -> list[Request]:
        """Return the requests that count against the limits of the hub: all but contents."""
        return [request for request in self.log if not request.path.startswith(("/_lfs/", "/_cdn/"))]

    # -- who may

    def _user(self, request: Request) -> tuple[str, str | dict[str, Any]]:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            raise RefusalError(401, "", "Invalid username or password.")
        return self.tokens[token], self.roles.get(token, "write")

    def _writing(self, request: Request, name: str, *, proposing: bool = False) -> str:
        user, role = self._user(request)
        owner = name.partition("/")[0]
        member = user == owner or self.orgs.get(user, {}).get(owner) in ("admin", "write", "contributor")
        if isinstance(role, dict):
            scopes = [scope for scope in role["scoped"] if scope["entity"]["name"] in (owner, name)]
            member = any({"repo.write", "repo.content.write"} & set(scope["permissions"]) for scope in scopes)
        if role == "read" or not (member or proposing):
            raise RefusalError(403, "", f"You don't have the rights to write to {name}")
        return user

    def whoami(self, request: Request) -> Reply:
        """Answer whose token this is, and what it is for."""
        user, role = self._user(request)
        fine = {"fineGrained": role} if isinstance(role, dict) else {}
        token = {"displayName": "t", "role": "fineGrained" if fine else role, **fine}
        orgs = [{"type": "org", "name": org, "roleInOrg": role} for org, role in self.orgs.get(user, {}).items()]
        auth = {"type": "access_token", "accessToken": token}
        return as_json({"type": "user", "id": "1", "name": user, "fullname": user, "orgs": orgs, "auth": auth})

    # -- repositories

    def create(self, request: Request) -> Reply:
        """Make an empty repository."""
        asked = json.loads(request.body)
        kind = asked.get("type") or "model"
        name = f"{asked.get('organization') or self._user(request)[0]}/{asked['name']}"
        self._writing(request, name)
        url = f"{self.endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}"
        if self.key(kind, name) in self.repos:
            return as_json({"error": "You already created this repo", "url": url}, 409)
        made = Repo(name, kind=kind, private=asked.get("visibility") == "private")
        self.repos[self.key(kind, name)] = made
        made.commit({".gitattributes": ATTRIBUTES})
        return as_json({"url": url, "name": name, "id": "1"})

    def settings(self, request: Request, asker: Asker) -> Reply:
        """Change who sees a repository."""
        self._writing(request, asker.repo.id)
        asked = json.loads(request.body)
        asker.repo.gated = asked.get("gated", asker.repo.gated)
        if "visibility" in asked:
            asker.repo.private = asked["visibility"] == "private"
        return as_json({})

    def branch(self, request: Request, asker: Asker, branch: str) -> Reply:
        """Make or remove a branch."""
        self._writing(request, asker.repo.id)
        if request.method == "DELETE":
            del asker.repo.branches[branch]
            return as_json({})
        if branch in asker.repo.branches:
            raise RefusalError(409, "", f"Reference already exists: {branch}")
        start = json.loads(request.body or b"{}").get("startingPoint") or "main"
        asker.repo.branches[branch] = self._commit(asker.repo, start)
        return as_json({})

    def tag(self, request: Request, asker: Asker, revision: str) -> Reply:
        """Name a commit, or remove a name."""
        self._writing(request, asker.repo.id)
        if request.method == "DELETE":
            del asker.repo.tags[revision]
            return as_json({})
        name = json.loads(request.body)["tag"]
        if name in asker.repo.tags:
            raise RefusalError(409, "", f"Tag reference exists already: {name}")
        asker.repo.tags[name] = self._commit(asker.repo, revision)
        return as_json({})

    def discuss(self, request: Request, asker: Asker) -> Reply:
        """Answer the pull requests of an author, the newest first."""
        repo, author = asker.repo, request.query.get("author")
        found = [
            {
                "title": one.title,
                "num": one.number,
                "author": {"name": one.author},
                "createdAt": "2026-01-01T00:00:00.000Z",
                "status": one.status,
                "repo": {"name": repo.id, "type": repo.kind},
                "isPullRequest": True,
            }
            for one in reversed(self.discussions.get(self.key(repo.kind, repo.id), []))
            if author in (None, one.author)
        ]
        start = 10 * int(request.query.get("p", 0))
        return as_json({"count": len(found), "start": start, "discussions": found[start : start + 10]})

    # -- contents

    def validate_yaml(self, request: Request) -> Reply:
        """Look at the front matter of a card."""
        _, fence, rest = json.loads(request.body)["content"].partition("---\n")
        try:
            yaml.safe_load(rest.partition("\n---")[0] if fence else "")
        except yaml.YAMLError as error:
            return as_json({"errors": [{"message": str(error)}], "warnings": []}, 400)
        return as_json({"errors": [], "warnings": []})

    def preupload(self, request: Request, asker: Asker, revision: str) -> Reply:
        """Answer which files go into git, and which beside it."""
        asked = json.loads(request.body)
        files = asker.repo.commits[self._commit(asker.repo, revision)]
        theirs = files[".gitignore"].data.decode() if ".gitignore" in files else ""
        rules = asked.get("gitIgnore", theirs) if self.is_told_what_is_ignored else theirs
        ignored = [line for line in rules.splitlines() if line[:1] not in ("", "#")]
        answers: list[dict[str, Any]] = []
        for one in asked["files"]:
            path, old = one["path"], files.get(one["path"])
            mode = "lfs" if path.endswith(LARGE) or one["size"] > self.kept_in_git else "regular"
            oid = (old.sha256 if old.large else old.oid) if old is not None else None
            ignore = any(fnmatch.fnmatch(path, pattern) for pattern in ignored)
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": ignore, "oid": oid})
        return as_json({"files": answers})

    def xet_write_token(self, request: Request, asker: Asker, revision: str) -> Reply:
        """Answer where chunks go, and a token for that."""
        self._writing(request, asker.repo.id, proposing="create_pr" in request.query)
        if not self.xet_store:
            raise RefusalError(404, "", "no storage of chunks here")
        return self.xet_token(request, asker, revision, expires=self.xet_expires)

    def batch(self, request: Request, asker: Asker) -> Reply:
        """Answer where large contents are to be sent; those that are here already are not asked for."""
        asked = json.loads(request.body)
        self._writing(request, asker.repo.id, proposing="ref" not in asked)
        objects = []
        for one in asked["objects"]:
            answer = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.stored:
                answer |= {"error": {"code": 403, "message": self.full}} if self.full else self._actions(**one)
            objects.append(answer)
        return as_json({"transfer": "multipart" if self.part else "basic", "objects": objects})

    def _actions(self, oid: str, size: int) -> dict[str, Any]:
        place, elsewhere = (f"{end}/_lfs/{oid}" for end in (self.endpoint, self.elsewhere))
        upload: dict[str, Any] = {"href": elsewhere}
        if self.part and size > self.part:
            parts = {f"{number:05}": f"{elsewhere}/{number}" for number in range(1, math.ceil(size / self.part) + 1)}
            upload = {"href": f"{place}/complete", "header": {"chunk_size": str(self.part), **parts}}
        return {"actions": {"upload": upload, "verify": {"href": f"{place}/verify"}}}

    def put(self, request: Request, sha256: str, part: str = "") -> Reply:
        """Take a large content, or a part of it."""
        if part:
            self.parts[sha256, int(part)] = request.body
        else:
            self._store(sha256, request.body)
        return Reply(200, headers={"ETag": f'"{len(request.body)}"'})

    def complete(self, request: Request, sha256: str) -> Reply:
        """Put a content together from its parts."""
        numbers = [one["partNumber"] for one in json.loads(request.body)["parts"]]
        self._store(sha256, b"".join(self.parts.pop((sha256, number)) for number in numbers))
        return as_json({"success": True})

    def _store(self, sha256: str, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != sha256:
            raise RefusalError(400, "", "another content than was announced")
        self.stored[sha256] = data

    def verify(self, request: Request, sha256: str) -> Reply:
        """Answer whether a content has arrived."""
        self._user(request)
        return Reply(200 if len(self.stored.get(sha256, b"")) == json.loads(request.body)["size"] else 404)

    # -- commits

    def commit(self, request: Request, asker: Asker, revision: str) -> Reply:
        """Add, replace and remove files, all of them or none."""
        repo, proposing = asker.repo, "create_pr" in request.query
        user = self._writing(request, repo.id, proposing=proposing)
        if revision not in repo.branches:
            raise RefusalError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        entries = [json.loads(line) for line in request.body.splitlines()]
        header = next(entry["value"] for entry in entries if entry["key"] == "header")
        head = repo.branches[revision]
        parent = self._commit(repo, header.get("parentCommit") or head)
        if parent != head and not proposing:
            raise RefusalError(412, "", "A commit has happened since. Please refresh and try again.")
        oid = repo.added(parent, dict(self._changes(entries, repo.commits[parent])))
        self.titles[oid] = header["summary"]
        page = f"{self.endpoint}/{'datasets/' if repo.kind == 'dataset' else ''}{repo.id}"
        answer = {"success": True, "commitOid": oid, "commitUrl": f"{page}/commit/{oid}", "hookOutput": ""}
        if proposing:
            talks = self.discussions.setdefault(self.key(repo.kind, repo.id), [])
            talks.append(Discussion(len(talks) + 1, header["summary"], user))
            repo.proposals[f"refs/pr/{len(talks)}"] = oid
            answer["pullRequestUrl"] = f"{page}/discussions/{len(talks)}"
        else:
            repo.branches[revision] = oid
        return as_json(answer)

    def _changes(self, entries: list[dict[str, Any]], before: dict[str, Blob]) -> Iterator[tuple[str, Blob | None]]:
        """Yield what becomes of each path; a large file of a sort that is new is noted in `.gitattributes`, too."""
        large = {entry["value"]["path"]: entry["value"]["oid"] for entry in entries if entry["key"] == "lfsFile"}
        contents = self._large(set(large.values()))
        for entry in entries:
            path = entry["value"].get("path")
            if entry["key"] == "file":
                yield path, Blob(base64.b64decode(entry["value"]["content"]), large=False)
            elif entry["key"] == "lfsFile":
                yield path, Blob(contents[large[path]], large=True)
            elif entry["key"] == "deletedFile":
                if path not in before:
                    raise RefusalError(404, "EntryNotFound", "A file with this name doesn't exist")
                yield path, None
        new = "".join(f"{path} filter=lfs diff=lfs merge=lfs -text\n" for path in large if not path.endswith(LARGE))
        if new and ".gitattributes" in before and new.encode() not in before[".gitattributes"].data:
            yield ".gitattributes", Blob(before[".gitattributes"].data + new.encode(), large=False)

    def _large(self, wanted: set[str]) -> dict[str, bytes]:
        """Return large contents by their SHA-256, wherever they were sent to."""
        missing = wanted - set(self.stored)
        if missing and self.chunks:
            known = self.chunks.contents()
            found = {sha256: known[sha256] for sha256 in missing if sha256 in known}
            self.stored |= self.chunks.rebuilt(found)
            self.xet |= {sha256: chunked.name for sha256, chunked in found.items()}
        if wanted - set(self.stored):
            raise RefusalError(400, "", "Your push was rejected: an LFS pointer pointed to a file that does not exist.")
        return {sha256: self.stored[sha256] for sha256 in wanted}
