"""How the annotation files of a recipe are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.readers.record import ReadOptions, Runs

if TYPE_CHECKING:
    from pipeline.recipe_spec import RowsSpec


def read_options(rows: RowsSpec) -> ReadOptions:
    """Return how to read the files of `rows`."""
    runs = rows.runs
    return ReadOptions(
        format=rows.format,
        encoding=rows.encoding,
        delimiter=rows.delimiter,
        quote=rows.quote,
        escape=rows.escape,
        header=tuple(rows.header) if isinstance(rows.header, list) else rows.header,
        records=rows.records,
        key=rows.key,
        runs=Runs(**(runs.model_dump() | {"same": tuple(runs.same)})) if runs is not None else None,
    )
