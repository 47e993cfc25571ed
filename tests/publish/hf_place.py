"""A place on the double of Hugging Face, and a folder that is pushed there, for the tests of publishing."""

from __future__ import annotations

import hashlib
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.publish.huggingface import HuggingFaceRemote
from pipeline.publish.plan import plan_push
from pipeline.publish.remote import Change, LocalFile, PublishError
from pipeline.publish.target import parse_target
from pipeline.sources import hub_retry
from tests.network.hf_pushes import PushableDouble

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.publish.remote import Pushed, RemoteState

NAME = "alice/birds"
TOKEN = "hf_alice"  # noqa: S105  of the double
CARD = b"---\nlicense: mit\n---\n# Birds\n"


def noise(seed: int, size: int = 30_000) -> bytes:
    """Return bytes that no other seed gives."""
    return random.Random(seed).randbytes(size)  # noqa: S311


FIRST = {
    "README.md": CARD,
    "data/train-00000-of-00002.parquet": noise(1),
    "data/train-00001-of-00002.parquet": noise(2),
    "notes/none.txt": b"",
}
SECOND = {
    "README.md": CARD + b"More.\n",
    "data/train-00000-of-00001.parquet": noise(1),
    "data/test-00000-of-00001.parquet": noise(3),
    "notes/none.txt": b"",
}
"""A second edition: a card that is replaced, two shards that go, one that has another name, and one that is new."""


@dataclass
class Place:
    """A double, a folder, and what passes between them."""

    hub: PushableDouble
    folder: Path
    advanced: list[int] = field(default_factory=list)

    def remote(self, target: str = NAME, kind: Any = "dataset", token: str | None = None) -> HuggingFaceRemote:
        """Bind the client to a repository."""
        return HuggingFaceRemote(parse_target(f"huggingface:{target}"), kind, token=token)

    def lay(self, files: Mapping[str, bytes]) -> dict[str, LocalFile]:
        """Write files below a folder of their own."""
        root = self.folder / hashlib.sha256("".join(sorted(files)).encode()).hexdigest()[:8]
        for name, data in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return {name: hashed(root / name) for name in files}

    def change(self, state: RemoteState, files: Mapping[str, bytes] | Path, **options: Any) -> Change:
        """Plan a change as the command does: of files that are laid, or of a folder that is there."""
        if isinstance(files, Path):
            found = {path.relative_to(files).as_posix(): path for path in sorted(files.rglob("*")) if path.is_file()}
            wanted = {name: hashed(path) for name, path in found.items()}
        else:
            wanted = self.lay(files)
        plan = plan_push(parse_target(f"huggingface:{NAME}"), "dataset", state, wanted)
        asked = {"title": "Birds", "private": True, **options}
        return Change(state=state, wanted=wanted, additions=plan.additions, deletions=frozenset(plan.deleted), **asked)

    def push(
        self, files: Mapping[str, bytes] | Path, remote: HuggingFaceRemote | None = None, **options: Any
    ) -> Pushed:
        """Look, plan and push."""
        remote = remote or self.remote()
        change = self.change(remote.look(), files, **options)
        self.advanced.clear()
        return remote.push(change, self.advanced.append)

    def refused(self, files: Mapping[str, bytes], remote: HuggingFaceRemote | None = None, **options: Any) -> str:
        """Return the error of a push, which never shows a token."""
        with pytest.raises(PublishError) as caught:
            self.push(files, remote, **options)
        return shown(caught.value)

    def there(self, name: str = NAME, revision: str = "main") -> dict[str, bytes]:
        """Return what readers get, without what the hub itself puts there."""
        files = self.hub.files(name, revision)
        return {path: data for path, data in files.items() if path != ".gitattributes"}

    def commits(self, name: str = NAME) -> int:
        """Count the commits of a repository, the one that made it included."""
        return len(self.hub.repos[name].commits)


def hashed(path: Path) -> LocalFile:
    """Return what is known of a file that is pushed."""
    data = path.read_bytes()
    return LocalFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def shown(error: PublishError) -> str:
    """Return what an error says, none of which is a token."""
    text = str(error)
    assert TOKEN not in text
    return text


def kept_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Keep the client away from this machine's caches, tokens and proxies; give the waits that we ask for."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session
    from huggingface_hub.utils._xet import abort_xet_session

    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    # the attempts are real, the time between them is not
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_BASE_DELAY", "2ms")
    for name, where in (("HF_HOME", "hf"), ("HF_HUB_CACHE", "hf/hub"), ("HF_TOKEN_PATH", "hf/token")):
        monkeypatch.setattr(constants, name, str(home / where))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    waits: list[float] = []
    sleep = time.sleep
    monkeypatch.setattr(hub_retry, "pause", waits.append)
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.002)))
    yield waits
    abort_xet_session()  # type: ignore[no-untyped-call]
    close_session()


def open_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, xet: bool, number: int = 0) -> Iterator[Place]:
    """Give a double and a folder; large files go through Xet or through Git LFS."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", not xet)
    with PushableDouble(chunks=tmp_path / f"chunks{number}" if xet else None) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield Place(hub, tmp_path / "folder")
