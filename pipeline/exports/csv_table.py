"""A plain table: CSV with a line a row, media as paths, and a question and its answer as columns.

    csv/<split>.csv
    csv/media/ab/<sha256>.jpg

    id,image,question,answer,score
    7,media/ab/ab12….jpg,What is this?,A dog.,4

A row that is one question (media first, then a text) and its answer, behind a system text or none, has them in
`question`, `answer` and `system`. Every other row has its messages, part by part, as JSON in `messages`, and nothing in
those. `image` is one path; `images` is a list of them, as JSON, and so with videos. Columns that no row uses are left
out. Cells are as RFC 4180 has them, in UTF-8; a text that a spreadsheet would take for a formula stays as it is.
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import orjson

from pipeline.exports.extra_columns import as_json, extra_columns, is_single, loose_media, single_kinds
from pipeline.exports.messages_in_parts import typed_messages, typed_messages_problem
from pipeline.exports.tagged_turns import missing_file
from pipeline.exports.writer import Format, SplitWriter, Written, missing_rows
from pipeline.printable import escaped
from pipeline.readers.csv_rows import read_csv
from pipeline.readers.record import BadRecord, ReadOptions

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.exports.losses import Losses
    from pipeline.exports.place import Place
    from pipeline.rows.canonical import CanonicalRow, CanonicalTurn

SPOKEN = ("system", "question", "answer")
OWN = ("image", "images", "video", "videos", *SPOKEN, "messages")
"""Columns of a conversation, in their order."""
_NUL = "\0"
_PLACE = re.compile(r"(?:^|(?<=\"))media/[0-9a-f]{2}/[0-9a-f]{64}\.[a-z0-9]+(?=\"|$)")
"""What `Place.media` says of a medium: alone in a cell, or in a list."""


class CsvTable(Format):
    """CSV with media as paths."""

    name: ClassVar[str] = "csv"
    title: ClassVar[str] = "CSV"
    source: ClassVar[str] = "RFC 4180"
    rule: ClassVar[str] = "every line has the cells of the header, JSON cells are JSON, and each listed file is there"
    needs_conversation: ClassVar[bool] = False

    def begin(self, place: Place, losses: Losses) -> SplitWriter:
        """Return the writer of a split."""
        return _Writer(place, losses)

    def check(self, folder: Path, written: list[Written]) -> list[str]:
        """Return the lines that are not as the others, and the files that are not there."""
        problems = []
        for one in written:
            count = 0
            for file in one.files:
                for record in read_csv(folder / file, ReadOptions(delimiter=",")):
                    count += 1
                    said = record.message if isinstance(record, BadRecord) else _problem(folder, record.row)
                    problems += [f"{file} line {record.line}: {said}"] if said else []
            problems += missing_rows(one, count)
        return problems


class _Writer(SplitWriter):
    """Gathers lines in a file of their own, because which columns there are is known when all rows have been seen."""

    def __init__(self, place: Place, losses: Losses) -> None:
        self._place, self._losses = place, losses
        own = {*(OWN if place.has_conversation else ()), place.id_column}
        self._extras = extra_columns(place, "the table", own, loose=True)
        self._single = single_kinds(place)
        first = [place.id_column] if place.id_column is not None else []
        spoken = OWN if place.has_conversation else ()
        self._columns = [*first, *spoken, *self._extras.loose, *self._extras.kept]
        self._used = {*first, *self._extras.loose, *self._extras.kept}
        self._lines = (place.folder / f"{place.stem}.unfinished").open("w+b")
        self._rows = 0
        self._kinds: dict[Literal["image", "video"], bool] = {"image": False, "video": False}

    def add(self, row: CanonicalRow) -> None:
        place = self._place
        cells: dict[str, str] = {} if place.id_column is None else {place.id_column: row.id}
        if row.turns:
            cells |= self._media(row) | _spoken(row)
        for name in self._extras.loose:
            paths = loose_media(row, name, place.media)
            cells[name] = (paths[0] if paths else "") if is_single(place, name) else _json(paths)
        for name in self._extras.kept:
            cells[name] = self._cell(row, name)
        self._extras.note_losses(row, self._losses)
        self._lines.write(orjson.dumps(cells, option=orjson.OPT_APPEND_NEWLINE))
        self._used |= {name for name, cell in cells.items() if cell}
        self._rows += 1
        for medium in (*row.images, *row.videos, *row.loose):
            self._kinds[medium.kind] = True

    def _media(self, row: CanonicalRow) -> dict[str, str]:
        cells: dict[str, str] = {}
        for kind, media in (("image", row.images), ("video", row.videos)):
            paths = [self._place.media(medium) for medium in media]
            if kind in self._single and len(paths) == 1:
                cells[kind] = paths[0]
            elif paths:
                cells[f"{kind}s"] = _json(paths)
        return cells

    def _cell(self, row: CanonicalRow, name: str) -> str:
        value = row.extras.get(name)
        if value == "":
            what = f"empty texts in the column '{escaped(name)}', which cannot be told from nulls"
            self._losses.note("export.empty_text", what, row)
        if isinstance(value, str) and _NUL in value:
            what = f"NUL characters in the column '{escaped(name)}', which CSV cannot hold"
            self._losses.note("export.nul", what, row, value)
            return value.replace(_NUL, "")
        if isinstance(value, str) or value is None:
            return value or ""
        if isinstance(value, float):
            return repr(value)
        plain, whole = as_json(value)
        if not whole:
            what = f"values of the column '{escaped(name)}' that JSON cannot hold: bytes, and numbers that are none"
            self._losses.note("export.not_json", what, row, str(value))
        return plain if isinstance(plain, str) else _json(plain)

    def finish(self) -> Written:
        files = [f"{self._place.stem}.csv"] if self._rows else []
        columns = [name for name in self._columns if name in self._used]
        self._lines.seek(0)
        for file in files:
            with (self._place.folder / file).open("w", encoding="utf-8", newline="") as table:
                writer = csv.writer(table, lineterminator="\r\n")
                writer.writerow(columns)
                for line in self._lines:
                    cells = orjson.loads(line)
                    writer.writerow([cells.get(name, "") for name in columns])
        self.abandon()
        (self._place.folder / f"{self._place.stem}.unfinished").unlink()
        return Written(
            config=self._place.config,
            split=self._place.split,
            files=tuple(files),
            rows=self._rows,
            kinds=tuple(kind for kind, found in self._kinds.items() if found),
        )

    def abandon(self) -> None:
        self._lines.close()


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _spoken(row: CanonicalRow) -> dict[str, str]:
    """Return the cells of what is said: a question and its answer where that is all, else the messages."""
    turns = {turn.role: turn for turn in row.turns}
    if [turn.role for turn in row.turns] in (["user", "assistant"], ["system", "user", "assistant"]):
        cells = {
            "system": _only_text(turns["system"]) if "system" in turns else "",
            "question": _text_behind_media(turns["user"]),
            "answer": _only_text(turns["assistant"]),
        }
        if all(cell is not None and _NUL not in cell for cell in cells.values()) and cells["answer"]:
            return {name: str(cell) for name, cell in cells.items()}
    return {"messages": _json(typed_messages(row))}


def _only_text(turn: CanonicalTurn) -> str | None:
    """Return what a turn says if it is one text and nothing else."""
    return turn.parts[0] if len(turn.parts) == 1 and isinstance(turn.parts[0], str) else None


def _text_behind_media(turn: CanonicalTurn) -> str | None:
    """Return what a turn says if it shows images, then videos, and then says one text."""
    kinds = ["text" if isinstance(part, str) else part.kind for part in turn.parts]
    if not kinds or kinds != sorted(kinds, key=("image", "video", "text").index):
        return None
    last = turn.parts[-1]
    return last if isinstance(last, str) and last else None


def _problem(folder: Path, row: dict[str, Any]) -> str | None:
    places = [place for cell in row.values() for place in _PLACE.findall(cell)]
    if said := missing_file(folder, places):
        return said
    if not row.keys() & {"messages", "question"}:
        return None
    media: dict[str, int] = {}
    for kind in ("image", "video"):
        try:
            paths = [row[kind]] if row.get(kind) else orjson.loads(row.get(f"{kind}s") or "[]")
        except orjson.JSONDecodeError:
            return f"the cell of '{kind}s' is no JSON"
        media[kind] = len(paths)
    if not row.get("messages"):
        return None if row.get("answer") else "there is no answer"
    try:
        return typed_messages_problem(orjson.loads(row["messages"]), media)
    except orjson.JSONDecodeError:
        return "the cell of 'messages' is no JSON"
