"""The writing half of the double of Hugging Face: what its client asks when a dataset is pushed."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

from tests.network.hf_double import LARGE, HuggingFaceDouble, RefusalError, Repo
from tests.network.hub_server import Reply, as_json

if TYPE_CHECKING:
    from tests.network.hf_double import Asker
    from tests.network.hub_server import Request


class PushableDouble(HuggingFaceDouble):
    """Takes pushes of whoever has a token; large files come as Git LFS sends them, `HF_HUB_DISABLE_XET=1`."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[str, bytes] = {}
        """Large contents by their SHA-256."""
        name, revision = r"(?P<name>[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
        self.route("POST", r"/api/validate-yaml", self.validate_yaml)
        self.route("POST", r"/api/repos/create", self.create)
        self.route("POST", rf"/api/datasets/{name}/preupload/{revision}", self.preupload)
        self.route("POST", rf"/datasets/{name}\.git/info/lfs/objects/batch", self.batch)
        self.route("PUT", r"/_lfs/(?P<sha256>[0-9a-f]{64})", self.put)
        self.route("POST", rf"/api/datasets/{name}/commit/{revision}", self.commit)

    def files(self, name: str) -> dict[str, bytes]:
        """Return the files of a repository, as they are on its main branch."""
        repo = self.repos[name]
        return {path: blob.data for path, blob in repo.commits[repo.branches["main"]].items()}

    def validate_yaml(self, request: Request) -> Reply:  # noqa: ARG002
        """Find nothing wrong with a card."""
        return as_json({"errors": [], "warnings": []})

    def create(self, request: Request) -> Reply:
        """Make an empty repository."""
        asked = json.loads(request.body)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        name = f"{asked.get('organization') or self.tokens[token]}/{asked['name']}"
        if name not in self.repos:
            self.repos[name] = Repo(name)
            self.repos[name].commit({".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"})
        return as_json({"url": f"{self.endpoint}/datasets/{name}", "name": name, "id": "1"})

    def preupload(self, request: Request, asker: Asker, revision: str) -> Reply:
        """Answer which files go into git, and which beside it."""
        files = asker.repo.commits[self._commit(asker.repo, revision)]
        answers: list[dict[str, Any]] = []
        for asked in json.loads(request.body)["files"]:
            old, mode = files.get(asked["path"]), "lfs" if asked["path"].endswith(LARGE) else "regular"
            oid = (old.sha256 if old.large else old.oid) if old is not None else None
            answers.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return as_json({"files": answers})

    def batch(self, request: Request, asker: Asker) -> Reply:  # noqa: ARG002
        """Answer where large contents are to be sent; those that are here already are not asked for."""
        objects = []
        for asked in json.loads(request.body)["objects"]:
            known = asked["oid"] in self.stored
            actions = {"upload": {"href": f"{self.endpoint}/_lfs/{asked['oid']}"}}
            objects.append({"oid": asked["oid"], "size": asked["size"], **({} if known else {"actions": actions})})
        return as_json({"transfer": "basic", "objects": objects})

    def put(self, request: Request, sha256: str) -> Reply:
        """Take a large content."""
        if hashlib.sha256(request.body).hexdigest() != sha256:
            raise RefusalError(400, "", "another content than was announced")
        self.stored[sha256] = request.body
        return Reply(200)

    def commit(self, request: Request, asker: Asker, revision: str) -> Reply:
        """Add, replace and remove files."""
        before = self._commit(asker.repo, revision)
        changes: dict[str, bytes | None] = {}
        for line in request.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header" and not before.startswith(value.get("parentCommit") or ""):
                raise RefusalError(412, "", "A commit has happened since.")
            if entry["key"] == "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                changes[value["path"]] = self.stored[value["oid"]]
            elif entry["key"] == "deletedFile":
                changes[value["path"]] = None
        oid = asker.repo.commit(changes, revision)
        url = f"{self.endpoint}/datasets/{asker.repo.id}/commit/{oid}"
        return as_json({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})
