"""Rows that are the same as earlier ones: by their media, by everything, or by the values of some columns."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING

from pipeline.samples import iter_values
from pipeline.stages.curation.near_duplicates import nearly_the_same

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pipeline.build import Build
    from pipeline.curate_spec import CurateSpec
    from pipeline.recipe import Config
    from pipeline.stages.curation.measures import Measures


def deduplicate(
    build: Build, config: Config, samples: pa.Table, spec: CurateSpec, measures: Measures
) -> Iterator[tuple[int, str, str]]:
    """Yield the samples that are the same as an earlier one, or nearly the same as one that stays."""
    if spec.near is not None:
        yield from nearly_the_same(build, config, samples, spec.near, measures)
    elif spec.deduplicate == "media":
        yield from _same_media(samples)
    elif isinstance(spec.deduplicate, list):
        yield from repeated(build, config, samples, spec.deduplicate, "curate.duplicate")
    else:
        columns = [column.name for column in config.schema.value_columns]
        yield from repeated(build, config, samples, columns, "curate.duplicate", with_media=True)


def _same_media(samples: pa.Table) -> Iterator[tuple[int, str, str]]:
    seen: dict[bytes, int] = {}
    for position, hashes in enumerate(samples.column("media").to_pylist()):
        if hashes:
            key = blake2b("".join(hashes).encode(), digest_size=16).digest()
            if seen.setdefault(key, position) != position:
                yield position, "curate.duplicate", "the same media as an earlier row"


def repeated(
    build: Build, config: Config, samples: pa.Table, columns: list[str], reason: str, *, with_media: bool = False
) -> Iterator[tuple[int, str, str]]:
    """Yield the samples whose values stood in an earlier one; rows of nothing but nulls are never the same."""
    seen: set[bytes] = set()
    media, places = samples.column("media"), samples.column("columns")
    for first, rows in iter_values(build, samples, config.name, columns):
        for position, row in enumerate(rows):
            values = [row[column] for column in columns]
            if with_media:
                values += [media[first + position].as_py(), places[first + position].as_py()]
            elif all(value is None for value in values):
                continue
            text = json.dumps(values, ensure_ascii=False, sort_keys=True, default=str)
            key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            if key in seen:
                what = f"the same {', '.join(columns)}"
                if with_media:
                    what = "everything is the same"
                elif len(columns) == 1:
                    what = f"{columns[0]} is {values[0]!r}"
                yield first + position, reason, f"{what[:200]}, as in an earlier row"
            seen.add(key)
