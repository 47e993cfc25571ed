"""Files below a folder that the recipe names: annotation files by pattern, media by the paths that rows give.

A recipe's author picks the root; what rows say is text from strangers. Nothing outside the real root is ever returned,
whichever way a path climbs or a link points.
"""

from __future__ import annotations

import difflib
import errno
import fnmatch
import os
import re
import stat
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pipeline.errors import RowRejected, SourceError
from pipeline.sources.members import folded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pipeline.sources.in_place import ArchiveInPlace, MemberInPlace, ShardInPlace

MAX_PATH_BYTES = 4096
"""PATH_MAX of Linux."""
MAX_PART_BYTES = 255
"""NAME_MAX of Linux and macOS."""
MAX_CACHED_FOLDERS = 100_000
"""Real paths of folders that a `MediaRoot` remembers before it starts anew."""
MAX_NAMES_COMPARED = 10_000
"""Files looked at to suggest a name for a pattern that matches nothing."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
URL = re.compile(r"[a-z][a-z0-9+.-]+://|data:[\w.+-]*(?:/[\w.+-]+)?[;,]", re.IGNORECASE)
SEPARATORS = re.compile(r"[/\\]")


def expand(root: Path, patterns: Sequence[str], *, others: Iterable[str] = ()) -> list[Path]:
    """Return the files below `root` that match any of `patterns`, each once, sorted by POSIX relative path.

    `*` stays within a folder, `**` walks through folders but not through links to folders. The name of an existing file
    is taken as it stands, also with glob characters in it. Hidden files need a pattern that names a dot. Raises
    `SourceError` for a pattern that is not relative, matches nothing, or leads out of the real root; it may suggest
    files of `others`, which no pattern matches, as well.
    """
    if not root.is_dir():
        raise SourceError(f"the source folder {str(root)!r} does not exist", hint="check `root`, or mount the disk")
    real_root = root.resolve()
    found: dict[str, Path] = {}
    for pattern in patterns:
        _check_pattern(pattern)
        matches = _matches(root, pattern)
        if not matches:
            raise SourceError(f"no file in {str(root)!r} matches {pattern!r}", hint=_nearest(root, pattern, others))
        for path in matches:
            if not path.resolve().is_relative_to(real_root):
                raise SourceError(
                    f"{str(path)!r}, which {pattern!r} matches, is a link out of {str(root)!r}",
                    allowed="files inside the source folder",
                    hint="name a wider root, or copy the file into the folder",
                )
            _check_name(path.relative_to(root).as_posix(), pattern)
            found[path.relative_to(root).as_posix()] = path
    return [found[name] for name in sorted(found)]


def may_match(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether `expand` might find a file of this relative name by one of the patterns, on any disk."""
    return any(
        _parts_match(name.split("/"), PurePosixPath(pattern).parts)
        # the name of a file that is there is taken as it stands
        or folded(name) == folded(PurePosixPath(pattern).as_posix())
        for pattern in patterns
    )


def name_matcher(pattern: str) -> Callable[[str], bool]:
    """Return the test whether a relative name, as it stands, fits a pattern as `expand` has them.

    Raises:
        SourceError: the pattern cannot be used.
    """
    _check_pattern(pattern)
    parts = PurePosixPath(pattern).parts
    _check_stars(pattern, parts)
    hidden = any(part.startswith(".") for part in parts)
    tests = [None if part == "**" else re.compile(fnmatch.translate(part)).match for part in parts]

    def fits(name: str) -> bool:
        if not hidden and (name.startswith(".") or "/." in name):
            return False
        return _tests_pass(name.split("/"), tests)

    return fits


def _tests_pass(parts: Sequence[str], tests: Sequence[Callable[[str], object] | None]) -> bool:
    if not tests:
        return not parts
    if tests[0] is None:
        first = len(parts) - len(tests) + 1 if None not in tests[1:] else 0
        return any(_tests_pass(parts[start:], tests[1:]) for start in range(max(first, 0), len(parts) + 1))
    return bool(parts) and bool(tests[0](parts[0])) and _tests_pass(parts[1:], tests[1:])


