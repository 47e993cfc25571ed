"""Changed values: every value that curation wrote anew, with its file, line, step, and what it was before."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.workspace import writing

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANGED_SCHEMA = pa.schema(
    [
        ("config", pa.string()),
        ("split", pa.string()),
        ("source", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("step", pa.string()),
        ("column", pa.string()),
        ("before", pa.string()),
        ("after", pa.string()),
    ]
)
"""A value written anew: of which row, by which step (its number in the recipe and what it does), in which column. Both
values are whole texts; what is no text is written as JSON, and null is null. Rows that were left out later are there
too."""
BUFFERED = 1 << 22
"""Characters that are held back before they are written."""


@contextmanager
def writing_changed(path: Path, *, config: str) -> Iterator[ChangedValues]:
    """Give the changed values of one config to add to; they are written to one file, whole or not at all."""
    with writing(path) as temporary, pq.ParquetWriter(temporary, CHANGED_SCHEMA) as writer:
        changed = ChangedValues(writer, config=config)
        yield changed
        changed.flush()


class ChangedValues:
    """The values that curation changes in one config, counted by step and column."""

    def __init__(self, writer: pq.ParquetWriter, *, config: str) -> None:
        self.config = config
        self.counts: Counter[tuple[str, str]] = Counter()
        """(step, column) -> values."""
        self._writer = writer
        self._rows: list[dict[str, Any]] = []
        self._size = 0

    def add(
        self,
        *,
        split: str | None,
        source: str,
        file: str,
        line: int,
        step: str,
        column: str,
        before: Any,
        after: Any,
    ) -> None:
        """Note one value; `before` and `after` are plain values."""
        self.counts[step, column] += 1
        texts = [_text(before), _text(after)]
        names = (self.config, split, source, file, line, step, column, *texts)
        self._rows.append(dict(zip(CHANGED_SCHEMA.names, names, strict=True)))
        self._size += 200 + sum(len(text or "") for text in texts)
        if self._size >= BUFFERED:
            self.flush()

    def by_step(self) -> dict[str, dict[str, int]]:
        """Return step -> column -> values."""
        found: dict[str, dict[str, int]] = {}
        for (step, column), count in sorted(self.counts.items()):
            found.setdefault(step, {})[column] = count
        return found

    def flush(self) -> None:
        """Write what is held back."""
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, CHANGED_SCHEMA))
            self._rows.clear()
            self._size = 0


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def gather_changed(paths: list[Path], destination: Path) -> None:
    """Put the changed values of all configs into one file, in the order of the paths; of some there may be none."""
    with writing(destination) as temporary, pq.ParquetWriter(temporary, CHANGED_SCHEMA) as writer:
        for path in filter(Path.is_file, paths):
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):  # cut by size, whatever the number of rows
                    writer.write_table(file.read_row_group(group))
