"""Looking at the media of shards inside a bounded process: at each, and at what its row and its name say of it."""

from __future__ import annotations

import base64
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.checks.media_endings import kind_of
from pipeline.checks.media_problems import Found, Seen, not_there, problems_of
from pipeline.checks.media_records import packed
from pipeline.checks.media_rows import group_reader, media_count, media_of
from pipeline.media.look import Looked, look_at
from pipeline.media.media_beside import MediaBeside, NotInsideError
from pipeline.media.picture_hash import picture_hashes

if TYPE_CHECKING:
    from pipeline.checks.media_orders import Look
    from pipeline.checks.media_rows import Medium
    from pipeline.media.facts import Kind
    from pipeline.media.location import Location

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
    all_looked: list[tuple[tuple[int, int, int], Looked | None]] = []
    wrong: list[tuple[Any, ...]] = []
    try:
        reader = group_reader(path, group, (how["column"], *how["declared"].values()), how["rows_at_once"])
        for begin, batch in reader.rows(first, count):
            declared = {key: batch.schema.get_field_index(name) for key, name in how["declared"].items()}
            for medium in media_of(batch.column(batch.schema.get_field_index(how["column"])), position):
                row = {key: _number(batch.column(number)[medium.row].as_py()) for key, number in declared.items()}
                looked, found = _look_at(medium, how, row)
                place = (start + begin + medium.row, how["number"], medium.position)
                all_looked.append((place, looked))
                wrong += [(place[0], place[2], *one) for one in found]
            unread = begin + batch.num_rows
    except MemoryError:
        message = "the media from this row on take more memory to be read than is allowed"
        wrong.append((start + unread, position or 0, "SW501", message, "write it with smaller row groups and pages"))
    except _UNREADABLE:
        pass  # a damaged shard is told elsewhere
    # what was not read is not known, which is not the same as nothing
    all_looked += [((start + row, how["number"], position or 0), None) for row in range(unread, first + count)]
    hashes = picture_hashes([looked.greys if looked is not None else None for _, looked in all_looked])
    records = [packed(place, looked, hashed) for (place, looked), hashed in zip(all_looked, hashes, strict=True)]
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


def _look_at(medium: Medium, how: Look, row: dict[str, float | None]) -> tuple[Looked | None, list[Found]]:
    """Look at a medium; returns what it is, and what is wrong with it."""
    source: Location | bytes | None = medium.data
    if source is None:
        source, why = _beside_shard(medium.path, how)
        if source is None:
            return None, [not_there(medium.path, why)]
    kind: Kind = how["kind"] or (kind_of(medium.path) if medium.path else None) or "image"
    looked = look_at(source, kind, full=how["full"], hashed=how["hashes"])
    seen = Seen(kind=kind, path=medium.path, looked=looked, is_declared=how["kind"] is not None, row=row)
    return looked, list(problems_of(seen))


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


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and isfinite(value) else None
