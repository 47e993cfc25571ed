"""Two builds at once on one cache or one workspace: both right, or it is said who is there. And Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pipeline.errors import WorkspaceError
from pipeline.media.store import MediaStore
from pipeline.workspace import locked
from tests.disturbed import (
    FOLDERS,
    STAGES,
    TORTURE,
    Child,
    Made,
    assert_same,
    rich_recipe,
)
from tests.project import Project

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
"""`make torture` runs them as well."""

TIMES = 15 if TORTURE else 2
"""How often two builds start at the same instant."""
SOON = 15.0
"""Seconds that an interrupted build may take to end on a busy machine."""


@pytest.fixture(scope="module")
def twin_made(rich_made: Made, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Give another project that reads the same files and uses the same cache, built once."""

    def write(project: Project) -> None:
        rich_recipe(project)
        text = project.recipe_path.read_text(encoding="utf-8")
        for name in ("source", "packed.tar.gz"):
            text = text.replace(f"../{name}", str(rich_made.project.root / name))
        project.recipe_path.write_text(text, encoding="utf-8")

    return Made(Project(tmp_path_factory.mktemp("two")), write)


@pytest.fixture
def twin(twin_made: Made, large: Made) -> Made:
    """Give the other project with nothing built, and with the cache of the first."""
    twin_made.fresh()
    (large.project.root / "cache").mkdir()
    (twin_made.project.root / "cache").symlink_to(large.project.root / "cache")
    return twin_made


def assert_tidy(project: Project) -> None:
    """Assert that nothing is left that was being written."""
    assert not [path for name in FOLDERS for path in (project.root / name).rglob(".tmp-*")]
    assert not list(project.work.glob("sources/.*"))


def test_second_build_says_who_is_there(large: Made, script: Path) -> None:
    """A second build in a workspace fails at once and says which process holds it and what to do; the first goes on."""
    project = large.project
    with Child(script, project) as first, Child(script, project) as second:
        first.go()
        assert first.until("cache")
        first.signal(signal.SIGSTOP, "group")
        second.go()
        assert second.end() == 3
        said = second.stderr()
        assert f"{project.work} is in use by process {first.pid} on " in said
        assert "--work" in said
        assert "Traceback" not in said
        first.signal(signal.SIGCONT, "group")
        assert first.end() == 0, first.stderr()
    assert_same(project, large.good)


@pytest.mark.parametrize("attempt", range(TIMES))
def test_two_builds_in_one_workspace_at_the_same_instant(large: Made, script: Path, attempt: int) -> None:
    """Of two builds that start in one workspace at the same instant one is done, and the other is done or says why."""
    project = large.project
    with Child(script, project) as first, Child(script, project) as second:
        for child in (first, second) if attempt % 2 else (second, first):
            child.until("ready")
        for child in (first, second):
            child.go()
        codes = {child: child.end() for child in (first, second)}
        assert set(codes.values()) in ({0}, {0, 3})
        for child, code in codes.items():
            assert ("is in use by" in child.stderr()) == (code == 3)
    assert_same(project, large.good)


@pytest.mark.parametrize("attempt", range(TIMES))
def test_two_builds_with_one_cache_at_the_same_instant(large: Made, twin: Made, script: Path, attempt: int) -> None:
    """Two builds that start at the same instant, with the same files and one cache, each give what they give alone."""
    if attempt % 2:
        large.project.build(upto="convert")  # so that one is ahead of the other
    with Child(script, large.project) as first, Child(script, twin.project) as second:
        first.until("ready")
        second.until("ready")
        first.go()
        second.go()
        assert (first.end(), second.end()) == (0, 0), first.stderr() + second.stderr()
    assert_same(large.project, large.good)
    assert_same(twin.project, twin.good)


@pytest.mark.parametrize("stage", STAGES if TORTURE else ("cache",))
def test_one_of_two_builds_with_one_cache_is_killed(large: Made, twin: Made, script: Path, stage: str) -> None:
    """A build whose neighbour at the same cache is killed is as right as alone, and so is the neighbour's next one."""
    with Child(script, large.project) as first, Child(script, twin.project) as second:
        first.until("ready")
        second.until("ready")
        first.go()
        second.go()
        assert first.until(stage)
        first.signal(signal.SIGKILL, "group")
        assert first.end() == -signal.SIGKILL
        assert second.end() == 0, second.stderr()
    assert_same(twin.project, twin.good)
    large.project.build()
    assert_same(large.project, large.good)


def test_killed_holder_does_not_block(large: Made, script: Path) -> None:
    """After `kill -9` of the main process the next build starts at once, though its workers take a moment to end."""
    with Child(script, large.project) as first:
        first.go()
        assert first.until("cache")
        first.signal(signal.SIGKILL, "main")
        first.main_ended()
        large.project.build()
        assert_same(large.project, large.good)
        assert first.end() == -signal.SIGKILL


