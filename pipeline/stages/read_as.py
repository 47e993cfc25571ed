"""Records read as what they mean: each becomes another one, or a record that cannot be read as that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.errors import RowRejected
from pipeline.readers.record import BadRecord, Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def read_as(
    parts: Iterable[Batch | BadRecord], reading: Callable[[dict[str, Any]], dict[str, Any]]
) -> Iterator[Batch | BadRecord]:
    """Yield the records that `reading` makes of others, and those that it refuses with RowRejected as bad ones."""
    for part in parts:
        if isinstance(part, BadRecord):
            yield part
            continue
        batch = Batch()
        for line, row in zip(part.lines, part.rows, strict=True):
            try:
                batch.rows.append(reading(row))
            except RowRejected as error:
                yield BadRecord(line=line, code=error.code, message=error.message)
                continue
            batch.lines.append(line)
        if batch.rows:
            yield batch
