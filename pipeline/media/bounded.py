"""Processes with a limit of time and memory, in which media are decoded: what a decoder does costs one medium.

A process is given some media at a time. When it takes too long over one it is killed; when it ends by itself, the
medium it was at is tried once more, alone, in a fresh process. The rest of its media go to the next process.
"""

from __future__ import annotations

import json
import mmap
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from pipeline.errors import RowRejected, ShardwrightError
from pipeline.media.bounded_worker import BEGAN, NUMBER, STATUS_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

LOOK_SECONDS = 0.2
"""How often the clocks are looked at."""
MOST_ORDERS, MOST_BYTES = 64, 32 << 20
"""Media given to a process at a time, at the most."""
RECYCLED_AFTER = 5_000
"""Media after which a process is replaced, since decoders leak."""
STARTS = 3
"""Times that processes may end before they were given anything, one after the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one medium may take."""

    seconds: float = 60.0
    """Time on the clock, beyond what reading takes."""
    bytes_per_second: int = 1 << 20
    """How slow a disk may be: a medium has that much more time."""
    memory: int = 2 << 30
    """Bytes of memory of the process."""


class Order(Protocol):
    """One medium to be worked on."""

    @property
    def size(self) -> int:
        """Bytes of the medium."""

    @property
    def patience(self) -> float:
        """How many times longer than others it may take."""

    def arguments(self) -> list[Any]:
        """Return what the job is called with, as JSON can hold it."""


AnyOrder = TypeVar("AnyOrder", bound=Order)


@dataclass(frozen=True, slots=True)
class Answer(Generic[AnyOrder]):
    """What came of an order."""

    order: AnyOrder
    found: Any
    """What the job returned, as JSON holds it; or RowRejected: the medium ended its process, or took too long."""


class BoundedProcesses:
    """Some processes that work on media; closed by leaving the `with` block."""

    def __init__(self, processes: int, limits: Limits | None = None) -> None:
        self.processes = processes
        self.limits = limits or Limits()
        self._running: list[_Process] = []
        self._failed_starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running:
            process.end()
        self._running.clear()

    def work(
        self, job: str, orders: Iterable[AnyOrder], *, advance: Callable[[int], object], at_once: int = MOST_BYTES
    ) -> Iterator[Answer[AnyOrder]]:
        """Yield what comes of each order, in any order; `advance` is called with how many are done.

        `job` is a function of the worker's, as `module:function`. A process is given `at_once` bytes at a time.

        Raises:
            ShardwrightError: no process can be started.
        """
        waiting: deque[list[AnyOrder]] = deque(_chunks(orders, at_once))
        selector = selectors.DefaultSelector()
        try:
            while waiting or any(process.orders for process in self._running):
                self._hand_out(job, waiting, selector)
                for key, _ in selector.select(LOOK_SECONDS):
                    process: _Process = key.data
                    done = list(process.read())
                    advance(len(done))
                    self._failed_starts = 0 if done else self._failed_starts
                    yield from done
                    if process.ended:
                        yield from self._bury(process, waiting, selector, advance)
                for process in [p for p in self._running if p.is_late(self.limits)]:
                    process.kill()
                    yield from self._bury(process, waiting, selector, advance)
        finally:
            selector.close()
            # whoever stops asking leaves no process behind that works on what nobody wants
            for process in [process for process in self._running if process.orders]:
                process.end()
                self._running.remove(process)

    def _hand_out(self, job: str, waiting: deque[list[AnyOrder]], selector: selectors.BaseSelector) -> None:
        """Give every idle process something to do, and start those that are missing."""
        for process in [process for process in self._running if process.done >= RECYCLED_AFTER and not process.orders]:
            with suppress(KeyError):
                selector.unregister(process.out)
            process.end()
            self._running.remove(process)
        while waiting:
            idle = next((process for process in self._running if not process.orders), None)
            if idle is None:
                if len(self._running) >= self.processes:
                    return
                idle = _Process(self.limits)
                self._running.append(idle)
            if idle.out not in selector.get_map():
                selector.register(idle.out, selectors.EVENT_READ, idle)
            idle.give(job, waiting.popleft())

    def _bury(
        self,
        process: _Process,
        waiting: deque[list[AnyOrder]],
        selector: selectors.BaseSelector,
        advance: Callable[[int], object],
    ) -> Iterator[Answer[AnyOrder]]:
        """Say what a process that has ended means for its media, and put back those that are not to blame."""
        selector.unregister(process.out)
        self._running.remove(process)
        ended = process.reap()
        at = process.at
        rest = sorted(process.orders)
        if at is None:
            # it ended between two media, thus not for one of them
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                raise ShardwrightError(
                    f"the processes that decode media end at once ({ended}): {process.words() or 'without a word'}",
                    hint="look whether memory or processes are limited on this machine (ulimit -a)",
                )
        alone = process.given == 1
        for number in rest:
            order = process.orders[number]
            if number != at:
                waiting.append([order])
            elif process.was_late:
                advance(1)
                seconds = _allowed(order, self.limits)
                message = f"decoding it took more than {seconds:.0f} seconds, and was stopped"
                yield Answer(order, RowRejected("media.timeout", message))
            elif alone:
                advance(1)
                yield Answer(order, RowRejected("media.crash", f"it ends its decoder: {ended}"))
            else:
                waiting.append([order])


