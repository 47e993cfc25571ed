"""Where snapshots of a repository lie, how they are known again, and how they are filled.

    <folder>/<commit>-<patterns>/…      the files; each was checked before it got its name here
    <folder>/<commit>-<patterns>.json   what they are; written last, so that its presence means done
    <folder>/latest.json                which commit a branch was at when it was asked for last
    <folder>/.tmp-<commit>-<patterns>/  downloads under way

`<patterns>` is a short fingerprint of the patterns: other patterns are another folder, so that what lies in one does
not depend on what was asked for before. What two snapshots share is one file with two names (a hard link).
"""

from __future__ import annotations

import hashlib
import os
import queue
import shutil
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.errors import ShardwrightError, SourceError, WorkspaceError
from pipeline.manifest import fingerprint
from pipeline.sources.hub_client import DamagedError, HubClient, UnreachedError
from pipeline.sources.hub_files import content_key, link, measured, modified_if_whole, wrong
from pipeline.sources.hub_listing import TITLES, HubRepo, ListedFile, shown
from pipeline.sources.hub_retry import with_tries
from pipeline.workspace import TEMPORARY, disk_errors, read_json, remove_leftovers, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

VERSION = 1
MAX_WORKERS = 8
"""Files downloaded at a time."""
GRACE = 5.0
"""Seconds that files under way are waited for when another one has failed; a large one is then left behind."""
MOST_UNREACHED = 3
"""Files in a row for which the hub gave no answer: then it is not there."""
SPACE = 64 << 20
"""Bytes left free on the disk."""


