"""Finding media: where the bytes are that a row asks for, what their hash is, and what a probe says of them."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import RowRejected
from pipeline.manifest import fingerprint
from pipeline.media.probe import PROBE_VERSION, hash_file, probe
from pipeline.sources.local import MediaRoot
from pipeline.stages.convert import records_path

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from pipeline.build import AnnotationFile, Build
    from pipeline.media.facts import MediaFacts
    from pipeline.recipe import Config

BATCH_ROWS = 8_192
"""Rows looked at together: what bounds memory."""
CHUNK_FILES, CHUNK_BYTES = 64, 32 << 20
"""Media that one task hashes and probes."""


@dataclass(frozen=True, slots=True)
class Medium:
    """A medium that was found: its hash, size, where its bytes are, and its facts."""

    sha256: str
    size: int
    path: str
    facts: MediaFacts


Found = dict[tuple[int, str | None, str | None], Medium | RowRejected]


class MediaFinder:
    """Turns what the rows of one annotation file ask for into media."""

    def __init__(self, build: Build, config: Config, file: AnnotationFile) -> None:
        self.build, self.config, self.file = build, config, file
        self.columns = config.schema.media_columns
        self.roots = [self._root(column.name) for column in self.columns]
        self.records = pq.ParquetFile(records_path(build.workspace, file))
        self.newest_ns = 0
        """The latest time that any file was changed."""

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
        yield from self.records.iter_batches(batch_size=BATCH_ROWS, columns=names)

    def asked(self, batch: pa.RecordBatch) -> list[list[list[dict[str, Any]] | None]]:
        """Return column by column, row by row, the media asked for."""
        return [batch.column(f"__media.{column.name}").to_pylist() for column in self.columns]

    def where(self, number: int, ask: dict[str, Any]) -> tuple[Path, os.stat_result | None]:
        """Return where a medium's bytes are, and the file's stat unless it is an object of the store.

        Raises:
            RowRejected: the path is forbidden, or there is no such file.
        """
        if ask["object"] is not None:
            return self.build.store.object_path(ask["object"]), None
        path = self.roots[number].resolve(ask["value"])
        try:
            stat = path.stat()
        except OSError as error:
            raise RowRejected("media.missing", f"{ask['value']!r} cannot be read: {error.strerror}") from None
        self.newest_ns = max(self.newest_ns, stat.st_mtime_ns, stat.st_ctime_ns)
        return path, stat

    def state(self) -> str:
        """Return a fingerprint of everything the plan depends on, without reading a medium."""
        settings = {name: spec.model_dump(mode="json") for name, spec in self.config.media.items()}
        state = hashlib.sha256(fingerprint(PROBE_VERSION, self.file.key, settings, self.build.recipe.embedded).encode())
        if not self.columns:
            return state.hexdigest()
        for batch in self.batches():
            for number, column in enumerate(self.asked(batch)):
                for ask in (ask for asks in column if asks for ask in asks):
                    try:
                        path, stat = self.where(number, ask)
                        times = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino) if stat else ()
                        state.update(f"{path}\0{times}\n".encode("utf-8", "surrogateescape"))
                    except RowRejected as error:
                        state.update(f"{error.code}\0{error.message}\n".encode("utf-8", "backslashreplace"))
        return state.hexdigest()


def find_all(build: Build, finder: MediaFinder, asked: list[list[list[dict[str, Any]] | None]]) -> Found:
    """Find, hash and probe all media of one batch; what was seen before comes from the store's memory."""
    found: Found = {}
    looked_ns = time.time_ns()
    places: dict[tuple[int, str | None, str | None], tuple[Path, os.stat_result | None]] = {}
    for number, column in enumerate(asked):
        for asks in column:
            for ask in asks or []:
                key = (number, ask["value"], ask["object"])
                if key not in found and key not in places:
                    try:
                        places[key] = finder.where(number, ask)
                    except RowRejected as error:
                        found[key] = error
    stats = {path: stat for path, stat in places.values() if stat is not None}
    hashes: dict[Path, str] = dict(build.store.known_files(list(stats.items())))
    hashes.update({path: key[2] for key, (path, stat) in places.items() if stat is None and key[2]})
    kinds = {number: str(column.media) for number, column in enumerate(finder.columns)}
    facts: dict[tuple[str, str], MediaFacts | RowRejected] = {}
    for kind in set(kinds.values()):
        known = build.store.facts(set(hashes.values()), kind)
        facts.update({(sha256, kind): fact for sha256, fact in known.items()})
    wanted = {
        (path, kinds[key[0]])
        for key, (path, _) in places.items()
        if path not in hashes or (hashes[path], kinds[key[0]]) not in facts
    }
    sizes = {path: (stat.st_size if stat else path.stat().st_size) for path, stat in places.values()}
    chunks = list(_chunks(sorted(wanted), sizes, hashes))
    work = sum(sizes[path] for path, _ in wanted)
    gone: dict[Path, RowRejected] = {}
    for results in build.executor.map(examine, chunks, work_bytes=work):
        build.store.adopt(
            [(p, stats[p], sha) for p, _, sha, _ in results if sha is not None and p in stats and p not in hashes],
            looked_ns=looked_ns,
        )
        build.store.remember_facts([(sha, kind, fact) for _, kind, sha, fact in results if sha is not None])
        for path, kind, sha256, fact in results:
            if sha256 is None:
                assert isinstance(fact, RowRejected)
                gone[path] = fact
            else:
                hashes[path] = sha256
                facts[sha256, kind] = fact
    for key, (path, _) in places.items():
        if path in gone:
            found[key] = gone[path]
            continue
        fact = facts[hashes[path], kinds[key[0]]]
        found[key] = fact if isinstance(fact, RowRejected) else Medium(hashes[path], sizes[path], str(path), fact)
    return found


Examined = tuple[Path, str, "str | None", "MediaFacts | RowRejected"]


def _chunks(
    wanted: list[tuple[Path, str]], sizes: dict[Path, int], hashes: dict[Path, str]
) -> Iterator[list[tuple[Path, str, str | None]]]:
    chunk: list[tuple[Path, str, str | None]] = []
    size = 0
    for path, kind in wanted:
        if chunk and (len(chunk) >= CHUNK_FILES or size + sizes[path] > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append((path, kind, hashes.get(path)))
        size += sizes[path]
    if chunk:
        yield chunk


def examine(chunk: list[tuple[Path, str, str | None]]) -> list[Examined]:
    """Hash and probe some files (a worker's task); a file that cannot be read has no hash."""
    results: list[Examined] = []
    for path, kind, known in chunk:
        try:
            sha256 = known or hash_file(path)[0]
        except OSError as error:
            results.append((path, kind, None, RowRejected("media.missing", f"cannot be read: {error.strerror}")))
            continue
        try:
            results.append((path, kind, sha256, probe(path, kind)))
        except RowRejected as error:
            results.append((path, kind, sha256, error))
    return results
