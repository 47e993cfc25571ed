"""Finding media: where the bytes are that a row asks for, what their hash is, and what a probe says of them."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import RowRejected
from pipeline.manifest import fingerprint
from pipeline.media.examiners import Order
from pipeline.media.probe import PROBE_VERSION
from pipeline.network.ledger import PASSING
from pipeline.network.remote_media import OF_THIS_MACHINE, Want, rejected
from pipeline.network.urls import WebUrl, looks_like_url, parse_url
from pipeline.row_file import read_batches
from pipeline.sources.local import MediaRoot
from pipeline.stages.convert import records_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from pipeline.build import AnnotationFile, Build
    from pipeline.media.facts import Kind, MediaFacts
    from pipeline.network.ledger import Entry
    from pipeline.recipe import Config
    from pipeline.recipe_spec import Depth

BATCH_ROWS = 8_192
"""Rows looked at together: what bounds memory."""


@dataclass(frozen=True, slots=True)
class Medium:
    """A medium that was found: its hash, size, where its bytes are, and its facts."""

    sha256: str
    size: int
    path: str
    facts: MediaFacts


Ask = dict[str, Any]
"""What a row asks for: `value`, a path as written, or `object`, the hash of a medium inside the annotation."""
AskKey = tuple[int, "str | None", "str | None"]
"""Column number, value, object."""
Found = dict[AskKey, "Medium | RowRejected"]
Place = tuple[Path, "os.stat_result | None"]
"""Where a medium's bytes are, and the file's stat unless it is an object of the store."""


class MediaFinder:
    """Turns what the rows of one annotation file ask for into media."""

    def __init__(self, build: Build, config: Config, file: AnnotationFile) -> None:
        self.build, self.config, self.file = build, config, file
        self.columns = config.schema.media_columns
        self.kinds: list[Kind] = [column.media for column in self.columns if column.media is not None]
        specs = [config.media.get(column.name) for column in self.columns]
        self.depths: list[Depth] = [spec.probe if spec else "decode" for spec in specs]
        self.roots = [self._root(column.name) for column in self.columns]
        self.newest_ns = 0
        """The latest time that any file was changed."""
        self.open_ended = False
        """Whether there is a URL that was not fetched, and that the next build would ask for."""
        self._urls: dict[str, WebUrl | RowRejected] = {}
        self._entries: dict[str, Entry] = {}
        settings = {name: spec.model_dump(mode="json") for name, spec in config.media.items()}
        made_of = fingerprint(PROBE_VERSION, file.key, settings, build.recipe.embedded)
        self._state = hashlib.sha256(made_of.encode())

    def _root(self, column: str) -> MediaRoot:
        spec = self.config.media.get(column)
        root = self.build.roots[spec.source if spec and spec.source else self.file.source]
        base = self.file.path.parent if spec and spec.relative_to == "file" else root
        if spec and spec.within is not None:
            root = self.build.recipe.path.parent / spec.within
        return MediaRoot(base=base, root=root)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the lines, weights and asks of the records."""
        names = ["__line", "__bytes", *(f"__media.{column.name}" for column in self.columns)]
        yield from read_batches(records_path(self.build.workspace, self.file), names, rows=BATCH_ROWS)

    def asked(self, batch: pa.RecordBatch) -> list[list[list[Ask] | None]]:
        """Return column by column, row by row, the media asked for."""
        return [batch.column(f"__media.{column.name}").to_pylist() for column in self.columns]

    def locate(
        self, asked: list[list[list[Ask] | None]], lines: list[int] | None = None
    ) -> tuple[dict[AskKey, Place], Found]:
        """Return where the media of a batch are, and which have no place; both become part of `state`.

        With `lines`, those of the batch's rows, remote media that were never fetched are fetched now.
        """
        self._look_up(asked, lines)
        places: dict[AskKey, Place] = {}
        missing: Found = {}
        for number, column in enumerate(asked):
            for ask in (ask for asks in column if asks for ask in asks):
                key = (number, ask["value"], ask["object"])
                if key in places or key in missing:
                    continue
                try:
                    path, stat = places[key] = self._place(number, ask)
                    times = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino) if stat else ()
                    self._state.update(f"{path}\0{times}\n".encode("utf-8", "surrogateescape"))
                except RowRejected as error:
                    missing[key] = error
                    self._state.update(f"{error.code}\0{error.message}\n".encode("utf-8", "backslashreplace"))
        return places, missing

    def _place(self, number: int, ask: Ask) -> Place:
        if ask["object"] is not None:
            return self.build.store.object_path(ask["object"]), None
        if looks_like_url(ask["value"]):
            return self._remote_place(ask["value"]), None
        path = self.roots[number].resolve(ask["value"])
        try:
            stat = os.stat(path)  # noqa: PTH116  (half the time of Path.stat, for every medium of every build)
        except OSError as error:
            raise RowRejected("media.missing", f"{ask['value']!r} cannot be read: {error.strerror}") from None
        self.newest_ns = max(self.newest_ns, stat.st_mtime_ns, stat.st_ctime_ns)
        return path, stat

    def _look_up(self, asked: list[list[list[Ask] | None]], lines: list[int] | None) -> None:
        """Find out what is known of the URLs of a batch."""
        self._urls = {}
        wanted: dict[WebUrl, Want] = {}
        for number, column in enumerate(asked):
            for position, asks in enumerate(column):
                for value in (ask["value"] for ask in asks or () if ask["object"] is None):
                    if value in self._urls or not looks_like_url(value):
                        continue
                    try:
                        url = self._urls[value] = parse_url(value)
                    except RowRejected as error:
                        self._urls[value] = error
                        continue
                    line = "" if lines is None else f"{self.config.name} {self.file.name}:{lines[position]}"
                    wanted.setdefault(url, Want(self.kinds[number], self.depths[number], line))
        if wanted:
            remote = self.build.remote
            self._entries = remote.entries(wanted)
            if lines is not None:
                open_ended = {u: w for u, w in wanted.items() if not remote.is_settled(self._entries.get(u.key))}
                remote.bring(open_ended)
                self._entries |= remote.entries(open_ended)

    def _remote_place(self, value: str) -> Path:
        url = self._urls[value]
        if isinstance(url, RowRejected):
            raise url
        entry, remote = self._entries.get(url.key), self.build.remote
        if entry is not None and entry.sha256 is not None:
            return self.build.store.object_path(entry.sha256)
        if entry is None or entry.lasts == PASSING or not remote.is_settled(entry):
            self.open_ended = True
        raise rejected(url, entry if remote.is_settled(entry) else None)

    @property
    def state(self) -> str:
        """A fingerprint of everything the plan depends on, once all batches were located."""
        return f"{self._state.hexdigest()}{'?' if self.open_ended else ''}"


