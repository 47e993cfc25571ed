"""JSON Lines files that are written while a run goes on: a kill costs the line that was being written, and no other."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.workspace import disk_errors, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Line:
    """A line that ends in a newline."""

    number: int
    """1-based."""
    value: dict[str, Any] | None
    """None: this is no JSON object."""
    raw: bytes
    """With its newline."""


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the whole lines of a file, one at a time; a last one without its newline is torn, and left out.

    A file that is not there has no lines.

    Raises:
        WorkspaceError: the file cannot be read.
    """
    with disk_errors(path, doing="read"):
        if not path.is_file():
            return
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if raw.endswith(b"\n"):
                    yield Line(number, _value(raw), raw)


def _value(raw: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def json_line(value: Mapping[str, Any]) -> bytes:
    """Write a value as one line. Halves of characters, which are no UTF-8, stay JSON's escapes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


class LineFile:
    """A file that grows by whole lines."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._handle = handle

    def append(self, value: Mapping[str, Any]) -> None:
        """Add a line; when this returns, a kill of the process does not lose it.

        Raises:
            WorkspaceError: the disk is full, or gone.
        """
        data = json_line(value)
        with disk_errors(self._path):
            while data:
                data = data[os.write(self._handle, data) :]


@contextmanager
def opened(path: Path, keep: Callable[[dict[str, Any]], bool]) -> Iterator[LineFile]:
    """Open a file to go on with it; what is not to be kept is cut away first.

    That is a torn last line, a line that is no JSON object, and what `keep` does not want.

    Raises:
        WorkspaceError: the folder cannot be written.
    """
    if _must_be_cut(path, keep):
        with writing(path) as temporary, temporary.open("wb") as file:
            file.writelines(line.raw for line in read_lines(path) if line.value is not None and keep(line.value))
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        yield LineFile(path, handle)
        with disk_errors(path):
            os.fsync(handle)
    finally:
        os.close(handle)


def _must_be_cut(path: Path, keep: Callable[[dict[str, Any]], bool]) -> bool:
    whole = 0
    for line in read_lines(path):
        if line.value is None or not keep(line.value):
            return True
        whole += len(line.raw)
    return path.is_file() and path.stat().st_size != whole