def _parts_match(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_parts_match(parts[start:], pattern[1:]) for start in range(len(parts) + 1))
    if not parts or not (
        fnmatch.fnmatchcase(parts[0], pattern[0]) or fnmatch.fnmatchcase(folded(parts[0]), folded(pattern[0]))
    ):
        return False
    return _parts_match(parts[1:], pattern[1:])


def resolve_media(value: str, *, base: Path, root: Path) -> Path:
    """Resolve one path in a folder; for many, keep a `MediaRoot`."""
    found = MediaRoot(base=base, root=root).resolve(value)
    assert isinstance(found, Path)
    return found


class MediaRoot:
    """Resolves the paths that rows give for their media; remembers the real paths of folders it has met."""

    def __init__(
        self,
        *,
        base: Path,
        root: Path,
        archives: Sequence[ArchiveInPlace] = (),
        shards: Mapping[str, ShardInPlace] | None = None,
    ) -> None:
        """Relative paths start at `base`, usually the folder of the annotation file; all must end inside `root`.

        Members that stay in `archives` are found like the files that they would be, and those of `shards`, which are
        given by their real paths, as if each were a folder.
        """
        if not root.is_dir():
            raise SourceError(f"the media root {str(root)!r} does not exist", hint="check `root`, or mount the disk")
        self._base = os.path.abspath(base)  # noqa: PTH100  keeps links, which realpath follows later
        self._root = os.path.realpath(root)
        self._inside = self._root.rstrip("/") + "/"
        self._folders: dict[str, str] = {}
        self._archives = archives
        self._shards = shards or {}

    def resolve(self, value: str) -> Path | MemberInPlace:
        """Return the real path of the file that `value` asks for, or the member, or raise `RowRejected`.

        Percent signs and `~` mean themselves. A value with backslashes is tried as it stands, then with slashes. Codes:
        `media.path_empty`, `media.path_invalid`, `media.url`, `media.outside`, `media.missing`, `media.not_file`.
        """
        _check_value(value)
        try:
            return self._file(value, value)
        except RowRejected as error:
            if "\\" not in value or error.code != "media.missing":
                raise
        return self._file(value.replace("\\", "/"), value)

    def _file(self, text: str, value: str) -> Path | MemberInPlace:
        path = text if text.startswith("/") else f"{self._base}/{text}"
        folder, _, name = path.rpartition("/")
        if name in {"", ".", ".."}:
            real = os.path.realpath(path)
        else:
            real = f"{self._real_folder(folder or '/').rstrip('/')}/{name}"
        for archive in self._archives if self._is_inside(real) else ():
            member = archive.find(real)
            if member is not None and name in {"", ".", ".."}:
                raise RowRejected("media.not_file", f"{_shown(value)} is {_kind(stat.S_IFREG)}, not a file")
            if member is not None:
                return member
        found = self._in_shard(real) if self._shards and self._is_inside(real) else None
        if found is not None:
            return found
        try:
            mode = os.lstat(real).st_mode if self._is_inside(real) else 0
            if stat.S_ISLNK(mode):
                real = os.path.realpath(real)
                mode = os.lstat(real).st_mode if self._is_inside(real) else 0
        except OSError as error:
            why = "there is no such file" if error.errno in {errno.ENOENT, errno.ENOTDIR} else error.strerror
            raise RowRejected("media.missing", f"{_shown(value)}: {why} below {self._root!r}") from error
        if not self._is_inside(real):
            raise RowRejected(
                "media.outside",
                f"{_shown(value)} leads out of {self._root!r}; to allow it, name a wider root in the recipe",
            )
        if name in {"", ".", ".."} or not stat.S_ISREG(mode):
            raise RowRejected("media.not_file", f"{_shown(value)} is {_kind(mode)}, not a file")
        return Path(real)

    def _in_shard(self, real: str) -> MemberInPlace | Path | None:
        """Return the member of a shard that a path leads to, if one of the folders in it is a shard."""
        place = real.rfind("/")
        while place > 0:
            shard = self._shards.get(real[:place])
            if shard is not None:
                return shard.find(real[place + 1 :])
            place = real.rfind("/", 0, place)
        return None

    def _real_folder(self, folder: str) -> str:
        real = self._folders.get(folder)
        if real is None:
            if len(self._folders) >= MAX_CACHED_FOLDERS:
                self._folders.clear()
            real = self._folders[folder] = os.path.realpath(folder)
        return real

    def _is_inside(self, real: str) -> bool:
        return real.startswith(self._inside) or real == self._root