def state_of(build: Build, config: Config, file: AnnotationFile) -> str:
    """Return what the plan of an annotation file would depend on now, without reading a medium."""
    finder = MediaFinder(build, config, file)
    for batch in finder.batches() if finder.columns else ():
        finder.locate(finder.asked(batch))
    return finder.state


def find_all(
    build: Build,
    finder: MediaFinder,
    asked: list[list[list[Ask] | None]],
    *,
    lines: list[int],
    advance: Callable[[int], object],
) -> Found:
    """Find, fetch, hash and probe all media of one batch; what was seen before comes from the store's memory."""
    looked_ns = time.time_ns()
    places, found = finder.locate(asked, lines)
    stats = {path: stat for path, stat in places.values() if stat is not None}
    hashes: dict[Path, str] = dict(build.store.known_files(stats.items()))
    hashes.update({path: path.name for path, stat in places.values() if stat is None})  # objects are called by theirs
    sizes = {path: (stat.st_size if stat else path.stat().st_size) for path, stat in places.values()}
    for kind, depth in dict.fromkeys(zip(finder.kinds, finder.depths, strict=True)):
        here = [key for key in places if (finder.kinds[key[0]], finder.depths[key[0]]) == (kind, depth)]
        facts = build.store.facts({hashes[places[key][0]] for key in here if places[key][0] in hashes}, kind, depth)
        orders = [
            Order(path=path, kind=kind, depth=depth, size=sizes[path], sha256=hashes.get(path))
            for path in dict.fromkeys(places[key][0] for key in here)
            if hashes.get(path) not in facts
        ]
        lost: dict[Path, RowRejected] = {}
        fresh: list[tuple[Path, os.stat_result, str]] = []
        for examined in build.examiners.examine(orders, advance=advance):
            path, sha256 = examined.order.path, examined.sha256
            if isinstance(examined.found, RowRejected) and (sha256 is None or examined.found.code in OF_THIS_MACHINE):
                lost[path] = examined.found
            if sha256 is None:
                continue
            facts[sha256] = examined.found
            if path in stats and path not in hashes:
                fresh.append((path, stats[path], sha256))
            hashes[path] = sha256
        build.store.adopt(fresh, looked_ns=looked_ns)
        new = {hashes[order.path] for order in orders if order.path not in lost}
        build.store.remember_facts([(sha256, facts[sha256]) for sha256 in sorted(new)], kind, depth)
        for key in here:
            path = places[key][0]
            fact = lost.get(path) or facts[hashes[path]]
            found[key] = fact if isinstance(fact, RowRejected) else Medium(hashes[path], sizes[path], str(path), fact)
    return found
