"""Listings: rows that stand in no annotation file, such as the files of a folder, written down as one.

A line is `{"row": …}`, a record, or `{"bad": [code, message]}`: what is no record, and why not. They are read by
`readers/listing.py`, and as long as what they list is the same, so is every byte of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import orjson

from pipeline.printable import escaped
from pipeline.sources.local import expand, name_matcher
from pipeline.sources.members import CONTROL
from pipeline.workspace import writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_BLOCK_LINES = 4_096


def write_listing(path: Path, lines: Iterable[bytes]) -> None:
    """Write a listing; every line is one of the two below."""
    block: list[bytes] = []
    with writing(path, sync=False) as temporary, temporary.open("wb") as file:
        for line in lines:
            block.append(line)
            if len(block) == _BLOCK_LINES:
                file.write(b"".join(block))
                block.clear()
        file.write(b"".join(block))


def record_line(values: dict[str, Any], *, more: bytes = b"") -> bytes:
    """Return the line of a record; `more` are further keys and values of it, as checked JSON without its braces."""
    head = orjson.dumps(values)[1:-1]
    return b'{"row":{%b}}\n' % b",".join(piece for piece in (head, more.strip()) if piece)


def bad_line(code: str, message: str) -> bytes:
    """Return the line of what is no record."""
    return orjson.dumps({"bad": [code, message]}) + b"\n"


def files_listed(root: Path, patterns: list[str], *, others: Iterable[str] = ()) -> Iterator[bytes]:
    """Yield a line for each file below `root`, and each of `others`, that any pattern matches, sorted by name.

    A record has `file`, its POSIX path below the root; `folder`, the path of the folder it is in, empty at the top; and
    `stem`, its name without folder and ending. Hidden files need a pattern that names a dot; links to folders are not
    followed. Others are members of an archive, by the names that they would have here.

    Raises:
        SourceError: a pattern matches nothing, or cannot be used.
    """
    others = list(others)
    matchers = {pattern: name_matcher(pattern) for pattern in patterns}
    unmatched = set(patterns)
    found: set[str] = set()
    for names in (_files_below(str(root)), others):
        for name in names:
            for pattern, matches in matchers.items():
                if matches(name):
                    found.add(name)
                    unmatched.discard(pattern)
    for pattern in sorted(unmatched):
        # says what is wrong; or finds the one file that is called like the pattern
        found |= {path.relative_to(root).as_posix() for path in expand(root, [pattern], others=others)}
    for name in sorted(found):
        yield _file_line(name)


def _file_line(name: str) -> bytes:
    if CONTROL.search(name) or not name.isprintable():
        try:
            name.encode()
        except UnicodeEncodeError:
            return bad_line("read.name", f"the file name {escaped(name)!r} is not valid Unicode")
        if CONTROL.search(name):
            return bad_line("read.name", f"the file name {escaped(name)!r} holds a control character")
    folder, _, base = name.rpartition("/")
    return record_line({"file": name, "folder": folder, "stem": os.path.splitext(base)[0]})  # noqa: PTH122


def _files_below(root: str) -> Iterator[str]:
    """Yield the files below a folder by their relative POSIX names, in no order."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(f"{root}/{folder}") as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{folder}{entry.name}/")
                elif entry.is_file():
                    yield f"{folder}{entry.name}"
