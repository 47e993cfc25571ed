"""Finding media: where the bytes are that a row asks for, what their hash is, and what a probe says of them."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.errors import RowRejected, SourceError
from pipeline.manifest import fingerprint
from pipeline.media.examiners import CutOrder, Order
from pipeline.media.excerpt import EXCERPT_VERSION, Excerpt
from pipeline.media.location import FilePart
from pipeline.media.probe import PROBE_VERSION
from pipeline.network.ledger import PASSING
from pipeline.network.remote_media import OF_THIS_MACHINE, Want, rejected
from pipeline.network.urls import WebUrl, looks_like_url, parse_url
from pipeline.row_file import read_batches
from pipeline.sources.in_place import MemberInPlace
from pipeline.sources.local import MediaRoot
from pipeline.stages.convert import records_path
from pipeline.stages.source_hashes import is_unchanged
from pipeline.workspace import emptied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import pyarrow as pa

    from pipeline.build import AnnotationFile, Build
    from pipeline.media.excerpt import How, Piece
    from pipeline.media.facts import Kind, MediaFacts
    from pipeline.media.location import Location
    from pipeline.media.store import MediaStore
    from pipeline.network.ledger import Entry
    from pipeline.recipe import Config
    from pipeline.recipe_spec import Depth
    from pipeline.sources.in_place import ArchiveInPlace, ShardInPlace

BATCH_ROWS = 8_192
"""Rows looked at together: what bounds memory."""


@dataclass(frozen=True, slots=True)
class Medium:
    """A medium that was found: its hash, size, where its bytes are, and its facts."""

    sha256: str
    size: int
    path: str
    facts: MediaFacts
    origin: str | None = None
    """The hash of the video that it was cut out of."""
    suffix: str = ""
    """What stands behind the video's name in its own."""
    how: How | None = None


Ask = dict[str, Any]
"""What a row asks for: `value`, a path as written, or `object`, the hash of a medium inside the annotation; and
`excerpt`, what of it, when it is not all."""
AskKey = tuple[int, "str | None", "str | None", "str | None"]
"""Column number, value, object, excerpt."""
Found = dict[AskKey, "list[Medium] | RowRejected"]
"""One medium, or the pieces of an excerpt."""
Missing = dict[AskKey, RowRejected]


