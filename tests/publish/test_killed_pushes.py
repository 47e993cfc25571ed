"""Pushes that are killed at random moments: readers see the old files or the new ones, and the next push goes on.

`make torture` kills fifty of them; SHARDWRIGHT_KILLS and SHARDWRIGHT_SEED say how often, and at which moments.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.disturbed import TORTURE
from tests.network.hf_pushes import PushableDouble
from tests.network.ms_pushes import PushableModelScope

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.network.hub_server import HubServer, Reply, Request

ROOT = Path(__file__).parents[2]
KILLS = 50 if TORTURE else 2
SEED = int(os.environ.get("SHARDWRIGHT_SEED", "7"))
NAME = "alice/birds"
TOKENS = {"HF_TOKEN": "hf_alice", "MODELSCOPE_API_TOKEN": "ms-alice"}
PUSH = """
import hashlib, sys
from pathlib import Path
from pipeline.publish.publishing import Options, carry_out, open_remote
from pipeline.publish.plan import plan_push
from pipeline.publish.remote import Change, LocalFile
from pipeline.publish.target import parse_target

target, folder = parse_target(sys.argv[1]), Path(sys.argv[2])
wanted = {
    path.relative_to(folder).as_posix(): LocalFile(
        path=path, size=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest()
    )
    for path in folder.rglob("*") if path.is_file()
}
remote = open_remote(target, "dataset")
state = remote.look()
plan = plan_push(target, "dataset", state, wanted)
if not plan.is_empty:
    change = Change(state=state, wanted=wanted, additions=plan.additions, deletions=frozenset(plan.deleted), title="x")
    remote.push(change, lambda _: None)
"""


def edition(number: int) -> dict[str, bytes]:
    """Return the files of an edition: most stay, one shard has another content, and another count of them."""
    noise = random.Random(number)  # noqa: S311
    count = 2 + number % 2
    shards = {f"data/train-{n:05d}-of-{count:05d}.parquet": random.Random(n).randbytes(20_000) for n in range(count)}  # noqa: S311
    shards[f"data/test-00000-of-{count:05d}.parquet"] = noise.randbytes(200_000)
    return {"README.md": f"---\nlicense: mit\n---\n# Birds, edition {number}\n".encode(), **shards}


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Make a folder hold these files and no others."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


class Killer:
    """Kills a process at a request to a server: before it is carried out, after it, or a moment later."""

    def __init__(self, server: HubServer, chance: random.Random) -> None:
        self.server, self.chance = server, chance
        self.process: subprocess.Popen[bytes] | None = None
        self.at = 0
        self.answer: Callable[[Request], Reply] = server.answer
        server.answer = self.answered  # type: ignore[method-assign]

    def aim(self, process: subprocess.Popen[bytes], at: int) -> None:
        """Kill this process at a request, counted from now."""
        self.process, self.at = process, at

    def answered(self, request: Request) -> Reply:
        """Answer a request, unless its sender is dead by then."""
        self.at -= 1
        how = self.chance.choice(("before", "after", "later")) if self.at == 0 else ""
        if how == "before":
            self._kill()
        reply = self.answer(request)
        if how == "after":
            self._kill()
        elif how == "later":
            threading.Timer(self.chance.uniform(0, 0.02), self._kill).start()
        return reply

    def _kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)


def there(server: HubServer) -> dict[str, bytes]:
    """Return what readers of the repository get; nothing where it is not there yet."""
    if isinstance(server, PushableDouble):
        files = server.files(NAME) if NAME in server.repos else {}
    else:
        assert isinstance(server, PushableModelScope)
        files = server.repos[NAME].revisions.get("master", {}) if NAME in server.repos else {}
    return {path: data for path, data in files.items() if path != ".gitattributes"}


@pytest.mark.timeout(120 + 8 * KILLS)
@pytest.mark.parametrize("place", ["huggingface", "huggingface with Xet", "modelscope"])
def test_killed_at_any_moment(place: str, tmp_path: Path) -> None:
    """After each kill the repository holds one edition or the next, to the byte; in the end the last one."""
    chance = random.Random(f"{SEED} {place}")  # noqa: S311
    hub, _, xet = place.partition(" ")
    folder = tmp_path / "folder"
    folder.mkdir()
    with ExitStack() as stack:
        server: HubServer
        if hub == "huggingface":
            server = stack.enter_context(PushableDouble(chunks=tmp_path / "chunks" if xet else None))
        else:
            server = stack.enter_context(PushableModelScope())
        killer = Killer(server, chance)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "MODELSCOPE_"))},
            **TOKENS,
            "HOME": str(tmp_path / "home"),
            "HF_ENDPOINT": server.endpoint,
            "MODELSCOPE_ENDPOINT": server.endpoint,
            "HF_HUB_DISABLE_XET": "" if xet else "1",
        }
        kills, number, requests = 0, 0, 12
        old: dict[str, bytes] = {}
        new = edition(0)
        write(folder, new)
        until = time.monotonic() + 100 + 7 * KILLS
        while kills < KILLS and time.monotonic() < until:
            before = len(server.log)
            process = subprocess.Popen(
                [sys.executable, "-c", PUSH, f"{hub}:{NAME}", str(folder)], env=environment, cwd=ROOT
            )
            killer.aim(process, chance.randint(1, requests))
            ended = process.wait(timeout=60)
            with server.lock:
                now = there(server)
            # a repository that was just made may hold a card of the hub's own
            assert now in (old, new) or (not old and now.keys() == {"README.md"})
            if ended == -signal.SIGKILL:
                kills += 1
                continue
            assert ended == 0
            assert now == new
            requests = max(4, len(server.log) - before)
            number += 1
            old, new = new, edition(number)
            write(folder, new)
        assert kills == KILLS
        killer.aim(process, 0)
        subprocess.run(
            [sys.executable, "-c", PUSH, f"{hub}:{NAME}", str(folder)],
            env=environment,
            cwd=ROOT,
            check=True,
            timeout=60,
        )
        assert there(server) == new
