"""Changing rows: what a step of curation writes anew is proved against the schema, noted, and laid over the records."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.column_type import arrow_type
from pipeline.conform import ColumnConformer
from pipeline.errors import RowRejected
from pipeline.row_file import writing_rows
from pipeline.samples import iter_tables
from pipeline.stages.changes import FILE, ROW, Changed, overlay
from pipeline.stages.conversion import row_checks, weights_of
from pipeline.workspace import remove_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.build import Build
    from pipeline.changed_values import ChangedValues
    from pipeline.recipe import Config

    Dropped = tuple[int, str, str]


class Changing:
    """Applies what steps change in the rows of one config; its changes file is as the last of them left it."""

    def __init__(self, build: Build, config: Config, noted: ChangedValues) -> None:
        """What an earlier curation changed is forgotten; every new value is added to `noted`."""
        self._build, self._config, self._noted = build, config, noted
        self._path = build.workspace.changes(config.name)
        self._columns = {column.name: column for column in config.schema.value_columns}
        self._checks = row_checks(config.schema)
        self._more = np.array([], np.int64)
        remove_file(self._path)

    def weighed(self, samples: pa.Table) -> pa.Table:
        """Return the samples that the last step was given, with what they weigh now."""
        place = samples.schema.get_field_index("bytes")
        weights = samples.column("bytes").to_numpy() + self._more
        return samples.set_column(place, "bytes", pa.array(weights, pa.int64()))

    def apply(
        self, samples: pa.Table, step: str, columns: Iterable[str], outcome: Iterable[Dropped | Changed]
    ) -> Iterator[Dropped]:
        """Yield what a step drops, and the rows whose new values break the schema; the others are changed at the end.

        Args:
            samples: What the step was given.
            step: What it is called where its changes are noted.
            columns: Those that it may change.
            outcome: What it yields; see pipeline/stages/changes.py.
        """
        self._more = np.zeros(samples.num_rows, np.int64)
        before = overlay(self._path)
        wanted = {*before.columns, *columns}
        mine = [self._columns[name] for name in self._columns if name in wanted]
        conformers = {column.name: ColumnConformer(column, None, untyped=False) for column in mine}
        schema = pa.schema(
            [(FILE, pa.int32()), (ROW, pa.int64()), *((column.name, arrow_type(column.type)) for column in mine)]
        )
        news = _Outcome(outcome)
        with writing_rows(self._path, schema) as writer:
            for first, file, rows, table in iter_tables(self._build, samples, self._config.name, list(conformers)):
                changed = news.before(first + len(rows))
                yield from news.drops()
                batch = _Batch(table, [one.position - first for one in changed], [one.values for one in changed])
                batch.conform(conformers)
                batch.check(self._checks, lambda places: self._whole_rows(samples.slice(first, len(rows)), places))  # noqa: B023
                for place, error in sorted(batch.bad.items()):
                    yield first + place, error.code, f"{step}: {error.message}"
                differences = batch.differences()
                self._note(samples.slice(first, len(rows)), file, step, differences)
                self._more[first : first + len(rows)] = batch.weights - _weights(table)
                known, _ = before.places(file, rows)
                kept = np.union1d(known, [place for place, *_ in differences]).astype(np.int64)
                keys = [pa.array(np.full(len(kept), file, np.int32)), pa.array(rows[kept])]
                values = batch.table.take(pa.array(kept)).columns
                writer.write(pa.Table.from_arrays([*keys, *values], schema=schema))
            left = news.before(None)
            assert not left, f"{step}: changed rows come in rising order, {left[0].position} came too late"
            yield from news.drops()

    def _note(self, samples: pa.Table, number: int, step: str, differences: list[tuple[int, str, Any, Any]]) -> None:
        file = self._build.files_of(self._config.name)[number]
        lines = samples.column("line")
        for place, column, was, now in differences:
            self._noted.add(
                split=file.split,
                source=file.source,
                file=file.name,
                line=lines[place].as_py(),
                step=step,
                column=column,
                before=was,
                after=now,
            )

    def _whole_rows(self, samples: pa.Table, places: list[int]) -> list[dict[str, Any]]:
        """Return some rows as the checks of a whole row want them, as they were before the step."""
        media = {column.name: column for column in self._config.schema.media_columns}
        names = [*self._columns, *(f"__media.{name}" for name in media)]
        chosen = samples.take(pa.array(places))
        found = [
            row
            for _, _, _, table in iter_tables(self._build, chosen, self._config.name, names)
            for row in table.to_pylist()
        ]
        for row in found:
            for name, column in media.items():
                asked = row.pop(f"__media.{name}")
                row[name] = asked if column.is_list else (asked[0] if asked else None)
        return found


class _Outcome:
    """What a step yields, pulled as far as it is needed."""

    def __init__(self, outcome: Iterable[Dropped | Changed]) -> None:
        self._outcome = iter(outcome)
        self._drops: list[Dropped] = []
        self._next: Changed | None = None
        self._last = -1

    def before(self, end: int | None) -> list[Changed]:
        """Return the changes of the samples before a position, or all that are left."""
        found: list[Changed] = []
        waiting = [self._next] if self._next is not None else []
        self._next = None
        for one in chain(waiting, self._outcome):
            if not isinstance(one, Changed):
                self._drops.append(one)
            elif end is not None and one.position >= end:
                self._next = one
                break
            else:
                assert one.position > self._last, f"changed rows come in rising order: {one.position}"
                self._last = one.position
                found.append(one)
        return found

    def drops(self) -> list[Dropped]:
        """Return what was dropped since this was last asked."""
        found, self._drops = self._drops, []
        return found


class _Batch:
    """Some rows, with what a step gives those that it changes."""

    def __init__(self, table: pa.Table, places: list[int], values: list[dict[str, Any]]) -> None:
        self._before = table
        self.table = table
        """The rows with their new values."""
        self._places, self._values = places, values
        self.bad: dict[int, RowRejected] = {}
        """Place in the table -> why its new values break the schema."""

    def conform(self, conformers: dict[str, ColumnConformer]) -> None:
        """Bring the new values to the types of their columns, and prove the columns' rules."""
        for name, conformer in conformers.items():
            given = [number for number, values in enumerate(self._values) if name in values]
            if not given:
                continue
            bad: dict[int, RowRejected] = {}
            array = conformer.conform([self._values[number][name] for number in given], bad)
            for number, error in bad.items():
                self.bad.setdefault(self._places[given[number]], error)
            self._put(name, [self._places[number] for number in given], array)
        unknown = {name for values in self._values for name in values} - set(conformers)
        assert not unknown, f"columns that the step did not name: {sorted(unknown)}"

    def check(self, checks: list[Any], whole: Any) -> None:
        """Prove what is to hold of a whole row: placeholders and the conversation."""
        places = [place for place in self._places if place not in self.bad]
        if not checks or not places:
            return
        now = self.table.take(pa.array(places)).to_pylist()
        for place, row, values in zip(places, whole(places), now, strict=True):
            try:
                for check in checks:
                    check({**row, **values})
            except RowRejected as error:
                self.bad[place] = error

    def differences(self) -> list[tuple[int, str, Any, Any]]:
        """Return each value that is another one now: place in the table, column, before, after."""
        places = [place for place in self._places if place not in self.bad]
        chosen = pa.array(places, pa.int64())
        before, after = self._before.take(chosen).to_pylist(), self.table.take(chosen).to_pylist()
        return [
            (place, name, was[name], now[name])
            for place, was, now in zip(places, before, after, strict=True)
            for name in was
            if was[name] != now[name]
        ]

    @property
    def weights(self) -> np.ndarray:
        """What the columns weigh now, row by row."""
        return _weights(self.table)

    def _put(self, name: str, places: list[int], array: pa.Array) -> None:
        chosen = np.arange(self.table.num_rows)
        chosen[places] = self.table.num_rows + np.arange(len(places))
        column = self.table.column(name)
        both = pa.chunked_array([*column.chunks, array.cast(column.type)], column.type)
        place = self.table.schema.get_field_index(name)
        self.table = self.table.set_column(place, name, both.take(pa.array(chosen)))


def _weights(table: pa.Table) -> np.ndarray:
    weights: np.ndarray = weights_of([column.combine_chunks() for column in table.columns], table.num_rows).to_numpy()
    return weights
