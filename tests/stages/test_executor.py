"""Tasks give the same results in order wherever they run, and a worker that dies is said, not waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import ShardwrightError, SourceError
from pipeline.executor import WORTH_A_POOL, InProcess, LocalProcesses

ROOT = Path(__file__).parents[2]


def _slow_first(number: int) -> tuple[int, int]:
    time.sleep(0.05 if number % 5 == 0 else 0)
    return number, os.getpid()


def _fails(number: int) -> int:
    if number == 3:
        raise SourceError("number 3 is bad", hint="take another")
    return number


def _dies(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_come_in_order() -> None:
    """Results come in the order of the items though later tasks end first, from several processes, or from this one."""
    with LocalProcesses(2) as processes:
        results = list(processes.map(_slow_first, range(40), work_bytes=WORTH_A_POOL))
        assert [number for number, _ in results] == list(range(40))
        assert os.getpid() not in {pid for _, pid in results}
        small = list(processes.map(_slow_first, range(3), work_bytes=WORTH_A_POOL - 1))
        assert small == [(number, os.getpid()) for number in range(3)]
    assert list(InProcess().map(_slow_first, range(3), work_bytes=0)) == small


def test_errors_pass_through_and_dead_workers_are_named() -> None:
    """An error of a task arrives as it is; a killed worker is an error that says what to do; the next map works."""
    with LocalProcesses(2) as processes:
        with pytest.raises(SourceError, match="number 3 is bad") as error:
            list(processes.map(_fails, range(40), work_bytes=WORTH_A_POOL))
        assert error.value.hint == "take another"
        with pytest.raises(ShardwrightError, match="worker process died") as died:
            list(processes.map(_dies, range(40), work_bytes=WORTH_A_POOL))
        assert "--workers" in died.value.hint
        assert list(processes.map(_fails, range(3), work_bytes=WORTH_A_POOL)) == [0, 1, 2]


def test_leaving_early_ends_the_workers() -> None:
    """Whoever stops listening after the first result is not kept waiting for the rest."""
    started = time.monotonic()
    with LocalProcesses(2) as processes:
        assert next(iter(processes.map(_slow_first, range(1_000_000), work_bytes=WORTH_A_POOL)))[0] == 0
    assert time.monotonic() - started < 20


_BUILD = """
import sys, time
from pipeline.executor import WORTH_A_POOL, LocalProcesses
from tests.stages.test_executor import _slow_first
with LocalProcesses(2) as processes:
    print(sorted({pid for _, pid in processes.map(_slow_first, range(20), work_bytes=WORTH_A_POOL)}), flush=True)
    time.sleep(60)
"""


def test_workers_end_with_a_killed_build() -> None:
    """After `kill -9` of a build none of its workers lives on to write beside the next build."""
    build = subprocess.Popen([sys.executable, "-c", _BUILD], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert build.stdout is not None
    workers = [int(pid) for pid in build.stdout.readline().strip(" []\n").split(",")]
    build.kill()
    build.wait()
    build.stdout.close()
    deadline = time.monotonic() + 10
    while any(_runs(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
