"""A folder to publish and a double of ModelScope to publish it to, through the real client."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.publish.modelscope import ModelScopeRemote
from pipeline.publish.plan import plan_push
from pipeline.publish.remote import Change, LocalFile, PublishError
from pipeline.publish.target import Target
from tests.network.hub_server import Fault
from tests.network.ms_pushes import PushableModelScope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from pipeline.publish.remote import Pushed, RemoteState
    from pipeline.publish.target import Kind
    from tests.network.hub_server import Request

NAME = "alice/birds"
SECRETS = ("ms-alice", "ms-bob", "ms-wrong")
FIRST_FILES = {
    "README.md": b"---\nlicense: mit\n---\n# Birds\n",
    "data/train-00000-of-00002.parquet": b"one" * 40_000,
    "data/train-00001-of-00002.parquet": b"two" * 40_000,
    "notes.txt": b"small, and within the commit",
}
SECOND_FILES = {
    "README.md": b"---\nlicense: mit\n---\n# More birds\n",
    "data/train-00000-of-00001.parquet": b"three" * 40_000,
    "notes.txt": b"small, and within the commit",
}


def leave_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Keep the client away from this machine's tokens and proxies, and let no wait take its time; returns the waits."""
    for name in list(os.environ):
        if name.startswith("MODELSCOPE_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "home" / "ms"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "home" / "ms-cache"))
    waits: list[float] = []
    sleep = time.sleep

    def short(seconds: float) -> None:
        waits.append(seconds)
        sleep(min(seconds, 0.001))

    monkeypatch.setattr(time, "sleep", short)
    return waits


@dataclass
class Nth(Fault):
    """A fault at requests of all methods, counted from the first."""

    path: str = ""

    def takes(self, request: Request, text: str) -> bool:
        """Say whether this request is hit, and count it."""
        self.method = request.method
        return super().takes(request, text)


@dataclass
class Place:
    """A folder and a hub."""

    double: PushableModelScope
    folder: Path
    kind: Kind
    told: list[int] = field(default_factory=list)
    """Bytes that the last push told of."""

    def holds(self, files: dict[str, bytes]) -> Place:
        """Make the folder hold these files and no others."""
        for path in sorted(self.folder.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        for name, data in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(data)
        return self

    def wanted(self) -> dict[str, LocalFile]:
        """Return the files of the folder."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                data = path.read_bytes()
                name = path.relative_to(self.folder).as_posix()
                found[name] = LocalFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        return found

    def remote(self, name: str = NAME, branch: str = "master", token: str | None = None) -> ModelScopeRemote:
        """Return the place as a push sees it."""
        return ModelScopeRemote(Target(hub="modelscope", place=name, branch=branch), self.kind, token=token)

    def change(self, state: RemoteState, **options: Any) -> Change:
        """Plan to make the place hold what the folder holds; what the hub made itself stays."""
        target = Target(hub="modelscope", place=NAME, branch="master")
        plan = plan_push(target, self.kind, state, self.wanted())
        gone = {name for name in state.files if name not in plan.wanted and name != ".gitattributes"}
        settings = {"title": "Publish it", "description": "With care."} | options
        return Change(state=state, wanted=plan.wanted, additions=plan.additions, deletions=frozenset(gone), **settings)

    def push(self, remote: ModelScopeRemote | None = None, state: RemoteState | None = None, **options: Any) -> Pushed:
        """Look, plan and push."""
        remote = remote or self.remote()
        state = state or remote.look()
        self.told = []
        return remote.push(self.change(state, **options), self.told.append)

    def there(self, name: str = NAME, branch: str = "master") -> dict[str, bytes] | None:
        """Return what a branch holds, without what the hub made itself; None: there is no such repository."""
        repos = self.double.repos if self.kind == "dataset" else self.double.models
        if name not in repos:
            return None
        files = repos[name].revisions[branch]
        return {path: data for path, data in files.items() if path != ".gitattributes"}

    def sent(self) -> list[str]:
        """Return the hashes of the contents that were sent; what was broken off on the way is none."""
        whole = [request for request in self.double.asked("/_blobs/", "PUT") if sha(request.body) in request.path]
        return [request.path.rpartition("/")[2] for request in whole]


@contextmanager
def served(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Give a folder and a hub, and the client what it needs to find it."""
    with PushableModelScope() as double:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", double.endpoint)
        monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-alice")
        (tmp_path / "folder").mkdir()
        yield Place(double, tmp_path / "folder", kind).holds(FIRST_FILES)


def refusal(error: BaseException) -> PublishError:
    """Return an error of a push, which never shows a token, and says what to do or what is allowed."""
    assert isinstance(error, PublishError), repr(error)
    assert not any(secret in str(error) for secret in SECRETS), str(error)
    assert error.__cause__ is None
    assert error.hint or error.allowed, str(error)
    return error


def sha(data: bytes) -> str:
    """Return the SHA-256 of a content."""
    return hashlib.sha256(data).hexdigest()
