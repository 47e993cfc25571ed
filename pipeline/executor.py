"""How work is spread: the same tasks, in this process or over local processes, in order, with the same bytes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from pipeline.errors import ShardwrightError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT = 3
"""Tasks handed out per worker before the first is done: enough to keep it busy, few enough to stay flat."""
WORTH_A_POOL = 16_000_000
"""Bytes of work under which starting processes costs more than it saves (about half a second)."""


class Executor(Protocol):
    """Spreads tasks; a stage does not know where they run."""

    def map(self, task: Callable[[T], R], items: Iterable[T], *, work_bytes: int) -> Iterator[R]:
        """Yield `task(item)` for each item, in order. `work_bytes` says about how much data there is in all."""
        ...


class InProcess:
    """Runs tasks here, one after the other."""

    def map(self, task: Callable[[T], R], items: Iterable[T], *, work_bytes: int) -> Iterator[R]:  # noqa: ARG002
        """Yield `task(item)` for each item, in order."""
        for item in items:
            yield task(item)


class LocalProcesses:
    """Runs tasks in processes of this machine; closed by leaving the `with` block."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def map(self, task: Callable[[T], R], items: Iterable[T], *, work_bytes: int) -> Iterator[R]:
        """Yield `task(item)` for each item, in order; small work, or a single item, stays in this process."""
        items = iter(items)
        first = list(islice(items, 2))
        if work_bytes < WORTH_A_POOL or len(first) < 2:
            yield from InProcess().map(task, chain(first, items), work_bytes=work_bytes)
            return
        waiting: deque[Future[R]] = deque()
        try:
            for item in chain(first, items):
                waiting.append(self._started().submit(task, item))
                if len(waiting) >= self.workers * IN_FLIGHT:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            self._pool = None
            raise ShardwrightError(
                "a worker process died: killed from outside, or out of memory",
                hint="run it again (what is done is kept), with fewer --workers if memory is short",
            ) from error
        finally:
            for future in waiting:
                future.cancel()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # forkserver: a forked copy of a process with running Arrow threads may hang
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["pipeline.stages.convert", "pipeline.stages.shard"])
            self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_end_with_the_build)
        return self._pool


def _end_with_the_build() -> None:
    """End this worker when the build is killed: it must not go on writing beside the next one."""
    build = multiprocessing.parent_process()
    assert build is not None

    def watch() -> None:
        build.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def default_workers() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0))
