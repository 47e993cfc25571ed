"""The process that `BoundedProcesses` starts, and in which media are decoded.

    python -m pipeline.media.bounded_worker STATUS_FD MEMORY_BYTES

reads lines of JSON, each a job (`module:function`) and a list of its arguments, and answers each of these with a line
[number in the list, what the function returned]. The status is a mapped file of two doubles: when the one now worked on
was begun (`time.monotonic`), and its number, or -1.

Whatever a decoder does here, hang, crash, or ask for all memory, ends with this process.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import mmap
import resource
import signal
import struct
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGAN = NUMBER = struct.Struct("=d")
STATUS_BYTES = BEGAN.size + NUMBER.size
FLUSH_SECONDS = 0.05
"""How long answers may wait for company."""
MOST_WRITTEN = 64 << 30
"""Bytes of a file that a job writes, at the most."""
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer orders until the build closes the pipe or ends."""
    status = mmap.mmap(int(sys.argv[1]), STATUS_BYTES)
    _bound(int(sys.argv[2]))
    for line in sys.stdin.buffer:
        answers: list[str] = []
        flushed = time.monotonic()
        job, orders = json.loads(line)
        module, _, name = job.partition(":")
        work = getattr(importlib.import_module(module), name)
        for number, arguments in enumerate(orders):
            now = time.monotonic()
            if now - flushed > FLUSH_SECONDS:
                _send(answers)
                flushed = now
            # one after the other, so that a number never stands beside an older time
            NUMBER.pack_into(status, BEGAN.size, -1)
            BEGAN.pack_into(status, 0, now)
            NUMBER.pack_into(status, BEGAN.size, number)
            answers.append(json.dumps([number, work(*arguments)]))
        NUMBER.pack_into(status, BEGAN.size, -1)
        _send(answers)


def _bound(memory: int) -> None:
    """Set what this process may take: memory, but no files until a job asks for it, and no life after the build's."""
    # Ctrl-C is for the build, which then ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, MOST_WRITTEN))


@contextmanager
def may_write() -> Iterator[None]:
    """Let a job write files."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_WRITTEN, MOST_WRITTEN))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, MOST_WRITTEN))


def _send(answers: list[str]) -> None:
    if answers:
        sys.stdout.write("\n".join(answers) + "\n")
        sys.stdout.flush()
        answers.clear()


if __name__ == "__main__":
    main()
