"""The writing half of the double of ModelScope: what its client asks when a dataset or a model is pushed."""

from __future__ import annotations

import base64
import email
import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tests.network.hub_server import Reply, as_json
from tests.network.ms_double import ModelScopeDouble, MsRepo, envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.network.hub_server import Request

FIRST = {".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n", "README.md": b"---\nlicense: Other\n---\n"}
"""What a repository begins with."""
LISTED = 3000
"""Entries of a model repository that are listed at once, and no word that there are more."""
ACTIONS = 2000
"""Files in one commit."""
BATCH = "/info/lfs/objects/batch"


class RefusalError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str, code: Any = None) -> None:
        super().__init__(message)
        whole = {"Code": code or status, "Success": False, "Message": message, "RequestId": "1"}
        self.reply = Reply(status, json.dumps(whole).encode(), {"Content-Type": "application/json"})


@dataclass
class PushedMsRepo(MsRepo):
    """A repository that can be written."""

    visibility: int = 1
    """1 private, 3 internal, 5 public."""
    license: str = ""
    protected: int = 2
    """1: who wants to read applies for it."""
    locked: set[str] = field(default_factory=set)
    """Branches that nobody may push to."""


class PushableModelScope(ModelScopeDouble):
    """Takes pushes to datasets and models; commits are made as GitLab makes them, all or nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens["ms-alice-reads"] = "alice"
        self.readers = {"ms-alice-reads"}
        """Tokens that may only read."""
        self.models: dict[str, MsRepo] = {}
        self.blobs: dict[str, bytes] = {}
        """Large contents by their SHA-256."""
        self.history: list[dict[str, Any]] = []
        """What was asked of every commit that was made."""
        self.full = False
        """Whether there is no room for anything more."""
        self.between: list[Callable[[], None]] = []
        """What somebody else does, once, just before the next commit is made."""
        self.writes: list[tuple[str, str, Callable[[Request, PushedMsRepo, str], Reply]]] = [
            ("POST", BATCH, self.batch),
            ("POST", r"/commit/(.+)", self.commit),
        ]

    def pushed(self, kind: str, name: str) -> PushedMsRepo:
        """Return a repository."""
        repo = (self.repos if kind == "dataset" else self.models)[name]
        assert isinstance(repo, PushedMsRepo)
        return repo

    def made(self, kind: str, name: str, files: dict[str, bytes], **options: Any) -> PushedMsRepo:
        """Make a repository with one branch."""
        repo = PushedMsRepo(name, **options)
        repo.private = repo.visibility == 1
        repo.commit(dict(files))
        (self.repos if kind == "dataset" else self.models)[name] = repo
        return repo

    def answer(self, request: Request) -> Reply:
        """Answer one request."""
        try:
            return self._answered(request)
        except RefusalError as refusal:
            return refusal.reply

    def _answered(self, request: Request) -> Reply:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        user = self.tokens.get(token)
        if token and user is None:
            raise RefusalError(401, "invalid token")
        if request.path == "/openapi/v1/users/me":
            if user is None:
                raise RefusalError(401, "no token")
            return as_json({"success": True, "data": {"username": user}})
        if match := re.fullmatch(r"/_blobs/([0-9a-f]{64})", request.path):
            return self.put(request, match[1], token)
        if match := re.fullmatch(r"/api/v1/(model|dataset)s", request.path):
            return self.create(request, match[1], token)
        match = re.fullmatch(r"/api/v1/(repos/)?(model|dataset)s/([^/]+/[^/]+)(/.*)?", request.path)
        if not match:
            raise RefusalError(404, f"no route {request.path}")
        repo = (self.repos if match[2] == "dataset" else self.models).get(match[3])
        if not isinstance(repo, PushedMsRepo) or (repo.visibility == 1 and user != match[3].split("/")[0]):
            raise RefusalError(404, f"{match[2]} does not exist")
        rest = match[4] or ""
        if request.method == "POST":
            if token in self.readers or user != match[3].split("/")[0]:
                raise RefusalError(403, "no permission to write")
            for _, path, to in self.writes if match[1] else (("POST", "/repo/tag", self.tag),):
                if found := re.fullmatch(path, rest):
                    return to(request, repo, found[found.lastindex] if found.lastindex else "")
            raise RefusalError(404, f"no route {request.path}")
        if rest == "":
            said = {"Id": 1, "Visibility": repo.visibility, "License": repo.license, "ProtectedMode": repo.protected}
            return envelope(data=said)
        if rest == "/repo/files":
            return self.tree_of_model(request, repo)
        for _, path, of in self.routes:
            if path == rest:
                return of(request, repo)
        raise RefusalError(404, f"no route {request.path}")

    def create(self, request: Request, kind: str, token: str) -> Reply:
        """Make a repository with the files that they all begin with."""
        if kind == "model":
            asked = json.loads(request.body)
        else:
            head = b"Content-Type: " + request.headers["content-type"].encode() + b"\r\n\r\n"
            parts: Any = email.message_from_bytes(head + request.body).get_payload()
            asked = {one.get_param("name", header="content-disposition"): one.get_payload() for one in parts}
        owner = asked.get("Owner") or asked.get("Path")
        name = f"{owner}/{asked['Name']}"
        if owner not in self.tokens.values():
            raise RefusalError(400, "the namespace does not exist")
        if token in self.readers or self.tokens.get(token) != owner:
            raise RefusalError(403, "no permission to create in this namespace")
        if name in (self.repos if kind == "dataset" else self.models):
            raise RefusalError(400, "the name is in use already", 10020101001 if kind == "dataset" else 10010101001)
        self.made(
            kind,
            name,
            FIRST,
            visibility=int(asked["Visibility"]),
            license=asked["License"],
            protected=int(asked.get("ProtectedMode", 2)),
        )
        return envelope(data={"Id": 1, "Name": asked["Name"]})

    def batch(self, request: Request, repo: PushedMsRepo, _: str) -> Reply:  # noqa: ARG002
        """Answer where large contents are to be sent; of those that are here already it says nothing."""
        objects = []
        for asked in json.loads(request.body)["objects"]:
            if self.full:
                objects.append({**asked, "error": {"code": 507, "message": "storage quota exceeded"}})
            elif asked["oid"] not in self.blobs:
                objects.append({**asked, "actions": {"upload": {"href": f"{self.endpoint}/_blobs/{asked['oid']}"}}})
        return envelope(data={"objects": objects})

    def put(self, request: Request, sha256: str, token: str) -> Reply:
        """Take a large content."""
        if not token or token in self.readers:
            raise RefusalError(403, "no permission to write")
        if hashlib.sha256(request.body).hexdigest() != sha256:
            raise RefusalError(400, "another content than was announced")
        self.blobs[sha256] = request.body
        return Reply(200)

    def commit(self, request: Request, repo: PushedMsRepo, branch: str) -> Reply:
        """Add, replace and remove files: all of it, or none."""
        while self.between:
            self.between.pop()()
        asked = json.loads(request.body)
        if branch not in repo.revisions or branch in repo.tags:
            raise RefusalError(400, "You can only create or edit files when you are on a branch")
        if branch in repo.locked:
            raise RefusalError(403, "You are not allowed to push into this branch: it is protected")
        if len(asked["actions"]) > ACTIONS:
            raise RefusalError(422, f"commit request exceeds actions limit: {len(asked['actions'])} > {ACTIONS}")
        files = dict(repo.revisions[branch])
        for action in asked["actions"]:
            path = action["path"]
            if action["action"] == "delete":
                if files.pop(path, None) is None:
                    raise RefusalError(400, "A file with this name doesn't exist")
                continue
            if any(other.startswith(f"{path}/") or path.startswith(f"{other}/") for other in files):
                raise RefusalError(400, "a file and a folder of one name")
            files[path] = self._content(action)
        repo.revisions[branch] = files
        self.history.append(asked)
        oid = hashlib.sha1(repr(sorted(files.items())).encode(), usedforsecurity=False).hexdigest()
        if branch in repo.commits:
            repo.commits[branch] = oid
        return envelope(data={"oid": oid})

    def _content(self, action: dict[str, Any]) -> bytes:
        if action["type"] == "normal":
            data = base64.b64decode(action["content"], validate=True)
        elif action["sha256"] in self.blobs:
            data = self.blobs[action["sha256"]]
        else:
            raise RefusalError(400, "a large file was not sent")
        if len(data) != action["size"]:
            raise RefusalError(400, "another size than was announced")
        return data

    def tag(self, request: Request, repo: PushedMsRepo, _: str) -> Reply:
        """Name what a revision is at."""
        asked = json.loads(request.body)
        if asked["TagName"] in repo.revisions:
            raise RefusalError(400, "the tag exists already")
        files = repo.at(asked["Ref"])
        if files is None:
            raise RefusalError(404, "revision does not exist")
        repo.revisions[asked["TagName"]] = dict(files)
        repo.tags.add(asked["TagName"])
        if asked["Ref"] in repo.commits:
            repo.commits[asked["TagName"]] = repo.commits[asked["Ref"]]
        return envelope(data={})

    def tree_of_model(self, request: Request, repo: PushedMsRepo) -> Reply:
        """Answer the listing of a model: no pages, cut off in silence, below one folder where that is asked."""
        root = request.query.get("Root", "").strip("/")
        shallow = request.query["Recursive"] != "True"
        whole = self.tree(replace(request, query={**request.query, "PageSize": "1000000", "PageNumber": "1"}), repo)
        entries = json.loads(whole.body).get("Data", {}).get("Files") if whole.status == 200 else None
        if entries is None:
            return whole
        below = [one for one in entries if not root or one["Path"].startswith(f"{root}/")]
        depth = root.count("/") + 1 if root else 0
        found = [one for one in below if not shallow or one["Path"].count("/") == depth]
        return envelope(data={"Files": found[:LISTED]})
