"""Clocks that are wrong, jump and stand still: the same bytes, nothing done twice but hashing, no change overlooked."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.disturbed import (
    SEED,
    TORTURE,
    Child,
    Heard,
    Made,
    assert_same,
    build,
    result,
    rich,
    undisturbed,
)
from tests.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow
"""`make torture` runs them as well."""

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
YEAR = 365 * 24 * HOUR
TIMES = {
    "2100": 130 * YEAR,
    "tomorrow": None,
    "1970": 0,
    "before 1970": -5 * YEAR,
    "not a whole second": 987_654_321,
    "2038": (1 << 31) * SECOND,
}
"""When files say that they were changed."""
CLOCKS = {
    "130 years ahead": 130 * YEAR,
    "an hour ahead": 3600 * SECOND,
    "an hour behind": -3600 * SECOND,
    "in 1970": None,
}
"""How wrong the clock of the process is; the disk's is right."""


def little(project: Project) -> None:
    """Write a project of five pictures in a folder."""
    pictures = project.pictures(5)
    project.rows("rows.jsonl", [{"image": picture, "text": picture} for picture in pictures])
    splits = {"default": {"splits": {"train": {"files": "rows.jsonl"}}}}
    project.write({"configs": splits, "shards": {"max_bytes": "500B"}}, {"image": "image", "text": "string"})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Give a project of five pictures, built once."""
    return Made(Project(tmp_path_factory.mktemp("clock")), little)


@pytest.fixture
def small(made: Made) -> Made:
    """Give that project with nothing built."""
    return made.fresh()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    """Give a function that makes all clocks of this process but the monotonic one wrong by what a function says."""
    right = time.time_ns

    def shift(ahead: Callable[[], int]) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: right() + ahead())
        monkeypatch.setattr(time, "time", lambda: (right() + ahead()) / SECOND)

    return shift


def set_times(project: Project, when: int | None) -> None:
    """Make all source files look as if they were changed then; None: tomorrow."""
    when = time.time_ns() + 24 * HOUR if when is None else when
    for path in [project.source, *project.source.rglob("*"), project.root / "packed.tar.gz"]:
        if path.exists():
            os.utime(path, ns=(when, when))


def change(path: Path) -> None:
    """Change the colour of a picture, but not its size nor its times."""
    before = path.stat()
    pictures = sorted(path.parent.glob("*.png"))
    data = next(data for data in (other.read_bytes() for other in pictures) if data != path.read_bytes())
    path.write_bytes(data[: before.st_size].ljust(before.st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def written(project: Project) -> dict[Path, tuple[int, int]]:
    """Return which files the output is made of, and when the disk says they were written."""
    return {path: (path.stat().st_ino, path.stat().st_ctime_ns) for path in project.out.rglob("*") if path.is_file()}


def assert_nothing_again(project: Project) -> None:
    """Assert that another build finds that nothing has changed, and writes nothing."""
    before = written(project)
    report = project.build()
    assert [stage.stage for stage in report.stages if not stage.skipped] == []
    assert written(project) == before


def assert_change_is_seen(project: Project, made: Made) -> None:
    """Assert that a picture which changes at once after a build, and looks as before, is seen by the next one."""
    change(project.source / "images" / "0002.png")
    project.build()
    seen = result(project)
    assert seen != made.good[0]
    assert seen == undisturbed(project)[0]


@pytest.mark.parametrize("when", TIMES.values(), ids=TIMES)
def test_times_of_files(small: Made, when: int | None) -> None:
    """Whatever times files have, the bytes are the same, nothing is done again, and a change is seen."""
    project = small.project
    set_times(project, when)
    project.build()
    assert_same(project, small.good)
    assert_nothing_again(project)
    set_times(project, 40 * YEAR)
    project.build()
    assert_same(project, small.good)
    set_times(project, when)
    assert_nothing_again(project)
    assert_change_is_seen(project, small)


@pytest.mark.parametrize("ahead", CLOCKS.values(), ids=CLOCKS)
def test_clock_of_the_process(small: Made, ahead: int | None, clock: Callable[[Callable[[], int]], None]) -> None:
    """Whatever time it is for the process, the bytes are the same, nothing is done again, and a change is seen."""
    project = small.project
    wrong = -time.time_ns() + SECOND if ahead is None else ahead
    project.build()
    clock(lambda: wrong)
    assert_nothing_again(project)
    assert_change_is_seen(project, small)
    clock(lambda: 0)
    assert_change_is_seen(small.fresh().project, small)


def test_clock_that_jumps_between_builds(small: Made, clock: Callable[[Callable[[], int]], None]) -> None:
    """A clock that is set forwards and backwards between builds changes nothing and hides nothing."""
    project = small.project
    for ahead in (0, HOUR, -HOUR, 130 * YEAR, -40 * YEAR, 0):
        clock(lambda ahead=ahead: ahead)
        project.build()
        assert_same(project, small.good)
        assert_nothing_again(project)
        picture = project.source / "images" / "0003.png"
        data, times = picture.read_bytes(), picture.stat()
        change(picture)
        project.build()
        assert result(project) != small.good[0]
        picture.write_bytes(data)
        os.utime(picture, ns=(times.st_atime_ns, times.st_mtime_ns))
    project.build()
    assert_same(project, small.good)


@pytest.mark.parametrize("seed", range(SEED, SEED + (10 if TORTURE else 2)))
def test_clock_that_jumps_all_the_time(small: Made, seed: int, clock: Callable[[Callable[[], int]], None]) -> None:
    """A clock that jumps at every look, through a build and the next, changes nothing and hides nothing."""
    project = small.project
    draw = random.Random(seed)  # noqa: S311  (moments, not secrets)
    clock(lambda: draw.choice((0, 1, -1)) * draw.randrange(40 * YEAR))
    project.build()
    assert_same(project, small.good)
    assert_nothing_again(project)
    assert_change_is_seen(project, small)


def test_clock_that_jumps_within_a_build(small: Made, clock: Callable[[Callable[[], int]], None]) -> None:
    """A clock that is set back by an hour, or forth, when a stage begins changes nothing and hides nothing."""
    project = small.project
    for stage in ("convert", "cache", "shard"):
        for ahead in (-HOUR, HOUR):
            clock(lambda: 0)

            def jump(event: str, _count: int, stage: str = stage, ahead: int = ahead) -> None:
                if event == stage:
                    clock(lambda: ahead)

            build(project, Heard(jump))
            assert_same(project, small.good)
            assert_nothing_again(project)
            small.fresh()
    project.build()
    assert_change_is_seen(project, small)


SHIM = """
import os, random, time
right, draw = time.time_ns, random.Random()
time.time_ns = lambda: right() + draw.choice((0, 1, -1)) * draw.randrange(10**18)
time.time = lambda: time.time_ns() / 1e9
"""


def test_clock_that_jumps_in_all_processes(
    project: Project, script: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A clock that jumps at every look, in the build and in its workers, changes nothing."""
    rich(project)
    good = undisturbed(project)
    shim = tmp_path_factory.mktemp("shim")
    (shim / "sitecustomize.py").write_text(SHIM, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(shim))
    for _ in range(2):
        with Child(script, project) as child:
            child.go()
            assert child.end() == 0, child.stderr()
        assert_same(project, good)
