"""Looking after the media store: what is in it, whether it is whole, and what nobody needs any more.

    <cache>/media/in_use.lock            shared by every build, alone for `prune`
    <cache>/media/workspaces/<hash>      the path of a workspace that uses the store

A workspace needs the objects that its records and plans name, and those that are archives, since media may have stayed
in them, whether or not it is being built.
"""

from __future__ import annotations

import fcntl
import hashlib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import WorkspaceError
from pipeline.media.probe import hash_file
from pipeline.row_file import read_batches, schema_of
from pipeline.sources.in_place import archive_of
from pipeline.workspace import TEMPORARY, disk_errors, holding, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def in_use(cache: Path, work: Path) -> Iterator[None]:
    """Keep the store from being pruned while a workspace is built, and note that the workspace needs it."""
    with _locked(cache, fcntl.LOCK_SH):
        text = str(work.absolute()).encode("utf-8", "surrogateescape")
        path = cache / "media" / "workspaces" / hashlib.sha256(text).hexdigest()[:32]
        if not path.is_file():
            write_bytes(path, text)
        yield


def objects(cache: Path) -> Iterator[tuple[Path, int]]:
    """Yield the objects of the store with their bytes, by hash."""
    folder = cache / "media" / "objects"
    with disk_errors(folder, doing="read"):
        for path in sorted(folder.glob("??/*")):
            if len(path.name) == 64 and path.is_file():
                yield path, path.stat().st_size


def verify(cache: Path) -> tuple[int, list[Path]]:
    """Hash every object; returns how many there are, and those that were damaged, which are set aside."""
    count, damaged = 0, []
    for path, _ in objects(cache):
        count += 1
        with disk_errors(path, doing="read"):
            if hash_file(path)[0] != path.name:
                damaged.append(path.replace(path.with_name(f"{path.name}.damaged")))
    return count, damaged


def prune(cache: Path, *, remove: bool) -> tuple[int, int, int]:
    """Remove the objects that no workspace needs; returns their number, their bytes, and how many are needed.

    Raises:
        WorkspaceError: a build is using the store.
    """
    with _locked(cache, fcntl.LOCK_EX):
        needed = _needed(cache)
        count = total = kept = 0
        for path, size in objects(cache):
            if path.name in needed:
                kept += 1
                continue
            count, total = count + 1, total + size
            if remove:
                with disk_errors(path):
                    path.unlink()
        if remove:
            for leftover in (cache / "media" / "objects").glob(f"??/{TEMPORARY}*"):
                leftover.unlink(missing_ok=True)
        return count, total, kept


def _needed(cache: Path) -> set[str]:
    """Return the hashes that the records, plans and archives of all workspaces name."""
    needed: set[str] = set()
    for note in (cache / "media" / "workspaces").glob("*"):
        work = Path(note.read_bytes().decode("utf-8", "surrogateescape"))
        if not work.is_dir():
            note.unlink(missing_ok=True)
            continue
        needed |= {sha256 for path in work.glob("members/*.arrow") if (sha256 := archive_of(path))}
        for path in work.glob("plan/*/*.arrow"):
            for batch in read_batches(path, ["media"]):
                media = batch.column("media").flatten()
                for name in ("sha256", "origin"):
                    needed |= set(media.field(name).unique().to_pylist())
        for path in work.glob("records/*/*.arrow"):
            columns = [name for name in schema_of(path).names if name.startswith("__media.")]
            for batch in read_batches(path, columns) if columns else ():
                for column in batch.columns:
                    needed |= set(column.flatten().field("object").unique().to_pylist())
    return needed


@contextmanager
def _locked(cache: Path, how: int) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(holding(cache / "media" / "in_use.lock", how | fcntl.LOCK_NB))
        except BlockingIOError:
            raise WorkspaceError(
                f"the store {cache} is in use by a build" if how == fcntl.LOCK_EX else f"the store {cache} is pruned",
                hint="wait until that is done",
            ) from None
        yield
