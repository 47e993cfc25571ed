"""Reading the rows of an opened split as canonical rows: one at a time, in the order of the shards, in little memory.

A row that cannot be read so is named with its reason, in its place; none is left out in silence.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.checks.media_endings import kind_of
from pipeline.checks.media_rows import GroupReader, media_of
from pipeline.checks.value_hashes import lengths_of, plain
from pipeline.column_type import Json, Scalar
from pipeline.conversation import MediaPart
from pipeline.errors import RowRejected
from pipeline.labels import Label, labelling
from pipeline.media.ending_by_content import HEAD_BYTES, ending_by_content
from pipeline.media.media_beside import MediaBeside, NotInsideError
from pipeline.media.probe import hash_file
from pipeline.printable import escaped
from pipeline.rows.canonical import CanonicalRow, CanonicalTurn, Medium

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.checks.dataset import Footer
    from pipeline.checks.media_rows import Medium as Found
    from pipeline.checks.media_sources import Source
    from pipeline.conversation import Message
    from pipeline.rows.opened_split import OpenedSplit

BATCH_BYTES, BATCH_ROWS = 8 << 20, 256
"""What is read of a shard at a time, and at least one row."""
_UNREADABLE = (pa.ArrowException, OSError, ValueError)
"""What Arrow raises at damaged shards."""
_ID = "id"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadRow:
    """A row that cannot be read as a canonical one."""

    shard: str
    row: int
    """0-based, in the shard."""
    code: str
    """`conversation.*`, `template.*`, `media.*` or `shard.*`."""
    message: str


class RowReader:
    """Reads the rows of an opened split."""

    def __init__(self, opened: OpenedSplit, id_column: str | None = None) -> None:
        self._opened = opened
        self._sources = opened.sources
        view = opened.view
        self.id_column = id_column or _id_of(opened)
        """The column that the id of a row is from, or None."""
        names = {source.name for source in self._sources}
        texts = set(view.texts) if view is not None else set()
        self._values = [name for name in opened.types if name not in names or name in texts]
        taken = texts | names | ({self.id_column} if self.id_column else set())
        self.extras = tuple(name for name in self._values if name not in taken)
        """The columns that the conversation does not use, without media."""
        self.loose = tuple(source.name for source in self._sources[len(opened.used) :])
        """The columns of media that the conversation does not use."""
        listed = frozenset(source.name for source in opened.used if source.is_list)
        self._render = view.compiled(listed) if view is not None else None
        self._labels = {name: label for name, kind in opened.types.items() if (label := labelling(kind)) is not None}
        self._json = {name for name, kind in opened.types.items() if isinstance(kind, Json)}
        root = opened.dataset.files.path(".")
        assert root is not None
        self._beside = MediaBeside(root)

    def __iter__(self) -> Iterator[CanonicalRow | UnreadRow]:
        """Yield the rows of the split in their order."""
        for shard, footer in self._opened.footers.items():
            first = 0
            for number, group in enumerate(footer.groups):
                yield from self._group(shard, footer, number, first)
                first += group.rows

    def _group(self, shard: str, footer: Footer, number: int, first: int) -> Iterator[CanonicalRow | UnreadRow]:
        rows = footer.groups[number].rows
        if not rows:
            return
        path = self._opened.dataset.files.path(shard)
        assert path is not None
        columns = tuple(dict.fromkeys([*self._values, *(source.name for source in self._sources)]))
        read, why = 0, "the shard ends before this row"
        try:
            reader = GroupReader(str(path), number, _there(columns, footer), _rows_at_once(footer, number))
            try:
                for begin, batch in reader.rows(0, rows):
                    for row in self._batch(shard, first + begin, batch):
                        read += 1
                        yield row
            finally:
                reader.close()
        except _UNREADABLE as error:
            why = " ".join(str(error).split())[:300]
        for left in range(read, rows):
            yield UnreadRow(shard=shard, row=first + left, code="shard.damaged", message=escaped(why))

    def _batch(self, shard: str, first: int, batch: pa.RecordBatch) -> Iterator[CanonicalRow | UnreadRow]:
        columns = {name: batch.column(number) for number, name in enumerate(batch.schema.names)}
        values = {name: columns[name] for name in self._values if name in columns}
        near = PurePosixPath(shard).parts[:-1]
        for number in range(batch.num_rows):
            try:
                media = {
                    source.name: list(self._media(source, columns[source.name].slice(number, 1), near))
                    for source in self._sources
                    if source.name in columns
                }
                said = {name: column[number].as_py() for name, column in values.items()}
                read: CanonicalRow | UnreadRow = self._row(said, media, shard=shard, row=first + number)
            except RowRejected as error:
                read = UnreadRow(shard=shard, row=first + number, code=error.code, message=escaped(error.message))
            except UnicodeDecodeError:
                what = "a text in it is not UTF-8"
                read = UnreadRow(shard=shard, row=first + number, code="shard.text", message=what)
            yield read

    def _row(self, values: dict[str, Any], media: dict[str, list[Medium]], *, shard: str, row: int) -> CanonicalRow:
        for name, label in self._labels.items():
            if name in values:
                values[name] = label(values[name])
        shown: set[int] = set()
        turns: list[CanonicalTurn] = []
        if self._render is not None:
            seen: dict[str, Any] = dict(values)
            for source in self._opened.used:
                if source.name not in seen:  # else paths that are texts of the conversation as well
                    found = media[source.name]
                    seen[source.name] = [True] * len(found) if source.is_list else (True if found else None)
            turns = [_turn(message, media, shown) for message in self._render(seen)]
            if not turns:
                raise RowRejected("conversation.empty", "the conversation has no turns")
        named = values.get(self.id_column) if self.id_column else None
        return CanonicalRow(
            shard=shard,
            row=row,
            id="" if named is None else str(named),
            turns=tuple(turns),
            extras={name: self._extra(name, values.get(name)) for name in self.extras},
            loose=tuple(medium for found in media.values() for medium in found if id(medium) not in shown),
        )

    def _extra(self, name: str, value: Any) -> Any:
        if name in self._json and isinstance(value, str):
            try:
                return json.loads(value)
            except ValueError:
                return value
        return _without_labels(value)

    def _media(self, source: Source, array: pa.Array, near: tuple[str, ...]) -> Iterator[Medium]:
        """Yield the media of one row of a column.

        Raises:
            RowRejected: `media.null`, `media.missing`.
        """
        places = int(lengths_of(plain(array)).sum()) if source.is_list else None
        count = 0
        for found in media_of(array):
            count += 1
            try:
                yield self._medium(source, found, near)
            except RowRejected as error:
                where = f"{source.name}[{found.position}]" if source.is_list else source.name
                raise RowRejected(error.code, f"{where}: {error.message}") from None
        if places is not None and count != places:
            raise RowRejected("media.null", f"{source.name}: {places - count} places of the list hold no medium")

    def _medium(self, source: Source, found: Found, near: tuple[str, ...]) -> Medium:
        name = found.path or ""
        kind = source.kind or (kind_of(name) if name else None) or "image"
        if found.data is not None:
            data = found.data
            return Medium(
                kind=kind,
                column=source.name,
                name=name,
                sha256=hashlib.sha256(data).hexdigest(),
                size=len(data),
                ending=ending_by_content(data[:HEAD_BYTES], name),
                read=lambda: data,
            )
        if not name:
            raise RowRejected("media.null", "it has neither bytes nor a path")
        try:
            location = self._beside.find(name, near=near)
        except NotInsideError as error:
            raise RowRejected("media.missing", f"the path {name[:300]!r} {error}") from None
        if location is None:
            raise RowRejected("media.missing", f"the path {name[:300]!r} names no file of the dataset")
        try:
            sha256, size = hash_file(location)
            with location.open("rb", buffering=0) as file:
                head = file.read(HEAD_BYTES) or b""
        except OSError as error:
            raise RowRejected("media.missing", f"it cannot be read: {error.strerror}") from None
        return Medium(
            kind=kind,
            column=source.name,
            name=name,
            sha256=sha256,
            size=size,
            ending=ending_by_content(head, name),
            read=location.read_bytes,
            location=location,
        )


def _id_of(opened: OpenedSplit) -> str | None:
    """Return the column called id, if it holds texts or whole numbers."""
    kind = opened.types.get(_ID)
    if isinstance(kind, Scalar) and (kind.dtype == "string" or "int" in kind.dtype):
        return _ID
    return None


def _there(columns: tuple[str, ...], footer: Footer) -> tuple[str, ...]:
    """Return those columns that a shard has, once."""
    return tuple(name for name in columns if footer.schema.names.count(name) == 1)


def _rows_at_once(footer: Footer, number: int) -> int:
    metadata = footer.metadata.row_group(number)
    each: int = metadata.total_byte_size // max(1, metadata.num_rows)
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, each)))


def _turn(message: Message, media: Mapping[str, list[Medium]], shown: set[int]) -> CanonicalTurn:
    parts: list[str | Medium] = []
    for part in message.parts:
        if isinstance(part, MediaPart):
            medium = media[part.column][part.position or 0]
            shown.add(id(medium))
            parts.append(medium)
        elif parts and isinstance(parts[-1], str):
            parts[-1] += part.text
        elif part.text:
            parts.append(part.text)
    assert message.role in ("system", "user", "assistant")
    return CanonicalTurn(role=message.role, parts=tuple(parts))  # type: ignore[arg-type]


def _without_labels(value: Any) -> Any:
    """Return a value with the names of its labels in their place."""
    if isinstance(value, Label):
        return value.name
    if isinstance(value, list):
        return [_without_labels(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_labels(item) for key, item in value.items()}
    return value
