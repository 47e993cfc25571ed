"""What a file is: a dialect's likeness, held against all others, before it is believed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.dialects.dialect import CANONICAL
from pipeline.dialects.registry import DIALECTS
from pipeline.document import nearest
from pipeline.errors import RowRejected, UsageError
from pipeline.new.inner_lists import inner_lists
from pipeline.new.reading import Reading
from pipeline.new.tables import TABLE, sounds_in, table_reading
from pipeline.printable import escaped

if TYPE_CHECKING:
    from pipeline.dialects.dialect import Dialect, Likeness
    from pipeline.new.media_match import MediaSearch

ENOUGH = 0.55
"""The likeness from which on a dialect is believed."""
CERTAIN, NEAR = 0.95, 0.05
"""From that likeness on, records have what only one dialect writes; others count then if they are this near to it."""
COMPARED = 50
"""Records by which two readings are held against each other."""
NAMED = 0.2
"""The likeness from which on a dialect is named to who must choose."""


def check_dialect(name: str) -> None:
    """Raise UsageError for what `--dialect` cannot be."""
    if name not in (*DIALECTS, TABLE):
        allowed = ", ".join((*DIALECTS, TABLE))
        raise UsageError(f"there is no dialect {name!r}", allowed=allowed, hint=nearest(name, [*DIALECTS, TABLE]))


def recognised(
    records: list[dict[str, Any]], search: MediaSearch, *, shown: str, file: str, wanted: str | None, untyped: bool
) -> Reading:
    """Return how the first records of a file are understood; `shown` is what people call it.

    Raises:
        UsageError: they look like nothing that is known, or like two things that are not the same.
    """
    if not records:
        raise UsageError(f"{shown} has no record that can be read", hint="look at the file: is it what you meant?")
    if wanted == TABLE:
        reading = table_reading(records, search, file, forced=True, untyped=untyped)
        assert reading is not None
        return reading
    if wanted is not None:
        dialect = DIALECTS[wanted]
        return _through(dialect, dialect.likeness(records), records, shown)
    table = table_reading(records, search, file, forced=False, untyped=untyped)
    if table is not None and table.title.startswith(("VideoFeedback", "FETV")):
        return table
    scores = {name: dialect.likeness(records) for name, dialect in DIALECTS.items()}
    good = sorted((name for name in scores if scores[name].score >= ENOUGH), key=lambda name: -scores[name].score)
    if good:
        best = scores[good[0]].score
        least = best - NEAR if best >= CERTAIN else 0
        rivals = [name for name in good[1:] if scores[name].score >= least]
        rivals = [name for name in rivals if not _same_rows(DIALECTS[good[0]], DIALECTS[name], records)]
        if rivals:
            raise _undecided(shown, [good[0], *rivals], scores)
        return _through(DIALECTS[good[0]], scores[good[0]], records, shown)
    if table is not None:
        return table
    raise _unknown(shown, records, scores)


def recognised_inside(
    document: dict[str, Any], search: MediaSearch, *, shown: str, file: str, wanted: str | None
) -> Reading:
    """Return how the records in a list inside of a document's one object are understood: as a dialect, or not at all.

    Raises:
        UsageError: there is no such list, or none that is known for sure.
    """
    inside = inner_lists(document)
    for path, rows in inside.items():
        likely = [wanted] if wanted in DIALECTS else list(DIALECTS)
        if max(DIALECTS[str(name)].likeness(rows).score for name in likely) >= ENOUGH:
            reading = recognised(rows, search, shown=f"{shown}, {path}", file=file, wanted=wanted, untyped=False)
            return replace(reading, records=path)
    keys = ", ".join(repr(escaped(key[:60])) for key in list(document)[:12])
    lists = f"; it has lists of records under {', '.join(map(repr, inside))}" if inside else ""
    raise UsageError(
        f"{shown} is one object ({keys}), and its records are in doubt{lists}",
        allowed="a list of records, JSON Lines, CSV, Parquet; or one list of chats inside of the object",
        hint="write the recipe by hand, with `rows: {records: …}`, or `key: …` for an object of records",
    )


def _through(dialect: Dialect, likeness: Likeness, records: list[dict[str, Any]], shown: str) -> Reading:
    """Return the reading of a dialect, unless all of its media are sounds."""
    read = [found for record in records if (found := _read(dialect, record)) is not None]
    if not read:
        what = f"{shown}: none of its first {len(records):,} records can be read as {dialect.title}"
        raise UsageError(what, allowed=f"without --dialect it is looked at; with `--dialect {TABLE}` taken as it is")
    if not any(record["images"] or record["videos"] for record in read) and (column := sounds_in(records)):
        raise UsageError(
            f"{shown}: its media are sounds ({column!r}), and rows have images and videos",
            hint="leave it out, or keep its columns as they are with `--dialect table`",
        )
    return Reading(title=dialect.title, dialect=dialect, doubts=likeness.doubts)


def _read(dialect: Dialect, record: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return dialect.read(record)
    except RowRejected:
        return None


def _same_rows(one: Dialect, other: Dialect, records: list[dict[str, Any]]) -> bool:
    """Tell whether two dialects read the same turns and media out of all records that both can read."""
    for record in records[:COMPARED]:
        mine, theirs = _read(one, record), _read(other, record)
        if mine is None or theirs is None:
            if theirs is not None:
                return False
            continue
        if any(mine[name] != theirs[name] for name in CANONICAL):
            return False
    return True


def _undecided(shown: str, names: list[str], scores: dict[str, Likeness]) -> UsageError:
    told = "".join(f"\n  {name}: {DIALECTS[name].title}, likeness {scores[name].score:.2f}" for name in names)
    return UsageError(
        f"{shown} can be read in {len(names)} ways that give different rows:{told}",
        allowed=" or ".join(f"--dialect {name}" for name in names),
        hint="say which it is",
    )


def _unknown(shown: str, records: list[dict[str, Any]], scores: dict[str, Likeness]) -> UsageError:
    keys = list(dict.fromkeys(key for record in records[:COMPARED] for key in record))
    some = ", ".join(repr(escaped(key[:60])) for key in keys[:12]) + (
        f" and {len(keys) - 12:,} more" if len(keys) > 12 else ""
    )
    near = sorted((name for name in scores if scores[name].score >= NAMED), key=lambda name: -scores[name].score)
    told = f"{shown} is like nothing that is known; its records have {some or 'no keys'}"
    for name in near[:3]:
        told += f"\n  {name} (likeness {scores[name].score:.2f}): {' '.join(scores[name].doubts)}"
    if column := sounds_in(records):
        told += f"\n  {column!r} names sounds; rows have images and videos"
    return UsageError(
        told,
        allowed=f"--dialect with one of {', '.join(DIALECTS)}; `--dialect {TABLE}` takes the columns as they are",
        hint="if it names images or videos that lie elsewhere, say where with --media FOLDER",
    )