def test_lock_of_another_thread(large: Made) -> None:
    """A lock that another thread of this process holds is said as well, and is free when it is done."""
    project = large.project
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(project.work):
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(30)
        with pytest.raises(WorkspaceError, match=f"in use by process {os.getpid()} on"):
            project.build()
    finally:
        done.set()
        thread.join()
    project.build()
    assert_same(project, large.good)


def test_two_threads_put_the_same(tmp_path: Path) -> None:
    """Two writers with one process number, as in two containers with one cache, put the same objects, each whole."""
    data = [bytes([number]) * 20_000 for number in range(60)]
    start = threading.Barrier(4)
    failed: list[BaseException] = []

    def put() -> None:
        try:
            with MediaStore(tmp_path) as store:
                start.wait(30)
                for piece in data:
                    store.put(piece)
        except BaseException as error:  # noqa: BLE001  (whatever it is, the test fails with it)
            failed.append(error)

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    found = [path for path in (tmp_path / "media" / "objects").rglob("*") if path.is_file()]
    assert sorted(path.read_bytes() for path in found) == data


MOMENTS = [(stage, whom) for stage in STAGES for whom in ("main", "group")]


@pytest.mark.parametrize(
    ("stage", "whom"), MOMENTS if TORTURE else [("convert", "main"), ("cache", "group"), ("shard", "main")]
)
def test_ctrl_c(large: Made, script: Path, stage: str, whom: str) -> None:
    """Ctrl-C ends a build and its workers with one line and exit code 130, and leaves a workspace that resumes."""
    project = large.project
    with Child(script, project, "wait" if stage == "convert" and whom == "group" else "warm,wait") as child:
        child.go()
        assert child.until(stage)
        started = time.monotonic()
        child.signal(signal.SIGINT, whom)
        code = child.end()
        assert time.monotonic() - started < SOON
        if stage not in ("shard", "card") or code:  # on a busy machine the last stages may be done before it arrives
            assert code == 130, child.stderr()
            assert child.stderr() == "interrupted; what is done is kept, run the same command to go on\n"
    assert_tidy(project)
    project.build()
    assert_same(project, large.good)


SLOW = """
import json, time
def rows(path):
    for line, text in enumerate(path.read_text().splitlines(), 1):
        time.sleep(0.02)
        yield line, json.loads(text)
"""


@pytest.mark.parametrize("whom", ["main", "group"])
def test_ctrl_c_does_not_wait_for_long_tasks(project: Project, script: Path, whom: str) -> None:
    """Ctrl-C ends workers in the middle of tasks that would take a minute."""
    for letter in "abcdef":
        project.rows(f"{letter}.jsonl", [{"text": f"{letter}{number}"} for number in range(3_000)])
    (project.recipe_path.parent / "slow.py").write_text(SLOW, encoding="utf-8")
    splits = {"train": {"files": "*.jsonl", "reader": "slow.py:rows"}}
    project.write({"configs": {"default": {"splits": splits}}}, {"text": "string"})
    with Child(script, project) as child:
        child.go()
        assert child.until("convert")
        deadline = time.monotonic() + SOON
        while len(list(project.work.glob("records/default/.tmp-*.rejects.parquet"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        started = time.monotonic()
        child.signal(signal.SIGINT, whom)
        assert child.end() == 130, child.stderr()
        assert time.monotonic() - started < SOON
        assert child.stderr() == "interrupted; what is done is kept, run the same command to go on\n"
    assert_tidy(project)


@pytest.mark.parametrize("stage", STAGES if TORTURE else ("convert",))
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals(large: Made, script: Path, stage: str, number: int) -> None:
    """A build that is told to end by SIGTERM or SIGHUP takes its workers along, and the workspace resumes."""
    project = large.project
    with Child(script, project) as child:
        child.go()
        assert child.until(stage)
        started = time.monotonic()
        child.signal(number, "main")
        assert child.end() == -number
        assert time.monotonic() - started < SOON
        assert "Traceback" not in child.stderr()
    project.build()
    assert_same(project, large.good)


@pytest.mark.parametrize("stage", ["convert", "cache", "shard"] if TORTURE else ["cache"])
def test_ctrl_c_twice(large: Made, script: Path, stage: str) -> None:
    """Who cannot wait and presses Ctrl-C again leaves no process behind, and the workspace resumes."""
    project = large.project
    with Child(script, project) as child:
        child.go()
        assert child.until(stage)
        started = time.monotonic()
        for pause in (0.0, 0.02, 0.02):
            time.sleep(pause)
            child.signal(signal.SIGINT, "group")
        assert child.end() in {130, -signal.SIGINT, 1}
        assert time.monotonic() - started < SOON
    project.build()
    assert_same(project, large.good)
