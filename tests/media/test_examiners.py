"""What a decoder does in its process, hang, crash or ask for all memory, costs one medium and no more."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from pipeline.errors import RowRejected, ShardwrightError
from pipeline.media import bounded as module
from pipeline.media.bounded import Limits
from pipeline.media.examiners import Examined, Examiners, Order
from pipeline.media.facts import MediaFacts
from pipeline.media.probe import hash_file
from tests.project import MEDIA, png

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


def pictures(folder: Path, count: int) -> list[Path]:
    """Write different pictures."""
    paths = [folder / f"{number:04d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(png(number))
    return paths


def orders(paths: list[Path]) -> list[Order]:
    """Ask for everything about pictures."""
    return [Order(path=path, kind="image", depth="decode", size=100) for path in paths]


def examined(examiners: Examiners, asked: list[Order]) -> dict[Path, Examined]:
    """Return what comes of each order, and check that progress adds up."""
    done: list[int] = []
    found = {result.order.path: result for result in examiners.examine(asked, advance=done.append)}
    assert sum(done) == len(asked) == len(found)
    return found


def stuck(folder: Path) -> Order:
    """Ask for a file whose opening never ends: a FIFO that nobody writes to."""
    path = folder / "stuck.mp4"
    os.mkfifo(path)
    return Order(path=path, kind="video", depth="decode", size=1)


def code(result: Examined) -> str:
    """Return why a medium was rejected."""
    assert isinstance(result.found, RowRejected)
    return result.found.code


def hangs(pid: int) -> bool:
    """Tell whether a process waits for somebody to write to a FIFO."""
    try:
        return Path(f"/proc/{pid}/wchan").read_text() in ("wait_for_partner", "fifo_open")
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("processes", [1, 3])
def test_hash_and_facts_are_those_of_the_file(tmp_path: Path, processes: int) -> None:
    """Each medium gets its own hash and facts, however many processes share the work."""
    paths = pictures(tmp_path, 200)
    with Examiners(processes) as examiners:
        found = examined(examiners, orders(paths))
    for path in paths:
        assert found[path].sha256 == hash_file(path)[0]
        assert isinstance(found[path].found, MediaFacts)


def test_a_hang_costs_one_medium(tmp_path: Path) -> None:
    """What takes too long is stopped and said; those before and behind it in the same order are examined."""
    paths = pictures(tmp_path, 100)
    asked = orders(paths)
    asked.insert(30, stuck(tmp_path))
    began = time.monotonic()
    with Examiners(1, Limits(seconds=1)) as examiners:
        found = examined(examiners, asked)
    assert time.monotonic() - began < 20
    assert code(found.pop(asked[30].path)) == "media.timeout"
    assert all(isinstance(result.found, MediaFacts) for result in found.values())


def test_time_grows_with_the_size(tmp_path: Path) -> None:
    """A large medium on a slow disk has more time than a small one."""
    order = stuck(tmp_path)
    large = Order(path=order.path, kind="video", depth="decode", size=3_000_000)
    with Examiners(1, Limits(seconds=0.2, bytes_per_second=1_000_000)) as examiners:
        began = time.monotonic()
        examined(examiners, [order])
        middle = time.monotonic()
        examined(examiners, [large])
        assert middle - began < 2.5
        assert time.monotonic() - middle > 3


def children() -> list[int]:
    """Return the decoder processes of this process."""
    text = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    return [
        n for n in map(int, text.split()) if b"pipeline.media.bounded_worker" in Path(f"/proc/{n}/cmdline").read_bytes()
    ]


def test_a_crash_costs_one_medium(tmp_path: Path) -> None:
    """A medium whose decoder dies is tried once more, alone; then it is rejected, and the others are examined."""
    paths = pictures(tmp_path, 50)
    asked = orders(paths)
    asked.insert(10, stuck(tmp_path))
    killed: list[int] = []

    def kill() -> None:
        """Do what a decoder's bug would: end the process in the middle of the one medium that holds it up."""
        end = time.monotonic() + 30
        while len(killed) < 2 and time.monotonic() < end:
            for pid in children():
                if pid not in killed and hangs(pid):
                    os.kill(pid, signal.SIGSEGV)
                    killed.append(pid)
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    with Examiners(1, Limits(seconds=30)) as examiners:
        found = examined(examiners, asked)
    thread.join()
    assert len(killed) == 2
    result = found.pop(asked[10].path)
    assert code(result) == "media.crash"
    assert "SIGSEGV" in str(result.found)
    assert all(isinstance(result.found, MediaFacts) for result in found.values())