def _allowed(order: Order, limits: Limits) -> float:
    return limits.seconds * order.patience + order.size / limits.bytes_per_second


def _chunks(orders: Iterable[AnyOrder], at_once: int) -> Iterator[list[AnyOrder]]:
    chunk: list[AnyOrder] = []
    size = 0
    for order in orders:
        if chunk and (len(chunk) >= MOST_ORDERS or size + order.size > at_once):
            yield chunk
            chunk, size = [], 0
        chunk.append(order)
        size += order.size
    if chunk:
        yield chunk


@dataclass(eq=False)
class _Process:
    """One process, what it was given, and what it says."""

    limits: Limits
    orders: dict[int, Any] = field(default_factory=dict)
    """Those not yet answered, by their number."""
    given: int = 0
    done: int = 0
    ended: bool = False
    was_late: bool = False
    _suspect: int | None = None
    """The order over which it seemed late when last looked at."""

    def __post_init__(self) -> None:
        # not mapped by a descriptor that stays open: one a process is enough
        with tempfile.TemporaryFile() as status:
            status.write(BEGAN.pack(0) + NUMBER.pack(-1))
            status.flush()
            self._status = mmap.mmap(status.fileno(), STATUS_BYTES)
            self._words = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `reap`)
            package = str(Path(__file__).parents[2])
            path = os.pathsep.join(dict.fromkeys([package, *(entry or str(Path.cwd()) for entry in sys.path)]))
            self._popen = subprocess.Popen(  # noqa: S603  (this interpreter, our own module)
                # no `site`: the path is given, and every millisecond counts
                [
                    sys.executable,
                    "-S",
                    "-m",
                    "pipeline.media.bounded_worker",
                    str(status.fileno()),
                    str(self.limits.memory),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                pass_fds=[status.fileno()],
                env={**os.environ, "PYTHONPATH": path},
            )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._in, self.out = self._popen.stdin, self._popen.stdout
        self._rest = b""

    @property
    def at(self) -> int | None:
        """The number of the order it works on."""
        number = int(NUMBER.unpack_from(self._status, BEGAN.size)[0])
        return number if number in self.orders else None

    def give(self, job: str, chunk: list[AnyOrder]) -> None:
        """Give it some media; it must be idle."""
        self.orders = dict(enumerate(chunk))
        self.given = len(chunk)
        text = json.dumps([job, [order.arguments() for order in chunk]])
        # when it has ended, its other pipe says so too
        with suppress(BrokenPipeError):
            self._in.write(text.encode() + b"\n")
            self._in.flush()

    def read(self) -> Iterator[Answer[Any]]:
        """Yield what it answers."""
        data = os.read(self.out.fileno(), 1 << 20)
        self.ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            number, found = json.loads(line)
            self.done += 1
            yield Answer(self.orders.pop(number), found)

    def is_late(self, limits: Limits) -> bool:
        """Tell whether it has been at one medium for too long."""
        (began,) = BEGAN.unpack_from(self._status, 0)
        number = self.at
        late = number is not None and time.monotonic() - began > _allowed(self.orders[number], limits)
        # looked at twice, since it may go on to the next one between reading the time and the number
        was, self._suspect = self._suspect, number if late else None
        return late and was == number

    def kill(self) -> None:
        """Stop it over a medium that takes too long."""
        self.was_late = True
        self._popen.kill()

    def reap(self) -> str:
        """Free what it held; returns how it ended, in words."""
        with suppress(BrokenPipeError):
            self._in.close()
        self.out.close()
        code = self._popen.wait()
        self._words.seek(0)
        self._text = self._words.read(10_000).decode(errors="replace").strip()
        self._words.close()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def words(self) -> str:
        """Return the last line it wrote before it was reaped."""
        return self._text.rpartition("\n")[2]

    def end(self) -> None:
        """Stop it, whatever it does."""
        self._popen.kill()
        self.reap()
