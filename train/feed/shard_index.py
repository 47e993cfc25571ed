"""The index of a shard's media: a file of columns that is mapped, and holds no media and no texts.

<cache>/train/index/<key>.arrow     of one shard, for one choice of columns; safe to delete
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.errors import RowRejected
from pipeline.row_file import write_rows
from train.feed.media_record import MediaRecord

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    ("row", pa.int64()),
    ("column", pa.int16()),
    ("position", pa.int32()),
    ("kind", pa.int8()),
    ("offset", pa.int64()),
    ("size", pa.int64()),
    ("file", pa.string()),
    ("sha256", pa.binary(32)),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("fps", pa.float64()),
    ("frame_index", pa.binary()),
    ("code", pa.string()),
    ("message", pa.string()),
)
SCHEMA = pa.schema(list(_FIELDS))
_NUMBERS = ("row", "column", "position", "kind", "offset", "size", "width", "height", "fps")
_KINDS = ("image", "video")
_NONE = -1


def write_index(path: Path, found: Iterable[tuple[int, MediaRecord]], told: dict[str, str]) -> None:
    """Write the records of a shard, each with the number of its column, and what is known of the shard itself."""
    columns: dict[str, list[Any]] = {name: [] for name, _ in _FIELDS}
    for number, record in sorted(found, key=lambda one: (one[1].row, one[0], one[1].position)):
        refused = record.refused
        values = {
            "row": record.row,
            "column": number,
            "position": record.position,
            "kind": _NONE if record.kind is None else _KINDS.index(record.kind),
            "offset": _NONE if record.offset is None else record.offset,
            "size": record.size,
            "file": record.file,
            "sha256": record.sha256 or None,
            "width": record.width,
            "height": record.height,
            "fps": record.fps,
            "frame_index": record.frame_index,
            "code": None if refused is None else refused.code,
            "message": None if refused is None else refused.message,
        }
        for name, value in values.items():
            columns[name].append(value)
    arrays = [pa.array(columns[name], kind) for name, kind in _FIELDS]
    table = pa.Table.from_arrays(arrays, schema=SCHEMA.with_metadata(told))
    write_rows(path, table)


class ShardIndex:
    """An index that was written, mapped into memory.

    Raises:
        ValueError, OSError, ArrowException: it is damaged or not there.
    """

    def __init__(self, path: Path) -> None:
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
        if not table.schema.equals(SCHEMA):
            raise ValueError(f"{path} is no index")
        self.told: dict[str, str] = {
            key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()
        }
        table = table.combine_chunks()
        self._numbers: dict[str, np.ndarray] = {name: table.column(name).to_numpy() for name in _NUMBERS}
        self._others: dict[str, Any] = {
            name: table.column(name).chunk(0) if table.num_rows else pa.array([], kind)
            for name, kind in _FIELDS
            if name not in _NUMBERS
        }
        self._rows = self._numbers["row"]

    def __len__(self) -> int:
        return len(self._rows)

    def refused_rows(self) -> dict[int, RowRejected]:
        """Return the rows of which a medium cannot be used, each with the first reason."""
        codes = self._others["code"]
        places = np.flatnonzero(codes.is_valid().to_numpy(zero_copy_only=False))
        return {int(self._rows[place]): self._refusal(int(place)) for place in places[::-1]}

    def files(self) -> set[str]:
        """Return the files beside the shard in which media lie."""
        return set(self._others["file"].unique().drop_null().to_pylist())

    def rows_with_media(self) -> list[int]:
        """Return the rows that have any, rising."""
        rows: list[int] = np.unique(self._rows).tolist()
        return rows

    def of_row(self, row: int) -> dict[tuple[int, int], MediaRecord]:
        """Return the media of a row by number of column and position."""
        first, last = np.searchsorted(self._rows, [row, row + 1])
        records = [self._record(place) for place in range(int(first), int(last))]
        return {(int(self._numbers["column"][first + n]), one.position): one for n, one in enumerate(records)}

    def _record(self, place: int) -> MediaRecord:
        kind, offset = int(self._numbers["kind"][place]), int(self._numbers["offset"][place])
        return MediaRecord(
            row=int(self._rows[place]),
            position=int(self._numbers["position"][place]),
            kind=None if kind == _NONE else _KINDS[kind],  # type: ignore[arg-type]
            offset=None if offset == _NONE else offset,
            size=int(self._numbers["size"][place]),
            file=self._others["file"][place].as_py(),
            sha256=self._others["sha256"][place].as_py() or b"",
            width=int(self._numbers["width"][place]),
            height=int(self._numbers["height"][place]),
            fps=float(self._numbers["fps"][place]),
            frame_index=self._others["frame_index"][place].as_py(),
            refused=self._refusal(place) if self._others["code"][place].is_valid else None,
        )

    def _refusal(self, place: int) -> RowRejected:
        return RowRejected(self._others["code"][place].as_py(), self._others["message"][place].as_py())