def test_memory_is_bounded(tmp_path: Path) -> None:
    """A picture that needs more memory than is allowed is rejected; the process goes on."""
    huge = tmp_path / "huge.png"
    buffer = io.BytesIO()
    Image.new("RGB", (9_000, 9_000)).save(buffer, "PNG", compress_level=1)
    huge.write_bytes(buffer.getvalue())
    paths = pictures(tmp_path, 20)
    with Examiners(1, Limits(memory=200 << 20)) as examiners:
        found = examined(examiners, orders([*paths[:10], huge, *paths[10:]]))
        assert len(examiners._running) == 1
    assert code(found.pop(huge)) == "media.memory"
    assert all(isinstance(result.found, MediaFacts) for result in found.values())


def test_processes_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has examined so many media makes room for a fresh one."""
    monkeypatch.setattr(module, "RECYCLED_AFTER", 60)
    paths = pictures(tmp_path, 300)
    seen = set()
    with Examiners(1) as examiners:
        for _ in examiners.examine(orders(paths), advance=lambda _: None):
            seen.update(process._popen.pid for process in examiners._running)
    assert len(seen) == 5  # they are given 64 at a time


def test_whoever_stops_asking_leaves_nothing_behind(tmp_path: Path) -> None:
    """A loop that ends early stops what was handed out; the next one gets its own answers."""
    paths = pictures(tmp_path, 300)
    with Examiners(2) as examiners:
        results: Iterator[Examined] = examiners.examine(orders(paths), advance=lambda _: None)
        next(results)
        results.close()  # type: ignore[attr-defined]
        assert set(examined(examiners, orders(paths[:5]))) == set(paths[:5])
    assert not children()


def test_a_file_that_cannot_be_read_has_no_hash(tmp_path: Path) -> None:
    """A missing file says nothing of any bytes."""
    with Examiners(1) as examiners:
        result = examined(examiners, orders([tmp_path / "nowhere.png"]))[tmp_path / "nowhere.png"]
    assert result.sha256 is None
    assert code(result) == "media.missing"


def test_nothing_is_looked_into_when_nobody_asks(tmp_path: Path) -> None:
    """Depth none hashes a file and finds out nothing else, whatever it is."""
    path = tmp_path / "a.png"
    path.write_bytes(b"no picture")
    with Examiners(1) as examiners:
        result = examined(examiners, [Order(path=path, kind="image", depth="none", size=10)])[path]
    assert result.sha256 == hash_file(path)[0]
    assert result.found == MediaFacts(kind="image", format="unknown")


def test_processes_that_cannot_start_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When processes end before they can do anything, the build stops with their last words instead of going on."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Examiners(2) as examiners, pytest.raises(ShardwrightError, match="exit code 1"):
        examined(examiners, orders(pictures(tmp_path, 3)))


def test_no_process_outlives_the_build(tmp_path: Path) -> None:
    """A build that is killed takes its decoders with it, even one that hangs."""
    order = stuck(tmp_path)
    script = (
        "import sys\nfrom pathlib import Path\nfrom pipeline.media.examiners import *\n"
        f"order = Order(path=Path({str(order.path)!r}), kind='video', depth='decode', size=1)\n"
        "with Examiners(1) as examiners:\n"
        "    for _ in examiners.examine([order], advance=lambda _: None): pass\n"
    )
    build = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    kin = Path(f"/proc/{build.pid}/task/{build.pid}/children")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        pids = [int(number) for number in kin.read_text().split()]
        if pids and hangs(pids[0]):
            break
        time.sleep(0.05)
    assert pids
    build.kill()
    build.wait()
    while time.monotonic() < end and lives(pids[0]):
        time.sleep(0.05)
    assert not lives(pids[0])


def lives(pid: int) -> bool:
    """Tell whether a process runs; one that has ended may wait for init to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("name", ["corrupted.mp4", "truncated_jpeg.jpg"])
def test_depths_find_different_faults(name: str) -> None:
    """A header hides damage that decoding finds: a picture's in its first frame, a clip's in a later one."""
    kind = "image" if name.endswith("jpg") else "video"
    found = {}
    with Examiners(1) as examiners:
        for depth in ("header", "decode", "all_frames"):
            order = Order(path=MEDIA / name, kind=kind, depth=depth, size=1)  # type: ignore[arg-type]
            found[depth] = isinstance(examined(examiners, [order])[MEDIA / name].found, MediaFacts)
    assert found == {"header": True, "decode": kind == "video", "all_frames": False}
