"""TRL's conversational vision datasets, as Parquet that `load_dataset` opens without a script.

    trl/README.md                             configs and splits, for `load_dataset`
    trl/<split>-00000-of-00002.parquet        images: list of Image; messages: typed parts; the other columns

Contents are lists of parts in every row, since Arrow has one type for a column; a row without images has `images: []`.
TRL (1.16, `prepare_multimodal_messages` and the collator of `SFTTrainer`) knows no videos.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.column_type import ColumnType, ListOf, Media, arrow_type, feature_json
from pipeline.errors import RowRejected
from pipeline.exports.extra_columns import extra_columns, plain_type, stored
from pipeline.exports.loading_card import splits_of, write_loading_card
from pipeline.exports.messages_in_parts import MESSAGES, TEXT, typed_messages, typed_messages_problem
from pipeline.exports.proved_bytes import proved_bytes
from pipeline.exports.writer import Format, SplitWriter, Written, missing_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.exports.losses import Losses
    from pipeline.exports.place import Place
    from pipeline.rows.canonical import CanonicalRow

GROUP_BYTES = 64 << 20
"""Media in one row group: what is held in memory."""
GROUP_ROWS = 1_000
SHARD_BYTES = 500_000_000
"""Media in one file, as `datasets` cuts them when it pushes to a hub."""
OWN = (
    *("messages", "images", "image", "prompt", "completion", "chosen", "rejected", "conversations"),
    *("tools", "chat_template_kwargs", "input_ids", "completion_mask", "assistant_masks", "labels"),
)
"""Columns that TRL reads itself when a row has them; it is to find the first two."""


class Trl(Format):
    """Parquet with `images` and typed `messages`."""

    name: ClassVar[str] = "trl"
    title: ClassVar[str] = "TRL (conversational, typed parts)"
    source: ClassVar[str] = "huggingface/trl, docs/source/dataset_formats.md and trl/data_utils.py"
    rule: ClassVar[str] = (
        "contents are lists of text and image parts, of known roles, and a row has an image for each image part"
    )

    usage: ClassVar[str] = 'load_dataset("{folder}"), for SFTTrainer'

    def begin(self, place: Place, losses: Losses) -> SplitWriter:
        """Return the writer of a split."""
        return _Writer(place, losses)

    def conclude(self, folder: Path, written: list[Written]) -> None:
        """Write the README.md that `load_dataset` reads."""
        text = "`SFTTrainer` takes `images` and `messages` for a vision-language model, and ignores all other columns."
        write_loading_card(folder, splits_of(written), self.title, text)

    def check(self, folder: Path, written: list[Written]) -> list[str]:
        """Return the rows and columns that TRL would refuse."""
        problems = []
        for one in written:
            problems += [problem for file in one.files for problem in _problems(folder / file, file)]
            problems += missing_rows(one, sum(pq.read_metadata(folder / file).num_rows for file in one.files))
        return problems


class _Writer(SplitWriter):
    """Gathers rows into row groups, and row groups into files."""

    def __init__(self, place: Place, losses: Losses) -> None:
        self._place, self._losses = place, losses
        self._extras = extra_columns(place, "TRL", {*OWN, place.id_column})
        types: dict[str, ColumnType] = {}
        if place.id_column is not None:
            types[place.id_column] = TEXT
        types |= {"images": ListOf(Media("image")), "messages": MESSAGES}
        types |= {name: plain_type(place.columns[name]) for name in self._extras.kept}
        self._types = types
        features = {name: feature_json(kind) for name, kind in types.items()}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        self._schema = pa.schema([(name, arrow_type(kind)) for name, kind in types.items()], metadata=metadata)
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._file: pq.ParquetWriter | None = None
        self._file_bytes = 0
        self._files = 0
        self._count = 0

    def add(self, row: CanonicalRow) -> None:
        if row.videos:
            raise RowRejected("export.video", "TRL has no place for videos")
        if not any(turn.parts for turn in row.turns):
            raise RowRejected("export.empty", "no turn says anything")
        images = [
            {"bytes": proved_bytes(medium), "path": _file_name(medium.name, medium.ending)} for medium in row.images
        ]
        self._extras.note_losses(row, self._losses)
        values = {name: stored(row.extras.get(name), self._types[name]) for name in self._extras.kept}
        own = {self._place.id_column: row.id} if self._place.id_column is not None else {}
        self._rows.append({**own, "images": images, "messages": typed_messages(row), **values})
        self._bytes += sum(medium.size for medium in row.images)
        if self._bytes >= GROUP_BYTES or len(self._rows) >= GROUP_ROWS:
            self._write_group()

    def finish(self) -> Written:
        self._write_group()
        self.abandon()
        stem, count = self._place.stem, self._files
        names = [f"{stem}-{number:05d}-of-{count:05d}.parquet" for number in range(count)]
        for number, name in enumerate(names):
            self._temporary(number).rename(self._place.folder / name)
        return Written(
            config=self._place.config,
            split=self._place.split,
            files=tuple(names),
            rows=self._count,
            kinds=("image",) if count else (),
        )

    def abandon(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _temporary(self, number: int) -> Path:
        return self._place.folder / f"{self._place.stem}-{number:05d}.unfinished"

    def _write_group(self) -> None:
        """Write the rows gathered so far, into the next file where this one is full."""
        if not self._rows:
            return
        if self._file is not None and self._file_bytes + self._bytes > SHARD_BYTES:
            self.abandon()
        if self._file is None:
            # a dictionary of media would only be given up again
            path = self._temporary(self._files)
            self._file = pq.ParquetWriter(path, self._schema, use_dictionary=False, write_page_checksum=True)
            self._files += 1
            self._file_bytes = 0
        columns = {name: [row[name] for row in self._rows] for name in self._types}
        self._file.write_table(pa.table(columns, schema=self._schema), row_group_size=len(self._rows))
        self._file_bytes += self._bytes
        self._count += len(self._rows)
        self._rows, self._bytes = [], 0


def _file_name(name: str, ending: str) -> str:
    """Return what an image was called, without its folders."""
    return re.split(r"[/\\]", name)[-1] or f"image{ending}"


def _problems(path: Path, name: str) -> Iterator[str]:
    """Say which rows of a file TRL would refuse; the images themselves are not read."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        schema = file.schema_arrow
        unwanted = [column for column in schema.names if column in OWN[2:]]
        if unwanted:
            yield f"{name}: the column {unwanted[0]!r} is read by TRL in place of images or messages"
        wanted = {"images": arrow_type(ListOf(Media("image"))), "messages": arrow_type(MESSAGES)}
        for column, kind in wanted.items():
            if column not in schema.names or not schema.field(column).type.equals(kind):
                yield f"{name}: the column {column!r} is not {kind}"
                return
        number = 0
        for batch in file.iter_batches(batch_size=1_000, columns=["images.list.element.path", "messages"]):
            for row in batch.to_pylist():
                said = typed_messages_problem(row["messages"], {"image": len(row["images"])})
                if said:
                    yield f"{name} row {number}: {said}"
                number += 1
