"""Finding out inside a bounded process where the media of some rows lie, what they are, and which cannot be used."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.checks.media_endings import kind_of
from pipeline.checks.media_rows import Medium, group_reader, media_of
from pipeline.checks.value_hashes import is_list, lengths_of, plain
from pipeline.errors import RowRejected
from pipeline.media.examine import guarded
from pipeline.media.location import FilePart, location_of
from pipeline.media.media_beside import MediaBeside, NotInsideError
from pipeline.media.opened_video import refusals
from pipeline.media.probe import hash_file
from pipeline.printable import escaped
from train.feed.media_record import MediaRecord
from train.feed.values_in_place import ValuesInPlace, chunk_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.checks.media_orders import Look
    from pipeline.media.facts import Kind
    from pipeline.media.frame_index import FrameIndex
    from pipeline.media.location import Location

_UNREADABLE = (pa.ArrowException, OSError, ValueError, RecursionError)
"""What Arrow raises at damaged shards."""
_SHOWN = 300
"""Characters of a reason that are kept."""

_beside: dict[str, MediaBeside] = {}
_values: dict[tuple[str, int, str], ValuesInPlace] = {}


def index_media(where: tuple[str, int, int, int, int, int | None], how: Look) -> list[list[Any]]:
    """Return what is known of the media in one column of some rows, as `MediaRecord.plain` has it.

    `where` and `how` are those of `pipeline.checks.media_orders.LookOrder`.
    """
    path, group, start, first, count, position = where
    found: list[MediaRecord] = []
    unread, refused = first, RowRejected("shard.damaged", "the shard ends before this row")
    try:
        reader = group_reader(path, group, (how["column"],), how["rows_at_once"])
        for begin, batch in reader.rows(first, count):
            array = batch.column(batch.schema.get_field_index(how["column"]))
            places = set(_places(array, position))
            for medium in media_of(array, position):
                places.discard((medium.row, medium.position))
                record = _record(medium, path, group, how)
                record.row += start + begin
                found.append(record)
            for row, place in places:
                refusal = RowRejected("media.null", "there is no medium at this place of the list")
                found.append(MediaRecord(row=start + begin + row, position=place, refused=refusal))
            unread = begin + batch.num_rows
    except MemoryError:
        refused = RowRejected("shard.memory", "reading it takes more memory than is allowed")
    except _UNREADABLE as error:
        refused = RowRejected("shard.damaged", " ".join(str(error).split())[:_SHOWN])
    rows = range(start + unread, start + first + count)
    found += [MediaRecord(row=row, position=position or 0, refused=refused) for row in rows]
    return [record.plain() for record in found]


def look_at_file(path: str, kind: Kind) -> list[Any]:
    """Return what is known of a medium that belongs to no dataset yet, as `MediaRecord.plain` has it.

    `path` says where it is, as `pipeline.media.location` writes it.
    """
    record = MediaRecord(row=0, position=0)
    location = location_of(path)
    try:
        record.size = location.size if isinstance(location, FilePart) else location.stat().st_size
        # an image is probed in memory, where it is small enough to be decoded at all
        source = location.read_bytes() if kind == "image" and isinstance(location, FilePart) else location
        refused = guarded(lambda: _look(source, kind, record))
    except OSError as error:
        refused = RowRejected("media.missing", f"it cannot be read: {error.strerror}")
    if isinstance(refused, RowRejected):
        record.refused = RowRejected(refused.code, escaped(refused.message)[:_SHOWN])
    return record.plain()


def _places(array: pa.Array, position: int | None) -> Iterator[tuple[int, int]]:
    """Yield the places of lists, by row and position."""
    array = plain(array)
    if is_list(array.type):
        for row, length in enumerate(lengths_of(array).tolist()):
            for place in range(length):
                if position in (None, place):
                    yield row, place


def _record(medium: Medium, path: str, group: int, how: Look) -> MediaRecord:
    record = MediaRecord(row=medium.row, position=medium.position)
    kind: Kind = how["kind"] or (kind_of(medium.path) if medium.path else None) or "image"
    source: Location | bytes
    try:
        if medium.data is not None:
            record.size, record.sha256 = len(medium.data), hashlib.sha256(medium.data).digest()
            record.offset = _values_of(path, group, how["column"]).find(medium.data)
            source = medium.data
        else:
            source = _lying_beside(medium.path, how, record)
            digest, record.size = hash_file(source)
            record.sha256 = bytes.fromhex(digest)
    except RowRejected as error:
        record.refused = error
        return record
    except OSError as error:
        record.refused = RowRejected("media.missing", f"it cannot be read: {error.strerror}")
        return record
    refused = guarded(lambda: _look(source, kind, record))
    if isinstance(refused, RowRejected):
        record.refused = RowRejected(refused.code, escaped(refused.message)[:_SHOWN])
    return record


def _values_of(path: str, group: int, column: str) -> ValuesInPlace:
    """Return what finds values of a column chunk; the last one is remembered, and goes on where it was."""
    import pyarrow.parquet as pq

    key = (path, group, column)
    if key not in _values:
        for values in _values.values():
            values.close()
        _values.clear()
        _values[key] = ValuesInPlace(Path(path), chunk_of(pq.read_metadata(path).row_group(group), column))
    return _values[key]


def _lying_beside(said: str | None, how: Look, record: MediaRecord) -> Location:
    """Return where a medium without bytes is, and note it.

    Raises:
        RowRejected: it is not there.
    """
    if not said:
        raise RowRejected("media.null", "it has neither bytes nor a path")
    root = how["root"]
    if root not in _beside:
        _beside.clear()
        _beside[root] = MediaBeside(Path(root))
    shown = escaped(said)[:_SHOWN]
    try:
        location = _beside[root].find(said, near=tuple(how["near"]))
    except NotInsideError as error:
        hint = "; training uses no network: build a dataset from it first" if str(error) == "is a URL" else ""
        raise RowRejected("media.missing", f"the path {shown!r} {error}{hint}") from None
    if location is None:
        raise RowRejected("media.missing", f"the path {shown!r} names no file of the dataset")
    if isinstance(location, FilePart):
        record.file, record.offset = location.path.relative_to(root).as_posix(), location.offset
    else:
        record.file = location.relative_to(root).as_posix()
    return location


def _look(source: Location | bytes, kind: Kind, record: MediaRecord) -> None:
    """Note what a medium is.

    Raises:
        RowRejected: it cannot be used.
    """
    record.kind = kind
    if kind == "image":
        from pipeline.media.image import probe_image
        from train.feed.decoded_image import check_mode

        # decoded, so that what harms a decoder does it here and not in a training
        facts = probe_image(source, "decode")
        check_mode(facts.mode)
    else:
        from pipeline.media.read_frame_index import read_index
        from pipeline.media.video import probe_video
        from train.feed.packed_frame_index import packed

        facts = probe_video(source, "header")
        with refusals():
            index = read_index(source)
        record.fps, record.frame_index = _frames_per_second(index, facts.fps), packed(index)
    record.width, record.height = facts.width or 0, facts.height or 0


def _frames_per_second(index: FrameIndex, claimed: float | None) -> float:
    """Return the header's exact rate (24000/1001) where the frames bear it out, else that of the frames."""
    total = len(index.times)
    seconds = float(index.time(total))
    if claimed and abs(claimed * seconds - total) <= 1:
        return claimed
    return total / seconds
