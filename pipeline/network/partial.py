"""A file on its way: bytes so far, their hash, and what tells whether the rest still belongs to them.

<cache>/media/partial/ab/<key>        what has arrived; locked by the one process that fetches it
<cache>/media/partial/ab/<key>.json   the validator (ETag or Last-Modified) of a large one, so that it goes on after
                                      a kill; written before its bytes are
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline.workspace import disk_errors, read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

WORTH_RESUMING = 1 << 20
"""Bytes from which on a file is continued after a kill; a smaller one is asked for again."""
LOOK_SECONDS = 0.1
"""How often it is looked whether another process is done with the same URL."""
_BLOCK = 1 << 20


class Partial:
    """One file on its way: to be taken first, and released at the end."""

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / key[:2] / key
        self.size = 0
        self.validator: str | None = None
        """A strong ETag or a Last-Modified date."""
        self._notes = self.path.with_name(f"{key}.json")
        self._digest = hashlib.sha256()
        self._handle = -1
        self._moved = False

    async def take(self) -> None:
        """Take it for this process, after any other; what is there of it counts only if it can be continued."""
        with disk_errors(self.path):
            while not self._take():  # noqa: ASYNC110  (another process has no event of ours)
                await asyncio.sleep(LOOK_SECONDS)
            notes = read_json(self._notes) if os.fstat(self._handle).st_size else None
            if isinstance(notes, dict) and isinstance(notes.get("validator"), str):
                self.validator = notes["validator"]
                await asyncio.to_thread(self._hash_again)
            else:
                self.restart()

    def _take(self) -> bool:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            handle = os.open(self.path, flags, 0o644)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, flags, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            state = os.fstat(handle)
            # it may have been removed since it was opened
            if state.st_ino == os.stat(self.path).st_ino:  # noqa: PTH116
                if state.st_nlink > 1:  # whoever made an object of it was killed; nothing may be written to that
                    self.path.unlink()
                    return False
                self._handle, handle = handle, -1
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        finally:
            if handle >= 0:
                os.close(handle)
        return False

    def _hash_again(self) -> None:
        os.lseek(self._handle, 0, os.SEEK_SET)
        while block := os.read(self._handle, _BLOCK):
            self._digest.update(block)
            self.size += len(block)

    def restart(self) -> None:
        """Forget what has arrived."""
        with disk_errors(self.path):
            os.ftruncate(self._handle, 0)
            os.lseek(self._handle, 0, os.SEEK_SET)
            if self.validator is not None:
                self._notes.unlink(missing_ok=True)
        self.size, self.validator, self._digest = 0, None, hashlib.sha256()

    def expect(self, validator: str | None, total: int | None) -> None:
        """Note what the bytes to come belong to, before the first of them is written."""
        self.validator = validator
        if validator is not None and (total is None or total >= WORTH_RESUMING):
            write_json(self._notes, {"validator": validator}, sync=False)

    def append(self, block: bytes) -> None:
        """Write more bytes.

        Raises:
            WorkspaceError: the disk is full.
        """
        with disk_errors(self.path):
            view = memoryview(block)
            while view:
                view = view[os.write(self._handle, view) :]
        self._digest.update(block)
        self.size += len(block)

    def head(self, count: int) -> bytes:
        """Return the first bytes."""
        return os.pread(self._handle, count, 0)

    def hexdigest(self) -> str:
        """Return the sha256 of what has arrived."""
        return self._digest.hexdigest()

    def move_to(self, path: Path) -> None:
        """Let the whole file be what it is.

        It keeps its name here until it is released: a process that finds no file here makes one, and would ask again
        before the ledger knows.
        """
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(self.path, path)
            except OSError:  # there is one already, which may be damaged; or the disk knows no second names
                self.path.replace(path)
            self._notes.unlink(missing_ok=True)
        self._moved = True

    def release(self) -> None:
        """Let other processes go on; what is not worth to be resumed is removed."""
        if self._handle < 0:
            return
        with disk_errors(self.path):
            if self._moved:
                self._unlink_own()
            elif self.validator is None or self.size < WORTH_RESUMING:
                self._notes.unlink(missing_ok=True)
                self.path.unlink(missing_ok=True)
        os.close(self._handle)
        self._handle = -1

    def _unlink_own(self) -> None:
        """Remove the name here of what is an object now, unless another process has made a file of its own here."""
        with suppress(FileNotFoundError):
            if os.stat(self.path).st_ino == os.fstat(self._handle).st_ino:  # noqa: PTH116
                self.path.unlink()
