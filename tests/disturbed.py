"""A build that is disturbed: a project with media of every kind, its undisturbed result, and a process to disturb.

The tests of kills, disks, vanished files, clocks and two builds at once share it.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from pipeline.run import BuildReport, Folders, build_dataset
from tests.project import MEDIA, Project, png, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from pipeline.report import Display

ROOT = Path(__file__).parents[1]
Good = tuple[dict[str, str], set[str]]
"""What an undisturbed build gives: the hashes of what it leaves for others, and the names of all it leaves."""
KILLS = int(os.environ.get("SHARDWRIGHT_KILLS", "6"))
"""How often a build is killed; `make torture` sets it, and what else is slow looks at it."""
TORTURE = KILLS >= 100
SEED = int(os.environ.get("SHARDWRIGHT_SEED", "7"))
PATIENCE = 60.0
"""Seconds after which a build that hangs is ended, and with it the test."""
FOLDERS = ("work", "out", "cache")
CLIPS = ("video_0.mov", "video_90.mov", "test_video_66x50.mov", "h265_video.mp4", "unordered.mov")
STATES = ((0, "embed"), (1, "embed"), (1, "files"), (0, "archive"))
"""What is built in turn, each on top of the one before: release of the sources, and where media go."""
VICTIMS = ("main", "worker", "group", "examiner", "main")
STAGES = ("download", "convert", "cache", "curate", "split", "shard", "card")

CHILD = """
import sys, threading
from contextlib import contextmanager
from pipeline import executor

executor.WORTH_A_POOL = 1  # so that two processes work on this little


class Told:
    @contextmanager
    def stage(self, name, total, unit):
        say = lambda *_: print("at", name, flush=True)
        say()
        yield type("Progress", (), {"advance": staticmethod(say)})
        print("at", name + ".", flush=True)


def main():
    options = sys.argv.pop(1)
    processes = executor.LocalProcesses(2)
    ready = threading.Thread(target=lambda: list(processes.map(abs, [1, 2], work_bytes=1)))
    if "warm" in options:
        ready.start()
    from pipeline import cli, report, run
    if "warm" in options:
        ready.join()
        run.LocalProcesses = lambda workers: processes
    report.display_for = lambda quiet: Told()
    print("at ready", flush=True)
    if "wait" in options:
        sys.stdin.readline()
    cli.main(prog_name="shardwright")


if __name__ == "__main__":
    main()
"""
"""The command line with one difference: its display says on standard output where it is, and two processes work.

