"""Looking at media inside a bounded process: hashed, decoded, compared with what their rows say."""

from __future__ import annotations

import base64
import hashlib
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.checks.media_endings import kind_of
from pipeline.checks.media_problems import Found, Seen, not_there, problems_of
from pipeline.checks.media_records import packed
from pipeline.checks.media_rows import group_reader, media_count, media_of
from pipeline.errors import RowRejected
from pipeline.media.examine import guarded
from pipeline.media.media_beside import MediaBeside, NotInsideError
from pipeline.media.picture_hash import has_many_greys, picture_hash
from pipeline.media.probe import hash_file

if TYPE_CHECKING:
    from pipeline.checks.media_orders import Look
    from pipeline.checks.media_rows import Medium
    from pipeline.media.facts import Kind, MediaFacts
    from pipeline.media.location import Location
    from pipeline.recipe_spec import Depth

PATHS_LOOKED_AT = 16
"""Texts by which a column is judged whether it holds paths."""
_UNREADABLE = (pa.ArrowException, OSError, ValueError, RecursionError, MemoryError)
"""What Arrow raises at damaged shards."""

_beside: dict[str, MediaBeside] = {}


def look(where: tuple[str, int, int, int, int, int | None], how: Look) -> Any:
    """Look at media of a row group: those in one column of some rows, and there only the one at `position`, if any.

    Returns their facts as `media_records` packs them, in base64, and what is wrong: row, position, code, message, hint.
    """
    path, group, start, first, count, position = where
    unread = first
    records: list[bytes] = []
    wrong: list[tuple[Any, ...]] = []
    try:
        reader = group_reader(path, group, (how["column"], *how["declared"].values()), how["rows_at_once"])
        for begin, batch in reader.rows(first, count):
            column = batch.schema.get_field_index(how["column"])
            for medium in media_of(batch.column(column), position):
                row = {key: _number(batch, name, medium.row) for key, name in how["declared"].items()}
                number = start + begin + medium.row
                place = (number, how["number"], medium.position)
                record, found = _look_at(medium, place, how, row)
                records.append(record)
                wrong += [(number, medium.position, *one) for one in found]
            unread = begin + batch.num_rows
    except MemoryError:
        message = "the media from this row on take more memory to be read than is allowed"
        wrong.append((start + unread, position or 0, "SW501", message, "write it with smaller row groups and pages"))
    except _UNREADABLE:
        pass  # a damaged shard is told elsewhere
    # what was not read is not known, which is not the same as nothing
    records += [packed((start + row, how["number"], position or 0)) for row in range(unread, first + count)]
    return [base64.b64encode(b"".join(records)).decode(), wrong]


def places(path: str, group: int, first: int, column: str, rows_at_once: int) -> Any:
    """Return how many places for media a row has in a column."""
    try:
        reader = group_reader(path, group, (column,), rows_at_once)
        return sum(
            media_count(batch.column(batch.schema.get_field_index(column))) for _, batch in reader.rows(first, 1)
        )
    except _UNREADABLE:
        return 0


def first_texts(path: str, group: int, columns: list[str]) -> Any:
    """Return the first texts of some columns of texts, or of lists of them."""
    found: dict[str, list[str]] = {}
    for column in columns:
        try:
            for _, batch in group_reader(path, group, (column,), PATHS_LOOKED_AT).rows(0, PATHS_LOOKED_AT):
                paths = [medium.path or "" for medium in media_of(batch.column(batch.schema.get_field_index(column)))]
                found[column] = [text for text in paths if text.isprintable()][:PATHS_LOOKED_AT]
        except _UNREADABLE:
            continue
    return found


def _look_at(medium: Medium, place: tuple[int, int, int], how: Look, row: dict[str, Any]) -> tuple[bytes, list[Found]]:
    """Return the record of a medium, and what is wrong with it."""
    source: Location | bytes | None = medium.data
    if source is None:
        source, why = _beside_shard(medium.path, how)
        if source is None:
            return packed(place), [not_there(medium.path, why)]
    kind: Kind = how["kind"] or (kind_of(medium.path) if medium.path else None) or "image"
    sha256, size, picture, facts, still = _examined(source, kind, how)
    seen = Seen(
        kind=kind,
        path=medium.path,
        facts=facts,
        stands_still=still,
        is_declared=how["kind"] is not None,
        row=row,
    )
    return packed(place, sha256=sha256, size=size, look=picture, facts=facts), [*problems_of(seen)]


def _examined(
    source: Location | bytes, kind: Kind, how: Look
) -> tuple[bytes | None, int | None, bytes | None, MediaFacts | RowRejected, bool]:
    """Return the hash of a medium, its bytes, its perceptual hash, its facts, and whether it stands still."""
    try:
        if kind == "image" and not isinstance(source, bytes):
            source = source.read_bytes()
        if isinstance(source, bytes):
            sha256, size = hashlib.sha256(source).digest(), len(source)
        else:
            digest, size = hash_file(source)
            sha256 = bytes.fromhex(digest)
    except OSError as error:
        return None, None, None, RowRejected("media.missing", f"it cannot be read: {error.strerror}"), False
    except MemoryError:
        return None, None, None, RowRejected("media.memory", "it takes more memory than is allowed"), False
    depth: Depth = "all_frames" if how["full"] else "decode"
    if kind == "image" and isinstance(source, bytes):
        picture, facts = _examined_image(source, depth, hashed=how["hashes"])
        return sha256, size, picture, facts, False
    from pipeline.media.standing_still import stands_still
    from pipeline.media.video import probe_video

    facts = guarded(lambda: probe_video(source, depth))
    frames = 0 if isinstance(facts, RowRejected) else facts.frames or 0
    return sha256, size, None, facts, guarded(lambda: stands_still(source, frames)) is True


def _examined_image(data: bytes, depth: Depth, *, hashed: bool) -> tuple[bytes | None, MediaFacts | RowRejected]:
    from pipeline.media.image import greys_of, probe_image

    pictures: list[bytes | None] = []

    def keep(picture: Any) -> None:
        # what has no hash may still be a good picture
        found = guarded(lambda: greys_of(picture, has_many_greys)) if hashed else None
        pictures.append(None if found is None or isinstance(found, RowRejected) else picture_hash(found))

    facts = guarded(lambda: probe_image(data, depth, seen=keep))
    return (None if isinstance(facts, RowRejected) else next(iter(pictures), None)), facts


def _beside_shard(path: str | None, how: Look) -> tuple[Location | None, str]:
    """Return where a medium without bytes is, or why it is not there."""
    if not path:
        return None, ""
    beside = _beside.get(how["root"])
    if beside is None:
        _beside.clear()
        beside = _beside[how["root"]] = MediaBeside(Path(how["root"]))
    try:
        found = beside.find(path, near=tuple(how["near"]))
    except NotInsideError as error:
        return None, str(error)
    return found, "names no file of the dataset"


def _number(batch: pa.RecordBatch, name: str, row: int) -> float | None:
    value = batch.column(batch.schema.get_field_index(name))[row].as_py()
    return value if isinstance(value, int | float) and isfinite(value) else None
