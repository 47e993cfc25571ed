"""Whole processes measured: their seconds and their memory, in rounds that take turns, against a peer."""

from __future__ import annotations

import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Run:
    """One run of a command."""

    seconds: float
    cpu_seconds: float
    """Of all its processes that it waited for."""
    largest_mb: float
    """The most that one of its processes held."""
    all_mb: float
    """The most that all its processes held together, what they share counted once (looked at 20 times a second)."""
    output: str


@dataclass(frozen=True)
class Case:
    """A command to measure, and what to do before each of its runs."""

    name: str
    command: list[str]
    before: Callable[[], object] = lambda: None


def run(command: list[str]) -> Run:
    """Run a command to its end.

    Raises:
        SystemExit: it failed.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, start_new_session=True)
        most, done = [0.0], threading.Event()

        def look() -> None:
            while not done.wait(LOOK_SECONDS):
                most[0] = max(most[0], _session_mb(process.pid))

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            done.set()
            watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{command} failed:\n{errors.read().decode()}")
        output.seek(0)
        cpu = usage.ru_utime + usage.ru_stime
        return Run(seconds, cpu, usage.ru_maxrss / 1000, max(most[0], 0.0), output.read().decode())


def _session_mb(session: int) -> float:
    """Return the proportional set size of all processes of a session, in MB."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, StopIteration):
            if os.getsid(int(process.name)) == session:
                lines = (process / "smaps_rollup").read_text().splitlines()
                total += int(next(line for line in lines if line.startswith("Pss:")).split()[1])
    return total * 1024 / 1e6


def in_turn(cases: list[Case], rounds: int) -> dict[str, list[Run]]:
    """Run every case once a round, so that a machine that slows down slows all of them."""
    runs: dict[str, list[Run]] = {case.name: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            case.before()
            runs[case.name].append(run(case.command))
    return runs


def print_table(runs: dict[str, list[Run]], peer: str) -> None:
    """Print the medians as a Markdown table, with the ratio of each time to that of the peer in the same rounds."""
    print(f"| | seconds | of {peer} | processor seconds | MB, largest process | MB, all processes |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, done in runs.items():
        ratio = statistics.median(mine.seconds / other.seconds for mine, other in zip(done, runs[peer], strict=True))
        row = [median(done, what) for what in ("seconds", "cpu_seconds", "largest_mb", "all_mb")]
        print(f"| {name} | {row[0]:.2f} | {ratio:.2f} | {row[1]:.2f} | {row[2]:.0f} | {row[3]:.0f} |")


def median(runs: list[Run], what: str) -> float:
    """Return the median of one figure."""
    return statistics.median(getattr(one, what) for one in runs)


def print_machine() -> None:
    """Print what was measured on."""
    names = ("pyarrow", "datasets", "pillow", "av")
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    print(
        f"{len(os.sched_getaffinity(0))} processors ({cpu}), {platform.system()}, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in names)
    )
    print()


def arguments(*usual: int) -> list[int]:
    """Return the numbers of the command line, and the usual ones for those that are not given."""
    given = [int(word) for word in sys.argv[1 : len(usual) + 1]]
    return [*given, *usual[len(given) :]]


def shardwright(recipe: Path, folder: Path, command: str = "card", *options: str) -> list[str]:
    """Return a command on a recipe, with all that it writes below a folder."""
    places = [word for name in ("work", "out", "cache") for word in (f"--{name}", str(folder / name))]
    return [sys.executable, "-m", "pipeline", command, str(recipe), *places, *options]