`warm` starts them before the build does, so that a stage's time is its own and not that of starting processes.
`wait` waits for a line on standard input before it begins.
"""


class Child:
    """A command in a process of its own, that says where it is; leaving the `with` block ends all of it."""

    def __init__(self, script: Path, project: Project, options: str = "warm,wait", *, upto: str = "card") -> None:
        folders = [f"--{name}={project.root / name}" for name in FOLDERS]
        self._ended_by_force = False
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed by leaving the block)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._build = subprocess.Popen(
            [sys.executable, str(script), options, upto, str(project.recipe_path), "--workers=2", *folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, "PYTHONPATH": path, "PYTHONFAULTHANDLER": "1"},
            start_new_session=True,
        )
        self.pid = self._build.pid
        self.events: list[tuple[str, float]] = []
        """What it said, and when."""
        self._watchdog = threading.Timer(PATIENCE, self._force)
        self._watchdog.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._build.poll() is None or self.processes():
            self.signal(signal.SIGKILL, "group")
        self._build.wait()
        self._watchdog.cancel()
        for pipe in (self._build.stdin, self._build.stdout, self._stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]

    def _force(self) -> None:
        self._ended_by_force = True
        self.signal(signal.SIGABRT, "main")  # so that it says on standard error where it hangs
        time.sleep(1)
        self.signal(signal.SIGKILL, "group")

    def listen(self) -> str:
        """Return what it says next; an empty text when nobody is left who could say anything."""
        assert self._build.stdout is not None
        said = self._build.stdout.readline().decode()
        while said and not said.startswith("at "):  # the report
            said = self._build.stdout.readline().decode()
        said = said[3:].strip()
        assert not self._ended_by_force, f"hung after {self.events[-1:]}:\n{self.stderr()}"
        if said:
            self.events.append((said, time.monotonic()))
        return said

    def go(self) -> None:
        """Let it begin, once it is ready."""
        while not any(event == "ready" for event, _ in self.events):
            assert self.listen(), self.stderr()
        assert self._build.stdin is not None
        self._build.stdin.write(b"\n")
        self._build.stdin.flush()
        self.events.append(("go", time.monotonic()))

    def until(self, event: str, count: int = 1) -> bool:
        """Wait until it has said this so often, or it ended; tells whether it has."""
        while sum(event == said for said, _ in self.events) < count:
            if not self.listen():
                return False
        return True

    def signal(self, number: int, whom: str) -> str:
        """Send a signal to the main process (`main`), to all of them (`group`), or to one `worker` or `examiner`.

        Returns whom it hit: the main process when there is no such other one.
        """
        others = self.workers() if whom == "worker" else self.examiners() if whom == "examiner" else []
        with contextlib.suppress(ProcessLookupError):
            if whom == "group":
                os.killpg(self.pid, number)
                return whom
            if others:
                os.kill(others[-1], number)
                return whom
        self._build.send_signal(number)
        return "main"

    def main_ended(self) -> None:
        """Wait until the main process is gone; its workers may take a moment longer."""
        self._build.wait()

    def processes(self) -> dict[int, int]:
        """Return the processes of this build that live, each with its parent."""
        found = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, parent, _, session = path.read_text(encoding="utf-8").rpartition(")")[2].split()[:4]
                if int(session) == self.pid and state not in "ZX":
                    found[int(path.parent.name)] = int(parent)
        return found

    def workers(self) -> list[int]:
        """Return the processes of the executor: children of the server that forks them."""
        living = self.processes()
        servers = {pid for pid, parent in living.items() if parent == self.pid}
        return sorted(pid for pid, parent in living.items() if parent in servers)

    def examiners(self) -> list[int]:
        """Return the processes that decode media."""
        found = []
        for pid, parent in self.processes().items():
            with contextlib.suppress(OSError):
                if parent == self.pid and b"pipeline.media.bounded_worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return sorted(found)

    def end(self) -> int:
        """Wait until the main process and all others are gone, and return its exit code."""
        while self.listen():
            pass
        code = self._build.wait()
        while self.processes():  # the pipe is closed, so they are about to end
            assert not self._ended_by_force, f"these live on: {self.processes()}"
            time.sleep(0.005)
        return code

    def stderr(self) -> str:
        """Return what it wrote on standard error."""
        self._stderr.seek(0)
        return self._stderr.read().decode()


class Heard:
    """A display that knows where a build is, and calls back whenever a stage says something."""

    def __init__(self, call: Callable[[str, int], object] = lambda _event, _count: None) -> None:
        self.at = "start"
        """The stage that was heard last; with a dot: it is done."""
        self.count: Counter[str] = Counter()
        self._call = call

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str) -> Iterator[Heard]:  # noqa: ARG002
        """Give a progress."""
        self._say(name)
        yield self
        self._say(f"{name}.")

    def advance(self, amount: int = 1) -> None:  # noqa: ARG002
        """Take note."""
        self._say(self.at)

    def _say(self, event: str) -> None:
        self.at = event
        self.count[event] += 1
        self._call(event, self.count[event])


def build(project: Project, display: Display, *, workers: int = 1, upto: str = "card") -> BuildReport:
    """Build in this process, as `Project.build` does, with a display."""
    folders = Folders(**{name: project.root / name for name in FOLDERS})
    return build_dataset(project.recipe_path, folders, workers=workers, display=display, upto=upto)


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the script that runs a build and says where it is."""
    path = tmp_path_factory.mktemp("script") / "build.py"
    path.write_text(CHILD, encoding="utf-8")
    return path


def rich_recipe(project: Project, media: str = "embed") -> None:
    """Write a recipe with media in a folder, in an archive and inside annotations, and with several splits."""
    recipe = {
        "sources": {
            "mine": {"path": "../source", "license": "cc0-1.0"},
            "packed": {"path": "../packed.tar.gz", "license": "cc-by-4.0"},
        },
        "configs": {
            "default": {
                "rows": {"source": "mine", "files": "rows-*.jsonl"},
                "splits": {"train": 0.7, "validation": 0.1, "test": 0.2},
            },
            "inline": {"rows": {"source": "mine", "files": "inline.jsonl"}, "splits": {"train": 0.7, "test": "rest"}},
            "packed": {
                "splits": {
                    "train": {"source": "packed", "files": "labels/a.jsonl"},
                    "test": {"source": "packed", "files": "labels/b.jsonl"},
                }
            },
        },
        "curate": [{"deduplicate": ["text"]}],
        "shards": {"max_bytes": "60kB", "row_group_bytes": "20kB", "media": media},
    }
    columns = {"image": "image", "video": {"type": "video", "nullable": True}, "text": "string"}
    project.write(recipe, columns)


