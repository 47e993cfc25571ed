"""Hash and probe media inside a bounded process: what `Examiners` starts, once a worker.

    python -m pipeline.media.examine STATUS_FD MEMORY_BYTES

reads lines of JSON, each a list of orders [path, kind, depth, sha256 or null], and answers each order with a line
[number in the list, sha256 or null, facts or null, code, message]. The status is a mapped file of two doubles: when the
order now worked on was begun (`time.monotonic`), and its number, or -1.

Whatever a decoder does here, hang, crash, or ask for all memory, ends with this process.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.errors import RowRejected
from pipeline.media.probe import hash_bytes, hash_file, probe

BEGAN = NUMBER = struct.Struct("=d")
STATUS_BYTES = BEGAN.size + NUMBER.size
FLUSH_SECONDS = 0.05
"""How long answers may wait for company."""
IN_MEMORY_BYTES = 64 << 20
"""Images up to this size are read once, for their hash and for the probe."""
_PR_SET_PDEATHSIG = 1
_DECODERS_FAULT = "the decoder fails"


def main() -> None:
    """Answer orders until the build closes the pipe or ends."""
    status = mmap.mmap(int(sys.argv[1]), STATUS_BYTES)
    _bound(int(sys.argv[2]))
    for line in sys.stdin.buffer:
        answers: list[str] = []
        flushed = time.monotonic()
        for number, (path, kind, depth, sha256) in enumerate(json.loads(line)):
            now = time.monotonic()
            if now - flushed > FLUSH_SECONDS:
                _send(answers)
                flushed = now
            # one after the other, so that a number never stands beside an older time
            NUMBER.pack_into(status, BEGAN.size, -1)
            BEGAN.pack_into(status, 0, now)
            NUMBER.pack_into(status, BEGAN.size, number)
            answers.append(json.dumps([number, *examine(Path(path), kind, depth, sha256)]))
        NUMBER.pack_into(status, BEGAN.size, -1)
        _send(answers)


def _bound(memory: int) -> None:
    """Set what this process may take: memory, but no files, and no life after the build's."""
    # Ctrl-C is for the build, which then ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _send(answers: list[str]) -> None:
    if answers:
        sys.stdout.write("\n".join(answers) + "\n")
        sys.stdout.flush()
        answers.clear()


def examine(path: Path, kind: Any, depth: Any, sha256: str | None) -> tuple[Any, ...]:
    """Return the hash of a medium, and its facts or why it is rejected."""
    try:
        source: Path | bytes = path
        if kind == "image" and depth != "none" and os.stat(path).st_size <= IN_MEMORY_BYTES:  # noqa: PTH116  (faster)
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (faster)
                source = file.readall()
        if sha256 is None:
            sha256 = hash_bytes(source) if isinstance(source, bytes) else hash_file(path)[0]
    except OSError as error:
        return None, None, "media.missing", f"cannot be read: {error.strerror}"
    try:
        return sha256, probe(source, kind, depth).to_json(), None, None
    except RowRejected as error:
        return sha256, None, error.code, error.message
    except MemoryError:
        return sha256, None, "media.memory", "decoding it takes more memory than is allowed"
    except Exception as error:  # noqa: BLE001  (a decoder may raise anything at what strangers have made)
        return sha256, None, "media.decode", f"{_DECODERS_FAULT}: {type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
