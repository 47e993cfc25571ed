"""How work is spread: the same tasks, in this process or over local processes, in order, with the same bytes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from itertools import chain, islice
from multiprocessing import forkserver, resource_tracker
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from pipeline.errors import ShardwrightError
from pipeline.without_pandas import leave_pandas_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from multiprocessing.context import ForkServerContext
    from types import TracebackType

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT = 3
"""Tasks handed out per worker before the first is done: enough to keep it busy, few enough to stay flat."""
WORTH_A_POOL = 48_000_000
"""Bytes of work under which starting processes costs more than it saves (about a second)."""


LOOK_SECONDS = 0.2
"""How often the workers' ticks are looked at."""

Advance = Callable[[int], object]
"""Shows that so much more is done."""


def _nothing(amount: int) -> None:
    """Show nothing."""


_advance: Advance = _nothing
"""What a tick does in this process."""


def tick(amount: int = 1) -> None:
    """Say from inside a task that so much more is done; the stage's progress shows it, wherever the task runs."""
    _advance(amount)


class Executor(Protocol):
    """Spreads tasks; a stage does not know where they run."""

    def map(
        self, task: Callable[[T], R], items: Iterable[T], *, work_bytes: int, advance: Advance = _nothing
    ) -> Iterator[R]:
        """Yield `task(item)` for each item, in order.

        `work_bytes` says about how much data there is in all; `advance` is called with what tasks tick.
        """
        ...

    def expect(self, work_bytes: int) -> None:
        """Say that work is to come, so that what takes time to start can be started beside other things."""
        ...


class InProcess:
    """Runs tasks here, one after the other."""

    def map(
        self,
        task: Callable[[T], R],
        items: Iterable[T],
        *,
        work_bytes: int,  # noqa: ARG002
        advance: Advance = _nothing,
    ) -> Iterator[R]:
        """Yield `task(item)` for each item, in order."""
        global _advance  # noqa: PLW0603  (a task is a plain function, so its ticks find their way by the process)
        for item in items:
            before, _advance = _advance, advance
            try:
                result = task(item)
            finally:
                _advance = before
            yield result

    def expect(self, work_bytes: int) -> None:
        """Need nothing."""


class LocalProcesses:
    """Runs tasks in processes of this machine; closed by leaving the `with` block."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._ticks: Any = None
        """A number that all workers add to."""
        self._handed: set[Future[Any]] = set()
        """Tasks that were handed out, and whose results were not taken yet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        workers = dict(pool._processes)  # noqa: SLF001  (`kill_workers` comes with Python 3.14)
        try:
            if kind is not None and not issubclass(kind, Exception):
                for pid in workers:  # Ctrl-C may have reached this process alone
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGINT)
            wait([future for future in self._handed if not future.cancel()])
        finally:
            # None has anything to do. Asking them to end would hang if one was killed that held the queue's lock.
            for worker in workers.values():
                worker.kill()
            pool.shutdown(wait=True, cancel_futures=True)

    def expect(self, work_bytes: int) -> None:
        """Start the server that workers are forked from: it imports what they need, which takes half a second."""
        if work_bytes >= WORTH_A_POOL:
            _context()

    def map(
        self, task: Callable[[T], R], items: Iterable[T], *, work_bytes: int, advance: Advance = _nothing
    ) -> Iterator[R]:
        """Yield `task(item)` for each item, in order; small work, or a single item, stays in this process."""
        items = iter(items)
        first = list(islice(items, 2))
        if work_bytes < WORTH_A_POOL or len(first) < 2:
            yield from InProcess().map(task, chain(first, items), work_bytes=work_bytes, advance=advance)
            return
        waiting: deque[Future[R]] = deque()
        try:
            for item in chain(first, items):
                waiting.append(self._started().submit(_work, task, item))
                self._handed.add(waiting[-1])
                if len(waiting) >= self.workers * IN_FLIGHT:
                    yield self._result(waiting, advance)
            while waiting:
                yield self._result(waiting, advance)
        except BrokenProcessPool as error:
            self._pool = None
            raise ShardwrightError(
                "a worker process died: killed from outside, or out of memory",
                hint="run it again (what is done is kept), with fewer --workers if memory is short",
            ) from error
        finally:
            self._handed -= {future for future in waiting if future.cancel() or future.done()}

    def _result(self, waiting: deque[Future[R]], advance: Advance) -> R:
        """Wait for the first task, and pass on what the workers tick meanwhile."""
        while True:
            done, _ = wait([waiting[0]], timeout=LOOK_SECONDS)
            ticked = 0
            # a worker that was killed over a tick holds the lock for good
            if self._ticks.get_lock().acquire(timeout=LOOK_SECONDS):
                ticked, self._ticks.value = self._ticks.value, 0
                self._ticks.get_lock().release()
            if ticked:
                advance(ticked)
            if done:
                self._handed -= done
                return waiting.popleft().result()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = _context()
            self._ticks = context.Value("q", 0)
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=_start_worker, initargs=(self._ticks,)
            )
        return self._pool


def _context() -> ForkServerContext:
    """Start the server that forks workers, since a forked copy of running Arrow threads may hang."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.stages.convert", "pipeline.stages.write_shard"])
    # Ctrl-C is for this process; the server and its workers are born with it blocked. The tracker first: starting it
    # unblocks what was blocked.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


_working = _interrupted = False
"""Whether this worker is at a task, and whether Ctrl-C ended one: it does so once, and the task tidies up in peace."""


def _interrupt(_number: int, _frame: object) -> None:
    """End the task that is being worked on, and all that come after it."""
    global _interrupted
    first, _interrupted = not _interrupted, True
    if first and _working:
        raise KeyboardInterrupt


def _work(task: Callable[[T], R], item: T) -> R:
    """Do a task in a worker, unless the build was interrupted."""
    global _working  # noqa: PLW0603
    if _interrupted:
        raise KeyboardInterrupt
    _working = True
    try:
        return task(item)
    finally:
        _working = False


def _start_worker(ticks: Any) -> None:
    """Let this worker's ticks reach the build, and end it with the build: it must not write beside the next one."""
    leave_pandas_out()
    signal.signal(signal.SIGINT, _interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def add(amount: int) -> None:
        with ticks.get_lock():
            ticks.value += amount

    global _advance  # noqa: PLW0603
    _advance = add
    build = multiprocessing.parent_process()
    assert build is not None

    def watch() -> None:
        build.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def default_workers() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0))