def rich_sources(project: Project, release: int = 0) -> Project:
    """Write the sources of `rich_recipe`; another release changes rows, media, the archive and the list of files."""
    draw = random.Random(release)  # noqa: S311  (noise that compresses badly, not secrets)
    names = project.pictures(40)
    for number, name in enumerate(names):
        noise = random.Random(number + (release * 1_000 if number % 4 == 0 else 0))  # noqa: S311
        (project.source / name).write_bytes(png(number, (40, 30)) + noise.randbytes(5_000))
    for name in CLIPS:
        shutil.copy(MEDIA / name, project.source / name)
    rows = [{"image": name, "video": CLIPS[n] if n < 5 else None, "text": str(n % 32)} for n, name in enumerate(names)]
    for path in project.source.glob("rows-*.jsonl"):
        path.unlink()
    project.rows(f"rows-a{release}.jsonl", [*rows[:20], {"image": "gone.png", "video": None, "text": "x"}])
    project.rows("rows-b.jsonl", rows[20 + release :])
    inline = [
        {"image": "data:image/png;base64," + base64.b64encode(png(n) + draw.randbytes(3_000)).decode(), "text": f"i{n}"}
        for n in range(24)
    ]
    project.rows("inline.jsonl", [{**row, "video": None} for row in inline])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:

        def add(name: str, data: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))

        for number in range(60):
            add(f"pictures/{number:02d}.png", png(number + 100) + draw.randbytes(2_000))
        add("clips/clip.mov", (MEDIA / CLIPS[0]).read_bytes())
        for position, letter in enumerate("ab"):
            lines = [
                f'{{"image": "pictures/{n:02d}.png", "video": {"null" if n else chr(34) + "clips/clip.mov" + chr(34)}, '
                f'"text": "p{n % 50}"}}\n'
                for n in range(position * 40, position * 20 + 40)
            ]
            add(f"labels/{letter}.jsonl", "".join(lines).encode())
    (project.root / "packed.tar.gz").write_bytes(gzip.compress(packed.getvalue(), mtime=0))
    return project


def empty(project: Project) -> None:
    """Remove all that a build wrote, but a link to another disk."""
    for folder in FOLDERS:
        shutil.rmtree(project.root / folder, ignore_errors=True)


def rich(project: Project) -> None:
    """Write the project with media of every kind, as it is first."""
    rich_recipe(project)
    rich_sources(project)


@dataclass
class Made:
    """A project, and what it gives when it is left in peace."""

    project: Project
    write: Callable[[Project], object]
    """Writes its sources and its recipe."""
    good: Good = field(init=False)

    def __post_init__(self) -> None:
        self.write(self.project)
        self.good = undisturbed(self.project)

    def fresh(self) -> Self:
        """Start anew: the sources as they were, and nothing built."""
        for folder in FOLDERS:
            if (self.project.root / folder).is_symlink():
                (self.project.root / folder).unlink()
        empty(self.project)
        for name in ("source", "away"):
            shutil.rmtree(self.project.root / name, ignore_errors=True)
        self.project.source.mkdir()
        self.write(self.project)
        return self


def result(project: Project) -> dict[str, str]:
    """Return the hashes of everything that a build leaves for others."""
    work = tree(project.work)
    return tree(project.out) | {name: work[name] for name in ("manifest.json", "rejected.parquet")}


def names(project: Project) -> set[str]:
    """Return the names of all files in the workspace and in the output, and of the folders that are empty."""
    return {
        f"{folder.name}/{path.relative_to(folder).as_posix()}"
        for folder in (project.root / "work", project.root / "out")
        for path in folder.rglob("*")
        if not path.is_dir() or (not any(path.iterdir()) and path != project.work / "shards")
    }


def assert_same(project: Project, good: Good) -> None:
    """Assert that a project holds what an undisturbed build gives, to the byte, and nothing beside it."""
    found = result(project)
    assert {name for name in good[0].keys() | found.keys() if good[0].get(name) != found.get(name)} == set()
    assert names(project) == good[1]


def undisturbed(project: Project) -> Good:
    """Build from nothing and return what it gives."""
    empty(project)
    project.build()
    return result(project), names(project)


def tell(capsys: pytest.CaptureFixture[str], *lines: str) -> None:
    """Print what was met, in `make torture`."""
    if "SHARDWRIGHT_KILLS" in os.environ:
        with capsys.disabled():
            sys.stdout.write("\n".join(["", *lines]))