@dataclass(frozen=True, kw_only=True)
class HubSnapshot:
    """The files of a repository at one commit, on this disk."""

    commit: str
    """What pins it: a commit id, or a fingerprint of the listing where the hub gives none."""
    folder: Path
    """Holds the files that match, and nothing else."""
    files: dict[str, tuple[str | None, int]]
    """Path -> its SHA-256, if the hub says one, and its bytes."""
    unasked: str = ""
    """Why the hub could not be asked whether it has something newer."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """What is to be fetched."""

    client: HubClient
    commit: str
    files: dict[str, ListedFile]
    lost: dict[str, SourceError] | None = None
    """Receives the files that cannot be had, by path; without it, one of them ends it all."""
    stop: threading.Event = field(default_factory=threading.Event)

    def tolerates(self, error: BaseException, unreached: int) -> bool:
        """Tell whether the others are worth trying when one file cannot be had, the last so many for want of a hub."""
        return self.lost is not None and isinstance(error, SourceError) and unreached < MOST_UNREACHED


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """The snapshots of one repository with one set of patterns."""

    folder: Path
    repo: HubRepo
    patterns: list[str]

    def _name(self, commit: str) -> str:
        return f"{commit}-{fingerprint(self.patterns)[:8]}"

    def _record(self, commit: str) -> Path:
        return self.folder / f"{self._name(commit)}.json"

    @property
    def _latest(self) -> Path:
        return self.folder / "latest.json"

    @property
    def _key(self) -> str:
        return f"{self.repo.hub} {self.repo.id} {self.repo.at} {fingerprint(self.patterns)[:8]}"

    def finished(self, commit: str, missing: list[str] | None = None) -> HubSnapshot | None:
        """Return a snapshot that is there and whole; `missing` is given the names of files that are not."""
        path = self._record(commit)
        record = read_json(path)
        if not self._is_of(record):
            return None
        root = self.folder / self._name(commit)
        changed = False
        gone = []
        for name, entry in record["files"].items():
            modified = modified_if_whole(root / name, entry)
            if modified is None:
                gone.append(name)
            elif modified != entry["modified"]:
                entry["modified"] = modified
                changed = True
        if missing is not None:
            missing += gone
        if gone:
            return None
        if changed:
            write_json(path, record)
        files = {name: (entry["listed"], entry["bytes"]) for name, entry in record["files"].items()}
        return HubSnapshot(commit=commit, folder=root, files=files)

    def last(self) -> HubSnapshot | None:
        """Return the snapshot of the commit that the revision was at when it was asked for last, if it is whole."""
        commit = self._known_latest().get(self._key)
        return self.finished(commit) if commit else None

    def without_network(self) -> HubSnapshot:
        """Return the snapshot that is there, or say what is missing."""
        commit = self.repo.pinned or self._known_latest().get(self._key)
        missing: list[str] = []
        if commit and (found := self.finished(commit, missing)):
            return found
        what = f"{self.repo} at {self.repo.at!r} was not downloaded yet with the files {', '.join(self.patterns)}"
        if missing:
            names = ", ".join(shown(name) for name in missing[:3])
            more = "" if len(missing) <= 3 else f" and {len(missing) - 3:,} more"
            what = f"of {self.repo} at {self.repo.at!r}, {names}{more} are missing or have changed in {self.folder}"
        raise SourceError(
            f"{what}, and the network may not be used",
            hint=f"run it once with the network, so that {TITLES[self.repo.hub]} can be asked",
        )

    def _known_latest(self) -> dict[str, str]:
        known = read_json(self._latest)
        return known if isinstance(known, dict) else {}

    def note_latest(self, commit: str) -> None:
        """Keep which commit the revision is at, for a time without network."""
        known = self._known_latest()
        if known.get(self._key) != commit:
            write_json(self._latest, {**known, self._key: commit})

    def fill(self, want: Download, max_bytes: int | None, advance: Callable[[int], None] | None) -> HubSnapshot:
        """Bring all files of a commit that are not there, and write down that they are."""
        self._check_sizes(want.files.values(), max_bytes)
        name = self._name(want.commit)
        root, scratch = self.folder / name, self.folder / f"{TEMPORARY}{name}"
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(f"{TEMPORARY}*"):
            if leftover.is_dir() and leftover != scratch:
                shutil.rmtree(leftover, ignore_errors=True)
        known = self._known_contents()
        self._check_space(want, root, known)
        entries: dict[str, dict[str, Any]] = {}
        total = 0
        try:
            for path, entry in _in_threads(partial(self._bring, want, root, scratch, known), want):
                entries[path] = entry
                total += entry["bytes"]
                if max_bytes is not None and total > max_bytes:
                    raise self._too_large(total, max_bytes)
                if advance:
                    advance(entry["bytes"])
        finally:
            want.stop.set()
        remove_leftovers(root, {root / path for path in entries})
        record = {
            "version": VERSION,
            "hub": self.repo.hub,
            "id": self.repo.id,
            "revision": self.repo.at,
            "commit": want.commit,
            "patterns": self.patterns,
            "files": entries,
        }
        if not want.lost:
            write_json(self._record(want.commit), record)
        shutil.rmtree(scratch, ignore_errors=True)
        files = {path: (entries[path]["listed"], entries[path]["bytes"]) for path in want.files if path in entries}
        return HubSnapshot(commit=want.commit, folder=root, files=files)

    def _is_of(self, record: Any) -> bool:
        return (
            isinstance(record, dict)
            and record.get("version") == VERSION
            and (record.get("hub"), record.get("id")) == (self.repo.hub, self.repo.id)
            and record.get("patterns") == self.patterns
        )

    def _too_large(self, total: int, max_bytes: int) -> SourceError:
        return SourceError(
            f"the files of {self.repo} that match are {total:,} bytes or more",
            allowed=f"{max_bytes:,} bytes",
            hint="narrow the patterns, or raise the limit",
        )

    def _check_sizes(self, files: Iterable[ListedFile], max_bytes: int | None) -> None:
        total = sum(listed.size or 0 for listed in files)
        if max_bytes is not None and total > max_bytes:
            raise self._too_large(total, max_bytes)

    def _check_space(self, want: Download, root: Path, known: dict[str, tuple[Path, dict[str, Any]]]) -> None:
        """Refuse to fill the disk to its brim with files that will not be whole."""
        need = sum(
            listed.size or 0
            for path, listed in want.files.items()
            if content_key(listed.sha256, listed.git, listed.size) not in known and not (root / path).exists()
        )
        free = shutil.disk_usage(self.folder).free
        if need > free - SPACE and need:
            raise WorkspaceError(
                f"{self.repo} needs {need:,} more bytes, and {self.folder} has {free:,} free",
                hint="free some space or choose another disk with --work, or narrow the patterns",
            )

    def _known_contents(self) -> dict[str, tuple[Path, dict[str, Any]]]:
        """Return where contents of other snapshots lie."""
        known = {}
        for path in sorted(self.folder.glob("*.json")):
            record = read_json(path)
            if isinstance(record, dict) and record.get("version") == VERSION and "files" in record:
                root = path.with_suffix("")
                for name, entry in record["files"].items():
                    for key in (
                        content_key(entry["sha256"], None, entry["bytes"]),
                        content_key(None, entry["git"], entry["bytes"]),
                    ):
                        if key:
                            known[key] = (root / name, entry)
        return known

    def _bring(
        self,
        want: Download,
        root: Path,
        scratch: Path,
        known: dict[str, tuple[Path, dict[str, Any]]],
        path: str,
    ) -> dict[str, Any]:
        """Put one file where it belongs; return what is known of it."""
        listed, to = want.files[path], root / path
        if to.is_file() and not to.is_symlink():
            # A build before this one brought it and was ended before it could write that down.
            entry = measured(to, listed)
            if not wrong(listed, entry):
                return entry
        with disk_errors(to):
            to.parent.mkdir(parents=True, exist_ok=True)
            to.unlink(missing_ok=True)
        source, old = known.get(content_key(listed.sha256, listed.git, listed.size), (None, {}))
        if source is not None and modified_if_whole(source, old) is not None:
            link(source, to)
            return {**old, "listed": listed.sha256, "git": listed.git, "modified": to.stat().st_mtime_ns}
        mine = scratch / hashlib.sha256(path.encode()).hexdigest()[:16]

        def once(attempt: int) -> dict[str, Any]:
            if want.stop.is_set():
                raise _StoppedError
            got = want.client.fetch(path, listed, want.commit, mine, attempt=attempt)
            entry = measured(got, listed)
            if why := wrong(listed, entry):
                got.unlink()
                error = SourceError(
                    f"{shown(path)} of {self.repo} came with {why}",
                    hint="it was damaged on the way or has changed meanwhile: run it again; else tell its owner",
                )
                raise DamagedError(error) if attempt == 0 else error
            with got.open("rb") as file:
                os.fsync(file.fileno())
            got.replace(to)
            return entry

        entry = with_tries(once, want.client.failure)
        shutil.rmtree(mine, ignore_errors=True)
        return entry


class _StoppedError(BaseException):
    """Another file has failed, so that this one is not wanted any more."""


def _in_threads(bring: Callable[[str], dict[str, Any]], want: Download) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield path and entry of each file as it comes.

    The threads are daemons: on Ctrl-C nobody waits for the end of a file of fifty gigabytes.
    """
    todo: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[str, dict[str, Any] | BaseException]] = queue.SimpleQueue()
    telling = threading.Lock()
    unreached = 0

    def tell(path: str, result: dict[str, Any] | BaseException) -> None:
        """Hand a result over; when nothing more can be had, nobody begins another file."""
        nonlocal unreached
        with telling:
            unreached = unreached + 1 if isinstance(result, UnreachedError) else 0
            if isinstance(result, BaseException) and not want.tolerates(result, unreached):
                want.stop.set()
            done.put((path, result))

    def work() -> None:
        while (path := todo.get()) is not None and not want.stop.is_set():
            try:
                tell(path, bring(path))
            except BaseException as error:  # noqa: BLE001  raised again by whoever waits
                tell(path, error)

    workers = min(MAX_WORKERS, len(want.files))
    for path in (*want.files, *[None] * workers):
        todo.put(path)
    threads = [threading.Thread(target=work, daemon=True, name="hub") for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        in_a_row = 0
        for _ in want.files:
            path, result = done.get()
            in_a_row = in_a_row + 1 if isinstance(result, UnreachedError) else 0
            if not isinstance(result, BaseException):
                yield path, result
            elif want.lost is not None and isinstance(result, SourceError) and want.tolerates(result, in_a_row):
                want.lost[path] = result
            else:
                raise result
    except ShardwrightError:
        want.stop.set()
        end = time.monotonic() + GRACE
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        raise
