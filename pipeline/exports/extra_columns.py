"""The columns that no turn shows, on their way into a format: which are kept, and their values as JSON has them."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import orjson

from pipeline.column_type import SCALARS, Json, ListOf, Media, Scalar, Struct
from pipeline.printable import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pipeline.column_type import ColumnType
    from pipeline.exports.losses import Losses
    from pipeline.exports.place import Place
    from pipeline.rows.canonical import CanonicalRow, Medium


@dataclass(frozen=True, slots=True)
class ExtraColumns:
    """The columns of a split that are kept beside the conversation, and what becomes of the others."""

    kept: tuple[str, ...]
    refused: frozenset[str]
    """Those that are called like a column which the format reads itself."""
    loose: tuple[str, ...]
    """Columns of media that no turn shows, and that are kept."""
    title: str

    def note_losses(self, row: CanonicalRow, losses: Losses) -> None:
        """Name what a row has in columns that are not kept."""
        for name in self.refused & row.extras.keys():
            if row.extras[name] is not None:
                what = f"values of the column '{escaped(name)}': {self.title} has a column of that name itself"
                losses.note("export.column_name", what, row, str(row.extras[name]))
        for medium in row.loose:
            if medium.column in self.refused:
                what = f"media of the column '{escaped(medium.column)}': {self.title} has a column of that name itself"
                losses.note("export.column_name", what, row, medium.name)
            elif medium.column not in self.loose:
                what = f"media of the column '{escaped(medium.column)}', which no turn of the conversation shows"
                losses.note("export.loose_media", what, row, medium.name)


def extra_columns(place: Place, title: str, own: Collection[str | None], *, loose: bool = False) -> ExtraColumns:
    """Return the columns to keep; `own` are the names of the format's own, `loose`: it takes more media."""
    return ExtraColumns(
        kept=tuple(name for name in place.extras if name not in own),
        refused=frozenset(name for name in (*place.extras, *place.loose) if name in own),
        loose=tuple(name for name in place.loose if name not in own) if loose else (),
        title=title,
    )


def is_single(place: Place, name: str) -> bool:
    """Tell whether a column of media holds one at the most."""
    return isinstance(place.columns[name], Media)


def single_kinds(place: Place) -> set[Literal["image", "video"]]:
    """Return the kinds of media of which the conversation shows one column, and that is no list."""
    found: set[Literal["image", "video"]] = set()
    for wanted in (Media("image"), Media("video")):
        able = (None, wanted, ListOf(wanted))
        kinds = [kind for name, kind in place.columns.items() if name not in place.loose and kind in able]
        if kinds == [wanted]:
            found.add(wanted.kind)
    return found


def loose_media(row: CanonicalRow, name: str, put: Callable[[Medium], str]) -> list[str]:
    """Return what `put` gives for the media that a row has in a column which no turn shows."""
    return [put(medium) for medium in row.loose if medium.column == name]


def plain_type(kind: ColumnType | None) -> ColumnType:
    """Return the type of a column where only plain types are known: what is none of them becomes a text."""
    match kind:
        case Scalar(dtype) if dtype in SCALARS:
            return kind
        case ListOf(item):
            return ListOf(plain_type(item))
        case Struct(fields):
            return Struct(tuple((name, plain_type(item)) for name, item in fields))
    return Scalar("string")


def json_type(kind: ColumnType | None) -> ColumnType:
    """Return the type of a column as it is in JSON."""
    return kind if isinstance(kind, Json) else plain_type(kind)


def as_json(value: Any) -> tuple[Any, bool]:
    """Return a plain value as JSON can hold it, and whether all of it was kept.

    Dates and decimals become texts. Numbers that are none and bytes are lost: JSON has neither.
    """
    match value:
        case float():
            return (value, True) if math.isfinite(value) else (None, False)
        case None | bool() | int() | str():
            return value, True
        case list() | tuple():
            items = [as_json(item) for item in value]
            return [item for item, _ in items], all(whole for _, whole in items)
        case dict():
            pairs = {str(key): as_json(item) for key, item in value.items()}
            return {key: item for key, (item, _) in pairs.items()}, all(whole for _, whole in pairs.values())
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat(), True
        case dt.timedelta() | Decimal():
            return str(value), True
    return None, False


def stored(value: Any, kind: ColumnType) -> Any:
    """Return a value as a column of a type takes it: where a text stands for something else, as JSON has that."""
    if value is None:
        return None
    match kind:
        case ListOf(item):
            return [stored(one, item) for one in value]
        case Struct(fields):
            return {name: stored(value.get(name), item) for name, item in fields}
    if kind != Scalar("string") or isinstance(value, str):
        return value
    plain, _ = as_json(value)
    return plain if isinstance(plain, str) else orjson.dumps(plain).decode()


def json_extras(row: CanonicalRow, columns: ExtraColumns, losses: Losses) -> dict[str, Any]:
    """Return the kept columns of a row as JSON has them, and name what is lost."""
    values = {}
    for name in columns.kept:
        values[name], whole = as_json(row.extras.get(name))
        if not whole:
            what = f"values of the column '{escaped(name)}' that JSON cannot hold: bytes, and numbers that are none"
            losses.note("export.not_json", what, row, str(row.extras[name]))
    columns.note_losses(row, losses)
    return values