class Place(NamedTuple):
    """Where a medium's bytes are."""

    location: Location
    stat: os.stat_result | None = None
    """Of a file that stays where it is, whose hash must be found out."""
    sha256: str | None = None
    """Of an object of the store, or of a member that stays in its archive."""


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
        made_of = fingerprint(PROBE_VERSION, EXCERPT_VERSION, file.key, settings, build.recipe.embedded)
        self._state = hashlib.sha256(made_of.encode())

    def _root(self, column: str) -> MediaRoot:
        spec = self.config.media.get(column)
        root = self.build.roots[spec.source if spec and spec.source else self.file.source]
        base = self.file.path.parent if spec and spec.relative_to == "file" else root
        if spec and spec.within is not None:
            root = self.build.recipe.path.parent / spec.within
        return MediaRoot(base=base, root=root, archives=tuple(self.build.archives.values()), shards=self.build.shards)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the lines, weights and asks of the records."""
        names = ["__line", "__bytes", *(f"__media.{column.name}" for column in self.columns)]
        yield from read_batches(records_path(self.build.workspace, self.file), names, rows=BATCH_ROWS)

    def asked(self, batch: pa.RecordBatch) -> list[list[list[Ask] | None]]:
        """Return column by column, row by row, the media asked for."""
        return [batch.column(f"__media.{column.name}").to_pylist() for column in self.columns]

    def locate(
        self, asked: list[list[list[Ask] | None]], lines: list[int] | None = None
    ) -> tuple[dict[AskKey, Place], Missing]:
        """Return where the media of a batch are, and which have no place; both become part of `state`.

        With `lines`, those of the batch's rows, remote media that were never fetched are fetched now.
        """
        self._look_up(asked, lines)
        places: dict[AskKey, Place] = {}
        missing: Missing = {}
        for number, column in enumerate(asked):
            for ask in (ask for asks in column if asks for ask in asks):
                key = (number, ask["value"], ask["object"], ask["excerpt"])
                if key in places or key in missing:
                    continue
                try:
                    location, stat, sha256 = places[key] = self._place(number, ask)
                    times = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino) if stat else sha256
                    self._state.update(f"{location}\0{times}\n".encode("utf-8", "surrogateescape"))
                except RowRejected as error:
                    missing[key] = error
                    self._state.update(f"{error.code}\0{error.message}\n".encode("utf-8", "backslashreplace"))
        return places, missing

    def _place(self, number: int, ask: Ask) -> Place:
        if ask["object"] is not None:
            return Place(self.build.store.object_path(ask["object"]), sha256=ask["object"])
        if looks_like_url(ask["value"]):
            return self._remote_place(ask["value"])
        path = self.roots[number].resolve(ask["value"])
        if isinstance(path, MemberInPlace):
            return Place(path.location, sha256=path.sha256)
        try:
            stat = os.stat(path)  # noqa: PTH116  (half the time of Path.stat, for every medium of every build)
        except OSError as error:
            raise RowRejected("media.missing", f"{ask['value']!r} cannot be read: {error.strerror}") from None
        self.newest_ns = max(self.newest_ns, stat.st_mtime_ns, stat.st_ctime_ns)
        return Place(path, stat)

    def _look_up(self, asked: list[list[list[Ask] | None]], lines: list[int] | None) -> None:
        """Find out what is known of the URLs of a batch."""
        self._urls = {}
        wanted: dict[WebUrl, Want] = {}
        for number, column in enumerate(asked):
            for position, asks in enumerate(column):
                for ask in (ask for ask in asks or () if ask["object"] is None):
                    value = ask["value"]
                    if value in self._urls or not looks_like_url(value):
                        continue
                    try:
                        url = self._urls[value] = parse_url(value)
                    except RowRejected as error:
                        self._urls[value] = error
                        continue
                    line = "" if lines is None else f"{self.config.name} {self.file.name}:{lines[position]}"
                    whole = Want(self.kinds[number], self.depths[number], line)
                    wanted.setdefault(url, whole if ask["excerpt"] is None else Want("video", "header", line))
        if wanted:
            remote = self.build.remote
            self._entries = remote.entries(wanted)
            if lines is not None:
                open_ended = {u: w for u, w in wanted.items() if not remote.is_settled(self._entries.get(u.key))}
                remote.bring(open_ended)
                self._entries |= remote.entries(open_ended)

    def _remote_place(self, value: str) -> Place:
        url = self._urls[value]
        if isinstance(url, RowRejected):
            raise url
        entry, remote = self._entries.get(url.key), self.build.remote
        if entry is not None and entry.sha256 is not None:
            return Place(self.build.store.object_path(entry.sha256), sha256=entry.sha256)
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
    """Find, fetch, hash, cut and probe all media of one batch; what was seen before comes from the store's memory."""
    looked_ns = time.time_ns()
    places, missing = finder.locate(asked, lines)
    files = _Files(build, places.values(), looked_ns=looked_ns, advance=advance)
    found: Found = dict(missing)
    for kind, depth in dict.fromkeys(zip(finder.kinds, finder.depths, strict=True)):
        here = [key for key in places if (finder.kinds[key[0]], finder.depths[key[0]]) == (kind, depth)]
        whole = {key: places[key].location for key in here if key[3] is None}
        looked_at = files.examined(whole.values(), kind, depth)
        for key, location in whole.items():
            medium = looked_at[location]
            found[key] = medium if isinstance(medium, RowRejected) else [medium]
        parts = {key: (places[key].location, key[3]) for key in here if key[3] is not None}
        if parts:
            cut = _excerpts(files, set(parts.values()), kind, depth)
            found.update({key: cut[part] for key, part in parts.items()})
    return found


