"""Metadata of ImageFolder and VideoFolder: JSON Lines where the loader guesses their types as meant, else Parquet.

`datasets` lets Arrow guess the types of JSON Lines from the first 10 MB of each split. It takes a column of nulls or of
empty lists for a column of nulls, and texts that look like times for times, and wants the same guess for every split.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from pipeline.column_type import ColumnType, ListOf, Scalar, Struct, arrow_type

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JSONL, PARQUET = "metadata.jsonl", "metadata.parquet"
CHUNK = 10 << 20
"""What the loader takes of a file at a time; it knows the types after the first."""
_ROWS = 1_000


def guessable(kind: ColumnType) -> ColumnType:
    """Return the type that a reader of JSON has for a plain type."""
    match kind:
        case Scalar(dtype) if "int" in dtype and dtype != "uint64":
            return Scalar("int64")
        case Scalar(dtype) if dtype.startswith("float"):
            return Scalar("float64")
        case Scalar("bool" | "uint64"):
            return kind
        case ListOf(item):
            return ListOf(guessable(item))
        case Struct(fields):
            return Struct(tuple((name, guessable(item)) for name, item in fields))
    return Scalar("string")


def is_guessed(path: Path, columns: dict[str, ColumnType]) -> bool:
    """Tell whether the loader finds these columns, of these types, in JSON Lines."""
    wanted = pa.schema([(name, arrow_type(kind)) for name, kind in columns.items()])
    first = True
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            chunk += file.readline()
            try:
                found = pj.read_json(io.BytesIO(chunk), read_options=pj.ReadOptions(block_size=len(chunk) + 1)).schema
            except pa.ArrowInvalid:
                return False
            if first and not found.equals(wanted):
                return False
            if not _fits(pa.struct(list(found)), pa.struct(list(wanted))):
                return False
            first = False
    return True


def _fits(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Tell whether values of a guessed type can be taken as another: what is null everywhere always can."""
    if pa.types.is_null(found):
        return True
    if pa.types.is_list(found) and pa.types.is_list(wanted):
        return _fits(found.value_type, wanted.value_type)
    if pa.types.is_struct(found) and pa.types.is_struct(wanted):
        inner = {item.name: item.type for item in wanted}
        return all(item.name in inner and _fits(item.type, inner[item.name]) for item in found)
    return bool(found.equals(wanted))


def to_parquet(path: Path, columns: dict[str, ColumnType]) -> Path:
    """Write JSON Lines as Parquet beside them, and remove them; returns the new file."""
    schema = pa.schema([(name, arrow_type(kind)) for name, kind in columns.items()])
    target = path.with_name(PARQUET)
    rows: list[dict[str, Any]] = []
    with path.open("rb") as file, pq.ParquetWriter(target, schema) as writer:
        for line in file:
            rows.append(orjson.loads(line))
            if len(rows) == _ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    path.unlink()
    return target


def metadata_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of metadata."""
    if path.name == JSONL:
        with path.open("rb") as file:
            for line in file:
                yield orjson.loads(line)
        return
    with pq.ParquetFile(path) as parquet:
        for batch in parquet.iter_batches(batch_size=_ROWS):
            yield from batch.to_pylist()
