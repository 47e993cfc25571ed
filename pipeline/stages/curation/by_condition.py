"""Rows of which an expression is true."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.samples import iter_values
from pipeline.template import Expression

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pipeline.build import Build
    from pipeline.curate_spec import CurateSpec
    from pipeline.recipe import Config
    from pipeline.stages.curation.measures import Measures


def drop_if(
    build: Build, config: Config, samples: pa.Table, spec: CurateSpec, _: Measures
) -> Iterator[tuple[int, str, str]]:
    """Yield the samples of which the expression is true."""
    expression = Expression(spec.drop_if or "")
    known = {column.name for column in config.schema.value_columns}
    columns = sorted(expression.columns & known)
    for first, rows in iter_values(build, samples, config.name, columns or sorted(known)[:1]):
        for position, row in enumerate(rows):
            if expression.evaluate(row):
                yield first + position, "curate.drop_if", f"drop_if: {expression.source}"