class _Files:
    """The media of one batch: what is known of them, and what is found out."""

    def __init__(
        self, build: Build, places: Iterable[Place], *, looked_ns: int, advance: Callable[[int], object]
    ) -> None:
        self.build, self.advance, self._looked_ns = build, advance, looked_ns
        self._archives: dict[Path, ArchiveInPlace | ShardInPlace] = {
            **{archive.path: archive for archive in build.archives.values()},
            **{shard.path: shard for shard in build.shards.values()},
        }
        self._stats: dict[Path, os.stat_result] = {}
        self.hashes: dict[Location, str] = {}
        self.sizes: dict[Location, int] = {}
        for location, stat, sha256 in places:
            if isinstance(location, FilePart):
                assert sha256 is not None
                self.hashes[location], self.sizes[location] = sha256, location.size
            elif stat is None:
                self.add_object(location)
            else:
                self._stats[location], self.sizes[location] = stat, stat.st_size
        known: dict[Path, str] = build.store.known_files(self._stats.items())
        self.hashes.update(known.items())

    def add_object(self, path: Path) -> None:
        """Take up an object of the store, which is called by its hash."""
        self.hashes[path], self.sizes[path] = path.name, path.stat().st_size

    def check_archives(self, locations: Iterable[Location]) -> None:
        """Hold what was found out about members against the archives that it was read from, before it is believed.

        Raises:
            SourceError: an archive is not the one any more whose members are known by hash.
        """
        for path in {location.path for location in locations if isinstance(location, FilePart)}:
            archive = self._archives[path]
            if not is_unchanged(self.build, path, archive.sha256, archive.stat):
                raise SourceError(f"{path} changed or vanished while it was used", hint="put it back and run it again")

    def examined(self, paths: Iterable[Location], kind: Kind, depth: Depth) -> dict[Location, Medium | RowRejected]:
        """Return what media are, looked into so far."""
        build, hashes = self.build, self.hashes
        wanted = list(dict.fromkeys(paths))
        facts = build.store.facts({hashes[path] for path in wanted if path in hashes}, kind, depth)
        orders = [
            Order(path=path, kind=kind, depth=depth, size=self.sizes[path], sha256=hashes.get(path))
            for path in wanted
            if hashes.get(path) not in facts
        ]
        lost: dict[Location, RowRejected] = {}
        fresh: list[tuple[Path, os.stat_result, str]] = []
        for examined in build.examiners.examine(orders, advance=self.advance):
            path, sha256 = examined.order.path, examined.sha256
            if isinstance(examined.found, RowRejected) and (sha256 is None or examined.found.code in OF_THIS_MACHINE):
                lost[path] = examined.found
            if sha256 is None:
                continue
            facts[sha256] = examined.found
            if not isinstance(path, FilePart) and path in self._stats and path not in hashes:
                fresh.append((path, self._stats[path], sha256))
            hashes[path] = sha256
        self.check_archives(order.path for order in orders)
        build.store.adopt(fresh, looked_ns=self._looked_ns)
        new = {hashes[order.path] for order in orders if order.path not in lost}
        build.store.remember_facts([(sha256, facts[sha256]) for sha256 in sorted(new)], kind, depth)
        found: dict[Location, Medium | RowRejected] = {}
        for path in wanted:
            fact = lost.get(path) or facts[hashes[path]]
            if isinstance(fact, RowRejected):
                found[path] = fact
            else:
                found[path] = Medium(hashes[path], self.sizes[path], str(path), fact)
        return found


def _excerpts(
    files: _Files, wanted: set[tuple[Location, str]], kind: Kind, depth: Depth
) -> dict[tuple[Location, str], list[Medium] | RowRejected]:
    """Return the pieces of excerpts, each a video and what is wanted of it; cut out now where they are not known."""
    build, store = files.build, files.build.store
    result: dict[tuple[Location, str], list[Medium] | RowRejected] = {}
    videos = files.examined(sorted({path for path, _ in wanted}, key=str), "video", "none")
    pieces: dict[tuple[str, str], list[Piece] | RowRejected] = {}
    orders: list[CutOrder] = []
    scratch = build.workspace.cutting
    for path, video in videos.items():
        texts = sorted({text for wanted_path, text in wanted if wanted_path == path})
        if isinstance(video, RowRejected):
            result.update({(path, text): video for text in texts})
            continue
        known = store.pieces(video.sha256, texts)
        pieces.update({(video.sha256, text): found for text, found in known.items()})
        orders += [
            CutOrder(
                path=path,
                size=video.size,
                sha256=video.sha256,
                excerpt=Excerpt.from_text(text),
                folder=scratch / f"{video.sha256[:16]}-{number}",
            )
            for number, text in enumerate(texts)
            if text not in known
        ]
    with emptied(scratch):
        for order, cut in build.examiners.cut(orders, advance=files.advance):
            files.check_archives([order.path])
            if not isinstance(cut, RowRejected):
                for piece in cut:
                    store.take(order.folder / piece.file, piece.sha256)
            pieces[order.sha256, order.excerpt.text] = cut
            if not isinstance(cut, RowRejected) or cut.code not in OF_THIS_MACHINE:
                store.remember_pieces([(order.sha256, order.excerpt.text, cut)])
    objects: list[Path] = []
    for cut in pieces.values():
        objects += [store.object_path(piece.sha256) for piece in cut] if not isinstance(cut, RowRejected) else []
    for path in objects:
        files.add_object(path)
    looked_at = files.examined(objects, kind, depth)
    for path, text in wanted:
        if (path, text) in result:
            continue
        origin = files.hashes[path]
        result[path, text] = _of_pieces(pieces[origin, text], origin, store, looked_at)
    return result


def _of_pieces(
    cut: list[Piece] | RowRejected, origin: str, store: MediaStore, looked_at: dict[Location, Medium | RowRejected]
) -> list[Medium] | RowRejected:
    """Return the media of an excerpt, or why one of them cannot be used."""
    if isinstance(cut, RowRejected):
        return cut
    media = []
    for piece in cut:
        medium = looked_at[store.object_path(piece.sha256)]
        if isinstance(medium, RowRejected):
            return medium
        media.append(replace(medium, origin=origin, suffix=piece.suffix, how=piece.how))
    return media
