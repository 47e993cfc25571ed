"""Changes: what curation writes anew in the rows of a config, laid over its records.

A step of curation is a function that yields, for the samples it is given,

    Dropped   (position, reason, message)   the row is left out
    Changed   (position, values)            the row stays, and these columns of it have these values from now on

`position` is the sample's place in the table that the step was given. Drops come in any order; changes come in rising
order of position, at the most one a row. A value is what a record of an annotation file could hold (a text, a number,
a list, a label's name; for a json column any plain value), and None is null. A row that is both dropped and changed is
dropped. A value that is the same as before is no change. A column that holds media cannot be changed.

    def shouted(build, config, samples, column):
        for first, rows in iter_values(build, samples, config.name, [column]):
            for place, row in enumerate(rows):
                yield Changed(first + place, {column: row[column].upper()})

`Changing` (pipeline/stages/change_rows.py) takes what a step yields, proves changed rows against the schema, and
writes them to the config's changes file, an Arrow IPC file beside its plan:

    __file    int32   position among the config's annotation files
    __row     int64   position in its records
    <column>  …       every column that any step changed, with its type: the row's value now, changed or not

in the order of the samples. Rows that are not in it are as their records say. Whoever reads values of samples
(`samples.iter_values`, `write_shard`) reads them through the overlay, so later steps, the split and the shards all see
what was changed.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.content_hash import ContentHash
from pipeline.row_file import read_rows, schema_of, take_rows

if TYPE_CHECKING:
    from pathlib import Path

FILE, ROW = "__file", "__row"
"""The columns of a changes file that say which row it is."""


class Changed(NamedTuple):
    """A row that stays, with new values in some of its columns."""

    position: int
    """The sample's place in the table that the step was given."""
    values: dict[str, Any]
    """Column -> its value from now on, as a record could hold it."""


def overlay(path: Path) -> Overlay:
    """Return the changes that a file holds now; those that were read last need not be read again."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return Overlay(path)
    return _read(path, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=8)
def _read(path: Path, mtime_ns: int, inode: int) -> Overlay:  # noqa: ARG001  (a file written anew is another file)
    return Overlay(path)


class Overlay:
    """The changes of a config, as they are now."""

    def __init__(self, path: Path) -> None:
        """`path` may be that of no file, where nothing was changed."""
        self.path = path
        self.columns: tuple[str, ...] = ()
        """The columns that were changed."""
        self._files = self._rows = np.array([], np.int64)
        with suppress(FileNotFoundError):
            keys = read_rows(path, [FILE, ROW])
            self.columns = tuple(name for name in schema_of(path).names if name not in (FILE, ROW))
            self._files, self._rows = keys.column(FILE).to_numpy(), keys.column(ROW).to_numpy()

    def __len__(self) -> int:
        """Return how many rows were changed."""
        return len(self._rows)

    def places(self, file: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which of some rows (ascending) of an annotation file were changed, and where they stand in here."""
        first, last = np.searchsorted(self._files, [file, file + 1])
        mine = self._rows[first:last]
        found = np.searchsorted(mine, rows)
        known = np.flatnonzero(found < len(mine))
        known = known[mine[found[known]] == rows[known]]
        return known, first + found[known]

    def laid_over(self, table: pa.Table, file: int, rows: np.ndarray) -> pa.Table:
        """Return values of some rows of an annotation file as they are now; `table` has them as the records say."""
        columns = [name for name in table.column_names if name in self.columns]
        if not columns:
            return table
        changed, places = self.places(file, rows)
        if not len(changed):
            return table
        values = pa.concat_tables(take_rows(self.path, places, columns))
        chosen = np.arange(table.num_rows)
        chosen[changed] = table.num_rows + np.arange(len(changed))
        for name in columns:
            both = pa.chunked_array([*table.column(name).chunks, *values.column(name).chunks])
            table = table.set_column(table.schema.get_field_index(name), name, both.take(pa.array(chosen)))
        return table

    def values_hash(self, file: int, rows: np.ndarray) -> str | None:
        """Return a hash of what was changed in some rows of an annotation file; None: nothing."""
        _, places = self.places(file, rows)
        return self._hash(places) if len(places) else None

    def fingerprint(self) -> str | None:
        """Return a hash of all changes; None: there are none."""
        return self._hash(np.arange(len(self))) if len(self) else None

    def _hash(self, places: np.ndarray) -> str:
        content = ContentHash()
        for table in take_rows(self.path, places, [FILE, ROW, *self.columns]):
            for name in table.column_names:
                content.add(name, table.column(name))
        return content.hexdigest()
