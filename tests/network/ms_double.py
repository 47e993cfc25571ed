"""A double of ModelScope on the loopback: what its own client asks when it reads a dataset repository."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.network.hub_server import HubServer, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.network.hub_server import Request


def envelope(status: int = 200, data: Any = None, message: str = "success") -> Reply:
    """Give a reply in the form that all of its API has."""
    whole = {"Code": status, "Success": status < 400, "Message": message, "RequestId": "1", "Data": data}
    return Reply(status, json.dumps(whole).encode(), {"Content-Type": "application/json"})


@dataclass
class MsRepo:
    """A dataset repository: what its branches and tags hold."""

    id: str
    private: bool = False
    revisions: dict[str, dict[str, bytes]] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    commits: dict[str, str] = field(default_factory=dict)
    """Revision -> commit id, where the list of revisions says it."""
    says_hashes: bool = True
    says_sizes: bool = True

    def commit(self, changes: dict[str, bytes | None], revision: str = "master") -> None:
        """Add, replace and (None) remove files."""
        files = {**self.revisions.get(revision, {}), **changes}
        self.revisions[revision] = {path: data for path, data in files.items() if data is not None}

    def at(self, revision: str) -> dict[str, bytes] | None:
        """Return the files at a branch, tag or commit."""
        named = next((name for name, oid in self.commits.items() if oid == revision), revision)
        return self.revisions.get(named)


class ModelScopeDouble(HubServer):
    """Serves repositories as ModelScope does."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = {"ms-alice": "alice", "ms-bob": "bob"}
        self.repos: dict[str, MsRepo] = {}
        self.routes: list[tuple[str, str, Callable[[Request, MsRepo], Reply]]] = [
            ("GET", "/revisions", self.list_revisions),
            ("GET", "/repo/tree", self.tree),
            ("GET", "/repo", self.file),
        ]

    def repo(self, name: str, files: dict[str, bytes], **options: Any) -> MsRepo:
        """Make a repository with one branch."""
        made = self.repos[name] = MsRepo(name, **options)
        made.commit(dict(files))
        return made

    def answer(self, request: Request) -> Reply:
        """Answer one request."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.tokens:
            return envelope(401, message="invalid token")
        match = re.fullmatch(r"/api/v1/datasets/([^/]+/[^/]+)(/.*)?", request.path)
        if not match:
            return envelope(404, message=f"no route {request.path}")
        repo = self.repos.get(match[1])
        if repo is None or (repo.private and self.tokens.get(token) != match[1].split("/")[0]):
            return envelope(404, message="dataset does not exist")
        for method, path, to in self.routes:
            if (method, path) == (request.method, match[2]):
                return to(request, repo)
        return envelope(404, message=f"no route {request.path}")

    def list_revisions(self, request: Request, repo: MsRepo) -> Reply:  # noqa: ARG002
        """Answer the branches and tags."""
        kinds: dict[str, list[dict[str, Any]]] = {"Branches": [], "Tags": []}
        for name in repo.revisions:
            said = {"CommitId": repo.commits[name]} if name in repo.commits else {}
            kinds["Tags" if name in repo.tags else "Branches"].append({"Revision": name, "CreatedAt": 1, **said})
        return envelope(data={"RevisionMap": kinds})

    def tree(self, request: Request, repo: MsRepo) -> Reply:
        """Answer a page of the listing."""
        files = repo.at(request.query["Revision"])
        if files is None:
            return envelope(404, message="revision does not exist")
        folders = sorted({path[:at] for path in files for at in range(1, len(path)) if path[at] == "/"})
        entries: list[dict[str, Any]] = [{"Path": path, "Type": "tree", "Size": 0, "Sha256": ""} for path in folders]
        for path, data in sorted(files.items()):
            sha256 = hashlib.sha256(data).hexdigest() if repo.says_hashes else ""
            size = len(data) if repo.says_sizes else 0
            entries.append({"Path": path, "Name": path.rsplit("/")[-1], "Type": "blob", "Size": size, "Sha256": sha256})
        size, page = int(request.query["PageSize"]), int(request.query["PageNumber"])
        return envelope(data={"Files": entries[(page - 1) * size : page * size]})

    def file(self, request: Request, repo: MsRepo) -> Reply:
        """Answer a file."""
        data = (repo.at(request.query.get("Revision", "master")) or {}).get(request.query["FilePath"])
        if data is None:
            return envelope(404, message="file does not exist")
        return Reply(200, data, {"Content-Type": "application/octet-stream"}, is_file=True)

    def bodies(self) -> list[str]:
        """Return the paths whose content was asked for."""
        return [request.query["FilePath"] for request in self.log if request.path.endswith("/repo")]
