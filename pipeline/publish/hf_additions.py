"""A file of a commit, hashed and counted while the client of Hugging Face sends it."""

from __future__ import annotations

import hashlib
import io
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from huggingface_hub import CommitOperationAdd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.publish.push_words import PushWords
    from pipeline.publish.remote import LocalFile


class StoppedError(Exception):
    """Raised in threads whose work is not wanted any more."""


class Meter:
    """Counts what threads of the client send."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.sent = 0
        """Bytes that went over the network."""
        self.handled = 0
        """Bytes of this batch that were sent, or found to be there."""
        self.reports = 0
        self.stopped = False

    def count(self, *, sent: int, handled: int) -> None:
        """Add to the counts."""
        with self._lock:
            self.sent += sent
            self.handled += handled
            self.reports += 1


class CheckedFile(io.BufferedReader):
    """A file that is hashed while it is sent: its last bytes are given only when all of it is what was planned."""

    def __init__(self, path: str, local: LocalFile, words: PushWords, meter: Meter) -> None:
        super().__init__(io.FileIO(str(local.path)))
        self._path, self._local, self._words, self._meter = path, local, words, meter
        self._hash, self._hashed = hashlib.sha256(), 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on, or raise when the file is another one by now."""
        if self._meter.stopped:
            raise StoppedError
        at = self.tell()
        data = super().read(size)
        if at == 0:
            self._hash, self._hashed = hashlib.sha256(), 0
        if at == self._hashed:  # else it is read again, since a part of it has to be sent again
            self._hash.update(data)
            self._hashed += len(data)
        end = at + len(data)
        is_at_end = end >= self._local.size or (not data and size != 0)
        whole = end == self._hashed == self._local.size
        if is_at_end and not (whole and self._hash.hexdigest() == self._local.sha256):
            raise self._words.changed(self._path)
        self._meter.count(sent=len(data), handled=len(data))
        return data


class Addition(CommitOperationAdd):
    """A file of a commit, which is checked while the client sends it, and without a bar."""

    def __init__(self, path: str, local: LocalFile, words: PushWords, meter: Meter) -> None:
        super().__init__(path_in_repo=path, path_or_fileobj=str(local.path.absolute()))
        self.local, self.words, self.meter = local, words, meter

    @contextmanager
    def as_file(self, with_tqdm: bool = False) -> Iterator[Any]:
        """Open the content; the client asks for a bar where it sends it as a large file."""
        if with_tqdm and isinstance(self.path_or_fileobj, str):
            with CheckedFile(self.path_in_repo, self.local, self.words, self.meter) as file:
                yield file
        else:
            with super().as_file() as other:
                yield other