def _check_value(value: str) -> None:
    """Raise `RowRejected` for text that cannot be the path of a file."""
    if not value.strip():
        raise RowRejected("media.path_empty", "the path is empty")
    if URL.match(value):
        message = f"{_shown(value)} is a URL; its media is remote: fetch it first and use a local source"
        raise RowRejected("media.url", message)
    why = ""
    if CONTROL.search(value):
        why = "holds a control character"
    elif not _is_unicode(value):
        why = "is not valid Unicode"
    elif len(value.encode()) > MAX_PATH_BYTES:
        why = f"is longer than {MAX_PATH_BYTES} bytes"
    elif len(value) * 4 > MAX_PART_BYTES and any(len(x.encode()) > MAX_PART_BYTES for x in SEPARATORS.split(value)):
        why = f"has a part longer than {MAX_PART_BYTES} bytes"
    if why:
        raise RowRejected("media.path_invalid", f"the path {_shown(value)} {why}")


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISLNK(mode):
        return "a link in a circle"
    return "a file with a slash after its name" if stat.S_ISREG(mode) else "a device, FIFO or socket"


def _shown(value: str) -> str:
    """Quote a path for a message: control characters escaped, and not longer than a line."""
    return repr(value if len(value) <= 200 else f"{value[:200]}...")


def _check_pattern(pattern: str) -> None:
    parts = PurePosixPath(pattern).parts
    if not parts or pattern.startswith("/") or ".." in parts or "\0" in pattern:
        raise SourceError(
            f"the pattern {pattern!r} cannot be used",
            allowed="paths relative to the source folder, without `..`, with `*`, `?`, `[...]` and `**`",
            hint="name a wider root, and the pattern relative to it",
        )


def _check_name(name: str, pattern: str) -> None:
    """Refuse the name of an annotation file that cannot be written down, or that would write on a terminal."""
    why = "is not valid Unicode" if not _is_unicode(name) else "holds a control character"
    if not _is_unicode(name) or CONTROL.search(name):
        raise SourceError(f"the file name {_shown(name)}, which {pattern!r} matches, {why}", hint="rename the file")


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _matches(root: Path, pattern: str) -> list[Path]:
    try:
        if (root / pattern).is_file():
            return [root / pattern]
    except OSError as error:  # a name that is too long
        raise SourceError(f"the pattern {pattern[:200]!r} cannot be used: {error.strerror}") from error
    parts = PurePosixPath(pattern).parts
    _check_stars(pattern, parts)
    hidden = any(part.startswith(".") for part in parts)
    return [
        path
        for path in root.glob(pattern)
        if path.is_file() and (hidden or not any(part.startswith(".") for part in path.relative_to(root).parts))
    ]


def _check_stars(pattern: str, parts: Sequence[str]) -> None:
    if any("**" in part and part != "**" for part in parts):
        raise SourceError(
            f"the pattern {pattern!r} joins `**` to a name",
            allowed="`**` alone between slashes",
            hint=f"write {re.sub(r'[*]{2,}', '*', pattern)!r} or, for all folders, '**/*.json'",
        )


def _nearest(root: Path, pattern: str, others: Iterable[str]) -> str:
    """Say which existing names come nearest to a pattern that matches nothing."""
    if (root / pattern).is_dir():
        return f"it is a folder: write {pattern.rstrip('/') + '/*'!r} for the files in it"
    names = list(islice(chain(_names(root), others), MAX_NAMES_COMPARED))
    if not names:
        return "the folder holds no files: check `root`"
    near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.5)
    listed = ", ".join(repr(name) for name in near or sorted(names)[:5])
    return f"{'did you mean' if near else 'the folder holds'} {listed}"


def _names(root: Path) -> Iterator[str]:
    for folder, _, files in os.walk(root):
        for name in files:
            yield (Path(folder, name)).relative_to(root).as_posix()
